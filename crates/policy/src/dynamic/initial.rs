//! What a new dynamic security file holds.
//!
//! Called by [`DynamicSecurity::initial`]. The roles are those Mosquitto 2.1 begins with; its demonstration client, who
//! may read and write everything, is left out.

use std::sync::Arc;

use super::model::{Acl, AclType, Client, DefaultAccess, DynamicSecurity, Group, PRIORITY_DEFAULT, Role, Texts};
use super::password::Password;
use crate::password::SALT_BYTES;

const ALL: [AclType; 4] =
    [AclType::PublishClientSend, AclType::PublishClientReceive, AclType::SubscribePattern, AclType::UnsubscribePattern];
const WATCH: [AclType; 2] = [AclType::PublishClientReceive, AclType::SubscribePattern];
const READ: [AclType; 3] = [AclType::PublishClientReceive, AclType::SubscribePattern, AclType::UnsubscribePattern];

/// Name, description, what it allows, and where.
type Preset = (&'static str, &'static str, &'static [AclType], &'static str);

const ROLES: [Preset; 7] = [
    ("client", "Read/write access to the full application topic hierarchy.", &ALL, "#"),
    ("broker-admin", "Grants access to administer general broker configuration.", &ALL, "$CONTROL/broker/#"),
    ("dynsec-admin", "Grants access to administer clients/groups/roles.", &ALL, "$CONTROL/dynamic-security/#"),
    ("super-admin", "Grants access to administer all kind of broker controls", &ALL, "$CONTROL/#"),
    (
        "sys-notify",
        "Allow bridges to publish connection state messages.",
        &[AclType::PublishClientSend],
        "$SYS/broker/connection/%c/state",
    ),
    ("sys-observe", "Observe the $SYS topic hierarchy.", &WATCH, "$SYS/#"),
    ("topic-observe", "Read only access to the full application topic hierarchy.", &READ, "#"),
];

/// What the administrator is given.
const ADMIN_ROLES: [&str; 3] = ["super-admin", "sys-observe", "topic-observe"];
const ANONYMOUS_GROUP: &str = "unauthenticated";
const ANONYMOUS_TEXT: &str =
    "If unauthenticated access is allowed, this group defines the roles of clients that connect without a password.";

pub(super) fn model(admin: &str, password: &str, salt: [u8; SALT_BYTES]) -> DynamicSecurity {
    let mut model = DynamicSecurity { defaults: DefaultAccess::default(), ..DynamicSecurity::default() };
    for (name, text, kinds, topic) in ROLES {
        let mut role = Role::with_texts(texts(None, Some(text)));
        for kind in kinds {
            role.add_acl(Acl { kind: *kind, topic: topic.into(), priority: 0, allow: true });
        }
        model.roles.insert(name.into(), role);
    }
    let mut client = Client {
        texts: texts(Some("Admin user"), None),
        password: Some(Password::new(password, salt)),
        ..Client::default()
    };
    for role in ADMIN_ROLES {
        client.roles.add(&Arc::from(role), PRIORITY_DEFAULT);
    }
    model.clients.insert(admin.into(), client);
    let texts = texts(Some("Unauthenticated group"), Some(ANONYMOUS_TEXT));
    let anonymous: Arc<str> = ANONYMOUS_GROUP.into();
    model.groups.insert(Arc::clone(&anonymous), Group { texts, ..Group::default() });
    model.anonymous_group = Some(anonymous);
    model
}

fn texts(name: Option<&str>, description: Option<&str>) -> Texts {
    Texts { name: name.map(str::to_owned), description: description.map(str::to_owned) }
}

//! A model as text: the file in Mosquitto's form, and the entries as commands show them.
//!
//! Called by [`DynamicSecurity::to_text`] and by the commands that get and list. A client as it is shown has no hash.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::model::{Client, DynamicSecurity, Group, PRIORITY_DEFAULT, Ranked, Role, Texts};

type Members = Map<String, Value>;

/// The whole file. A new line ends it.
pub(super) fn text(model: &DynamicSecurity) -> String {
    let mut root = Members::new();
    let mut defaults = model.defaults;
    let access: Members =
        defaults.named().into_iter().map(|(name, flag)| (name.to_owned(), Value::Bool(*flag))).collect();
    root.insert("defaultACLAccess".to_owned(), Value::Object(access));
    let clients = model.clients.iter().map(|(name, client)| kept_client(name, client));
    root.insert("clients".to_owned(), clients.collect());
    root.insert("groups".to_owned(), model.groups.iter().map(|(name, group)| kept_group(name, group)).collect());
    root.insert("roles".to_owned(), model.roles.iter().map(|(name, role)| shown_role(name, role)).collect());
    if let Some(group) = &model.anonymous_group {
        root.insert("anonymousGroup".to_owned(), text_of(group));
    }
    root.insert("changeIndex".to_owned(), model.change_index.into());
    // Numbers, texts and lists are all there is in it, and a tree of those can always be written.
    format!("{:#}\n", Value::Object(root))
}

fn kept_client(name: &Arc<str>, client: &Client) -> Value {
    let mut members = client_members(name, client);
    if let Some(password) = &client.password {
        match password.parts() {
            Some((password, salt, iterations)) => {
                members.insert("password".to_owned(), password.into());
                members.insert("salt".to_owned(), salt.into());
                members.insert("iterations".to_owned(), iterations.into());
            }
            None => {
                members.insert("encoded_password".to_owned(), password.encode().into());
            }
        }
    }
    Value::Object(members)
}

fn kept_group(name: &Arc<str>, group: &Group) -> Value {
    let mut members = named("groupname", name, &group.texts);
    members.insert("roles".to_owned(), ranked("rolename", &group.roles));
    members.insert("clients".to_owned(), ranked("username", &group.clients));
    Value::Object(members)
}

fn client_members(name: &Arc<str>, client: &Client) -> Members {
    let mut members = Members::new();
    members.insert("username".to_owned(), text_of(name));
    if let Some(id) = &client.client_id {
        members.insert("clientid".to_owned(), id.as_str().into());
    }
    add_texts(&mut members, &client.texts);
    if client.is_disabled {
        members.insert("disabled".to_owned(), true.into());
    }
    members.insert("roles".to_owned(), ranked("rolename", &client.roles));
    members
}

/// A client as getClient and listClients show it.
pub(super) fn shown_client(name: &Arc<str>, client: &Client, groups: &Ranked) -> Value {
    let mut members = client_members(name, client);
    members.insert("groups".to_owned(), ranked("groupname", groups));
    Value::Object(members)
}

/// A group as getGroup and listGroups show it.
pub(super) fn shown_group(name: &Arc<str>, group: &Group) -> Value {
    let mut members = named("groupname", name, &group.texts);
    let clients = group.clients.iter().map(|(name, _)| json!({ "username": &**name }));
    members.insert("clients".to_owned(), clients.collect());
    members.insert("roles".to_owned(), ranked("rolename", &group.roles));
    Value::Object(members)
}

/// A role, in the file and as getRole and listRoles show it.
pub(super) fn shown_role(name: &Arc<str>, role: &Role) -> Value {
    let mut members = named("rolename", name, &role.texts);
    members.insert("allowwildcardsubs".to_owned(), role.allows_wildcards.into());
    let acls = role.acls().into_iter().map(|acl| {
        json!({
            "acltype": acl.kind.name(),
            "topic": &*acl.topic,
            "priority": acl.priority,
            "allow": acl.allow,
        })
    });
    members.insert("acls".to_owned(), acls.collect());
    Value::Object(members)
}

fn named(key: &str, name: &Arc<str>, texts: &Texts) -> Members {
    let mut members = Members::new();
    members.insert(key.to_owned(), text_of(name));
    add_texts(&mut members, texts);
    members
}

fn add_texts(members: &mut Members, texts: &Texts) {
    for (key, text) in [("textname", &texts.name), ("textdescription", &texts.description)] {
        if let Some(text) = text {
            members.insert(key.to_owned(), text.as_str().into());
        }
    }
}

fn ranked(key: &str, names: &Ranked) -> Value {
    let entry = |(name, priority): (&Arc<str>, i32)| {
        let mut members = Members::new();
        members.insert(key.to_owned(), text_of(name));
        if priority != PRIORITY_DEFAULT {
            members.insert("priority".to_owned(), priority.into());
        }
        Value::Object(members)
    };
    names.iter().map(entry).collect()
}

fn text_of(name: &Arc<str>) -> Value {
    Value::from(&**name)
}

//! The text of a dynamic security file, in the form of Mosquitto 2.0 or 2.1, into a model.
//!
//! Called by [`DynamicSecurity::parse`]. Mosquitto skips what it does not understand; here a member nobody knows, a
//! name that is referred to and not there, and a second entry of a name refuse the file: what is skipped in silence may
//! be what somebody thinks protects them.

use std::sync::Arc;

use serde_json::Value;
use thiserror::Error;

use super::model::{
    Acl, AclType, Client, DefaultAccess, DynamicSecurity, Group, PRIORITY_DEFAULT, Ranked, Role, Texts, is_acl_topic,
    is_name, priority,
};
use super::object::Object;
use super::password::Password;

/// One error of a dynamic security file. Shows no hash.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what}")]
pub struct DynamicError {
    /// Line, from 1; 0 where it is not known.
    pub line: usize,
    /// What is wrong, and in which entry.
    pub what: String,
    /// What to do.
    pub hint: &'static str,
}

/// Entries are named by kind and name, such as `client "pump-7"`.
type Errors = Vec<DynamicError>;

const SYNTAX: &str = "restore it from a copy, or make a new one with `motte dynsec init`";
const EDIT: &str = "edit the file, or make the change through `mosquitto_ctrl dynsec`";

/// Reads the whole file or gives all its errors.
pub(super) fn model(text: &str) -> Result<DynamicSecurity, Errors> {
    let tree: Value = serde_json::from_str(text).map_err(|error| {
        // The message of the parser may quote the text, which holds hashes.
        vec![DynamicError { line: error.line(), what: "the file is not JSON here".to_owned(), hint: SYNTAX }]
    })?;
    let mut reader = Reader { errors: Vec::new(), model: DynamicSecurity::default() };
    match Object::of(&tree) {
        Some(root) => reader.root(root),
        None => reader.error("the file", "is not a JSON object"),
    }
    if reader.errors.is_empty() { Ok(reader.model) } else { Err(reader.errors) }
}

struct Reader {
    errors: Errors,
    model: DynamicSecurity,
}

impl Reader {
    fn error(&mut self, place: &str, what: &str) {
        self.errors.push(DynamicError { line: 0, what: format!("{place} {what}"), hint: EDIT });
    }

    /// Roles first, then clients, then groups: each refers to what stands before.
    fn root(&mut self, root: Object<'_>) {
        let place = "the file";
        self.known(place, root, &["defaultACLAccess", "clients", "groups", "roles", "anonymousGroup", "changeIndex"]);
        if let Some(value) = root.get("defaultACLAccess") {
            self.defaults(value);
        }
        for entry in self.list(place, root, "roles") {
            self.role(entry);
        }
        for entry in self.list(place, root, "clients") {
            self.client(entry);
        }
        for entry in self.list(place, root, "groups") {
            self.group(entry);
        }
        if let Some(name) = self.text(place, root, "anonymousGroup").filter(|name| !name.is_empty()) {
            match self.model.groups.get_key_value(name) {
                Some((name, _)) => self.model.anonymous_group = Some(Arc::clone(name)),
                None => self.error(place, &format!("names the anonymousGroup {name:?}, which is not there")),
            }
        }
        match root.number("changeIndex") {
            Ok(index) => self.model.change_index = index.unwrap_or(0),
            Err(_) => self.error(place, "has a changeIndex that is no whole number"),
        }
    }

    fn defaults(&mut self, value: &Value) {
        let place = "defaultACLAccess";
        let Some(object) = Object::of(value) else { return self.error(place, "is not an object") };
        self.known(place, object, &["publishClientSend", "publishClientReceive", "subscribe", "unsubscribe"]);
        let mut defaults = DefaultAccess::default();
        for (name, access) in defaults.named() {
            match object.flag(name) {
                Ok(flag) => *access = flag.unwrap_or(*access),
                Err(_) => self.error(place, &format!("has a {name} that is not true or false")),
            }
        }
        self.model.defaults = defaults;
    }

    fn role(&mut self, entry: &Value) {
        let Some((object, name, place)) = self.entry("role", "rolename", entry) else { return };
        self.known(&place, object, &["rolename", "textname", "textdescription", "allowwildcardsubs", "acls"]);
        let texts = self.texts(&place, object);
        let mut role = Role::with_texts(texts);
        match object.flag("allowwildcardsubs") {
            Ok(flag) => role.allows_wildcards = flag.unwrap_or(true),
            Err(_) => self.error(&place, "has an allowwildcardsubs that is not true or false"),
        }
        for (at, value) in self.list(&place, object, "acls").iter().enumerate() {
            let place = format!("{place}, acls[{at}]");
            match acl(value) {
                Ok(acl) => {
                    if !role.add_acl(acl) {
                        self.error(&place, "is the second of its acltype for its topic");
                    }
                }
                Err(what) => self.error(&place, what),
            }
        }
        if self.model.roles.insert(name, role).is_some() {
            self.error(&place, "is there twice");
        }
    }

    fn client(&mut self, entry: &Value) {
        let Some((object, name, place)) = self.entry("client", "username", entry) else { return };
        self.known(
            &place,
            object,
            &[
                "username",
                "textname",
                "textdescription",
                "clientid",
                "disabled",
                "roles",
                "encoded_password",
                "password",
                "salt",
                "iterations",
            ],
        );
        let is_disabled = object.flag("disabled");
        if is_disabled.is_err() {
            self.error(&place, "has a disabled that is not true or false");
        }
        let password = password(object).unwrap_or_else(|what| {
            self.error(&place, &format!("has a password that cannot be used: {what}"));
            None
        });
        let client = Client {
            texts: self.texts(&place, object),
            client_id: self.text(&place, object, "clientid").filter(|id| !id.is_empty()).map(str::to_owned),
            is_disabled: is_disabled.unwrap_or_default().unwrap_or(false),
            password,
            roles: self.ranked(&place, object, ("roles", "rolename")),
        };
        if self.model.clients.insert(name, client).is_some() {
            self.error(&place, "is there twice");
        }
    }

    fn group(&mut self, entry: &Value) {
        let Some((object, name, place)) = self.entry("group", "groupname", entry) else { return };
        self.known(&place, object, &["groupname", "textname", "textdescription", "roles", "clients"]);
        let group = Group {
            texts: self.texts(&place, object),
            roles: self.ranked(&place, object, ("roles", "rolename")),
            clients: self.ranked(&place, object, ("clients", "username")),
        };
        if self.model.groups.insert(name, group).is_some() {
            self.error(&place, "is there twice");
        }
    }

    /// The object of an entry, its name, and how it is called in errors.
    fn entry<'a>(&mut self, kind: &str, key: &str, entry: &'a Value) -> Option<(Object<'a>, Arc<str>, String)> {
        let object = Object::of(entry);
        match object.map(|object| object.text(key)) {
            Some(Ok(Some(name))) if !name.is_empty() && is_name(name) => {
                Some((object?, name.into(), format!("{kind} {name:?}")))
            }
            _ => {
                self.error(&format!("a {kind}"), &format!("has no usable {key}"));
                None
            }
        }
    }

    fn known(&mut self, place: &str, object: Object<'_>, names: &[&str]) {
        if let Some(name) = object.stranger(names) {
            let name = name.escape_debug().take(64).collect::<String>();
            self.error(place, &format!("has a member \"{name}\" that is not known, or that is there twice"));
        }
    }

    fn list<'a>(&mut self, place: &str, object: Object<'a>, name: &str) -> &'a [Value] {
        object
            .list(name)
            .unwrap_or_else(|_| {
                self.error(place, &format!("has {name} that are not a list"));
                None
            })
            .unwrap_or_default()
    }

    fn text<'a>(&mut self, place: &str, object: Object<'a>, name: &str) -> Option<&'a str> {
        object.text(name).unwrap_or_else(|_| {
            self.error(place, &format!("has a {name} that is not a text"));
            None
        })
    }

    fn texts(&mut self, place: &str, object: Object<'_>) -> Texts {
        let name = self.text(place, object, "textname").map(str::to_owned);
        Texts { name, description: self.text(place, object, "textdescription").map(str::to_owned) }
    }

    /// A list of names with priorities, each of something that is there.
    fn ranked(&mut self, place: &str, object: Object<'_>, (list, key): (&str, &str)) -> Ranked {
        let mut ranked = Ranked::default();
        for value in self.list(place, object, list) {
            let place = format!("{place}, {list}");
            let Some(object) = Object::of(value) else {
                self.error(&place, "holds something that is not an object");
                continue;
            };
            self.known(&place, object, &[key, "priority"]);
            let (Some(name), Ok(number)) = (self.text(&place, object, key), object.number("priority")) else {
                self.error(&place, &format!("holds an entry without {key} or with a priority that is no whole number"));
                continue;
            };
            let known = match list {
                "roles" => self.model.roles.get_key_value(name).map(|(name, _)| Arc::clone(name)),
                _ => self.model.clients.get_key_value(name).map(|(name, _)| Arc::clone(name)),
            };
            match known {
                Some(name) if ranked.add(&name, number.map_or(PRIORITY_DEFAULT, priority)) => {}
                Some(name) => self.error(&place, &format!("names {name:?} twice")),
                None => self.error(&place, &format!("names {name:?}, which is not there")),
            }
        }
        ranked
    }
}

/// A rule as it stands in the file and in commands.
pub(super) fn acl(value: &Value) -> Result<Acl, &'static str> {
    let object = Object::of(value).ok_or("is not an object")?;
    if object.stranger(&["acltype", "topic", "priority", "allow"]).is_some() {
        return Err("has a member that is not known, or one that is there twice");
    }
    let kind = object.text("acltype").ok().flatten().and_then(AclType::parse).ok_or("has no known acltype")?;
    let topic = object.text("topic").ok().flatten().filter(|topic| is_acl_topic(topic));
    let topic = topic.ok_or("has no topic that is a topic filter")?.into();
    let number = object.number("priority").map_err(|_| "has a priority that is no whole number")?;
    let allow = object.flag("allow").map_err(|_| "has an allow that is not true or false")?;
    Ok(Acl { kind, topic, priority: priority(number.unwrap_or(0)), allow: allow.unwrap_or(false) })
}

/// The password of a client: one text, or the three parts of 2.0; none where there are none of them.
fn password(object: Object<'_>) -> Result<Option<Password>, &'static str> {
    let text = |name| object.text(name).map_err(|_| "it is not a text");
    if let Some(encoded) = text("encoded_password")? {
        return Password::encoded(encoded).map(Some);
    }
    let (password, salt) = (text("password")?, text("salt")?);
    let iterations = object.number("iterations").map_err(|_| "the iterations are no whole number")?;
    match (password, salt, iterations) {
        (None, None, None) => Ok(None),
        (Some(password), Some(salt), Some(iterations)) => Password::apart(password, salt, iterations).map(Some),
        _ => Err("of password, salt and iterations there are only some"),
    }
}

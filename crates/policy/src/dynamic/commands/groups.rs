//! Commands about groups.
//!
//! Called by `commands` only. Everything that can be wrong with a command is looked at before anything is changed.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Answer, Salts, name, page, rank, roles_of, set_texts};
use crate::dynamic::model::{DynamicSecurity, Group, Ranked};
use crate::dynamic::object::Object;
use crate::dynamic::write::shown_group;

const NOT_FOUND: &str = "Group not found";
const NO_CLIENT: &str = "Client not found";
const NO_ROLE: &str = "Role not found";

pub(super) fn create(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let groupname = name(object, "groupname")?;
    if groupname.is_empty() {
        return Err("Empty groupname");
    }
    let mut group = Group::default();
    set_texts(&mut group.texts, object)?;
    if model.groups.contains_key(groupname) {
        return Err("Group already exists");
    }
    group.roles = roles_of(model, object)?.unwrap_or_default();
    model.groups.insert(groupname.into(), group);
    Ok(None)
}

pub(super) fn delete(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let groupname = name(object, "groupname")?;
    if model.anonymous_group.as_deref() == Some(groupname) {
        return Err("Deleting the anonymous group is forbidden");
    }
    model.groups.remove(groupname).map(|_| None).ok_or(NOT_FOUND)
}

pub(super) fn get(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let (groupname, group) = model.groups.get_key_value(name(object, "groupname")?).ok_or(NOT_FOUND)?;
    Ok(Some(json!({ "group": shown_group(groupname, group) })))
}

pub(super) fn list(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let show = |name: &Arc<str>, group: &Group| -> Value { shown_group(name, group) };
    page(object, "groups", model.groups.iter(), show)
}

pub(super) fn modify(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let (groupname, group) = model.groups.get_key_value(name(object, "groupname")?).ok_or(NOT_FOUND)?;
    let (groupname, mut group) = (Arc::clone(groupname), group.clone());
    set_texts(&mut group.texts, object)?;
    if let Some(roles) = roles_of(model, object)? {
        group.roles = roles;
    }
    if let Some(clients) = clients_of(model, object)? {
        group.clients = clients;
    }
    model.groups.insert(groupname, group);
    Ok(None)
}

pub(super) fn add_client(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let (username, groupname, priority) = (name(object, "username")?, name(object, "groupname")?, rank(object)?);
    let (client, _) = model.clients.get_key_value(username).ok_or(NO_CLIENT)?;
    let group = model.groups.get_mut(groupname).ok_or(NOT_FOUND)?;
    if group.clients.add(client, priority) { Ok(None) } else { Err("Client is already in this group") }
}

pub(super) fn remove_client(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let (username, groupname) = (name(object, "username")?, name(object, "groupname")?);
    if !model.knows(username) {
        return Err(NO_CLIENT);
    }
    model.groups.get_mut(groupname).ok_or(NOT_FOUND)?.clients.remove(username);
    Ok(None)
}

pub(super) fn add_role(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let (groupname, rolename, priority) = (name(object, "groupname")?, name(object, "rolename")?, rank(object)?);
    let group = model.groups.get_mut(groupname).ok_or(NOT_FOUND)?;
    let (role, _) = model.roles.get_key_value(rolename).ok_or(NO_ROLE)?;
    if group.roles.add(role, priority) { Ok(None) } else { Err("Group is already in this role") }
}

pub(super) fn remove_role(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let (groupname, rolename) = (name(object, "groupname")?, name(object, "rolename")?);
    let group = model.groups.get_mut(groupname).ok_or(NOT_FOUND)?;
    if !model.roles.contains_key(rolename) {
        return Err(NO_ROLE);
    }
    group.roles.remove(rolename);
    Ok(None)
}

pub(super) fn set_anonymous(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let (groupname, _) = model.groups.get_key_value(name(object, "groupname")?).ok_or(NOT_FOUND)?;
    model.anonymous_group = Some(Arc::clone(groupname));
    Ok(None)
}

pub(super) fn get_anonymous(model: &mut DynamicSecurity, _: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let groupname = model.anonymous_group.as_deref().unwrap_or_default();
    Ok(Some(json!({ "group": { "groupname": groupname } })))
}

/// The list `clients`, each of them there; nothing when there is no list.
fn clients_of(model: &DynamicSecurity, object: Object<'_>) -> Result<Option<Ranked>, &'static str> {
    const INVALID: &str = "'clients' contains an object with an invalid 'username'";
    const MISSING: &str = "'clients' contains an object with a 'username' that does not exist";
    let Some(list) = object.list("clients").map_err(|_| "'clients' not an array")? else { return Ok(None) };
    let mut ranked = Ranked::default();
    for value in list {
        let entry = Object::of(value).ok_or(INVALID)?;
        let name = entry.text("username").ok().flatten().ok_or(INVALID)?;
        let (name, _) = model.clients.get_key_value(name).ok_or(MISSING)?;
        ranked.add(name, rank(entry)?);
    }
    Ok(Some(ranked))
}

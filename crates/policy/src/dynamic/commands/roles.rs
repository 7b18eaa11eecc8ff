//! Commands about roles and their rules.
//!
//! Called by `commands` only. Everything that can be wrong with a command is looked at before anything is changed: a
//! rule that Mosquitto would leave out of a list without a word is an error here.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Answer, Salts, name, page, set_texts};
use crate::dynamic::model::{Acl, AclType, DynamicSecurity, Role, is_acl_topic, is_name, priority};
use crate::dynamic::object::Object;
use crate::dynamic::read::acl;
use crate::dynamic::write::shown_role;

const NOT_FOUND: &str = "Role not found";
const TWICE: &str = "ACL with this topic already exists";

pub(super) fn create(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let rolename = name(object, "rolename")?;
    if rolename.is_empty() {
        return Err("Empty rolename");
    }
    let mut role = Role::default();
    set(&mut role, object)?;
    if model.roles.contains_key(rolename) {
        return Err("Role already exists");
    }
    model.roles.insert(rolename.into(), role);
    Ok(None)
}

pub(super) fn delete(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let rolename = name(object, "rolename")?;
    model.roles.remove(rolename).ok_or(NOT_FOUND)?;
    let clients = model.clients.values_mut().map(|client| &mut client.roles);
    for roles in clients.chain(model.groups.values_mut().map(|group| &mut group.roles)) {
        roles.remove(rolename);
    }
    Ok(None)
}

pub(super) fn get(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let (rolename, role) = model.roles.get_key_value(name(object, "rolename")?).ok_or(NOT_FOUND)?;
    Ok(Some(json!({ "role": shown_role(rolename, role) })))
}

pub(super) fn list(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let show = |name: &Arc<str>, role: &Role| -> Value { shown_role(name, role) };
    page(object, "roles", model.roles.iter(), show)
}

pub(super) fn modify(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let found = model.roles.get_mut(name(object, "rolename")?).ok_or("Role does not exist")?;
    let mut role = found.clone();
    set(&mut role, object)?;
    *found = role;
    Ok(None)
}

pub(super) fn add_acl(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let role = model.roles.get_mut(name(object, "rolename")?).ok_or(NOT_FOUND)?;
    let (kind, topic) = about(object)?;
    let number = object.number("priority").map_err(|_| "Invalid priority")?;
    let allow = object.flag("allow").map_err(|_| "Invalid allow")?.unwrap_or(false);
    let acl = Acl { kind, topic: topic.into(), priority: priority(number.unwrap_or(0)), allow };
    if role.add_acl(acl) { Ok(None) } else { Err(TWICE) }
}

pub(super) fn remove_acl(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let role = model.roles.get_mut(name(object, "rolename")?).ok_or(NOT_FOUND)?;
    let (kind, topic) = about(object)?;
    if role.remove_acl(kind, topic) { Ok(None) } else { Err("ACL not found") }
}

/// Type and topic of the one rule a command is about.
fn about(object: Object<'_>) -> Result<(AclType, &str), &'static str> {
    let kind = object.text("acltype").ok().flatten().ok_or("Invalid/missing acltype")?;
    let kind = AclType::parse(kind).ok_or("Unknown acltype")?;
    let topic = object.text("topic").ok().flatten().ok_or("Invalid/missing topic")?;
    if !is_name(topic) {
        return Err("Topic not valid UTF-8");
    }
    if is_acl_topic(topic) { Ok((kind, topic)) } else { Err("Invalid ACL topic") }
}

/// Takes over what a command says of a role; its list of rules replaces the one that was.
fn set(role: &mut Role, object: Object<'_>) -> Result<(), &'static str> {
    set_texts(&mut role.texts, object)?;
    if let Some(flag) = object.flag("allowwildcardsubs").map_err(|_| "Invalid allowwildcardsubs")? {
        role.allows_wildcards = flag;
    }
    let Some(list) = object.list("acls").map_err(|_| "'acls' not an array")? else { return Ok(()) };
    role.clear_acls();
    for value in list {
        let acl = acl(value).map_err(|_| "'acls' contains an invalid acl")?;
        if !role.add_acl(acl) {
            return Err(TWICE);
        }
    }
    Ok(())
}

//! Commands about the whole: what may be done where no rule says anything, and counts.
//!
//! Called by `commands` only.

use serde_json::{Value, json};

use super::{Answer, Salts};
use crate::dynamic::model::DynamicSecurity;
use crate::dynamic::object::Object;

pub(super) fn set_default(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let list = object.list("acls").ok().flatten().ok_or("Missing/invalid actions array")?;
    let mut defaults = model.defaults;
    for value in list {
        let entry = Object::of(value).ok_or("Missing/invalid actions array")?;
        let kind = entry.text("acltype").ok().flatten().ok_or("Invalid/missing acltype")?;
        let allow = allow(entry).ok_or("Invalid/missing allow")?;
        let mut named = defaults.named().into_iter();
        let (_, access) = named.find(|(name, _)| name.eq_ignore_ascii_case(kind)).ok_or("Unknown acltype")?;
        *access = allow;
    }
    model.defaults = defaults;
    Ok(None)
}

/// What an entry asks for. `mosquitto_ctrl` up to 2.0 says it in a word, which Mosquitto itself passes over in silence.
fn allow(entry: Object<'_>) -> Option<bool> {
    match entry.text("access") {
        Ok(Some("allow")) => Some(true),
        Ok(Some("deny")) => Some(false),
        _ => entry.flag("allow").ok().flatten(),
    }
}

pub(super) fn get_default(model: &mut DynamicSecurity, _: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let mut defaults = model.defaults;
    let acls: Vec<Value> =
        defaults.named().into_iter().map(|(name, allow)| json!({ "acltype": name, "allow": *allow })).collect();
    Ok(Some(json!({ "acls": acls })))
}

pub(super) fn details(model: &mut DynamicSecurity, _: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let (clients, groups, roles) = model.counts();
    let changes = model.change_index;
    Ok(Some(json!({ "clientCount": clients, "groupCount": groups, "roleCount": roles, "changeIndex": changes })))
}

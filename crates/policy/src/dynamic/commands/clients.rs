//! Commands about clients.
//!
//! Called by `commands` only. Everything that can be wrong with a command is looked at before anything is changed.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Answer, Salts, name, page, rank, roles_of, set_texts};
use crate::dynamic::model::{Client, DynamicSecurity, is_name};
use crate::dynamic::object::Object;
use crate::dynamic::password::Password;
use crate::dynamic::write::shown_client;

const NOT_FOUND: &str = "Client not found";
const NO_ROLE: &str = "Role not found";

/// The groups a command puts a client into, with the priority in each.
type Places = Vec<(Arc<str>, i32)>;

pub(super) fn create(model: &mut DynamicSecurity, object: Object<'_>, salts: &mut Salts<'_>) -> Answer {
    let username = name(object, "username")?;
    if username.is_empty() {
        return Err("Empty username");
    }
    let password = object.text("password").map_err(|_| "Invalid/missing password")?;
    let mut client =
        Client { client_id: client_id(object, "Invalid/missing client id")?.flatten(), ..Client::default() };
    set_texts(&mut client.texts, object)?;
    if model.knows(username) {
        return Err("Client already exists");
    }
    client.roles = roles_of(model, object)?.unwrap_or_default();
    let places = places(model, object, "Group not found")?.unwrap_or_default();
    // Nobody can log in with an empty password, so it is the same as none.
    client.password = password.filter(|password| !password.is_empty()).map(|text| Password::new(text, salts()));
    let username: Arc<str> = username.into();
    model.clients.insert(Arc::clone(&username), client);
    join(model, &username, places);
    Ok(None)
}

pub(super) fn delete(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let username = name(object, "username")?;
    model.clients.remove(username).ok_or(NOT_FOUND)?;
    leave(model, username);
    Ok(None)
}

pub(super) fn get(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let (username, client) = model.clients.get_key_value(name(object, "username")?).ok_or(NOT_FOUND)?;
    Ok(Some(json!({ "client": shown_client(username, client, &model.groups_of(username)) })))
}

pub(super) fn list(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let show = |name: &Arc<str>, client: &Client| -> Value { shown_client(name, client, &model.groups_of(name)) };
    page(object, "clients", model.clients.iter(), show)
}

pub(super) fn modify(model: &mut DynamicSecurity, object: Object<'_>, salts: &mut Salts<'_>) -> Answer {
    let username = name(object, "username")?;
    let (username, client) = model.clients.get_key_value(username).ok_or(NOT_FOUND)?;
    let (username, mut client) = (Arc::clone(username), client.clone());
    if let Some(id) = client_id(object, "Invalid/missing client ID")? {
        client.client_id = id;
    }
    let password = object.text("password").map_err(|_| "Invalid/missing password")?;
    set_texts(&mut client.texts, object)?;
    if let Some(roles) = roles_of(model, object)? {
        client.roles = roles;
    }
    let missing = "'groups' contains an object with a 'groupname' that does not exist";
    let places = places(model, object, missing)?;
    if let Some(password) = password.filter(|password| !password.is_empty()) {
        client.password = Some(Password::new(password, salts()));
    }
    model.clients.insert(Arc::clone(&username), client);
    if let Some(places) = places {
        leave(model, &username);
        join(model, &username, places);
    }
    Ok(None)
}

pub(super) fn set_id(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let username = name(object, "username")?;
    let id = client_id(object, "Invalid/missing client ID")?.flatten();
    model.clients.get_mut(username).ok_or(NOT_FOUND)?.client_id = id;
    Ok(None)
}

pub(super) fn set_password(model: &mut DynamicSecurity, object: Object<'_>, salts: &mut Salts<'_>) -> Answer {
    let username = name(object, "username")?;
    let password = object.text("password").ok().flatten().ok_or("Invalid/missing password")?;
    if password.is_empty() {
        return Err("Empty password is not allowed");
    }
    let client = model.clients.get_mut(username).ok_or(NOT_FOUND)?;
    client.password = Some(Password::new(password, salts()));
    Ok(None)
}

pub(super) fn add_role(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let (username, rolename, priority) = (name(object, "username")?, name(object, "rolename")?, rank(object)?);
    let client = model.clients.get_mut(username).ok_or(NOT_FOUND)?;
    let (role, _) = model.roles.get_key_value(rolename).ok_or(NO_ROLE)?;
    if client.roles.add(role, priority) { Ok(None) } else { Err("Client is already in this role") }
}

pub(super) fn remove_role(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    let (username, rolename) = (name(object, "username")?, name(object, "rolename")?);
    let client = model.clients.get_mut(username).ok_or(NOT_FOUND)?;
    if !model.roles.contains_key(rolename) {
        return Err(NO_ROLE);
    }
    client.roles.remove(rolename);
    Ok(None)
}

pub(super) fn enable(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    model.clients.get_mut(name(object, "username")?).ok_or(NOT_FOUND)?.is_disabled = false;
    Ok(None)
}

pub(super) fn disable(model: &mut DynamicSecurity, object: Object<'_>, _: &mut Salts<'_>) -> Answer {
    model.clients.get_mut(name(object, "username")?).ok_or(NOT_FOUND)?.is_disabled = true;
    Ok(None)
}

/// The client identifier a client is bound to, if the command says anything about it; the empty one binds it to none.
fn client_id(object: Object<'_>, invalid: &'static str) -> Result<Option<Option<String>>, &'static str> {
    let Some(id) = object.text("clientid").map_err(|_| invalid)? else { return Ok(None) };
    if !is_name(id) {
        return Err("Client ID not valid UTF-8");
    }
    Ok(Some(Some(id).filter(|id| !id.is_empty()).map(str::to_owned)))
}

/// The list `groups`, each of them there; nothing when there is no list.
fn places(model: &DynamicSecurity, object: Object<'_>, missing: &'static str) -> Result<Option<Places>, &'static str> {
    const INVALID: &str = "'groups' contains an object with an invalid 'groupname'";
    let Some(list) = object.list("groups").map_err(|_| "'groups' not an array")? else { return Ok(None) };
    let place = |value| {
        let entry = Object::of(value).ok_or(INVALID)?;
        let name = entry.text("groupname").ok().flatten().ok_or(INVALID)?;
        let (name, _) = model.groups.get_key_value(name).ok_or(missing)?;
        Ok((Arc::clone(name), rank(entry)?))
    };
    list.iter().map(place).collect::<Result<_, _>>().map(Some)
}

fn join(model: &mut DynamicSecurity, username: &Arc<str>, places: Places) {
    for (name, priority) in places {
        if let Some(group) = model.groups.get_mut(&name) {
            group.clients.add(username, priority);
        }
    }
}

fn leave(model: &mut DynamicSecurity, username: &str) {
    for group in model.groups.values_mut() {
        group.clients.remove(username);
    }
}

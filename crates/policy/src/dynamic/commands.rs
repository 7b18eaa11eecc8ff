//! The commands of `$CONTROL/dynamic-security/v1`: what a request says, one command after the other, and the answer.
//!
//! Called by [`DynamicSecurity::execute`]. A command does all of what it says or nothing; the others of its request go
//! on after one that fails. Names of commands and of members are taken in any case, error texts are those of Mosquitto.

mod access;
mod clients;
mod groups;
mod roles;

use serde_json::{Map, Value, json};

use super::model::{DynamicSecurity, PRIORITY_DEFAULT, Ranked, Texts, is_name, priority};
use super::object::{Object, wipe};
use crate::password::SALT_BYTES;

/// Commands in one request.
const COMMANDS_MAX: usize = 1_000;

/// Where the salts of new passwords come from.
pub type Salts<'a> = dyn FnMut() -> [u8; SALT_BYTES] + 'a;

/// What a command answers: data, if it was asked for some, or what is wrong.
type Answer = Result<Option<Value>, &'static str>;

/// The work of a command.
type Work = fn(&mut DynamicSecurity, Object<'_>, &mut Salts<'_>) -> Answer;

/// Whether a command changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Changes,
    Shows,
}

/// Every command.
const COMMANDS: [(&str, Effect, Work); 32] = [
    ("setDefaultACLAccess", Effect::Changes, access::set_default),
    ("getDefaultACLAccess", Effect::Shows, access::get_default),
    ("getDetails", Effect::Shows, access::details),
    ("createClient", Effect::Changes, clients::create),
    ("deleteClient", Effect::Changes, clients::delete),
    ("getClient", Effect::Shows, clients::get),
    ("listClients", Effect::Shows, clients::list),
    ("modifyClient", Effect::Changes, clients::modify),
    ("setClientId", Effect::Changes, clients::set_id),
    ("setClientPassword", Effect::Changes, clients::set_password),
    ("addClientRole", Effect::Changes, clients::add_role),
    ("removeClientRole", Effect::Changes, clients::remove_role),
    ("enableClient", Effect::Changes, clients::enable),
    ("disableClient", Effect::Changes, clients::disable),
    ("createGroup", Effect::Changes, groups::create),
    ("deleteGroup", Effect::Changes, groups::delete),
    ("getGroup", Effect::Shows, groups::get),
    ("listGroups", Effect::Shows, groups::list),
    ("modifyGroup", Effect::Changes, groups::modify),
    ("addGroupClient", Effect::Changes, groups::add_client),
    ("removeGroupClient", Effect::Changes, groups::remove_client),
    ("addGroupRole", Effect::Changes, groups::add_role),
    ("removeGroupRole", Effect::Changes, groups::remove_role),
    ("setAnonymousGroup", Effect::Changes, groups::set_anonymous),
    ("getAnonymousGroup", Effect::Shows, groups::get_anonymous),
    ("createRole", Effect::Changes, roles::create),
    ("deleteRole", Effect::Changes, roles::delete),
    ("getRole", Effect::Shows, roles::get),
    ("listRoles", Effect::Shows, roles::list),
    ("modifyRole", Effect::Changes, roles::modify),
    ("addRoleACL", Effect::Changes, roles::add_acl),
    ("removeRoleACL", Effect::Changes, roles::remove_acl),
];

/// One command and what became of it.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its name: as we spell it, or as it came where it is none.
    pub command: String,
    /// The client, group or role it names.
    pub target: Option<String>,
    /// What is wrong with it.
    pub error: Option<&'static str>,
    effect: Effect,
    correlation: Option<String>,
    data: Option<Value>,
}

impl Done {
    fn failed(command: &str, error: &'static str) -> Self {
        let (command, error) = (command.to_owned(), Some(error));
        Self { command, target: None, error, effect: Effect::Shows, correlation: None, data: None }
    }

    /// Whether the command changed the model.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.effect == Effect::Changes && self.error.is_none()
    }

    fn into_value(self) -> Value {
        let mut members = Map::new();
        members.insert("command".to_owned(), self.command.into());
        if let Some(error) = self.error {
            members.insert("error".to_owned(), error.into());
        } else if let Some(data) = self.data {
            members.insert("data".to_owned(), data);
        }
        if let Some(correlation) = self.correlation {
            members.insert("correlationData".to_owned(), correlation.into());
        }
        Value::Object(members)
    }
}

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The commands in their order.
    pub done: Vec<Done>,
}

impl Outcome {
    /// Whether the model is another one now.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.done.iter().any(Done::has_changed)
    }

    /// The changes could not be kept, so that they count for nothing: whoever asked for one is told.
    pub fn not_kept(&mut self) {
        for done in self.done.iter_mut().filter(|done| done.has_changed()) {
            done.error = Some("Internal error");
        }
    }

    /// The text for the one who asked.
    #[must_use]
    pub fn into_text(self) -> String {
        let responses: Vec<Value> = self.done.into_iter().map(Done::into_value).collect();
        json!({ "responses": responses }).to_string()
    }
}

/// Does what a request says.
pub(super) fn execute(model: &mut DynamicSecurity, request: &[u8], salts: &mut Salts<'_>) -> Outcome {
    each(request, |name, object| {
        let (name, effect, work) = COMMANDS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name))?;
        Some((*name, *effect, work(model, object, salts)))
    })
}

/// Answers a request of the same form that only asks to be shown something: `show` knows the commands, how they are
/// spelled, and what they show.
pub fn answer_questions(request: &[u8], show: &dyn Fn(&str) -> Option<(&'static str, Value)>) -> Outcome {
    each(request, |name, _| show(name).map(|(name, data)| (name, Effect::Shows, Ok(Some(data)))))
}

/// The commands of a request that can be read, each run, or what is said instead. A command that is none is told so.
fn each(request: &[u8], mut run: impl FnMut(&str, Object<'_>) -> Option<(&'static str, Effect, Answer)>) -> Outcome {
    let refused = |error| Outcome { done: vec![Done::failed("Unknown command", error)] };
    let Ok(mut tree) = serde_json::from_slice::<Value>(request) else { return refused("Payload not valid JSON") };
    let commands = Object::of(&tree).and_then(|object| object.list("commands").ok().flatten());
    let outcome = match commands {
        None => refused("Invalid/missing commands"),
        Some(commands) if commands.len() > COMMANDS_MAX => refused("Too many commands"),
        Some(commands) => Outcome { done: commands.iter().map(|value| one(value, &mut run)).collect() },
    };
    wipe(&mut tree);
    outcome
}

fn one(value: &Value, run: &mut impl FnMut(&str, Object<'_>) -> Option<(&'static str, Effect, Answer)>) -> Done {
    let Some(object) = Object::of(value) else { return Done::failed("Unknown command", "Command not an object") };
    let Ok(Some(name)) = object.text("command") else { return Done::failed("Unknown command", "Missing command") };
    let Ok(correlation) = object.text("correlationData") else {
        return Done::failed(name, "Invalid correlationData data type.");
    };
    let correlation = correlation.map(str::to_owned);
    let Some((name, effect, answer)) = run(name, object) else {
        return Done { correlation, ..Done::failed(name, "Unknown command") };
    };
    let subject = ["username", "groupname", "rolename"].iter().find_map(|key| object.text(key).ok().flatten());
    let target = subject.map(str::to_owned);
    let (error, data) = match answer {
        Ok(data) => (None, data),
        Err(error) => (Some(error), None),
    };
    Done { command: name.to_owned(), target, error, effect, correlation, data }
}

/// A name that has to be there: the client, group or role a command is about.
fn name<'a>(object: Object<'a>, key: &str) -> Result<&'a str, &'static str> {
    let (missing, unreadable) = match key {
        "username" => ("Invalid/missing username", "Username not valid UTF-8"),
        "groupname" => ("Invalid/missing groupname", "Group name not valid UTF-8"),
        _ => ("Invalid/missing rolename", "Role name not valid UTF-8"),
    };
    let name = object.text(key).ok().flatten().ok_or(missing)?;
    if is_name(name) { Ok(name) } else { Err(unreadable) }
}

/// A priority, if one is given.
fn rank(object: Object<'_>) -> Result<i32, &'static str> {
    let number = object.number("priority").map_err(|_| "Invalid priority")?;
    Ok(number.map_or(PRIORITY_DEFAULT, priority))
}

/// Takes over the texts that are given, and tells nothing of those that are not.
fn set_texts(texts: &mut Texts, object: Object<'_>) -> Result<(), &'static str> {
    let name = object.text("textname").map_err(|_| "Invalid/missing textname")?;
    let description = object.text("textdescription").map_err(|_| "Invalid/missing textdescription")?;
    if let Some(name) = name {
        texts.name = Some(name.to_owned());
    }
    if let Some(description) = description {
        texts.description = Some(description.to_owned());
    }
    Ok(())
}

/// The list `roles`, each of them there; nothing when there is no list.
fn roles_of(model: &DynamicSecurity, object: Object<'_>) -> Result<Option<Ranked>, &'static str> {
    const INVALID: &str = "'roles' not an array or missing/invalid rolename";
    let Some(list) = object.list("roles").map_err(|_| INVALID)? else { return Ok(None) };
    let mut ranked = Ranked::default();
    for value in list {
        let entry = Object::of(value).ok_or(INVALID)?;
        let name = entry.text("rolename").ok().flatten().ok_or(INVALID)?;
        let (name, _) = model.roles.get_key_value(name).ok_or("Role not found")?;
        ranked.add(name, rank(entry)?);
    }
    Ok(Some(ranked))
}

/// The part of a list that is asked for, by name or in full, and how many there are in all.
fn page<'a, K: AsRef<str> + 'a, V: 'a>(
    object: Object<'_>,
    plural: &str,
    all: impl ExactSizeIterator<Item = (K, V)>,
    show: impl Fn(K, V) -> Value,
) -> Answer {
    let is_verbose = object.flag("verbose").map_err(|_| "Invalid verbose")?.unwrap_or(false);
    let count = object.number("count").map_err(|_| "Invalid count")?.unwrap_or(-1);
    let offset = object.number("offset").map_err(|_| "Invalid offset")?.unwrap_or(0);
    let total = all.len();
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let part = all.skip(usize::try_from(offset).unwrap_or(0)).take(count);
    let items: Vec<Value> =
        part.map(|(name, value)| if is_verbose { show(name, value) } else { name.as_ref().into() }).collect();
    Ok(Some(json!({ "totalCount": total, plural: items })))
}

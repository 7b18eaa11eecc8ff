//! One `[[role.rule]]`: what it allows or denies, on which topics, and when.
//!
//! Called by the policy file for each rule. Each topic of it becomes a rule of its own, with its own line.

use std::sync::Arc;

use super::reader::{Located, Reader, Table};
use super::time;
use crate::ranked::{Actions, Condition, Effect, ListError, Network, Rule, Substitution, variables_of};
use crate::suggest::suggestion;

pub(super) const KEYS: [&str; 15] = [
    "allow",
    "deny",
    "topics",
    "priority",
    "qos",
    "retain",
    "addresses",
    "tenants",
    "attributes",
    "days",
    "hours",
    "offset",
    "from",
    "until",
    "comment",
];

const ACTIONS: [(&str, Actions); 3] =
    [("publish", Actions::PUBLISH), ("subscribe", Actions::SUBSCRIBE), ("receive", Actions::RECEIVE)];

/// The rules of a table; none when something is wrong with it, which was then told.
pub(super) fn read(table: &Table<'_>, reader: &mut Reader) -> Vec<Rule> {
    let effect = effect(table, reader);
    let topics = topics(table, reader);
    let rank = table.number("priority", reader).unwrap_or(0);
    table.texts("comment", reader);
    let when = condition(table, reader);
    let Some((effect, actions)) = effect else { return Vec::new() };
    let is_about_publishing = !when.qos.is_empty() || when.retain.is_some();
    if is_about_publishing && actions != Actions::PUBLISH {
        let line = table.line_of(if when.qos.is_empty() { "retain" } else { "qos" }, reader);
        let hint = "make a rule of its own for publish";
        reader.error(line, "qos and retain are of messages that are published, and the rule is for more", hint);
    }
    let when = (when != Condition::default()).then(|| Arc::new(when));
    let rule = |topic: Located<String>| {
        let line = u32::try_from(topic.line).unwrap_or(u32::MAX);
        Rule { rank, effect, actions, filter: topic.value.into(), when: when.clone(), line }
    };
    topics.into_iter().map(rule).collect()
}

fn effect(table: &Table<'_>, reader: &mut Reader) -> Option<(Effect, Actions)> {
    let hint = "write allow = [\"publish\", \"subscribe\", \"receive\"] with what is meant, or deny = […]";
    let (effect, key) = match (table.has("allow"), table.has("deny")) {
        (true, false) => (Effect::Allow, "allow"),
        (false, true) => (Effect::Deny, "deny"),
        (true, true) => {
            reader.error(table.line, "a rule allows or denies, not both", "make two rules of it");
            return None;
        }
        (false, false) => {
            reader.error(table.line, "the rule neither allows nor denies", hint);
            return None;
        }
    };
    let mut actions = Actions::default();
    let words = table.texts(key, reader);
    let known: Vec<&str> = ACTIONS.iter().map(|(name, _)| *name).collect();
    for word in &words {
        match ACTIONS.iter().find(|(name, _)| **name == word.value) {
            Some((_, action)) => actions = actions.and(*action),
            None => {
                let hint = match suggestion(&word.value, &known) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("known are {}", known.join(", ")),
                };
                reader.error(word.line, format!("{key} cannot be {:?}", word.value), hint);
            }
        }
    }
    if words.is_empty() {
        reader.error(table.line_of(key, reader), format!("{key} names nothing"), hint);
    }
    (actions != Actions::default()).then_some((effect, actions))
}

fn topics(table: &Table<'_>, reader: &mut Reader) -> Vec<Located<String>> {
    let topics = table.texts("topics", reader);
    if topics.is_empty() {
        reader.error(table.line, "the rule is for no topics", "add topics = [\"…\"]");
    }
    for topic in &topics {
        let hint = match variables_of(&topic.value, Substitution::All, 0) {
            Ok(_) => continue,
            Err(ListError::MixedLevel(..)) => "give %u, %c, %t or ${NAME} a level of its own, as in data/%u/#",
            Err(_) => "`+` and `#` stand alone in a level, `#` only in the last; no NUL, at most 65535 bytes",
        };
        let shown: String = topic.value.chars().take(64).flat_map(char::escape_debug).collect();
        let what = match variables_of(&topic.value, Substitution::All, 0) {
            Err(ListError::MixedLevel(..)) => format!("a level of `{shown}` mixes a variable with other text"),
            _ => format!("`{shown}` is no topic filter"),
        };
        reader.error(topic.line, what, hint);
    }
    topics
}

fn condition(table: &Table<'_>, reader: &mut Reader) -> Condition {
    let boxed = |texts: Vec<Located<String>>| texts.into_iter().map(|text| text.value.into()).collect();
    Condition {
        qos: qos(table, reader),
        retain: table.flag("retain", reader),
        addresses: addresses(table, reader),
        attributes: table.attributes("attributes", reader),
        tenants: {
            let names = table.texts("tenants", reader);
            refuse_empty(table, "tenants", names.is_empty(), reader);
            boxed(names)
        },
        time: time::window(table, reader),
    }
}

fn qos(table: &Table<'_>, reader: &mut Reader) -> Vec<u8> {
    let Some(numbers) = table.numbers("qos", reader) else { return Vec::new() };
    let qos = |number: &i32| u8::try_from(*number).ok().filter(|qos| *qos <= 2);
    let found: Vec<u8> = numbers.value.iter().filter_map(qos).collect();
    if found.is_empty() || found.len() != numbers.value.len() {
        reader.error(numbers.line, "qos must be 0, 1 or 2, or a list of them", "write it as [0, 1]");
    }
    found
}

fn addresses(table: &Table<'_>, reader: &mut Reader) -> Vec<Network> {
    let texts = table.texts("addresses", reader);
    refuse_empty(table, "addresses", texts.is_empty(), reader);
    let mut networks = Vec::new();
    for text in texts {
        match Network::parse(&text.value) {
            Ok(network) => networks.push(network),
            Err(error) => {
                let hint = "write a network as 10.0.0.0/8 or 2001:db8::/32, or one address";
                reader.error(text.line, format!("{:?}: {error}", text.value), hint);
            }
        }
    }
    networks
}

/// A condition that nothing can fulfil is a slip; taken for "no condition" it would open what it was to close.
fn refuse_empty(table: &Table<'_>, key: &str, is_empty: bool, reader: &mut Reader) {
    if is_empty && table.has(key) {
        reader.error(table.line_of(key, reader), format!("{key} is empty"), "name at least one, or remove the line");
    }
}

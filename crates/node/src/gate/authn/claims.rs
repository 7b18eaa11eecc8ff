//! What tokens, webhooks and directories say of a client, turned into facts that policy understands.
//!
//! Used by the sources beside this file. What cannot be understood is an error and never left out: it could have been a
//! denial.

use motte_policy::ranked::{Actions, Effect};
use motte_policy::{Attributes, Grant, Grants, GrantsError, TooManyAttributes};
use serde_json::{Map, Value};
use thiserror::Error;

/// How deep objects are looked into for attributes and claims.
const DEPTH_MAX: usize = 4;

/// What of a proof cannot be understood.
#[derive(Debug, Error)]
pub(super) enum ClaimError {
    /// Access rules of a form that is not known.
    #[error("its access rules are not understood: {0}")]
    Rules(&'static str),
    /// Access rules that are none.
    #[error("its access rules cannot be used: {0}")]
    Grants(#[from] GrantsError),
    /// More attributes than are kept.
    #[error(transparent)]
    Attributes(#[from] TooManyAttributes),
}

/// All values of an object as attributes under `prefix`: texts, numbers, true and false, and lists of them. Objects in
/// it are named by a path with dots; the words of `scope` are each a value (RFC 6749, section 3.3).
pub(super) fn attributes(prefix: &str, members: &Map<String, Value>) -> Result<Attributes, ClaimError> {
    let mut attributes = Attributes::default();
    add_members(&mut attributes, prefix, members, DEPTH_MAX)?;
    Ok(attributes)
}

fn add_members(
    attributes: &mut Attributes,
    prefix: &str,
    members: &Map<String, Value>,
    depth: usize,
) -> Result<(), ClaimError> {
    for (name, value) in members {
        let name = format!("{prefix}.{name}");
        match value {
            Value::Object(members) if depth > 1 => add_members(attributes, &name, members, depth - 1)?,
            Value::Array(items) => items.iter().try_for_each(|item| add(attributes, &name, item))?,
            Value::String(words) if name.ends_with(".scope") => {
                words.split(' ').filter(|word| !word.is_empty()).try_for_each(|word| attributes.add(&name, word))?;
            }
            value => add(attributes, &name, value)?,
        }
    }
    Ok(())
}

fn add(attributes: &mut Attributes, name: &str, value: &Value) -> Result<(), ClaimError> {
    match value {
        Value::String(text) => attributes.add(name, text)?,
        Value::Number(number) => attributes.add(name, &number.to_string())?,
        Value::Bool(truth) => attributes.add(name, if *truth { "true" } else { "false" })?,
        Value::Null | Value::Array(_) | Value::Object(_) => {}
    }
    Ok(())
}

/// The claim of a name, or of a path with dots where no claim has that very name.
pub(super) fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        rest.split('.').try_fold(claims.get(first)?, |value, name| value.get(name))
    })
}

/// Access rules in one of two forms: `{"publish": [FILTER, …], "subscribe": […], "receive": […]}`, where who may
/// subscribe may receive unless `receive` says what; or a list of `{"permission": "allow" or "deny", "action":
/// "publish", "subscribe", "receive" or "all", "topic": FILTER}`, of which the first that matches decides.
pub(super) fn grants(value: &Value) -> Result<Grants, ClaimError> {
    let list = match value {
        Value::Object(members) => by_action(members)?,
        Value::Array(items) => items.iter().map(one).collect::<Result<_, _>>()?,
        _ => return Err(ClaimError::Rules("neither an object nor a list")),
    };
    Ok(Grants::new(list)?)
}

fn by_action(members: &Map<String, Value>) -> Result<Vec<Grant>, ClaimError> {
    let mut list = Vec::new();
    for (action, filters) in members {
        let actions = match action.as_str() {
            "publish" => Actions::PUBLISH,
            "subscribe" if members.contains_key("receive") => Actions::SUBSCRIBE,
            "subscribe" => Actions::READ,
            "receive" => Actions::RECEIVE,
            _ => return Err(ClaimError::Rules("an action other than publish, subscribe and receive")),
        };
        let filters = filters.as_array().ok_or(ClaimError::Rules("an action without a list of filters"))?;
        for filter in filters {
            let filter = filter.as_str().ok_or(ClaimError::Rules("a filter that is no text"))?;
            list.push(Grant { effect: Effect::Allow, actions, filter: filter.into() });
        }
    }
    Ok(list)
}

fn one(item: &Value) -> Result<Grant, ClaimError> {
    let members = item.as_object().ok_or(ClaimError::Rules("a rule that is no object"))?;
    if members.keys().any(|name| !matches!(name.as_str(), "permission" | "action" | "topic")) {
        return Err(ClaimError::Rules("a rule with more than permission, action and topic"));
    }
    let text = |name| members.get(name).and_then(Value::as_str);
    let effect = match text("permission") {
        Some("allow") => Effect::Allow,
        Some("deny") => Effect::Deny,
        _ => return Err(ClaimError::Rules("a permission other than allow and deny")),
    };
    let actions = match text("action") {
        Some("publish") => Actions::PUBLISH,
        Some("subscribe") => Actions::READ,
        Some("receive") => Actions::RECEIVE,
        Some("all") => Actions::PUBLISH.and(Actions::READ),
        _ => return Err(ClaimError::Rules("an action other than publish, subscribe, receive and all")),
    };
    let filter = text("topic").ok_or(ClaimError::Rules("a rule without a topic"))?.into();
    Ok(Grant { effect, actions, filter })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use serde_json::json;

    use super::*;

    fn shown(value: &Value) -> Vec<(Effect, Actions, String)> {
        let of = |grant: &Grant| (grant.effect, grant.actions, grant.filter.to_string());
        grants(value).unwrap().list().iter().map(of).collect()
    }

    #[test]
    fn both_forms_of_access_rules_are_read() {
        let read = shown(&json!({ "publish": ["a/%c", "b"], "subscribe": ["c/#"] }));
        let expected = [(Actions::PUBLISH, "a/%c"), (Actions::PUBLISH, "b"), (Actions::READ, "c/#")];
        assert_eq!(read, expected.map(|(actions, filter)| (Effect::Allow, actions, filter.to_owned())));
        let narrow = shown(&json!({ "subscribe": ["c/#"], "receive": ["c/d"] }));
        let expected = [(Actions::SUBSCRIBE, "c/#"), (Actions::RECEIVE, "c/d")];
        assert_eq!(narrow, expected.map(|(actions, filter)| (Effect::Allow, actions, filter.to_owned())));
        let list = shown(&json!([
            { "permission": "deny", "action": "publish", "topic": "a/secret" },
            { "permission": "allow", "action": "all", "topic": "a/#" },
        ]));
        assert_eq!(list[0], (Effect::Deny, Actions::PUBLISH, "a/secret".to_owned()));
        assert_eq!(list[1], (Effect::Allow, Actions::PUBLISH.and(Actions::READ), "a/#".to_owned()));
        assert_eq!(shown(&json!({})), []);
    }

    #[test]
    fn k28_rules_that_are_not_understood_are_no_rules() {
        for value in [
            json!("a/#"),
            json!(null),
            json!({ "publish": "a/#" }),
            json!({ "publish": [1] }),
            json!({ "publsh": ["a"] }),
            json!({ "deny": ["a"] }),
            json!([["a"]]),
            json!([{ "permission": "allow", "action": "publish" }]),
            json!([{ "permission": "allow", "action": "pub", "topic": "a" }]),
            json!([{ "permission": "Allow", "action": "publish", "topic": "a" }]),
            json!([{ "permission": "allow", "action": "publish", "topic": "a", "qos": 1 }]),
            json!({ "publish": ["a/#/b"] }),
            json!({ "publish": vec!["a"; 300] }),
        ] {
            assert!(grants(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn claims_become_attributes() {
        let claims = json!({
            "sub": "pump", "level": 7, "admin": false, "groups": ["a", "b", "a"], "scope": "read write",
            "realm": { "roles": ["x"], "deep": { "deeper": { "deepest": "too deep" } } }, "none": null,
        });
        let attributes = attributes("jwt", claims.as_object().unwrap()).unwrap();
        let all: Vec<_> = attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = [
            "jwt.admin=false",
            "jwt.groups=a",
            "jwt.groups=b",
            "jwt.level=7",
            "jwt.realm.roles=x",
            "jwt.scope=read",
            "jwt.scope=write",
            "jwt.sub=pump",
        ];
        assert_eq!(all.iter().map(String::as_str).filter(|line| !line.contains("deep")).collect::<Vec<_>>(), expected);
        let many: Map<String, Value> = (0..300).map(|n| (n.to_string(), json!("x"))).collect();
        assert!(matches!(super::attributes("jwt", &many), Err(ClaimError::Attributes(_))));
    }

    #[test]
    fn claims_are_found_by_name_and_by_path() {
        let claims = json!({ "a.b": 1, "a": { "b": 2, "c": { "d": 3 } }, "https://x/acl": 4 });
        let claims = claims.as_object().unwrap();
        for (name, expected) in
            [("a.b", Some(1)), ("a.c.d", Some(3)), ("https://x/acl", Some(4)), ("a.x", None), ("x", None)]
        {
            assert_eq!(claim(claims, name).and_then(Value::as_u64), expected, "{name}");
        }
    }
}

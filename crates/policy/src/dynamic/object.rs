//! JSON objects read as Mosquitto reads them: names of members in any case.
//!
//! Called by `read` for the file and by the commands for what a client sent. Decides nothing about what a value means.

use serde_json::{Map, Value};
use zeroize::Zeroize as _;

/// A member that is there and is not of the kind that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongKind;

/// An object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object<'a>(&'a Map<String, Value>);

impl<'a> Object<'a> {
    /// The value as an object, if it is one.
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        value.as_object().map(Self)
    }

    /// A member; `null` counts as absent.
    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        let found = self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        found.filter(|value| !value.is_null())
    }

    /// The first name that is none of `known`, or that stands there twice in two spellings.
    pub(super) fn stranger(self, known: &[&str]) -> Option<&'a str> {
        let mut seen = Vec::with_capacity(known.len());
        self.0.keys().map(String::as_str).find(|key| {
            let place = known.iter().position(|name| name.eq_ignore_ascii_case(key));
            let is_strange = place.is_none_or(|place| seen.contains(&place));
            seen.extend(place);
            is_strange
        })
    }

    /// A text, if it is there.
    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>, WrongKind> {
        self.of_kind(name, Value::as_str)
    }

    /// A whole number, if it is there; one beyond 64 bits is the nearest.
    pub(super) fn number(self, name: &str) -> Result<Option<i64>, WrongKind> {
        self.of_kind(name, |value| value.as_i64().or_else(|| value.as_u64().map(|_| i64::MAX)))
    }

    /// Yes or no, if it is there.
    pub(super) fn flag(self, name: &str) -> Result<Option<bool>, WrongKind> {
        self.of_kind(name, Value::as_bool)
    }

    /// A list, if it is there.
    pub(super) fn list(self, name: &str) -> Result<Option<&'a [Value]>, WrongKind> {
        self.of_kind(name, |value| value.as_array().map(Vec::as_slice))
    }

    fn of_kind<T>(self, name: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Result<Option<T>, WrongKind> {
        self.get(name).map(|value| read(value).ok_or(WrongKind)).transpose()
    }
}

/// Wipes every text in a value that may hold a password.
pub(super) fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

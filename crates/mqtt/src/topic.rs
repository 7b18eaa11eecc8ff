//! Topic names, topic filters and shared subscription filters: grammar and matching (MQTT 5.0 §4.7, §4.8.2).
//!
//! Called by broker, policy-facing code and client. Matching is byte by byte, without normalisation (MQTT-4.7.3-4),
//! iterative, and linear in the length of its inputs.

use thiserror::Error;

/// Why a text is no topic name or filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TopicError {
    /// At least one character is needed (MQTT-4.7.3-1).
    #[error("is empty")]
    Empty,
    /// More than 65,535 bytes (MQTT-4.7.3-3).
    #[error("is longer than 65,535 bytes")]
    TooLong,
    /// More levels than the limit.
    #[error("has too many levels")]
    TooDeep,
    /// A wildcard in a topic name (MQTT-4.7.0-1).
    #[error("holds a wildcard")]
    Wildcard,
    /// `#` not last or not alone in its level (MQTT-4.7.1-1), or `+` not alone in its level (MQTT-4.7.1-2).
    #[error("has a wildcard that does not fill its level, or '#' before the end")]
    Grammar,
    /// A character MQTT forbids: U+0000 (MQTT-4.7.3-2).
    #[error("holds a forbidden character")]
    Character,
    /// `$share` without a name, with a wildcard in the name, or without a filter (MQTT-4.8.2-1, MQTT-4.8.2-2).
    #[error("is no valid shared subscription")]
    Share,
}

/// A checked topic name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Checks the grammar; `levels_max` bounds the number of levels.
    pub fn parse(_text: &'a str, _levels_max: usize) -> Result<Self, TopicError> {
        todo!()
    }
    /// The text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// A checked topic filter, without any `$share` prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicFilter<'a>(&'a str);

impl<'a> TopicFilter<'a> {
    /// Checks the grammar; `levels_max` bounds the number of levels.
    pub fn parse(_text: &'a str, _levels_max: usize) -> Result<Self, TopicError> {
        todo!()
    }
    /// The text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
    /// Whether it holds `+` or `#`.
    #[must_use]
    pub fn has_wildcard(self) -> bool {
        todo!()
    }
    /// Whether `topic` matches; a leading wildcard never matches a topic starting with `$` (MQTT-4.7.2-1).
    #[must_use]
    pub fn matches(self, _topic: TopicName<'_>) -> bool {
        todo!()
    }
}

/// The name of a shared subscription's group: non-empty, without `/`, `+`, `#`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShareName<'a>(&'a str);

impl<'a> ShareName<'a> {
    /// The text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// What a SUBSCRIBE may name: a filter, or a filter shared by a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionFilter<'a> {
    /// The group, for `$share/NAME/FILTER`.
    pub share: Option<ShareName<'a>>,
    /// The filter that is matched.
    pub filter: TopicFilter<'a>,
}

impl<'a> SubscriptionFilter<'a> {
    /// Checks the grammar, with or without `$share/`; `levels_max` bounds the levels of the filter itself.
    pub fn parse(_text: &'a str, _levels_max: usize) -> Result<Self, TopicError> {
        todo!()
    }
}

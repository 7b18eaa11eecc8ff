//! Topic names, topic filters and shared subscription filters: grammar and matching (MQTT 5.0 §4.7, §4.8.2).
//!
//! Called by broker, policy-facing code and client. Matching is byte by byte, without normalisation (MQTT-4.7.3-4),
//! iterative, and linear in the length of its inputs.

use thiserror::Error;

use crate::wire::{FIELD_MAX, has_nul, has_wildcard};

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
    pub fn parse(text: &'a str, levels_max: usize) -> Result<Self, TopicError> {
        check(text, levels_max)?;
        if has_wildcard(text.as_bytes()) {
            return Err(TopicError::Wildcard);
        }
        Ok(Self(text))
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
    pub fn parse(text: &'a str, levels_max: usize) -> Result<Self, TopicError> {
        check(text, levels_max)?;
        let mut levels = text.split('/');
        while let Some(level) = levels.next() {
            let alone = level.len() == 1;
            if level.contains('+') && !alone || level.contains('#') && !(alone && levels.next().is_none()) {
                return Err(TopicError::Grammar);
            }
        }
        Ok(Self(text))
    }
    /// The text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
    /// Whether it holds `+` or `#`.
    #[must_use]
    pub fn has_wildcard(self) -> bool {
        has_wildcard(self.0.as_bytes())
    }
    /// Whether `topic` matches; a leading wildcard never matches a topic starting with `$` (MQTT-4.7.2-1).
    #[must_use]
    pub fn matches(self, topic: TopicName<'_>) -> bool {
        if topic.0.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut names = topic.0.split('/');
        for level in self.0.split('/') {
            match (level, names.next()) {
                // `a/#` matches `a` as well: `#` includes the parent level.
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (level, Some(name)) if level == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
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
    pub fn parse(text: &'a str, levels_max: usize) -> Result<Self, TopicError> {
        let Some(shared) = text.strip_prefix("$share").filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
            return Ok(Self { share: None, filter: TopicFilter::parse(text, levels_max)? });
        };
        if text.len() > FIELD_MAX {
            return Err(TopicError::TooLong);
        }
        let (name, filter) = shared.strip_prefix('/').and_then(|rest| rest.split_once('/')).ok_or(TopicError::Share)?;
        if has_nul(name.as_bytes()) {
            return Err(TopicError::Character);
        }
        if name.is_empty() || has_wildcard(name.as_bytes()) || filter.is_empty() {
            return Err(TopicError::Share);
        }
        Ok(Self { share: Some(ShareName(name)), filter: TopicFilter::parse(filter, levels_max)? })
    }
}

/// What names and filters have in common.
fn check(text: &str, levels_max: usize) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > FIELD_MAX {
        return Err(TopicError::TooLong);
    }
    if has_nul(text.as_bytes()) {
        return Err(TopicError::Character);
    }
    let slashes = text.bytes().filter(|byte| *byte == b'/').count();
    if slashes >= levels_max {
        return Err(TopicError::TooDeep);
    }
    Ok(())
}

//! ACL files in Mosquitto's grammar, compiled into an immutable snapshot.
//!
//! Called at accept, subscribe and delivery. A broken file is no policy at all: parsing gives every error, and the
//! caller keeps the old snapshot or refuses to start.

mod filter;
mod parse;
#[cfg(test)]
mod tests;
mod trie;

use std::collections::BTreeMap;

use thiserror::Error;

use crate::identity::Subject;
pub(crate) use filter::{is_filter, is_reserved_write, is_topic_name};
use parse::Line;
use trie::{Names, Rights, Trie};

/// What somebody wants to do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Publish a message to it (`write`).
    Publish,
    /// Be given a message of it (`read`).
    Receive,
}

impl Action {
    fn right(self) -> Rights {
        match self {
            Self::Publish => Rights::WRITE,
            Self::Receive => Rights::READ,
        }
    }
}

/// The answer to a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeVerdict {
    /// Some topic the filter matches may be received; each delivery is judged again.
    Granted,
    /// Nothing the filter matches may be received.
    Refused,
}

/// One error, or one warning, about a line of an ACL file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct AclError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong. Text of the file stands in it escaped and shortened.
    pub what: String,
    /// What to do.
    pub hint: String,
}

/// An immutable set of rules.
///
/// A decision asks first the list of the subject's user name (or the list for clients with no name), then the list of
/// patterns. In a list a matching `deny` wins over everything, then a matching rule with the wanted right allows; a
/// list without an answer passes on to the next, and the end of the last one denies. Inside a list this is the same
/// as Mosquitto's "first match, denies moved to the front".
#[derive(Debug, Default)]
pub struct Policy {
    anonymous: Trie,
    users: BTreeMap<Box<str>, Trie>,
    patterns: Trie,
    patterns_use_user: bool,
    patterns_use_client: bool,
    warnings: Vec<AclError>,
}

impl Policy {
    /// The policy that denies everything.
    #[must_use]
    pub fn deny_all() -> Self {
        Self::default()
    }

    /// Compiles the text of an ACL file, or gives all its errors in the order of lines. A text with no rule denies
    /// everything.
    pub fn parse(text: &str) -> Result<Self, Vec<AclError>> {
        let mut policy = Self::default();
        let mut errors = Vec::new();
        let mut section = None;
        for (index, raw) in text.split('\n').enumerate() {
            match parse::line(raw) {
                Ok(Line::Blank) => {}
                Ok(Line::User(name)) => {
                    policy.users.entry(name.into()).or_default();
                    section = Some(name);
                }
                Ok(Line::Topic { rights, filter }) => policy.list_mut(section).insert_literal(filter, rights),
                Ok(Line::Pattern { rights, filter }) => policy.add_pattern(index + 1, filter, rights),
                Err((what, hint)) => errors.push(AclError { line: index + 1, what, hint: hint.into() }),
            }
        }
        if errors.is_empty() { Ok(policy) } else { Err(errors) }
    }

    /// What is allowed in the file but hardly meant, in the order of lines.
    #[must_use]
    pub fn warnings(&self) -> &[AclError] {
        &self.warnings
    }

    /// Whether `who` may do `action` on the topic name `topic`. What is no topic name is denied.
    #[must_use]
    pub fn allows(&self, who: &Subject, action: Action, topic: &str) -> bool {
        if !is_topic_name(topic) || self.is_unsafe(who) || (action == Action::Publish && is_reserved_write(topic)) {
            return false;
        }
        let names = Names::of(who);
        for list in self.lists(who) {
            let rights = list.rights(&names, topic);
            if rights.has(Rights::DENY) {
                return false;
            }
            if rights.has(action.right()) {
                return true;
            }
        }
        false
    }

    /// Whether a subscription of `who` to `filter` (without any `$share/…/`) can ever receive anything. What is no
    /// filter is refused.
    ///
    /// A part of the filter counts as denied when one `deny` holds all of it. What only several denies hold together is
    /// granted and receives nothing, because every delivery is judged by [`Policy::allows`].
    #[must_use]
    pub fn may_subscribe(&self, who: &Subject, filter: &str) -> SubscribeVerdict {
        if !is_filter(filter) || self.is_unsafe(who) {
            return SubscribeVerdict::Refused;
        }
        let names = Names::of(who);
        let mut before: Vec<&Trie> = Vec::with_capacity(2);
        for list in self.lists(who) {
            before.push(list);
            if before.iter().any(|denies| denies.denies_all_of(&names, filter)) {
                return SubscribeVerdict::Refused;
            }
            let open =
                list.overlaps(&names, filter, |common| !before.iter().any(|denies| denies.denies_all(&names, common)));
            if open {
                return SubscribeVerdict::Granted;
            }
        }
        SubscribeVerdict::Refused
    }

    /// Whether a name of `who` that a pattern would put into a topic could mean more than one level (K17).
    pub(crate) fn is_unsafe(&self, who: &Subject) -> bool {
        let widens = |name: &str| name.is_empty() || name.contains(['+', '#', '/']);
        (self.patterns_use_user && who.identity.user_name().is_some_and(widens))
            || (self.patterns_use_client && widens(&who.client_id.0))
    }

    /// The lists that are asked about `who`, in their order.
    fn lists(&self, who: &Subject) -> impl Iterator<Item = &Trie> {
        let own = match who.identity.user_name() {
            Some(name) => self.users.get(name),
            None => Some(&self.anonymous),
        };
        own.into_iter().chain([&self.patterns])
    }

    fn list_mut(&mut self, section: Option<&str>) -> &mut Trie {
        match section {
            Some(name) => self.users.entry(name.into()).or_default(),
            None => &mut self.anonymous,
        }
    }

    fn add_pattern(&mut self, line: usize, filter: &str, rights: Rights) {
        let user = filter.split('/').any(|level| level == "%u");
        let client = filter.split('/').any(|level| level == "%c");
        self.patterns_use_user |= user;
        self.patterns_use_client |= client;
        self.patterns.insert_pattern(filter, rights);
        if !user && !client {
            self.warnings.push(AclError {
                line,
                what: "a pattern without %u or %c holds for everybody".into(),
                hint: "put %u or %c in a level of its own, or write a `topic` line for each user it is meant for"
                    .into(),
            });
        }
    }
}

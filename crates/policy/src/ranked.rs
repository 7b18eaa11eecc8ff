//! The rule engine: ranked rules with effects, actions, filters, variables and conditions, compiled so that a decision
//! visits what matches and not what there is.
//!
//! Every grammar compiles to it: Mosquitto's ACL file ([`crate::acl`]), Motte's policy file, the roles of dynamic
//! security, and the rights that come with a token ([`crate::Grants`]). What it is made of:
//!
//! - A [`Rule`] allows or denies [`Actions`] on the topics of a filter. Where its list substitutes variables, a level
//!   that is `%u`, `%c`, `%t` or `${NAME}` stands for one whole level, the user, client, tenant or attribute of who is
//!   judged; what would not be one level matches nothing (K17). A [`Condition`] makes it hold at some times only.
//! - A [`List`] is a role: in it the rule of the highest rank decides, among equals a denial, then the one that was
//!   given first. Compiled with [`List::compile`], it never changes and is shared.
//! - A [`RuleSet`] says which lists are asked about whom, and in which order: the first list with a matching rule
//!   decides. Built with [`RuleSetBuilder`].
//! - [`crate::Policy`] asks its rule sets; a denial of any of them is final.
//!
//! The rules about topics are [`Actions::PUBLISH`], [`Actions::SUBSCRIBE`] and [`Actions::RECEIVE`]: a message is given
//! to a subscriber whose rules allow the latter two for its topic, so that a subscription holds for the part of its
//! filter that is allowed. The other four are about filters as they are asked for, as dynamic security has them: the
//! literal ones match a filter byte for byte, the pattern ones when theirs holds all of it. A list can refuse to have
//! anything subscribed to with wildcards, before its rules are asked ([`List::refusing_wildcards`]).

mod condition;
mod cover;
mod list;
mod set;
mod table;
mod trie;

pub use condition::{Condition, Network, NetworkError, TimeWindow};
pub use list::{List, ListError, Substitution};
pub use set::{RuleSet, RuleSetBuilder};

pub(crate) use condition::DAYS;
pub(crate) use cover::{Coverage, Parts};
pub(crate) use list::{Decided, Judging, variable, variables_of};
pub(crate) use trie::{Variable, canonical};

use std::sync::Arc;

/// Whether a rule allows or denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// It denies. Comes before an allowance of the same rank.
    Deny,
    /// It allows.
    Allow,
}

/// A set of things a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Actions(u8);

impl Actions {
    /// Publishing a message to a topic.
    pub const PUBLISH: Self = Self(1);
    /// Holding a subscription in which a topic is.
    pub const SUBSCRIBE: Self = Self(1 << 1);
    /// Being given a message of a topic.
    pub const RECEIVE: Self = Self(1 << 2);
    /// Subscribing to a filter that is written like the rule's.
    pub const SUBSCRIBE_LITERAL: Self = Self(1 << 3);
    /// Subscribing to a filter of which the rule's holds every topic.
    pub const SUBSCRIBE_PATTERN: Self = Self(1 << 4);
    /// Unsubscribing from a filter that is written like the rule's.
    pub const UNSUBSCRIBE_LITERAL: Self = Self(1 << 5);
    /// Unsubscribing from a filter of which the rule's holds every topic.
    pub const UNSUBSCRIBE_PATTERN: Self = Self(1 << 6);
    /// Subscribing to topics and being given their messages.
    pub const READ: Self = Self(0b110);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether something of `other` is in it.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The set as a number, to be kept.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set of a number; `None` for one that is of no set.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits >> 7 == 0 { Some(Self(bits)) } else { None }
    }
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its place in its list: the highest comes first.
    pub rank: i32,
    /// Whether it allows or denies.
    pub effect: Effect,
    /// What it is about.
    pub actions: Actions,
    /// The topics, as a topic filter.
    pub filter: Box<str>,
    /// When it holds; `None` is always.
    pub when: Option<Arc<Condition>>,
    /// The line of the file it stands in, for whoever asks why; 0 for none.
    pub line: u32,
}

/// Questions about one topic, as bits that are answered together: publishing with each QoS, with RETAIN and without;
/// subscribing; receiving.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Questions(pub(crate) u8);

impl Questions {
    pub(crate) const PUBLISH: Self = Self(0b11_1111);
    pub(crate) const SUBSCRIBE: Self = Self(1 << 6);
    pub(crate) const RECEIVE: Self = Self(1 << 7);
    pub(crate) const READ: Self = Self(0b1100_0000);

    /// Publishing one way. What is no QoS is nothing that could be allowed.
    pub(crate) fn publish(qos: u8, retain: bool) -> Self {
        if qos > 2 { Self(0) } else { Self(1 << (qos + if retain { 3 } else { 0 })) }
    }

    /// Whether something of `other` is among them.
    pub(crate) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// What a rule with these actions and this condition answers.
    pub(crate) fn answered_by(actions: Actions, when: Option<&Condition>) -> Self {
        let mut bits = 0;
        if actions.has(Actions::PUBLISH) {
            bits |= when.map_or(Self::PUBLISH.0, Condition::publish_bits);
        }
        for (action, question) in [(Actions::SUBSCRIBE, Self::SUBSCRIBE), (Actions::RECEIVE, Self::RECEIVE)] {
            bits |= if actions.has(action) { question.0 } else { 0 };
        }
        Self(bits)
    }
}

#[cfg(test)]
mod tests;

//! Why something is allowed or denied: the rules that decided.
//!
//! Called by the command line. Takes the same way as a decision, so that what it tells is what happens.

use super::{Policy, Publishing, Source};
use crate::identity::Subject;
use crate::ranked::{Effect, Questions, Rule};

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question<'a> {
    /// Publishing a message.
    Publish(Publishing<'a>),
    /// Holding a subscription in which a topic is.
    Subscribe(&'a str),
    /// Being given a message of a topic.
    Receive(&'a str),
}

/// A rule that had an answer.
#[derive(Clone, Copy, Debug)]
pub struct Reason<'a> {
    /// Where the rule is from.
    pub source: Source,
    /// The list it stands in.
    pub list: &'a str,
    /// The rule.
    pub rule: &'a Rule,
    /// Whether its answer counts: an allowance does not for whom another source alone allows, nor for a topic of the
    /// broker's own.
    pub counts: bool,
}

/// A decision and what it is made of.
#[derive(Clone, Debug)]
pub struct Explanation<'a> {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The rule of each source that has an answer. What is not allowed and has no reason here is denied because no rule
    /// allows it.
    pub reasons: Vec<Reason<'a>>,
    /// Whether the user name or the client identifier is more than one level, which no rule is asked about (K17).
    pub is_unsafe: bool,
}

impl Policy {
    /// Answers a question about a topic name, with reasons.
    #[must_use]
    pub fn explain<'a>(&'a self, who: &'a Subject, question: Question<'_>) -> Explanation<'a> {
        let (topic, asked) = match question {
            Question::Publish(what) => (what.topic, Questions::publish(what.qos, what.retain)),
            Question::Subscribe(topic) => (topic, Questions::SUBSCRIBE),
            Question::Receive(topic) => (topic, Questions::RECEIVE),
        };
        let mut reasons = Vec::new();
        let answer = self.decide_telling(who, topic, asked, |set, decided| {
            let is_open = decided.rule.effect == Effect::Deny || set.opens(topic, asked);
            let counts = is_open && (set.may_allow || decided.rule.effect == Effect::Deny);
            reasons.push(Reason { source: set.source, list: decided.list, rule: decided.rule, counts });
        });
        Explanation { allowed: asked.0 != 0 && answer == asked, reasons, is_unsafe: self.is_unsafe(who) }
    }
}

//! The policy in force: every set of rules there is, asked together.
//!
//! Asked by the broker at accept, subscribe and delivery, and by the command line. Immutable: a change, or a window of
//! time that opens or closes, is another policy.

mod explain;
mod subscribe;

use std::sync::Arc;

use smallvec::SmallVec;

pub use explain::{Explanation, Question, Reason};
pub use subscribe::{Narrowed, PARTS_MAX};

use crate::acl::{Acl, AclError};
use crate::control::Endpoint;
use crate::identity::Subject;
use crate::ranked::{Decided, Judging, Questions, RuleSet};
use crate::topic::{Reserved, is_topic_name, reserved};

/// What somebody wants to do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Publish a message to it, with any QoS, retained or not.
    Publish,
    /// Be given a message of it.
    Receive,
}

impl Action {
    fn questions(self) -> Questions {
        match self {
            Self::Publish => Questions::PUBLISH,
            Self::Receive => Questions::READ,
        }
    }
}

/// The answer to a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeVerdict {
    /// Every topic the filter matches may be received.
    Granted,
    /// Some may, and some may not: each delivery is judged again.
    Narrowed,
    /// Nothing the filter matches may be received.
    Refused,
}

/// In which ways somebody may publish to a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishRight(Questions);

impl PublishRight {
    /// Whether a message of this QoS, to be retained or not, may be published.
    #[must_use]
    pub fn allows(self, qos: u8, retain: bool) -> bool {
        self.0.0 & Questions::publish(qos, retain).0 != 0
    }

    /// Whether there is any way at all.
    #[must_use]
    pub fn is_some(self) -> bool {
        self.0.0 != 0
    }
}

/// What somebody wants to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publishing<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its QoS as a number.
    pub qos: u8,
    /// Whether it is to be retained.
    pub retain: bool,
}

/// Which file or interface a set of rules is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Motte's policy file.
    PolicyFile,
    /// Mosquitto's ACL file.
    AclFile,
    /// Dynamic security.
    Dynamic,
    /// Rights that came with the proof of identity.
    Grants,
}

/// Immutable sets of rules, judged together: one denial is enough to refuse, and without an allowance nothing is
/// allowed. For whom dynamic security knows, it alone allows, and the others may deny only.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    file: Option<Arc<RuleSet>>,
    acl: Option<Arc<Acl>>,
    dynamic: Option<Arc<RuleSet>>,
    /// Seconds of Unix time for conditions on time.
    now: u64,
}

/// A set of rules as it is asked about somebody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) source: Source,
    pub(crate) rules: &'a RuleSet,
    /// Whether what it allows counts.
    pub(crate) may_allow: bool,
}

impl Asked<'_> {
    /// Whether its rules can open a topic for what is asked: nobody's can for publishing what the broker tells of
    /// itself, and commands to the broker are opened, where it takes any, by the files and interfaces that speak of
    /// them.
    fn opens(&self, topic: &str, asked: Questions) -> bool {
        if asked.0 & Questions::PUBLISH.0 == 0 {
            return true;
        }
        match reserved(topic) {
            Reserved::No => true,
            Reserved::Control => {
                Endpoint::of(topic).is_some() && matches!(self.source, Source::PolicyFile | Source::Dynamic)
            }
            Reserved::System => false,
        }
    }
}

impl Policy {
    /// The policy that denies everything.
    #[must_use]
    pub fn deny_all() -> Self {
        Self::default()
    }

    /// The policy of an ACL file, or all its errors in the order of lines. A text with no rule denies everything.
    pub fn parse(text: &str) -> Result<Self, Vec<AclError>> {
        Ok(Self { acl: Some(Arc::new(Acl::parse(text)?)), ..Self::default() })
    }

    /// The same with the rules of an ACL file.
    #[must_use]
    pub fn with_acl(self, acl: Arc<Acl>) -> Self {
        Self { acl: Some(acl), ..self }
    }

    /// The same with the rules of Motte's policy file.
    #[must_use]
    pub fn with_file(self, rules: Arc<RuleSet>) -> Self {
        Self { file: Some(rules), ..self }
    }

    /// The same with the rules of dynamic security, or without.
    #[must_use]
    pub fn with_dynamic(self, rules: Option<Arc<RuleSet>>) -> Self {
        Self { dynamic: rules, ..self }
    }

    /// The same at a second of Unix time: rules with a condition on time hold as they do then. A verdict holds for as
    /// long as the policy, so there has to be another one when [`Policy::is_outdated`] says so.
    #[must_use]
    pub fn at(&self, now: u64) -> Self {
        Self { now, ..self.clone() }
    }

    /// Whether a window of time has opened or closed between the time of the policy and `now`.
    #[must_use]
    pub fn is_outdated(&self, now: u64) -> bool {
        let sets = self.file.iter().chain(&self.dynamic);
        sets.flat_map(|rules| rules.windows()).any(|window| window.contains(now) != window.contains(self.now))
    }

    /// What is allowed in the ACL file but hardly meant, in the order of lines.
    #[must_use]
    pub fn warnings(&self) -> &[AclError] {
        self.acl.as_ref().map_or(&[], |acl| acl.warnings())
    }

    /// Whether `who` may do `action` on the topic name `topic`. What is no topic name is denied.
    #[must_use]
    pub fn allows(&self, who: &Subject, action: Action, topic: &str) -> bool {
        let asked = action.questions();
        self.decide(who, topic, asked).0 == asked.0
    }

    /// In which ways `who` may publish to the topic name `topic`.
    #[must_use]
    pub fn publish(&self, who: &Subject, topic: &str) -> PublishRight {
        PublishRight(self.decide(who, topic, Questions::PUBLISH))
    }

    /// Whether `who` may publish this.
    #[must_use]
    pub fn may_publish(&self, who: &Subject, what: Publishing<'_>) -> bool {
        let asked = Questions::publish(what.qos, what.retain);
        asked.0 != 0 && self.decide(who, what.topic, asked) == asked
    }

    /// Whether a name of `who` that a rule would put into a topic could mean more than one level (K17).
    pub(crate) fn is_unsafe(&self, who: &Subject) -> bool {
        self.asked_about(who).iter().any(|asked| asked.rules.is_unsafe(who))
    }

    /// The sets that are asked about `who`.
    pub(crate) fn asked_about<'a>(&'a self, who: &'a Subject) -> SmallVec<[Asked<'a>; 4]> {
        let dynamic = self.dynamic.as_deref().filter(|rules| rules.knows(who));
        let may_allow = dynamic.is_none();
        let file = self.file.as_deref().map(|rules| Asked { source: Source::PolicyFile, rules, may_allow });
        let acl = self.acl.as_deref().map(|acl| Asked { source: Source::AclFile, rules: acl.rules(), may_allow });
        let grants = who.grants.as_deref();
        let grants = grants.map(|grants| Asked { source: Source::Grants, rules: grants.rules(), may_allow });
        let dynamic = dynamic.map(|rules| Asked { source: Source::Dynamic, rules, may_allow: true });
        file.into_iter().chain(acl).chain(dynamic).chain(grants).collect()
    }

    /// Every set of rules that is not somebody's alone.
    pub(crate) fn sets(&self) -> impl Iterator<Item = &RuleSet> {
        let acl = self.acl.iter().map(|acl| acl.rules());
        self.file.as_deref().into_iter().chain(acl).chain(self.dynamic.as_deref())
    }

    pub(crate) fn judging<'a>(&self, who: &'a Subject) -> Judging<'a> {
        Judging { who, now: self.now }
    }

    /// The questions that are answered with yes.
    fn decide(&self, who: &Subject, topic: &str, asked: Questions) -> Questions {
        self.decide_telling(who, topic, asked, |_, _| ())
    }

    /// The same; calls with each rule that has an answer, and where it is from.
    pub(crate) fn decide_telling<'a>(
        &'a self,
        who: &'a Subject,
        topic: &str,
        asked: Questions,
        mut tell: impl FnMut(Asked<'a>, Decided<'a>),
    ) -> Questions {
        let sets = self.asked_about(who);
        if !is_topic_name(topic) || sets.iter().any(|set| set.rules.is_unsafe(who)) {
            return Questions(0);
        }
        let (mut allowed, mut denied) = (0, 0);
        for set in sets {
            let answer = set.rules.decide(self.judging(who), topic, asked, |decided| tell(set, decided));
            allowed |= if set.may_allow && set.opens(topic, asked) { answer.allowed } else { 0 };
            denied |= answer.denied;
        }
        Questions(allowed & !denied)
    }
}

#[cfg(test)]
mod tests;

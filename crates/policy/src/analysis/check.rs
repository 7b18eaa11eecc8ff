//! Rules that never decide, contradict each other, or open more than anybody can mean.
//!
//! Called by `motte acl check` for each file. Looks each rule up in the tree of its own list, so that 100,000 rules are
//! checked in moments.

use std::sync::Arc;

use crate::facts::{Attributes, Facts};
use crate::identity::{ClientId, Identity, Subject, TenantName, UserName};
use crate::ranked::{Actions, Effect, List, Questions, Rule, RuleSet, Variable, canonical};
use crate::topic::{Reserved, reserved};

/// What is wrong with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// Another rule for the same topics says the opposite.
    Contradicting,
    /// Earlier rules that say otherwise hold all its topics.
    Unreachable,
    /// Earlier rules that say the same hold all its topics.
    Shadowed,
    /// It opens everything.
    OverBroad,
    /// It can have no effect, or is for nobody.
    Idle,
    /// It speaks of a user that does not exist.
    UnknownUser,
}

impl FindingKind {
    /// How it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Contradicting => "contradicting",
            Self::Unreachable => "unreachable",
            Self::Shadowed => "shadowed",
            Self::OverBroad => "over-broad",
            Self::Idle => "idle",
            Self::UnknownUser => "unknown-user",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Line of the rule.
    pub line: usize,
    /// What kind of thing.
    pub kind: FindingKind,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: String,
}

/// Everything that is wrong with the rules of a file, in the order of lines.
#[must_use]
pub fn check(rules: &RuleSet) -> Vec<Finding> {
    let mut found = Vec::new();
    for list in rules.lists() {
        let who = symbolic(list);
        let is_for_all = rules.is_for_all(list);
        for (id, rule) in list.rules().iter().enumerate() {
            found.extend(covered(list, &who, id, rule));
            found.extend(over_broad(rule, is_for_all));
            found.extend(without_effect(rule));
        }
    }
    found.sort_by(|a, b| (a.line, a.kind, &a.what).cmp(&(b.line, b.kind, &b.what)));
    found.dedup();
    found
}

/// The users a file speaks of that are not among those who can log in.
#[must_use]
pub fn unknown_users<'a>(
    named: impl IntoIterator<Item = (&'a str, usize)>,
    is_known: impl Fn(&str) -> bool,
) -> Vec<Finding> {
    let unknown = named.into_iter().filter(|(name, _)| !is_known(name));
    let finding = |(name, line): (&str, usize)| Finding {
        line,
        kind: FindingKind::UnknownUser,
        what: format!("there is no user {name:?} in the password file"),
        hint: "add the user with `motte passwd add`, or remove the rules; a certificate may also give this name".into(),
    };
    unknown.map(finding).collect()
}

/// Somebody whose names are the variables themselves: a rule then holds another one for everybody alike.
fn symbolic(list: &List) -> Subject {
    let mut attributes = Attributes::default();
    for variable in list.variables() {
        if let Variable::Attribute(name) = variable {
            // A list has fewer variables than a subject may have attributes; one that does not fit is not compared.
            let _ = attributes.add(name, &format!("${{{name}}}"));
        }
    }
    let facts = Facts { attributes: Arc::new(attributes), tenant: Some(TenantName::symbol()), ..Facts::default() };
    Subject::new(Identity::User(UserName("%u".into())), ClientId("%c".into())).with_facts(facts)
}

/// Whether rules before this one answer all that it could.
fn covered(list: &List, who: &Subject, id: usize, rule: &Rule) -> Option<Finding> {
    let levels: Vec<&str> = canonical(&rule.filter).split('/').collect();
    let mut first: Option<&Rule> = None;
    for bit in 0..8 {
        let question = Questions(1 << bit);
        if !list.answered(id).meets(question) {
            continue;
        }
        // Rules that hold at times only are no reason for another to be without effect.
        let by = list
            .covering_rules(who, &levels, question)
            .find(|(earlier, by)| *earlier < id && (by.when.is_none() || by.when == rule.when));
        let (_, by) = by?;
        if first.is_none_or(|first| first.effect == rule.effect) {
            first = Some(by);
        }
    }
    let by = first?;
    let line = rule.line as usize;
    let is_same = canonical(&by.filter) == canonical(&rule.filter);
    let (kind, what) = match (by.effect == rule.effect, is_same) {
        (true, _) => (FindingKind::Shadowed, format!("adds nothing to line {}", by.line)),
        (false, true) => (FindingKind::Contradicting, format!("says the opposite of line {}, which decides", by.line)),
        (false, false) => (FindingKind::Unreachable, format!("never decides: line {} holds all its topics", by.line)),
    };
    let hint = match by.effect {
        _ if by.effect == rule.effect => "remove one of the two",
        Effect::Deny => "remove it, or make the denial narrower",
        Effect::Allow => "remove it, or give it a higher priority",
    };
    Some(Finding { line, kind, what: format!("`{}` {what}", rule.filter), hint: hint.into() })
}

fn over_broad(rule: &Rule, is_for_all: bool) -> Option<Finding> {
    let opens_all = rule.effect == Effect::Allow && canonical(&rule.filter) == "#";
    let whose = if is_for_all { "everybody" } else { "whoever has it" };
    let what = match (rule.actions.has(Actions::PUBLISH), rule.actions.has(Actions::RECEIVE)) {
        _ if !opens_all || rule.when.is_some() => return None,
        (true, _) => format!("lets {whose} publish to every topic"),
        (false, true) if is_for_all => "lets everybody read every topic".to_owned(),
        _ => return None,
    };
    let hint = "name the topics that are meant, with %u or %c where each has its own".into();
    Some(Finding { line: rule.line as usize, kind: FindingKind::OverBroad, what, hint })
}

fn without_effect(rule: &Rule) -> Option<Finding> {
    let is_system = &*rule.filter == "$SYS/#" || reserved(&rule.filter) == Reserved::System;
    let is_meant = rule.effect == Effect::Allow && rule.actions == Actions::PUBLISH && is_system;
    is_meant.then(|| Finding {
        line: rule.line as usize,
        kind: FindingKind::Idle,
        what: format!("`{}` opens nothing: only the broker publishes there", rule.filter),
        hint: "remove it".into(),
    })
}

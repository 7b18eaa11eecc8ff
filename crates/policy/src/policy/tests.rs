//! Several sets of rules asked together.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::Arc;

use super::*;
use crate::facts::Facts;
use crate::grants::{Grant, Grants};
use crate::identity::{ClientId, Identity, UserName};
use crate::ranked::{Actions, Condition, Effect, List, Rule, RuleSetBuilder, Substitution, TimeWindow};
use SubscribeVerdict::{Granted, Refused};

fn user(name: &str) -> Subject {
    Subject::new(Identity::User(UserName(name.into())), ClientId("c".into()))
}

fn rule(effect: Effect, actions: Actions, filter: &str) -> Rule {
    Rule { rank: 0, effect, actions, filter: filter.into(), when: None, line: 1 }
}

fn list(rules: Vec<Rule>) -> Arc<List> {
    Arc::new(List::compile("role", rules, Substitution::All).unwrap())
}

fn everybody(rules: Vec<Rule>) -> Arc<RuleSet> {
    let mut set = RuleSetBuilder::default();
    set.everybody(0, &list(rules));
    Arc::new(set.build())
}

const ALL: Actions = Actions::READ.and(Actions::PUBLISH);

#[test]
fn one_denial_is_enough_wherever_it_stands() {
    let acl = Policy::parse("user a\ntopic x/#\ntopic y\ntopic deny x/no").unwrap();
    let file = vec![rule(Effect::Allow, ALL, "x/no"), rule(Effect::Allow, ALL, "z"), rule(Effect::Deny, ALL, "x/+/no")];
    let policy = acl.with_file(everybody(file));
    let may = |topic| policy.allows(&user("a"), Action::Publish, topic);
    assert!(may("x/yes") && may("y") && may("z"));
    assert!(!may("x/no") && !may("x/1/no") && !may("elsewhere"));
    assert_eq!(policy.may_subscribe(&user("a"), "x/no"), Refused);
    assert_eq!(policy.may_subscribe(&user("a"), "z"), Granted);
    let told = policy.narrowed(&user("a"), "#");
    assert_eq!(told.holds, ["z", "x/#", "y"]);
    assert_eq!(told.except, ["x/+/no", "x/no"]);
}

#[test]
fn whom_dynamic_security_knows_it_alone_allows() {
    let acl = Policy::parse("pattern readwrite own/%u\npattern deny never").unwrap();
    let mut dynamic = RuleSetBuilder::default();
    let asks = Actions::SUBSCRIBE_PATTERN;
    let control = rule(Effect::Allow, ALL, "$CONTROL/broker/v1");
    let rules = vec![rule(Effect::Allow, ALL, "#"), rule(Effect::Allow, asks, "d/#"), control];
    dynamic.user("known", 0, &list(rules));
    dynamic.known_user("idle");
    let policy = acl.with_dynamic(Some(Arc::new(dynamic.build())));
    assert!(policy.allows(&user("known"), Action::Publish, "anything"));
    assert!(policy.allows(&user("known"), Action::Publish, "$CONTROL/broker/v1"));
    assert!(!policy.allows(&user("known"), Action::Publish, "never"), "the file denies");
    assert!(!policy.allows(&user("idle"), Action::Publish, "own/idle"), "the file may not allow");
    assert!(policy.allows(&user("other"), Action::Publish, "own/other"));
    assert_eq!(policy.may_subscribe(&user("known"), "d/+"), Granted);
    assert_eq!(policy.may_subscribe(&user("known"), "#"), Refused, "no rule holds the filter");
    assert_eq!(policy.may_subscribe(&user("known"), "own/known"), Refused);
    assert_eq!(policy.may_subscribe(&user("other"), "own/other"), Granted);
    assert!(!policy.may_unsubscribe(&user("known"), "d/+") && policy.may_unsubscribe(&user("other"), "x"));
}

#[test]
fn rights_of_a_proof_count_like_a_list_and_no_denial_is_lifted_by_them() {
    let grant = |effect, filter: &str| Grant { effect, actions: ALL, filter: filter.into() };
    let grants = Grants::new(vec![grant(Effect::Deny, "g/%u/no"), grant(Effect::Allow, "g/%u/#")]).unwrap();
    let facts = Facts { grants: Some(Arc::new(grants)), ..Facts::default() };
    let who = user("a").with_facts(facts);
    let policy = Policy::parse("pattern deny g/%u/closed").unwrap();
    assert!(policy.allows(&who, Action::Publish, "g/a/x"));
    for topic in ["g/a/no", "g/a/closed", "g/b/x", "x"] {
        assert!(!policy.allows(&who, Action::Publish, topic), "{topic}");
    }
    assert!(!policy.allows(&user("a"), Action::Publish, "g/a/x"));
}

#[test]
fn rights_of_a_proof_are_bounded() {
    let grant = |filter: &str| Grant { effect: Effect::Allow, actions: ALL, filter: filter.into() };
    assert!(matches!(Grants::new(vec![grant("a"), grant("a/#/b")]), Err(crate::GrantsError::Filter(2, _))));
    assert_eq!(Grants::new(vec![grant("a"); 257]).unwrap_err(), crate::GrantsError::TooMany);
    assert_eq!(Grants::new(vec![grant(&"a".repeat(20_000))]).unwrap_err(), crate::GrantsError::TooMany);
}

#[test]
fn qos_and_retain_are_judged_as_they_are_asked_for() {
    let when = |qos: &[u8], retain| Some(Arc::new(Condition { qos: qos.into(), retain, ..Condition::default() }));
    let rules = vec![
        Rule { when: when(&[0, 1], Some(false)), ..rule(Effect::Allow, ALL, "t") },
        Rule { when: when(&[], Some(true)), rank: 1, ..rule(Effect::Deny, Actions::PUBLISH, "r") },
        rule(Effect::Allow, ALL, "r"),
    ];
    let policy = Policy::deny_all().with_file(everybody(rules));
    let may = |topic, qos, retain| policy.may_publish(&user("a"), Publishing { topic, qos, retain });
    assert!(may("t", 0, false) && may("t", 1, false) && !may("t", 2, false) && !may("t", 0, true));
    assert!(may("r", 2, false) && !may("r", 0, true) && !may("r", 3, false));
    let right = policy.publish(&user("a"), "t");
    assert!(right.is_some() && right.allows(1, false) && !right.allows(1, true) && !right.allows(9, false));
    assert!(!policy.publish(&user("a"), "x").is_some());
    assert!(!policy.allows(&user("a"), Action::Publish, "t"), "not in every way");
}

#[test]
fn a_verdict_changes_when_a_window_closes_and_the_policy_says_so() {
    let window = TimeWindow { days: 0x7f, hours: (0, 0), offset_s: 0, from: Some(100), until: Some(200) };
    let when = Some(Arc::new(Condition { time: Some(window), ..Condition::default() }));
    let policy = Policy::deny_all().with_file(everybody(vec![Rule { when, ..rule(Effect::Allow, ALL, "t") }])).at(150);
    assert!(policy.allows(&user("a"), Action::Receive, "t"));
    assert!(!policy.is_outdated(150) && !policy.is_outdated(199) && policy.is_outdated(200) && policy.is_outdated(99));
    assert!(!policy.at(200).allows(&user("a"), Action::Receive, "t"));
}

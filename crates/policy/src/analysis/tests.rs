//! What is found in rules, and what differs between two sets of them.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::acl::Acl;
use crate::file::PolicyFile;
use crate::identity::{ClientId, Identity, Subject, UserName};
use crate::policy::{Action, Policy};

fn found(text: &str) -> Vec<(usize, &'static str)> {
    let acl = Acl::parse(text).unwrap();
    check(acl.rules()).into_iter().map(|finding| (finding.line, finding.kind.name())).collect()
}

#[test]
fn rules_that_never_decide_are_found() {
    let cases: [(&str, &[(usize, &str)]); 10] = [
        ("user a\ntopic read x/#\ntopic read y\n", &[]),
        ("user a\ntopic read x/#\ntopic read x/y\n", &[(3, "shadowed")]),
        ("user a\ntopic read x/#\ntopic x/y\n", &[]),
        ("user a\ntopic x/y\ntopic deny x/#\n", &[(2, "unreachable")]),
        ("user a\ntopic read x/y\ntopic deny x/y\n", &[(2, "contradicting")]),
        ("user a\ntopic read x/#\ntopic deny x/y\n", &[]),
        ("pattern read x/+\npattern read x/%u\n", &[(2, "shadowed")]),
        ("pattern read x/%c\npattern read x/%u\npattern read x/%u/y\n", &[]),
        ("user a\ntopic read x\nuser b\ntopic read x\n", &[]),
        ("user a\ntopic read +/#\ntopic read #\n", &[(3, "shadowed")]),
    ];
    for (text, expected) in cases {
        assert_eq!(found(text), expected, "{text}");
    }
}

#[test]
fn rules_that_open_everything_are_found() {
    let cases: [(&str, &[(usize, &str)]); 6] = [
        ("user a\ntopic #\n", &[(2, "over-broad")]),
        ("pattern write +/#\n", &[(1, "over-broad")]),
        ("topic read #\n", &[(1, "over-broad")]),
        ("user a\ntopic read #\n", &[]),
        ("user a\ntopic deny #\n", &[]),
        ("user a\ntopic write $SYS/#\n", &[(2, "idle")]),
    ];
    for (text, expected) in cases {
        assert_eq!(found(text), expected, "{text}");
    }
}

#[test]
fn a_rule_that_holds_at_times_only_hides_no_other() {
    let rule = |what: &str, more: &str| format!("[[role.rule]]\n{what}\ntopics = [\"a/#\"]\n{more}\n");
    let text = |first: &str| {
        let rules = rule("deny = \"receive\"", &format!("priority = 1\n{first}")) + &rule("allow = \"receive\"", "");
        PolicyFile::parse(&format!("[[role]]\nname = \"r\"\neverybody = true\n{rules}")).unwrap()
    };
    assert_eq!(check(text("days = \"mon\"").rules()), []);
    assert_eq!(check(text("").rules()).len(), 1);
}

#[test]
fn users_nobody_knows_are_found() {
    let acl = Acl::parse("user a\nuser b\ntopic x\nuser b\n").unwrap();
    let named = || acl.named().iter().map(|(name, line)| (&**name, *line));
    let unknown = unknown_users(named(), |name| name == "a");
    assert_eq!(unknown.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_hundred_thousand_rules_are_checked_and_compared() {
    let text: String = (0..100_000).map(|n| format!("topic read site/{n}/+/state\n")).collect();
    let old = format!("user a\n{text}");
    assert_eq!(found(&format!("{old}topic read site/7/x/state\n")), [(100_002, "shadowed")]);
    let new = old.replace("site/77777/", "site/moved/");
    let lines = changes(&old, &new);
    assert_eq!(lines, ["user a gains receive site/moved/+/state", "user a loses receive site/77777/+/state"]);
}

fn changes(old: &str, new: &str) -> Vec<String> {
    let of = |text: &str| Policy::parse(text).unwrap();
    lines(&diff(&of(old), &of(new)).unwrap())
}

fn lines(difference: &Difference) -> Vec<String> {
    let line = |change: &Change| {
        let Change { who, when, gains, action, topics, except } = change;
        let verb = if *gains { "gains" } else { "loses" };
        let except = if except.is_empty() { String::new() } else { format!(" except {}", except.join(" ")) };
        let when = if when.is_empty() { String::new() } else { format!(" when {}", when.join(" and ")) };
        format!("{who} {verb} {action} {topics}{except}{when}")
    };
    let mut lines: Vec<String> = difference.changes.iter().map(line).collect();
    lines.sort();
    lines
}

#[test]
fn differences_are_told_as_topics() {
    let cases: [(&str, &str, &[&str]); 8] = [
        ("user a\ntopic x/#\n", "user a\ntopic read x/y\ntopic x/#\n", &[]),
        ("user a\ntopic read x\n", "user a\ntopic x\n", &["user a gains publish x"]),
        (
            "user a\ntopic read x/#\n",
            "user a\ntopic read x/+\n",
            &["user a loses receive x", "user a loses receive x/+/+/#"],
        ),
        ("user a\ntopic read x/#\n", "user a\ntopic read x/#\ntopic deny x/s\n", &["user a loses receive x/s"]),
        ("user a\ntopic read x/s\n", "user a\ntopic read x/+\n", &["user a gains receive x/+ except x/s/#"]),
        ("", "user a\ntopic read x\n", &["user a gains receive x"]),
        (
            "pattern read d/%u\n",
            "pattern read d/+\n",
            &["any other user gains receive d/+ except d/%u/#", "clients without a user name gains receive d/+"],
        ),
        ("user a\ntopic write $SYS/#\n", "", &["user a loses publish $SYS/broker/connection/+/state"]),
    ];
    for (old, new, expected) in cases {
        assert_eq!(changes(old, new), expected, "{old}---\n{new}");
    }
}

#[test]
fn differences_under_a_condition_name_it() {
    let of = |more: &str| {
        let text = format!(
            "[[role]]\nname = \"r\"\nusers = \"a\"\n[[role.rule]]\nallow = \"publish\"\ntopics = \"x\"\n{more}\n"
        );
        Policy::deny_all().with_file(Arc::clone(PolicyFile::parse(&text).unwrap().rules()))
    };
    let told = |old: &str, new: &str| lines(&diff(&of(old), &of(new)).unwrap());
    assert_eq!(told("", "addresses = \"10.0.0.0/8\""), ["user a loses publish x when not (address in 10.0.0.0/8)"]);
    assert_eq!(told("", "qos = 0"), ["user a loses publish with QoS 1, 2 x"]);
    assert_eq!(told("retain = false", ""), ["user a gains publish with RETAIN x"]);
    assert_eq!(told("tenants = \"t\"", "tenants = \"t\""), [""; 0]);
}

fn acl() -> impl Strategy<Value = String> {
    let levels = || vec(select(vec!["a", "b", "+", ""]), 1..3).prop_map(|levels| levels.join("/"));
    let filter = (levels(), any::<bool>()).prop_map(|(levels, rest)| if rest { levels + "/#" } else { levels });
    let filter = filter.prop_filter("no topic is empty", |filter| !filter.is_empty());
    let line = (select(vec!["topic", "pattern"]), select(vec!["read", "write", "readwrite", "deny"]), filter)
        .prop_map(|(keyword, access, filter)| format!("{keyword} {access} {filter}\n"));
    vec(line, 0..6).prop_map(|lines| format!("user u\n{}", lines.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn differences_are_those_of_every_single_topic(old in acl(), new in acl()) {
        let (old, new) = (Policy::parse(&old).unwrap(), Policy::parse(&new).unwrap());
        let who = Subject::new(Identity::User(UserName("u".into())), ClientId("c".into()));
        let difference = diff(&old, &new).unwrap();
        // `z` is a level no rule names.
        let alphabet = ["a", "b", "", "z"];
        let one = || alphabet.iter().map(ToString::to_string);
        let two: Vec<String> = one().flat_map(|x| alphabet.map(|y| format!("{x}/{y}"))).collect();
        let three: Vec<String> = two.iter().flat_map(|x| alphabet.map(|y| format!("{x}/{y}"))).collect();
        for topic in one().filter(|topic| !topic.is_empty()).chain(two.iter().cloned()).chain(three) {
            for (action, name) in [(Action::Publish, "publish"), (Action::Receive, "receive")] {
                let (before, after) = (old.allows(&who, action, &topic), new.allows(&who, action, &topic));
                let told: Vec<&Change> = difference
                    .changes
                    .iter()
                    .filter(|change| change.who == "user u" && change.action == name && is_in(change, &topic))
                    .collect();
                let expected: &[bool] = if before == after { &[] } else { &[true] };
                prop_assert_eq!(told.len(), expected.len(), "{} {}: {:?}", name, topic, told);
                prop_assert!(told.iter().all(|change| change.gains == after), "{} {}", name, topic);
            }
        }
    }
}

fn is_in(change: &Change, topic: &str) -> bool {
    matches(&change.topics, topic) && !change.except.iter().any(|except| matches(except, topic))
}

fn matches(filter: &str, topic: &str) -> bool {
    let (mut rules, mut levels) = (filter.split('/'), topic.split('/'));
    loop {
        match (rules.next(), levels.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(rule), Some(level)) if rule == level => {}
            _ => return false,
        }
    }
}

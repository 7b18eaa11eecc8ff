//! SUBSCRIBE tells the truth: which part of a filter holds, and what a session that goes on is judged by.

use std::sync::Arc;

use crate::kit::*;
use motte_broker::Limits;
use motte_broker::policy::ranked::{Actions, Effect};
use motte_broker::policy::{Authenticated, Facts, Grant, Grants, UserName};
use mqtt::Publish;

const RULES: &str = "pattern readwrite a/#\npattern deny a/secret\npattern readwrite b/+\npattern write #\n";

#[test]
fn k18_a_narrowed_filter_is_told_with_the_part_that_holds() {
    let mut world = World::with(1, RULES, &Limits::default());
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe_with(to, None, &[("b/x", options(1)), ("#", options(1)), ("c", options(0))]);
    let told = world.take_explained(to);
    assert_eq!(told.len(), 1);
    for part in ["suback 1 01 01 87", "filter-2-holds: a/#", "filter-2-holds: b/+", "filter-2-except: a/secret"] {
        assert!(told[0].contains(part), "{part} is not in {told:?}");
    }
    for part in ["filter-1", "filter-3-", "more"] {
        assert!(!told[0].contains(part), "{part} is in {told:?}");
    }
    for topic in ["a/x", "a/secret", "b/x", "b/x/y", "c"] {
        world.publish(from, message(topic, "m"));
    }
    world.expect(to, &["publish a/x=m", "publish b/x=m"]);
}

#[test]
fn k18_who_does_not_want_words_is_told_none() {
    let mut world = World::with(1, RULES, &Limits::default());
    for hello in [v311("old"), Hello { wants_problem_information: false, ..v5("new") }] {
        let to = world.connect(&hello);
        world.subscribe_with(to, None, &[("#", options(0))]);
        assert_eq!(world.take_explained(to), ["suback 1 00"]);
    }
}

#[test]
fn k18_a_narrowed_filter_is_told_as_it_is_seen_from_behind_the_mount_point() {
    let rules = "pattern readwrite site/1/a/#\npattern readwrite site/1/b\npattern read other\n";
    let mut world = World::with(1, rules, &Limits::default());
    let to = world.connect(&Hello { mount_point: "site/1/", ..v5("to") });
    world.subscribe_with(to, None, &[("#", options(0))]);
    let told = world.take_explained(to);
    assert!(told[0].contains("filter-1-holds: a/#") && told[0].contains("filter-1-holds: b"), "{told:?}");
    assert!(!told[0].contains("site/1") && !told[0].contains("other"), "{told:?}");
}

#[test]
fn k18_what_is_told_is_bounded() {
    let rules: String = (0..100).map(|n| format!("pattern read t/{n}/{}\n", "x".repeat(200))).collect();
    let mut world = World::with(1, &rules, &Limits::default());
    let to = world.connect(&v5("to"));
    let many: Vec<String> = (0..50).map(|n| format!("+/{n}/#")).collect();
    let asked: Vec<_> = std::iter::once("#").chain(many.iter().map(String::as_str)).map(|f| (f, options(0))).collect();
    world.subscribe_with(to, None, &asked);
    let bytes = world.take_bytes(to);
    assert!(bytes.len() < 6 * 1024, "{} bytes", bytes.len());
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("filter-1-more"), "{text}");
}

fn with_rights(filter: &str) -> Authenticated {
    let actions = Actions::READ;
    let grants = Grants::new(vec![Grant { effect: Effect::Allow, actions, filter: filter.into() }]).unwrap();
    let facts = Facts { grants: Some(Arc::new(grants)), ..Facts::default() };
    Authenticated::by_certificate(UserName("reader".into())).with_facts(facts).unwrap()
}

#[test]
fn k20_a_session_that_goes_on_is_judged_by_the_rights_of_its_new_proof() {
    for shards in [1, 3] {
        let mut world = World::with(shards, "user writer\ntopic write #\n", &Limits::default());
        let from = world.connect(&Hello { user: "writer", ..v5("from") });
        let hello = Hello { user: "reader", ..lasting("to") };
        let to = world.admit_as(&hello, with_rights("a/#"), b"");
        world.expect(to, &["connack 00"]);
        world.subscribe(to, &[("a/x", 1), ("a/y", 1)]);
        world.lose(to);
        for (number, topic) in [(1, "a/x"), (2, "a/y")] {
            world.publish(from, Publish { delivery: qos1(number), ..message(topic, "before") });
        }
        let to = world.admit_as(&hello, with_rights("a/y"), b"");
        world.expect(to, &["connack 00 present", "publish a/y=before q1 #1"]);
        for (number, topic) in [(3, "a/x"), (4, "a/y")] {
            world.publish(from, Publish { delivery: qos1(number), ..message(topic, "after") });
        }
        world.expect(to, &["publish a/y=after q1 #2"]);
    }
}

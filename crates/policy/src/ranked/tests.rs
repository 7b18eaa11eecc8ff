//! What a decision costs, which rule decides, and what stands in the place of a level.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::Arc;

use super::list::Judging;
use super::*;
use crate::facts::{Attributes, Facts};
use crate::identity::{ClientId, Identity, Subject, TenantName, UserName};

fn rule(rank: i32, effect: Effect, filter: &str) -> Rule {
    let actions = Actions::READ.and(Actions::PUBLISH);
    Rule { rank, effect, actions, filter: filter.into(), when: None, line: 0 }
}

fn list(rules: Vec<Rule>) -> Arc<List> {
    Arc::new(List::compile("list", rules, Substitution::All).unwrap())
}

fn somebody(user: &str, client: &str) -> Subject {
    Subject::new(Identity::User(UserName(user.into())), ClientId(client.into()))
}

fn set_of(lists: &[Arc<List>]) -> RuleSet {
    let mut set = RuleSetBuilder::default();
    lists.iter().zip(0..).for_each(|(list, place)| set.everybody(place, list));
    set.build()
}

fn may(set: &RuleSet, who: &Subject, topic: &str) -> Option<Effect> {
    let answer = set.decide(Judging { who, now: 0 }, topic, Questions::RECEIVE, |_| ());
    match (answer.allowed, answer.denied) {
        (0, 0) => None,
        (_, 0) => Some(Effect::Allow),
        _ => Some(Effect::Deny),
    }
}

/// Nodes visited to judge topics under a list of so many rules, of which some match.
fn visited(rules: usize) -> Vec<usize> {
    let allow = |filter: &str| rule(0, Effect::Allow, filter);
    let mut all: Vec<Rule> = (2..rules).map(|number| allow(&format!("site/{number}/dev/+/state"))).collect();
    all.extend([allow("bench/#"), allow("own/%c/#")]);
    let list = list(all);
    let topics = ["bench/t", "own/c/x", "site/7/dev/x/state", "site/7/dev/x/other", "nobody/knows/it"];
    topics.map(|topic| list.visited(&somebody("u", "c"), topic)).to_vec()
}

#[test]
fn a_decision_costs_as_much_under_100_000_rules_as_under_10() {
    assert_eq!(visited(10), visited(100_000));
    assert!(visited(10).iter().all(|nodes| *nodes <= 6));
}

#[test]
fn the_highest_rank_decides_then_the_denial_then_the_first() {
    use Effect::{Allow, Deny};
    let set = set_of(&[list(vec![
        rule(0, Allow, "a/#"),
        rule(0, Deny, "a/b"),
        rule(5, Allow, "a/b/c"),
        rule(5, Deny, "a/+/d"),
        rule(9, Allow, "a/x/d"),
    ])]);
    let who = somebody("u", "c");
    let cases = [
        ("a", Some(Allow)),
        ("a/b", Some(Deny)),
        ("a/b/c", Some(Allow)),
        ("a/b/d", Some(Deny)),
        ("a/x/d", Some(Allow)),
        ("b", None),
    ];
    for (topic, expected) in cases {
        assert_eq!(may(&set, &who, topic), expected, "{topic}");
    }
}

#[test]
fn the_first_list_with_an_answer_decides_whatever_the_ranks_of_later_ones() {
    let first = list(vec![rule(-9, Effect::Allow, "a/b")]);
    let second = list(vec![rule(9, Effect::Deny, "a/#"), rule(0, Effect::Allow, "c")]);
    let set = set_of(&[first, second]);
    let who = somebody("u", "c");
    assert_eq!(may(&set, &who, "a/b"), Some(Effect::Allow));
    assert_eq!(may(&set, &who, "a/c"), Some(Effect::Deny));
    assert_eq!(may(&set, &who, "c"), Some(Effect::Allow));
}

#[test]
fn lists_of_a_user_of_attributes_and_of_everybody_are_asked_in_their_places() {
    let named = |name: &str, effect, filter: &str| {
        Arc::new(List::compile(name, vec![rule(0, effect, filter)], Substitution::All).unwrap())
    };
    let mut set = RuleSetBuilder::default();
    set.everybody(9, &named("everybody", Effect::Deny, "#"));
    set.attribute("cert.ou", "Water", 2, &named("group", Effect::Allow, "water/#"));
    set.user("anna", 1, &named("own", Effect::Deny, "water/secret"));
    set.known_user("bob");
    let set = set.build();
    let mut attributes = Attributes::default();
    attributes.add("cert.ou", "Air").unwrap();
    attributes.add("cert.ou", "Water").unwrap();
    let of_water = Facts { attributes: Arc::new(attributes), ..Facts::default() };
    let anna = somebody("anna", "c").with_facts(of_water.clone());
    let names = |who: &Subject| set.asked_about(who).iter().map(|list| list.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&anna), ["own", "group", "everybody"]);
    assert_eq!(names(&somebody("anna", "c")), ["own", "everybody"]);
    assert_eq!(names(&somebody("bob", "c").with_facts(of_water)), ["group", "everybody"]);
    assert!(set.knows(&somebody("bob", "c")) && !set.knows(&somebody("eve", "c")));
    assert_eq!(may(&set, &anna, "water/secret"), Some(Effect::Deny));
    assert_eq!(may(&set, &anna, "water/x"), Some(Effect::Allow));
}

#[test]
fn k17_a_value_stands_for_one_whole_level_and_nothing_else() {
    let set = set_of(&[list(vec![rule(0, Effect::Allow, "v/${cert.cn}/x"), rule(0, Effect::Allow, "t/%t/#")])]);
    let hostile = ["+", "#", "a/b", "a/#", "", "a\0b", "/", "+/x", "a+"];
    for value in hostile {
        let mut attributes = Attributes::default();
        attributes.add("cert.cn", value).unwrap();
        let who = somebody("u", "c").with_facts(Facts { attributes: Arc::new(attributes), ..Facts::default() });
        for topic in ["v/a/x", "v/a/b/x", "v//x", "v/b/x"] {
            assert_eq!(may(&set, &who, topic), None, "{value:?} {topic}");
        }
        let coverage = set.coverage(Judging { who: &who, now: 0 }, "v/#", Questions::RECEIVE);
        assert!(!coverage.some_allowed, "{value:?}");
        assert!(!set.coverage(Judging { who: &who, now: 0 }, "v/+/x", Questions::RECEIVE).some_allowed, "{value:?}");
    }
    for value in [".*", "|", "(", "%u", "${cert.cn}", "$share", "a b", "ä", "\n", &"x".repeat(9_000)] {
        let mut attributes = Attributes::default();
        attributes.add("cert.cn", value).unwrap();
        attributes.add("cert.cn", "second").unwrap();
        let tenant = TenantName::parse("acme").ok();
        let facts = Facts { attributes: Arc::new(attributes), tenant, ..Facts::default() };
        let who = somebody("u", "c").with_facts(facts);
        assert_eq!(may(&set, &who, &format!("v/{value}/x")), Some(Effect::Allow), "{value:.9}");
        assert_eq!(may(&set, &who, "v/second/x"), Some(Effect::Allow), "any of its values");
        assert_eq!(may(&set, &who, "v/other/x"), None);
        assert_eq!(may(&set, &who, "t/acme/x"), Some(Effect::Allow));
        assert_eq!(may(&set, &who, "t/%t/x"), None);
    }
}

#[test]
fn rules_about_filters_match_them_as_they_are_asked_for() {
    let with = |rank, effect, actions, filter: &str| Rule { actions, ..rule(rank, effect, filter) };
    let literal = Actions::SUBSCRIBE_LITERAL;
    let pattern = Actions::SUBSCRIBE_PATTERN;
    let set = set_of(&[list(vec![
        with(0, Effect::Allow, pattern, "a/#"),
        with(1, Effect::Deny, pattern, "a/+/b"),
        with(2, Effect::Allow, literal, "#"),
        with(2, Effect::Allow, literal, "a/+/b"),
        with(0, Effect::Allow, pattern, "u/%u"),
    ])]);
    let who = somebody("u1", "c");
    let cases = [
        ("a/#", Some(Effect::Allow)),
        ("a", Some(Effect::Allow)),
        ("a/x/b", Some(Effect::Deny)),
        ("a/+/b", Some(Effect::Allow)),
        ("a/+/+", Some(Effect::Allow)),
        ("#", Some(Effect::Allow)),
        ("+", None),
        ("u/u1", Some(Effect::Allow)),
        ("u/+", None),
    ];
    for (filter, expected) in cases {
        let judging = Judging { who: &who, now: 0 };
        assert_eq!(set.decide_filter(judging, filter, (literal, pattern)), expected, "{filter}");
        let other = (Actions::UNSUBSCRIBE_LITERAL, Actions::UNSUBSCRIBE_PATTERN);
        assert_eq!(set.decide_filter(judging, filter, other), None);
        assert_eq!(may(&set, &who, "a/x"), None, "no rule about topics");
    }
}

#[test]
fn what_is_no_rule_is_told_with_its_place() {
    let compile = |filter: &str, substitution| {
        List::compile("x", vec![rule(0, Effect::Allow, "ok"), rule(0, Effect::Allow, filter)], substitution).map(|_| ())
    };
    assert_eq!(compile("a/#/b", Substitution::All), Err(ListError::NoFilter(1)));
    for level in ["a%u", "%u%c", "x%t", "${a", "a${b}", "${}", "${a}b"] {
        let expected = Err(ListError::MixedLevel(1, level.into()));
        assert_eq!(compile(&format!("p/{level}/q"), Substitution::All), expected);
        assert_eq!(compile(level, Substitution::Nothing), Ok(()));
    }
    assert_eq!(compile("a${b}/%tx", Substitution::Mosquitto), Ok(()), "plain text there");
}

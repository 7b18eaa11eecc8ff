//! The policy file: what it opens and closes, in which order, and every error with its line.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::Arc;

use super::PolicyFile;
use crate::facts::{Attributes, Facts};
use crate::identity::{ClientId, Identity, Subject, TenantName, UserName};
use crate::policy::{Action, Policy, Publishing, SubscribeVerdict};

mod reference;

fn file(text: &str) -> Policy {
    let file = PolicyFile::parse(text).unwrap_or_else(|errors| panic!("{errors:#?}"));
    Policy::deny_all().with_file(Arc::clone(file.rules()))
}

fn user(name: &str) -> Subject {
    Subject::new(Identity::User(UserName(name.into())), ClientId("c".into()))
}

fn with(who: Subject, attributes: &[(&str, &str)], tenant: Option<&str>) -> Subject {
    let mut found = Attributes::default();
    attributes.iter().for_each(|(name, value)| found.add(name, value).unwrap());
    let tenant = tenant.map(|tenant| TenantName::parse(tenant).unwrap());
    who.with_facts(Facts { attributes: Arc::new(found), tenant, ..Facts::default() })
}

fn may(policy: &Policy, who: &Subject, topic: &str) -> (bool, bool) {
    (policy.allows(who, Action::Receive, topic), policy.allows(who, Action::Publish, topic))
}

const NOTHING: (bool, bool) = (false, false);
const READ: (bool, bool) = (true, false);
const WRITE: (bool, bool) = (false, true);

const PLANT: &str = r#"
[[group]]
name = "water"
attributes = { "cert.ou" = ["Water", "Sewage"] }

[[group]]
name = "crew"
priority = 5
users = ["anna", "bob"]

[[role]]
name = "device"
groups = ["water"]
[[role.rule]]
allow = ["publish"]
topics = ["plant/%t/${cert.cn}/#"]

[[role]]
name = "operator"
groups = ["crew"]
priority = 1
[[role.rule]]
allow = ["subscribe", "receive"]
topics = ["plant/#"]
[[role.rule]]
deny = ["subscribe", "receive"]
topics = ["plant/+/+/secret"]
priority = 1

[[role]]
name = "auditor"
users = "anna"
[[role.rule]]
allow = ["subscribe", "receive"]
topics = ["plant/+/+/secret"]

[[role]]
name = "all"
everybody = true
[[role.rule]]
allow = ["subscribe", "receive"]
topics = ["news/#"]
"#;

#[test]
fn roles_are_given_to_users_groups_and_everybody() {
    let policy = file(PLANT);
    let pump = with(user("pump-1"), &[("cert.ou", "Air"), ("cert.ou", "Sewage"), ("cert.cn", "p1")], Some("acme"));
    assert_eq!(may(&policy, &pump, "plant/acme/p1/level"), WRITE);
    for closed in ["plant/acme/p2/level", "plant/other/p1/level", "plant/%t/p1/x", "plant"] {
        assert_eq!(may(&policy, &pump, closed), NOTHING, "{closed}");
    }
    let of_air = with(user("fan-1"), &[("cert.ou", "Air"), ("cert.cn", "p1")], Some("acme"));
    assert_eq!(may(&policy, &of_air, "plant/acme/p1/level"), NOTHING);
    assert_eq!(may(&policy, &user("bob"), "plant/acme/p1/level"), READ);
    assert_eq!(may(&policy, &user("bob"), "plant/acme/p1/secret"), NOTHING);
    assert_eq!(may(&policy, &user("anna"), "plant/acme/p1/secret"), READ, "her own role comes before her group's");
    assert_eq!(may(&policy, &user("stranger"), "news/today"), READ);
    let nobody = Subject::new(Identity::Anonymous, ClientId("c".into()));
    assert_eq!(may(&policy, &nobody, "news/today"), READ);
    assert_eq!(may(&policy, &nobody, "plant/x"), NOTHING);
}

#[test]
fn k18_a_subscription_is_narrowed_to_what_may_be_received() {
    let policy = file(PLANT);
    assert_eq!(policy.may_subscribe(&user("bob"), "news/#"), SubscribeVerdict::Granted);
    assert_eq!(policy.may_subscribe(&user("bob"), "plant/a/b/c"), SubscribeVerdict::Granted);
    assert_eq!(policy.may_subscribe(&user("bob"), "plant/a/b/secret"), SubscribeVerdict::Refused);
    assert_eq!(policy.may_subscribe(&user("bob"), "#"), SubscribeVerdict::Narrowed);
    let told = policy.narrowed(&user("bob"), "#");
    assert_eq!(
        (told.holds, told.except, told.has_more),
        (vec!["plant/#".to_owned(), "news/#".to_owned()], vec!["plant/+/+/secret".to_owned()], false)
    );
    // Subscribing and receiving are rights of their own: what has one of them only is not held by a subscription.
    let halves = file(
        "[[role]]\nname=\"r\"\neverybody=true\n[[role.rule]]\nallow=[\"subscribe\"]\ntopics=[\"a/#\"]\n\
         [[role.rule]]\nallow=[\"receive\"]\ntopics=[\"+/x\"]\n",
    );
    assert_eq!(halves.narrowed(&user("u"), "#").holds, ["a/x"]);
    assert_eq!(halves.may_subscribe(&user("u"), "b/x"), SubscribeVerdict::Refused);
    assert_eq!(halves.may_subscribe(&user("u"), "a/x"), SubscribeVerdict::Granted);
    assert_eq!(may(&halves, &user("u"), "b/x"), NOTHING);
}

#[test]
fn conditions_close_what_they_do_not_hold_for() {
    let text = r#"
[[role]]
name = "r"
everybody = true
[[role.rule]]
allow = "publish"
topics = "q"
qos = [0, 1]
retain = false
[[role.rule]]
allow = "publish"
topics = "a"
addresses = ["10.0.0.0/8", "2001:db8::1"]
[[role.rule]]
allow = "publish"
topics = "s"
attributes = { "jwt.scope" = ["write", "admin"], cert.o = "ACME" }
[[role.rule]]
allow = "publish"
topics = "t"
tenants = ["acme"]
[[role.rule]]
allow = "publish"
topics = "w"
days = ["mon"]
hours = "08:00-24:00"
offset = "+01:00"
from = 2025-11-01
until = 2026-01-01T00:00:00Z
"#;
    let policy = file(text);
    let publishes = |who: &Subject, topic, qos, retain| policy.may_publish(who, Publishing { topic, qos, retain });
    let u = user("u");
    assert!(publishes(&u, "q", 1, false) && !publishes(&u, "q", 2, false) && !publishes(&u, "q", 0, true));
    let at = |address: &str| Subject { address: Some(address.parse().unwrap()), ..user("u") };
    assert!(publishes(&at("10.1.2.3"), "a", 0, false) && publishes(&at("2001:db8::1"), "a", 0, false));
    assert!(!publishes(&at("11.1.2.3"), "a", 0, false) && !publishes(&u, "a", 0, false));
    let scope = |pairs: &[(&str, &str)]| with(user("u"), pairs, None);
    assert!(publishes(&scope(&[("jwt.scope", "read"), ("jwt.scope", "admin"), ("cert.o", "ACME")]), "s", 0, false));
    assert!(!publishes(&scope(&[("jwt.scope", "admin")]), "s", 0, false));
    assert!(publishes(&with(user("u"), &[], Some("acme")), "t", 0, false));
    assert!(!publishes(&with(user("u"), &[], Some("other")), "t", 0, false) && !publishes(&u, "t", 0, false));
    // Monday, the 3rd of November 2025, 07:00 UTC is 08:00 there; 23:00 UTC is Tuesday there.
    let monday = 1_762_128_000;
    let at_second = |second| policy.at(second).may_publish(&u, Publishing { topic: "w", qos: 0, retain: false });
    assert!(at_second(monday + 7 * 3_600) && at_second(monday + 23 * 3_600 - 1));
    assert!(!at_second(monday + 7 * 3_600 - 1) && !at_second(monday + 23 * 3_600));
    assert!(!at_second(monday + 10 * 7 * 86_400), "after the last day");
    assert!(!at_second(1_761_548_400), "before the first: Monday, the 27th of October");
}

#[test]
fn k17_hostile_names_stay_one_level_or_are_refused() {
    let policy = file(
        "[[role]]\nname=\"r\"\neverybody=true\n[[role.rule]]\nallow=[\"publish\",\"subscribe\",\"receive\"]\n\
         topics=[\"u/%u/#\", \"v/${jwt.dev}/x\"]\n",
    );
    for name in ["+", "#", "a/b", "a/#", "", "a\0b"] {
        for topic in ["u/a/x", "u/a/b/x", "u//x", "u/x"] {
            assert_eq!(may(&policy, &user(name), topic), NOTHING, "{name:?} {topic}");
        }
        assert_eq!(policy.may_subscribe(&user(name), "u/#"), SubscribeVerdict::Refused, "{name:?}");
        let claims = with(user("ok"), &[("jwt.dev", name)], None);
        for filter in ["v/#", "v/+/x", "v/a/x", "v/a/b/x"] {
            assert_eq!(policy.may_subscribe(&claims, filter), SubscribeVerdict::Refused, "{name:?} {filter}");
        }
        assert_eq!(may(&policy, &claims, "u/ok/x"), (true, true), "the claim harms nothing else");
    }
    for name in [".*", "|", "(", "%u", "$share", "a b", "\n", "ä", "${jwt.dev}"] {
        assert_eq!(may(&policy, &user(name), &format!("u/{name}/x")), (true, true), "{name:?}");
        assert_eq!(may(&policy, &user(name), "u/other/x"), NOTHING, "{name:?}");
    }
}

#[test]
fn every_error_is_told_with_its_line_and_what_to_do() {
    let text = r#"rol = 1
[[group]]
name = "g"
[[group]]
users = ["a"]
[[role]]
name = "r"
groups = ["gg"]
user = ["a"]
[[role.rule]]
allow = ["publsh"]
topics = ["a/#/b", "x%u", "ok"]
[[role.rule]]
allow = ["receive"]
deny = ["receive"]
topics = []
[[role.rule]]
topics = ["a"]
[[role.rule]]
allow = ["publish", "receive"]
topics = ["a"]
qos = 3
[[role.rule]]
allow = ["receive"]
topics = ["a"]
retain = true
addresses = ["10.0.0.1/8", "x"]
attributes = {}
days = ["mo"]
hours = "8-17"
offset = "1h"
from = "2026"
[[role.rule]]
allow = ["publish"]
topics = ["a"]
from = 2026-02-01
until = 2026-01-01
addresses = []
tenants = []
priority = 1.5
[[role]]
name = "r"
"#;
    let found: Vec<String> = PolicyFile::parse(text)
        .unwrap_err()
        .into_iter()
        .map(|error| {
            assert!(!error.hint.is_empty());
            format!("{}: {} — {}", error.line, error.what, error.hint)
        })
        .collect();
    let expected = [
        "1: unknown key \"rol\" — did you mean role?",
        "3: the group \"g\" has no members",
        "4: name is missing in [[group]]",
        "8: there is no group \"gg\" — did you mean \"g\"?",
        "9: unknown key \"user\" in [[role]] — did you mean users?",
        "11: allow cannot be \"publsh\" — did you mean \"publish\"?",
        "12: `a/#/b` is no topic filter",
        "12: a level of `x%u` mixes a variable with other text",
        "13: a rule allows or denies, not both",
        "13: the rule is for no topics",
        "17: the rule neither allows nor denies",
        "22: qos must be 0, 1 or 2, or a list of them",
        "26: qos and retain are of messages that are published, and the rule is for more",
        "27: \"10.0.0.1/8\": the address has bits behind the length of its network",
        "27: \"x\": an address with or without the length of its network",
        "28: attributes is empty",
        "29: days cannot be \"mo\" — did you mean \"mon\"?",
        "29: days names no day",
        "30: hours cannot be \"8-17\"",
        "31: offset cannot be \"1h\"",
        "32: from must be a date",
        "37: until is not after from",
        "38: addresses is empty",
        "39: tenants is empty",
        "40: priority must be a whole number",
        "42: the role \"r\" is there twice, first in line 7",
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nis not\n{expected}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn k27_what_is_not_toml_is_no_policy_and_an_empty_file_denies() {
    for text in ["[[role]", "\u{0}", "name", "[[role]]\nname = \"a\"\nname = \"b\""] {
        assert!(!PolicyFile::parse(text).unwrap_err().is_empty(), "{text:?}");
    }
    let empty = file("# nothing\n");
    assert_eq!(may(&empty, &user("a"), "a"), NOTHING);
}

#[test]
fn what_is_hardly_meant_is_warned_about() {
    let text = "[[role]]\nname=\"idle\"\n[[group]]\nname=\"g\"\nusers=[\"a\"]\n";
    let file = PolicyFile::parse(text).unwrap();
    let lines: Vec<_> = file.warnings().iter().map(|warning| (warning.line, &*warning.what)).collect();
    assert_eq!(lines, [(2, "the role \"idle\" is given to nobody"), (4, "no role is given to the group \"g\"")]);
}

//! What a client may do under an ACL file, line by line of Mosquitto's grammar.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use crate::identity::{ClientId, Identity, Subject, UserName};
use crate::policy::{Action, Policy, SubscribeVerdict};
use Action::{Publish, Receive};
use SubscribeVerdict::{Granted, Narrowed, Refused};

mod reference;

fn user(name: &str) -> Subject {
    client(name, "client-1")
}

fn client(name: &str, id: &str) -> Subject {
    Subject::new(Identity::User(UserName(name.into())), ClientId(id.into()))
}

fn anonymous(id: &str) -> Subject {
    Subject::new(Identity::Anonymous, ClientId(id.into()))
}

fn policy(text: &str) -> Policy {
    Policy::parse(text).unwrap()
}

fn may(policy: &Policy, who: &Subject, topic: &str) -> (bool, bool) {
    (policy.allows(who, Receive, topic), policy.allows(who, Publish, topic))
}

const NOTHING: (bool, bool) = (false, false);
const READ: (bool, bool) = (true, false);
const WRITE: (bool, bool) = (false, true);
const BOTH: (bool, bool) = (true, true);

#[test]
fn golden_a_a_pattern_deny_does_not_override_the_users_own_list() {
    let policy = policy("user a\ntopic read x/#\npattern deny x/%u\n");
    assert_eq!(may(&policy, &user("a"), "x/a"), READ);
    assert_eq!(may(&policy, &user("b"), "x/b"), NOTHING);
}

#[test]
fn golden_b_a_deny_blocks_reading_and_writing_wherever_it_stands() {
    for text in ["topic write t/+\ntopic deny t/secret", "topic deny t/secret\ntopic write t/+"] {
        let policy = policy(&format!("user a\n{text}\ntopic read t/#\n"));
        assert_eq!(may(&policy, &user("a"), "t/secret"), NOTHING);
        assert_eq!(may(&policy, &user("a"), "t/open"), BOTH);
        assert_eq!(may(&policy, &user("a"), "t"), READ);
    }
}

#[test]
fn golden_c_rules_before_the_first_user_are_for_clients_with_no_name() {
    let policy = policy("topic read news/#\nuser a\ntopic write in\nuser b\ntopic in\nuser a\ntopic read out\n");
    assert_eq!(may(&policy, &anonymous("x"), "news/today"), READ);
    assert_eq!(may(&policy, &user("a"), "news/today"), NOTHING);
    assert_eq!(may(&policy, &anonymous("x"), "in"), NOTHING);
    assert_eq!(may(&policy, &user("a"), "in"), WRITE);
    assert_eq!(may(&policy, &user("a"), "out"), READ);
    assert_eq!(may(&policy, &user("b"), "in"), BOTH);
    assert_eq!(may(&policy, &user("b"), "out"), NOTHING);
}

#[test]
fn golden_d_k17_a_name_with_a_slash_never_spreads_over_levels() {
    let policy = policy("pattern readwrite data/%u/#\nuser a/b\ntopic read own\n");
    assert_eq!(may(&policy, &user("a"), "data/a/b/x"), BOTH);
    for name in ["a/b", "a/#", "+", "#", "a+", "/", ""] {
        for topic in ["data/a/b/x", "data/a/b", "data/+/x", "data//x", "data/a/x", "data//"] {
            assert_eq!(may(&policy, &user(name), topic), NOTHING, "{name} {topic}");
        }
        assert_eq!(policy.may_subscribe(&user(name), "data/#"), Refused);
    }
    assert_eq!(may(&policy, &user("a/b"), "own"), NOTHING, "whoever is not let in may do nothing");
}

#[test]
fn k17_only_the_name_a_pattern_uses_has_to_be_safe() {
    let by_client = policy("pattern read c/%c\n");
    assert_eq!(may(&by_client, &client("a/b", "id"), "c/id"), READ);
    assert_eq!(may(&by_client, &client("a", "i/d"), "c/i/d"), NOTHING);
    let by_nobody = policy("pattern read c/#\nuser a/b\ntopic write own\n");
    assert_eq!(may(&by_nobody, &client("a/b", "i/d"), "c/i/d"), READ);
    assert_eq!(may(&by_nobody, &client("a/b", "i/d"), "own"), WRITE);
}

#[test]
fn k17_names_are_text_whatever_they_hold() {
    let policy = policy("pattern readwrite d/%u/%c\n");
    for name in [".*", "|", "(", "%u", "%c", "$share", "a b", "\n", "ä"] {
        let who = client(name, name);
        assert_eq!(may(&policy, &who, &format!("d/{name}/{name}")), BOTH);
        assert_eq!(may(&policy, &who, "d/x/x"), NOTHING, "{name}");
        assert_eq!(policy.may_subscribe(&who, "d/x/+"), Refused, "{name}");
        assert_eq!(policy.may_subscribe(&who, "d/+/#"), Narrowed, "{name}");
    }
}

#[test]
fn a_pattern_of_user_names_skips_clients_with_none() {
    let policy = policy("pattern read u/%u\npattern read c/%c\n");
    assert_eq!(may(&policy, &anonymous("x"), "u/x"), NOTHING);
    assert_eq!(may(&policy, &anonymous("x"), "u/%u"), NOTHING);
    assert_eq!(may(&policy, &anonymous("x"), "c/x"), READ);
    assert_eq!(policy.may_subscribe(&anonymous("x"), "u/#"), Refused);
}

#[test]
fn patterns_hold_in_whichever_section_they_stand_and_topics_substitute_nothing() {
    let policy = policy("user a\npattern write in/%c\ntopic read lit/%u\n");
    assert_eq!(may(&policy, &client("b", "c1"), "in/c1"), WRITE);
    assert_eq!(may(&policy, &anonymous("c2"), "in/c2"), WRITE);
    assert_eq!(may(&policy, &user("a"), "lit/%u"), READ);
    assert_eq!(may(&policy, &user("a"), "lit/a"), NOTHING);
}

#[test]
fn k27_an_empty_file_denies_everything() {
    for text in ["", "\n", "# only a comment\n", "user a\n", "   \n\t\n"] {
        let policy = policy(text);
        for who in [user("a"), anonymous("x")] {
            assert_eq!(may(&policy, &who, "a"), NOTHING);
            assert_eq!(policy.may_subscribe(&who, "#"), Refused);
        }
    }
    assert_eq!(may(&Policy::deny_all(), &user("a"), "a"), NOTHING);
}

#[test]
fn an_unknown_user_has_patterns_only() {
    let policy = policy("topic read #\nuser a\ntopic read #\npattern read p/%u\n");
    assert_eq!(may(&policy, &user("z"), "p/z"), READ);
    assert_eq!(may(&policy, &user("z"), "x"), NOTHING);
}

#[test]
fn v5_4_7_2_1_an_entry_matches_dollar_topics_only_when_it_begins_with_a_dollar() {
    let policy = policy("user a\ntopic read #\ntopic read +/x\nuser b\ntopic read $SYS/#\npattern read %u/y\n");
    assert_eq!(may(&policy, &user("a"), "$SYS/x"), NOTHING);
    assert_eq!(may(&policy, &user("a"), "$SYS"), NOTHING);
    assert_eq!(may(&policy, &user("a"), "x/$SYS"), READ);
    assert_eq!(may(&policy, &user("b"), "$SYS"), READ);
    assert_eq!(may(&policy, &user("b"), "$SYS/broker/uptime"), READ);
    assert_eq!(may(&policy, &user("$SYS"), "$SYS/y"), NOTHING);
    assert_eq!(policy.may_subscribe(&user("a"), "$SYS/#"), Refused);
    assert_eq!(policy.may_subscribe(&user("$SYS"), "$SYS/y"), Refused);
    assert_eq!(policy.may_subscribe(&user("$SYS"), "#"), Refused);
    assert_eq!(policy.may_subscribe(&user("b"), "#"), Narrowed, "for the pattern b/y, not for $SYS");
    assert_eq!(policy.may_subscribe(&user("b"), "$SYS/+/x"), Granted);
}

#[test]
fn nobody_may_write_the_brokers_own_topics_but_a_bridges_state() {
    let policy = policy("user a\ntopic $SYS/#\ntopic $CONTROL/#\ntopic $other/#\n");
    let closed = [
        "$SYS",
        "$SYS/",
        "$SYS/broker/uptime",
        "$SYS/broker/connection/b",
        "$SYS/broker/connection/b/state/x",
        "$SYS/broker/connection/b/c/state",
        "$CONTROL",
        "$CONTROL/dynamic-security/v1",
    ];
    for topic in closed {
        assert_eq!(may(&policy, &user("a"), topic), READ, "{topic}");
    }
    assert_eq!(may(&policy, &user("a"), "$SYS/broker/connection/b/state"), BOTH);
    assert_eq!(may(&policy, &user("b"), "$SYS/broker/connection/b/state"), NOTHING);
    assert_eq!(may(&policy, &user("a"), "$other/x"), BOTH);
}

#[test]
fn what_is_no_topic_name_is_denied() {
    let policy = policy("user a\ntopic #\n");
    let long = "x".repeat(65_536);
    for topic in ["", "#", "a/+", "a+", "a\0", &long] {
        assert_eq!(may(&policy, &user("a"), topic), NOTHING, "{topic:.9}");
    }
    for topic in ["/", "//", " ", "a//b", &long[1..]] {
        assert_eq!(may(&policy, &user("a"), topic), BOTH, "{topic:.9}");
    }
}

#[test]
fn k18_a_subscription_is_refused_only_when_nothing_can_come() {
    let policy = policy(
        "user a\ntopic read a/#\ntopic deny a/secret\ntopic deny a/closed/#\ntopic write w/#\n\
         pattern read p/+/%c\npattern deny p/shut/#\n",
    );
    let a = client("a", "c");
    for granted in ["a", "a/closer", "p/x/c", "p/+/c"] {
        let verdict = if granted == "p/+/c" { Narrowed } else { Granted };
        assert_eq!(policy.may_subscribe(&a, granted), verdict, "{granted}");
    }
    for part in ["a/#", "a/+", "#", "+", "+/#", "+/secret/x", "a/secret/#", "p/#", "+/+/c"] {
        assert_eq!(policy.may_subscribe(&a, part), Narrowed, "{part}");
    }
    for refused in ["a/secret", "a/closed", "a/closed/#", "a/closed/+", "w/#", "w", "p", "p/+", "p/shut/c", "p/shut/#"]
    {
        assert_eq!(policy.may_subscribe(&a, refused), Refused, "{refused}");
    }
    for no_filter in ["", "a/#/b", "a#", "a+/b", "#/", "++", "\0"] {
        assert_eq!(policy.may_subscribe(&a, no_filter), Refused, "{no_filter:?}");
    }
}

#[test]
fn k18_an_empty_topic_is_nothing_to_receive() {
    for (rule, filter) in [("+", "/#"), ("/#", "+")] {
        let policy = policy(&format!("pattern read {rule}\n"));
        assert_eq!(policy.may_subscribe(&user("a"), filter), Refused, "{rule} {filter}");
    }
    let policy = policy("user a\ntopic read #\ntopic deny /+/#\n");
    assert_eq!(policy.may_subscribe(&user("a"), "/#"), Refused);
    assert_eq!(policy.may_subscribe(&user("a"), "+"), Granted, "a deny of `/+/#` holds no topic of one level");
}

#[test]
fn k18_a_deny_of_everything_refuses_every_filter() {
    for deny in ["#", "+/#"] {
        let policy = policy(&format!("user a\ntopic read #\ntopic read $SYS/#\ntopic deny {deny}\n"));
        for filter in ["#", "+/#", "+", "a/b", "a/#"] {
            assert_eq!(policy.may_subscribe(&user("a"), filter), Refused, "{filter}");
        }
        assert_eq!(policy.may_subscribe(&user("a"), "$SYS/#"), Granted);
    }
}

#[test]
fn spacing_is_mosquittos() {
    let text = "#c\n  user   a b \t\r\n   topic    read    x y  z/#  \r\ntopic write\ntopic deny\n topic\n"
        .replace(" topic\n", "");
    let policy = policy(&text);
    let who = user("a b");
    assert_eq!(may(&policy, &who, "x y  z/1"), READ);
    assert_eq!(may(&policy, &who, "write"), BOTH, "a lone word is a filter");
    assert_eq!(may(&policy, &who, "deny"), BOTH);
}

#[test]
fn every_error_is_told_with_its_line_and_what_to_do() {
    let text = "topic read ok\n # indented\nTopic x\ntopic\nuser \ntopic read a/#/b\n\ttopic x\ntopic a b\nrubbish\n\
                pattern read x/a%u\nuser x\u{7}y\ntopic\tread x\npattern read +%c+/a\n";
    let found: Vec<_> = Policy::parse(text)
        .unwrap_err()
        .into_iter()
        .map(|error| {
            assert!(!error.hint.is_empty());
            (error.line, error.what)
        })
        .collect();
    let expected = [
        (2, "unknown keyword `#`"),
        (3, "unknown keyword `Topic`"),
        (4, "no topic filter"),
        (5, "no user name"),
        (6, "`a/#/b` is no topic filter"),
        (7, "unknown keyword `\\ttopic`"),
        (8, "unknown access `a`"),
        (9, "unknown keyword `rubbish`"),
        (10, "the level `a%u` mixes a placeholder with other text"),
        (11, "the user name `x\\u{7}y` holds a control character"),
        (12, "unknown keyword `topic\\tread`"),
        (13, "`+%c+/a` is no topic filter"),
    ];
    assert_eq!(found, expected.map(|(line, what)| (line, what.to_owned())));
}

#[test]
fn k27_a_byte_order_mark_refuses_the_file() {
    let errors = Policy::parse("\u{feff}# comment\n").unwrap_err();
    assert_eq!(errors[0].hint, "save the file without a byte-order mark");
}

#[test]
fn long_lines_are_shortened_in_errors() {
    let errors = Policy::parse(&format!("{}\n", "é".repeat(100_000))).unwrap_err();
    assert!(errors[0].what.len() < 200);
}

#[test]
fn a_pattern_without_a_placeholder_is_warned_about() {
    let policy = policy("pattern read a/%u\npattern read everybody\n");
    assert_eq!(policy.warnings().iter().map(|warning| warning.line).collect::<Vec<_>>(), [2]);
    assert_eq!(may(&policy, &anonymous("x"), "everybody"), READ);
}

#[test]
fn the_deepest_topic_and_filter_are_judged_without_recursion() {
    let deep = "/".repeat(65_535);
    let policy = policy(&format!("user a\ntopic read {deep}\ntopic read {}+\n", &deep[1..]));
    assert!(policy.allows(&user("a"), Receive, &deep));
    assert_eq!(policy.may_subscribe(&user("a"), &deep), Granted);
    assert_eq!(policy.may_subscribe(&user("a"), "#"), Narrowed);
}

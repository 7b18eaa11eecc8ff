//! PUBLISH of 3.1.1 in both directions: acknowledgements, identifiers, order, retained messages.

use mqtt::Publish;

use super::{closes, framed, kept, publish, subscribe};
use crate::kit::*;

#[test]
fn v311_2_3_1_4_5_each_message_in_flight_has_an_identifier_of_its_own_and_qos_0_none() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let to = world.connect(&v311("to"));
    world.send_bytes(to, &subscribe(1, &[("x", 2)]));
    world.take(to);
    world.send_bytes(from, &publish(0, "x", None, "m"));
    assert_eq!(world.take_bytes(to), publish(0, "x", None, "m"));
    world.drained(to);
    for value in 1..=3 {
        world.send_bytes(from, &publish(2, "x", Some(value), "m"));
    }
    world.expect(to, &["publish x=m q1 #1", "publish x=m q1 #2", "publish x=m q1 #3"]);
    world.send_bytes(to, &[0x40, 2, 0, 2]);
    world.send_bytes(from, &publish(2, "x", Some(4), "m"));
    let shown = world.take(to);
    assert_eq!(shown.len(), 1);
    assert!(!shown[0].contains("#1") && !shown[0].contains("#3"), "{shown:?} are in use");
}

#[test]
fn v311_2_3_1_6_7_answers_repeat_the_identifier() {
    let mut world = World::new();
    let client = world.connect(&v311("c"));
    world.send_bytes(client, &subscribe(0x1234, &[("x", 0)]));
    assert_eq!(world.take_bytes(client), [0x90, 3, 0x12, 0x34, 0]);
    world.drained(client);
    for (sent, answer) in [
        (publish(2, "y", Some(0xFFFF), "m"), [0x40, 2, 0xFF, 0xFF]),
        (publish(4, "y", Some(0x0102), "m"), [0x50, 2, 1, 2]),
        (framed(0x62, &[1, 2]), [0x70, 2, 1, 2]),
        (super::unsubscribe(0x00FF, &["x"]), [0xB0, 2, 0, 0xFF]),
    ] {
        world.send_bytes(client, &sent);
        assert_eq!(world.take_bytes(client), answer);
        world.drained(client);
    }
}

#[test]
fn v311_3_3_1_1_dup_is_set_on_what_is_sent_again() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let to = world.connect(&kept("to"));
    world.subscribe(to, &[("x", 1)]);
    world.send_bytes(from, &publish(2, "x", Some(1), "m"));
    assert_eq!(world.take_bytes(to), publish(2, "x", Some(1), "m"), "DUP is 0 at first");
    world.lose(to);
    let to = world.admit(&kept("to"));
    let again = [&[0x20, 2, 1, 0][..], &publish(2 | 8, "x", Some(1), "m")].concat();
    assert_eq!(world.take_bytes(to), again);
}

#[test]
fn v311_3_3_1_3_dup_of_the_publisher_is_not_passed_on() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let to = world.connect(&v311("to"));
    world.subscribe(to, &[("x", 2)]);
    world.send_bytes(from, &publish(2 | 8, "x", Some(1), "one"));
    world.send_bytes(from, &publish(4 | 8, "x", Some(2), "two"));
    world.expect(to, &["publish x=one q1 #1", "publish x=two q2 #2"]);
}

#[test]
fn v311_3_3_1_5_6_8_9_the_last_retained_message_comes_to_new_subscriptions_at_its_qos() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let early = world.connect(&v311("early"));
    world.subscribe(early, &[("x/+", 2)]);
    world.send_bytes(from, &publish(2 | 1, "x/a", Some(1), "first"));
    world.send_bytes(from, &publish(2 | 1, "x/a", Some(2), "last"));
    world.send_bytes(from, &publish(4 | 1, "x/b", Some(3), "other"));
    let live = ["publish x/a=first q1 #1", "publish x/a=last q1 #2", "publish x/b=other q2 #3"];
    world.expect(early, &live);
    let late = world.connect(&v311("late"));
    world.send_bytes(late, &subscribe(1, &[("x/+", 1)]));
    world.expect(late, &["suback 1 01", "publish x/a=last q1 #1 retain", "publish x/b=other q1 #2 retain"]);
}

#[test]
fn v311_3_3_1_7_a_retained_message_of_qos_0_replaces_the_old_one() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    world.send_bytes(from, &publish(2 | 1, "x", Some(1), "old"));
    world.send_bytes(from, &publish(1, "x", None, "new"));
    let to = world.connect(&v311("to"));
    world.send_bytes(to, &subscribe(1, &[("x", 1)]));
    world.expect(to, &["suback 1 01", "publish x=new retain"]);
}

#[test]
fn v311_3_3_1_10_11_an_empty_retained_message_is_passed_on_and_clears() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let early = world.connect(&v311("early"));
    world.subscribe(early, &[("x", 0)]);
    world.send_bytes(from, &publish(1, "x", None, "old"));
    world.send_bytes(from, &publish(1, "x", None, ""));
    world.expect(early, &["publish x=old", "publish x="]);
    let late = world.connect(&v311("late"));
    world.send_bytes(late, &subscribe(1, &[("x", 0)]));
    world.expect(late, &["suback 1 00"]);
    assert_eq!(world.shared.retained_totals(), (0, 0));
}

#[test]
fn v311_3_3_1_12_an_ordinary_message_leaves_the_retained_one() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    world.send_bytes(from, &publish(1, "x", None, "kept"));
    world.send_bytes(from, &publish(0, "x", None, "passing"));
    world.send_bytes(from, &publish(0, "x", None, ""));
    let to = world.connect(&v311("to"));
    world.send_bytes(to, &subscribe(1, &[("x", 0)]));
    world.expect(to, &["suback 1 00", "publish x=kept retain"]);
}

#[test]
fn v311_3_3_2_3_the_topic_of_a_delivery_is_the_published_one_and_matches() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let to = world.connect(&v311("to"));
    world.subscribe(to, &[("a/+/c", 0)]);
    for topic in ["a/b/c", "a/b/d", "a//c", "a/b/c/d", "A/b/c"] {
        world.send_bytes(from, &publish(0, topic, None, "m"));
    }
    world.expect(to, &["publish a/b/c=m", "publish a//c=m"]);
}

#[test]
fn v311_3_3_4_1_a_publish_is_answered_as_its_qos_asks() {
    let mut world = World::new();
    let client = world.connect(&v311("c"));
    world.send_bytes(client, &publish(0, "x", None, "m"));
    world.expect(client, &[]);
    world.send_bytes(client, &publish(2, "x", Some(1), "m"));
    world.expect(client, &["puback 1 00"]);
    world.send_bytes(client, &publish(4, "x", Some(2), "m"));
    world.expect(client, &["pubrec 2 00"]);
}

#[test]
fn v311_3_3_5_1_overlapping_subscriptions_give_one_copy_at_the_highest_qos() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let to = world.connect(&v311("to"));
    world.subscribe(to, &[("x/#", 0), ("x/y", 2), ("+/y", 1)]);
    world.send_bytes(from, &publish(4, "x/y", Some(1), "m"));
    world.expect(to, &["publish x/y=m q2 #1"]);
    world.send_bytes(from, &publish(2, "x/z", Some(2), "m"));
    world.expect(to, &["publish x/z=m"]);
}

#[test]
fn v311_3_3_5_2_a_denied_publish_is_acknowledged_and_goes_nowhere() {
    let mut world = World::with(1, "user in\ntopic read #\nuser out\ntopic write open\n", &Default::default());
    let out = world.connect(&v311("out"));
    let reader = world.connect(&v311("in"));
    world.subscribe(reader, &[("#", 2)]);
    world.send_bytes(out, &publish(2 | 1, "closed", Some(1), "m"));
    world.send_bytes(out, &publish(4 | 1, "closed", Some(2), "m"));
    world.send_bytes(out, &[0x62, 2, 0, 2]);
    world.expect(out, &["puback 1 00", "pubrec 2 00", "pubcomp 2 00"]);
    world.send_bytes(out, &publish(2, "open", Some(3), "m"));
    world.expect(reader, &["publish open=m q1 #1"]);
    assert_eq!(world.shared.retained_totals().0, 0, "nor is it retained");
}

#[test]
fn v311_3_6_1_1_pubrel_with_other_flags_closes() {
    closes(&[0, 1, 4, 6, 10, 15].map(|flags| framed(0x60 | flags, &[0, 1])));
}

#[test]
fn v311_4_3_1_1_qos_0_is_sent_once() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let to = world.connect(&kept("to"));
    world.subscribe(to, &[("x", 2)]);
    world.send_bytes(from, &publish(0, "x", None, "m"));
    assert_eq!(world.take_bytes(to), [0x30, 4, 0, 1, b'x', b'm'], "QoS 0, DUP 0, no identifier");
    world.lose(to);
    let to = world.admit(&kept("to"));
    world.expect(to, &["connack 00 present"]);
}

#[test]
fn v311_4_3_2_1_qos_1_is_kept_until_puback() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let to = world.connect(&kept("to"));
    world.subscribe(to, &[("x", 1)]);
    world.send_bytes(from, &publish(2, "x", Some(9), "m"));
    world.expect(to, &["publish x=m q1 #1"]);
    for _ in 0..2 {
        world.lose(to);
        let to = world.admit(&kept("to"));
        world.expect(to, &["connack 00 present", "publish x=m q1 #1 dup"]);
    }
    let to = world.admit(&kept("to"));
    world.take(to);
    world.send_bytes(to, &[0x40, 2, 0, 1]);
    world.lose(to);
    let to = world.admit(&kept("to"));
    world.expect(to, &["connack 00 present"]);
}

#[test]
fn v311_4_3_2_2_after_puback_the_same_identifier_is_a_new_message() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let to = world.connect(&v311("to"));
    world.subscribe(to, &[("x", 1)]);
    world.send_bytes(from, &publish(2, "x", Some(7), "one"));
    world.expect(from, &["puback 7 00"]);
    world.send_bytes(from, &publish(2, "x", Some(7), "two"));
    world.expect(from, &["puback 7 00"]);
    world.expect(to, &["publish x=one q1 #1", "publish x=two q1 #2"]);
}

#[test]
fn v311_4_3_3_1_qos_2_is_kept_until_pubrec_and_released_until_pubcomp() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let to = world.connect(&kept("to"));
    world.subscribe(to, &[("x", 2)]);
    world.publish(from, Publish { delivery: qos2(1), ..message("x", "m") });
    world.expect(to, &["publish x=m q2 #1"]);
    world.lose(to);
    let to = world.admit(&kept("to"));
    world.expect(to, &["connack 00 present", "publish x=m q2 #1 dup"]);
    world.send_bytes(to, &[0x50, 2, 0, 1]);
    assert_eq!(world.take_bytes(to), [0x62, 2, 0, 1]);
    world.lose(to);
    let to = world.admit(&kept("to"));
    world.expect(to, &["connack 00 present", "pubrel 1 00"]);
    world.send_bytes(to, &[0x70, 2, 0, 1]);
    world.lose(to);
    let to = world.admit(&kept("to"));
    world.expect(to, &["connack 00 present"]);
}

#[test]
fn v311_4_3_3_2_qos_2_is_received_once_however_often_it_is_sent() {
    let mut world = World::new();
    let from = world.connect(&kept("from"));
    let to = world.connect(&v311("to"));
    world.subscribe(to, &[("x", 0)]);
    world.send_bytes(from, &publish(4, "x", Some(5), "m"));
    world.send_bytes(from, &publish(4 | 8, "x", Some(5), "m"));
    world.expect(from, &["pubrec 5 00", "pubrec 5 00"]);
    world.lose(from);
    let from = world.admit(&kept("from"));
    world.send_bytes(from, &publish(4 | 8, "x", Some(5), "m"));
    world.send_bytes(from, &[0x62, 2, 0, 5, 0x62, 2, 0, 5]);
    world.expect(from, &["connack 00 present", "pubrec 5 00", "pubcomp 5 00", "pubcomp 5 00"]);
    world.expect(to, &["publish x=m"]);
    world.send_bytes(from, &publish(4, "x", Some(5), "new"));
    world.expect(to, &["publish x=new"]);
}

#[test]
fn v311_4_5_0_1_a_message_is_added_to_every_session_that_matches() {
    let mut world = World::with(2, OPEN, &Default::default());
    let from = world.connect(&v311("from"));
    let online = world.connect(&v311("online"));
    let away = world.connect(&kept("away"));
    let other = world.connect(&kept("other"));
    world.subscribe(online, &[("x", 1)]);
    world.subscribe(away, &[("+", 1)]);
    world.subscribe(other, &[("y", 1)]);
    world.lose(away);
    world.lose(other);
    world.send_bytes(from, &publish(2, "x", Some(1), "m"));
    world.expect(from, &["puback 1 00"]);
    world.expect(online, &["publish x=m q1 #1"]);
    let away = world.admit(&kept("away"));
    world.expect(away, &["connack 00 present", "publish x=m q1 #1"]);
    let other = world.admit(&kept("other"));
    world.expect(other, &["connack 00 present"]);
}

#[test]
fn v311_4_6_0_5_6_messages_of_a_client_arrive_in_their_order() {
    let mut world = World::new();
    let to = world.connect(&kept("to"));
    world.subscribe(to, &[("x/#", 2)]);
    let one = world.connect(&v311("one"));
    let two = world.connect(&v311("two"));
    for number in 1..=20_u16 {
        let text = number.to_string();
        world.send_bytes(one, &publish(2, "x/one", Some(number), &text));
        world.send_bytes(two, &publish(2, "x/two", Some(number), &text));
        if number == 10 {
            world.take(to);
            world.lose(to);
        }
    }
    let to = world.admit(&kept("to"));
    let shown = world.take(to);
    for topic in ["x/one", "x/two"] {
        let numbers: Vec<u16> = shown
            .iter()
            .filter_map(|line| line.strip_prefix(&format!("publish {topic}=")))
            .map(|line| line.split(' ').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(numbers, (1..=20).collect::<Vec<_>>(), "{shown:?}");
    }
}

#[test]
fn v311_4_7_1_1_wildcards_in_a_topic_name_close() {
    closes(&["x/+", "#", "x#", "+"].map(|topic| publish(0, topic, None, "m")));
}

#[test]
fn v311_4_7_3_1_2_3_topic_names_that_are_none_close() {
    closes(&["", "\0", "a\0b"].map(|topic| publish(0, topic, None, "m")));
}

#[test]
fn v311_4_7_3_4_matching_compares_characters_and_changes_none() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let to = world.connect(&v311("to"));
    // The same letter in two forms, a space and letters of either case are all different.
    world.subscribe(to, &[("\u{e9}", 0), (" a", 0)]);
    for topic in ["\u{e9}", "e\u{301}", "a", " a", "\u{c9}"] {
        world.send_bytes(from, &publish(0, topic, None, "m"));
    }
    world.expect(to, &["publish \u{e9}=m", "publish  a=m"]);
}

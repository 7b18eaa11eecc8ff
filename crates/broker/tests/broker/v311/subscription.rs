//! SUBSCRIBE, UNSUBSCRIBE and PINGREQ of 3.1.1.

use super::{closes, framed, publish, subscribe, unsubscribe};
use crate::kit::*;

#[test]
fn v311_3_8_1_1_subscribe_with_other_flags_closes() {
    closes(&[0, 1, 3, 6, 10, 15].map(|flags| framed(0x80 | flags, &[0, 1, 0, 1, b'x', 0])));
}

#[test]
fn v311_3_8_3_1_filters_that_are_no_utf_8_close() {
    closes(&[framed(0x82, &[0, 1, 0, 1, 0xFF, 0]), framed(0x82, &[0, 1, 0, 2, 0xC0, 0x80, 0])]);
    closes(&[framed(0x82, &[0, 1, 0, 3, 0xED, 0xA0, 0x80, 0])]);
}

#[test]
fn v311_3_10_1_1_unsubscribe_with_other_flags_closes() {
    closes(&[0, 1, 3, 6, 10, 15].map(|flags| framed(0xA0 | flags, &[0, 1, 0, 1, b'x'])));
}

#[test]
fn v311_3_10_3_1_filters_of_unsubscribe_that_are_no_utf_8_close() {
    closes(&[framed(0xA2, &[0, 1, 0, 1, 0xFF]), framed(0xA2, &[0, 1, 0, 1, 0])]);
}

#[test]
fn v311_3_8_4_1_2_4_5_one_suback_with_a_code_for_each_filter_in_order() {
    let mut world = World::new();
    let client = world.connect(&v311("c"));
    world.send_bytes(client, &subscribe(0x0A0B, &[("a", 2), ("secret/x", 1), ("b/#", 0), ("+", 1)]));
    assert_eq!(world.take_bytes(client), [0x90, 6, 0x0A, 0x0B, 2, 0x80, 0, 1]);
}

#[test]
fn v311_3_9_3_1_return_codes_stand_in_the_order_of_the_filters() {
    let mut world = World::new();
    let client = world.connect(&v311("c"));
    world.send_bytes(client, &subscribe(1, &[("secret/x", 1), ("a", 1), ("a", 0), ("secret/y", 0)]));
    world.expect(client, &["suback 1 80 01 00 80"]);
}

#[test]
fn v311_3_8_4_3_the_same_filter_replaces_the_subscription_and_retained_messages_come_again() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    world.send_bytes(from, &publish(2 | 1, "x", Some(1), "kept"));
    let to = world.connect(&v311("to"));
    world.send_bytes(to, &subscribe(1, &[("x", 0)]));
    world.expect(to, &["suback 1 00", "publish x=kept retain"]);
    world.send_bytes(to, &subscribe(2, &[("x", 1)]));
    world.expect(to, &["suback 2 01", "publish x=kept q1 #1 retain"]);
    world.send_bytes(from, &publish(2, "x", Some(2), "m"));
    world.expect(to, &["publish x=m q1 #2"]);
}

#[test]
fn v311_3_8_4_4_several_filters_of_one_packet_are_as_many_subscriptions() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    world.send_bytes(from, &publish(1, "a", None, "kept"));
    let to = world.connect(&v311("to"));
    world.send_bytes(to, &subscribe(1, &[("a", 0), ("b", 1)]));
    world.expect(to, &["suback 1 00 01", "publish a=kept retain"]);
    world.send_bytes(from, &publish(2, "b", Some(1), "m"));
    world.expect(to, &["publish b=m q1 #1"]);
    world.send_bytes(to, &unsubscribe(2, &["a"]));
    world.expect(to, &["unsuback 2"]);
    world.send_bytes(from, &publish(2, "b", Some(2), "m"));
    world.expect(to, &["publish b=m q1 #2"]);
}

#[test]
fn v311_3_8_4_6_messages_come_at_the_lower_of_both_qos() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    for granted in 0..=2_u8 {
        let to = world.connect(&v311("to"));
        world.send_bytes(to, &subscribe(1, &[("x", granted)]));
        assert_eq!(world.take_bytes(to), [0x90, 3, 0, 1, granted]);
        world.drained(to);
        for sent in 0..=2_u8 {
            let id = (sent > 0).then_some(u16::from(granted) * 3 + u16::from(sent));
            world.send_bytes(from, &publish(sent << 1, "x", id, "m"));
            let bytes = world.take_bytes(to);
            assert_eq!((bytes[0] >> 1) & 3, sent.min(granted));
            world.drained(to);
        }
        world.lose(to);
    }
}

#[test]
fn v311_3_10_4_1_only_the_very_same_filter_is_removed() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let to = world.connect(&v311("to"));
    world.subscribe(to, &[("a/+", 0)]);
    world.send_bytes(to, &unsubscribe(1, &["a/b", "a/#", "A/+", "a/+/"]));
    world.expect(to, &["unsuback 1"]);
    world.send_bytes(from, &publish(0, "a/b", None, "m"));
    world.expect(to, &["publish a/b=m"]);
    world.send_bytes(to, &unsubscribe(2, &["a/+"]));
    world.expect(to, &["unsuback 2"]);
    world.send_bytes(from, &publish(0, "a/b", None, "m"));
    world.expect(to, &[]);
}

#[test]
fn v311_3_10_4_2_3_after_unsubscribe_nothing_new_comes_and_what_began_is_completed() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let hello = Hello { clean_start: false, ..v311("to") };
    let to = world.connect(&hello);
    world.subscribe(to, &[("x", 2)]);
    world.send_bytes(from, &publish(4, "x", Some(1), "begun"));
    world.expect(to, &["publish x=begun q2 #1"]);
    world.send_bytes(to, &unsubscribe(1, &["x"]));
    world.expect(to, &["unsuback 1"]);
    world.send_bytes(from, &publish(4, "x", Some(2), "late"));
    world.lose(to);
    let to = world.admit(&hello);
    world.expect(to, &["connack 00 present", "publish x=begun q2 #1 dup"]);
    world.send_bytes(to, &[0x50, 2, 0, 1]);
    world.expect(to, &["pubrel 1 00"]);
}

#[test]
fn v311_3_10_4_4_5_6_one_unsuback_whatever_matched() {
    let mut world = World::new();
    let client = world.connect(&v311("c"));
    world.subscribe(client, &[("a", 0), ("b", 0)]);
    world.send_bytes(client, &unsubscribe(0x0102, &["a", "never", "b"]));
    assert_eq!(world.take_bytes(client), [0xB0, 2, 1, 2]);
    world.drained(client);
    world.send_bytes(client, &unsubscribe(0x0103, &["never"]));
    assert_eq!(world.take_bytes(client), [0xB0, 2, 1, 3]);
    world.drained(client);
    world.send_bytes(client, &publish(0, "a", None, "m"));
    world.send_bytes(client, &publish(0, "b", None, "m"));
    world.expect(client, &[]);
}

#[test]
fn v311_3_12_4_1_a_ping_is_answered() {
    let mut world = World::new();
    let client = world.connect(&v311("c"));
    world.send_bytes(client, &[0xC0, 0, 0xC0, 0]);
    assert_eq!(world.take_bytes(client), [0xD0, 0, 0xD0, 0]);
}

#[test]
fn v311_4_7_1_2_3_wildcards_fill_their_levels() {
    let mut world = World::new();
    let client = world.connect(&v311("c"));
    world.send_bytes(client, &subscribe(1, &[("#", 0), ("a/#", 0), ("+", 0), ("+/a/+", 0), ("/+", 0)]));
    world.expect(client, &["suback 1 00 00 00 00 00"]);
    for filter in ["a#", "a/#/b", "#/a", "a+", "+a", "a/b+/c", "##"] {
        world.send_bytes(client, &subscribe(2, &[(filter, 0)]));
        world.expect(client, &["suback 2 80"]);
    }
}

#[test]
fn v311_4_7_2_1_leading_wildcards_do_not_reach_topics_that_begin_with_a_dollar() {
    let acl = "topic readwrite #\ntopic readwrite $own/#\npattern readwrite #\npattern readwrite $own/#\n";
    let mut world = World::with(1, acl, &Default::default());
    let from = world.connect(&v311("from"));
    let to = world.connect(&v311("to"));
    world.subscribe(to, &[("#", 0), ("+/x", 0)]);
    world.send_bytes(from, &publish(0, "$own/x", None, "hidden"));
    world.expect(to, &[]);
    world.subscribe(to, &[("$own/#", 0)]);
    world.send_bytes(from, &publish(0, "$own/x", None, "asked for"));
    world.expect(to, &["publish $own/x=asked for"]);
}

#[test]
fn v311_4_7_3_1_2_filters_have_a_character_and_no_nul() {
    closes(&["\0", "a/\0"].map(|filter| subscribe(1, &[(filter, 0)])));
    let mut world = World::new();
    let client = world.connect(&v311("c"));
    world.send_bytes(client, &subscribe(1, &[("", 0)]));
    world.expect(client, &["suback 1 80"]);
}

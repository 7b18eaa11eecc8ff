//! Sessions over connections: resume, redelivery, expiry, queues.

use motte_audit::EventKind;
use motte_broker::Limits;
use mqtt::{Disconnect, Packet, Publish, ReasonCode};

use crate::kit::*;

fn publish_all(world: &mut World, from: Client, count: u16, qos: fn(u16) -> mqtt::Delivery) {
    for value in 1..=count {
        world.publish(from, Publish { delivery: qos(value), ..message("x", &value.to_string()) });
        world.pubrel(from, value);
    }
    world.take(from);
}

#[test]
fn v5_4_4_0_1_unacknowledged_messages_are_sent_again_in_order() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("x", 2)]);
    publish_all(&mut world, from, 4, qos2);
    world.take(to);
    world.pubrec(to, 2);
    world.pubrec(to, 3);
    world.pubcomp(to, 3);
    world.expect(to, &["pubrel 2 00", "pubrel 3 00"]);
    world.lose(to);
    publish_all(&mut world, from, 1, qos1);
    let to = world.admit(&lasting("to"));
    let again = ["publish x=1 q2 #1 dup", "pubrel 2 00", "publish x=4 q2 #4 dup", "publish x=1 q1 #5"];
    world.expect(to, &[&["connack 00 present"], &again[..]].concat());
    world.pubrec(to, 1);
    world.pubcomp(to, 1);
    world.pubcomp(to, 2);
    world.expect(to, &["pubrel 1 00"]);
}

#[test]
fn v5_4_4_0_1_redelivery_keeps_to_the_receive_maximum_of_the_connection() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("x", 1)]);
    publish_all(&mut world, from, 3, qos1);
    world.take(to);
    world.lose(to);
    let to = world.admit(&Hello { receive_maximum: Some(1), ..lasting("to") });
    world.expect(to, &["connack 00 present", "publish x=1 q1 #1 dup"]);
    world.puback(to, 1);
    world.expect(to, &["publish x=2 q1 #2 dup"]);
    world.puback(to, 2);
    world.expect(to, &["publish x=3 q1 #3 dup"]);
}

#[test]
fn v5_4_4_0_1_a_new_message_does_not_overtake_redelivery() {
    let mut world = World::with_limits(&Limits { outbox_bytes_max: 9, ..Limits::default() });
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("x", 1)]);
    publish_all(&mut world, from, 2, qos1);
    world.expect(to, &["publish x=1 q1 #1", "publish x=2 q1 #2"]);
    world.lose(to);
    let to = world.admit(&lasting("to"));
    assert!(!world.take_bytes(to).is_empty(), "CONNACK leaves room for nothing else until it is written");
    world.publish(from, Publish { delivery: qos1(3), ..message("x", "3") });
    world.drained(to);
    world.expect(to, &["publish x=1 q1 #1 dup", "publish x=2 q1 #2 dup", "publish x=3 q1 #3"]);
}

#[test]
fn v5_4_5_0_1_messages_wait_for_a_session_without_a_connection() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&Hello { clean_start: false, ..v311("to") });
    world.subscribe(to, &[("x", 1)]);
    world.lose(to);
    world.publish(from, message("x", "zero"));
    publish_all(&mut world, from, 2, qos1);
    assert_eq!((world.counters().queued, world.counters().dropped), (2, 1));
    let to = world.admit(&Hello { clean_start: false, ..v311("to") });
    world.expect(to, &["connack 00 present", "publish x=1 q1 #1", "publish x=2 q1 #2"]);
}

#[test]
fn v5_4_1_0_2_a_session_ends_when_its_time_is_over() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&Hello { session_expiry_s: Some(10), ..lasting("to") });
    world.subscribe(to, &[("x", 1)]);
    world.lose(to);
    publish_all(&mut world, from, 2, qos1);
    world.pass_ms(9_999);
    assert_eq!(world.counters().sessions, 2);
    world.events();
    world.pass_ms(1);
    assert_eq!(world.events(), [EventKind::SessionExpired]);
    let counters = world.counters();
    assert_eq!((counters.sessions, counters.queued, counters.dropped), (1, 0, 2));
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "m") });
    world.expect(from, &["puback 1 10"]);
}

#[test]
fn v5_3_14_2_2_disconnect_may_change_the_expiry_but_not_from_zero() {
    let mut world = World::new();
    let leave = |expiry_s| {
        Packet::Disconnect(Disconnect { session_expiry_s: Some(expiry_s), ..Disconnect::new(ReasonCode::Success) })
    };
    let client = world.connect(&lasting("a"));
    world.send(client, &leave(0));
    world.expect(client, &["closed"]);
    assert_eq!(world.counters().sessions, 0);
    let client = world.connect(&lasting("a"));
    world.send(client, &leave(5));
    world.pass_ms(4_999);
    assert_eq!(world.counters().sessions, 1);
    world.pass_ms(1);
    assert_eq!(world.counters().sessions, 0);
    let client = world.connect(&v5("b"));
    world.send(client, &leave(5));
    world.expect(client, &["disconnect 82", "closed"]);
}

#[test]
fn v5_3_10_4_3_started_deliveries_are_finished_after_unsubscribe() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("x", 2)]);
    publish_all(&mut world, from, 1, qos2);
    world.expect(to, &["publish x=1 q2 #1"]);
    world.unsubscribe(to, &["x"]);
    world.lose(to);
    let to = world.admit(&lasting("to"));
    world.expect(to, &["connack 00 present", "publish x=1 q2 #1 dup"]);
}

#[test]
fn v5_3_1_2_4_a_clean_start_leaves_nothing_of_the_old_session() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("x", 1)]);
    publish_all(&mut world, from, 1, qos1);
    world.lose(to);
    publish_all(&mut world, from, 1, qos1);
    let to = world.admit(&Hello { clean_start: true, ..lasting("to") });
    world.expect(to, &["connack 00"]);
    publish_all(&mut world, from, 1, qos1);
    world.expect(to, &[]);
    assert_eq!(world.counters().queued, 0);
}

#[test]
fn v5_3_1_2_23_a_disconnect_moves_the_end_of_the_session_within_our_maximum() {
    for (asked_s, lasts_s) in [(Some(0), 0), (Some(7), 7), (Some(200), 100), (Some(u32::MAX), 100), (None, 20)] {
        let mut world = World::with_limits(&Limits { session_expiry_s_max: 100, ..Limits::default() });
        let client = world.connect(&Hello { session_expiry_s: Some(20), ..lasting("c") });
        world.pass_ms(50_000);
        let leave = Disconnect { session_expiry_s: asked_s, ..Disconnect::new(ReasonCode::Success) };
        world.send(client, &Packet::Disconnect(leave));
        if lasts_s > 0 {
            world.pass_ms(lasts_s * 1_000 - 1);
            assert_eq!(world.counters().sessions, 1, "{asked_s:?}");
            world.pass_ms(1);
        }
        assert_eq!(world.counters().sessions, 0, "{asked_s:?}");
    }
}

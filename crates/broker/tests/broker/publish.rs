//! PUBLISH from clients and to clients: QoS flows, windows, aliases, expiry, sizes.

use std::num::NonZeroU16;

use crate::kit::*;
use motte_broker::Limits;
use mqtt::{Delivery, ForwardedPropertiesBuf, Packet, Publish, Qos, ReasonCode};

#[test]
fn v5_3_3_4_1_each_qos_is_answered_and_delivered() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("a/#", 2)]);
    world.publish(from, message("a/b", "zero"));
    world.publish(from, Publish { delivery: qos1(7), ..message("a/b", "one") });
    world.publish(from, Publish { delivery: qos2(8), ..message("a/b", "two") });
    world.expect(from, &["puback 7 00", "pubrec 8 00"]);
    world.pubrel(from, 8);
    world.expect(from, &["pubcomp 8 00"]);
    world.expect(to, &["publish a/b=zero", "publish a/b=one q1 #1", "publish a/b=two q2 #2"]);
    world.puback(to, 1);
    world.pubrec(to, 2);
    world.expect(to, &["pubrel 2 00"]);
    world.pubcomp(to, 2);
    world.expect(to, &[]);
    let counters = world.counters();
    assert_eq!((counters.received, counters.sent, counters.dropped), (3, 3, 0));
}

#[test]
fn v311_noid_messages_travel_between_versions() {
    let mut world = World::new();
    let (old, new) = (world.connect(&v311("old")), world.connect(&v5("new")));
    world.subscribe(old, &[("x", 1)]);
    world.subscribe(new, &[("x", 1)]);
    world.publish(old, Publish { delivery: qos1(1), ..message("x", "a") });
    world.publish(new, Publish { delivery: qos1(1), ..message("x", "b") });
    world.expect(old, &["publish x=a q1 #1", "puback 1 00", "publish x=b q1 #2"]);
    world.expect(new, &["publish x=a q1 #1", "publish x=b q1 #2", "puback 1 00"]);
}

#[test]
fn v5_3_8_4_8_delivered_qos_is_the_lower_of_published_and_granted() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("low", 0), ("high", 2)]);
    world.publish(from, Publish { delivery: qos2(1), ..message("low", "m") });
    world.publish(from, message("high", "m"));
    world.expect(to, &["publish low=m", "publish high=m"]);
}

#[test]
fn v5_4_3_3_10_a_repeated_qos_2_publish_is_not_delivered_twice() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("x", 2)]);
    let again = Delivery::ExactlyOnce { id: id(3), dup: true };
    world.publish(from, Publish { delivery: qos2(3), ..message("x", "m") });
    world.publish(from, Publish { delivery: again, ..message("x", "m") });
    world.pubrel(from, 3);
    world.publish(from, Publish { delivery: qos2(3), ..message("x", "new") });
    world.expect(from, &["pubrec 3 00", "pubrec 3 00", "pubcomp 3 00", "pubrec 3 00"]);
    world.expect(to, &["publish x=m q2 #1", "publish x=new q2 #2"]);
}

#[test]
fn v5_4_3_3_10_exactly_once_holds_over_a_reconnect() {
    let mut world = World::new();
    let (from, to) = (world.connect(&lasting("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("x", 2)]);
    world.publish(from, Publish { delivery: qos2(3), ..message("x", "m") });
    world.lose(from);
    let from = world.connect(&lasting("from"));
    world.publish(from, Publish { delivery: Delivery::ExactlyOnce { id: id(3), dup: true }, ..message("x", "m") });
    world.expect(from, &["pubrec 3 00"]);
    world.expect(to, &["publish x=m q2 #1"]);
}

#[test]
fn v5_noid_pubrel_of_an_unknown_identifier_is_0x92() {
    let mut world = World::new();
    let (new, old) = (world.connect(&v5("new")), world.connect(&v311("old")));
    world.pubrel(new, 9);
    world.expect(new, &["pubcomp 9 92"]);
    world.pubrel(old, 9);
    world.expect(old, &["pubcomp 9 00"]);
    world.pubrec(new, 9);
    world.expect(new, &["pubrel 9 92"]);
}

#[test]
fn v5_4_4_0_2_a_failing_pubrec_ends_the_flow_and_frees_the_slot() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&Hello { receive_maximum: Some(1), ..v5("to") });
    world.subscribe(to, &[("x", 2)]);
    world.publish(from, Publish { delivery: qos2(1), ..message("x", "a") });
    world.publish(from, Publish { delivery: qos2(2), ..message("x", "b") });
    world.expect(to, &["publish x=a q2 #1"]);
    world.send(to, &Packet::PubRec(mqtt::Ack::new(id(1), ReasonCode::QuotaExceeded)));
    world.expect(to, &["publish x=b q2 #2"]);
    world.pubrec(to, 2);
    world.publish(from, Publish { delivery: qos2(3), ..message("x", "c") });
    world.send(to, &Packet::PubRec(mqtt::Ack::new(id(2), ReasonCode::UnspecifiedError)));
    world.expect(to, &["pubrel 2 00", "publish x=c q2 #3"]);
}

#[test]
fn v5_3_3_4_9_the_receive_maximum_of_the_client_is_kept() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&Hello { receive_maximum: Some(2), ..v5("to") });
    world.subscribe(to, &[("x", 1)]);
    for value in 1..=4 {
        world.publish(from, Publish { delivery: qos1(value), ..message("x", "m") });
    }
    world.publish(from, message("x", "zero"));
    world.expect(to, &["publish x=m q1 #1", "publish x=m q1 #2", "publish x=zero"]);
    assert_eq!(world.counters().queued, 2);
    world.puback(to, 2);
    world.expect(to, &["publish x=m q1 #3"]);
    world.puback(to, 1);
    world.puback(to, 3);
    world.expect(to, &["publish x=m q1 #4"]);
    assert_eq!(world.counters().queued, 0);
}

#[test]
fn v5_3_3_4_7_more_than_our_receive_maximum_is_0x93() {
    let mut world = World::with_limits(&Limits { receive_maximum: 2, ..Limits::default() });
    let client = world.connect(&v5("c"));
    for value in 1..=3 {
        world.publish(client, Publish { delivery: qos2(value), ..message("x", "m") });
    }
    world.expect(client, &["pubrec 1 10", "pubrec 2 10", "disconnect 93", "closed"]);
}

#[test]
fn v5_4_6_0_6_order_is_kept_for_each_topic_and_qos() {
    let mut world = World::with_limits(&Limits { inflight_max: 3, ..Limits::default() });
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("x", 1)]);
    for value in 1..=20 {
        world.publish(from, Publish { delivery: qos1(value), ..message("x", &value.to_string()) });
    }
    let mut seen = Vec::new();
    let mut next = 1;
    while seen.len() < 20 {
        seen.extend(world.take(to));
        world.puback(to, next);
        next += 1;
    }
    let expected: Vec<_> = (1..=20).map(|n| format!("publish x={n} q1 #{n}")).collect();
    assert_eq!(seen, expected);
}

#[test]
fn v5_4_6_0_6_a_new_message_does_not_overtake_those_that_wait_for_room() {
    let mut world = World::with_limits(&Limits { outbox_bytes_max: 9, ..Limits::default() });
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("x", 1)]);
    for value in 1..=3 {
        world.publish(from, Publish { delivery: qos1(value), ..message("x", &value.to_string()) });
    }
    assert_eq!(world.counters().queued, 2);
    let written = world.take_bytes(to);
    assert!(!written.is_empty(), "the transport took it and the shard was not told yet");
    world.publish(from, Publish { delivery: qos1(4), ..message("x", "4") });
    world.drained(to);
    world.expect(to, &["publish x=2 q1 #2", "publish x=3 q1 #3", "publish x=4 q1 #4"]);
}

#[test]
fn v5_3_3_2_12_topic_aliases_are_resolved() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("#", 0)]);
    let alias = NonZeroU16::new(32);
    world.publish(from, Publish { topic_alias: alias, ..message("long/topic", "1") });
    world.publish(from, Publish { topic_alias: alias, ..message("", "2") });
    world.publish(from, Publish { topic_alias: alias, ..message("other", "3") });
    world.publish(from, Publish { topic_alias: alias, ..message("", "4") });
    world.expect(to, &["publish long/topic=1", "publish long/topic=2", "publish other=3", "publish other=4"]);
    world.publish(from, Publish { topic_alias: NonZeroU16::new(33), ..message("y", "5") });
    world.expect(from, &["disconnect 94", "closed"]);
}

#[test]
fn v5_3_3_2_7_an_alias_does_not_survive_the_connection() {
    let mut world = World::new();
    let from = world.connect(&lasting("from"));
    world.publish(from, Publish { topic_alias: NonZeroU16::new(1), ..message("x", "1") });
    world.lose(from);
    let from = world.connect(&lasting("from"));
    world.publish(from, Publish { topic_alias: NonZeroU16::new(1), ..message("", "2") });
    world.expect(from, &["disconnect 82", "closed"]);
}

#[test]
fn v5_3_3_2_5_a_message_that_expires_between_shards_is_not_delivered() {
    let mut world = World::with(2, OPEN, &Limits::default());
    let from = world.connect(&v5("from"));
    let names = (0..9).map(|n| format!("to-{n}"));
    let name = names.into_iter().find(|name| usize::from(world.shared.home(name).0) != from.shard).unwrap();
    let to = world.connect(&v5(&name));
    world.subscribe(to, &[("#", 1)]);
    world.take(to);
    world.letters_take_ms = 2_000;
    for (at, delivery) in [Delivery::AtMostOnce, qos1(1), qos2(2)].into_iter().enumerate() {
        let expiry_s = Some(if at == 1 { 3 } else { 2 });
        world.publish(from, Publish { delivery, message_expiry_s: expiry_s, ..message("x", "m") });
    }
    world.expect(to, &["publish x=m q1 #1 expiry=1"]);
    assert_eq!(world.shards[to.shard].counters().dropped, 2);
}

#[test]
fn v5_3_3_2_6_the_forwarded_expiry_is_what_remains() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("x", 1)]);
    world.lose(to);
    world.publish(from, Publish { delivery: qos1(1), message_expiry_s: Some(10), ..message("x", "short") });
    world.publish(from, Publish { delivery: qos1(2), message_expiry_s: Some(100), ..message("x", "long") });
    world.pass_ms(30_000);
    let to = world.admit(&lasting("to"));
    world.expect(to, &["connack 00 present", "publish x=long q1 #1 expiry=70"]);
    assert_eq!((world.counters().dropped, world.counters().queued), (1, 0));
}

#[test]
fn v5_3_1_2_25_a_message_too_large_for_the_client_is_left_out_and_blocks_nothing() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&Hello { packet_size_max: Some(60), receive_maximum: Some(1), ..v5("to") });
    world.subscribe(to, &[("x", 1)]);
    world.publish(from, Publish { delivery: qos1(1), ..message("x", &"m".repeat(100)) });
    world.publish(from, message("x", &"m".repeat(100)));
    world.publish(from, Publish { delivery: qos1(2), ..message("x", "small") });
    world.expect(from, &["puback 1 00", "puback 2 00"]);
    world.expect(to, &["publish x=small q1 #1"]);
    assert_eq!(world.counters().sent, 3);
}

#[test]
fn v5_3_3_2_17_properties_are_forwarded_unchanged_and_in_order() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("x", 0)]);
    let properties = ForwardedPropertiesBuf::new()
        .payload_utf8()
        .content_type("text/plain")
        .and_then(|p| p.response_topic("re/x"))
        .and_then(|p| p.correlation_data(b"\x00\xff"))
        .and_then(|p| p.user("b", "1"))
        .and_then(|p| p.user("a", "2"))
        .and_then(|p| p.user("b", "3"))
        .unwrap();
    world.publish(from, Publish { properties: properties.as_ref(), ..message("x", "m") });
    let bytes = world.take_bytes(to);
    let (packet, _) = decoder(V5).decode(&bytes).unwrap().unwrap();
    let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
    assert_eq!(publish.properties, properties.as_ref());
}

#[test]
fn v5_noid_no_matching_subscribers_is_0x10_and_3x_is_not_told() {
    let mut world = World::new();
    let (new, old) = (world.connect(&v5("new")), world.connect(&v311("old")));
    world.publish(new, Publish { delivery: qos1(1), ..message("x", "m") });
    world.publish(new, Publish { delivery: qos2(2), ..message("x", "m") });
    world.pubrel(new, 2);
    world.expect(new, &["puback 1 10", "pubrec 2 10", "pubcomp 2 00"]);
    world.publish(old, Publish { delivery: qos2(2), ..message("x", "m") });
    world.pubrel(old, 2);
    world.expect(old, &["pubrec 2 00", "pubcomp 2 00"]);
}

#[test]
fn messages_cross_shards_in_order() {
    let mut world = World::with(2, OPEN, &Limits::default());
    let names = ["a", "b", "c", "d", "e", "f"];
    let clients: Vec<_> = names.iter().map(|name| world.connect(&v5(name))).collect();
    assert!(clients.iter().any(|c| c.shard == 0) && clients.iter().any(|c| c.shard == 1));
    for &client in &clients {
        world.subscribe(client, &[("x", 2)]);
    }
    world.publish(clients[0], Publish { delivery: qos2(1), ..message("x", "1") });
    world.publish(clients[0], Publish { delivery: qos2(2), ..message("x", "2") });
    world.expect(clients[0], &["publish x=1 q2 #1", "pubrec 1 00", "publish x=2 q2 #2", "pubrec 2 00"]);
    for &client in &clients[1..] {
        world.expect(client, &["publish x=1 q2 #1", "publish x=2 q2 #2"]);
    }
    assert_eq!(world.counters().sent, 12);
}

#[test]
fn v5_2_2_1_4_identifiers_are_not_used_twice_when_the_count_wraps() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("x", 1)]);
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "held") });
    world.expect(to, &["publish x=held q1 #1"]);
    let mut last = String::new();
    for round in 0..65_535_u32 {
        let value = u16::try_from(round % 65_535).unwrap().wrapping_add(2);
        let value = if value < 2 { 2 } else { value };
        world.publish(from, Publish { delivery: qos1(1), ..message("x", "m") });
        last = world.take(to).pop().unwrap();
        let used: u16 = last.rsplit('#').next().unwrap().parse().unwrap();
        assert_ne!(used, 1, "still in flight");
        assert!(value >= 2);
        world.puback(to, used);
    }
    assert_eq!(last, "publish x=m q1 #2");
    assert_eq!(world.counters().sent, 65_536);
    assert_eq!(Qos::AtLeastOnce.as_u8(), 1);
}

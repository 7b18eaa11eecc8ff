//! What breaks the protocol: the right DISCONNECT, then the end, and nothing of what follows is read.

use motte_audit::{CloseCause, EventKind};
use motte_broker::Limits;
use mqtt::{Ack, Encoder, Packet, Publish, ReasonCode};

use crate::kit::*;

#[test]
fn v5_4_13_1_1_each_error_has_its_code_and_ends_the_link() {
    let hello = v5("c");
    let mut connect = Vec::new();
    Encoder::new(V5, u32::MAX).encode(&Packet::Connect(connect_packet(&hello)), &mut connect).unwrap();
    let cases: &[(&[u8], &str)] = &[
        (&connect, "disconnect 82"),
        (&[0x00, 0x00], "disconnect 81"),
        (&[0x20, 0x03, 0, 0, 0], "disconnect 82"),
        (&[0x90, 0x04, 0, 1, 0, 0], "disconnect 82"),
        (&[0xd0, 0x00], "disconnect 82"),
        (&[0xf0, 0x00], "disconnect 82"),
        (&[0xc0, 0x01, 0], "disconnect 81"),
        (&[0x60, 0x02, 0, 1], "disconnect 81"),
        (&[0x30, 0xff, 0xff, 0xff, 0x7f], "disconnect 95"),
        (&[0x36, 0x05, 0, 1, b'x', 0, 1], "disconnect 81"),
        (&[0x30, 0x04, 0, 1, b'+', 0], "disconnect 90"),
    ];
    for (bytes, told) in cases {
        let mut world = World::new();
        let client = world.connect(&hello);
        let mut all = bytes.to_vec();
        all.extend_from_slice(&[0xc0, 0x00]);
        world.send_bytes(client, &all);
        let shown = world.take(client);
        assert_eq!(shown, [told, "closed"], "{bytes:02x?}");
        assert_eq!((world.counters().links, world.counters().sessions), (0, 0));
        world.send_bytes(client, &[0xc0, 0x00]);
        assert_eq!(world.take(client), ["closed"]);
    }
}

#[test]
fn v311_4_8_0_1_errors_only_close() {
    for bytes in [&[0x00, 0x00][..], &[0xf0, 0x00], &[0x36, 0x05, 0, 1, b'x', 0, 1]] {
        let mut world = World::new();
        let client = world.connect(&v311("c"));
        world.send_bytes(client, bytes);
        world.expect(client, &["closed"]);
    }
}

#[test]
fn k44_an_acknowledgement_of_another_qos_is_a_protocol_error() {
    type Answer = fn(Ack<'static>) -> Packet<'static>;
    let answers: [(u8, Answer); 4] =
        [(1, Packet::PubRec), (1, Packet::PubComp), (2, Packet::PubAck), (2, Packet::PubComp)];
    for (qos, answer) in answers {
        let mut world = World::new();
        let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
        world.subscribe(to, &[("x", qos)]);
        world.publish(from, Publish { delivery: qos2(1), ..message("x", "m") });
        world.take(to);
        world.send(to, &answer(Ack::new(id(1), ReasonCode::Success)));
        world.expect(to, &["disconnect 82", "closed"]);
    }
}

#[test]
fn k44_acknowledgements_of_nothing_are_ignored() {
    let mut world = World::new();
    let client = world.connect(&v5("c"));
    world.puback(client, 5);
    world.pubcomp(client, 6);
    world.expect(client, &[]);
}

#[test]
fn packets_may_come_in_any_pieces() {
    let mut world = World::new();
    let client = world.connect(&v5("c"));
    let mut bytes = Vec::new();
    let encoder = Encoder::new(V5, u32::MAX);
    for value in 1..=3 {
        let publish = Publish { delivery: qos1(value), ..message("some/topic", "payload") };
        encoder.encode(&Packet::Publish(publish), &mut bytes).unwrap();
    }
    for byte in &bytes {
        world.send_bytes(client, &[*byte]);
    }
    world.send_bytes(client, &bytes);
    assert_eq!(world.take(client).len(), 6);
}

#[test]
fn the_event_of_an_error_tells_the_operator_what_it_was() {
    let mut world = World::with_limits(&Limits { packet_size_bytes_max: 100, ..Limits::default() });
    let client = world.connect(&v5("c"));
    world.events();
    world.publish(client, message("x", &"m".repeat(200)));
    world.expect(client, &["disconnect 95", "closed"]);
    let closed = EventKind::Closed { cause: CloseCause::Limit, detail: Some("packet too large") };
    assert_eq!(world.events(), [closed]);
}

#[test]
fn v5_noid_a_packet_above_our_maximum_is_0x95_on_its_header_and_3x_is_closed() {
    let limits = Limits { packet_size_bytes_max: 100, ..Limits::default() };
    for (hello, told) in [(v5("c"), &["disconnect 95", "closed"][..]), (v311("c"), &["closed"])] {
        let mut world = World::with_limits(&limits);
        let (client, to) = (world.connect(&hello), world.connect(&v5("to")));
        world.subscribe(to, &[("#", 0)]);
        let head = if client.version == V5 { 6 } else { 5 };
        let fits = "m".repeat(100 - head);
        world.publish(client, message("x", &fits));
        world.expect(to, &[&format!("publish x={fits}")]);
        // The length alone decides: not one byte of the content has come.
        world.send_bytes(client, &[0x30, 99]);
        world.expect(client, told);
        world.expect(to, &[]);
    }
}

#[test]
fn v5_noid_nobody_publishes_below_sys_whatever_the_rules_say() {
    let acl = "pattern readwrite #\npattern readwrite $SYS/#\n";
    for (hello, answers) in [(v5("c"), ["puback 1 87", "pubrec 2 87"]), (v311("c"), ["puback 1 00", "pubrec 2 00"])] {
        let mut world = World::with(1, acl, &Limits::default());
        let (client, to) = (world.connect(&hello), world.connect(&v5("to")));
        world.subscribe(to, &[("$SYS/#", 0)]);
        world.take(to);
        for delivery in [mqtt::Delivery::AtMostOnce, qos1(1), qos2(2)] {
            world.publish(client, Publish { delivery, retain: true, ..message("$SYS/broker/uptime", "forged") });
        }
        world.expect(client, &answers);
        world.expect(to, &[]);
    }
}

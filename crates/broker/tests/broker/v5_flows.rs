//! MQTT 5.0, sections 3.5 to 3.7, 3.12, 3.14 and 4.1 to 4.13: acknowledgements, QoS flows, windows, the end of a link.

use motte_broker::Limits;
use mqtt::{Ack, Delivery, Disconnect, Encoder, Packet, Publish, ReasonCode};

use crate::kit::*;

/// A publisher, and a subscriber of `x` at `qos` whose session lasts.
fn pair(world: &mut World, qos: u8) -> (Client, Client) {
    let (from, to) = (world.connect(&v5("from")), world.connect(&lasting("to")));
    world.subscribe(to, &[("x", qos)]);
    (from, to)
}

fn again(value: u16) -> Delivery {
    Delivery::ExactlyOnce { id: id(value), dup: true }
}

/// The connection of `to` breaks and it comes back; gives what it is sent behind CONNACK.
fn reconnect(world: &mut World, to: Client) -> (Client, Vec<String>) {
    world.lose(to);
    let to = world.admit(&lasting("to"));
    let mut shown = world.take(to);
    assert_eq!(shown.remove(0), "connack 00 present");
    (to, shown)
}

/// The codes of PUBREC on one hand, of PUBREL and PUBCOMP on the other.
#[test]
fn v5_3_5_2_1_reason_codes_of_pubrec_other_than_the_listed_end_the_link() {
    only_listed(0x50, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]);
}

#[test]
fn v5_3_6_2_1_reason_codes_of_pubrel_other_than_the_listed_end_the_link() {
    only_listed(0x62, &[0x00, 0x92]);
}

#[test]
fn v5_3_7_2_1_reason_codes_of_pubcomp_other_than_the_listed_end_the_link() {
    only_listed(0x70, &[0x00, 0x92]);
}

fn only_listed(first: u8, listed: &[u8]) {
    for code in 0..=u8::MAX {
        let mut world = World::new();
        let client = world.connect(&v5("c"));
        world.send_bytes(client, &[first, 3, 0, 1, code, 0xc0, 0]);
        let shown = world.take(client);
        let is_open = shown.last().is_some_and(|last| last == "pingresp");
        assert_eq!(is_open, listed.contains(&code), "{first:02x} {code:02x}: {shown:?}");
        assert!(is_open || shown == ["disconnect 82", "closed"], "{first:02x} {code:02x}: {shown:?}");
    }
}

/// Room for CONNACK and for the bare form of everything else, and for no reason string of ours.
const TIGHT: Hello<'static> = Hello { packet_size_max: Some(16), ..v5("tight") };

#[test]
fn v5_3_6_2_2_3_pubrel_carries_nothing_that_does_not_fit() {
    let mut world = World::new();
    let (client, roomy) = (world.connect(&TIGHT), world.connect(&v5("c")));
    world.pubrec(client, 9);
    assert_eq!(world.take_bytes(client), [0x62, 3, 0, 9, 0x92]);
    world.pubrec(roomy, 9);
    assert!(world.take_bytes(roomy).len() > 16, "the reason string of those who have room");
}

#[test]
fn v5_3_7_2_2_3_pubcomp_carries_nothing_that_does_not_fit() {
    let mut world = World::new();
    let (client, roomy) = (world.connect(&TIGHT), world.connect(&v5("c")));
    world.pubrel(client, 9);
    assert_eq!(world.take_bytes(client), [0x70, 3, 0, 9, 0x92]);
    world.publish(client, Publish { delivery: qos2(9), ..message("x", "m") });
    world.take_bytes(client);
    world.pubrel(client, 9);
    assert_eq!(world.take_bytes(client), [0x70, 2, 0, 9]);
    world.pubrel(roomy, 9);
    assert!(world.take_bytes(roomy).len() > 16, "the reason string of those who have room");
}

#[test]
fn v5_3_12_4_1_each_pingreq_has_its_pingresp() {
    let mut world = World::new();
    let client = world.connect(&v5("c"));
    world.send_bytes(client, &[0xc0, 0, 0xc0, 0, 0xc0, 0]);
    assert_eq!(world.take_bytes(client), [0xd0, 0, 0xd0, 0, 0xd0, 0]);
    world.publish(client, message("x", "m"));
    world.expect(client, &[]);
}

#[test]
fn v5_3_14_0_1_a_refused_connection_gets_no_disconnect() {
    let mut world = World::with_limits(&Limits { sessions_max: 1, ..Limits::default() });
    world.connect(&v5("first"));
    let beyond = world.admit(&v5("second"));
    world.expect(beyond, &["connack 97", "closed"]);
    let thief = world.admit(&Hello { user: "thief", ..v5("first") });
    world.expect(thief, &["connack 85", "closed"]);
    for client in [beyond, thief] {
        world.send_bytes(client, &[0xff, 0xff]);
        world.expect(client, &["closed"]);
    }
}

#[test]
fn v5_3_14_1_1_flags_of_disconnect_are_zero() {
    for flags in 0..=15 {
        let mut world = World::new();
        let watcher = world.connect(&v5("watcher"));
        world.subscribe(watcher, &[("alarm", 0)]);
        let client = world.connect(&Hello { will: Some(will("alarm")), ..v5("c") });
        world.send_bytes(client, &[0xe0 | flags, 0]);
        if flags == 0 {
            world.expect(client, &["closed"]);
            world.expect(watcher, &[]);
        } else {
            world.expect(client, &["disconnect 81", "closed"]);
            world.expect(watcher, &["publish alarm=gone"]);
        }
    }
}

#[test]
fn v5_3_14_4_1_2_nothing_follows_our_disconnect_but_the_close() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, 1);
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "1") });
    world.expect(to, &["publish x=1 q1 #1"]);
    world.hold_journal(true);
    world.publish(to, Publish { delivery: qos1(1), ..message("x", "own") });
    world.take(to);
    let mut bytes = Vec::new();
    let encoder = Encoder::new(V5, u32::MAX);
    bytes.extend_from_slice(&[0x00, 0x00]);
    encoder.encode(&Packet::Publish(message("x", "behind the error")), &mut bytes).unwrap();
    world.send_bytes(to, &bytes);
    world.expect(to, &["disconnect 81", "closed"]);
    world.hold_journal(false);
    world.send(to, &Packet::PingReq);
    world.publish(from, Publish { delivery: qos1(2), ..message("x", "2") });
    world.drained(to);
    world.expect(to, &["closed"]);
    let to = world.admit(&lasting("to"));
    let later = ["connack 00 present", "publish x=1 q1 #1 dup", "publish x=own q1 #2 dup", "publish x=2 q1 #3"];
    world.expect(to, &later);
}

#[test]
fn v5_3_14_4_1_2_what_a_client_sends_behind_its_disconnect_is_not_read() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, 1);
    let mut bytes = Vec::new();
    let encoder = Encoder::new(V5, u32::MAX);
    encoder.encode(&Packet::Publish(Publish { delivery: qos1(1), ..message("x", "before") }), &mut bytes).unwrap();
    encoder.encode(&Packet::Disconnect(Disconnect::new(ReasonCode::Success)), &mut bytes).unwrap();
    encoder.encode(&Packet::Publish(Publish { delivery: qos1(2), ..message("x", "behind") }), &mut bytes).unwrap();
    world.send_bytes(from, &bytes);
    world.expect(from, &["puback 1 00", "closed"]);
    world.expect(to, &["publish x=before q1 #1"]);
}

#[test]
fn v5_3_14_4_3_only_disconnect_0_takes_the_will_back() {
    let codes = [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
    for code in codes {
        let mut world = World::new();
        let watcher = world.connect(&v5("watcher"));
        world.subscribe(watcher, &[("alarm", 0)]);
        let client = world.connect(&Hello { will: Some(will("alarm")), ..lasting("c") });
        world.send_bytes(client, &[0xe0, 1, code]);
        world.expect(client, &["closed"]);
        let expected: &[&str] = if code == 0 { &[] } else { &["publish alarm=gone"] };
        world.expect(watcher, expected);
        // Neither does it come later: at the end of the session, or when the client is back and lost again.
        let client = world.connect(&lasting("c"));
        world.lose(client);
        world.pass_ms(1_000_000);
        world.expect(watcher, &[]);
    }
}

#[test]
fn v5_4_1_0_1_a_session_lasts_at_least_as_long_as_its_connection() {
    for expiry_s in [None, Some(0), Some(10)] {
        let mut world = World::with_limits(&Limits { keep_alive_s_max: 0, ..Limits::default() });
        let from = world.connect(&Hello { keep_alive_s: 0, ..v5("from") });
        let to = world.connect(&Hello { keep_alive_s: 0, session_expiry_s: expiry_s, ..v5("to") });
        world.subscribe(to, &[("x", 2)]);
        world.publish(from, Publish { delivery: qos2(1), ..message("x", "early") });
        world.publish(to, Publish { delivery: qos2(7), ..message("y", "m") });
        world.expect(to, &["publish x=early q2 #1", "pubrec 7 10"]);
        world.pass_ms(30 * 24 * 3_600_000);
        // Subscriptions, both directions of QoS 2 and the identifiers in use are still known.
        world.publish(from, Publish { delivery: qos2(2), ..message("x", "late") });
        world.pubrec(to, 1);
        world.pubrel(to, 7);
        world.expect(to, &["publish x=late q2 #2", "pubrel 1 00", "pubcomp 7 00"]);
    }
}

#[test]
fn v5_4_2_0_1_packets_are_read_from_a_stream_however_it_is_cut() {
    let exchange = |size: usize| {
        let mut world = World::new();
        let (from, to) = pair(&mut world, 2);
        let mut bytes = Vec::new();
        let encoder = Encoder::new(V5, u32::MAX);
        let long = "p".repeat(300);
        for packet in [
            Packet::Publish(Publish { delivery: qos2(1), ..message("x", "one") }),
            Packet::PingReq,
            Packet::Publish(Publish { delivery: qos1(2), ..message("x", &long) }),
            Packet::PubRel(Ack::new(id(1), ReasonCode::Success)),
            Packet::Publish(message("x", "")),
        ] {
            encoder.encode(&packet, &mut bytes).unwrap();
        }
        for piece in bytes.chunks(size) {
            world.send_bytes(from, piece);
        }
        (world.take(from), world.take(to))
    };
    let whole = exchange(usize::MAX);
    assert_eq!(whole.0, ["pubrec 1 00", "pingresp", "puback 2 00", "pubcomp 1 00"]);
    assert_eq!(whole.1.len(), 3);
    for size in [1, 2, 3, 5, 7, 64] {
        assert_eq!(exchange(size), whole, "pieces of {size}");
    }
}

#[test]
fn v5_4_3_1_1_qos_0_is_sent_with_qos_0_and_without_dup() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, 2);
    world.publish(from, message("x", "m"));
    assert_eq!(world.take_bytes(to), [0x30, 5, 0, 1, b'x', 0, b'm']);
    // It is sent once: a connection later nothing is left of it.
    assert_eq!(reconnect(&mut world, to).1, [""; 0]);
}

#[test]
fn v5_4_3_2_1_2_a_new_qos_1_message_has_a_fresh_identifier_and_no_dup() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, 1);
    let dup = Delivery::AtLeastOnce { id: id(7), dup: true };
    world.publish(from, Publish { delivery: dup, ..message("x", "a") });
    world.publish(from, Publish { delivery: qos1(7), ..message("x", "b") });
    let expected: [&[u8]; 2] = [&[0x32, 7, 0, 1, b'x', 0, 1, 0, b'a'], &[0x32, 7, 0, 1, b'x', 0, 2, 0, b'b']];
    assert_eq!(world.take_bytes(to), expected.concat());
    world.puback(to, 1);
    world.publish(from, Publish { delivery: qos1(7), ..message("x", "c") });
    world.expect(to, &["publish x=c q1 #3"]);
}

#[test]
fn v5_4_3_2_3_a_qos_1_message_is_unacknowledged_until_its_puback() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, 1);
    for value in 1..=2 {
        world.publish(from, Publish { delivery: qos1(value), ..message("x", &value.to_string()) });
    }
    world.take(to);
    world.puback(to, 3);
    world.puback(to, 2);
    let (to, shown) = reconnect(&mut world, to);
    assert_eq!(shown, ["publish x=1 q1 #1 dup"]);
    let (to, shown) = reconnect(&mut world, to);
    assert_eq!(shown, ["publish x=1 q1 #1 dup"], "having been sent twice acknowledges nothing");
    world.puback(to, 1);
    assert_eq!(reconnect(&mut world, to).1, [""; 0]);
}

#[test]
fn v5_4_3_2_4_puback_is_sent_when_the_message_is_ours_and_not_before() {
    let mut world = World::new();
    let (from, _to) = pair(&mut world, 1);
    world.hold_journal(true);
    world.publish(from, Publish { delivery: qos1(5), ..message("x", "m") });
    world.pass_ms(60_000);
    world.expect(from, &[]);
    world.hold_journal(false);
    world.expect(from, &["puback 5 00"]);
}

#[test]
fn v5_4_3_2_5_an_identifier_that_was_acknowledged_carries_a_new_message_whatever_dup_says() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, 1);
    for (dup, payload) in [(false, "a"), (true, "a"), (true, "b"), (false, "b")] {
        let delivery = Delivery::AtLeastOnce { id: id(5), dup };
        world.publish(from, Publish { delivery, ..message("x", payload) });
        world.expect(from, &["puback 5 00"]);
    }
    world.expect(to, &["publish x=a q1 #1", "publish x=a q1 #2", "publish x=b q1 #3", "publish x=b q1 #4"]);
}

#[test]
fn v5_4_3_3_1_2_a_new_qos_2_message_has_a_fresh_identifier_and_no_dup() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, 2);
    world.publish(from, Publish { delivery: again(7), ..message("x", "a") });
    world.pubrel(from, 7);
    world.publish(from, Publish { delivery: qos2(7), ..message("x", "b") });
    let expected: [&[u8]; 2] = [&[0x34, 7, 0, 1, b'x', 0, 1, 0, b'a'], &[0x34, 7, 0, 1, b'x', 0, 2, 0, b'b']];
    assert_eq!(world.take_bytes(to), expected.concat());
    world.pubrec(to, 1);
    world.pubrel(from, 7);
    world.publish(from, Publish { delivery: qos2(7), ..message("x", "c") });
    world.expect(to, &["pubrel 1 00", "publish x=c q2 #3"]);
}

#[test]
fn v5_4_3_3_3_to_6_a_qos_2_message_is_unacknowledged_until_pubrec_and_its_pubrel_until_pubcomp() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, 2);
    world.publish(from, Publish { delivery: qos2(1), ..message("x", "m") });
    world.expect(to, &["publish x=m q2 #1"]);
    let (to, shown) = reconnect(&mut world, to);
    assert_eq!(shown, ["publish x=m q2 #1 dup"]);
    world.pubrec(to, 1);
    world.expect(to, &["pubrel 1 00"]);
    for _ in 0..2 {
        // A PUBREC that is repeated gets PUBREL again, and never the message.
        world.pubrec(to, 1);
        world.expect(to, &["pubrel 1 00"]);
    }
    let (to, shown) = reconnect(&mut world, to);
    assert_eq!(shown, ["pubrel 1 00"]);
    let (to, shown) = reconnect(&mut world, to);
    assert_eq!(shown, ["pubrel 1 00"]);
    world.pubcomp(to, 2);
    let (to, shown) = reconnect(&mut world, to);
    assert_eq!(shown, ["pubrel 1 00"], "the PUBCOMP of another flow ends none");
    world.pubcomp(to, 1);
    assert_eq!(reconnect(&mut world, to).1, [""; 0]);
}

#[test]
fn v5_4_3_3_4_no_pubrel_answers_a_pubrec_that_refuses() {
    for code in [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99] {
        let mut world = World::new();
        let (from, to) = pair(&mut world, 2);
        world.publish(from, Publish { delivery: qos2(1), ..message("x", "m") });
        world.take(to);
        world.send_bytes(to, &[0x50, 3, 0, 1, code]);
        world.expect(to, &[]);
        let (to, shown) = reconnect(&mut world, to);
        assert_eq!(shown, [""; 0], "{code:02x}");
        // Neither when nothing is known under the identifier.
        world.send_bytes(to, &[0x50, 3, 0, 1, code]);
        world.expect(to, &[]);
    }
}

#[test]
fn v5_4_3_3_7_a_message_that_was_sent_does_not_expire() {
    for qos in [1, 2] {
        let mut world = World::new();
        let (from, _) = pair(&mut world, 0);
        let to = world.connect(&Hello { receive_maximum: Some(1), ..lasting("to") });
        world.subscribe(to, &[("x", qos)]);
        for (value, payload) in [(1, "sent"), (2, "waits")] {
            let expiring = Publish { message_expiry_s: Some(5), ..message("x", payload) };
            world.publish(from, Publish { delivery: qos2(value), ..expiring });
        }
        assert_eq!(world.take(to), [format!("publish x=sent q{qos} #1 expiry=5")]);
        world.pass_ms(60_000);
        let (_, shown) = reconnect(&mut world, to);
        // What was never sent is gone, what was sent comes again.
        assert_eq!(shown, [format!("publish x=sent q{qos} #1 dup expiry=0")]);
    }
}

#[test]
fn v5_4_3_3_8_pubrec_is_sent_when_the_message_is_ours_and_not_before() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, 2);
    world.hold_journal(true);
    world.publish(from, Publish { delivery: qos2(5), ..message("x", "m") });
    world.publish(from, Publish { delivery: again(5), ..message("x", "m") });
    world.pass_ms(60_000);
    world.expect(from, &[]);
    world.hold_journal(false);
    world.expect(from, &["pubrec 5 00", "pubrec 5 00"]);
    world.expect(to, &["publish x=m q2 #1"]);
}

#[test]
fn v5_4_3_3_9_an_identifier_that_was_refused_carries_a_new_message() {
    let mut world = World::with_limits(&Limits { receive_maximum: 2, ..Limits::default() });
    let (from, to) = pair(&mut world, 2);
    for dup in [false, true, false] {
        let delivery = Delivery::ExactlyOnce { id: id(5), dup };
        world.publish(from, Publish { delivery, ..message("secret/x", "m") });
        world.expect(from, &["pubrec 5 87"]);
    }
    world.publish(from, Publish { delivery: again(5), ..message("x", "m") });
    world.expect(from, &["pubrec 5 00"]);
    world.expect(to, &["publish x=m q2 #1"]);
    // What was refused holds no place in our window.
    for value in 10..20 {
        world.publish(from, Publish { delivery: qos2(value), ..message("secret/x", "m") });
    }
    assert_eq!(world.take(from).len(), 10);
    // And has nothing to release.
    world.pubrel(from, 10);
    world.expect(from, &["pubcomp 10 92"]);
}

#[test]
fn v5_4_3_3_11_12_pubrel_gets_pubcomp_and_then_the_identifier_is_new() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, 2);
    world.publish(from, Publish { delivery: qos2(5), ..message("x", "a") });
    world.pubrel(from, 5);
    world.expect(from, &["pubrec 5 00", "pubcomp 5 00"]);
    world.publish(from, Publish { delivery: again(5), ..message("x", "a") });
    world.expect(from, &["pubrec 5 00"]);
    world.expect(to, &["publish x=a q2 #1", "publish x=a q2 #2"]);
    // Only the PUBREL of this identifier does that.
    world.pubrel(from, 6);
    world.publish(from, Publish { delivery: again(5), ..message("x", "a") });
    world.expect(from, &["pubcomp 6 92", "pubrec 5 00"]);
    world.expect(to, &[]);
}

#[test]
fn v5_4_3_3_13_a_handshake_goes_on_when_the_message_has_expired() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, 2);
    let expiring = Publish { message_expiry_s: Some(1), ..message("x", "m") };
    world.publish(from, Publish { delivery: qos2(5), ..expiring });
    world.pass_ms(10_000);
    world.publish(from, Publish { delivery: again(5), ..expiring });
    world.pubrel(from, 5);
    world.expect(from, &["pubrec 5 00", "pubrec 5 00", "pubcomp 5 00"]);
    world.expect(to, &["publish x=m q2 #1 expiry=1"]);
    world.pubrec(to, 1);
    world.pass_ms(10_000);
    let (to, shown) = reconnect(&mut world, to);
    assert_eq!(shown, ["pubrel 1 00"]);
    world.pubcomp(to, 1);
    assert_eq!(reconnect(&mut world, to).1, [""; 0]);
}

#[test]
fn v5_4_9_0_1_2_as_many_are_sent_as_the_client_receives_and_no_more() {
    for (receive_maximum, inflight_max, sent) in [(Some(1), 100, 1), (Some(3), 100, 3), (Some(50), 4, 4), (None, 6, 6)]
    {
        let mut world = World::with_limits(&Limits { inflight_max, ..Limits::default() });
        let from = world.connect(&v5("from"));
        let to = world.connect(&Hello { receive_maximum, ..v5("to") });
        world.subscribe(to, &[("x", 2)]);
        for value in 1..=20 {
            let delivery = if value % 2 == 0 { qos1(value) } else { qos2(value) };
            world.publish(from, Publish { delivery, ..message("x", "m") });
        }
        assert_eq!(world.take(to).len(), sent);
        // Acknowledgements of what was never sent, and the first half of a QoS 2 flow, make no room.
        world.puback(to, 100);
        world.pubcomp(to, 101);
        world.send(to, &Packet::PubRec(Ack::new(id(102), ReasonCode::QuotaExceeded)));
        world.expect(to, &[]);
        world.pubrec(to, 1);
        world.expect(to, &["pubrel 1 00"]);
        world.pubcomp(to, 1);
        assert_eq!(world.take(to).len(), 1);
    }
}

#[test]
fn v5_4_9_0_2_the_window_is_whole_again_on_the_next_connection() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, 1);
    world.lose(to);
    let to = world.connect(&Hello { receive_maximum: Some(2), ..lasting("to") });
    for value in 1..=5 {
        world.publish(from, Publish { delivery: qos1(value), ..message("x", &value.to_string()) });
    }
    world.expect(to, &["publish x=1 q1 #1", "publish x=2 q1 #2"]);
    world.lose(to);
    let to = world.admit(&Hello { receive_maximum: Some(3), ..lasting("to") });
    let shown = ["connack 00 present", "publish x=1 q1 #1 dup", "publish x=2 q1 #2 dup", "publish x=3 q1 #3"];
    world.expect(to, &shown);
    world.puback(to, 2);
    world.expect(to, &["publish x=4 q1 #4"]);
}

#[test]
fn v5_4_9_0_3_a_used_up_quota_stops_nothing_but_publish() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&Hello { receive_maximum: Some(1), ..v5("to") });
    world.subscribe(to, &[("x", 2)]);
    for value in 1..=2 {
        world.publish(from, Publish { delivery: qos1(value), ..message("x", "m") });
    }
    world.expect(to, &["publish x=m q1 #1"]);
    world.publish(from, message("x", "zero"));
    world.send(to, &Packet::PingReq);
    world.publish(to, Publish { delivery: qos2(8), ..message("y", "m") });
    world.pubrel(to, 8);
    world.publish(to, Publish { delivery: qos1(9), ..message("y", "m") });
    world.subscribe_with(to, None, &[("y", options(1))]);
    world.unsubscribe(to, &["y"]);
    let answers = ["publish x=zero", "pingresp", "pubrec 8 10", "pubcomp 8 00", "puback 9 10", "suback 1 01"];
    world.expect(to, &[&answers[..], &["unsuback 2 00"]].concat());
    world.disconnect(to, ReasonCode::Success);
    world.expect(to, &["closed"]);
}

#[test]
fn v5_4_13_2_1_the_link_ends_with_the_error_even_when_it_cannot_be_told() {
    let mut world = World::new();
    let watcher = world.connect(&v5("watcher"));
    world.subscribe(watcher, &[("alarm", 0)]);
    let client = world.connect(&Hello { will: Some(will("alarm")), ..TIGHT });
    world.send_bytes(client, &[0x00, 0x00]);
    world.expect(client, &["disconnect 81", "closed"]);
    world.expect(watcher, &["publish alarm=gone"]);
    for (size_max, told) in [(5, Some("connack 85")), (4, None), (1, None)] {
        let refused = world.admit(&Hello { user: "thief", packet_size_max: Some(size_max), ..v5("watcher") });
        let expected: Vec<&str> = told.into_iter().chain(["closed"]).collect();
        assert_eq!(world.take(refused), expected, "{size_max}");
        assert_eq!(world.counters().links, 1);
    }
}

//! Rules of MQTT 5.0 that carry no number: what a client gets for breaking them once it is admitted.
//!
//! The same for CONNECT is tested with the gate, in `motte-node`.

use mqtt::{Disconnect, ForwardedPropertiesBuf, Packet, Publish, ReasonCode};

use crate::kit::*;

/// Sends each of `cases` on a connection of its own and asserts the DISCONNECT that comes back, and that what stands
/// behind it is not read.
#[track_caller]
fn refused(told: &str, cases: &[&[u8]]) {
    for bytes in cases {
        let mut world = World::new();
        let watcher = world.connect(&v5("watcher"));
        world.subscribe(watcher, &[("#", 2)]);
        let client = world.connect(&v5("c"));
        let mut all = bytes.to_vec();
        all.extend_from_slice(&[0xc0, 0x00]);
        world.send_bytes(client, &all);
        assert_eq!(world.take(client), [told, "closed"], "{bytes:02x?}");
        assert_eq!(world.take(watcher), [""; 0], "{bytes:02x?}");
    }
}

/// The same bytes without the fault, so that it is the fault that is refused.
#[track_caller]
fn accepted(cases: &[&[u8]]) {
    for bytes in cases {
        let mut world = World::new();
        let client = world.connect(&v5("c"));
        world.send_bytes(client, bytes);
        world.send(client, &Packet::PingReq);
        let shown = world.take(client);
        assert_eq!(shown.last().unwrap(), "pingresp", "{bytes:02x?}: {shown:?}");
    }
}

const MALFORMED: &str = "disconnect 81";
const PROTOCOL: &str = "disconnect 82";
const ALIAS: &str = "disconnect 94";

#[test]
fn v5_noid_a_property_given_twice_is_0x82() {
    refused(
        PROTOCOL,
        &[
            &[0x30, 8, 0, 1, b'x', 4, 1, 0, 1, 0],
            &[0x30, 14, 0, 1, b'x', 10, 2, 0, 0, 0, 1, 2, 0, 0, 0, 1],
            &[0x30, 10, 0, 1, b'x', 6, 0x23, 0, 1, 0x23, 0, 1],
            &[0x30, 10, 0, 1, b'x', 6, 3, 0, 0, 3, 0, 0],
            &[0x30, 10, 0, 1, b'x', 6, 9, 0, 0, 9, 0, 0],
            &[0xe0, 12, 0, 10, 0x11, 0, 0, 0, 0, 0x11, 0, 0, 0, 0],
            &[0x62, 10, 0, 1, 0, 6, 0x1f, 0, 0, 0x1f, 0, 0],
        ],
    );
    // User Property may come as often as the client likes.
    accepted(&[&[0x30, 14, 0, 1, b'x', 10, 0x26, 0, 0, 0, 0, 0x26, 0, 0, 0, 0]]);
}

#[test]
fn v5_noid_a_property_that_is_unknown_or_of_another_packet_is_0x81() {
    refused(
        MALFORMED,
        &[
            &[0x30, 6, 0, 1, b'x', 2, 0x7f, 0],
            &[0x30, 6, 0, 1, b'x', 2, 0x00, 0],
            &[0x30, 7, 0, 1, b'x', 3, 0x21, 0, 1],
            &[0x30, 7, 0, 1, b'x', 3, 0x1f, 0, 0],
            &[0x82, 9, 0, 1, 2, 0x01, 0, 0, 1, b'x', 0],
            &[0xa2, 8, 0, 1, 2, 0x0b, 1, 0, 1, b'x'],
            &[0x40, 6, 0, 1, 0, 2, 0x01, 0],
            &[0xe0, 4, 0, 2, 0x17, 0],
        ],
    );
}

#[test]
fn v5_noid_a_property_length_that_does_not_fit_is_0x81() {
    refused(
        MALFORMED,
        &[
            &[0x30, 5, 0, 1, b'x', 1, 1],
            &[0x30, 6, 0, 1, b'x', 9, 1, 0],
            &[0x30, 7, 0, 1, b'x', 3, 1, 0, 3],
            &[0x30, 9, 0, 1, b'x', 5, 0x26, 0, 1, b'k', 0],
        ],
    );
}

#[test]
fn v5_noid_a_flag_property_that_is_neither_0_nor_1_is_0x82() {
    refused(PROTOCOL, &[&[0x30, 6, 0, 1, b'x', 2, 1, 2], &[0x30, 6, 0, 1, b'x', 2, 1, 0xff]]);
}

#[test]
fn v5_noid_an_empty_topic_without_a_known_alias_is_0x82() {
    refused(PROTOCOL, &[&[0x30, 4, 0, 0, 0, b'm'], &[0x30, 7, 0, 0, 3, 0x23, 0, 1, b'm']]);
}

#[test]
fn v5_noid_an_alias_of_0_or_above_the_maximum_is_0x94() {
    refused(
        ALIAS,
        &[
            &[0x30, 7, 0, 1, b'x', 3, 0x23, 0, 0],
            &[0x30, 7, 0, 1, b'x', 3, 0x23, 0, 33],
            &[0x30, 7, 0, 1, b'x', 3, 0x23, 0xff, 0xff],
            // Without a topic it could not have been set either, and is wrong by itself.
            &[0x30, 7, 0, 0, 3, 0x23, 0, 33, b'm'],
        ],
    );
    accepted(&[&[0x30, 7, 0, 1, b'x', 3, 0x23, 0, 32]]);
}

#[test]
fn v5_noid_subscription_identifiers_out_of_place_are_0x82() {
    refused(
        PROTOCOL,
        &[
            &[0x82, 9, 0, 1, 2, 0x0b, 0, 0, 1, b'x', 0],
            &[0x82, 11, 0, 1, 4, 0x0b, 1, 0x0b, 2, 0, 1, b'x', 0],
            &[0x30, 6, 0, 1, b'x', 2, 0x0b, 1],
        ],
    );
    accepted(&[&[0x82, 9, 0, 1, 2, 0x0b, 1, 0, 1, b'x', 0]]);
}

#[test]
fn v5_noid_subscribe_and_unsubscribe_without_a_filter_are_0x82() {
    refused(PROTOCOL, &[&[0x82, 3, 0, 1, 0], &[0xa2, 3, 0, 1, 0]]);
}

#[test]
fn v5_noid_subscription_options_nobody_may_ask_for() {
    let subscribe = |option| [0x82, 7, 0, 1, 0, 0, 1, b'x', option];
    for option in [0x03, 0x30, 0x33] {
        refused(PROTOCOL, &[&subscribe(option)]);
    }
    for option in [0x40, 0x80, 0xc0] {
        refused(MALFORMED, &[&subscribe(option)]);
    }
    let no_local_shared = [&[0x82, 16, 0, 1, 0, 0, 10][..], b"$share/g/x", &[0x04]].concat();
    refused(PROTOCOL, &[&no_local_shared]);
    for option in [0x00, 0x2e] {
        accepted(&[&subscribe(option)]);
    }
}

#[test]
fn v5_noid_a_disconnect_may_not_give_an_expiry_that_connect_had_not() {
    for session_expiry_s in [None, Some(0)] {
        let mut world = World::new();
        let watcher = world.connect(&v5("watcher"));
        world.subscribe(watcher, &[("alarm", 0)]);
        let client = world.connect(&Hello { session_expiry_s, will: Some(will("alarm")), ..v5("c") });
        let leave = Disconnect { session_expiry_s: Some(1), ..Disconnect::new(ReasonCode::Success) };
        world.send(client, &Packet::Disconnect(leave));
        world.expect(client, &[PROTOCOL, "closed"]);
        // It is no normal end, so the will is due.
        world.expect(watcher, &["publish alarm=gone"]);
        assert_eq!(world.counters().sessions, 1);
        let client = world.connect(&Hello { session_expiry_s, ..v5("c") });
        let leave = Disconnect { session_expiry_s: Some(0), ..leave };
        world.send(client, &Packet::Disconnect(leave));
        world.expect(client, &["closed"]);
    }
}

#[test]
fn v5_noid_auth_without_a_method_in_connect_is_0x82() {
    let with_method = [&[0xf0, 10, 0x18, 8, 0x15, 0, 5][..], b"SCRAM"].concat();
    let again = [&[0xf0, 10, 0x19, 8, 0x15, 0, 5][..], b"SCRAM"].concat();
    refused(PROTOCOL, &[&[0xf0, 0], &with_method, &again]);
}

#[test]
fn v5_noid_packets_that_only_a_server_sends_are_0x82() {
    refused(PROTOCOL, &[&[0x20, 3, 0, 0, 0], &[0x90, 4, 0, 1, 0, 0], &[0xb0, 4, 0, 1, 0, 0], &[0xd0, 0]]);
}

#[test]
fn v5_noid_packet_type_0_is_0x81() {
    refused(MALFORMED, &[&[0x00, 0], &[0x0f, 0], &[0x01, 2, 0, 0]]);
}

#[test]
fn v5_noid_lengths_of_five_bytes_or_written_too_long_are_0x81() {
    refused(
        MALFORMED,
        &[
            &[0x30, 0x80, 0x80, 0x80, 0x80, 0x01],
            &[0x30, 0xff, 0xff, 0xff, 0xff],
            &[0xc0, 0x80, 0x00],
            &[0x30, 0x84, 0x00, 0, 1, b'x', 0],
            &[0x30, 6, 0, 1, b'x', 0x81, 0x00, 1],
        ],
    );
}

#[test]
fn v5_noid_pings_with_a_body_are_0x81() {
    refused(MALFORMED, &[&[0xc0, 1, 0], &[0xc0, 2, 0, 0], &[0xc0, 0x7f]]);
}

#[test]
fn v5_noid_reserved_header_flags_are_0x81() {
    let firsts = [0x41, 0x51, 0x60, 0x63, 0x71, 0x80, 0x83, 0xa0, 0xa3, 0xc1, 0xe1, 0xf1, 0x38, 0x36];
    for first in firsts {
        refused(MALFORMED, &[&[first, 2, 0, 1]]);
    }
}

#[test]
fn v5_noid_packet_identifier_0_is_0x82() {
    refused(
        PROTOCOL,
        &[
            &[0x32, 6, 0, 1, b'x', 0, 0, 0],
            &[0x34, 6, 0, 1, b'x', 0, 0, 0],
            &[0x82, 7, 0, 0, 0, 0, 1, b'x', 0],
            &[0xa2, 6, 0, 0, 0, 0, 1, b'x'],
            &[0x40, 2, 0, 0],
            &[0x50, 2, 0, 0],
            &[0x62, 2, 0, 0],
            &[0x70, 2, 0, 0],
        ],
    );
}

#[test]
fn v5_noid_bytes_missing_or_left_over_are_0x81() {
    refused(
        MALFORMED,
        &[
            &[0x30, 2, 0, 5],
            &[0x32, 4, 0, 1, b'x', 0],
            &[0x82, 6, 0, 1, 0, 0, 1, b'x'],
            &[0xa2, 5, 0, 1, 0, 0, 9],
            &[0x40, 1, 0],
            &[0x40, 5, 0, 1, 0, 0, 0],
            &[0xe0, 3, 0, 0, 0],
        ],
    );
}

#[test]
fn v5_noid_reason_codes_a_packet_does_not_have_are_0x82() {
    refused(
        PROTOCOL,
        &[
            &[0x40, 3, 0, 1, 0x01],
            &[0x50, 3, 0, 1, 0x92],
            &[0x62, 3, 0, 1, 0x87],
            &[0x70, 3, 0, 1, 0x10],
            &[0xe0, 1, 0x01],
            &[0xe0, 1, 0x8e],
        ],
    );
}

#[test]
fn v5_noid_what_looks_odd_and_is_allowed_is_accepted() {
    let publish = |topic: &str| {
        let len = u8::try_from(topic.len()).unwrap();
        [&[0x30, 3 + len, 0, len], topic.as_bytes(), &[0]].concat()
    };
    for topic in ["/", "a//b", " ", "\u{feff}x", "a/$b", "x".repeat(100).as_str()] {
        accepted(&[&publish(topic)]);
    }
    // PINGREQ at any time, PUBACK in its long form, a user property without a name.
    accepted(&[&[0xc0, 0, 0xc0, 0], &[0x40, 4, 0, 1, 0, 0], &[0x30, 9, 0, 1, b'x', 5, 0x26, 0, 0, 0, 0]]);
}

#[test]
fn v5_noid_topics_of_more_levels_than_allowed_are_0x90() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("#", 0)]);
    let longest = "/".repeat(200);
    world.publish(from, message(&longest, "m"));
    world.expect(to, &[&format!("publish {longest}=m")]);
    world.publish(from, Publish { delivery: qos1(1), ..message(&"/".repeat(201), "m") });
    world.expect(from, &["disconnect 90", "closed"]);
    world.expect(to, &[]);
}

#[test]
fn v5_noid_a_payload_that_is_not_the_text_it_is_said_to_be_is_0x99() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("#", 2)]);
    let said = ForwardedPropertiesBuf::new().payload_utf8();
    let text = Publish { properties: said.as_ref(), retain: true, ..message("x", "") };
    for payload in [&[0xff][..], &[0xc0, 0x80], &[0xed, 0xa0, 0x80], &[b'a', 0xc3]] {
        world.publish(from, Publish { payload, ..text });
        world.publish(from, Publish { payload, delivery: qos1(1), ..text });
        world.publish(from, Publish { payload, delivery: qos2(2), ..text });
        world.expect(from, &["puback 1 99", "pubrec 2 99"]);
    }
    world.expect(to, &[]);
    assert_eq!((world.shared.retained_totals(), world.counters().dropped), ((0, 0), 12));
    // Text is let pass, and so is everything that is not said to be text; nobody waits for a PUBREL any more.
    for (n, payload) in [(3, "é\0".as_bytes()), (4, b"")] {
        world.publish(from, Publish { payload, delivery: qos1(n), ..text });
        world.expect(from, &[&format!("puback {n} 00")]);
    }
    world.publish(from, Publish { payload: &[0xff], delivery: qos2(2), ..message("x", "") });
    world.expect(from, &["pubrec 2 00"]);
    assert_eq!(world.take(to).len(), 3);
}

#[test]
fn v5_noid_a_will_that_is_not_the_text_it_is_said_to_be_is_0x99() {
    let mut world = World::new();
    let said = ForwardedPropertiesBuf::new().payload_utf8();
    let text = mqtt::Will { properties: said.as_ref(), ..will("alarm") };
    let client = world.admit(&Hello { will: Some(mqtt::Will { payload: &[0xff], ..text }), ..v5("c") });
    world.expect(client, &["connack 99", "closed"]);
    let client = world.admit(&Hello { will: Some(text), ..v5("c") });
    world.expect(client, &["connack 00"]);
}

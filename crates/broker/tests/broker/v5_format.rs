//! MQTT 5.0, sections 1.5 and 2: text, lengths and identifiers as the broker takes them from an admitted client.

use mqtt::{Packet, Publish, ReasonCode};

use crate::kit::*;

/// A field of a packet with `text` in it, wherever a client may write text.
fn with_text(text: &[u8]) -> Vec<Vec<u8>> {
    let len = u8::try_from(text.len()).unwrap();
    let field = [&[0, len], text].concat();
    let packet = |first: u8, body: &[&[u8]]| {
        let body = body.concat();
        [&[first, u8::try_from(body.len()).unwrap()], &body[..]].concat()
    };
    let property = |head: &[u8]| [head, &field].concat();
    let in_publish = |block: Vec<u8>| packet(0x30, &[&[0, 1, b'x', u8::try_from(block.len()).unwrap()], &block]);
    vec![
        packet(0x30, &[&field, &[0]]),
        packet(0x82, &[&[0, 1, 0], &field, &[1]]),
        packet(0xa2, &[&[0, 1, 0], &field]),
        in_publish(property(&[0x03])),
        in_publish(property(&[0x08])),
        in_publish([&[0x26][..], &field, &[0, 0]].concat()),
        in_publish(property(&[0x26, 0, 1, b'k'])),
        packet(0xe0, &[&[0, u8::try_from(field.len()).unwrap() + 1, 0x1f], &field]),
    ]
}

#[test]
fn v5_1_5_4_1_2_text_that_is_no_utf8_or_holds_nul_ends_the_link_wherever_it_stands() {
    let ill_formed: [&[u8]; 8] = [
        &[0xff],
        &[0xc0, 0x80],
        &[0xc1, 0xbf],
        &[0xe0, 0x80, 0x80],
        &[0xed, 0xa0, 0x80],
        &[0xed, 0xbf, 0xbf],
        &[0xf4, 0x90, 0x80, 0x80],
        &[b'a', 0, b'b'],
    ];
    for text in ill_formed {
        for bytes in with_text(text) {
            let mut world = World::new();
            let watcher = world.connect(&v5("watcher"));
            world.subscribe(watcher, &[("#", 0)]);
            let client = world.connect(&v5("c"));
            world.send_bytes(client, &bytes);
            assert_eq!(world.take(client), ["disconnect 81", "closed"], "{bytes:02x?}");
            world.expect(watcher, &[]);
        }
    }
    for bytes in with_text("é\u{10ffff}".as_bytes()) {
        let mut world = World::new();
        let client = world.connect(&v5("c"));
        world.send_bytes(client, &bytes);
        let shown = world.take(client);
        assert!(!shown.iter().any(|line| line.starts_with("disconnect")), "{bytes:02x?}: {shown:?}");
    }
}

#[test]
fn v5_1_5_4_3_u_feff_is_a_character_like_any_other() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("\u{feff}x", 0), ("a/\u{feff}", 0)]);
    for topic in ["\u{feff}x", "x", "a/\u{feff}", "a/", "\u{feff}\u{feff}x"] {
        world.publish(from, message(topic, "m"));
    }
    world.expect(to, &["publish \u{feff}x=m", "publish a/\u{feff}=m"]);
}

#[test]
fn v5_2_2_1_2_a_message_of_qos_0_has_no_identifier_in_either_direction() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("x", 2)]);
    // What would be the identifier is payload.
    let publish = [0x30, 7, 0, 1, b'x', 0, 0, 9, b'm'];
    world.send_bytes(from, &publish);
    assert_eq!(world.take_bytes(to), publish);
    world.expect(from, &[]);
}

#[test]
fn v5_2_2_1_4_an_identifier_is_free_again_when_its_flow_is_over_and_not_before() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("x", 2)]);
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "1") });
    world.publish(from, Publish { delivery: qos2(2), ..message("x", "2") });
    world.pubrec(to, 2);
    world.expect(to, &["publish x=1 q1 #1", "publish x=2 q2 #2", "pubrel 2 00"]);
    world.lose(to);
    // Both are still in use on the next connection, where identifiers are given out anew.
    let to = world.admit(&lasting("to"));
    world.publish(from, Publish { delivery: qos1(3), ..message("x", "3") });
    let again = ["publish x=1 q1 #1 dup", "pubrel 2 00", "publish x=3 q1 #3"];
    world.expect(to, &["connack 00 present", again[0], again[1], again[2]]);
    world.send(to, &Packet::PubComp(mqtt::Ack::new(id(2), ReasonCode::Success)));
    world.puback(to, 1);
    world.puback(to, 3);
    world.disconnect(to, ReasonCode::Success);
    let to = world.admit(&lasting("to"));
    world.expect(to, &["connack 00 present"]);
}

//! MQTT 5.0 before anybody is admitted: CONNECT as bytes, what comes back, and that the connection ends there.

use motte_mqtt::{Connect, ConnectProperties, Decoder, Packet, ProtocolVersion, Sender};

use crate::gate::{open_house, plaintext_house};
use crate::support::{Client, Running, connect_as_alice, connect_as_nobody, encode, tcp};

use Answer::{OldRefusal, Refusal, Silence};

const V5: ProtocolVersion = ProtocolVersion::V5;

/// A CONNECT of 5.0 with the properties as written, behind it what the payload is to be.
fn raw_connect(flags: u8, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let block = u8::try_from(properties.len()).unwrap();
    let body = [&b"\x00\x04MQTT\x05"[..], &[flags, 0, 60, block], properties, payload].concat();
    let len = u8::try_from(body.len()).ok().filter(|len| *len < 128).expect("a length of one byte");
    [&[0x10, len], &body[..]].concat()
}

/// What comes back before the broker closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Silence,
    /// One CONNACK of 5.0 without Session Present, and nothing behind it.
    Refusal(u8),
    /// The same of 3.x.
    OldRefusal(u8),
}

#[track_caller]
fn answer(node: &Running, bytes: &[u8]) -> Answer {
    let mut client = client(node);
    client.send(bytes);
    let told = client.until_closed();
    if let [0x20, 2, 0, code] = told[..] {
        return OldRefusal(code);
    }
    match Decoder::new(Sender::Server, V5, u32::MAX).decode(&told).unwrap() {
        None => {
            assert_eq!(told, b"");
            Silence
        }
        Some((Packet::ConnAck(ack), len)) => {
            assert!(len == told.len() && !ack.session_present, "{told:02x?}");
            Refusal(ack.reason.as_u8())
        }
        Some((packet, _)) => panic!("{packet:?}"),
    }
}

fn client(node: &Running) -> Client {
    Client::over(Box::new(tcp(node.address())), V5)
}

/// Asserts that each CONNECT is refused with `code`, and that the same without the fault is let in.
#[track_caller]
fn refused(code: u8, cases: &[Vec<u8>]) {
    let house = open_house();
    let node = house.start();
    for bytes in cases {
        assert_eq!(answer(&node, bytes), Refusal(code), "{bytes:02x?}");
    }
    let mut client = client(&node);
    client.send(&raw_connect(2, &[], b"\x00\x01c"));
    client.receive(|packet| assert!(matches!(packet, Packet::ConnAck(ack) if ack.reason.as_u8() == 0), "{packet:?}"));
}

#[test]
fn v5_3_1_0_1_whatever_comes_first_and_is_no_connect_ends_the_connection_unanswered() {
    let house = open_house();
    let node = house.start();
    for first in (0..16_u8).filter(|kind| *kind != 1) {
        for flags in [0, 2] {
            let mut bytes = vec![(first << 4) | flags, 4, 0, 1, 0, 0];
            bytes.extend(raw_connect(2, &[], b"\x00\x01c"));
            assert_eq!(answer(&node, &bytes), Silence, "{first}");
        }
    }
}

#[test]
fn v5_3_1_2_1_another_protocol_name_ends_the_connection() {
    let house = open_house();
    let node = house.start();
    for name in
        [&b"\x00\x04mqtt"[..], b"\x00\x04MQTT\x00", b"\x00\x04MQTX", b"\x00\x00", b"\x00\x05MQTTT", b"\x00\x03MQT"]
    {
        let body = [name, &[5, 2, 0, 60, 0], b"\x00\x01c"].concat();
        let bytes = [&[0x10, u8::try_from(body.len()).unwrap()], &body[..]].concat();
        let told = answer(&node, &bytes);
        assert!([Silence, Refusal(0x84), OldRefusal(1)].contains(&told), "{name:02x?}: {told:?}");
    }
}

#[test]
fn v5_3_1_2_2_another_level_is_0x84() {
    let house = open_house();
    let node = house.start();
    for level in (0..=255_u8).filter(|level| ![4, 5].contains(level)).step_by(7).chain([3, 6]) {
        let mut bytes = raw_connect(2, &[], b"\x00\x01c");
        bytes[8] = level;
        // A peer that claims a level below 5 cannot read a CONNACK of 5.0.
        let told = if (5..0x80).contains(&level) { Refusal(0x84) } else { OldRefusal(1) };
        assert_eq!(answer(&node, &bytes), told, "{level}");
    }
}

#[test]
fn v5_3_1_2_3_the_reserved_connect_flag_is_checked() {
    refused(0x81, &[raw_connect(1, &[], b"\x00\x01c"), raw_connect(3, &[], b"\x00\x01c")]);
}

#[test]
fn v5_3_1_2_9_11_to_13_flags_of_a_will_that_do_not_agree_are_0x81() {
    let flags = [0x08, 0x10, 0x18, 0x20, 0x1c, 0x3c];
    let mut cases: Vec<_> =
        flags.iter().map(|flags| raw_connect(*flags, &[], b"\x00\x01c\x00\x00\x01w\x00\x00")).collect();
    // A will that is promised and not there, or there only in part.
    for payload in [&b"\x00\x01c"[..], b"\x00\x01c\x00", b"\x00\x01c\x00\x00\x01w"] {
        cases.push(raw_connect(4, &[], payload));
    }
    refused(0x81, &cases);
}

#[test]
fn v5_3_1_2_16_to_19_credentials_that_do_not_follow_their_flags_are_0x81() {
    refused(
        0x81,
        &[
            raw_connect(0x02, &[], b"\x00\x01c\x00\x01u"),
            raw_connect(0x82, &[], b"\x00\x01c"),
            raw_connect(0x42, &[], b"\x00\x01c"),
            raw_connect(0xc2, &[], b"\x00\x01c\x00\x01u"),
            raw_connect(0x82, &[], b"\x00\x01c\x00\x01u\x00\x01p"),
        ],
    );
}

#[test]
fn v5_3_1_3_5_client_identifiers_of_1_to_23_letters_and_digits_are_let_in() {
    let house = open_house();
    let node = house.start();
    let all: Vec<char> = ('0'..='9').chain('a'..='z').chain('A'..='Z').collect();
    let long = all.chunks(23).map(|part| part.iter().collect::<String>());
    for client_id in all.iter().map(char::to_string).chain(long) {
        assert_eq!(client(&node).connect(&connect_as_nobody(&client_id)), 0, "{client_id}");
    }
}

#[test]
fn v5_3_1_3_6_7_an_assigned_identifier_is_unique_and_good_for_a_reconnect() {
    let house = open_house();
    let node = house.start();
    let properties = ConnectProperties { session_expiry_s: Some(100), ..ConnectProperties::default() };
    let lasting = |client_id| Connect { clean_start: false, properties, ..connect_as_nobody(client_id) };
    let assigned = |_| {
        let mut client = client(&node);
        client.send_packet(&Packet::Connect(lasting("")));
        let id = client.receive(|packet| match packet {
            Packet::ConnAck(ack) => ack.properties.assigned_client_id.map(str::to_owned).unwrap(),
            packet => panic!("{packet:?}"),
        });
        (client, id)
    };
    let [(first, one), (_second, two)] = [0, 1].map(assigned);
    assert_ne!(one, two);
    drop(first);
    let mut again = client(&node);
    again.send_packet(&Packet::Connect(lasting(&one)));
    again.receive(|packet| match packet {
        Packet::ConnAck(ack) => assert!(ack.session_present && ack.properties.assigned_client_id.is_none()),
        packet => panic!("{packet:?}"),
    });
}

#[test]
fn v5_3_1_3_8_a_client_identifier_that_may_not_be_is_0x85_and_the_end() {
    let house = open_house();
    let node = house.start();
    for client_id in ["a\u{1}b", "a\u{7f}", "\n", &"x".repeat(257)] {
        assert_eq!(answer(&node, &encode(V5, &Packet::Connect(connect_as_nobody(client_id)))), Refusal(0x85));
    }
}

#[test]
fn v5_3_1_4_1_a_connect_against_the_format_is_the_end_and_touches_no_session() {
    let house = open_house();
    let node = house.start();
    let mut owner = client(&node);
    assert_eq!(owner.connect(&connect_as_nobody("c")), 0);
    let whole = raw_connect(2, &[], b"\x00\x01c");
    // One that claims to be shorter than its fields, at every place.
    for len in 7..whole.len() - 2 {
        let mut bytes = whole.clone();
        bytes[1] = u8::try_from(len).unwrap();
        let told = answer(&node, &bytes);
        assert_eq!(told, Refusal(0x81), "{len}");
    }
    for bytes in [[&[0x11][..], &whole[1..]].concat(), [&[0x10, 0x8e, 0][..], &whole[2..]].concat()] {
        let told = answer(&node, &bytes);
        assert!([Silence, Refusal(0x81)].contains(&told), "{told:?}");
    }
    owner.send(&[0xc0, 0]);
    owner.receive(|packet| assert!(matches!(packet, Packet::PingResp), "{packet:?}"));
}

#[test]
fn v5_3_1_4_2_a_failed_check_is_told_and_is_the_end() {
    let house = plaintext_house();
    let node = house.start();
    let wrong = Connect { password: Some(b"wrong"), ..connect_as_alice("c") };
    let unknown = Connect { user_name: Some("eve"), ..connect_as_alice("c") };
    for (connect, code) in [(wrong, 0x86), (unknown, 0x86), (connect_as_nobody("c"), 0x87)] {
        assert_eq!(answer(&node, &encode(V5, &Packet::Connect(connect))), Refusal(code));
    }
}

#[test]
fn v5_3_1_2_24_a_refusal_is_not_sent_to_who_takes_no_packet_of_its_size() {
    let house = plaintext_house();
    let node = house.start();
    for (size_max, told) in [(1, Silence), (4, Silence), (5, Refusal(0x87))] {
        assert_eq!(answer(&node, &raw_connect(2, &[0x27, 0, 0, 0, size_max], b"\x00\x01c")), told, "{size_max}");
    }
}

#[test]
fn v5_3_1_4_6_nothing_behind_a_refused_connect_is_processed() {
    let house = plaintext_house();
    let node = house.start();
    let mut watcher = client(&node);
    assert_eq!(watcher.connect(&connect_as_alice("watcher")), 0);
    watcher.send(b"\x82\x07\x00\x01\x00\x00\x01#\x00");
    watcher.receive(|packet| assert!(matches!(packet, Packet::SubAck(_)), "{packet:?}"));
    let publish = |payload: u8| [0x32, 7, 0, 1, b'x', 0, 9, 0, payload];
    // Refused for its password, and for a second CONNECT that would have been right.
    let wrong = encode(V5, &Packet::Connect(Connect { password: Some(b"wrong"), ..connect_as_alice("c") }));
    let right = encode(V5, &Packet::Connect(connect_as_alice("c")));
    for behind in [publish(b'1').to_vec(), right.clone(), [&right[..], &publish(b'2')].concat()] {
        assert_eq!(answer(&node, &[&wrong[..], &behind].concat()), Refusal(0x86));
    }
    // Behind one that is let in everything counts, although the client did not wait for CONNACK.
    let mut eager = client(&node);
    eager.send(&[&right[..], &publish(b'3')].concat());
    eager.receive(|packet| assert!(matches!(packet, Packet::ConnAck(ack) if ack.reason.as_u8() == 0), "{packet:?}"));
    eager.receive(|packet| assert!(matches!(packet, Packet::PubAck(ack) if ack.id.value() == 9), "{packet:?}"));
    watcher.receive(|packet| match packet {
        Packet::Publish(publish) => assert_eq!(publish.payload, b"3", "the first that was published"),
        packet => panic!("{packet:?}"),
    });
}

#[test]
fn v5_3_2_0_1_connack_is_the_first_packet_whatever_the_client_sent_already() {
    let house = open_house();
    let node = house.start();
    let mut eager = client(&node);
    let mut bytes = raw_connect(2, &[], b"\x00\x01c");
    bytes.extend_from_slice(b"\xc0\x00\x82\x07\x00\x01\x00\x00\x01x\x00\x30\x05\x00\x01x\x00m");
    eager.send(&bytes);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(eager.receive(|packet| match packet {
            Packet::ConnAck(_) => "connack",
            Packet::PingResp => "pingresp",
            Packet::SubAck(_) => "suback",
            Packet::Publish(_) => "publish",
            packet => panic!("{packet:?}"),
        }));
    }
    assert_eq!(seen, ["connack", "pingresp", "suback", "publish"]);
}

#[test]
fn v5_noid_a_property_of_connect_given_twice_is_0x82() {
    refused(
        0x82,
        &[
            raw_connect(2, &[0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1], b"\x00\x01c"),
            raw_connect(2, &[0x21, 0, 1, 0x21, 0, 1], b"\x00\x01c"),
            raw_connect(2, &[0x19, 0, 0x19, 0], b"\x00\x01c"),
            raw_connect(6, &[], b"\x00\x01c\x0a\x18\x00\x00\x00\x01\x18\x00\x00\x00\x01\x00\x01w\x00\x00"),
        ],
    );
}

#[test]
fn v5_noid_a_property_that_connect_or_its_will_does_not_have_is_0x81() {
    refused(
        0x81,
        &[
            raw_connect(2, &[0x7f, 0], b"\x00\x01c"),
            raw_connect(2, &[0x01, 0], b"\x00\x01c"),
            raw_connect(2, &[0x13, 0, 1], b"\x00\x01c"),
            // Will Delay is one of the will, Session Expiry is none.
            raw_connect(2, &[0x18, 0, 0, 0, 1], b"\x00\x01c"),
            raw_connect(6, &[], b"\x00\x01c\x05\x11\x00\x00\x00\x01\x00\x01w\x00\x00"),
            raw_connect(6, &[], b"\x00\x01c\x03\x23\x00\x01\x00\x01w\x00\x00"),
        ],
    );
}

#[test]
fn v5_noid_values_of_connect_that_are_not_allowed_are_0x82() {
    refused(
        0x82,
        &[
            raw_connect(2, &[0x21, 0, 0], b"\x00\x01c"),
            raw_connect(2, &[0x27, 0, 0, 0, 0], b"\x00\x01c"),
            raw_connect(2, &[0x19, 2], b"\x00\x01c"),
            raw_connect(2, &[0x17, 2], b"\x00\x01c"),
            raw_connect(2, &[0x16, 0, 1, 0], b"\x00\x01c"),
            raw_connect(6, &[], b"\x00\x01c\x02\x01\x02\x00\x01w\x00\x00"),
            raw_connect(6, &[], b"\x00\x01c\x04\x08\x00\x01+\x00\x01w\x00\x00"),
        ],
    );
}

#[test]
fn v5_noid_a_will_topic_that_is_no_topic_name_is_0x90() {
    refused(
        0x90,
        &[
            raw_connect(6, &[], b"\x00\x01c\x00\x00\x01+\x00\x00"),
            raw_connect(6, &[], b"\x00\x01c\x00\x00\x03a/#\x00\x00"),
            raw_connect(6, &[], b"\x00\x01c\x00\x00\x00\x00\x00"),
        ],
    );
}

#[test]
fn v5_noid_text_of_connect_that_is_no_utf8_or_holds_nul_is_0x81() {
    let mut cases = Vec::new();
    for text in [&b"\x00\x01\xff"[..], b"\x00\x01\x00", b"\x00\x03\xed\xa0\x80", b"\x00\x02\xc0\xaf"] {
        cases.push(raw_connect(2, &[], text));
        cases.push(raw_connect(6, &[], &[b"\x00\x01c\x00", text, b"\x00\x00"].concat()));
        cases.push(raw_connect(0x82, &[], &[b"\x00\x01c", text].concat()));
        cases.push(raw_connect(2, &[&[0x26, 0, 0], text].concat(), b"\x00\x01c"));
    }
    refused(0x81, &cases);
}

#[test]
fn v5_noid_a_connect_of_too_many_or_too_few_bytes_is_0x81() {
    refused(
        0x81,
        &[
            raw_connect(2, &[], b"\x00\x01c\x00"),
            raw_connect(2, &[], b"\x00\x02c"),
            raw_connect(2, &[], b"\x00"),
            raw_connect(2, &[0x21], b"\x00\x01c"),
            raw_connect(2, &[0x11, 0, 0], b"\x00\x01c"),
        ],
    );
}

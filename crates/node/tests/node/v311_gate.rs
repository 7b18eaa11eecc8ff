//! MQTT 3.1.1 and 3.1 before anybody is admitted: CONNECT as bytes, the CONNACK in bytes, and whether the connection
//! goes on.

use motte_mqtt::ProtocolVersion;

use crate::gate::{open_house, plaintext_house};
use crate::support::{Client, Running, tcp};

/// A field: its length in two bytes and itself.
fn field(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&[0x10, u8::try_from(body.len()).ok().filter(|len| *len < 128).expect("one byte")], body].concat()
}

/// CONNECT of 3.1.1 with the fields of the payload as written.
fn connect(flags: u8, fields: &[&[u8]]) -> Vec<u8> {
    let payload: Vec<u8> = fields.iter().flat_map(|bytes| field(bytes)).collect();
    framed(&[&b"\0\x04MQTT\x04"[..], &[flags, 0, 60], &payload].concat())
}

/// CONNECT of 3.1.
fn connect_31(flags: u8, fields: &[&[u8]]) -> Vec<u8> {
    let payload: Vec<u8> = fields.iter().flat_map(|bytes| field(bytes)).collect();
    framed(&[&b"\0\x06MQIsdp\x03"[..], &[flags, 0, 60], &payload].concat())
}

fn client(node: &Running) -> Client {
    Client::over(Box::new(tcp(node.address())), ProtocolVersion::V311)
}

/// All a client gets that sends `bytes` and is not let in.
fn refusal(node: &Running, bytes: &[u8]) -> Vec<u8> {
    let mut client = client(node);
    client.send(bytes);
    client.until_closed()
}

/// The return code of a client that is let in, which proves it with a PINGRESP.
#[track_caller]
fn admitted(node: &Running, bytes: &[u8]) {
    let mut client = client(node);
    client.send(bytes);
    client.send(&[0xC0, 0, 0xE0, 0]);
    assert_eq!(client.until_closed(), [0x20, 2, 0, 0, 0xD0, 0], "{bytes:02x?}");
}

#[test]
fn v311_3_1_3_1_3_the_fields_of_the_payload_stand_in_their_order() {
    let mut house = open_house();
    house.settings.listeners[0].rules.allow_anonymous = false;
    let node = house.start();
    // Identifier, will topic, will message, user name, password.
    admitted(&node, &connect(0xC6, &[b"c", b"w", b"gone", b"alice", b"wonder"]));
    admitted(&node, &connect(0xC2, &[b"c", b"alice", b"wonder"]));
    assert_eq!(refusal(&node, &connect(0xC2, &[b"alice", b"wonder", b"c"])), [0x20, 2, 0, 4]);
}

#[test]
fn v311_3_1_3_4_10_11_text_of_connect_is_utf_8() {
    let house = open_house();
    let node = house.start();
    for bad in [&b"\xFF"[..], b"a\0b", b"\xED\xA0\x80", b"\xC0\xAF"] {
        for bytes in
            [connect(0x02, &[bad]), connect(0x06, &[b"c", bad, b"gone"]), connect(0xC2, &[b"c", bad, b"wonder"])]
        {
            assert_eq!(refusal(&node, &bytes), b"", "{bytes:02x?}");
        }
    }
    admitted(&node, &connect(0x06, &["gr\u{fc}n".as_bytes(), "\u{feff}w".as_bytes(), b"\xFF\0"]));
}

#[test]
fn v311_3_1_3_5_identifiers_of_1_to_23_letters_and_digits_are_let_in() {
    let house = open_house();
    let node = house.start();
    for client_id in [&b"0"[..], b"Z", b"0123456789abcdefghijklm", b"nopqrstuvwxyzABCDEFGHIJ", b"KLMNOPQRSTUVWXYZ"] {
        admitted(&node, &connect(2, &[client_id]));
    }
}

#[test]
fn v311_3_1_3_6_clients_with_an_empty_identifier_do_not_disturb_each_other() {
    let house = open_house();
    let node = house.start();
    let mut clients = [client(&node), client(&node)];
    for client in &mut clients {
        client.send(&connect(2, &[b""]));
        client.receive(|packet| assert!(matches!(packet, motte_mqtt::Packet::ConnAck(_)), "{packet:?}"));
    }
    for mut client in clients {
        client.send(&[0xC0, 0, 0xE0, 0]);
        assert_eq!(client.until_closed(), [0xD0, 0]);
    }
}

#[test]
fn v311_3_1_3_8_9_3_2_2_5_a_refused_identifier_is_0x02_and_the_end() {
    let house = open_house();
    let node = house.start();
    assert_eq!(refusal(&node, &connect(0, &[b""])), [0x20, 2, 0, 2]);
    assert_eq!(refusal(&node, &connect(2, &[b"a\x01b"])), [0x20, 2, 0, 2]);
}

#[test]
fn v311_3_2_2_5_after_a_refusal_the_connection_is_closed() {
    let node_house = plaintext_house();
    let node = node_house.start();
    assert_eq!(refusal(&node, &connect(2, &[b"c"])), [0x20, 2, 0, 5]);
    assert_eq!(refusal(&node, &connect(0xC2, &[b"c", b"alice", b"wrong"])), [0x20, 2, 0, 4]);
}

#[test]
fn v311_3_1_4_1_a_malformed_connect_is_closed_without_connack() {
    let house = open_house();
    let node = house.start();
    for bytes in [
        // The reserved flag, will flags that disagree, a password without a user name.
        connect(3, &[b"c"]),
        connect(0x0A, &[b"c"]),
        connect(0x22, &[b"c"]),
        connect(0x1E, &[b"c", b"w", b"gone"]),
        connect(0x42, &[b"c", b"secret"]),
        // Fields missing and bytes left over.
        connect(0xC2, &[b"c", b"alice"]),
        connect(0x02, &[b"c", b"x"]),
        // Flags of the fixed header.
        [&[0x11], &connect(2, &[b"c"])[1..]].concat(),
    ] {
        assert_eq!(refusal(&node, &bytes), b"", "{bytes:02x?}");
    }
}

#[test]
fn v311_3_1_4_5_nothing_behind_a_refused_connect_is_processed() {
    let house = open_house();
    let node = house.start();
    let publish = [&[0x31, 6][..], &field(b"kept"), b"", &[]].concat();
    let refused = [connect(0, &[b""]), publish].concat();
    assert_eq!(refusal(&node, &refused), [0x20, 2, 0, 2]);
    let mut reader = client(&node);
    reader.send(&connect(2, &[b"reader"]));
    reader.send(&[&[0x82, 9, 0, 1][..], &field(b"kept"), &[0]].concat());
    reader.send(&[0xE0, 0]);
    assert_eq!(reader.until_closed(), [0x20, 2, 0, 0, 0x90, 3, 0, 1, 0], "nothing was retained");
}

#[test]
fn v311_3_2_0_1_connack_is_first_whatever_came_behind_connect() {
    let house = open_house();
    let node = house.start();
    let mut client = client(&node);
    let subscribe = [&[0x82, 6, 0, 1][..], &field(b"x"), &[0]].concat();
    client.send(&[connect(2, &[b"c"]), subscribe, vec![0x30, 4, 0, 1, b'x', b'm'], vec![0xE0, 0]].concat());
    let expected = [&[0x20, 2, 0, 0][..], &[0x90, 3, 0, 1, 0], &[0x30, 4, 0, 1, b'x', b'm']].concat();
    assert_eq!(client.until_closed(), expected);
}

#[test]
fn v31_names_and_levels_that_do_not_belong_together_are_refused() {
    let house = open_house();
    let node = house.start();
    for (name, level) in [(&b"MQIsdp"[..], 4), (b"MQIsdp", 5), (b"MQTT", 3), (b"MQIsdp", 0x83), (b"MQIsdq", 3)] {
        let bytes = framed(&[&field(name)[..], &[level, 2, 0, 60], &field(b"c")].concat());
        let told = refusal(&node, &bytes);
        assert!(told.is_empty() || told == [0x20, 2, 0, 1], "{name:?} {level}: {told:02x?}");
    }
    admitted(&node, &connect_31(2, &[b"c"]));
}

#[test]
fn v31_client_identifiers_have_1_to_23_characters_and_are_never_assigned() {
    let house = open_house();
    let node = house.start();
    assert_eq!(refusal(&node, &connect_31(2, &[b""])), [0x20, 2, 0, 2]);
    assert_eq!(refusal(&node, &connect_31(2, &[b"0123456789abcdefghijklmn"])), [0x20, 2, 0, 2]);
    admitted(&node, &connect_31(2, &[b"0123456789abcdefghijklm"]));
    admitted(&node, &connect_31(2, &["\u{fc}".repeat(23).as_bytes()]));
}

#[test]
fn v31_credential_flags_without_fields_are_no_credentials() {
    let mut house = open_house();
    let open = house.start();
    admitted(&open, &connect_31(0xC2, &[b"c"]));
    house.settings.listeners[0].rules.allow_anonymous = false;
    let closed = house.start();
    assert_eq!(refusal(&closed, &connect_31(0xC2, &[b"c"])), [0x20, 2, 0, 5]);
    assert_eq!(refusal(&closed, &connect_31(0xC2, &[b"c", b"alice"])), [0x20, 2, 0, 4]);
    admitted(&closed, &connect_31(0xC2, &[b"c", b"alice", b"wonder"]));
}

#[test]
fn v31_text_follows_the_rules_of_3_1_1() {
    let house = open_house();
    let node = house.start();
    for bad in [&b"\xFF"[..], b"a\0b", b"\xED\xA0\x80"] {
        assert_eq!(refusal(&node, &connect_31(2, &[bad])), b"");
        assert_eq!(refusal(&node, &connect_31(6, &[b"c", bad, b"gone"])), b"");
    }
}

#[test]
fn v31_connack_has_no_session_present_bit() {
    let house = open_house();
    let node = house.start();
    for _ in 0..2 {
        admitted(&node, &connect_31(0, &[b"kept"]));
    }
}

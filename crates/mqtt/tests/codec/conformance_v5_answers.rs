//! MQTT 5.0, statement by statement, as far as a codec alone can prove it: the other packets.
//!
//! A test is named after its statement; `noid` marks errors the standard describes without a number.

use motte_mqtt::{
    Ack, Auth, Connect, ConnectProperties, Decoder, Disconnect, Packet, ProtocolVersion, Publish, ReasonCode, Sender,
    SubAck, Subscribe, SubscribeFilters, SubscriptionOptions, UnsubAck, Unsubscribe, UnsubscribeFilters,
    UserProperties,
};

use crate::bytes::{answer, parse_bytes, written};
use crate::v5::{MALFORMED, PROTOCOL, all_codes, client, id, server, v5};

/// Also MQTT-3.5.2-1, 3.6.2-1 and 3.7.2-1.
#[test]
fn v5_3_4_2_1_acknowledgement_codes_as_listed() {
    let publish: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
    let release: &[u8] = &[0x00, 0x92];
    for (first, listed) in [("40", publish), ("50", publish), ("62", release), ("70", release)] {
        for code in 0..=255_u8 {
            let expected = if listed.contains(&code) { 0 } else { PROTOCOL };
            assert_eq!(client(&format!("{first} 03 00 01 {code:02X}")), expected, "{first} {code:#x}");
        }
    }
    for reason in all_codes() {
        let ack = Ack::new(id(), reason);
        let code = &reason.as_u8();
        assert_eq!(v5(&Packet::PubAck(ack)).is_some(), publish.contains(code), "{reason}");
        assert_eq!(v5(&Packet::PubRec(ack)).is_some(), publish.contains(code), "{reason}");
        assert_eq!(v5(&Packet::PubRel(ack)).is_some(), release.contains(code), "{reason}");
        assert_eq!(v5(&Packet::PubComp(ack)).is_some(), release.contains(code), "{reason}");
    }
}

/// Also MQTT-3.8.1-1 and 3.10.1-1.
#[test]
fn v5_3_6_1_1_flags_of_pubrel_subscribe_unsubscribe() {
    for first in ["60", "6A", "80", "8A", "A0", "AA"] {
        assert_eq!(client(&format!("{first} 02 00 01")), MALFORMED, "{first}");
    }
}

#[test]
fn v5_3_8_3_2_subscribe_has_a_filter() {
    assert_eq!(client("82 03 00 01 00"), PROTOCOL);
    let filters = SubscribeFilters::from_slice(&[]);
    let packet = Subscribe { id: id(), subscription_id: None, user: UserProperties::EMPTY, filters };
    assert_eq!(v5(&Packet::Subscribe(packet)), None);
}

#[test]
fn v5_3_8_3_4_no_local_not_on_a_shared_subscription() {
    assert_eq!(client("82 0F 00 01 00 00 0A \"$share/g/a\" 04"), 0x81, "cut short");
    assert_eq!(client("82 10 00 01 00 00 0A \"$share/g/a\" 04"), PROTOCOL);
    assert_eq!(client("82 10 00 01 00 00 0A \"$share/g/a\" 00"), 0);
    let filters = [("$share/g/a", SubscriptionOptions { no_local: true, ..SubscriptionOptions::default() })];
    let filters = SubscribeFilters::from_slice(&filters);
    let packet = Subscribe { id: id(), subscription_id: None, user: UserProperties::EMPTY, filters };
    assert_eq!(v5(&Packet::Subscribe(packet)), None);
}

#[test]
fn v5_3_8_3_5_option_bits_one_by_one() {
    for options in 0..=255_u8 {
        let expected = match options {
            _ if options & 0xC0 != 0 => MALFORMED,
            _ if options & 0x03 == 3 || options & 0x30 == 0x30 => PROTOCOL,
            _ => 0,
        };
        assert_eq!(client(&format!("82 07 00 01 00 00 01 61 {options:02X}")), expected, "{options:#010b}");
    }
}

/// Also MQTT-3.9.3-1.
#[test]
fn v5_3_9_3_2_suback_codes_as_listed_and_in_order() {
    let listed = [0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2];
    for code in 0..=255_u8 {
        let expected = if listed.contains(&code) { 0 } else { PROTOCOL };
        assert_eq!(server(&format!("90 04 00 01 00 {code:02X}")), expected, "{code:#x}");
        let codes = [0, code];
        let packet = SubAck { id: id(), reason_string: None, user: UserProperties::EMPTY, codes: &codes };
        let expected = listed.contains(&code).then(|| vec![0x90, 5, 0, 1, 0, 0, code]);
        assert_eq!(v5(&Packet::SubAck(packet)), expected);
    }
}

#[test]
fn v5_3_10_3_2_unsubscribe_has_a_filter() {
    assert_eq!(client("A2 03 00 01 00"), PROTOCOL);
    let filters = UnsubscribeFilters::from_slice(&[]);
    assert_eq!(v5(&Packet::Unsubscribe(Unsubscribe { id: id(), user: UserProperties::EMPTY, filters })), None);
}

/// Also MQTT-3.11.3-1.
#[test]
fn v5_3_11_3_2_unsuback_codes_as_listed_and_in_order() {
    let listed = [0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91];
    for code in 0..=255_u8 {
        let expected = if listed.contains(&code) { 0 } else { PROTOCOL };
        assert_eq!(server(&format!("B0 04 00 01 00 {code:02X}")), expected, "{code:#x}");
        let codes = [code, 0];
        let packet = UnsubAck { id: id(), reason_string: None, user: UserProperties::EMPTY, codes: &codes };
        let expected = listed.contains(&code).then(|| vec![0xB0, 5, 0, 1, 0, code, 0]);
        assert_eq!(v5(&Packet::UnsubAck(packet)), expected);
    }
}

#[test]
fn v5_3_14_2_1_disconnect_codes_as_listed_for_each_side() {
    let both = [0x00, 0x80, 0x81, 0x82, 0x83, 0x8C, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
    let of_server = [0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2];
    for code in 0..=255_u8 {
        let (both, of_server) = (both.contains(&code), of_server.contains(&code));
        let bytes = format!("E0 01 {code:02X}");
        assert_eq!(client(&bytes) == 0, both || code == 0x04, "{code:#x}");
        assert_eq!(server(&bytes) == 0, both || of_server, "{code:#x}");
        let Some(reason) = ReasonCode::from_u8(code) else { continue };
        let may = both || of_server || code == 0x04;
        assert_eq!(v5(&Packet::Disconnect(Disconnect::new(reason))).is_some(), may, "{reason}");
    }
}

#[test]
fn v5_3_14_2_2_no_session_expiry_from_a_server() {
    let bytes = "E0 07 00 05 11 00 00 00 01";
    assert_eq!((server(bytes), client(bytes)), (PROTOCOL, 0));
}

#[test]
fn v5_3_15_2_1_auth_codes_as_listed_for_each_side() {
    for code in 0..=255_u8 {
        let bytes = format!("F0 06 {code:02X} 04 15 00 01 6D");
        assert_eq!(client(&bytes) == 0, [0x18, 0x19].contains(&code), "{code:#x}");
        assert_eq!(server(&bytes) == 0, [0x00, 0x18].contains(&code), "{code:#x}");
    }
    for reason in all_codes() {
        let packet = Auth { reason, method: Some("m"), data: None, reason_string: None, user: UserProperties::EMPTY };
        let may = [0x00, 0x18, 0x19].contains(&reason.as_u8());
        assert_eq!(v5(&Packet::Auth(packet)).is_some(), may, "{reason}");
    }
}

#[test]
fn v5_noid_authentication_data_needs_a_method() {
    let properties = ConnectProperties { authentication_data: Some(b"x"), ..ConnectProperties::default() };
    let packet = Connect {
        version: ProtocolVersion::V5,
        clean_start: false,
        keep_alive_s: 0,
        client_id: "",
        will: None,
        user_name: None,
        password: None,
        properties,
    };
    assert_eq!(v5(&Packet::Connect(packet)), None);
    assert_eq!(client("10 11 00 04 \"MQTT\" 05 00 00 00 04 16 00 01 78 00 00"), PROTOCOL);
}

/// Every property in every packet: known and allowed, or 0x81; a second time, or 0x82 (table 2-4).
#[test]
fn v5_noid_properties_only_where_the_table_has_them_and_once() {
    let value = |id: u8| match id {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => "01",
        0x13 | 0x21..=0x23 => "00 01",
        0x02 | 0x11 | 0x18 | 0x27 => "00 00 00 01",
        0x0B => "01",
        0x26 => "00 00 00 00",
        _ => "00 01 61",
    };
    let (client, server) = (Sender::Client, Sender::Server);
    type Row<'a> = (&'a str, Sender, &'a str, &'a str, &'a [u8]);
    let table: [Row<'_>; 13] = [
        (
            "CONNECT",
            client,
            "10",
            "00 04 4D 51 54 54 05 00 00 00 | 00 00",
            &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27],
        ),
        (
            "will",
            client,
            "10",
            "00 04 4D 51 54 54 05 04 00 00 00 00 00 | 00 01 77 00 00",
            &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26],
        ),
        (
            "CONNACK",
            server,
            "20",
            "00 00 |",
            &[0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A],
        ),
        ("PUBLISH", server, "30", "00 01 74 |", &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26]),
        ("PUBACK", client, "40", "00 01 00 |", &[0x1F, 0x26]),
        ("PUBREC", client, "50", "00 01 00 |", &[0x1F, 0x26]),
        ("PUBREL", client, "62", "00 01 00 |", &[0x1F, 0x26]),
        ("PUBCOMP", client, "70", "00 01 00 |", &[0x1F, 0x26]),
        ("SUBSCRIBE", client, "82", "00 01 | 00 01 61 00", &[0x0B, 0x26]),
        ("SUBACK", server, "90", "00 01 | 00", &[0x1F, 0x26]),
        ("UNSUBSCRIBE", client, "A2", "00 01 | 00 01 61", &[0x26]),
        ("UNSUBACK", server, "B0", "00 01 | 00", &[0x1F, 0x26]),
        ("DISCONNECT", client, "E0", "00 |", &[0x11, 0x1C, 0x1F, 0x26]),
    ];
    for (name, sender, first, body, listed) in table {
        let packet = |block: &str| {
            let (before, after) = body.split_once('|').unwrap();
            let body = format!("{before} {:02X} {block} {after}", parse_bytes(block).len());
            answer(sender, ProtocolVersion::V5, &format!("{first} {:02X} {body}", parse_bytes(&body).len()))
        };
        for id in 0..=255_u8 {
            let one = format!("{id:02X} {}", value(id));
            // Authentication data is only allowed together with a method.
            let method = if name == "CONNECT" && id == 0x16 { "15 00 01 6D" } else { "" };
            let expected = if listed.contains(&id) { 0 } else { MALFORMED };
            assert_eq!(packet(&format!("{method} {one}")), expected, "{name} with {id:#x}");
            if listed.contains(&id) {
                let repeatable = id == 0x26 || name == "PUBLISH" && id == 0x0B;
                let expected = if repeatable { 0 } else { PROTOCOL };
                assert_eq!(packet(&format!("{method} {one} {one}")), expected, "{name} with {id:#x} twice");
            }
        }
    }
}

#[test]
fn v5_noid_empty_topic_only_with_an_alias() {
    assert_eq!(client("30 03 00 00 00"), PROTOCOL);
    assert_eq!(client("30 06 00 00 03 23 00 01"), 0);
    let bytes = parse_bytes("30 06 00 00 03 23 00 01");
    let decoder = Decoder::new(Sender::Client, ProtocolVersion::V5, u32::MAX);
    let Ok(Some((Packet::Publish(publish), _))) = decoder.decode(&bytes) else { panic!() };
    assert_eq!(v5(&Packet::Publish(Publish { topic_alias: None, ..publish })), None);
    assert_eq!(written(ProtocolVersion::V311, &Packet::Publish(publish)), None, "3.x has no aliases");
}

#[test]
fn v5_noid_server_packets_from_a_client_and_the_reverse() {
    for bytes in ["20", "90", "B0", "D0"] {
        assert_eq!(client(bytes), PROTOCOL, "{bytes}");
    }
    for bytes in ["10", "82", "A2", "C0"] {
        assert_eq!(server(bytes), PROTOCOL, "{bytes}");
    }
    assert_eq!(client("00"), MALFORMED, "packet type 0");
}

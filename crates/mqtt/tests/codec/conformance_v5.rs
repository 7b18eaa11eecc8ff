//! MQTT 5.0, statement by statement, as far as a codec alone can prove it: format, CONNECT, CONNACK, PUBLISH.
//!
//! A test is named after its statement; `noid` marks errors the standard describes without a number.

use motte_mqtt::{
    Ack, ConnAck, ConnAckProperties, Decoder, EncodeError, Encoder, Packet, ProtocolVersion, Qos, ReasonCode, Sender,
    Subscribe, SubscribeFilters, SubscriptionOptions, UserProperties, UserPropertiesBuf,
};

use crate::bytes::parse_bytes;
use crate::v5::{MALFORMED, PROTOCOL, all_codes, client, id, server, v5};

const VERSION: u8 = 0x84;
const TOPIC: u8 = 0x90;

#[test]
fn v5_1_5_5_1_varint_in_its_shortest_form() {
    assert_eq!(client("C0 00"), 0);
    assert_eq!(client("C0 80 00"), MALFORMED);
    assert_eq!(client("30 84 80 00"), MALFORMED);
    assert_eq!(client("30 05 00 01 61 80 00"), MALFORMED, "property length");
    assert_eq!(server("30 07 00 01 61 03 0B 81 00"), MALFORMED, "subscription identifier");
}

#[test]
fn v5_1_5_7_1_both_halves_of_a_pair_are_text() {
    assert_eq!(client("30 0A 00 01 61 06 26 00 01 6B 00 00"), 0);
    assert_eq!(client("30 0A 00 01 61 06 26 00 01 FF 00 00"), MALFORMED);
    assert_eq!(client("30 0A 00 01 61 06 26 00 00 00 01 FF"), MALFORMED);
}

#[test]
fn v5_2_1_3_1_reserved_flags_are_as_listed() {
    let listed =
        [(0x10, 0), (0x40, 0), (0x50, 0), (0x60, 2), (0x70, 0), (0x80, 2), (0xA0, 2), (0xC0, 0), (0xE0, 0), (0xF0, 0)];
    let decoder = Decoder::new(Sender::Client, ProtocolVersion::V5, u32::MAX);
    for (packet_type, right) in listed {
        for flags in 0..16 {
            let first = [packet_type | flags];
            let found = decoder.decode(&first).map_err(|error| error.reason());
            let expected = if flags == right { Ok(None) } else { Err(ReasonCode::MalformedPacket) };
            assert_eq!(found, expected, "{:#x}", packet_type | flags);
        }
    }
}

#[test]
fn v5_2_2_1_2_no_identifier_at_qos_0() {
    let bytes = parse_bytes("30 06 00 01 61 00 00 07");
    let decoder = Decoder::new(Sender::Client, ProtocolVersion::V5, u32::MAX);
    let Ok(Some((Packet::Publish(publish), _))) = decoder.decode(&bytes) else { panic!() };
    assert_eq!((publish.delivery.id(), publish.payload), (None, &[0, 7][..]), "what follows is payload");
}

#[test]
fn v5_2_2_1_3_identifiers_are_not_0() {
    for bytes in ["32 06 00 01 61 00 00 00", "82 07 00 00 00 00 01 61 00", "A2 06 00 00 00 00 01 61", "40 02 00 00"] {
        assert_eq!(client(bytes), PROTOCOL, "{bytes}");
    }
}

#[test]
fn v5_2_2_2_1_no_properties_is_an_explicit_0() {
    assert_eq!(client("30 03 00 01 61"), MALFORMED);
    let filters = [("a", SubscriptionOptions::default())];
    let packet = Subscribe {
        id: id(),
        subscription_id: None,
        user: UserProperties::EMPTY,
        filters: SubscribeFilters::from_slice(&filters),
    };
    assert_eq!(v5(&Packet::Subscribe(packet)).unwrap(), [0x82, 7, 0, 1, 0, 0, 1, b'a', 0]);
}

#[test]
fn v5_3_1_2_1_protocol_name_is_mqtt() {
    assert_eq!(client("10 0D 00 04 \"MQTX\" 05 00 00 00 00 00 00"), VERSION);
    assert_eq!(client("10 0F 00 06 \"MQIsdp\" 05 00 00 00 00 00 00"), VERSION);
    assert_eq!(client("10 0D 00 04 \"MQTT\" 05 00 00 00 00 00 00"), 0);
}

#[test]
fn v5_3_1_2_2_protocol_version_is_known() {
    for level in (0..=255).filter(|level| *level != 4 && *level != 5) {
        assert_eq!(client(&format!("10 0D 00 04 \"MQTT\" {level:02X} 00 00 00 00 00 00")), VERSION, "{level}");
    }
}

#[test]
fn v5_3_1_2_3_reserved_connect_flag_is_0() {
    assert_eq!(client("10 0D 00 04 \"MQTT\" 05 01 00 00 00 00 00"), MALFORMED);
}

#[test]
fn v5_3_1_2_9_will_flag_brings_properties_topic_and_payload() {
    assert_eq!(client("10 0D 00 04 \"MQTT\" 05 04 00 00 00 00 00"), MALFORMED);
    assert_eq!(client("10 11 00 04 \"MQTT\" 05 04 00 00 00 00 00 00 00 01 77"), MALFORMED);
    assert_eq!(client("10 13 00 04 \"MQTT\" 05 04 00 00 00 00 00 00 00 01 77 00 00"), 0);
}

#[test]
fn v5_3_1_2_11_12_13_will_flags_agree() {
    for (flags, name) in [
        ("08", "QoS 1 without a will"),
        ("10", "QoS 2 without a will"),
        ("20", "RETAIN without a will"),
        ("1C", "QoS 3"),
    ] {
        assert_eq!(client(&format!("10 0D 00 04 \"MQTT\" 05 {flags} 00 00 00 00 00")), MALFORMED, "{name}");
    }
}

#[test]
fn v5_3_1_2_16_17_18_19_credentials_follow_their_flags() {
    let connect = |flags: &str, len: &str, rest: &str| {
        client(&format!("10 {len} 00 04 \"MQTT\" 05 {flags} 00 00 00 00 00 {rest}"))
    };
    assert_eq!(connect("00", "10", "00 01 75"), MALFORMED, "a field without a flag");
    assert_eq!(connect("80", "0D", ""), MALFORMED, "a flag without a field");
    assert_eq!(connect("80", "10", "00 01 75"), 0);
    assert_eq!(connect("40", "10", "00 01 70"), 0, "a password alone is allowed in 5.0");
    assert_eq!(connect("C0", "10", "00 01 75"), MALFORMED);
    assert_eq!(connect("C0", "13", "00 01 75 00 01 70"), 0);
}

/// The receiver's limit holds for every packet, and only explaining properties give way (also MQTT-3.2.2-19, -20,
/// 3.4.2-2, -3 and their like).
#[test]
fn v5_3_1_2_24_25_maximum_packet_size_is_kept() {
    let mut user = UserPropertiesBuf::new();
    user.push("key", "value").unwrap();
    let reason = ReasonCode::NotAuthorized;
    let ack = Packet::PubAck(Ack { id: id(), reason, reason_string: Some("because"), user: user.as_ref() });
    let len_at = |limit: u32| {
        let mut out = Vec::new();
        Encoder::new(ProtocolVersion::V5, limit).encode(&ack, &mut out).map(|()| out.len())
    };
    let [bare, reasoned, whole] = [5, 5 + 1 + 10, 5 + 1 + 10 + 13];
    assert_eq!([len_at(29), len_at(u32::MAX)], [Ok(whole); 2]);
    assert_eq!(len_at(28), Ok(reasoned), "user properties go first");
    assert_eq!(len_at(16), Ok(reasoned));
    assert_eq!(len_at(15), Ok(bare), "then the reason string");
    assert_eq!(len_at(4), Err(EncodeError::TooLarge));
}

#[test]
fn v5_3_1_2_24_a_message_is_never_cut_to_fit() {
    let bytes = parse_bytes("30 0E 00 01 61 07 26 00 01 6B 00 01 76 \"abc\"");
    let decoder = Decoder::new(Sender::Client, ProtocolVersion::V5, u32::MAX);
    let Ok(Some((packet, 16))) = decoder.decode(&bytes) else { panic!() };
    let mut out = Vec::new();
    assert_eq!(Encoder::new(ProtocolVersion::V5, 15).encode(&packet, &mut out), Err(EncodeError::TooLarge));
    assert!(out.is_empty());
    Encoder::new(ProtocolVersion::V5, 16).encode(&packet, &mut out).unwrap();
    assert_eq!(out, bytes);
}

#[test]
fn v5_3_1_3_1_payload_fields_in_order() {
    let bytes = parse_bytes(
        "10 1B 00 04 \"MQTT\" 05 C4 00 00 00 00 01 \"i\" 00 00 01 \"t\" 00 01 \"w\" 00 01 \"u\" 00 01 \"p\"",
    );
    let decoder = Decoder::new(Sender::Client, ProtocolVersion::V5, u32::MAX);
    let Ok(Some((Packet::Connect(connect), _))) = decoder.decode(&bytes) else { panic!() };
    let will = connect.will.unwrap();
    assert_eq!((connect.client_id, will.topic, will.payload), ("i", "t", &b"w"[..]));
    assert_eq!((connect.user_name, connect.password), (Some("u"), Some(&b"p"[..])));
}

#[test]
fn v5_3_1_3_10_will_user_properties_keep_their_order() {
    let bytes = parse_bytes(
        "10 21 00 04 \"MQTT\" 05 04 00 00 00 00 00 \
         0E 26 00 01 \"b\" 00 01 \"1\" 26 00 01 \"a\" 00 01 \"2\" 00 01 \"t\" 00 00",
    );
    let decoder = Decoder::new(Sender::Client, ProtocolVersion::V5, u32::MAX);
    let Ok(Some((Packet::Connect(connect), _))) = decoder.decode(&bytes) else { panic!() };
    let user: Vec<_> = connect.will.unwrap().properties.user().iter().collect();
    assert_eq!(user, [("b", "1"), ("a", "2")]);
}

#[test]
fn v5_3_2_2_1_acknowledge_flags() {
    assert_eq!(server("20 03 01 00 00"), 0);
    for flags in ["02", "03", "80", "FF"] {
        assert_eq!(server(&format!("20 03 {flags} 00 00")), MALFORMED);
    }
}

#[test]
fn v5_3_2_2_6_a_refusal_has_no_session() {
    assert_eq!(server("20 03 01 87 00"), PROTOCOL);
    let packet =
        ConnAck { session_present: true, reason: ReasonCode::NotAuthorized, properties: ConnAckProperties::default() };
    assert_eq!(v5(&Packet::ConnAck(packet)), None);
}

#[test]
fn v5_3_2_2_8_connack_codes_as_listed() {
    let listed = [
        0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A,
        0x9B, 0x9C, 0x9D, 0x9F,
    ];
    for code in 0..=255_u8 {
        let expected = if listed.contains(&code) { 0 } else { PROTOCOL };
        assert_eq!(server(&format!("20 03 00 {code:02X} 00")), expected, "{code:#x}");
    }
    for reason in all_codes() {
        let packet = ConnAck { session_present: false, reason, properties: ConnAckProperties::default() };
        assert_eq!(v5(&Packet::ConnAck(packet)).is_some(), listed.contains(&reason.as_u8()), "{reason}");
    }
}

#[test]
fn v5_3_2_2_9_maximum_qos_is_0_or_1() {
    let properties = ConnAckProperties { qos_maximum: Some(Qos::ExactlyOnce), ..ConnAckProperties::default() };
    let packet = ConnAck { session_present: false, reason: ReasonCode::Success, properties };
    assert_eq!(v5(&Packet::ConnAck(packet)), None);
    assert_eq!(server("20 05 00 00 02 24 02"), PROTOCOL);
}

#[test]
fn v5_3_3_1_2_no_dup_at_qos_0() {
    assert_eq!(client("38 04 00 01 61 00"), MALFORMED);
    assert_eq!(client("3A 06 00 01 61 00 01 00"), 0);
}

#[test]
fn v5_3_3_1_4_no_qos_3() {
    for first in ["36", "37", "3E", "3F"] {
        assert_eq!(client(&format!("{first} 06 00 01 61 00 01 00")), MALFORMED);
    }
}

#[test]
fn v5_3_3_2_1_2_topic_name_is_text_without_wildcards() {
    assert_eq!(client("30 04 00 01 FF 00"), MALFORMED);
    assert_eq!(client("30 04 00 01 2B 00"), TOPIC);
    assert_eq!(client("30 06 00 03 61 2F 23 00"), TOPIC);
}

#[test]
fn v5_3_3_2_8_no_topic_alias_of_0() {
    assert_eq!(client("30 07 00 01 61 03 23 00 00"), 0x94);
    assert_eq!(client("30 07 00 01 61 03 23 00 01"), 0);
}

#[test]
fn v5_3_3_2_13_14_response_topic_is_a_topic_name() {
    assert_eq!(client("30 08 00 01 61 04 08 00 01 62"), 0);
    for text in ["FF", "00"] {
        assert_eq!(client(&format!("30 08 00 01 61 04 08 00 01 {text}")), MALFORMED);
    }
    for text in ["2B", "23"] {
        assert_eq!(client(&format!("30 08 00 01 61 04 08 00 01 {text}")), PROTOCOL);
    }
}

#[test]
fn v5_3_3_4_6_no_subscription_identifier_from_a_client() {
    let bytes = "30 06 00 01 61 02 0B 01";
    assert_eq!((client(bytes), server(bytes)), (PROTOCOL, 0));
}

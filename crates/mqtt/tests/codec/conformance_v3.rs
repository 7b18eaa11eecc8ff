//! MQTT 3.1.1 and 3.1, statement by statement, as far as a codec alone can prove it.
//!
//! These versions have no reason codes: what counts is that bytes are refused, and how answers are mapped.

use motte_mqtt::{
    Ack, Auth, ConnAck, ConnAckProperties, Decoder, Disconnect, Packet, PacketId, ProtocolVersion, ReasonCode, Sender,
    SubAck, Subscribe, SubscribeFilters, SubscriptionId, SubscriptionOptions, UnsubAck, UserProperties,
    UserPropertiesBuf,
};

use crate::bytes::{answer, parse_bytes, written};

const V3: [ProtocolVersion; 2] = [ProtocolVersion::V31, ProtocolVersion::V311];

fn accepts(version: ProtocolVersion, bytes: &str) -> bool {
    answer(Sender::Client, version, bytes) == 0
}

fn v311(bytes: &str) -> bool {
    accepts(ProtocolVersion::V311, bytes)
}

fn v31(bytes: &str) -> bool {
    accepts(ProtocolVersion::V31, bytes)
}

fn id() -> PacketId {
    PacketId::new(1).unwrap()
}

#[test]
fn v311_1_5_3_1_2_3_text() {
    for text in ["ED A0 80", "C0 80", "61 00"] {
        let len = parse_bytes(text).len();
        assert!(!v311(&format!("30 {:02X} 00 {len:02X} {text}", len + 2)), "{text}");
    }
    assert!(v311("30 05 00 03 EF BB BF"));
}

#[test]
fn v311_2_2_2_1_2_reserved_flags_close() {
    for first in ["11", "41", "51", "60", "61", "63", "6A", "71", "80", "8A", "A0", "AA", "C1", "E1"] {
        assert!(!v311(first), "{first}");
    }
}

#[test]
fn v311_2_3_1_1_identifiers_are_not_0() {
    for bytes in ["32 05 00 01 61 00 00", "82 06 00 00 00 01 61 00", "A2 05 00 00 00 01 61", "62 02 00 00"] {
        assert!(!v311(bytes), "{bytes}");
    }
}

#[test]
fn v311_3_1_2_1_2_3_name_level_and_reserved_flag() {
    assert!(v311("10 0C 00 04 \"MQTT\" 04 00 00 00 00 00"));
    assert_eq!(answer(Sender::Client, ProtocolVersion::V311, "10 0C 00 04 \"MQTX\" 04 00 00 00 00 00"), 0x84);
    assert_eq!(answer(Sender::Client, ProtocolVersion::V311, "10 0C 00 04 \"MQTT\" 07 00 00 00 00 00"), 0x84);
    assert!(!v311("10 0C 00 04 \"MQTT\" 04 01 00 00 00 00"));
}

#[test]
fn v311_3_1_2_11_13_14_15_will_flags_agree() {
    for flags in ["08", "10", "20", "1C"] {
        assert!(!v311(&format!("10 0C 00 04 \"MQTT\" 04 {flags} 00 00 00 00")), "{flags}");
    }
}

#[test]
fn v311_3_1_2_18_to_22_credentials_follow_their_flags() {
    let connect =
        |flags: &str, len: &str, rest: &str| v311(&format!("10 {len} 00 04 \"MQTT\" 04 {flags} 00 00 00 00 {rest}"));
    assert!(!connect("00", "0F", "00 01 75"));
    assert!(!connect("80", "0C", ""));
    assert!(connect("80", "0F", "00 01 75"));
    assert!(!connect("40", "0F", "00 01 70"), "a password needs a user name");
    assert!(!connect("C0", "0F", "00 01 75"));
    assert!(connect("C0", "12", "00 01 75 00 01 70"));
}

#[test]
fn v311_3_2_2_6_connack_only_with_a_return_code() {
    let connack = |reason, version| {
        let packet = ConnAck { session_present: false, reason, properties: ConnAckProperties::default() };
        written(version, &Packet::ConnAck(packet))
    };
    for version in V3 {
        for (reason, code) in [
            (ReasonCode::Success, 0),
            (ReasonCode::UnsupportedProtocolVersion, 1),
            (ReasonCode::ClientIdNotValid, 2),
            (ReasonCode::ServerUnavailable, 3),
            (ReasonCode::ServerBusy, 3),
            (ReasonCode::ConnectionRateExceeded, 3),
            (ReasonCode::BadUserNameOrPassword, 4),
            (ReasonCode::NotAuthorized, 5),
            (ReasonCode::Banned, 5),
            (ReasonCode::BadAuthenticationMethod, 5),
        ] {
            assert_eq!(connack(reason, version), Some(vec![0x20, 2, 0, code]), "{reason}");
        }
        for reason in [ReasonCode::MalformedPacket, ReasonCode::ProtocolError, ReasonCode::QuotaExceeded] {
            assert_eq!(connack(reason, version), None, "{reason}");
        }
    }
}

#[test]
fn v311_3_2_2_4_a_refusal_has_no_session() {
    assert_eq!(answer(Sender::Server, ProtocolVersion::V311, "20 02 01 00"), 0);
    assert_ne!(answer(Sender::Server, ProtocolVersion::V311, "20 02 01 05"), 0);
}

#[test]
fn v311_3_3_1_2_4_dup_and_qos() {
    assert!(!v311("38 03 00 01 61"), "DUP at QoS 0");
    assert!(!v311("36 05 00 01 61 00 01"), "QoS 3");
    assert!(v311("3A 05 00 01 61 00 01"));
}

#[test]
fn v311_3_3_2_1_2_topic_name() {
    assert!(!v311("30 03 00 01 FF") && !v311("30 03 00 01 23") && !v311("30 02 00 00"));
    assert!(v311("30 03 00 01 61"));
}

#[test]
fn v311_3_8_3_3_4_filters_and_options() {
    assert!(!v311("82 02 00 01"));
    for options in 0..=255_u8 {
        for version in V3 {
            assert_eq!(accepts(version, &format!("82 06 00 01 00 01 61 {options:02X}")), options < 3, "{options}");
        }
    }
}

#[test]
fn v311_3_9_3_2_suback_failures_are_0x80() {
    let codes = [0x00, 0x01, 0x02, 0x87, 0x8F, 0xA2, 0x80];
    let packet = SubAck { id: id(), reason_string: Some("no"), user: UserProperties::EMPTY, codes: &codes };
    for version in V3 {
        let expected = vec![0x90, 9, 0, 1, 0, 1, 2, 0x80, 0x80, 0x80, 0x80];
        assert_eq!(written(version, &Packet::SubAck(packet)), Some(expected));
    }
    for code in 0..=255_u8 {
        let bytes = format!("90 03 00 01 {code:02X}");
        let expected = [0, 1, 2, 0x80].contains(&code);
        assert_eq!(answer(Sender::Server, ProtocolVersion::V311, &bytes) == 0, expected, "{code:#x}");
    }
}

#[test]
fn v311_3_10_3_2_unsubscribe_has_a_filter() {
    assert!(!v311("A2 02 00 01"));
    assert!(v311("A2 05 00 01 00 01 61"));
}

#[test]
fn v311_noid_unsuback_has_no_payload() {
    let codes = [0x11];
    let packet = UnsubAck { id: id(), reason_string: Some("x"), user: UserProperties::EMPTY, codes: &codes };
    for version in V3 {
        assert_eq!(written(version, &Packet::UnsubAck(packet)), Some(vec![0xB0, 2, 0, 1]));
    }
}

#[test]
fn v311_3_14_1_1_disconnect_is_two_bytes() {
    assert!(v311("E0 00") && !v311("E0 01"));
    let packet = Disconnect { session_expiry_s: Some(9), ..Disconnect::new(ReasonCode::ServerMoved) };
    for version in V3 {
        assert_eq!(written(version, &Packet::Disconnect(packet)), Some(vec![0xE0, 0]));
        assert_ne!(answer(Sender::Server, version, "E0"), 0, "a server has none to send");
    }
}

#[test]
fn v311_noid_what_only_5_0_has_is_left_out_or_refused() {
    let mut user = UserPropertiesBuf::new();
    user.push("k", "v").unwrap();
    let filters = [("a", SubscriptionOptions { no_local: true, retain_as_published: true, ..Default::default() })];
    let subscribe = Subscribe {
        id: id(),
        subscription_id: SubscriptionId::new(5),
        user: user.as_ref(),
        filters: SubscribeFilters::from_slice(&filters),
    };
    let ack = Ack { id: id(), reason: ReasonCode::NotAuthorized, reason_string: Some("x"), user: user.as_ref() };
    let auth = Auth {
        reason: ReasonCode::ContinueAuthentication,
        method: Some("m"),
        data: None,
        reason_string: None,
        user: UserProperties::EMPTY,
    };
    for version in V3 {
        assert_eq!(written(version, &Packet::Subscribe(subscribe)), Some(vec![0x82, 6, 0, 1, 0, 1, b'a', 0]));
        assert_eq!(written(version, &Packet::PubRec(ack)), Some(vec![0x50, 2, 0, 1]));
        assert_eq!(written(version, &Packet::Auth(auth)), None);
        assert!(!accepts(version, "F0"));
    }
}

#[test]
fn v31_name_and_level_go_together() {
    assert!(v31("10 0E 00 06 \"MQIsdp\" 03 00 00 00 00 00"));
    for bytes in ["10 0E 00 06 \"MQIsdp\" 04 00 00 00 00 00", "10 0C 00 04 \"MQTT\" 03 00 00 00 00 00"] {
        assert_eq!(answer(Sender::Client, ProtocolVersion::V31, bytes), 0x84);
    }
    assert_eq!(answer(Sender::Client, ProtocolVersion::V31, "10 0E 00 06 \"MQIsdp\" 83 00 00 00 00 00"), 0x84);
}

#[test]
fn v31_dup_is_tolerated_on_repeated_requests() {
    for bytes in ["6A 02 00 01", "8A 06 00 01 00 01 61 01", "AA 05 00 01 00 01 61"] {
        assert!(v31(bytes) && !v311(bytes), "{bytes}");
    }
    for bytes in ["68", "6B", "88", "8E", "A8"] {
        assert!(!v31(bytes), "{bytes}");
    }
}

#[test]
fn v31_remaining_length_wins_over_credential_flags() {
    let connect = |flags: u8, rest: &str| {
        let body = format!("00 06 \"MQIsdp\" 03 {flags:02X} 00 00 00 01 63 {rest}");
        parse_bytes(&format!("10 {:02X} {body}", parse_bytes(&body).len()))
    };
    let decoder = Decoder::new(Sender::Client, ProtocolVersion::V31, u32::MAX);
    let credentials = |bytes: &[u8]| match decoder.decode(bytes) {
        Ok(Some((Packet::Connect(connect), _))) => Some((connect.user_name.is_some(), connect.password.is_some())),
        _ => None,
    };
    assert_eq!(credentials(&connect(0xC0, "")), Some((false, false)), "missing fields are no credentials");
    assert_eq!(credentials(&connect(0xC0, "00 01 75")), Some((true, false)));
    assert_eq!(credentials(&connect(0xC0, "00 01 75 00 01 70")), Some((true, true)));
    assert_eq!(credentials(&connect(0xC0, "00 02 75")), None, "a field cut short is malformed all the same");
    assert_eq!(credentials(&connect(0x40, "00 01 70")), None, "a password needs a user name");
}

#[test]
fn v31_connack_has_no_session_present() {
    let packet =
        ConnAck { session_present: true, reason: ReasonCode::Success, properties: ConnAckProperties::default() };
    assert_eq!(written(ProtocolVersion::V31, &Packet::ConnAck(packet)), Some(vec![0x20, 2, 0, 0]));
    assert_eq!(written(ProtocolVersion::V311, &Packet::ConnAck(packet)), Some(vec![0x20, 2, 1, 0]));
}

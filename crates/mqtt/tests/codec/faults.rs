//! Faults other codecs had, tried on ours: length arithmetic (K02), malformed input (K03), the edges of UTF-8 (K33).

use motte_mqtt::{
    ConnAck, ConnAckProperties, Connect, ConnectProperties, DecodeError, Decoder, Delivery, EncodeError, Encoder,
    ForwardedProperties, ForwardedPropertiesBuf, Packet, PacketId, ProtocolVersion, Publish, ReasonCode, Sender,
    SubscriptionIds, UserPropertiesBuf,
};

const VERSIONS: [ProtocolVersion; 3] = [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5];
const SENDERS: [Sender; 2] = [Sender::Client, Sender::Server];

fn client_v5() -> Decoder {
    Decoder::new(Sender::Client, ProtocolVersion::V5, u32::MAX)
}

fn connect(client_id: &str) -> Packet<'_> {
    Packet::Connect(Connect {
        version: ProtocolVersion::V5,
        clean_start: true,
        keep_alive_s: 0,
        client_id,
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    })
}

fn publish(topic: &str) -> Publish<'_> {
    Publish {
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic,
        topic_alias: None,
        message_expiry_s: None,
        subscription_ids: SubscriptionIds::EMPTY,
        properties: ForwardedProperties::EMPTY,
        payload: &[],
    }
}

/// Every first byte with every short Remaining Length and bodies of equal bytes: nothing panics, nothing is longer than
/// what arrived.
#[test]
fn k03_every_first_byte_with_flat_bodies() {
    for first in 0..=255_u8 {
        for len in 0..40_u8 {
            for fill in [0x00, 0x01, 0x02, 0x26, 0x7F, 0x80, 0xFF] {
                let mut bytes = vec![first, len];
                bytes.resize(2 + usize::from(len), fill);
                for (version, sender) in VERSIONS.into_iter().flat_map(|version| SENDERS.map(|side| (version, side))) {
                    let found = Decoder::new(sender, version, u32::MAX).decode(&bytes);
                    assert!(found != Ok(None), "{bytes:?} is complete");
                    assert!(!matches!(found, Ok(Some((_, end))) if end != bytes.len()), "{bytes:?}");
                }
            }
        }
    }
}

/// Each two-byte length in a PUBLISH and a CONNECT, set to values around what is right and at the edges.
#[test]
fn k02_field_lengths_around_the_truth() {
    let publish = |len: u16| [&[0x30, 0x08][..], &len.to_be_bytes(), b"abc", &[0, b'x', b'y']].concat();
    assert!(matches!(client_v5().decode(&publish(3)), Ok(Some(_))));
    for len in [7, 8, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF] {
        assert!(matches!(client_v5().decode(&publish(len)), Err(DecodeError::Malformed(_))), "{len}");
    }
    let connect = |len: u16| [&[0x10, 0x10, 0, 4][..], b"MQTT", &[5, 2, 0, 0, 0], &len.to_be_bytes(), b"abc"].concat();
    assert!(matches!(client_v5().decode(&connect(3)), Ok(Some(_))));
    for len in [0, 1, 2, 4, 5, 0x7FFF, 0x8000, 0xFFFF] {
        assert!(matches!(client_v5().decode(&connect(len)), Err(DecodeError::Malformed(_))), "{len}");
    }
}

/// Property Length around what is right: a payload never becomes properties, properties never become payload.
#[test]
fn k02_property_lengths_around_the_truth() {
    let publish = |len: &[u8]| {
        let body = [&[0, 1, b'a'][..], len, &[0x01, 0x01, 0x02, 0, 0, 0, 9], b"pay"].concat();
        [&[0x30, u8::try_from(body.len()).unwrap()][..], &body].concat()
    };
    let payload = |bytes: &[u8]| match client_v5().decode(bytes) {
        Ok(Some((Packet::Publish(publish), _))) => Ok(publish.payload.len()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.reason()),
    };
    assert_eq!(payload(&publish(&[7])), Ok(3));
    assert_eq!(payload(&publish(&[2])), Ok(8), "a shorter block of whole properties is a longer payload");
    assert_eq!(payload(&publish(&[0])), Ok(10));
    for len in [1, 3, 4, 5, 6, 8, 9, 10, 11, 0x7F] {
        assert_eq!(payload(&publish(&[len])), Err(ReasonCode::MalformedPacket), "{len}");
    }
    for len in [&[0x87, 0x00][..], &[0x80, 0x80, 0x80, 0x80, 0x01], &[0xFF, 0xFF, 0xFF, 0x7F], &[0xFF; 5]] {
        assert_eq!(payload(&publish(len)), Err(ReasonCode::MalformedPacket), "{len:?}");
    }
}

#[test]
fn k02_second_packet_never_comes_out_of_a_payload() {
    let inner = [0xE0, 0x00];
    let bytes = [&[0x30, 0x06, 0, 1, b'a', 0][..], &inner, &[0xC0, 0x00]].concat();
    let (packet, len) = client_v5().decode(&bytes).unwrap().unwrap();
    assert!(matches!(packet, Packet::Publish(publish) if publish.payload == inner));
    assert_eq!(client_v5().decode(&bytes[len..]), Ok(Some((Packet::PingReq, 2))));
}

#[test]
fn k02_remaining_length_is_judged_before_anything_is_buffered() {
    let limited = Decoder::new(Sender::Client, ProtocolVersion::V311, 1_000);
    assert_eq!(limited.decode(&[0x10, 0xE5, 0x07]), Ok(None), "997 bytes and a header of 3 fit");
    assert_eq!(limited.decode(&[0x10, 0xE6, 0x07]), Err(DecodeError::TooLarge));
    assert_eq!(limited.decode(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F]), Err(DecodeError::TooLarge));
    assert_eq!(limited.packet_len(&[0x30, 0xE5, 0x07]), Ok(Some(1_000)));
    assert_eq!(client_v5().decode(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]), Ok(None), "the greatest the format has");
    assert_eq!(Decoder::begins_connect(&[]), None);
    assert_eq!(Decoder::begins_connect(&[0x10]), Some(true));
    assert_eq!(Decoder::begins_connect(&[0xC0]), Some(false));
}

#[test]
fn k02_fields_of_65535_bytes_are_written_and_one_more_is_refused() {
    let (longest, longer) = ("x".repeat(65_535), "x".repeat(65_536));
    let encoder = Encoder::new(ProtocolVersion::V5, u32::MAX);
    let mut out = Vec::new();
    encoder.encode(&connect(&longest), &mut out).unwrap();
    assert_eq!(client_v5().decode(&out), Ok(Some((connect(&longest), out.len()))));
    out.clear();
    for (packet, what) in [(connect(&longer), "client identifier"), (Packet::Publish(publish(&longer)), "topic name")] {
        assert_eq!(encoder.encode(&packet, &mut out), Err(EncodeError::FieldTooLong(what)));
    }
    assert!(out.is_empty());
    let too_long = |what| Some(EncodeError::FieldTooLong(what));
    let buf = ForwardedPropertiesBuf::new;
    assert_eq!(buf().content_type(&longer).err(), too_long("content type"));
    assert_eq!(buf().response_topic(&longer).err(), too_long("response topic"));
    assert_eq!(buf().correlation_data(longer.as_bytes()).err(), too_long("correlation data"));
    assert_eq!(buf().user(&longer, "").err(), too_long("user property name"));
    assert_eq!(UserPropertiesBuf::new().push("", &longer).err(), too_long("user property value"));
}

/// Lengths on both sides of each step of a variable byte integer come back as they were written.
#[test]
fn k02_every_width_of_remaining_length() {
    for (payload_len, header_len) in [(123, 2), (124, 3), (16_379, 3), (16_380, 4), (2_097_147, 4), (2_097_148, 5)] {
        let payload = vec![7; payload_len];
        let packet = Publish { payload: &payload, ..publish("a") };
        let mut out = Vec::new();
        Encoder::new(ProtocolVersion::V5, u32::MAX).publish(&packet, &mut out).unwrap();
        assert_eq!(out.len(), header_len + 4 + payload_len);
        assert_eq!(client_v5().decode(&out), Ok(Some((Packet::Publish(packet), out.len()))));
    }
}

/// Ill-formed sequences: over-long forms, surrogates, beyond U+10FFFF, cut short, stray bytes.
const ILL_FORMED: [&[u8]; 14] = [
    &[0xC0, 0x80],
    &[0xC0, 0xAF],
    &[0xC1, 0xBF],
    &[0xE0, 0x80, 0xAF],
    &[0xF0, 0x80, 0x80, 0xAF],
    &[0xED, 0xA0, 0x80],
    &[0xED, 0xBF, 0xBF],
    &[0xED, 0xA0, 0x81, 0xED, 0xB0, 0x80],
    &[0xF4, 0x90, 0x80, 0x80],
    &[0xF8, 0x88, 0x80, 0x80, 0x80],
    &[0x80],
    &[0xC3],
    &[0xE2, 0x82],
    &[0xFF],
];

/// Well-formed text that must pass untouched, with characters some codecs strip or refuse.
const WELL_FORMED: [&str; 9] = [
    "\u{feff}",
    "a\u{feff}b",
    "\u{1}\u{1f}",
    "\u{7f}\u{9f}",
    "\u{fffe}\u{ffff}",
    "\u{fdd0}",
    "e\u{301}",
    "\u{e9}",
    "𝄞\u{10ffff}",
];

/// A packet for each text field of each packet, around the bytes of the text.
fn text_fields(text: &[u8]) -> Vec<(&'static str, Sender, Vec<u8>)> {
    let field = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let (text, empty, name) = (field(text), field(b""), field(b"a"));
    let packet = |first: u8, parts: &[&[u8]]| {
        let body = parts.concat();
        [&[first, u8::try_from(body.len()).unwrap()][..], &body].concat()
    };
    let props = |parts: &[&[u8]]| {
        let block = parts.concat();
        [&[u8::try_from(block.len()).unwrap()][..], &block].concat()
    };
    let head = |flags: u8| [&field(b"MQTT")[..], &[5, flags, 0, 0]].concat();
    let (client, server) = (Sender::Client, Sender::Server);
    let mut found = vec![
        ("client identifier", client, packet(0x10, &[&head(0), &[0], &text])),
        ("user name", client, packet(0x10, &[&head(0x80), &[0], &empty, &text])),
        ("will topic", client, packet(0x10, &[&head(0x04), &[0], &empty, &[0], &text, &empty])),
        ("method", client, packet(0x10, &[&head(0), &props(&[&[0x15], &text]), &empty])),
        ("user property name", client, packet(0x10, &[&head(0), &props(&[&[0x26], &text, &empty]), &empty])),
        ("user property value", client, packet(0x10, &[&head(0), &props(&[&[0x26], &empty, &text]), &empty])),
        ("topic name", client, packet(0x30, &[&text, &[0]])),
        ("subscribe filter", client, packet(0x82, &[&[0, 1, 0], &text, &[0]])),
        ("unsubscribe filter", client, packet(0xA2, &[&[0, 1, 0], &text])),
        ("puback reason", client, packet(0x40, &[&[0, 1, 0], &props(&[&[0x1F], &text])])),
        ("suback reason", server, packet(0x90, &[&[0, 1], &props(&[&[0x1F], &text]), &[0]])),
        ("disconnect reason", client, packet(0xE0, &[&[0], &props(&[&[0x1F], &text])])),
        ("disconnect server", server, packet(0xE0, &[&[0x9D], &props(&[&[0x1C], &text])])),
        ("auth method", client, packet(0xF0, &[&[0x18], &props(&[&[0x15], &text])])),
    ];
    for (id, what) in [(0x03, "content type"), (0x08, "response topic")] {
        found.push((what, client, packet(0x30, &[&name, &props(&[&[id], &text])])));
    }
    for (id, what) in [(0x12, "assigned id"), (0x1A, "response information"), (0x1C, "server"), (0x1F, "reason")] {
        found.push((what, server, packet(0x20, &[&[0, 0], &props(&[&[id], &text])])));
    }
    found
}

#[test]
fn v5_1_5_4_1_k33_ill_formed_text_is_malformed_in_every_field() {
    for text in ILL_FORMED {
        for (field, sender, bytes) in text_fields(text) {
            let found = Decoder::new(sender, ProtocolVersion::V5, u32::MAX).decode(&bytes);
            assert_eq!(found, Err(DecodeError::Malformed("text is not well-formed UTF-8")), "{field} of {text:x?}");
        }
    }
}

#[test]
fn v5_1_5_4_2_k33_nul_is_malformed_in_every_field() {
    for text in [&b"\0"[..], b"a\0", b"\0a", b"abcdefghijklmnopqrstuvwxyz0123456789\0abc"] {
        for (field, sender, bytes) in text_fields(text) {
            let found = Decoder::new(sender, ProtocolVersion::V5, u32::MAX).decode(&bytes);
            assert_eq!(found, Err(DecodeError::Malformed("text holds U+0000")), "{field}");
        }
    }
}

#[test]
fn v5_1_5_4_3_k33_all_other_text_passes_untouched() {
    for text in WELL_FORMED {
        for (field, sender, bytes) in text_fields(text.as_bytes()) {
            let (packet, len) = Decoder::new(sender, ProtocolVersion::V5, u32::MAX)
                .decode(&bytes)
                .unwrap_or_else(|error| panic!("{field} of {text:?}: {error}"))
                .unwrap();
            let mut written = Vec::new();
            Encoder::new(ProtocolVersion::V5, u32::MAX).encode(&packet, &mut written).unwrap();
            assert_eq!((len, &written), (bytes.len(), &bytes), "{field} of {text:?}");
        }
    }
}

#[test]
fn k33_passwords_and_payloads_are_bytes_not_text() {
    for bytes in ILL_FORMED.into_iter().chain([&b"\0"[..]]) {
        let packet = Packet::Connect(Connect {
            version: ProtocolVersion::V311,
            clean_start: true,
            keep_alive_s: 0,
            client_id: "",
            will: None,
            user_name: Some(""),
            password: Some(bytes),
            properties: ConnectProperties::default(),
        });
        let mut out = Vec::new();
        Encoder::new(ProtocolVersion::V311, u32::MAX).encode(&packet, &mut out).unwrap();
        assert_eq!(client_v5().decode(&out), Ok(Some((packet, out.len()))));
    }
}

#[test]
fn the_encoder_refuses_text_that_no_reader_may_accept() {
    let encoder = Encoder::new(ProtocolVersion::V5, u32::MAX);
    let mut out = Vec::new();
    let refused = |packet: &Packet<'_>, out: &mut Vec<u8>| encoder.encode(packet, out).unwrap_err();
    assert_eq!(refused(&connect("a\0"), &mut out), EncodeError::Text("client identifier"));
    for topic in ["a\0", "a/+", "#"] {
        assert_eq!(refused(&Packet::Publish(publish(topic)), &mut out), EncodeError::Text("topic name"));
    }
    let properties = ConnAckProperties { reason_string: Some("\0"), ..ConnAckProperties::default() };
    let connack = ConnAck { session_present: false, reason: ReasonCode::Success, properties };
    assert_eq!(refused(&Packet::ConnAck(connack), &mut out), EncodeError::Text("reason string"));
    assert!(out.is_empty());
    assert_eq!(ForwardedPropertiesBuf::new().response_topic("a/#").err(), Some(EncodeError::Text("response topic")));
    assert_eq!(ForwardedPropertiesBuf::new().response_topic("").err(), Some(EncodeError::Text("response topic")));
    assert_eq!(UserPropertiesBuf::new().push("\0", "").err(), Some(EncodeError::Text("user property name")));
}

/// A log line about a packet must not hold what proves an identity.
#[test]
fn debug_texts_hold_no_secrets() {
    let properties = ConnectProperties {
        authentication_method: Some("SCRAM"),
        authentication_data: Some(b"hunter2"),
        ..ConnectProperties::default()
    };
    let Packet::Connect(connect) = connect("c") else { unreachable!("a CONNECT was built") };
    let packet = Packet::Connect(Connect { user_name: Some("u"), password: Some(b"hunter2"), properties, ..connect });
    let text = format!("{packet:?}");
    assert!(text.contains("password: Some(<7 bytes>)"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("104, 117"), "{text}");
}

#[test]
fn setting_a_property_again_replaces_it() {
    let built = ForwardedPropertiesBuf::new()
        .content_type("old")
        .and_then(|built| built.user("k", "v"))
        .and_then(|built| built.payload_utf8().payload_utf8().content_type("new"))
        .unwrap();
    let packet = Publish { properties: built.as_ref(), ..publish("a") };
    let mut out = Vec::new();
    Encoder::new(ProtocolVersion::V5, u32::MAX).publish(&packet, &mut out).unwrap();
    let Ok(Some((Packet::Publish(read), _))) = client_v5().decode(&out) else { panic!("{out:?}") };
    assert_eq!(read.properties.content_type(), Some("new"));
    assert!(read.properties.payload_is_utf8());
    assert_eq!(read.properties.user().iter().collect::<Vec<_>>(), [("k", "v")]);
    assert_eq!(read.properties.to_owned(), built);
    assert_eq!(read.properties.encoded_len(), 2 + 6 + 7);
}

/// A block with alias, expiry and identifiers in between keeps exactly the properties a server forwards.
#[test]
fn forwarding_takes_out_what_belongs_to_one_connection() {
    let bytes =
        [0x30, 0x17, 0, 1, b'a', 17, 0x01, 0x00, 0x23, 0, 9, 0x0B, 5, 0x26, 0, 0, 0, 0, 0x02, 0, 0, 0, 1, b'p', b'q'];
    let decoder = Decoder::new(Sender::Server, ProtocolVersion::V5, u32::MAX);
    let Ok(Some((Packet::Publish(read), _))) = decoder.decode(&bytes) else { panic!() };
    let mut written = Vec::new();
    read.properties.write_to(&mut written);
    assert_eq!(written, [0x01, 0x00, 0x26, 0, 0, 0, 0], "a payload format of 0 is forwarded unchanged as well");
    let id = PacketId::new(7).unwrap();
    let onward = Publish {
        delivery: Delivery::AtLeastOnce { id, dup: false },
        topic_alias: None,
        message_expiry_s: None,
        subscription_ids: SubscriptionIds::EMPTY,
        ..read
    };
    let mut out = Vec::new();
    Encoder::new(ProtocolVersion::V5, u32::MAX).publish(&onward, &mut out).unwrap();
    assert_eq!(out, [0x32, 0x0F, 0, 1, b'a', 0, 7, 7, 0x01, 0, 0x26, 0, 0, 0, 0, b'p', b'q']);
    out.clear();
    Encoder::new(ProtocolVersion::V311, u32::MAX).publish(&onward, &mut out).unwrap();
    assert_eq!(out, [0x32, 0x07, 0, 1, b'a', 0, 7, b'p', b'q']);
}

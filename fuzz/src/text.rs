//! Text in packets, against the UTF-8 reader of the standard library.

use motte_mqtt::{Decoder, Packet, ProtocolVersion, Sender};

use crate::codec::varint;

/// Any bytes as client identifier, in all versions, and as user property: taken exactly when they are UTF-8 without
/// U+0000, and then unchanged.
pub fn field(data: &[u8]) {
    let data = &data[..data.len().min(65_535)];
    let expected = std::str::from_utf8(data).ok().filter(|text| !text.contains('\0'));
    for (head, version) in
        [(&b"\0\x04MQTT\x05\x02\0\0\0"[..], 5), (b"\0\x04MQTT\x04\x02\0\0", 4), (b"\0\x06MQIsdp\x03\x02\0\0", 3)]
    {
        let bytes = packet(0x10, head, data, b"");
        let decoder = Decoder::new(Sender::Client, ProtocolVersion::V5, u32::MAX);
        match decoder.decode(&bytes) {
            Ok(Some((Packet::Connect(connect), _))) => assert_eq!(Some(connect.client_id), expected, "level {version}"),
            Ok(other) => panic!("level {version}: {other:?}"),
            // 3.1 allows 1 to 23 characters.
            Err(_) if version == 3 => assert!(expected.is_none_or(|text| !(1..=23).contains(&text.chars().count()))),
            Err(_) => assert_eq!(expected, None, "level {version}"),
        }
    }
    let data = &data[..data.len().min(60)];
    let expected = std::str::from_utf8(data).ok().filter(|text| !text.contains('\0'));
    let len = u8::try_from(data.len() + 5).expect("at most 65");
    let head = [0, 1, b't', len, 38];
    let bytes = packet(0x30, &head, data, b"\0\0");
    match Decoder::new(Sender::Client, ProtocolVersion::V5, u32::MAX).decode(&bytes) {
        Ok(Some((Packet::Publish(publish), _))) => {
            assert_eq!(publish.properties.user().iter().next().map(|(name, _)| name), expected);
        }
        Ok(other) => panic!("{other:?}"),
        Err(_) => assert_eq!(expected, None),
    }
}

/// A packet whose body is `head`, then `field` with its length, then `tail`.
fn packet(first: u8, head: &[u8], field: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut body = head.to_vec();
    body.extend(u16::try_from(field.len()).expect("at most 65,535 bytes").to_be_bytes());
    body.extend_from_slice(field);
    body.extend_from_slice(tail);
    let mut packet = vec![first];
    varint(body.len(), &mut packet);
    packet.extend(body);
    packet
}

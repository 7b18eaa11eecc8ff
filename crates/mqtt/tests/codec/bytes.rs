//! Bytes written as hexadecimal and quoted text, and the answer of a decoder to them.
//!
//! Used by the vectors and by the conformance tests.

use motte_mqtt::{Decoder, Encoder, Packet, ProtocolVersion, Sender};

/// Large enough for each vector; the one that is too large says so in its fixed header.
pub(crate) const PACKET_SIZE_MAX: u32 = 1_048_576;

/// The bytes of `30 08 00 03 "a/b"`.
pub(crate) fn parse_bytes(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, part) in line.split('"').enumerate() {
        if index % 2 == 1 {
            bytes.extend_from_slice(part.as_bytes());
        } else {
            bytes.extend(part.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()));
        }
    }
    bytes
}

/// The reason code a decoder refuses the bytes with; 0 when it accepts them whole. Panics when it waits for more.
pub(crate) fn answer(sender: Sender, version: ProtocolVersion, bytes: &str) -> u8 {
    let parsed = parse_bytes(bytes);
    match Decoder::new(sender, version, PACKET_SIZE_MAX).decode(&parsed) {
        Ok(Some((_, len))) if len == parsed.len() => 0,
        Ok(found) => panic!("{bytes}: {found:?}"),
        Err(error) => error.reason().as_u8(),
    }
}

/// The bytes of a packet, or nothing when it is refused.
pub(crate) fn written(version: ProtocolVersion, packet: &Packet<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    Encoder::new(version, u32::MAX).encode(packet, &mut out).ok().map(|()| out)
}

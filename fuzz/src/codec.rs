//! The packet codec against itself and against the few lines of the standard on fixed headers.

use motte_mqtt::{Decoder, Encoder, Packet, ProtocolVersion, Sender};

const VERSIONS: [ProtocolVersion; 3] = [ProtocolVersion::V5, ProtocolVersion::V311, ProtocolVersion::V31];
const SENDERS: [Sender; 2] = [Sender::Client, Sender::Server];

/// The length that a fixed header tells agrees with a reading of its own, and a packet is exactly as long as told.
pub fn frame(data: &[u8]) {
    let expected = told_len(data);
    for version in VERSIONS {
        for sender in SENDERS {
            for limit in [u32::MAX, 64] {
                let decoder = Decoder::new(sender, version, limit);
                let told = decoder.packet_len(data);
                let decoded = decoder.decode(data).map(|found| found.map(|(_, len)| len));
                match (told, decoded) {
                    (Ok(None), Ok(None)) => assert_eq!(expected, Ok(None)),
                    (Ok(Some(len)), decoded) => {
                        assert_eq!(expected, Ok(Some(len)));
                        assert!(len as u64 <= u64::from(limit), "a packet of {len} bytes passed a limit of {limit}");
                        match decoded {
                            Ok(Some(taken)) => assert!(taken == len && len <= data.len()),
                            Ok(None) => assert!(data.len() < len, "a whole packet waits for more bytes"),
                            Err(_) => {}
                        }
                    }
                    (Err(_), Err(_)) => {}
                    (told, decoded) => panic!("the header says {told:?}, the packet {decoded:?}"),
                }
            }
        }
    }
}

/// The whole length by MQTT 5.0, 1.5.5: `Ok(None)` when bytes are missing, `Err` when no header begins so.
fn told_len(data: &[u8]) -> Result<Option<usize>, ()> {
    let Some((_, lengths)) = data.split_first() else { return Ok(None) };
    let mut value = 0_usize;
    for (at, byte) in lengths.iter().enumerate().take(4) {
        value |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            // A last byte of 0 behind others is a longer form than needed.
            return if at > 0 && *byte == 0 { Err(()) } else { Ok(Some(value + at + 2)) };
        }
    }
    if lengths.len() < 4 { Ok(None) } else { Err(()) }
}

/// What the decoder of 5.0 takes is written and read back the same.
pub fn packet_v5(data: &[u8]) {
    for sender in SENDERS {
        there_and_back(data, sender, ProtocolVersion::V5);
    }
}

/// What the decoders of 3.1.1 and 3.1 take is written and read back the same.
pub fn packet_v3(data: &[u8]) {
    for sender in SENDERS {
        there_and_back(data, sender, ProtocolVersion::V311);
        there_and_back(data, sender, ProtocolVersion::V31);
    }
}

/// Decodes, looks at everything, encodes, decodes.
pub(crate) fn there_and_back(data: &[u8], sender: Sender, version: ProtocolVersion) {
    let decoder = Decoder::new(sender, version, u32::MAX);
    let Ok(Some((packet, len))) = decoder.decode(data) else { return };
    assert!(len <= data.len());
    assert!(!format!("{packet:?}").is_empty());
    let mut again = Vec::new();
    Encoder::new(version, u32::MAX).encode(&packet, &mut again).expect("what was decoded can be encoded");
    assert_eq!(decoder.decode(&again), Ok(Some((packet, again.len()))));
    if let Packet::Publish(publish) = &packet {
        assert_eq!(decoder.decode_expecting(data, publish.topic), Ok(Some((packet, len))), "a topic seen before");
    }
}

/// A stream is the same packets, and the same end, however it is cut into pieces. The first two bytes choose version,
/// sender and cuts.
pub fn stream(data: &[u8]) {
    let [choice, cuts, bytes @ ..] = data else { return };
    let version = VERSIONS[usize::from(choice % 3)];
    let decoder = Decoder::new(SENDERS[usize::from(choice >> 7)], version, 4096);
    let whole = read(&decoder, bytes, usize::MAX);
    assert_eq!(whole, read(&decoder, bytes, 1), "byte by byte");
    assert_eq!(whole, read(&decoder, bytes, usize::from(*cuts).max(2)), "in pieces of {cuts}");
}

/// The packets of a stream that arrives `step` bytes at a time, and whether it ends with an error.
fn read(decoder: &Decoder, bytes: &[u8], step: usize) -> (Vec<String>, bool) {
    let mut packets = Vec::new();
    let (mut start, mut end) = (0, 0);
    loop {
        match decoder.decode(&bytes[start..end]) {
            Ok(Some((packet, len))) => {
                packets.push(format!("{packet:?}"));
                start += len;
            }
            Ok(None) if end == bytes.len() => return (packets, false),
            Ok(None) => end = end.saturating_add(step).min(bytes.len()),
            Err(_) => return (packets, true),
        }
    }
}

/// Appends a variable byte integer.
pub(crate) fn varint(mut value: usize, out: &mut Vec<u8>) {
    loop {
        let byte = u8::try_from(value % 128).expect("less than 128");
        value /= 128;
        if value == 0 {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

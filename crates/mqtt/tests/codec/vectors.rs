//! Golden bytes: every packet type and property as written in the standards, and every fault with its reason code.
//!
//! The vectors are readable files; this module reads them and runs each. Their form is explained in `connect.txt`.

use motte_mqtt::{Decoder, Encoder, ProtocolVersion, Sender};

use crate::bytes::{PACKET_SIZE_MAX, parse_bytes};

const ACCEPTED: [&str; 3] = [
    include_str!("../../vectors/connect.txt"),
    include_str!("../../vectors/publish.txt"),
    include_str!("../../vectors/subscribe.txt"),
];

const REFUSED: &str = include_str!("../../vectors/refused.txt");

#[derive(Debug)]
struct Vector<'a> {
    name: &'a str,
    sender: Sender,
    version: ProtocolVersion,
    bytes: Vec<u8>,
    writes: Vec<u8>,
    packet: &'a str,
    error: &'a str,
}

fn vectors(file: &str) -> Vec<Vector<'_>> {
    let mut found: Vec<Vector<'_>> = Vec::new();
    for line in file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            found.push(Vector {
                name: name.strip_suffix(']').unwrap(),
                sender: Sender::Client,
                version: ProtocolVersion::V5,
                bytes: Vec::new(),
                writes: Vec::new(),
                packet: "",
                error: "",
            });
            continue;
        }
        let vector = found.last_mut().unwrap();
        let (key, value) = line.split_once(": ").unwrap();
        match (key, value) {
            ("from", "client") => vector.sender = Sender::Client,
            ("from", "server") => vector.sender = Sender::Server,
            ("version", "5") => vector.version = ProtocolVersion::V5,
            ("version", "3.1.1") => vector.version = ProtocolVersion::V311,
            ("version", "3.1") => vector.version = ProtocolVersion::V31,
            ("bytes", bytes) => vector.bytes.extend(parse_bytes(bytes)),
            ("writes", bytes) => vector.writes.extend(parse_bytes(bytes)),
            ("packet", packet) => vector.packet = packet,
            ("error", error) => vector.error = error,
            _ => panic!("{}: {line}", vector.name),
        }
    }
    found
}

#[test]
fn accepted_vectors_read_as_written_and_are_written_as_read() {
    for vector in ACCEPTED.into_iter().flat_map(vectors) {
        let decoder = Decoder::new(vector.sender, vector.version, PACKET_SIZE_MAX);
        let (packet, len) = decoder.decode(&vector.bytes).expect(vector.name).expect(vector.name);
        assert_eq!(len, vector.bytes.len(), "{}", vector.name);
        assert_eq!(format!("{packet:?}"), vector.packet, "{}", vector.name);
        let mut written = Vec::new();
        Encoder::new(vector.version, PACKET_SIZE_MAX).encode(&packet, &mut written).expect(vector.name);
        let expected = if vector.writes.is_empty() { &vector.bytes } else { &vector.writes };
        assert_eq!(&written, expected, "{}", vector.name);
    }
}

#[test]
fn refused_vectors_are_refused_with_their_reason_code() {
    for vector in vectors(REFUSED) {
        let found = Decoder::new(vector.sender, vector.version, PACKET_SIZE_MAX).decode(&vector.bytes);
        let reason = found.map_err(|error| format!("0x{:02x}", error.reason().as_u8()));
        assert_eq!(reason.err().as_deref(), Some(vector.error), "{}", vector.name);
    }
}

/// A fault must be told no later than with its whole packet, and a prefix of it may never be taken for a packet.
#[test]
fn refused_vectors_are_not_accepted_when_they_arrive_byte_by_byte() {
    for vector in vectors(REFUSED) {
        let decoder = Decoder::new(vector.sender, vector.version, PACKET_SIZE_MAX);
        for end in 0..vector.bytes.len() {
            let found = decoder.decode(&vector.bytes[..end]);
            assert!(!matches!(found, Ok(Some(_))), "{} cut at {end}", vector.name);
        }
    }
}

#[test]
fn vector_names_are_unique() {
    let files = ACCEPTED.into_iter().chain([REFUSED]);
    let mut names: Vec<_> = files.flat_map(vectors).map(|vector| vector.name.to_owned()).collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
}

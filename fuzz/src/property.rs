//! Blocks of properties in each packet that has them, against a reader written from table 2-4 of MQTT 5.0.

use motte_mqtt::{Decoder, ProtocolVersion, Sender};

use crate::codec::{there_and_back, varint};

/// How a property is written.
#[derive(Clone, Copy)]
enum Form {
    Byte,
    Two,
    Four,
    Varint,
    Text,
    Binary,
    Pair,
}

/// A packet around a block: its name, first byte, sender, what stands before the block and behind it, and the
/// properties table 2-4 has for it.
struct Around {
    name: &'static str,
    first: u8,
    sender: Sender,
    before: &'static [u8],
    behind: &'static [u8],
    allowed: &'static [u8],
}

const PACKETS: [Around; 12] = [
    Around {
        name: "CONNECT",
        first: 0x10,
        sender: Sender::Client,
        before: b"\0\x04MQTT\x05\x02\0\0",
        behind: b"\0\0",
        allowed: &[17, 21, 22, 23, 25, 33, 34, 38, 39],
    },
    Around {
        name: "will",
        first: 0x10,
        sender: Sender::Client,
        before: b"\0\x04MQTT\x05\x06\0\0\0\0\0",
        behind: b"\0\x01w\0\0",
        allowed: &[1, 2, 3, 8, 9, 24, 38],
    },
    Around {
        name: "CONNACK",
        first: 0x20,
        sender: Sender::Server,
        before: b"\0\0",
        behind: b"",
        allowed: &[17, 18, 19, 21, 22, 26, 28, 31, 33, 34, 36, 37, 38, 39, 40, 41, 42],
    },
    Around {
        name: "PUBLISH of a client",
        first: 0x30,
        sender: Sender::Client,
        before: b"\0\x01t",
        behind: b"p",
        allowed: &[1, 2, 3, 8, 9, 35, 38],
    },
    Around {
        name: "PUBLISH of a server",
        first: 0x30,
        sender: Sender::Server,
        before: b"\0\x01t",
        behind: b"p",
        allowed: &[1, 2, 3, 8, 9, 11, 35, 38],
    },
    Around {
        name: "PUBACK",
        first: 0x40,
        sender: Sender::Client,
        before: b"\0\x01\x10",
        behind: b"",
        allowed: &[31, 38],
    },
    Around {
        name: "SUBSCRIBE",
        first: 0x82,
        sender: Sender::Client,
        before: b"\0\x01",
        behind: b"\0\x01f\0",
        allowed: &[11, 38],
    },
    Around {
        name: "SUBACK",
        first: 0x90,
        sender: Sender::Server,
        before: b"\0\x01",
        behind: b"\0",
        allowed: &[31, 38],
    },
    Around {
        name: "UNSUBSCRIBE",
        first: 0xA2,
        sender: Sender::Client,
        before: b"\0\x01",
        behind: b"\0\x01f",
        allowed: &[38],
    },
    Around {
        name: "DISCONNECT of a client",
        first: 0xE0,
        sender: Sender::Client,
        before: b"\0",
        behind: b"",
        allowed: &[17, 28, 31, 38],
    },
    Around {
        name: "DISCONNECT of a server",
        first: 0xE0,
        sender: Sender::Server,
        before: b"\x81",
        behind: b"",
        allowed: &[28, 31, 38],
    },
    Around {
        name: "AUTH",
        first: 0xF0,
        sender: Sender::Client,
        before: b"\x18",
        behind: b"",
        allowed: &[21, 22, 31, 38],
    },
];

/// A block that the decoder takes in a packet is one the table allows there.
pub fn block(data: &[u8]) {
    for around in &PACKETS {
        let mut body = around.before.to_vec();
        varint(data.len(), &mut body);
        body.extend_from_slice(data);
        body.extend_from_slice(around.behind);
        let mut packet = vec![around.first];
        varint(body.len(), &mut packet);
        packet.extend_from_slice(&body);
        let decoder = Decoder::new(around.sender, ProtocolVersion::V5, u32::MAX);
        let accepted = decoder.decode(&packet).is_ok_and(|found| found.is_some());
        let allowed = is_allowed(around, data);
        assert!(!accepted || allowed, "{}: taken against the table", around.name);
        // Single values have rules of their own beside the table (zeroes, topics), and AUTH asks for a method.
        if allowed && only_user_properties(data) && around.name != "AUTH" {
            assert!(accepted, "{}: refused against the table", around.name);
        }
        there_and_back(&packet, around.sender, ProtocolVersion::V5);
    }
}

fn is_allowed(around: &Around, mut block: &[u8]) -> bool {
    let mut seen = Vec::new();
    while let Some((&id, rest)) = block.split_first() {
        let several = id == 38 || (id == 11 && around.name == "PUBLISH of a server");
        if !around.allowed.contains(&id) || (seen.contains(&id) && !several) {
            return false;
        }
        seen.push(id);
        let Some(rest) = form(id).and_then(|form| skip(form, rest)) else { return false };
        block = rest;
    }
    true
}

fn only_user_properties(mut block: &[u8]) -> bool {
    while let Some((38, rest)) = block.split_first() {
        let Some(rest) = skip(Form::Pair, rest) else { return false };
        block = rest;
    }
    block.is_empty()
}

fn form(id: u8) -> Option<Form> {
    Some(match id {
        1 | 23 | 25 | 36 | 37 | 40 | 41 | 42 => Form::Byte,
        19 | 33 | 34 | 35 => Form::Two,
        2 | 17 | 24 | 39 => Form::Four,
        11 => Form::Varint,
        3 | 8 | 18 | 21 | 26 | 28 | 31 => Form::Text,
        9 | 22 => Form::Binary,
        38 => Form::Pair,
        _ => return None,
    })
}

fn skip(form: Form, bytes: &[u8]) -> Option<&[u8]> {
    match form {
        Form::Byte => bytes.get(1..),
        Form::Two => bytes.get(2..),
        Form::Four => bytes.get(4..),
        Form::Varint => {
            let end = bytes.iter().take(4).position(|byte| byte & 0x80 == 0)?;
            bytes.get(end + 1..)
        }
        Form::Binary => binary(bytes).map(|(_, rest)| rest),
        Form::Text => text(bytes),
        Form::Pair => text(text(bytes)?),
    }
}

fn text(bytes: &[u8]) -> Option<&[u8]> {
    let (field, rest) = binary(bytes)?;
    let text = std::str::from_utf8(field).ok()?;
    (!text.contains('\0')).then_some(rest)
}

fn binary(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*head)))
}

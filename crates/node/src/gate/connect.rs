//! The first packet: read whole, within a cap decided on its fixed header, and checked.
//!
//! Called by the gate. Buffers only bytes that arrived (K01), accepts nothing but CONNECT, and gives the error the
//! CONNACK that the peer's version has for it.

use std::fmt::Write as _;

use motte_audit::RefusalReason;
use motte_mqtt::{Connect, DecodeError, Decoder, Packet, ProtocolVersion, ReasonCode, Sender};
use motte_policy::ClientId;
use zeroize::Zeroizing;

use super::Refusal;
use super::visitor::Visitor;
use crate::settings::ListenerRules;
use crate::wire::WireError;

/// Longest client identifier in bytes.
const CLIENT_ID_BYTES_MAX: usize = 256;
/// First byte of every CONNECT: type 1, no flags.
const CONNECT: u8 = 0x10;

/// The bytes up to the end of the CONNECT, and what came behind it.
pub(super) struct FirstPacket {
    /// All bytes, wiped afterwards: a password is among them.
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// How many of them are the CONNECT.
    pub(super) length: usize,
}

/// Reads until one whole CONNECT is there.
pub(super) async fn read(visitor: &mut Visitor, bytes_max: u32) -> Result<FirstPacket, Refusal> {
    loop {
        if let Some(&first) = visitor.plain.first() {
            if first != CONNECT {
                let detail = String::from("the first packet is not a CONNECT");
                return Err(Refusal::silent(RefusalReason::BadConnect, detail));
            }
            if let Some((_, length)) = decode(&visitor.plain, bytes_max)? {
                return Ok(FirstPacket { bytes: Zeroizing::new(std::mem::take(&mut visitor.plain)), length });
            }
        }
        visitor.read_more().await.map_err(|error| {
            let reason = match error {
                WireError::Tls(_) => RefusalReason::TlsHandshake,
                WireError::WebSocket(_) | WireError::MessageTooLong | WireError::Io(_) => RefusalReason::BadConnect,
            };
            Refusal::silent(reason, format!("the connection ended before a whole CONNECT: {error}"))
        })?;
    }
}

/// The CONNECT in `bytes`, which holds exactly one.
pub(super) fn parse(bytes: &[u8], bytes_max: u32) -> Result<Connect<'_>, Refusal> {
    let Some((connect, _)) = decode(bytes, bytes_max)? else {
        return Err(Refusal::silent(RefusalReason::BadConnect, None));
    };
    Ok(connect)
}

/// Whether the listener speaks the version of the CONNECT.
pub(super) fn check_version(connect: &Connect<'_>, rules: &ListenerRules) -> Result<(), Refusal> {
    if rules.protocol_versions.contains(connect.version) {
        return Ok(());
    }
    let (reason, code) = (RefusalReason::ProtocolVersion, ReasonCode::UnsupportedProtocolVersion);
    Err(Refusal::answered(reason, connect.version, code))
}

fn decode(bytes: &[u8], bytes_max: u32) -> Result<Option<(Connect<'_>, usize)>, Refusal> {
    let decoder = Decoder::new(Sender::Client, ProtocolVersion::V5, bytes_max);
    match decoder.decode(bytes) {
        Ok(Some((Packet::Connect(connect), length))) => Ok(Some((connect, length))),
        Ok(Some(_)) => Err(Refusal::silent(RefusalReason::BadConnect, None)),
        Ok(None) => Ok(None),
        Err(error) => {
            let reason = match error {
                DecodeError::TooLarge => RefusalReason::ConnectTooLarge,
                DecodeError::UnsupportedVersion => RefusalReason::ProtocolVersion,
                _ => RefusalReason::BadConnect,
            };
            let answer = claimed_version(bytes).map(|version| (version, error.reason()));
            Err(Refusal { answer, ..Refusal::silent(reason, error.to_string()) })
        }
    }
}

/// The version a CONNECT claims, read off its first bytes even if the rest is no CONNECT. A level that is not spoken is
/// answered in the nearest version whose CONNACK its sender can be expected to read: a level with the high bit is how a
/// Mosquitto bridge speaking 3.x asks whether the other side is one too, and it goes on without the bit when told 0x01.
fn claimed_version(bytes: &[u8]) -> Option<ProtocolVersion> {
    let varint = bytes.get(1..)?.iter().take(4).position(|byte| byte & 0x80 == 0)? + 1;
    let header = bytes.get(1 + varint..)?;
    match header {
        [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', ..] => Some(ProtocolVersion::V31),
        [0, 4, b'M', b'Q', b'T', b'T', 5..0x80, ..] => Some(ProtocolVersion::V5),
        [0, 4, b'M', b'Q', b'T', b'T', _, ..] => Some(ProtocolVersion::V311),
        _ => None,
    }
}

/// The client identifier that will be used, and whether it was chosen here.
pub(super) fn client_id(
    connect: &Connect<'_>,
    rules: &ListenerRules,
    v31_characters_max: usize,
) -> Result<(ClientId, bool), Refusal> {
    let id = connect.client_id;
    let refused = || Refusal::answered(RefusalReason::ClientId, connect.version, ReasonCode::ClientIdNotValid);
    let ill_formed = id.len() > CLIENT_ID_BYTES_MAX || id.chars().any(char::is_control);
    let empty_is_wrong = match connect.version {
        ProtocolVersion::V31 => true,
        // Nobody could come back to a session under a name that was never told (MQTT-3.1.3-8 of 3.1.1).
        ProtocolVersion::V311 => !connect.clean_start || !rules.assign_client_ids,
        ProtocolVersion::V5 => !rules.assign_client_ids,
    };
    let too_long_for_v31 = connect.version == ProtocolVersion::V31 && id.chars().count() > v31_characters_max;
    if ill_formed || too_long_for_v31 || (id.is_empty() && empty_is_wrong) {
        return Err(refused());
    }
    if id.is_empty() {
        return Ok((ClientId(assigned()?.into()), true));
    }
    Ok((ClientId(id.into()), false))
}

/// A name nobody can guess, so that nobody else can come back to the session: 128 bits in base 32.
fn assigned() -> Result<String, Refusal> {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| Refusal::silent(RefusalReason::Overloaded, format!("no randomness: {error}")))?;
    let bits = u128::from_be_bytes(random);
    let mut id = String::from("auto-");
    for digit in (0..26).rev() {
        let index = usize::try_from((bits >> (digit * 5)) & 31).expect("five bits fit");
        id.write_char(char::from(ALPHABET[index])).expect("a string takes every character");
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use motte_mqtt::{Connect, ConnectProperties, ProtocolVersion};

    use super::{ListenerRules, assigned, claimed_version, client_id};

    fn connect(version: ProtocolVersion, clean_start: bool, client_id: &str) -> Connect<'_> {
        Connect {
            version,
            clean_start,
            keep_alive_s: 0,
            client_id,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties::default(),
        }
    }

    fn accepted(version: ProtocolVersion, clean_start: bool, id: &str) -> bool {
        client_id(&connect(version, clean_start, id), &ListenerRules::default(), 23).is_ok()
    }

    #[test]
    fn v31_client_ids_have_1_to_23_characters() {
        let v31 = ProtocolVersion::V31;
        assert!(!accepted(v31, true, ""));
        assert!(accepted(v31, true, "x"));
        assert!(accepted(v31, true, &"é".repeat(23)));
        assert!(!accepted(v31, true, &"x".repeat(24)));
    }

    #[test]
    fn v311_3_1_3_8_an_empty_client_id_needs_a_clean_session() {
        assert!(accepted(ProtocolVersion::V311, true, ""));
        assert!(!accepted(ProtocolVersion::V311, false, ""));
        assert!(accepted(ProtocolVersion::V5, false, ""));
    }

    #[test]
    fn client_ids_with_control_characters_or_over_256_bytes_are_refused() {
        assert!(!accepted(ProtocolVersion::V5, true, "a\nb"));
        assert!(!accepted(ProtocolVersion::V5, true, "a\u{85}b"));
        assert!(accepted(ProtocolVersion::V5, true, &"x".repeat(256)));
        assert!(!accepted(ProtocolVersion::V5, true, &"x".repeat(257)));
    }

    #[test]
    fn v5_3_1_3_6_an_assigned_client_id_is_unique_and_says_so() {
        let (first, second) = (assigned().unwrap(), assigned().unwrap());
        assert_ne!(first, second);
        assert!(first.starts_with("auto-") && first.len() == 31, "{first}");
        let (id, is_assigned) =
            client_id(&connect(ProtocolVersion::V5, true, ""), &ListenerRules::default(), 23).unwrap();
        assert!(is_assigned && id.0.starts_with("auto-"));
    }

    #[test]
    fn the_version_to_answer_in_is_read_off_a_broken_connect() {
        let with = |name: &[u8], level: u8| {
            let mut bytes = vec![0x10, 0xff, 0x01, 0, u8::try_from(name.len()).unwrap()];
            bytes.extend_from_slice(name);
            bytes.push(level);
            claimed_version(&bytes)
        };
        assert_eq!(with(b"MQTT", 5), Some(ProtocolVersion::V5));
        assert_eq!(with(b"MQTT", 6), Some(ProtocolVersion::V5));
        assert_eq!(with(b"MQTT", 4), Some(ProtocolVersion::V311));
        assert_eq!(with(b"MQTT", 0x84), Some(ProtocolVersion::V311));
        assert_eq!(with(b"MQIsdp", 3), Some(ProtocolVersion::V31));
        assert_eq!(with(b"HTTP", 5), None);
        assert_eq!(claimed_version(&[0x10, 0xff, 0xff, 0xff, 0xff]), None);
    }
}

//! Packets found by their fixed headers, and the few fields of a PUBLISH and of acknowledgements that a load needs.
//!
//! Called for every message, so it looks at no more than it must; whatever is not of the steady path goes through the
//! decoder of `motte-mqtt`. Never reads past the bytes it was given.

use motte_client::ConnectionLost;

use super::link::Ended;
use crate::cli::lost_connection;

/// Type of a PUBLISH in the high four bits of its first byte.
pub(crate) const PUBLISH: u8 = 3;
/// Type of a PUBACK.
pub(crate) const PUBACK: u8 = 4;
/// Type of a PUBREC.
pub(crate) const PUBREC: u8 = 5;
/// Type of a PUBREL.
pub(crate) const PUBREL: u8 = 6;
/// Type of a PUBCOMP.
pub(crate) const PUBCOMP: u8 = 7;
/// Type of a PINGRESP.
pub(crate) const PINGRESP: u8 = 13;

/// A whole packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// Type and flags.
    pub(crate) first: u8,
    /// What follows the fixed header.
    pub(crate) body: &'a [u8],
    /// The whole length.
    pub(crate) len: usize,
}

impl Frame<'_> {
    /// The type.
    pub(crate) fn kind(&self) -> u8 {
        self.first >> 4
    }
}

/// The packet at the front of `bytes`; `None` when it is not whole.
#[inline]
pub(crate) fn frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, Ended> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let mut body_len = 0_usize;
    for (index, &byte) in rest.iter().take(4).enumerate() {
        body_len |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let start = index + 2;
            let body = bytes.get(start..start + body_len);
            return Ok(body.map(|body| Frame { first, body, len: start + body_len }));
        }
    }
    if rest.len() >= 4 { Err(broken("remaining length takes more than four bytes")) } else { Ok(None) }
}

/// What a load looks at in a PUBLISH.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published<'a> {
    /// QoS.
    pub(crate) qos: u8,
    /// Packet identifier; zeros at QoS 0.
    pub(crate) id: [u8; 2],
    /// The message.
    pub(crate) payload: &'a [u8],
}

/// Looks into a PUBLISH.
#[inline]
pub(crate) fn published<'a>(frame: &Frame<'a>, is_v5: bool) -> Result<Published<'a>, Ended> {
    let short = || broken("a PUBLISH that is too short");
    let body = frame.body;
    let topic_len: [u8; 2] = *body.first_chunk().ok_or_else(short)?;
    let mut at = 2 + usize::from(u16::from_be_bytes(topic_len));
    let qos = (frame.first >> 1) & 3;
    let mut id = [0; 2];
    if qos > 0 {
        id = *body.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(short)?;
        at += 2;
    }
    if is_v5 {
        at += properties_len(body.get(at..).ok_or_else(short)?).ok_or_else(short)?;
    }
    Ok(Published { qos, id, payload: body.get(at..).ok_or_else(short)? })
}

/// The length of the properties with their own length.
#[inline]
fn properties_len(bytes: &[u8]) -> Option<usize> {
    let mut len = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        len |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some(len + index + 1);
        }
    }
    None
}

/// Packet identifier and reason code of PUBACK, PUBREC, PUBREL or PUBCOMP.
#[inline]
pub(crate) fn ack(frame: &Frame<'_>) -> Result<(u16, u8), Ended> {
    let id = frame.body.first_chunk().ok_or_else(|| broken("an acknowledgement that is too short"))?;
    Ok((u16::from_be_bytes(*id), frame.body.get(2).copied().unwrap_or(0)))
}

/// A packet that fills all the memory there is will never be whole.
pub(crate) fn check_room(room: usize) -> Result<(), Ended> {
    if room == 0 { Err(broken("a packet larger than any of this load")) } else { Ok(()) }
}

/// The broker broke the protocol.
pub(crate) fn broken(what: &str) -> Ended {
    Ended::Failed(lost_connection(&ConnectionLost::Protocol { what: what.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::{ack, frame, published};

    #[test]
    fn a_packet_is_found_when_it_is_whole() {
        let bytes = [0x32, 9, 0, 1, b't', 0, 7, 0, b'a', b'b', b'c', 0x40];
        for end in 0..11 {
            assert!(frame(&bytes[..end]).is_ok_and(|found| found.is_none()), "{end}");
        }
        let found = frame(&bytes).ok().flatten().expect("it is whole");
        assert_eq!((found.kind(), found.len), (3, 11));
        let publish = published(&found, true).expect("it is right");
        assert_eq!((publish.qos, publish.id, publish.payload), (1, [0, 7], &b"abc"[..]));
        let publish = published(&found, false).expect("it is right");
        assert_eq!(publish.payload, b"\0abc");
    }

    #[test]
    fn lies_about_lengths_are_found() {
        assert!(frame(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1]).is_err());
        let topic_too_long = frame(&[0x30, 3, 0, 9, b't']).ok().flatten().expect("it is whole");
        assert!(published(&topic_too_long, false).is_err());
        let properties_too_long = frame(&[0x30, 4, 0, 1, b't', 9]).ok().flatten().expect("it is whole");
        assert!(published(&properties_too_long, true).is_err());
        let no_identifier = frame(&[0x40, 1, 0]).ok().flatten().expect("it is whole");
        assert!(ack(&no_identifier).is_err());
    }

    #[test]
    fn an_acknowledgement_without_a_reason_is_a_success() {
        let found = frame(&[0x40, 2, 1, 2]).ok().flatten().expect("it is whole");
        assert!(ack(&found).is_ok_and(|pair| pair == (258, 0)));
        let found = frame(&[0x40, 4, 1, 2, 0x87, 0]).ok().flatten().expect("it is whole");
        assert!(ack(&found).is_ok_and(|pair| pair == (258, 0x87)));
    }
}

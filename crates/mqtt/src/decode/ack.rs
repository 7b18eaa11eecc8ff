//! PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT and AUTH: a reason code and a few properties, both optional.
//!
//! Called by the decoder.

use crate::decode::property::{self, NONE, Set, Value};
use crate::decode::reader::Reader;
use crate::decode::{DecodeError, Sender};
use crate::encode::AckKind;
use crate::packet::{Ack, Auth, Disconnect, PacketId, ProtocolVersion};
use crate::property::raw::id;
use crate::reason::ReasonCode;

/// The properties of the acknowledgements, SUBACK and UNSUBACK included.
pub(super) const ACK: Set = Set::of(&[id::REASON_STRING, id::USER]);

const DISCONNECT: Set = Set::of(&[id::SESSION_EXPIRY, id::REASON_STRING, id::USER, id::SERVER_REFERENCE]);

const AUTH: Set = Set::of(&[id::AUTHENTICATION_METHOD, id::AUTHENTICATION_DATA, id::REASON_STRING, id::USER]);

/// A reason code that `allowed` accepts; success when nothing is left.
fn reason(reader: &mut Reader<'_>, allowed: impl Fn(ReasonCode) -> bool) -> Result<ReasonCode, DecodeError> {
    let code = if reader.is_empty() { 0 } else { reader.byte()? };
    ReasonCode::from_u8(code)
        .filter(|reason| allowed(*reason))
        .ok_or(DecodeError::Protocol("reason code that this packet does not have"))
}

/// An acknowledgement of four bytes at the front of `bytes`, which says success in all versions and may come from
/// either side; `None` for whatever else is there.
pub(super) fn plain(bytes: &[u8]) -> Option<(AckKind, PacketId)> {
    let [first, 2, high, low, ..] = *bytes else { return None };
    let kind = match first {
        0x40 => AckKind::PubAck,
        0x50 => AckKind::PubRec,
        0x62 => AckKind::PubRel,
        0x70 => AckKind::PubComp,
        _ => return None,
    };
    Some((kind, PacketId::new(u16::from_be_bytes([high, low]))?))
}

/// The body of PUBACK, PUBREC, PUBREL or PUBCOMP. In 3.x it is the identifier alone, which the fixed header ensured.
pub(super) fn ack<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
    allowed: impl Fn(ReasonCode) -> bool,
) -> Result<Ack<'a>, DecodeError> {
    let mut ack = Ack::new(reader.packet_id()?, ReasonCode::Success);
    if version == ProtocolVersion::V5 {
        ack.reason = reason(reader, allowed)?;
        if !reader.is_empty() {
            let block = property::read(reader, ACK, NONE, |id, value| {
                if let (id::REASON_STRING, Value::Text(text)) = (id, value) {
                    ack.reason_string = Some(text);
                }
            })?;
            ack.user = block.user();
        }
    }
    Ok(ack)
}

/// The body of a DISCONNECT. In 3.x there is none, which the fixed header ensured.
pub(super) fn disconnect<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
    sender: Sender,
) -> Result<Disconnect<'a>, DecodeError> {
    let mut packet = Disconnect::new(ReasonCode::Success);
    if version != ProtocolVersion::V5 {
        return Ok(packet);
    }
    packet.reason = reason(reader, |reason| reason.is_for_disconnect_of(sender))?;
    if !reader.is_empty() {
        let block = property::read(reader, DISCONNECT, NONE, |id, value| match (id, value) {
            (id::SESSION_EXPIRY, Value::Long(seconds)) => packet.session_expiry_s = Some(seconds),
            (id::REASON_STRING, Value::Text(text)) => packet.reason_string = Some(text),
            (id::SERVER_REFERENCE, Value::Text(text)) => packet.server_reference = Some(text),
            _ => {}
        })?;
        packet.user = block.user();
    }
    if sender == Sender::Server && packet.session_expiry_s.is_some() {
        return Err(DecodeError::Protocol("session expiry interval in a DISCONNECT of a server"));
    }
    Ok(packet)
}

/// The body of an AUTH. Only the empty form, which means success, goes without a method.
pub(super) fn auth<'a>(reader: &mut Reader<'a>, sender: Sender) -> Result<Auth<'a>, DecodeError> {
    let empty = reader.is_empty();
    let reason = reason(reader, |reason| reason.is_for_auth_of(sender))?;
    let mut packet =
        Auth { reason, method: None, data: None, reason_string: None, user: property::Block::EMPTY.user() };
    if empty {
        return Ok(packet);
    }
    let block = property::read(reader, AUTH, NONE, |id, value| match (id, value) {
        (id::AUTHENTICATION_METHOD, Value::Text(method)) => packet.method = Some(method),
        (id::AUTHENTICATION_DATA, Value::Binary(data)) => packet.data = Some(data),
        (id::REASON_STRING, Value::Text(text)) => packet.reason_string = Some(text),
        _ => {}
    })?;
    packet.user = block.user();
    if packet.method.is_none() {
        return Err(DecodeError::Protocol("AUTH without an authentication method"));
    }
    Ok(packet)
}

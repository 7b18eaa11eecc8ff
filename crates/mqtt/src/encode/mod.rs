//! Packets to bytes; refuses what may not be sent.
//!
//! Called by broker and client. Appends to the caller's buffer and leaves it as it was on an error. A packet is
//! checked, then measured, then written once: the same code measures and writes, so no length can be wrong.

use thiserror::Error;

use crate::packet::{Packet, PacketId, ProtocolVersion, Publish};
use crate::wire::VARINT_MAX;

mod ack;
mod check;
mod connack;
mod connect;
mod copy;
mod publish;
mod sink;
mod subscribe;

pub use ack::AckKind;
pub use copy::PublishCopy;
use sink::{Sink, header_len};

/// Why a packet cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// Longer than the receiver's Maximum Packet Size, or than MQTT allows.
    #[error("packet larger than the receiver accepts")]
    TooLarge,
    /// A text or binary field is longer than 65,535 bytes.
    #[error("{0} is longer than 65,535 bytes")]
    FieldTooLong(&'static str),
    /// A text holds what MQTT forbids, or a topic holds a wildcard.
    #[error("{0} holds characters that MQTT does not allow there")]
    Text(&'static str),
    /// The packet or a reason code does not exist in this version, or not in this packet.
    #[error("{0} cannot be sent in this protocol version or packet")]
    NotAllowed(&'static str),
}

/// Writes packets for one connection.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    version: ProtocolVersion,
    packet_size_max: u32,
}

/// Which of the properties that only explain something are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Explain {
    reason_string: bool,
    user: bool,
}

impl Explain {
    const ALL: Self = Self { reason_string: true, user: true };
    /// What is tried in turn when the packet would be too large.
    const LESS: [Self; 3] = [
        Self { reason_string: true, user: false },
        Self { reason_string: false, user: true },
        Self { reason_string: false, user: false },
    ];
}

impl Encoder {
    /// An encoder for a connection of `version` whose receiver takes packets of up to `packet_size_max` bytes
    /// (`u32::MAX`: no limit but the protocol's own of 268,435,460). A CONNECT is encoded in the version it states.
    #[must_use]
    pub const fn new(version: ProtocolVersion, packet_size_max: u32) -> Self {
        Self { version, packet_size_max }
    }

    /// Appends `packet` to `out`. Reason strings and user properties of packets other than PUBLISH and CONNECT are left
    /// out when they alone would push the packet past the limit.
    ///
    /// # Errors
    /// When the packet may not be sent; `out` is as it was then.
    pub fn encode(&self, packet: &Packet<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if let Packet::Publish(publish) = packet {
            return self.publish(publish, out);
        }
        check::packet(packet, self.version)?;
        let explain = self.explain(packet)?;
        let len = body_len(packet, self.version, explain);
        self.header(first_byte(packet), len, out)?;
        body(packet, self.version, explain, out);
        Ok(())
    }

    /// Appends an acknowledgement of PUBLISH that says success and nothing else; the same as [`Encoder::encode`]
    /// without the packet.
    ///
    /// # Errors
    /// The receiver takes no packet of four bytes.
    pub fn acknowledge(&self, kind: AckKind, id: PacketId, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.packet_size_max < 4 {
            return Err(EncodeError::TooLarge);
        }
        let [high, low] = id.value().to_be_bytes();
        out.extend_from_slice(&[kind.first_byte(), 2, high, low]);
        Ok(())
    }

    /// Appends a PUBLISH to `out`; the same as [`Encoder::encode`] without the enum around it.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn publish(&self, packet: &Publish<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        check::publish(packet, self.version)?;
        self.forward(packet, out)
    }

    /// Appends a PUBLISH whose topic name came out of a decoder, or is empty beside an alias: it is not checked again.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn forward(&self, packet: &Publish<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        debug_assert!(check::publish(packet, self.version).is_ok(), "it was decoded");
        let properties_len = publish::properties_len(packet, self.version);
        self.header(publish::first_byte(packet), publish::body_len(packet, properties_len), out)?;
        publish::body(packet, properties_len, out);
        Ok(())
    }

    /// Writes the fixed header and makes room for the body, unless the packet would be too large.
    fn header(&self, first: u8, body_len: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let len = self.allowed(body_len)?;
        out.reserve(header_len(len) + body_len);
        out.byte(first);
        out.varint(len);
        Ok(())
    }

    /// The Remaining Length, when packet and receiver allow it.
    fn allowed(&self, body_len: usize) -> Result<u32, EncodeError> {
        let len = u32::try_from(body_len).ok().filter(|len| *len <= VARINT_MAX).ok_or(EncodeError::TooLarge)?;
        let whole = u32::try_from(header_len(len) + body_len).map_err(|_| EncodeError::TooLarge)?;
        if whole > self.packet_size_max { Err(EncodeError::TooLarge) } else { Ok(len) }
    }

    /// What fits of the explaining properties (MQTT-3.2.2-19, -20 and their like). CONNECT keeps all it has.
    fn explain(&self, packet: &Packet<'_>) -> Result<Explain, EncodeError> {
        let fits = |explain: &Explain| self.allowed(body_len(packet, self.version, *explain)).is_ok();
        if fits(&Explain::ALL) {
            return Ok(Explain::ALL);
        }
        if matches!(packet, Packet::Connect(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_)) {
            return Err(EncodeError::TooLarge);
        }
        Explain::LESS.into_iter().find(fits).ok_or(EncodeError::TooLarge)
    }
}

fn body_len(packet: &Packet<'_>, version: ProtocolVersion, explain: Explain) -> usize {
    sink::measure(|len| body(packet, version, explain, len))
}

/// Type and flags. SUBSCRIBE, UNSUBSCRIBE and PUBREL have flags of 0010 (MQTT-3.8.1-1, -3.10.1-1, -3.6.1-1).
const fn first_byte(packet: &Packet<'_>) -> u8 {
    match packet {
        Packet::Connect(_) => 0x10,
        Packet::ConnAck(_) => 0x20,
        Packet::Publish(packet) => publish::first_byte(packet),
        Packet::PubAck(_) => AckKind::PubAck.first_byte(),
        Packet::PubRec(_) => AckKind::PubRec.first_byte(),
        Packet::PubRel(_) => AckKind::PubRel.first_byte(),
        Packet::PubComp(_) => AckKind::PubComp.first_byte(),
        Packet::Subscribe(_) => 0x82,
        Packet::SubAck(_) => 0x90,
        Packet::Unsubscribe(_) => 0xA2,
        Packet::UnsubAck(_) => 0xB0,
        Packet::PingReq => 0xC0,
        Packet::PingResp => 0xD0,
        Packet::Disconnect(_) => 0xE0,
        Packet::Auth(_) => 0xF0,
    }
}

/// The body of a checked packet.
fn body(packet: &Packet<'_>, version: ProtocolVersion, explain: Explain, out: &mut impl Sink) {
    match packet {
        Packet::Connect(packet) => connect::body(packet, out),
        Packet::ConnAck(packet) => connack::body(packet, version, explain, out),
        Packet::Publish(packet) => publish::body(packet, publish::properties_len(packet, version), out),
        Packet::PubAck(packet) | Packet::PubRec(packet) | Packet::PubRel(packet) | Packet::PubComp(packet) => {
            ack::ack(packet, version, explain, out);
        }
        Packet::Subscribe(packet) => subscribe::subscribe(packet, version, out),
        Packet::SubAck(packet) => subscribe::suback(packet, version, explain, out),
        Packet::Unsubscribe(packet) => subscribe::unsubscribe(packet, version, out),
        Packet::UnsubAck(packet) => subscribe::unsuback(packet, version, explain, out),
        Packet::PingReq | Packet::PingResp => {}
        Packet::Disconnect(packet) => ack::disconnect(packet, version, explain, out),
        Packet::Auth(packet) => ack::auth(packet, explain, out),
    }
}

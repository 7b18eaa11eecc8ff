//! Packets to bytes; refuses what may not be sent.
//!
//! Called by broker and client. Appends to the caller's buffer and leaves it as it was on an error.

use thiserror::Error;

use crate::packet::{Packet, ProtocolVersion};

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

impl Encoder {
    /// An encoder for a connection of `version` whose receiver takes packets of up to `packet_size_max` bytes
    /// (`u32::MAX`: no limit but the protocol's own of 268,435,460). A CONNECT is encoded in the version it states.
    #[must_use]
    pub const fn new(version: ProtocolVersion, packet_size_max: u32) -> Self {
        Self { version, packet_size_max }
    }

    /// Appends `packet` to `out`. Reason strings and user properties of packets other than PUBLISH and CONNECT are left
    /// out when they alone would push the packet past the limit.
    pub fn encode(&self, packet: &Packet<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let _ = (packet, out, self.version, self.packet_size_max);
        todo!()
    }
}

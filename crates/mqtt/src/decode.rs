//! Bytes to packets: incremental, strict, without copies.
//!
//! Called by the broker for each turn's bytes and by the client. Never allocates, never panics, never reads past the
//! packet it was given.

use thiserror::Error;

use crate::packet::{Packet, ProtocolVersion};
use crate::reason::ReasonCode;

/// Who sent the bytes: some packets and properties are for one side only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Bytes a client sent; the reader is a server.
    Client,
    /// Bytes a server sent; the reader is a client.
    Server,
}

/// Why bytes are not a packet. The text is for logs and reason strings and holds nothing the peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes do not follow the format: reason code 0x81.
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    /// The bytes follow the format but are not allowed here: reason code 0x82.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// A CONNECT for a protocol or a level nobody here speaks: reason code 0x84.
    #[error("unsupported protocol version")]
    UnsupportedVersion,
    /// Longer than the limit; decided on the fixed header: reason code 0x95.
    #[error("packet too large")]
    TooLarge,
    /// A topic name that breaks the rules: reason code 0x90.
    #[error("invalid topic name: {0}")]
    TopicName(&'static str),
    /// A topic alias of 0: reason code 0x94.
    #[error("invalid topic alias")]
    TopicAlias,
}

impl DecodeError {
    /// The reason code for CONNACK or DISCONNECT.
    #[must_use]
    pub const fn reason(self) -> ReasonCode {
        match self {
            Self::Malformed(_) => ReasonCode::MalformedPacket,
            Self::Protocol(_) => ReasonCode::ProtocolError,
            Self::UnsupportedVersion => ReasonCode::UnsupportedProtocolVersion,
            Self::TooLarge => ReasonCode::PacketTooLarge,
            Self::TopicName(_) => ReasonCode::TopicNameInvalid,
            Self::TopicAlias => ReasonCode::TopicAliasInvalid,
        }
    }
}

/// Reads packets off the front of a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    sender: Sender,
    version: ProtocolVersion,
    packet_size_max: u32,
}

impl Decoder {
    /// A decoder for bytes of `sender` on a connection of `version`. A CONNECT states its own version and is decoded by
    /// it, whatever `version` is. `packet_size_max` counts the whole packet in bytes.
    #[must_use]
    pub const fn new(sender: Sender, version: ProtocolVersion, packet_size_max: u32) -> Self {
        Self { sender, version, packet_size_max }
    }

    /// The packet at the front of `bytes` and its whole length, or `None` when more bytes are needed. An error is
    /// reported as soon as the bytes that show it are there.
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> Result<Option<(Packet<'a>, usize)>, DecodeError> {
        let _ = (bytes, self.sender, self.version, self.packet_size_max);
        todo!()
    }
}

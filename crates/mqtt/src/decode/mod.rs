//! Bytes to packets: incremental, strict, without copies.
//!
//! Called by the broker for each turn's bytes and by the client. Never allocates, never panics, never reads past the
//! packet it was given.

use thiserror::Error;

use crate::encode::AckKind;
use crate::packet::{Packet, PacketId, ProtocolVersion};
use crate::reason::ReasonCode;

mod ack;
mod connack;
mod connect;
mod frame;
mod property;
mod publish;
mod reader;
mod subscribe;

use frame::{Frame, PacketType};
use reader::Reader;

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
    /// reported as soon as the bytes that show it are there: of an incomplete packet the fixed header is judged, and
    /// protocol name, level and flags of a CONNECT.
    ///
    /// # Errors
    /// When the bytes can never become an allowed packet. The connection is lost then (MQTT-4.13.1-1).
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> Result<Option<(Packet<'a>, usize)>, DecodeError> {
        self.decode_expecting(bytes, "")
    }

    /// The same for a reader that has seen many packets of the sender: a PUBLISH to `topic`, which was decoded before,
    /// is not checked for what a topic name may hold once more. Any other packet is decoded as ever.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub fn decode_expecting<'a>(
        &self,
        bytes: &'a [u8],
        topic: &'a str,
    ) -> Result<Option<(Packet<'a>, usize)>, DecodeError> {
        let Some(frame) = self.frame(bytes)? else { return Ok(None) };
        let Some(body) = bytes.get(frame.body_start..frame.end) else {
            if frame.packet_type == PacketType::Connect {
                connect::check_head(bytes.get(frame.body_start..).unwrap_or_default())?;
            }
            return Ok(None);
        };
        let packet = match frame.packet_type {
            PacketType::Publish => {
                publish::publish(Reader::new(body), frame.flags, (self.version, self.sender), topic)?
            }
            _ => self.body(frame, body)?,
        };
        Ok(Some((packet, frame.end)))
    }

    /// The acknowledgement at the front of `bytes`, if it is one of four bytes that says success and nothing else;
    /// [`Decoder::decode`] reads it as well, with more steps.
    #[must_use]
    pub fn plain_ack(&self, bytes: &[u8]) -> Option<(AckKind, PacketId)> {
        ack::plain(bytes).filter(|_| self.packet_size_max >= 4)
    }

    /// Whether the first byte of a connection begins a CONNECT; `None` when there is no byte yet. A server asks this
    /// before it waits for the rest of anything else (MQTT-3.1.0-1).
    #[must_use]
    pub fn begins_connect(bytes: &[u8]) -> Option<bool> {
        bytes.first().map(|first| first >> 4 == PacketType::Connect as u8)
    }

    /// The whole length in bytes of the packet at the front of `bytes`, or `None` when its fixed header is incomplete.
    /// Tells a reader how much to make room for.
    ///
    /// # Errors
    /// As [`Decoder::decode`] for the fixed header.
    pub fn packet_len(&self, bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
        Ok(self.frame(bytes)?.map(|frame| frame.end))
    }

    fn body<'a>(&self, frame: Frame, body: &'a [u8]) -> Result<Packet<'a>, DecodeError> {
        let (version, sender) = (self.version, self.sender);
        let mut reader = Reader::new(body);
        let packet = match frame.packet_type {
            PacketType::Publish => return publish::publish(reader, frame.flags, (version, sender), ""),
            PacketType::Connect => Packet::Connect(connect::connect(&mut reader)?),
            PacketType::ConnAck => Packet::ConnAck(connack::connack(&mut reader, version)?),
            PacketType::PubAck => Packet::PubAck(ack::ack(&mut reader, version, ReasonCode::is_for_puback)?),
            PacketType::PubRec => Packet::PubRec(ack::ack(&mut reader, version, ReasonCode::is_for_puback)?),
            PacketType::PubRel => Packet::PubRel(ack::ack(&mut reader, version, ReasonCode::is_for_pubrel)?),
            PacketType::PubComp => Packet::PubComp(ack::ack(&mut reader, version, ReasonCode::is_for_pubrel)?),
            PacketType::Subscribe => Packet::Subscribe(subscribe::subscribe(&mut reader, version)?),
            PacketType::SubAck => Packet::SubAck(subscribe::suback(&mut reader, version)?),
            PacketType::Unsubscribe => Packet::Unsubscribe(subscribe::unsubscribe(&mut reader, version)?),
            PacketType::UnsubAck => Packet::UnsubAck(subscribe::unsuback(&mut reader, version)?),
            PacketType::PingReq => Packet::PingReq,
            PacketType::PingResp => Packet::PingResp,
            PacketType::Disconnect => Packet::Disconnect(ack::disconnect(&mut reader, version, sender)?),
            PacketType::Auth => Packet::Auth(ack::auth(&mut reader, sender)?),
        };
        reader.finish()?;
        Ok(packet)
    }
}

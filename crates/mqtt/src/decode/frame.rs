//! The fixed header: packet type, flags, Remaining Length, and every rule that can be judged on them alone.
//!
//! Called by the decoder before any byte of the body is looked at, so that a packet that may not come, or is too
//! large, is refused without being buffered.

use crate::decode::{DecodeError, Decoder, Sender};
use crate::packet::ProtocolVersion;

/// The packet types (MQTT 5.0, table 2-1). Type 0 is forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    const fn from_first_byte(first: u8) -> Option<Self> {
        Some(match first >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// Whether `sender` may send packets of this type at all.
    fn is_from(self, sender: Sender, version: ProtocolVersion) -> bool {
        match self {
            Self::Connect | Self::Subscribe | Self::Unsubscribe | Self::PingReq => sender == Sender::Client,
            Self::ConnAck | Self::SubAck | Self::UnsubAck | Self::PingResp => sender == Sender::Server,
            Self::Disconnect => sender == Sender::Client || version == ProtocolVersion::V5,
            _ => true,
        }
    }

    /// The least and the greatest Remaining Length the format allows.
    const fn len_range(self, version: ProtocolVersion) -> (u32, u32) {
        let v5 = matches!(version, ProtocolVersion::V5);
        match self {
            // The version of a CONNECT is not known here; 10 bytes of header and an empty client identifier in 3.1.1.
            Self::Connect => (12, u32::MAX),
            Self::Publish => (2, u32::MAX),
            Self::ConnAck if v5 => (3, u32::MAX),
            Self::PubAck | Self::PubRec | Self::PubRel | Self::PubComp if v5 => (2, u32::MAX),
            Self::UnsubAck if v5 => (3, u32::MAX),
            Self::ConnAck | Self::PubAck | Self::PubRec | Self::PubRel | Self::PubComp | Self::UnsubAck => (2, 2),
            Self::Subscribe | Self::SubAck | Self::Unsubscribe => (2, u32::MAX),
            Self::Disconnect | Self::Auth if v5 => (0, u32::MAX),
            Self::PingReq | Self::PingResp | Self::Disconnect | Self::Auth => (0, 0),
        }
    }
}

/// A judged fixed header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) packet_type: PacketType,
    /// The low four bits of the first byte.
    pub(super) flags: u8,
    /// Where the body starts.
    pub(super) body_start: usize,
    /// The whole length of the packet.
    pub(super) end: usize,
}

impl Decoder {
    /// The fixed header at the front of `bytes`, or `None` when it is incomplete.
    pub(super) fn frame(&self, bytes: &[u8]) -> Result<Option<Frame>, DecodeError> {
        // Most packets are a PUBLISH of less than 128 bytes.
        if let [first @ (0x30..=0x35 | 0x3A..=0x3D), len @ 2..0x80, ..] = *bytes
            && u32::from(len) + 2 <= self.packet_size_max
        {
            let (packet_type, flags) = (PacketType::Publish, first & 0x0F);
            return Ok(Some(Frame { packet_type, flags, body_start: 2, end: 2 + usize::from(len) }));
        }
        let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
        let (packet_type, flags) = self.first_byte(*first)?;
        let mut len: u32 = 0;
        for (index, byte) in rest.iter().take(4).enumerate() {
            len |= u32::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                if *byte == 0 && index > 0 {
                    return Err(DecodeError::Malformed("remaining length is longer than it needs to be"));
                }
                let body_start = index + 2;
                let end = self.checked_end(packet_type, len, body_start)?;
                return Ok(Some(Frame { packet_type, flags, body_start, end }));
            }
        }
        if rest.len() >= 4 {
            return Err(DecodeError::Malformed("remaining length takes more than four bytes"));
        }
        Ok(None)
    }

    fn first_byte(&self, first: u8) -> Result<(PacketType, u8), DecodeError> {
        let Some(packet_type) = PacketType::from_first_byte(first) else {
            return Err(DecodeError::Malformed("packet type 0"));
        };
        let flags = first & 0x0F;
        let flags_ok = match packet_type {
            PacketType::Publish => {
                if flags & 0b0110 == 0b0110 {
                    return Err(DecodeError::Malformed("PUBLISH with QoS 3"));
                }
                if flags & 0b1110 == 0b1000 {
                    return Err(DecodeError::Malformed("PUBLISH with DUP at QoS 0"));
                }
                true
            }
            // MQTT 3.1 sets DUP on these when it repeats them.
            PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => {
                flags == 0b0010 || flags == 0b1010 && self.version == ProtocolVersion::V31
            }
            _ => flags == 0,
        };
        if !flags_ok {
            return Err(DecodeError::Malformed("reserved flags of the fixed header"));
        }
        if packet_type == PacketType::Auth && self.version != ProtocolVersion::V5 {
            return Err(DecodeError::Malformed("AUTH before MQTT 5.0"));
        }
        if !packet_type.is_from(self.sender, self.version) {
            return Err(DecodeError::Protocol("packet type that this side may not send"));
        }
        Ok((packet_type, flags))
    }

    /// The whole length of a packet, when the limit and its type allow it.
    fn checked_end(&self, packet_type: PacketType, len: u32, body_start: usize) -> Result<usize, DecodeError> {
        let (least, greatest) = packet_type.len_range(self.version);
        if len < least {
            return Err(DecodeError::Malformed("packet too short for its type"));
        }
        if len > greatest {
            return Err(DecodeError::Malformed("bytes left over after the end of the packet"));
        }
        let body_len = usize::try_from(len).map_err(|_| DecodeError::TooLarge)?;
        let end = body_start + body_len;
        if u32::try_from(end).is_ok_and(|end| end <= self.packet_size_max) {
            Ok(end)
        } else {
            Err(DecodeError::TooLarge)
        }
    }
}

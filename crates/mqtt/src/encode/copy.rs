//! A PUBLISH encoded once for many receivers.
//!
//! Called by whoever sends one message to many connections. Holds bytes of the last message only, and never decides
//! who may share them.

use super::sink::header_len;
use super::{EncodeError, Encoder, publish};
use crate::packet::{PacketId, ProtocolVersion, Publish};

/// The bytes of a PUBLISH, the same for all receivers but for the packet identifier.
#[derive(Debug, Default)]
pub struct PublishCopy {
    bytes: Vec<u8>,
    /// Where the packet identifier stands, if there is one.
    id_at: usize,
}

impl PublishCopy {
    /// Bytes of the packet.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a packet is never empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the bytes of `packet` in `version` in the place of those it had, whatever their receivers' limits.
    ///
    /// # Errors
    /// As [`Encoder::forward`]; the copy is not to be used then.
    pub fn encode(&mut self, packet: &Publish<'_>, version: ProtocolVersion) -> Result<(), EncodeError> {
        self.bytes.clear();
        Encoder::new(version, u32::MAX).forward(packet, &mut self.bytes)?;
        let body_len = publish::body_len(packet, publish::properties_len(packet, version));
        let header_len = header_len(u32::try_from(body_len).map_err(|_| EncodeError::TooLarge)?);
        self.id_at = header_len + 2 + packet.topic.len();
        Ok(())
    }
}

impl Encoder {
    /// Appends a copy to `out`, with the receiver's own packet identifier where the copy has one. The copy has to be of
    /// this encoder's version.
    ///
    /// # Errors
    /// The receiver does not take a packet of this size; `out` is as it was then.
    pub fn copy(&self, copy: &PublishCopy, id: Option<PacketId>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if u32::try_from(copy.bytes.len()).map_or(true, |len| len > self.packet_size_max) {
            return Err(EncodeError::TooLarge);
        }
        let start = out.len();
        out.extend_from_slice(&copy.bytes);
        if let Some(id) = id
            && let Some(place) = out.get_mut(start + copy.id_at..start + copy.id_at + 2)
        {
            place.copy_from_slice(&id.value().to_be_bytes());
        }
        Ok(())
    }

    /// The version it writes.
    #[must_use]
    pub const fn version(&self) -> ProtocolVersion {
        self.version
    }
}

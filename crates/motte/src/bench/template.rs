//! A PUBLISH encoded once, of which each message is a copy with its own number, and those numbers read again.
//!
//! Called for every message. The first 16 bytes of a payload say whose message it is, which, and when it was due.
#![allow(clippy::cast_possible_truncation, reason = "fields of a mark are cut out of its bits")]

use motte_mqtt::{
    Delivery, EncodeError, Encoder, ForwardedProperties, PacketId, ProtocolVersion, Publish, Qos, SubscriptionIds,
};

/// The least payload in bytes: mark and time.
pub(crate) const PAYLOAD_BYTES_MIN: usize = 16;
/// Bits of a message's number among those of its publisher.
const SEQUENCE_BITS: u32 = 36;
/// Bits of the publisher's number.
const PUBLISHER_BITS: u32 = 16;

/// What the payload says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Of which run: 12 bits.
    pub(crate) run: u16,
    /// Which publisher.
    pub(crate) publisher: u16,
    /// Which of its messages.
    pub(crate) sequence: u64,
    /// When it was due, in nanoseconds of the run.
    pub(crate) due_ns: u64,
}

impl Mark {
    /// The mark of a payload; `None` when it is too short to have one.
    #[inline]
    pub(crate) fn of(payload: &[u8]) -> Option<Self> {
        let word = u64::from_be_bytes(*payload.first_chunk()?);
        let due_ns = u64::from_be_bytes(*payload.get(8..)?.first_chunk()?);
        Some(Self {
            run: (word >> (SEQUENCE_BITS + PUBLISHER_BITS)) as u16,
            publisher: (word >> SEQUENCE_BITS) as u16,
            sequence: word & ((1 << SEQUENCE_BITS) - 1),
            due_ns,
        })
    }

    #[inline]
    fn word(self) -> u64 {
        let owner = u64::from(self.run) << PUBLISHER_BITS | u64::from(self.publisher);
        owner << SEQUENCE_BITS | self.sequence & ((1 << SEQUENCE_BITS) - 1)
    }
}

/// An encoded PUBLISH.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    id_at: Option<usize>,
    payload_at: usize,
}

impl Template {
    /// Encodes a PUBLISH of `size` bytes of payload; a payload too short for a mark has none.
    pub(crate) fn new(version: ProtocolVersion, topic: &str, qos: Qos, size: usize) -> Result<Self, EncodeError> {
        let id = PacketId::new(1).expect("1 is not 0");
        let delivery = match qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            Qos::AtLeastOnce => Delivery::AtLeastOnce { id, dup: false },
            Qos::ExactlyOnce => Delivery::ExactlyOnce { id, dup: false },
        };
        let payload: Vec<u8> = (0..size).map(|at| b'a' + (at % 26) as u8).collect();
        let publish = Publish {
            delivery,
            retain: false,
            topic,
            topic_alias: None,
            message_expiry_s: None,
            subscription_ids: SubscriptionIds::EMPTY,
            properties: ForwardedProperties::EMPTY,
            payload: &payload,
        };
        let mut bytes = Vec::new();
        Encoder::new(version, u32::MAX).publish(&publish, &mut bytes)?;
        let payload_at = bytes.len() - size;
        let properties = usize::from(version == ProtocolVersion::V5);
        let id_at = (qos != Qos::AtMostOnce).then_some(payload_at - properties - 2);
        Ok(Self { bytes, id_at, payload_at })
    }

    /// The length of a packet, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a message to `out`.
    #[inline]
    pub(crate) fn put(&self, out: &mut Vec<u8>, id: u16, mark: Mark) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let packet = &mut out[start..];
        if let Some(at) = self.id_at {
            packet[at..at + 2].copy_from_slice(&id.to_be_bytes());
        }
        if let Some(room) = packet[self.payload_at..].first_chunk_mut::<PAYLOAD_BYTES_MIN>() {
            room[..8].copy_from_slice(&mark.word().to_be_bytes());
            room[8..].copy_from_slice(&mark.due_ns.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use motte_mqtt::{Decoder, Packet, ProtocolVersion, Qos, Sender};

    use super::{Mark, Template};

    #[test]
    fn a_message_is_a_right_packet_with_its_own_mark() {
        for version in [ProtocolVersion::V5, ProtocolVersion::V311] {
            for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
                let template = Template::new(version, "a/b", qos, 20).expect("it can be encoded");
                let mark = Mark { run: 0xABC, publisher: 65_535, sequence: (1 << 36) - 1, due_ns: 123_456_789_000 };
                let mut out = Vec::new();
                template.put(&mut out, 513, mark);
                let decoder = Decoder::new(Sender::Client, version, 1000);
                let (packet, len) = decoder.decode(&out).expect("it is right").expect("it is whole");
                let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
                assert_eq!((len, publish.topic, publish.payload.len()), (template.len(), "a/b", 20));
                assert_eq!(publish.delivery.qos(), qos);
                assert_eq!(publish.delivery.id().map(|id| id.value()), (qos != Qos::AtMostOnce).then_some(513));
                assert_eq!(Mark::of(publish.payload), Some(mark));
            }
        }
    }

    #[test]
    fn a_short_payload_has_no_mark() {
        let template = Template::new(ProtocolVersion::V5, "t", Qos::AtMostOnce, 15).expect("it can be encoded");
        let mut out = Vec::new();
        template.put(&mut out, 0, Mark { run: 1, publisher: 1, sequence: 1, due_ns: 1 });
        assert!(out.ends_with(b"abcdefghijklmno"));
        assert_eq!(Mark::of(b"abcdefghijklmno"), None);
    }
}

//! A message encoded once for all who are given it alike.
//!
//! Held by the shard, switched on by `handle` while one message goes to several sessions, used by `session/deliver`.
//! Never outlives the message it was made from.

use motte_mqtt::{Delivery, Encoder, ProtocolVersion, Publish, PublishCopy};

/// What the bytes depend on beside the message: version, QoS and RETAIN.
type Kind = (ProtocolVersion, u8, bool);

/// The copies of one message.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// Where the payload of the message stands, while it is sent to several; it stands there alone.
    payload: Option<usize>,
    /// The first `used` are of this message, the others are kept for their memory.
    made: Vec<(Kind, PublishCopy)>,
    used: usize,
}

/// Memory of copies kept between messages.
const KEPT_BYTES_MAX: usize = 64 * 1024;

impl Copies {
    /// A message with this payload is given to so many sessions one after the other. Nobody shares an empty payload,
    /// which has no place of its own.
    pub(crate) fn begin(&mut self, payload: &[u8], receivers: usize) {
        self.used = 0;
        let pays = receivers > 1 && !payload.is_empty();
        self.payload = pays.then(|| payload.as_ptr().addr());
    }

    /// It has been given to all.
    pub(crate) fn end(&mut self) {
        self.payload = None;
        if self.made[..self.used].iter().any(|(_, copy)| copy.len() > KEPT_BYTES_MAX) {
            self.made.clear();
        }
        self.used = 0;
    }

    /// Appends the packet, if it is of the message that is being given to several; `None` when it has to be encoded on
    /// its own. Tells whether the receiver takes a packet of this size.
    pub(crate) fn write(&mut self, encoder: Encoder, packet: &Publish<'_>, out: &mut Vec<u8>) -> Option<bool> {
        if self.payload != Some(packet.payload.as_ptr().addr()) {
            return None;
        }
        let kind = match packet.delivery {
            Delivery::AtMostOnce => (encoder.version(), 0, packet.retain),
            Delivery::AtLeastOnce { dup: false, .. } => (encoder.version(), 1, packet.retain),
            Delivery::ExactlyOnce { dup: false, .. } => (encoder.version(), 2, packet.retain),
            Delivery::AtLeastOnce { .. } | Delivery::ExactlyOnce { .. } => return None,
        };
        let made = self.made[..self.used].iter().position(|(made, _)| *made == kind);
        let at = match made {
            Some(at) => at,
            None => self.make(kind, packet)?,
        };
        Some(encoder.copy(&self.made[at].1, packet.delivery.id(), out).is_ok())
    }

    fn make(&mut self, kind: Kind, packet: &Publish<'_>) -> Option<usize> {
        if self.used == self.made.len() {
            self.made.push((kind, PublishCopy::default()));
        }
        let (of, copy) = &mut self.made[self.used];
        copy.encode(packet, kind.0).ok()?;
        *of = kind;
        self.used += 1;
        Some(self.used - 1)
    }
}

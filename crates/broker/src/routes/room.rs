//! What a session tells the other shards about its room, so that a shared subscription can choose among its members.
//!
//! Written by the session, read by whoever chooses. It may be a moment old: the member's own shard looks again.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use motte_mqtt::Qos;

/// A connection stands.
const ONLINE: u8 = 1;
/// Its outbox has room.
const OUTBOX: u8 = 2;
/// A QoS 1 or 2 message would be sent at once.
const WINDOW: u8 = 4;
/// The queue has room.
const QUEUE: u8 = 8;

/// How well a session can take a message; the better, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Readiness {
    /// It would have to drop the message.
    Full,
    /// It has no connection and would keep the message until it has one.
    Away,
    /// It is online, and the message would wait for acknowledgements or for the transport.
    Busy,
    /// It would send the message at once.
    Ready,
}

/// Room of a session.
#[derive(Debug)]
pub(crate) struct Room {
    bits: AtomicU8,
    /// Bytes of the largest packet its client takes (MQTT-3.1.2-24).
    packet_bytes_max: AtomicU32,
}

impl Default for Room {
    fn default() -> Self {
        Self { bits: AtomicU8::new(0), packet_bytes_max: AtomicU32::new(u32::MAX) }
    }
}

impl Room {
    /// The same room, told by another from now on.
    pub(crate) fn copied(&self) -> Self {
        Self {
            bits: AtomicU8::new(self.bits.load(Ordering::Acquire)),
            packet_bytes_max: AtomicU32::new(self.packet_bytes_max.load(Ordering::Acquire)),
        }
    }

    /// Tells how things are for a session with a connection or without.
    pub(crate) fn tell(&self, online: bool, outbox: bool, window: bool, queue: bool) {
        let bit = |is: bool, bit: u8| if is { bit } else { 0 };
        let bits = bit(online, ONLINE) | bit(outbox, OUTBOX) | bit(window, WINDOW) | bit(queue, QUEUE);
        // Most messages change nothing, and a write would take the line from the shards that read it.
        if self.bits.load(Ordering::Relaxed) != bits {
            self.bits.store(bits, Ordering::Release);
        }
    }

    /// Tells how large packets may be; a session without a connection does not know and waits for anything.
    pub(crate) fn tell_packet_size(&self, bytes_max: u32) {
        self.packet_bytes_max.store(bytes_max, Ordering::Release);
    }

    /// How well a message of `qos` can be taken that makes a packet of at most `packet_bytes`. One that may be too
    /// large is better given to another member (MQTT 5.0, section 3.1.2.11.4).
    pub(crate) fn readiness(&self, qos: Qos, packet_bytes: usize) -> Readiness {
        if u32::try_from(packet_bytes).is_ok_and(|bytes| bytes > self.packet_bytes_max.load(Ordering::Acquire)) {
            return Readiness::Full;
        }
        let bits = self.bits.load(Ordering::Acquire);
        let has = |asked: u8| bits & asked == asked;
        if qos == Qos::AtMostOnce {
            // QoS 0 does not wait: it goes out at once or is dropped.
            return if has(ONLINE | OUTBOX) { Readiness::Ready } else { Readiness::Full };
        }
        match (has(ONLINE), has(OUTBOX | WINDOW), has(QUEUE)) {
            (true, true, _) => Readiness::Ready,
            (true, false, true) => Readiness::Busy,
            (false, _, true) => Readiness::Away,
            (_, _, false) => Readiness::Full,
        }
    }
}

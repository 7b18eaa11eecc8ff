//! What a session tells the other shards about its room, so that a shared subscription can choose among its members.
//!
//! Written by the session, read by whoever chooses. It may be a moment old: the member's own shard looks again.

use std::sync::atomic::{AtomicU8, Ordering};

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
#[derive(Debug, Default)]
pub(crate) struct Room(AtomicU8);

impl Room {
    /// Tells how things are for a session with a connection or without.
    pub(crate) fn tell(&self, online: bool, outbox: bool, window: bool, queue: bool) {
        let bit = |is: bool, bit: u8| if is { bit } else { 0 };
        let bits = bit(online, ONLINE) | bit(outbox, OUTBOX) | bit(window, WINDOW) | bit(queue, QUEUE);
        // Most messages change nothing, and a write would take the line from the shards that read it.
        if self.0.load(Ordering::Relaxed) != bits {
            self.0.store(bits, Ordering::Release);
        }
    }

    /// How well a message of `qos` can be taken.
    pub(crate) fn readiness(&self, qos: Qos) -> Readiness {
        let bits = self.0.load(Ordering::Acquire);
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

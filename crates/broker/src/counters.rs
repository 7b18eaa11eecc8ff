//! What a shard counts: plain numbers, added to where the thing happens and read at any time.
//!
//! Held by the shard's core, written by `handle`, `link` and `session`. Shared with nobody: other shards are told in a
//! letter.

use std::ops::AddAssign;

use motte_mqtt::SubscriptionFilter;

/// Counts since start, and what is there now. `routed = sent + queued + dropped + withheld` holds after each call, per
/// shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Links now.
    pub links: u64,
    /// Sessions now, online or not.
    pub sessions: u64,
    /// Sessions that ended because nobody came back in time.
    pub expired: u64,
    /// Subscriptions now, without the shared ones.
    pub subscriptions: u64,
    /// Shared subscriptions now.
    pub subscriptions_shared: u64,
    /// PUBLISH packets accepted from clients.
    pub received: u64,
    /// Among them, PUBLISH packets refused because a queue was full.
    pub refused: u64,
    /// Deliveries owed: one for each message and target, with wills and retained replays. A message that another member
    /// of its group takes over before it was sent is counted with that member and no longer here.
    pub routed: u64,
    /// Messages written to links, each once however often it is repeated; a message larger than the client accepts
    /// counts here as well (MQTT-3.1.2-25).
    pub sent: u64,
    /// Messages waiting for sessions now.
    pub queued: u64,
    /// Bytes of topics, payloads and properties of those.
    pub queued_bytes: u64,
    /// Messages not given to a target because a limit was reached, time ran out, or the session ended or was offline
    /// at QoS 0.
    pub dropped: u64,
    /// Deliveries not made because policy denies them.
    pub withheld: u64,
    /// Wills published without being kept for sessions that are owed them, because there was no room.
    pub unkept: u64,
    /// Publishes and deliveries denied by policy.
    pub denied: u64,
    /// Packets from clients behind their CONNECT.
    pub incoming: Traffic,
    /// Packets to clients.
    pub outgoing: Traffic,
}

impl Counters {
    /// A message of `bytes` bytes waits for a session.
    pub(crate) fn wait(&mut self, bytes: u64) {
        self.queued += 1;
        self.queued_bytes += bytes;
    }

    /// It was taken out of the queue.
    pub(crate) fn wait_no_more(&mut self, bytes: u64) {
        self.queued -= 1;
        self.queued_bytes -= bytes;
    }

    /// The counter of a filter: shared subscriptions have their own.
    pub(crate) fn subscriptions_of(&mut self, filter: &SubscriptionFilter<'_>) -> &mut u64 {
        if filter.share.is_some() { &mut self.subscriptions_shared } else { &mut self.subscriptions }
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.links += other.links;
        self.sessions += other.sessions;
        self.expired += other.expired;
        self.subscriptions += other.subscriptions;
        self.subscriptions_shared += other.subscriptions_shared;
        self.received += other.received;
        self.refused += other.refused;
        self.routed += other.routed;
        self.sent += other.sent;
        self.queued += other.queued;
        self.queued_bytes += other.queued_bytes;
        self.dropped += other.dropped;
        self.withheld += other.withheld;
        self.unkept += other.unkept;
        self.denied += other.denied;
        self.incoming += other.incoming;
        self.outgoing += other.outgoing;
    }
}

/// Whole packets in one direction since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets of each type, by its number in the fixed header (MQTT 5.0 §2.1.2).
    pub packets: [u64; 16],
    /// Bytes of all packets.
    pub bytes: u64,
    /// Bytes of the payloads of PUBLISH packets.
    pub payload_bytes: u64,
}

impl Traffic {
    /// Counts one packet, which begins with `first` and has `bytes` bytes in all.
    pub fn count(&mut self, first: u8, bytes: usize) {
        self.packets[usize::from(first >> 4)] += 1;
        self.bytes += bytes as u64;
    }

    /// Packets of all types.
    #[must_use]
    pub fn packets_all(&self) -> u64 {
        self.packets.iter().sum()
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        for (own, other) in self.packets.iter_mut().zip(other.packets) {
            *own += other;
        }
        self.bytes += other.bytes;
        self.payload_bytes += other.payload_bytes;
    }
}

//! One shard: all sessions whose client ids live here, single-threaded.
//!
//! Called by `node/worker` with facts (bytes came, a link is gone, time passed); answers into [`Effects`]. Never blocks.

use std::sync::Arc;

use motte_audit::CloseCause;

use crate::admission::Admission;
use crate::effects::{Effects, Letter};
use crate::journal::Journal;
use crate::limits::Limits;
use crate::shared::Shared;

/// Milliseconds on a monotonic clock that starts with the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

/// A shard of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// An online connection; unique within its shard for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Counts since start. published = delivered + queued + dropped holds per target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Links now.
    pub links: u64,
    /// Sessions now, online or not.
    pub sessions: u64,
    /// PUBLISH packets accepted from clients.
    pub received: u64,
    /// Messages written to links.
    pub sent: u64,
    /// Messages not given to a target because a limit was reached.
    pub dropped: u64,
    /// Publishes and deliveries denied by policy.
    pub denied: u64,
}

/// The shard where a client id lives, of `shards` in all. Stable over restarts; not chosen by peers to hurt one shard
/// more than counting already allows, because admission is by identity.
#[must_use]
pub fn home(client_id: &str, shards: u16) -> ShardId {
    let _ = (client_id, shards);
    todo!()
}

/// A shard.
#[derive(Debug)]
pub struct Shard<J> {
    journal: J,
}

impl<J: Journal> Shard<J> {
    /// An empty shard.
    #[must_use]
    pub fn new(id: ShardId, shared: Arc<Shared>, limits: Limits, journal: J) -> Self {
        let _ = (id, shared, limits);
        Self { journal }
    }

    /// Takes an admitted connection in: takeover, clean start, CONNACK, redelivery. If the session belongs to another
    /// identity the link is answered 0x85, closed and forgotten (K25).
    pub fn admit(&mut self, link: LinkId, admission: Admission, now: Millis, fx: &mut impl Effects) {
        let _ = (link, admission, now, fx, &self.journal);
        todo!()
    }

    /// Handles all whole packets at the front of `bytes` and tells how many bytes they took; the caller keeps the rest
    /// and comes back with more behind it. After a protocol error the link is closed through `fx` and all bytes count
    /// as taken.
    pub fn on_bytes(&mut self, link: LinkId, bytes: &[u8], now: Millis, fx: &mut impl Effects) -> usize {
        let _ = (link, bytes, now, fx);
        todo!()
    }

    /// The outbox of a link has been written: what waited for room goes out.
    pub fn on_drained(&mut self, link: LinkId, now: Millis, fx: &mut impl Effects) {
        let _ = (link, now, fx);
        todo!()
    }

    /// The transport of a link ended without a DISCONNECT. The will is due.
    pub fn on_lost(&mut self, link: LinkId, cause: CloseCause, now: Millis, fx: &mut impl Effects) {
        let _ = (link, cause, now, fx);
        todo!()
    }

    /// A letter from another shard.
    pub fn on_letter(&mut self, letter: Letter, now: Millis, fx: &mut impl Effects) {
        let _ = (letter, now, fx);
        todo!()
    }

    /// The journal got further: acknowledgements that waited leave.
    pub fn on_durable(&mut self, now: Millis, fx: &mut impl Effects) {
        let _ = (now, fx);
        todo!()
    }

    /// When [`Shard::on_timer`] wants to be called next; `None` when nothing waits for time.
    #[must_use]
    pub fn next_timer(&self) -> Option<Millis> {
        todo!()
    }

    /// Time passed: keep alive, will delay, session and message expiry.
    pub fn on_timer(&mut self, now: Millis, fx: &mut impl Effects) {
        let _ = (now, fx);
        todo!()
    }

    /// A new policy is in force: live links, subscriptions, queues and wills are judged again.
    pub fn on_policy_changed(&mut self, now: Millis, fx: &mut impl Effects) {
        let _ = (now, fx);
        todo!()
    }

    /// Ends a link on somebody's order (a user was removed): DISCONNECT with 0x87 or 0x98 for 5.0.
    pub fn disconnect(&mut self, link: LinkId, cause: CloseCause, now: Millis, fx: &mut impl Effects) {
        let _ = (link, cause, now, fx);
        todo!()
    }

    /// The node stops: 5.0 clients get DISCONNECT 0x8B, all links are closed, wills of those sessions are not lost: they
    /// fire as for a lost connection.
    pub fn stop(&mut self, now: Millis, fx: &mut impl Effects) {
        let _ = (now, fx);
        todo!()
    }

    /// Counts.
    #[must_use]
    pub fn counters(&self) -> Counters {
        todo!()
    }
}

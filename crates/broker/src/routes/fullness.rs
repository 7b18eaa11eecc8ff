//! Which routes lead to a queue that is full, or to a session that messages are kept for, known to every publisher at
//! the cost of one comparison.
//!
//! Written by sessions whose queues become full or have room again, and by those that come to outlive their connection
//! or cease to, read by `handle/publish`. It may be a moment old:
//! what is under way then is still taken.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts up whenever a queue becomes full or is so no longer, and whenever a session that may have subscriptions comes
/// to outlive its connection or ceases to.
#[derive(Debug, Default)]
pub(crate) struct Fullness {
    changes: AtomicU64,
}

impl Fullness {
    /// A session has told in its facts what it has to tell.
    pub(crate) fn on_change(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// How often that was.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}

/// Whether a route leads to a full queue, as it was found after a number of changes.
#[derive(Debug)]
pub(super) struct Found(AtomicU64);

impl Default for Found {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Found {
    /// What was found after as many changes, or is found now.
    pub(super) fn or_find(&self, changes: u64, find: impl FnOnce() -> bool) -> bool {
        let found = self.0.load(Ordering::Relaxed);
        if found >> 1 == changes {
            return found & 1 == 1;
        }
        let is_full = find();
        self.0.store(changes << 1 | u64::from(is_full), Ordering::Relaxed);
        is_full
    }
}

//! The journal of one shard: collects the records of a turn and hands them over to the keeper.
//!
//! Owned by a shard's thread. Never waits for the keeper or the disk.

use motte_broker::restore::Fetch;
use motte_broker::{Journal, JournalState, Millis, Position, Record};

/// Where a shard writes its records.
#[derive(Debug)]
pub struct ShardJournal {
    end: Position,
}

impl ShardJournal {
    /// The journal of durability mode `memory`: it keeps nothing, and every position counts as durable at once. What
    /// acknowledgements promise ends with the process.
    #[must_use]
    pub fn memory() -> Self {
        Self { end: Position(0) }
    }

    /// Hands everything that was appended since the last time over as one batch, durable as a whole or not at all.
    /// Called at the end of each turn, before letters of the turn are posted to other shards.
    pub fn hand_over(&mut self, now: Millis) {
        let _ = now;
    }

    /// Bytes that this shard handed over and that are not durable yet. Reading of publishers is paused above a limit.
    #[must_use]
    pub fn backlog_bytes(&self) -> usize {
        0
    }
}

impl Journal for ShardJournal {
    fn append(&mut self, record: &Record<'_>) -> Position {
        let _ = record;
        self.end.0 += 1;
        self.end
    }

    fn durable(&self) -> Position {
        self.end
    }

    fn state(&self) -> JournalState {
        JournalState::Ready
    }

    fn reads_back(&self) -> bool {
        false
    }

    fn fetch(&mut self, fetch: Fetch) {
        let _ = fetch;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_memory_every_record_is_durable_at_once() {
        let mut journal = ShardJournal::memory();
        for count in 1..=3 {
            let position = journal.append(&Record::SessionClosed { client_id: "c" });
            assert_eq!((position, journal.durable()), (Position(count), Position(count)));
        }
        assert!(!journal.reads_back());
        assert_eq!(journal.backlog_bytes(), 0);
    }
}

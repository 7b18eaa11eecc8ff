//! The journal of a node without durable storage: it counts, and promises nothing beyond the life of the process.
//!
//! Used by the shard workers in durability mode `memory`, which the log names at every start. Writes nothing anywhere.

use motte_broker::{Journal, Position, Record};

/// A journal that keeps nothing: what the process holds in memory is all there is, and every position counts as
/// reached.
#[derive(Debug, Default)]
pub(crate) struct MemoryJournal {
    end: Position,
}

impl Journal for MemoryJournal {
    fn append(&mut self, _record: &Record<'_>) -> Position {
        self.end = Position(self.end.0 + 1);
        self.end
    }

    fn durable(&self) -> Position {
        self.end
    }
}

//! The journal of a simulated shard: records become durable when the world says so.
//!
//! Owned by the shards of the world. It counts records and keeps none; a journal that can be torn and read again
//! belongs in its place.

use motte_broker::{Journal, Position, Record};

/// The journal.
#[derive(Debug, Default)]
pub(crate) struct SimJournal {
    end: Position,
    durable: Position,
    /// Whether records wait for [`SimJournal::commit`].
    lags: bool,
}

impl SimJournal {
    pub(crate) fn new(lags: bool) -> Self {
        Self { lags, ..Self::default() }
    }

    /// Makes everything durable; tells whether there was anything.
    pub(crate) fn commit(&mut self) -> bool {
        let had_more = self.durable < self.end;
        self.durable = self.end;
        had_more
    }
}

impl Journal for SimJournal {
    fn append(&mut self, _record: &Record<'_>) -> Position {
        self.end = Position(self.end.0 + 1);
        if !self.lags {
            self.durable = self.end;
        }
        self.end
    }

    fn durable(&self) -> Position {
        self.durable
    }
}

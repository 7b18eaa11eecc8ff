//! The journal of a shard, with what was last written to it.
//!
//! Held by the shard. Adds nothing to what the journal promises. Whether it can keep its promises is asked once for
//! each call into the shard: what was accepted because there was room is written down, though there be none by then.

use crate::journal::{Journal, JournalState, Position, Record};
use crate::restore::Fetch;

/// A journal and the position of its last record.
#[derive(Debug)]
pub(crate) struct Recorder<J> {
    pub(crate) journal: J,
    last: Option<Position>,
    /// What the journal said when the call into the shard began.
    state: JournalState,
}

impl<J: Journal> Recorder<J> {
    pub(crate) fn new(journal: J) -> Self {
        let state = journal.state();
        Self { journal, last: None, state }
    }

    /// A call into the shard begins.
    pub(crate) fn begin(&mut self) {
        self.state = self.journal.state();
    }

    /// The position of the last record, be it of an earlier run.
    pub(crate) fn end(&self) -> Position {
        self.journal.durable().max(self.last.unwrap_or_default())
    }

    /// The position of the last record of this run: what is durable up to here is everything this shard has told.
    pub(crate) fn last(&self) -> Option<Position> {
        self.last
    }
}

impl<J: Journal> Journal for Recorder<J> {
    fn append(&mut self, record: &Record<'_>) -> Position {
        let position = self.journal.append(record);
        self.last = Some(position);
        position
    }

    fn durable(&self) -> Position {
        self.journal.durable()
    }

    fn state(&self) -> JournalState {
        self.state
    }

    fn reads_back(&self) -> bool {
        self.journal.reads_back()
    }

    fn fetch(&mut self, fetch: Fetch) {
        self.journal.fetch(fetch);
    }
}

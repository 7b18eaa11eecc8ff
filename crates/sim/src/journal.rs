//! The journal of a simulated shard: records become durable when the world says so, and what was not is lost in a
//! crash.
//!
//! Owned by the shards of the world, which takes out what each turn appended and hands it to the one keeper of all
//! shards. Never judges a record.

mod entry;
mod keeper;
mod kept;
mod lie;
mod real;

use std::sync::Arc;

use motte_broker::{Fetch, Journal, Millis, Position, Record, ShardId};
use motte_store::ShardJournal;

pub(crate) use entry::Entry;
pub(crate) use keeper::{Keeper, Lost};
pub(crate) use kept::Kept;

/// How the journals of a run behave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Habits {
    /// Records become durable some time after they were written.
    pub(crate) lags: bool,
    /// Records are kept, for a run in which the broker crashes.
    pub(crate) keeps: bool,
    /// Messages can be fetched.
    pub(crate) reads_back: bool,
}

/// What one call into a shard appended.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) shard: ShardId,
    /// Position of the last record.
    pub(crate) end: Position,
    pub(crate) entries: Vec<(Position, Entry)>,
    pub(crate) fetches: Vec<Fetch>,
}

/// The journal.
#[derive(Debug)]
pub(crate) struct SimJournal {
    shard: ShardId,
    end: Position,
    durable: Position,
    habits: Habits,
    /// Where the batch under way begins.
    begun: Position,
    entries: Vec<(Position, Entry)>,
    fetches: Vec<Fetch>,
    /// The journal of the real store, told the same.
    real: Option<ShardJournal>,
}

impl SimJournal {
    /// A journal that goes on behind `end`.
    pub(crate) fn new(shard: ShardId, end: Position, habits: Habits, real: Option<ShardJournal>) -> Self {
        Self { shard, end, durable: end, habits, begun: end, entries: Vec::new(), fetches: Vec::new(), real }
    }

    /// What was appended since the last time, if anything was.
    pub(crate) fn take_batch(&mut self, now: Millis) -> Option<Batch> {
        if self.begun == self.end && self.fetches.is_empty() {
            return None;
        }
        self.begun = self.end;
        if let Some(real) = &mut self.real {
            real.hand_over(now);
        }
        let (entries, fetches) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.fetches));
        Some(Batch { shard: self.shard, end: self.end, entries, fetches })
    }

    /// Everything up to here survives a crash.
    pub(crate) fn on_durable(&mut self, durable: Position) {
        self.durable = self.durable.max(durable);
        let real = self.real.as_ref().map(Journal::durable);
        assert!(
            real.is_none_or(|real| real == self.durable),
            "{:?} is durable: {:?}, {real:?}",
            self.shard,
            self.durable
        );
    }
}

impl Journal for SimJournal {
    fn append(&mut self, record: &Record<'_>) -> Position {
        self.end = Position(self.end.0 + 1);
        let real = self.real.as_mut().map(|real| real.append(record));
        assert!(real.is_none_or(|real| real == self.end), "{:?} goes on at {:?}, {real:?}", self.shard, self.end);
        if self.habits.keeps {
            self.entries.push((self.end, Entry::new(record)));
        }
        if !self.habits.lags {
            self.durable = self.end;
        }
        self.end
    }

    fn durable(&self) -> Position {
        self.durable
    }

    fn reads_back(&self) -> bool {
        self.habits.reads_back
    }

    fn fetch(&mut self, fetch: Fetch) {
        if let Some(real) = &mut self.real {
            let Fetch { session, client_id, origins } = &fetch;
            real.fetch(Fetch { session: *session, client_id: Arc::clone(client_id), origins: origins.clone() });
        }
        self.fetches.push(fetch);
    }
}

//! The one queue behind the journals of all shards: whole turns, in the order they were made, durable from the front.
//!
//! Held by the world, which says when a commit happens and when the broker crashes. A turn is kept wholly or not at
//! all.

use std::collections::{BTreeMap, VecDeque};

use motte_broker::{Fetched, Position, ShardId};

use super::{Batch, Kept};
use crate::ledger::Snapshot;

/// A turn that is not durable, and the books as they were before it.
#[derive(Debug)]
struct Waiting {
    batch: Batch,
    before: Option<Box<Snapshot>>,
}

/// The keeper.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    /// What survives.
    pub(crate) kept: Kept,
    waiting: VecDeque<Waiting>,
    /// Turns that are durable, counted over the run.
    committed: u64,
    ends: BTreeMap<ShardId, Position>,
    /// Answers to fetches that can be given.
    answers: VecDeque<(ShardId, Fetched)>,
}

/// What a crash leaves behind.
#[derive(Debug)]
pub(crate) struct Lost {
    /// The books as they were before the first turn that is lost; `None` when nothing is.
    pub(crate) before: Option<Box<Snapshot>>,
}

impl Keeper {
    /// Takes a turn; tells its number, which is durable once that many are.
    pub(crate) fn hand_over(&mut self, batch: Batch, before: Option<Box<Snapshot>>) -> u64 {
        self.waiting.push_back(Waiting { batch, before });
        self.committed + self.waiting.len() as u64
    }

    /// Turns that wait to become durable.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Turns that are durable.
    pub(crate) fn committed(&self) -> u64 {
        self.committed
    }

    /// Makes the first turns durable; tells how far each shard got.
    pub(crate) fn commit(&mut self, turns: usize) -> BTreeMap<ShardId, Position> {
        let mut reached = BTreeMap::new();
        for _ in 0..turns {
            let Some(Waiting { batch, .. }) = self.waiting.pop_front() else { break };
            self.committed += 1;
            reached.insert(batch.shard, batch.end);
            self.kept.take(batch.shard, batch.entries);
            let fetched = batch.fetches.iter().map(|fetch| (batch.shard, self.kept.fetch(fetch)));
            self.answers.extend(fetched);
        }
        self.ends.extend(reached.iter().map(|(shard, end)| (*shard, *end)));
        reached
    }

    /// The broker dies. The commit under way, of the first `landed` turns, has still landed; the rest is lost.
    pub(crate) fn crash(&mut self, landed: usize) -> Lost {
        self.commit(landed);
        let before = self.waiting.pop_front().and_then(|lost| lost.before);
        self.waiting.clear();
        self.answers.clear();
        Lost { before }
    }

    /// Where the journal of a shard goes on.
    pub(crate) fn end(&self, shard: ShardId) -> Position {
        self.ends.get(&shard).copied().unwrap_or_default()
    }

    /// Answers that wait.
    pub(crate) fn answers(&self) -> usize {
        self.answers.len()
    }

    /// One answer to a fetch: those of one shard come in the order of the questions.
    pub(crate) fn answer(&mut self) -> Option<(ShardId, Fetched)> {
        self.answers.pop_front()
    }
}

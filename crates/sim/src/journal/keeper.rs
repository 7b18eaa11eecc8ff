//! The one queue behind the journals of all shards: whole turns, in the order they were made, durable from the front.
//!
//! Held by the world, which says when a commit happens and when the broker crashes. A turn is kept wholly or not at
//! all.

use std::collections::{BTreeMap, VecDeque};

use motte_broker::{Fetched, Millis, Position, Restored, ShardId};
use motte_store::ShardJournal;

use super::real::{Real, shown};
use super::{Batch, Kept};
use crate::ledger::Snapshot;
use crate::random::Random;

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
    /// The real store, in some runs.
    real: Option<Real>,
}

/// What a crash leaves behind.
#[derive(Debug)]
pub(crate) struct Lost {
    /// The books as they were before the first turn that is lost; `None` when nothing is.
    pub(crate) before: Option<Box<Snapshot>>,
    /// What the broker starts with.
    pub(crate) restored: Restored,
    /// When it does.
    pub(crate) now: Millis,
}

impl Keeper {
    /// A keeper with the real store beside it.
    pub(crate) fn with_store(now: Millis) -> Result<Self, String> {
        Ok(Self { real: Some(Real::open(Vec::new(), now)?.0), ..Self::default() })
    }

    /// The journals of the real store for a broker that starts, if there is one.
    pub(crate) fn journals(&mut self, shards: u16) -> Vec<Option<ShardJournal>> {
        match &mut self.real {
            Some(real) => real.journals(shards).into_iter().map(Some).collect(),
            None => (0..shards).map(|_| None).collect(),
        }
    }

    /// What time it is.
    pub(crate) fn set_now(&self, now: Millis) {
        if let Some(real) = &self.real {
            real.set_now(now);
        }
    }

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
    pub(crate) fn commit(&mut self, turns: usize) -> Result<BTreeMap<ShardId, Position>, String> {
        let turns = turns.min(self.waiting.len());
        if let Some(real) = self.real.as_mut().filter(|_| turns > 0) {
            real.commit(turns)?;
        }
        Ok(self.take(turns))
    }

    fn take(&mut self, turns: usize) -> BTreeMap<ShardId, Position> {
        let (mut reached, mut fetches) = (BTreeMap::new(), Vec::new());
        for _ in 0..turns {
            let Some(Waiting { batch, .. }) = self.waiting.pop_front() else { break };
            self.committed += 1;
            reached.insert(batch.shard, batch.end);
            self.kept.take(batch.shard, batch.entries);
            fetches.extend(batch.fetches.into_iter().map(|fetch| (batch.shard, fetch)));
        }
        // What these turns settled is given back no more.
        self.answers.extend(fetches.into_iter().map(|(shard, fetch)| (shard, self.kept.fetch(&fetch))));
        self.ends.extend(reached.iter().map(|(shard, end)| (*shard, *end)));
        reached
    }

    /// The broker dies and starts again at `now`. The commit under way, of the first `landed` turns, may still have
    /// landed; the rest is lost.
    pub(crate) fn crash(&mut self, landed: usize, now: Millis, fate: &mut Random) -> Result<Lost, String> {
        let landed = landed.min(self.waiting.len());
        let (restored, now) = match self.real.take() {
            Some(real) => self.crash_store(real, landed, now, fate)?,
            None => {
                self.take(landed);
                (Restored::default(), now)
            }
        };
        let before = self.waiting.pop_front().and_then(|lost| lost.before);
        self.waiting.clear();
        self.answers.clear();
        Ok(Lost { before, restored, now })
    }

    /// What the real store gives back is what was durable before, or with the commit under way.
    fn crash_store(
        &mut self,
        mut real: Real,
        landed: usize,
        now: Millis,
        fate: &mut Random,
    ) -> Result<(Restored, Millis), String> {
        let (image, is_whole) = real.crash(landed, fate)?;
        let (real, found) = Real::open(image, now)?;
        if is_whole || real.ends().any(|(shard, end)| end != self.end(shard)) {
            self.take(landed);
        }
        if let Some(end) = real.ends().find(|(shard, end)| *end != self.end(*shard)) {
            return Err(format!("the store goes on at {end:?}, and {:?} was durable", self.ends));
        }
        let (shown, due) = (shown(&found.restored, now), shown(&self.kept.restored(), now));
        let mut names = due.keys().chain(shown.keys());
        if let Some(name) = names.find(|name| due.get(*name) != shown.get(*name)) {
            let (due, found) = (due.get(name), shown.get(name));
            return Err(format!("the store restores another {name}: {found:#?} where {due:#?} was kept"));
        }
        if found.clock < now || found.clock > now.plus_ms(1) {
            return Err(format!("the clock goes on at {:?}, and it is {now:?}", found.clock));
        }
        self.real = Some(real);
        Ok((found.restored, found.clock))
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
    pub(crate) fn answer(&mut self) -> Result<Option<(ShardId, Fetched)>, String> {
        let Some((shard, fetched)) = self.answers.pop_front() else { return Ok(None) };
        let real = self.real.as_mut().map(|real| real.answer(shard, &fetched)).transpose()?;
        Ok(Some((shard, real.unwrap_or(fetched))))
    }

    /// Whether the real store says what the broker is given back.
    pub(crate) fn has_store(&self) -> bool {
        self.real.is_some()
    }
}

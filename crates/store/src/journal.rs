//! The journal of one shard: collects the records of a turn and hands them over to the keeper.
//!
//! Owned by a shard's thread. Never waits for the keeper or the disk. In the steady state it allocates nothing for a
//! record: buffers come back from the keeper, and a client identifier is copied when it is seen for the first time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use motte_broker::restore::Fetch;
use motte_broker::{Journal, JournalState, Millis, Position, Record, ShardId};

use crate::batch::{self, Batch};
use crate::clock::Clock;
use crate::intake::{Intake, Seat};

/// So many client identifiers have a number; then all are forgotten.
const NAMES_MAX: usize = 65_536;
/// Identifiers that are found by where their text stands.
const RECENT: usize = 256;

/// Where a shard writes its records.
#[derive(Debug)]
pub struct ShardJournal {
    end: Position,
    kept: Option<Box<Kept>>,
}

/// What a journal has that keeps its records.
#[derive(Debug)]
struct Kept {
    shard: ShardId,
    seat: Arc<Seat>,
    intake: Arc<Intake>,
    clock: Clock,
    /// Whether every position counts as durable at once.
    is_at_once: bool,
    waits: bool,
    records: Vec<u8>,
    fetches: Vec<Fetch>,
    names: Names,
}

/// Numbers of client identifiers.
#[derive(Debug)]
struct Names {
    numbers: HashMap<Arc<str>, u32>,
    /// The identifier of each number.
    texts: Vec<Arc<str>>,
    /// Number and address of what was looked up last.
    recent: Box<[(usize, u32); RECENT]>,
    /// The names given out for the record at hand.
    fresh: Vec<u8>,
}

impl Default for Names {
    fn default() -> Self {
        Self { numbers: HashMap::new(), texts: Vec::new(), recent: Box::new([(0, 0); RECENT]), fresh: Vec::new() }
    }
}

impl Names {
    fn number(&mut self, client_id: &str) -> u32 {
        // A session's text stays where it is while the session lives; that it is the same one is checked.
        let address = client_id.as_ptr().addr();
        let slot = (address >> 4) % RECENT;
        let (at, number) = self.recent[slot];
        if at == address && self.texts.get(number as usize).is_some_and(|text| **text == *client_id) {
            return number;
        }
        let number = self.numbers.get(client_id).copied().unwrap_or_else(|| self.add(client_id));
        self.recent[slot] = (address, number);
        number
    }

    fn add(&mut self, client_id: &str) -> u32 {
        let number = u32::try_from(self.texts.len()).expect("names are forgotten long before");
        let text: Arc<str> = client_id.into();
        self.numbers.insert(Arc::clone(&text), number);
        self.texts.push(text);
        batch::put_name(&mut self.fresh, number, client_id);
        number
    }
}

impl ShardJournal {
    /// The journal of durability mode `memory`: it keeps nothing, and every position counts as durable at once. What
    /// acknowledgements promise ends with the process.
    #[must_use]
    pub fn memory() -> Self {
        Self { end: Position(0), kept: None }
    }

    pub(crate) fn kept(shard: ShardId, seat: Arc<Seat>, intake: Arc<Intake>, clock: Clock, is_at_once: bool) -> Self {
        let end = Position(seat.durable.load(Ordering::Acquire));
        let (records, fetches, names) = (Vec::new(), Vec::new(), Names::default());
        let kept = Kept { shard, seat, intake, clock, is_at_once, waits: false, records, fetches, names };
        Self { end, kept: Some(Box::new(kept)) }
    }

    /// Hands everything that was appended since the last time over as one batch, durable as a whole or not at all.
    /// Called at the end of each turn, before letters of the turn are posted to other shards.
    pub fn hand_over(&mut self, now: Millis) {
        let end = self.end.0;
        let Some(kept) = self.kept.as_deref_mut().filter(|kept| !kept.is_empty()) else { return };
        kept.seat.backlog.fetch_add(kept.records.len(), Ordering::Relaxed);
        let batch = Batch {
            shard: kept.shard,
            end,
            now,
            reading: kept.clock.read(),
            waits: std::mem::take(&mut kept.waits),
            records: std::mem::take(&mut kept.records),
            fetches: std::mem::take(&mut kept.fetches),
        };
        kept.records = kept.intake.push(batch);
        if kept.names.texts.len() >= NAMES_MAX {
            kept.names = Names::default();
            batch::put_forget_names(&mut kept.records);
        }
    }

    /// Bytes that this shard handed over and that are not durable yet. Reading of publishers is paused above a limit.
    #[must_use]
    pub fn backlog_bytes(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.seat.backlog.load(Ordering::Relaxed))
    }
}

impl Kept {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.fetches.is_empty()
    }

    fn append(&mut self, position: u64, record: &Record<'_>) {
        let Self { records, names, .. } = self;
        let start = records.len();
        batch::put(records, position, record, &mut |client_id| names.number(client_id));
        if !names.fresh.is_empty() {
            // A name stands before the record that uses it.
            records.splice(start..start, names.fresh.drain(..));
        }
        self.waits |= !self.is_at_once && batch::is_waited_for(record);
    }
}

impl Journal for ShardJournal {
    fn append(&mut self, record: &Record<'_>) -> Position {
        self.end.0 += 1;
        if let Some(kept) = &mut self.kept {
            kept.append(self.end.0, record);
        }
        self.end
    }

    fn durable(&self) -> Position {
        match &self.kept {
            Some(kept) if !kept.is_at_once || kept.intake.state() == JournalState::Failed => {
                Position(kept.seat.durable.load(Ordering::Acquire))
            }
            _ => self.end,
        }
    }

    fn state(&self) -> JournalState {
        self.kept.as_ref().map_or(JournalState::Ready, |kept| kept.intake.state())
    }

    fn reads_back(&self) -> bool {
        self.kept.is_some()
    }

    fn fetch(&mut self, fetch: Fetch) {
        if let Some(kept) = &mut self.kept {
            kept.fetches.push(fetch);
        }
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
        journal.hand_over(Millis(1));
        assert!(!journal.reads_back());
        assert_eq!(journal.backlog_bytes(), 0);
    }
}

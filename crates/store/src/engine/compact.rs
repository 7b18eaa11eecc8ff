//! Rewrites blocks of which most is dead, so that one message that nobody fetches does not keep its neighbours.
//!
//! Part of a commit, a bounded piece at a time. A block that is being drained from the front is given time to die as a
//! whole: it is looked at only when it has been sparse for a while.

use std::collections::BTreeSet;

use motte_broker::{Millis, Origin};
use redb::ReadableTable;

use super::logs::{Block, allocated_bytes};
use super::write::BlockTable;
use super::{Failed, State};
use crate::block::{self, BlockKey};
use crate::clock::Reading;
use crate::entry::{EntryView, TargetView};

/// A block waits so long before it is rewritten.
const SPARSE_MS: u64 = 10_000;
/// Blocks looked at in one commit.
const BLOCKS_MAX: usize = 16;

/// What was found to keep in a block.
#[derive(Debug, Default)]
struct Rewritten {
    value: Vec<u8>,
    holds: u32,
}

impl State {
    /// Rewrites some of the blocks that have been sparse for long enough.
    pub(super) fn compact(&mut self, blocks: &mut BlockTable<'_>) -> Result<(), Failed> {
        let now = self.now;
        for (number, log) in self.logs.iter_mut() {
            self.sparse.extend(log.sparse.drain(..).map(|first| (now, number, first)));
        }
        if !self.has_due() {
            return Ok(());
        }
        let is_due = |&(since, ..): &(Millis, u16, u64)| since.plus_ms(SPARSE_MS) <= now;
        let adopted: BTreeSet<Origin> = self
            .sessions
            .iter()
            .flat_map(|session| session.cursor.all_adopted())
            .map(|adopted| adopted.origin)
            .collect();
        let due = self.sparse.iter().take(BLOCKS_MAX).take_while(|sparse| is_due(sparse)).count();
        let due: Vec<_> = self.sparse.drain(..due).collect();
        due.into_iter().try_for_each(|(_, number, first)| self.rewrite(blocks, number, first, &adopted))
    }

    /// Whether there is a block that is to be rewritten now.
    pub(super) fn has_due(&self) -> bool {
        self.sparse.front().is_some_and(|(since, ..)| since.plus_ms(SPARSE_MS) <= self.now)
    }

    /// The clock goes on while nothing is handed over.
    pub(super) fn pass_time(&mut self, reading: Reading) {
        if reading.boot_id == self.reading.boot_id {
            let passed_ms = reading.since_boot_ms.saturating_sub(self.reading.since_boot_ms);
            (self.now, self.reading) = (self.now.plus_ms(passed_ms), reading);
        }
    }

    fn rewrite(
        &mut self,
        blocks: &mut BlockTable<'_>,
        number: u16,
        first: u64,
        adopted: &BTreeSet<Origin>,
    ) -> Result<(), Failed> {
        let key = block::key(number, first);
        let log = self.logs.log(number);
        let Some(before) = log.blocks.get_mut(&first) else { return Ok(()) };
        before.is_sparse = false;
        let before = *before;
        if before.holds > before.initial / 4 || log.tail.as_ref().is_some_and(|tail| tail.first == first) {
            return Ok(());
        }
        let rewritten = match blocks.get(&key)? {
            Some(value) => self.keep_live(&key, value.value(), adopted)?,
            None => return Err(Failed(format!("block {number}/{first} is gone"))),
        };
        // What is counted and what is found must agree, or something would be taken away that is still needed.
        debug_assert_eq!(rewritten.holds, before.holds, "holds of block {number}/{first}");
        if rewritten.holds != before.holds {
            return Ok(());
        }
        let bytes = u32::try_from(rewritten.value.len()).unwrap_or(u32::MAX);
        blocks.insert(&key, &rewritten.value[..])?;
        self.is_compacting = true;
        self.block_bytes = self.block_bytes + allocated_bytes(bytes) - allocated_bytes(before.bytes);
        let block = Block { initial: before.holds, bytes, ..before };
        self.logs.log(number).blocks.insert(first, block);
        Ok(())
    }

    fn keep_live(&self, key: &BlockKey, value: &[u8], adopted: &BTreeSet<Origin>) -> Result<Rewritten, Failed> {
        let mut kept = Rewritten { value: vec![0; block::HEAD], holds: 0 };
        for entry in block::entries(key, block::open(key, value)?) {
            let (origin, bytes) = entry?;
            let view = EntryView::parse(bytes)?;
            let owed = |target: &TargetView<'_>| self.owed_of(target.session, origin) > 0;
            let copies = self.copies(&view, origin);
            let is_retained = self.retained.get(view.topic()).is_some_and(|kept| kept.origin == origin);
            let adoptions = if adopted.contains(&origin) { self.adoptions(origin) } else { 0 };
            let holds = copies + u32::from(is_retained) + adoptions;
            if holds > 0 {
                view.put_with(&mut kept.value, owed);
                kept.holds += holds;
            }
        }
        block::close(key, &mut kept.value);
        Ok(kept)
    }

    /// How many copies of a message are owed to the targets that stand in its block.
    fn copies(&self, view: &EntryView<'_>, origin: Origin) -> u32 {
        let mut numbers: Vec<_> = view.targets().map(|target| target.session).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().map(|number| self.owed_of(number, origin)).sum()
    }

    fn owed_of(&self, number: u32, origin: Origin) -> u32 {
        let owed = self.sessions.numbered(number).map_or(0, |session| session.cursor.owed(origin));
        u32::try_from(owed).unwrap_or(u32::MAX)
    }

    fn adoptions(&self, origin: Origin) -> u32 {
        let sessions = self.sessions.iter();
        let found =
            sessions.map(|session| session.cursor.all_adopted().iter().filter(|one| one.origin == origin).count());
        u32::try_from(found.sum::<usize>()).unwrap_or(u32::MAX)
    }
}

//! One commit as one transaction of the storage engine.
//!
//! Called after the batches of a commit were applied. Either all of it is durable afterwards, or the engine has failed.

use redb::{Database, Durability, Table, WriteTransaction};

use super::logs::{Block, Log, Staged, Tail, allocated_bytes};
use super::{BLOCKS, Failed, ROWS, State};
use crate::batch::Batch;
use crate::block::{self, BlockKey};
use crate::crash::{Crash, CrashName};
use crate::entry;
use crate::row::{self, RowKind, StateRow};

/// Largest value of a block of more than one message: with key and offsets it fills a page of 32 KiB.
const BLOCK_BYTES: usize = 32 * 1_024 - 64;
/// Smallest size that is aimed at when a commit has little: a page of 4 KiB.
const BLOCK_BYTES_MIN: usize = 4 * 1_024 - 64;
/// Up to this size the last block of a log takes in the next messages: its page is written again anyway.
pub(super) const TAIL_BYTES: usize = 3 * 1_024;

/// What comes after a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// More commits.
    Open,
    /// Perhaps nothing for a long time.
    Sealed,
    /// The end.
    Closed,
}

pub(crate) type BlockTable<'t> = Table<'t, &'static BlockKey, &'static [u8]>;
pub(crate) type RowTable<'t> = Table<'t, &'static [u8], &'static [u8]>;

impl State {
    /// Writes everything that was collected.
    pub(super) fn write(
        &mut self,
        database: &Database,
        batches: &[Batch],
        ending: Ending,
        crash: &Crash,
    ) -> Result<(), Failed> {
        let mut txn = database.begin_write()?;
        txn.set_durability(Durability::Immediate).map_err(|error| Failed(error.to_string()))?;
        // A second sync makes the last commit of a run one that the storage engine never takes for a torn one.
        txn.set_quick_repair(ending != Ending::Open);
        self.is_compacting = false;
        self.fill(&txn, batches, ending == Ending::Closed)?;
        if self.is_compacting {
            crash.pass(CrashName::Compaction);
        }
        txn.commit()?;
        Ok(())
    }

    fn fill(&mut self, txn: &WriteTransaction, batches: &[Batch], is_closing: bool) -> Result<(), Failed> {
        let mut blocks = txn.open_table(BLOCKS)?;
        self.remove_dead(&mut blocks)?;
        for (number, log) in self.logs.iter_mut() {
            if !log.staged.is_empty() {
                self.block_bytes += write_staged(number, log, &mut blocks, batches)?;
            }
        }
        self.compact(&mut blocks)?;
        let mut rows = txn.open_table(ROWS)?;
        self.remove_closed(&mut rows)?;
        self.write_rows(&mut rows)?;
        self.write_sessions(&mut rows)?;
        self.commits += 1;
        let state = self.state_row(is_closing).encode();
        self.put(&mut rows, &RowKind::State.key(&[]), &state)
    }

    pub(super) fn state_row(&self, is_closed: bool) -> StateRow {
        StateRow {
            now: self.now,
            reading: self.reading,
            commits: self.commits,
            next_session: self.next_session,
            is_closed,
            logs: self.logs.iter().map(|(number, log)| (number, log.end)).collect(),
        }
    }

    fn remove_dead(&mut self, blocks: &mut BlockTable<'_>) -> Result<(), Failed> {
        for (number, log) in self.logs.iter_mut() {
            for first in std::mem::take(&mut log.dead) {
                // One that was dead for a moment may be held again.
                let Some(block) = log.blocks.get(&first).copied().filter(|block| block.holds == 0) else { continue };
                blocks.remove(&block::key(number, first))?;
                log.blocks.remove(&first);
                log.tail.take_if(|tail| tail.first == first);
                self.block_bytes -= allocated_bytes(block.bytes);
                self.is_compacting = true;
            }
        }
        Ok(())
    }

    fn remove_closed(&mut self, rows: &mut RowTable<'_>) -> Result<(), Failed> {
        for number in std::mem::take(&mut self.closed) {
            for kind in [RowKind::Session, RowKind::Cursor, RowKind::Will] {
                self.delete(rows, &kind.of_session(number))?;
            }
            let (from, to) = (RowKind::Subscription.of_session(number), RowKind::Subscription.of_session(number + 1));
            let mut freed = 0;
            rows.retain_in(&from[..]..&to[..], |key, value| {
                freed += row_bytes(key, value);
                false
            })?;
            self.row_bytes -= freed;
        }
        Ok(())
    }

    fn write_rows(&mut self, rows: &mut RowTable<'_>) -> Result<(), Failed> {
        for (key, body) in std::mem::take(&mut self.rows) {
            match body {
                Some(body) => self.put(rows, &key, &body)?,
                None => self.delete(rows, &key)?,
            }
        }
        Ok(())
    }

    fn write_sessions(&mut self, rows: &mut RowTable<'_>) -> Result<(), Failed> {
        let mut changed = Vec::new();
        self.sessions.take_dirty(|session| {
            if session.is_row_dirty {
                changed.push((RowKind::Session.of_session(session.number), session.row.encode()));
            }
            if session.is_cursor_dirty {
                let mut body = Vec::new();
                session.cursor.encode(&mut body);
                changed.push((RowKind::Cursor.of_session(session.number), body));
            }
        });
        // In the order of keys the pages of the tree are visited one after another.
        changed.sort_unstable();
        changed.into_iter().try_for_each(|(key, body)| self.put(rows, &key, &body))
    }

    fn put(&mut self, rows: &mut RowTable<'_>, key: &[u8], body: &[u8]) -> Result<(), Failed> {
        let value = row::frame(key, body);
        self.row_bytes += row_bytes(key, &value);
        if let Some(old) = rows.insert(key, &value[..])? {
            self.row_bytes -= row_bytes(key, old.value());
        }
        Ok(())
    }

    fn delete(&mut self, rows: &mut RowTable<'_>, key: &[u8]) -> Result<(), Failed> {
        if let Some(old) = rows.remove(key)? {
            self.row_bytes -= row_bytes(key, old.value());
        }
        Ok(())
    }
}

pub(super) fn row_bytes(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len() + 8) as u64
}

/// Puts the messages that are held into blocks; tells by how many bytes the blocks grew.
fn write_staged(number: u16, log: &mut Log, blocks: &mut BlockTable<'_>, batches: &[Batch]) -> Result<u64, Failed> {
    let staged = std::mem::take(&mut log.staged);
    let held: Vec<&Staged> = staged.iter().filter(|staged| staged.holds > 0).collect();
    let mut left: usize = held.iter().map(|staged| staged.len).sum();
    let mut grown = 0;
    let mut rest = &held[..];
    while let Some(first) = rest.first() {
        let tail = log.tail.take();
        let start = tail.as_ref().map_or(block::HEAD, |tail| tail.value.len());
        let limit = block_limit(start + left);
        let mut bytes = start + first.len;
        let fits = rest[1..].iter().take_while(|staged| {
            bytes += staged.len;
            bytes <= limit
        });
        let (taken, behind) = rest.split_at(1 + fits.count());
        rest = behind;
        left -= taken.iter().map(|staged| staged.len).sum::<usize>();
        grown += write_block(number, log, blocks, (tail, taken, batches))?;
    }
    log.staged = staged;
    log.staged.clear();
    Ok(grown)
}

/// The size of the next block when so much is to be written: pages are powers of two, and none should be half empty.
fn block_limit(left: usize) -> usize {
    let mut limit = BLOCK_BYTES;
    while limit > left && limit > BLOCK_BYTES_MIN {
        limit = (limit + 64) / 2 - 64;
    }
    limit
}

fn write_block(
    number: u16,
    log: &mut Log,
    blocks: &mut BlockTable<'_>,
    (tail, taken, batches): (Option<Tail>, &[&Staged], &[Batch]),
) -> Result<u64, Failed> {
    let first = tail.as_ref().map_or_else(|| taken.first().map_or(0, |staged| staged.position), |tail| tail.first);
    let before = tail.as_ref().map_or(&[0; block::HEAD][..], |tail| &tail.value);
    let len = before.len() + taken.iter().map(|staged| staged.len).sum::<usize>();
    let key = block::key(number, first);
    let mut value = blocks.insert_reserve(&key, len)?;
    let out = value.as_mut();
    out[..before.len()].copy_from_slice(before);
    let mut at = before.len();
    for staged in taken {
        let bytes = &batches[staged.batch].records[staged.at..staged.at + staged.len];
        debug_assert_eq!(entry::position_low(bytes), Ok(entry::low(staged.position)));
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    }
    block::close(&key, out);
    if len < TAIL_BYTES {
        log.tail = Some(Tail { first, value: out.to_vec() });
    }
    let holds = taken.iter().map(|staged| staged.holds).sum::<u32>();
    let block = log.blocks.entry(first).or_default();
    let bytes_before = if block.bytes == 0 { 0 } else { allocated_bytes(block.bytes) };
    let bytes = u32::try_from(len).map_err(|_| Failed("a message is too long for a block".to_owned()))?;
    let holds = block.holds + holds;
    let last = taken.last().map_or(block.last, |staged| staged.position);
    *block = Block { last, holds, initial: holds, bytes, is_sparse: block.is_sparse };
    Ok(allocated_bytes(bytes) - bytes_before)
}

//! Which blocks there are, and how many reasons each has to be kept.
//!
//! Owned by the engine. A hold is a session that is owed a message, or a topic that retains it. Keeps a few bytes for a
//! block, nothing for a message that is in one.

use std::collections::BTreeMap;

use motte_broker::Origin;

/// A block on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// The position of its last message.
    pub(crate) last: u64,
    pub(crate) holds: u32,
    /// Holds when it was written.
    pub(crate) initial: u32,
    pub(crate) bytes: u32,
    /// Whether it waits to be looked at for being rewritten.
    pub(crate) is_sparse: bool,
}

/// A message that was handed over and is in no block yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Staged {
    pub(crate) position: u64,
    /// Which batch of the commit, and where in it.
    pub(crate) batch: usize,
    pub(crate) at: usize,
    pub(crate) len: usize,
    pub(crate) holds: u32,
}

/// The last block of a log, when it is so small that the next messages are put into it.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) first: u64,
    pub(crate) value: Vec<u8>,
}

/// One log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Its last position.
    pub(crate) end: u64,
    pub(crate) blocks: BTreeMap<u64, Block>,
    pub(crate) staged: Vec<Staged>,
    pub(crate) tail: Option<Tail>,
    /// Blocks that nothing holds any more.
    pub(crate) dead: Vec<u64>,
    /// Blocks of which most is dead, to be looked at later.
    pub(crate) sparse: Vec<u64>,
}

/// All logs, by their number.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    logs: BTreeMap<u16, Log>,
}

impl Logs {
    pub(crate) fn get(&self, number: u16) -> Option<&Log> {
        self.logs.get(&number)
    }

    pub(crate) fn log(&mut self, number: u16) -> &mut Log {
        self.logs.entry(number).or_default()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u16, &mut Log)> {
        self.logs.iter_mut().map(|(number, log)| (*number, log))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, &Log)> {
        self.logs.iter().map(|(number, log)| (*number, log))
    }

    /// Whether a message was handed over and is in no block yet.
    pub(crate) fn is_staged(&self, origin: Origin) -> bool {
        let log = self.logs.get(&origin.shard.0);
        log.is_some_and(|log| log.staged.first().is_some_and(|first| first.position <= origin.position.0))
    }

    /// One more reason to keep a message. Tells whether it is there to be kept.
    pub(crate) fn hold(&mut self, origin: Origin) -> bool {
        let Some(holds) = self.holds(origin) else { return false };
        *holds += 1;
        true
    }

    /// One reason less.
    pub(crate) fn release(&mut self, origin: Origin) {
        let Some(log) = self.logs.get_mut(&origin.shard.0) else { return };
        let position = origin.position.0;
        if let Some(staged) = log.staged(position) {
            staged.holds = staged.holds.saturating_sub(1);
            return;
        }
        let Some((first, block)) = log.blocks.range_mut(..=position).next_back() else { return };
        if block.last < position {
            return;
        }
        block.holds = block.holds.saturating_sub(1);
        if block.holds == 0 {
            log.dead.push(*first);
        } else if !block.is_sparse && block.holds <= block.initial / 4 {
            block.is_sparse = true;
            log.sparse.push(*first);
        }
    }

    fn holds(&mut self, origin: Origin) -> Option<&mut u32> {
        let log = self.logs.get_mut(&origin.shard.0)?;
        let position = origin.position.0;
        if log.staged.first().is_some_and(|first| first.position <= position) {
            return log.staged(position).map(|staged| &mut staged.holds);
        }
        let (_, block) = log.blocks.range_mut(..=position).next_back()?;
        (block.last >= position).then_some(&mut block.holds)
    }
}

impl Log {
    fn staged(&mut self, position: u64) -> Option<&mut Staged> {
        let index = self.staged.binary_search_by_key(&position, |staged| staged.position).ok()?;
        self.staged.get_mut(index)
    }

    /// First position of the block that would hold this message.
    pub(crate) fn block_of(&self, position: u64) -> Option<u64> {
        let (first, block) = self.blocks.range(..=position).next_back()?;
        (block.last >= position).then_some(*first)
    }
}

/// Bytes a value takes in the file: the storage engine gives pages of 4 KiB in powers of two.
pub(crate) fn allocated_bytes(value_bytes: u32) -> u64 {
    // Key, offsets and head of a page.
    let bytes = u64::from(value_bytes) + 24;
    if bytes <= 4_096 / 2 { bytes } else { bytes.div_ceil(4_096).next_power_of_two() * 4_096 }
}

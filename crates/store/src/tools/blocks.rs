//! The blocks of messages, read one by one against the small rows: which messages are owed or retained, which are
//! named and not there.
//!
//! The second half of a survey, and what an export is made of. Holds one block at a time, so that millions of
//! messages take no more memory than a few.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use motte_broker::{Origin, Position, ShardId};

use super::damage::Counts;
use super::error::ToolError;
use super::pages::Pages;
use super::rows::Rows;
use super::scan::{GapRange, Seen, Table, scan};
use crate::block::{self, BlockKey};
use crate::codec::{Malformed, Reader};
use crate::cursor::Adopted;
use crate::entry::{self, EntryView, OwedAs};

/// A stored message that somebody still needs.
pub(crate) struct Kept<'a> {
    pub(crate) origin: Origin,
    pub(crate) view: EntryView<'a>,
    /// Bytes of it in its block.
    pub(crate) bytes: u64,
    /// The sessions that are owed it, and how; one for each copy.
    pub(crate) owed: Vec<(u32, OwedAs)>,
    /// Whether its topic retains it.
    pub(crate) is_retained: bool,
}

/// What a walk over the blocks meets.
pub(crate) enum BlockSeen<'a> {
    /// A block that is right.
    Block(&'a BlockKey, &'a [u8]),
    /// A message of the block that was met last.
    Kept(Kept<'a>),
    /// A block that is not what was written, and why.
    Broken(&'a [u8], &'a [u8], Malformed),
    /// Blocks that cannot be read.
    Gap(GapRange),
}

/// A block that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokenBlock {
    pub(crate) key: Vec<u8>,
    pub(crate) why: Malformed,
    /// The first key behind it.
    pub(crate) before: Option<Vec<u8>>,
    /// Sessions and topics named in what can still be told apart in it; none of it is verified.
    pub(crate) sessions: BTreeSet<u32>,
    pub(crate) topics: BTreeSet<String>,
}

/// Everything in the table of blocks.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    pub(crate) counts: Counts,
    /// How many messages each session is owed; those whose own row is lost are among them.
    pub(crate) owed: BTreeMap<u32, u64>,
    pub(crate) broken: Vec<BrokenBlock>,
    /// Blocks that cannot be read, and the last message before them.
    pub(crate) gaps: Vec<(GapRange, Option<Origin>)>,
    /// Messages that rows of sessions name and no block has, with the sessions.
    pub(crate) missing: BTreeMap<Origin, BTreeSet<u32>>,
    /// Topics whose retained message no block has.
    pub(crate) missing_retained: BTreeMap<Origin, Box<str>>,
    /// The last message that was seen.
    last: Option<Origin>,
    /// The last position of each log that was seen.
    pub(crate) ends: BTreeMap<u16, u64>,
    /// When the last message was accepted.
    pub(crate) accepted_max: motte_broker::Millis,
    /// The highest number of a session that was seen.
    pub(crate) session_max: u32,
}

impl Blocks {
    /// Reads the table; `step` is called with each message that is needed.
    pub(crate) fn read(
        pages: &Pages,
        table: &Table,
        rows: &Rows,
        step: &mut dyn FnMut(&Counts),
    ) -> Result<Self, ToolError> {
        let mut blocks = Self { missing: named(rows), missing_retained: rows.retained.clone(), ..Self::default() };
        let now = rows.state.as_ref().map_or_else(Default::default, |state| state.now);
        let lost = rows.lost_sessions();
        walk(pages, table, rows, &mut |seen| {
            if let BlockSeen::Kept(kept) = &seen
                && !lost.is_empty()
            {
                blocks.count_lost(rows, kept, |session| lost.contains_key(&session));
            }
            blocks.take(seen, now);
            step(&blocks.counts);
            Ok(())
        })?;
        Ok(blocks)
    }

    fn take(&mut self, seen: BlockSeen<'_>, now: motte_broker::Millis) {
        match seen {
            BlockSeen::Gap(range) => {
                self.close_broken(None);
                self.gaps.push((range, self.last));
            }
            BlockSeen::Broken(key, value, why) => {
                self.close_broken(Some(key));
                let (sessions, topics) = named_in(value);
                self.broken.push(BrokenBlock { key: key.to_vec(), why, before: None, sessions, topics });
            }
            BlockSeen::Block(key, _) => self.close_broken(Some(key)),
            BlockSeen::Kept(kept) => self.count(&kept, now),
        }
    }

    fn count_lost(&mut self, rows: &Rows, kept: &Kept<'_>, is_lost: impl Fn(u32) -> bool) {
        for target in kept.view.targets().filter(|target| is_lost(target.session)) {
            let cursor = rows.cursors.get(&target.session);
            if cursor.is_none_or(|cursor| cursor.owed_of(kept.origin, 1) > 0) {
                *self.owed.entry(target.session).or_default() += 1;
            }
        }
    }

    fn close_broken(&mut self, key: Option<&[u8]>) {
        if let Some(last) = self.broken.last_mut().filter(|last| last.before.is_none()) {
            last.before = key.map(<[u8]>::to_vec);
        }
    }

    fn count(&mut self, kept: &Kept<'_>, now: motte_broker::Millis) {
        let Kept { origin, view, bytes, owed, is_retained } = kept;
        self.last = Some(*origin);
        self.ends.insert(origin.shard.0, origin.position.0);
        self.accepted_max = self.accepted_max.max(view.accepted);
        self.session_max = view.targets().map(|target| target.session).fold(self.session_max, u32::max);
        if *is_retained {
            self.missing_retained.remove(origin);
            self.counts.retained += 1;
        }
        for (session, _) in owed {
            *self.owed.entry(*session).or_default() += 1;
            self.counts.queued += 1;
            if let Entry::Occupied(mut missing) = self.missing.entry(*origin) {
                missing.get_mut().remove(session);
                if missing.get().is_empty() {
                    missing.remove();
                }
            }
        }
        if !owed.is_empty() {
            self.counts.saw_owed(view.accepted, now);
        }
        if *is_retained || !owed.is_empty() {
            self.counts.messages += 1;
            self.counts.message_bytes += bytes;
        }
    }
}

/// Walks over all blocks, and over every message of those that are right.
pub(crate) fn walk(
    pages: &Pages,
    table: &Table,
    rows: &Rows,
    visit: &mut dyn FnMut(BlockSeen<'_>) -> Result<(), ToolError>,
) -> Result<(), ToolError> {
    let adopted = adopted(rows);
    let mut last: Option<Origin> = None;
    scan(pages, table, &mut |seen| match seen {
        Seen::Gap(range) => visit(BlockSeen::Gap(range)),
        Seen::Row { key, value, .. } => match parse(key, value) {
            Err(why) => visit(BlockSeen::Broken(key, value, why)),
            Ok((_, entries)) if entries.first().is_some_and(|(first, ..)| last.is_some_and(|last| last >= *first)) => {
                visit(BlockSeen::Broken(key, value, Malformed("it overlaps the one before it")))
            }
            Ok((key, entries)) => {
                visit(BlockSeen::Block(&key, value))?;
                last = entries.last().map(|(origin, ..)| *origin).or(last);
                for (origin, bytes, view) in entries {
                    let owed = owed(rows, &adopted, origin, &view).map_err(|why| ToolError::odd(origin, why))?;
                    let is_retained = rows.retained.get(&origin).is_some_and(|topic| **topic == *view.topic());
                    visit(BlockSeen::Kept(Kept { origin, view, bytes, owed, is_retained }))?;
                }
                Ok(())
            }
        },
    })
}

type Entries<'a> = Vec<(Origin, u64, EntryView<'a>)>;

/// The messages of a block, each of them well-formed.
fn parse<'a>(key: &[u8], value: &'a [u8]) -> Result<(BlockKey, Entries<'a>), Malformed> {
    let key = BlockKey::try_from(key).map_err(|_| Malformed("its key has another length"))?;
    let messages = block::open(&key, value)?;
    let mut entries = Vec::new();
    for entry in block::entries(&key, messages) {
        let (origin, bytes) = entry?;
        let view = EntryView::parse(bytes)?;
        view.message(origin)?;
        for target in view.targets() {
            target.owed_as()?;
        }
        entries.push((origin, bytes.len() as u64, view));
    }
    Ok((key, entries))
}

/// Whether a block is what was written.
pub(crate) fn is_right(key: &[u8], value: &[u8]) -> bool {
    parse(key, value).is_ok()
}

type AllAdopted<'a> = BTreeMap<Origin, Vec<(u32, &'a Adopted)>>;

fn adopted(rows: &Rows) -> AllAdopted<'_> {
    let mut all = AllAdopted::new();
    for (session, cursor) in rows.cursors.iter().filter(|(session, _)| rows.sessions.contains_key(session)) {
        for adopted in cursor.all_adopted() {
            all.entry(adopted.origin).or_default().push((*session, adopted));
        }
    }
    all
}

/// The sessions that are owed a message: those its block names that have not settled it, and those that took it over.
fn owed(
    rows: &Rows,
    adopted: &AllAdopted<'_>,
    origin: Origin,
    view: &EntryView<'_>,
) -> Result<Vec<(u32, OwedAs)>, Malformed> {
    let mut copies: BTreeMap<u32, usize> = BTreeMap::new();
    view.targets().for_each(|target| *copies.entry(target.session).or_default() += 1);
    // Of several copies those that are left are the last ones, as the engine takes them.
    let settled = |(session, copies): (u32, usize)| (session, copies - rows.owed(session, origin, copies).min(copies));
    let mut settled: BTreeMap<u32, usize> = copies.into_iter().map(settled).collect();
    let mut owed = Vec::new();
    for target in view.targets() {
        match settled.get_mut(&target.session) {
            Some(settled) if *settled > 0 => *settled -= 1,
            _ => owed.push((target.session, target.owed_as()?)),
        }
    }
    let taken_over = adopted.get(&origin).into_iter().flatten();
    owed.extend(taken_over.map(|(session, adopted)| (*session, adopted.owed.clone())));
    Ok(owed)
}

fn named(rows: &Rows) -> BTreeMap<Origin, BTreeSet<u32>> {
    let mut named: BTreeMap<Origin, BTreeSet<u32>> = BTreeMap::new();
    for (session, cursor) in rows.cursors.iter().filter(|(session, _)| rows.sessions.contains_key(session)) {
        cursor.named().for_each(|origin| {
            named.entry(origin).or_default().insert(*session);
        });
    }
    named
}

/// Sessions and topics named in a block that is not what was written.
fn named_in(value: &[u8]) -> (BTreeSet<u32>, BTreeSet<String>) {
    let (mut sessions, mut topics) = (BTreeSet::new(), BTreeSet::new());
    let mut reader = Reader::new(value.get(block::HEAD..).unwrap_or_default());
    while let Ok(bytes) = entry::split(&mut reader) {
        if let Ok(view) = EntryView::parse(bytes) {
            sessions.extend(view.targets().map(|target| target.session));
            topics.insert(view.topic().to_owned());
        }
    }
    (sessions, topics)
}

/// The log and the first position of a key.
pub(crate) fn place(key: &[u8]) -> Option<Origin> {
    let (log, first) = block::split_key(key.try_into().ok()?);
    Some(Origin { shard: ShardId(log), position: Position(first) })
}

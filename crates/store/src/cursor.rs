//! What one session is owed: which messages of which log, what was sent under which identifier, what it sent itself.
//!
//! Owned by the engine, one for each session; encoded as one row whenever it changed in a commit. Holds positions only.
//!
//! Of a log the row keeps a floor and two short lists: messages below the floor that are still owed, and messages from
//! the floor on that are settled. All others below are settled, all others above are owed if a block says so.

use std::collections::{BTreeSet, VecDeque};

use motte_broker::{Origin, Position, ShardId};

use crate::codec::{Malformed, Reader, put_len, put_varint};
use crate::entry::{OwedAs, put_target, read_owed_as};
use crate::row::{put_origin, read_origin};

/// So many settled messages above the floor are kept before the floor is raised over those that are owed between them.
const SETTLED_MAX: usize = 64;

/// A message that was sent and not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flight {
    pub(crate) id: u16,
    /// `None` once PUBREC came.
    pub(crate) origin: Option<Origin>,
}

/// A message that was owed to another session of its group first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Adopted {
    pub(crate) origin: Origin,
    pub(crate) owed: OwedAs,
}

/// What is owed of one log. All lists are sorted; a position may be in a list as often as the session is a target of
/// the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogCursor {
    pub(crate) log: u16,
    /// Owed, below the floor.
    live: Vec<u64>,
    floor: u64,
    /// Owed or settled, from the floor on.
    queue: VecDeque<u64>,
    /// Settled, from the floor on.
    settled: VecDeque<u64>,
}

impl LogCursor {
    /// The next message is owed: its position is not below any so far.
    fn push(&mut self, position: u64) {
        debug_assert!(self.queue.back().is_none_or(|last| *last <= position));
        self.queue.push_back(position);
    }

    /// Settles one copy of a message. Tells whether it was owed.
    fn settle(&mut self, position: u64) -> bool {
        if position < self.floor {
            let found = self.live.binary_search(&position);
            return found.map(|index| self.live.remove(index)).is_ok();
        }
        if self.queue.front() == Some(&position) && self.queue.get(1) != Some(&position) && self.settled.is_empty() {
            self.queue.pop_front();
            self.floor = position + 1;
            return true;
        }
        if count(&self.queue, position) <= count(&self.settled, position) {
            return false;
        }
        let at = self.settled.partition_point(|settled| *settled <= position);
        self.settled.insert(at, position);
        self.tidy();
        true
    }

    /// Drops what is settled at the front, and raises the floor when too much is settled above it.
    fn tidy(&mut self) {
        self.drop_front();
        if self.settled.len() <= SETTLED_MAX {
            return;
        }
        // Raised to the middle of what is settled, when fewer are owed below that than settled: else the list of those
        // would be the longer one.
        let middle = self.settled.len() / 2;
        let last = self.settled[middle];
        let below = self.queue.partition_point(|position| *position <= last);
        if below > 2 * (middle + 1) {
            return;
        }
        for position in self.queue.drain(..below) {
            // After a restart there may be some settled that no block names any longer.
            while self.settled.front().is_some_and(|settled| *settled < position) {
                self.settled.pop_front();
            }
            if self.settled.front() == Some(&position) {
                self.settled.pop_front();
            } else {
                self.live.push(position);
            }
        }
        while self.settled.front().is_some_and(|settled| *settled <= last) {
            self.settled.pop_front();
        }
        self.floor = last + 1;
        self.drop_front();
    }

    fn drop_front(&mut self) {
        while let Some(&settled) = self.settled.front() {
            let Some(&front) = self.queue.front() else { break };
            if settled < front {
                self.settled.pop_front();
                continue;
            }
            let copies = count(&self.queue, front);
            if settled != front || count(&self.settled, front) < copies {
                break;
            }
            self.queue.drain(..copies);
            self.settled.drain(..copies);
            self.floor = front + 1;
        }
        if self.queue.is_empty() {
            self.settled.clear();
        }
    }

    /// How many copies of a message are owed that a block names `copies` times.
    fn owed_of(&self, position: u64, copies: usize) -> usize {
        if position < self.floor {
            let at = self.live.partition_point(|live| *live < position);
            return self.live[at..].iter().take_while(|live| **live == position).count().min(copies);
        }
        copies.saturating_sub(count(&self.settled, position))
    }

    fn owed(&self, position: u64) -> usize {
        if position < self.floor {
            return self.owed_of(position, usize::MAX);
        }
        count(&self.queue, position).saturating_sub(count(&self.settled, position))
    }

    /// All owed positions, in order.
    fn each(&self) -> impl Iterator<Item = u64> + '_ {
        let mut settled = self.settled.iter().copied().peekable();
        let above = self.queue.iter().copied().filter(move |position| {
            while settled.peek().is_some_and(|next| next < position) {
                settled.next();
            }
            settled.next_if_eq(position).is_none()
        });
        self.live.iter().copied().chain(above)
    }
}

fn count(sorted: &VecDeque<u64>, position: u64) -> usize {
    match sorted.front() {
        None => 0,
        Some(front) if *front > position => 0,
        _ => {
            let at = sorted.partition_point(|next| *next < position);
            sorted.range(at..).take_while(|next| **next == position).count()
        }
    }
}

/// What one session is owed and has not finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    logs: Vec<LogCursor>,
    /// In order of sending.
    flights: VecDeque<Flight>,
    received: BTreeSet<u16>,
    adopted: Vec<Adopted>,
}

impl Cursor {
    fn log(&self, log: u16) -> Option<&LogCursor> {
        self.logs.iter().find(|cursor| cursor.log == log)
    }

    fn log_mut(&mut self, log: u16) -> &mut LogCursor {
        let index = self.logs.iter().position(|cursor| cursor.log == log).unwrap_or_else(|| {
            self.logs.push(LogCursor { log, ..LogCursor::default() });
            self.logs.len() - 1
        });
        &mut self.logs[index]
    }

    /// A message is owed from now on.
    pub(crate) fn push(&mut self, origin: Origin) {
        self.log_mut(origin.shard.0).push(origin.position.0);
    }

    /// A message of a block that names this session `copies` times was found; tells how many are owed.
    pub(crate) fn on_found(&mut self, origin: Origin, copies: usize) -> usize {
        let log = self.log_mut(origin.shard.0);
        if origin.position.0 >= log.floor {
            (0..copies).for_each(|_| log.push(origin.position.0));
        }
        log.owed_of(origin.position.0, copies)
    }

    /// One copy of a message is owed no longer, and not in flight either. Tells whether it was.
    pub(crate) fn settle(&mut self, origin: Origin) -> bool {
        if let Some(index) = self.flights.iter().position(|flight| flight.origin == Some(origin)) {
            self.flights.remove(index);
        }
        self.settle_owed(origin)
    }

    fn settle_owed(&mut self, origin: Origin) -> bool {
        if self.logs.iter_mut().any(|log| log.log == origin.shard.0 && log.settle(origin.position.0)) {
            return true;
        }
        let adopted = self.adopted.iter().position(|adopted| adopted.origin == origin);
        adopted.map(|index| self.adopted.remove(index)).is_some()
    }

    /// How many copies of a message are owed, without those adopted.
    pub(crate) fn owed(&self, origin: Origin) -> usize {
        self.log(origin.shard.0).map_or(0, |log| log.owed(origin.position.0))
    }

    /// How it is owed a message that it took over from another session.
    pub(crate) fn adopted(&self, origin: Origin) -> Option<&Adopted> {
        self.adopted.iter().find(|adopted| adopted.origin == origin)
    }

    pub(crate) fn all_adopted(&self) -> &[Adopted] {
        &self.adopted
    }

    pub(crate) fn adopt(&mut self, origin: Origin, owed: OwedAs) {
        self.adopted.push(Adopted { origin, owed });
    }

    /// A message is being sent under an identifier. Nothing for one that is not owed.
    pub(crate) fn sent(&mut self, origin: Origin, id: u16) {
        if self.owed(origin) > 0 || self.adopted(origin).is_some() {
            // Sent once more, or under an identifier whose last use was given up without a word.
            self.completed(id);
            self.flights.push_back(Flight { id, origin: Some(origin) });
        }
    }

    /// PUBREC came. Tells whether the message was owed.
    pub(crate) fn arrived(&mut self, origin: Option<Origin>, id: u16) -> bool {
        match self.flights.iter_mut().find(|flight| flight.id == id) {
            Some(flight) => flight.origin = None,
            None => self.flights.push_back(Flight { id, origin: None }),
        }
        origin.is_some_and(|origin| self.settle_owed(origin))
    }

    pub(crate) fn completed(&mut self, id: u16) {
        if let Some(index) = self.flights.iter().position(|flight| flight.id == id) {
            self.flights.remove(index);
        }
    }

    pub(crate) fn received(&mut self, id: u16) {
        self.received.insert(id);
    }

    pub(crate) fn released(&mut self, id: u16) {
        self.received.remove(&id);
    }

    pub(crate) fn all_received(&self) -> impl Iterator<Item = u16> + '_ {
        self.received.iter().copied()
    }

    /// What is in flight, in order; of two under the same identifier the later.
    pub(crate) fn flights(&self) -> Vec<Flight> {
        let mut seen = BTreeSet::new();
        let mut flights: Vec<_> = self.flights.iter().rev().filter(|flight| seen.insert(flight.id)).copied().collect();
        flights.reverse();
        flights
    }

    /// Messages that are owed, each as often as it is.
    pub(crate) fn each(&self) -> impl Iterator<Item = Origin> + '_ {
        let adopted = self.adopted.iter().map(|adopted| adopted.origin);
        let owed = self.logs.iter().flat_map(|log| {
            let shard = ShardId(log.log);
            log.each().map(move |position| Origin { shard, position: Position(position) })
        });
        owed.chain(adopted)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_len(out, self.logs.len());
        for log in &self.logs {
            put_varint(out, log.log.into());
            put_varint(out, log.floor);
            put_sorted(out, log.live.len(), log.live.iter());
            put_sorted(out, log.settled.len(), log.settled.iter());
        }
        put_len(out, self.flights.len());
        for flight in &self.flights {
            out.extend_from_slice(&flight.id.to_le_bytes());
            out.push(u8::from(flight.origin.is_some()));
            if let Some(origin) = flight.origin {
                put_origin(out, origin);
            }
        }
        put_len(out, self.received.len());
        self.received.iter().for_each(|id| out.extend_from_slice(&id.to_le_bytes()));
        put_len(out, self.adopted.len());
        for adopted in &self.adopted {
            put_origin(out, adopted.origin);
            put_target(out, 0, &adopted.owed.as_target());
        }
    }

    pub(crate) fn parse(mut body: Reader<'_>) -> Result<Self, Malformed> {
        let mut cursor = Self::default();
        for _ in 0..body.count()? {
            let (log, floor) = (body.narrow()?, body.varint()?);
            if cursor.log(log).is_some() {
                return Err(Malformed("a log is named twice"));
            }
            let (live, settled) = (read_sorted(&mut body)?, read_sorted(&mut body)?);
            if live.last().is_some_and(|last| *last >= floor) || settled.first().is_some_and(|first| *first < floor) {
                return Err(Malformed("positions are on the wrong side of the floor"));
            }
            let (queue, settled) = (VecDeque::new(), settled.into());
            cursor.logs.push(LogCursor { log, live, floor, queue, settled });
        }
        for _ in 0..body.count()? {
            let id = body.u16()?;
            let origin = if body.byte()? == 0 { None } else { Some(read_origin(&mut body)?) };
            cursor.flights.push_back(Flight { id, origin });
        }
        for _ in 0..body.count()? {
            cursor.received.insert(body.u16()?);
        }
        for _ in 0..body.count()? {
            let origin = read_origin(&mut body)?;
            body.u32()?;
            cursor.adopted.push(Adopted { origin, owed: read_owed_as(&mut body)? });
        }
        body.end()?;
        Ok(cursor)
    }
}

fn put_sorted<'a>(out: &mut Vec<u8>, len: usize, positions: impl Iterator<Item = &'a u64>) {
    put_len(out, len);
    let mut last = 0;
    for position in positions {
        put_varint(out, position - last);
        last = *position;
    }
}

fn read_sorted(body: &mut Reader<'_>) -> Result<Vec<u64>, Malformed> {
    let mut positions = Vec::new();
    let mut last = 0_u64;
    for _ in 0..body.count()? {
        last = last.checked_add(body.varint()?).ok_or(Malformed("a number is too large"))?;
        positions.push(last);
    }
    Ok(positions)
}

/// What the tools ask, which read a store without an engine.
impl Cursor {
    /// A session that has settled nothing yet.
    pub(crate) fn begun(flights: impl IntoIterator<Item = Flight>, received: impl IntoIterator<Item = u16>) -> Self {
        let (flights, received) = (flights.into_iter().collect(), received.into_iter().collect());
        Self { flights, received, ..Self::default() }
    }

    /// How many copies are owed of a message that a block names `copies` times. Nothing is remembered of it.
    pub(crate) fn owed_of(&self, origin: Origin, copies: usize) -> usize {
        self.log(origin.shard.0).map_or(copies, |log| log.owed_of(origin.position.0, copies))
    }

    /// Messages that the row itself names as owed or being sent: each of them must be in a block.
    pub(crate) fn named(&self) -> impl Iterator<Item = Origin> + '_ {
        let live = self.logs.iter().flat_map(|log| {
            let shard = ShardId(log.log);
            log.live.iter().map(move |position| Origin { shard, position: Position(*position) })
        });
        let flying = self.flights.iter().filter_map(|flight| flight.origin);
        live.chain(flying).chain(self.adopted.iter().map(|adopted| adopted.origin))
    }

    /// A message is in no block: nothing of it is owed or being sent any longer.
    pub(crate) fn forget(&mut self, origin: Origin) {
        while self.settle(origin) {}
    }

    /// For each log a position that it has surely reached.
    pub(crate) fn reached(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        self.logs.iter().map(|log| (log.log, log.settled.back().copied().unwrap_or(0).max(log.floor)))
    }
}

//! Messages waiting for a session: for its client to come, to acknowledge, or to read.
//!
//! Called by `session/deliver`. The oldest may be in memory; behind them stand references to messages that the journal
//! keeps, which are read back a few at a time while there is a connection. Drops nothing by itself.

use std::collections::{BTreeMap, VecDeque};

use super::owed::MESSAGE_BYTES;
pub(crate) use super::owed::{Gone, Held, Owed};
use super::refs::{Meant, Packed, Refs};
use crate::limits::Limits;
use crate::message::Origin;
use crate::restore::StoredRef;
use crate::shard::Millis;

/// Messages a session with a connection holds in memory before further ones become references.
const WINDOW_MESSAGES: usize = 256;
/// Bytes of memory of those.
const WINDOW_BYTES: usize = 256 * 1024;
/// Messages read back at once.
pub(super) const BATCH_MESSAGES: usize = 128;
/// Bytes of memory of those; a larger message is read back alone.
const BATCH_BYTES: usize = 64 * 1024;
/// Messages in memory at which the next are asked for.
const LOW_MESSAGES: usize = 64;

/// Where a session holds what waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holding {
    /// In memory: the journal does not give messages back.
    Memory,
    /// The oldest in memory: there is a connection.
    Window,
    /// Nothing in memory that the journal keeps.
    References,
}

/// The oldest message of a queue.
#[derive(Debug)]
pub(crate) enum Front<'a> {
    Nothing,
    Loaded(&'a Owed),
    Stored(StoredRef),
}

/// The queue: what is loaded, then the references. Those that were passed over by [`Queue::next_shared`] stand apart
/// until [`Queue::rejoin`].
#[derive(Debug, Default)]
pub(crate) struct Queue {
    loaded: VecDeque<Owed>,
    passed_over: Refs,
    refs: Refs,
    /// What stands behind a reference and is kept by nobody else.
    in_memory: BTreeMap<u64, Owed>,
    next_number: u64,
    /// Of everything that waits.
    bytes: u64,
    /// Of what is in memory.
    memory_bytes: usize,
    /// No message expires before this; earlier than the soonest one when that has left.
    expires: Option<Millis>,
}

impl Queue {
    /// Adds at the end.
    pub(crate) fn push(&mut self, owed: Owed, holding: Holding, limits: &Limits) {
        self.bytes += owed.weight();
        self.expires = sooner(self.expires, until(owed.message.accepted, owed.message.expires, limits));
        let stored = if holding == Holding::Memory { None } else { owed.stored() };
        let is_open =
            holding == Holding::Window && self.loaded.len() < WINDOW_MESSAGES && self.memory_bytes < WINDOW_BYTES;
        let is_first = self.passed_over.is_empty() && self.refs.is_empty();
        match stored.filter(|_| !is_open || !is_first) {
            Some(stored) => self.refs.push_back(Packed::stored(&stored)),
            None if is_first => {
                self.memory_bytes += owed.memory_bytes();
                self.loaded.push_back(owed);
            }
            None => {
                let packed = self.number(owed);
                self.refs.push_back(packed);
            }
        }
    }

    /// Adds a message that the journal keeps at the end.
    pub(crate) fn push_stored(&mut self, stored: &StoredRef, limits: &Limits) {
        self.bytes += u64::from(stored.weight_bytes);
        self.expires = sooner(self.expires, until(stored.accepted, stored.expires, limits));
        self.refs.push_back(Packed::stored(stored));
    }

    /// What was judged is to be judged again, whatever the policy.
    pub(crate) fn forget_verdicts(&mut self) {
        self.loaded.iter_mut().chain(self.in_memory.values_mut()).for_each(|owed| owed.epoch = None);
    }

    fn number(&mut self, owed: Owed) -> Packed {
        let packed = Packed::in_memory(self.next_number, &owed.described());
        self.memory_bytes += owed.memory_bytes();
        self.in_memory.insert(self.next_number, owed);
        self.next_number += 1;
        packed
    }

    /// Frees the memory of what the journal keeps: there is no connection any more.
    pub(crate) fn unload(&mut self) {
        while let Some(owed) = self.loaded.pop_back() {
            self.memory_bytes -= owed.memory_bytes();
            let packed = match owed.stored() {
                Some(stored) => Packed::stored(&stored),
                None => self.number(owed),
            };
            self.first_refs().push_front(packed);
        }
        self.loaded.shrink_to_fit();
    }

    /// The references that come first.
    fn first_refs(&mut self) -> &mut Refs {
        if self.passed_over.is_empty() { &mut self.refs } else { &mut self.passed_over }
    }

    /// Whether a message of this weight would be taken within the limits.
    pub(crate) fn has_room(&self, weight_bytes: usize, is_kept: bool, holding: Holding, limits: &Limits) -> bool {
        let is_in_memory = !is_kept || holding == Holding::Memory;
        let memory_bytes = self.memory_bytes + MESSAGE_BYTES + weight_bytes;
        self.len() < limits.queue_messages_max
            && self.bytes + weight_bytes as u64 <= limits.queue_bytes_max as u64
            && !(is_in_memory && memory_bytes > limits.queue_memory_bytes_max)
    }

    /// Whether it is full for what the journal keeps; once it is, until a sixteenth of a limit is free again, so that
    /// not every message that leaves is told to all shards.
    pub(crate) fn is_full(&self, was_full: bool, holding: Holding, limits: &Limits) -> bool {
        let reaches = |count: u64, max: usize| {
            let max = max as u64;
            count >= if was_full { max - max / 16 } else { max }
        };
        reaches(self.len() as u64, limits.queue_messages_max)
            || reaches(self.bytes, limits.queue_bytes_max)
            || (holding == Holding::Memory && reaches(self.memory_bytes as u64, limits.queue_memory_bytes_max))
    }

    /// Adds what another queue holds behind its own.
    pub(crate) fn append(&mut self, mut other: Self, holding: Holding, limits: &Limits) {
        while let Some(owed) = other.loaded.pop_front() {
            self.push(owed, holding, limits);
        }
        other.rejoin();
        while let Some(packed) = other.refs.pop_front() {
            match packed.meant() {
                Meant::Stored(stored) => self.push_stored(&stored, limits),
                Meant::InMemory(number) => {
                    let owed = other.in_memory.remove(&number).expect("a number stands for a message");
                    self.push(owed, holding, limits);
                }
            }
        }
    }

    /// The oldest.
    pub(crate) fn front(&mut self) -> Front<'_> {
        self.surface();
        let first = self.first_refs().front().map(Packed::meant);
        match (self.loaded.front(), first) {
            (Some(owed), _) => Front::Loaded(owed),
            (None, Some(Meant::Stored(stored))) => Front::Stored(stored),
            (None, _) => Front::Nothing,
        }
    }

    /// Takes the oldest, if it is in memory.
    pub(crate) fn pop(&mut self) -> Option<Owed> {
        self.surface();
        let owed = self.loaded.pop_front()?;
        self.memory_bytes -= owed.memory_bytes();
        self.bytes -= owed.weight();
        Some(owed)
    }

    /// Takes the oldest, wherever it is.
    pub(crate) fn pop_any(&mut self) -> Option<Gone> {
        if let Some(owed) = self.pop() {
            return Some(Gone::from(&owed));
        }
        self.pop_stored().map(|stored| Gone { weight: stored.weight_bytes.into(), origin: Some(stored.origin) })
    }

    /// Takes the oldest, if the journal alone keeps it.
    pub(super) fn pop_stored(&mut self) -> Option<StoredRef> {
        let Front::Stored(stored) = self.front() else { return None };
        self.first_refs().pop_front();
        self.bytes -= u64::from(stored.weight_bytes);
        Some(stored)
    }

    /// Puts back what [`Queue::pop`] gave and could not be sent.
    pub(crate) fn push_front(&mut self, owed: Owed) {
        self.bytes += owed.weight();
        self.memory_bytes += owed.memory_bytes();
        self.loaded.push_front(owed);
    }

    /// Lets a message in memory whose turn it is stand where it is looked for.
    fn surface(&mut self) {
        if !self.loaded.is_empty() {
            return;
        }
        if let Some(Meant::InMemory(number)) = self.first_refs().front().map(Packed::meant) {
            self.first_refs().pop_front();
            self.loaded.push_back(self.in_memory.remove(&number).expect("a number stands for a message"));
        }
    }

    /// What is to be read back next, before what is loaded runs out; nothing when there is enough.
    pub(crate) fn wanted(&self) -> Vec<Origin> {
        if self.loaded.len() > LOW_MESSAGES || self.memory_bytes > BATCH_BYTES {
            return Vec::new();
        }
        batch(self.passed_over.iter().chain(self.refs.iter()).map_while(|packed| match packed.meant() {
            Meant::Stored(stored) => Some(stored),
            Meant::InMemory(_) => None,
        }))
    }

    /// Takes the first reference, if it is to this message. It is replaced by [`Queue::load`], or dropped.
    pub(crate) fn take_stored(&mut self, origin: Origin) -> Option<StoredRef> {
        let Some(Meant::Stored(stored)) = self.first_refs().front().map(Packed::meant) else { return None };
        if stored.origin != origin {
            return None;
        }
        self.first_refs().pop_front();
        self.bytes -= u64::from(stored.weight_bytes);
        Some(stored)
    }

    /// Adds a message that was read back behind those that are in memory.
    pub(crate) fn load(&mut self, owed: Owed) {
        self.bytes += owed.weight();
        self.memory_bytes += owed.memory_bytes();
        self.loaded.push_back(owed);
    }

    /// Lets what was passed over stand in front again; tells how many references there are.
    pub(crate) fn rejoin(&mut self) -> usize {
        let refs = std::mem::take(&mut self.refs);
        self.passed_over.append(refs);
        self.refs = std::mem::take(&mut self.passed_over);
        self.refs.len()
    }

    /// The next messages of groups among the first `among` references that were not passed over; nothing when there is
    /// none.
    pub(crate) fn next_shared(&self, among: usize) -> Vec<Origin> {
        batch(self.refs.iter().take(among).filter_map(Packed::shared))
    }

    /// Takes a message of a group out, if it is the next one of [`Queue::next_shared`]; what stands before it is passed
    /// over. Tells how many references that makes.
    pub(crate) fn take_shared(&mut self, origin: Origin) -> Option<(StoredRef, usize)> {
        let before = self.refs.iter().take_while(|packed| packed.shared().is_none()).count();
        let stored = self.refs.iter().nth(before).and_then(Packed::shared).filter(|stored| stored.origin == origin)?;
        for _ in 0..before {
            let packed = self.refs.pop_front().expect("they were counted");
            self.passed_over.push_back(packed);
        }
        self.refs.pop_front();
        self.bytes -= u64::from(stored.weight_bytes);
        Some((stored, before + 1))
    }

    /// Puts back what [`Queue::take_shared`] took and nobody else can take.
    pub(crate) fn pass_over(&mut self, stored: &StoredRef) {
        self.bytes += u64::from(stored.weight_bytes);
        self.passed_over.push_back(Packed::stored(stored));
    }

    /// Leaves only messages of groups that the journal keeps.
    pub(crate) fn leave_shared(&mut self, mut gone: impl FnMut(Gone)) {
        for owed in self.take_failing(|_| false) {
            gone(Gone::from(&owed));
        }
        let bytes = &mut self.bytes;
        self.refs.retain(|packed| {
            let is_shared = packed.shared().is_some();
            if !is_shared {
                *bytes -= packed.weight();
                gone(Gone { weight: packed.weight(), origin: None });
            }
            is_shared
        });
    }

    /// Whether a message of a group is among the references.
    pub(crate) fn has_shared(&self) -> bool {
        self.passed_over.iter().chain(self.refs.iter()).any(|packed| packed.shared().is_some())
    }

    /// Takes out what does not pass, in order, of what is in memory.
    pub(crate) fn take_failing(&mut self, mut passes: impl FnMut(&mut Owed) -> bool) -> Vec<Owed> {
        let mut failing = Vec::new();
        for mut owed in std::mem::take(&mut self.loaded) {
            if passes(&mut owed) {
                self.loaded.push_back(owed);
            } else {
                failing.push(owed);
            }
        }
        let leaves = |_: &u64, owed: &mut Owed| !passes(owed);
        let failing_later: Vec<(u64, Owed)> = self.in_memory.extract_if(.., leaves).collect();
        if !failing_later.is_empty() {
            let in_memory = &self.in_memory;
            for refs in [&mut self.passed_over, &mut self.refs] {
                refs.retain(|packed| match packed.meant() {
                    Meant::InMemory(number) => in_memory.contains_key(&number),
                    Meant::Stored(_) => true,
                });
            }
        }
        failing.extend(failing_later.into_iter().map(|(_, owed)| owed));
        for owed in &failing {
            self.bytes -= owed.weight();
            self.memory_bytes -= owed.memory_bytes();
        }
        failing
    }

    /// Takes out what has expired or waited for too long. Looks through the queue only when there may be something.
    pub(crate) fn take_expired(&mut self, now: Millis, limits: &Limits, mut gone: impl FnMut(Gone)) {
        if self.expires.is_none_or(|at| at > now) {
            return;
        }
        let mut expires = None;
        let mut stays = |accepted: Millis, at: Option<Millis>| {
            let until = until(accepted, at, limits);
            let stays = until.is_none_or(|at| at > now);
            if stays {
                expires = sooner(expires, until);
            }
            stays
        };
        for owed in self.take_failing(|owed| stays(owed.message.accepted, owed.message.expires)) {
            gone(Gone::from(&owed));
        }
        let bytes = &mut self.bytes;
        let mut passes = |packed: Packed| {
            let Meant::Stored(stored) = packed.meant() else { return true };
            let stays = stays(stored.accepted, stored.expires);
            if !stays {
                *bytes -= packed.weight();
                gone(Gone { weight: packed.weight(), origin: Some(stored.origin) });
            }
            stays
        };
        self.passed_over.retain(&mut passes);
        self.refs.retain(&mut passes);
        self.expires = expires;
    }

    /// When the next message may expire.
    pub(crate) fn expires(&self) -> Option<Millis> {
        self.expires
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.loaded.len() + self.passed_over.len() + self.refs.len()
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether references are among what waits.
    pub(crate) fn is_stored(&self) -> bool {
        !self.passed_over.is_empty() || !self.refs.is_empty()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The first of these messages, as many as are read back at once.
pub(super) fn batch(stored: impl Iterator<Item = StoredRef>) -> Vec<Origin> {
    let mut bytes = 0;
    let mut wanted = Vec::new();
    for stored in stored.take(BATCH_MESSAGES) {
        bytes += MESSAGE_BYTES + stored.weight_bytes as usize;
        if bytes > BATCH_BYTES && !wanted.is_empty() {
            break;
        }
        wanted.push(stored.origin);
    }
    wanted
}

/// Until when a message may wait.
pub(crate) fn until(accepted: Millis, expires: Option<Millis>, limits: &Limits) -> Option<Millis> {
    let age_s = limits.queue_age_s_max;
    sooner(expires, (age_s > 0).then(|| accepted.plus_s(age_s)))
}

/// The sooner of two times, where `None` is never.
fn sooner(one: Option<Millis>, other: Option<Millis>) -> Option<Millis> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

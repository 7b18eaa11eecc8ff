//! What waits for one session: taken in within the limits, judged, dropped when it is over, and read back when it is
//! wanted.
//!
//! Called by `session/deliver` and `handle`. What was acknowledged to its publisher is never dropped for being over a
//! limit, unless the operator chose that.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use motte_audit::{Denial, EventKind};

use super::Session;
use super::deliver::Turn;
use super::queue::{Front, Gone, Holding, Owed, Queue, until};
use crate::effects::Effects;
use crate::limits::QueuePolicy;
use crate::message::Origin;
use crate::restore::{Fetch, FetchedMessage};
use crate::shard::Millis;
use crate::timer::TimerKind;

/// Pause between two looks through what waits, for messages that are over.
const SWEEP_MS: u64 = 60_000;
/// The same for a queue that is full.
const SWEEP_FULL_MS: u64 = 1_000;

impl Session {
    /// Lets a message wait. Without room one for a session that ends with its connection is dropped; others were
    /// acknowledged, or will be, and are kept or take the place of the oldest.
    pub(super) fn enqueue(&mut self, owed: Owed, turn: &mut Turn<'_>, fx: &mut impl Effects) {
        let (holding, weight, is_kept) = (self.holding(turn), owed.message.weight_bytes(), owed.is_kept);
        let has_room = |queue: &Queue, turn: &Turn<'_>| queue.has_room(weight, is_kept, holding, turn.limits);
        if !has_room(&self.queue, turn) {
            self.drop_expired(turn);
        }
        if !has_room(&self.queue, turn) && !self.is_durable() {
            turn.counters.dropped += 1;
            self.settle(owed.origin(), turn);
            self.miss(fx);
            return;
        }
        if turn.limits.queue_policy == QueuePolicy::DropOldest {
            while !has_room(&self.queue, turn)
                && let Some(gone) = self.queue.pop_any()
            {
                self.drop_waiting(gone, turn);
                self.miss(fx);
            }
        }
        turn.counters.wait(owed.weight());
        self.queue.push(owed, holding, turn.limits);
        self.tell_fullness(turn, fx);
    }

    /// Whether a message of this weight would be taken within the limits.
    pub(super) fn takes(&self, weight_bytes: usize, turn: &Turn<'_>) -> bool {
        self.queue.has_room(weight_bytes, self.is_durable(), self.holding(turn), turn.limits)
    }

    /// Whether publishers are refused because of this session.
    pub(super) fn is_full(&self) -> bool {
        self.facts.full.load(Ordering::Relaxed)
    }

    /// Tells publishers when the queue is full for what has to be kept, and when it is so no longer; reports the first.
    pub(crate) fn tell_fullness(&mut self, turn: &mut Turn<'_>, fx: &mut impl Effects) {
        let was_full = self.is_full();
        self.note_fullness(turn);
        if self.is_full() && !was_full {
            fx.event(self.event(EventKind::QueueFull { messages: self.queue.len() as u64 }));
        }
    }

    fn note_fullness(&mut self, turn: &mut Turn<'_>) {
        let was_full = self.is_full();
        if !was_full && self.queue.is_empty() {
            return;
        }
        let is_full = turn.limits.queue_policy == QueuePolicy::Reject
            && self.is_durable()
            && self.queue.is_full(was_full, self.holding(turn), turn.limits);
        if is_full != was_full {
            self.facts.full.store(is_full, Ordering::Release);
            turn.fullness.on_change();
        }
        self.arm(turn);
    }

    /// Sets the time at which what is over is dropped, if nobody comes for it before: soon when its room is needed.
    fn arm(&mut self, turn: &mut Turn<'_>) {
        let Some(expires) = self.queue.expires() else { return };
        let pause_ms = if self.is_full() { SWEEP_FULL_MS } else { SWEEP_MS };
        let at = expires.max(turn.now.plus_ms(pause_ms));
        if self.armed[TimerKind::Waiting as usize].is_none_or(|armed| armed > at) {
            turn.timers.set(&mut self.armed, self.key, TimerKind::Waiting, Some(at));
        }
    }

    /// Some of what waits may be over.
    pub(crate) fn on_waited(&mut self, turn: &mut Turn<'_>, fx: &mut impl Effects) {
        turn.timers.set(&mut self.armed, self.key, TimerKind::Waiting, None);
        self.drop_expired(turn);
        self.tell_fullness(turn, fx);
        self.tell_room(turn, fx);
    }

    /// Where what waits is held now.
    fn holding(&self, turn: &Turn<'_>) -> Holding {
        match (turn.journal.reads_back(), &self.link) {
            (false, _) => Holding::Memory,
            (true, Some(_)) => Holding::Window,
            (true, None) => Holding::References,
        }
    }

    fn drop_waiting(&self, gone: Gone, turn: &mut Turn<'_>) {
        turn.counters.wait_no_more(gone.weight);
        turn.counters.dropped += 1;
        self.settle(gone.origin, turn);
    }

    /// Drops what has expired while it waited, so that it takes no room from what has not.
    fn drop_expired(&mut self, turn: &mut Turn<'_>) {
        let mut queue = std::mem::take(&mut self.queue);
        queue.take_expired(turn.now, turn.limits, |gone| self.drop_waiting(gone, turn));
        self.queue = queue;
    }

    /// The next message that is in memory, if the window takes it.
    pub(super) fn next_waiting(&mut self, turn: &mut Turn<'_>) -> Option<Owed> {
        if self.queue.is_empty() {
            return None;
        }
        loop {
            let weight_bytes = match self.queue.front() {
                Front::Loaded(owed) => owed.message.weight_bytes(),
                // What is over need not be read back.
                Front::Stored(stored) if is_past(until(stored.accepted, stored.expires, turn.limits), turn.now) => {
                    let gone = self.queue.pop_any()?;
                    self.drop_waiting(gone, turn);
                    continue;
                }
                Front::Stored(_) | Front::Nothing => return None,
            };
            return if self.window_takes(weight_bytes, turn.limits) { self.queue.pop() } else { None };
        }
    }

    /// Asks for what has to be read back before the session can go on, or will have to be soon; once at a time.
    pub(super) fn fetch(&mut self, turn: &mut Turn<'_>) {
        let has_nothing = self.queue.is_empty() && self.next_record().is_none();
        if has_nothing || self.link.is_none() || self.is_fetching {
            return;
        }
        if !self.queue.is_stored() {
            self.left_groups.clear();
            self.is_unsure_of_groups = false;
        }
        let unsent = self.unsent_stored();
        let origins = if unsent.is_empty() { self.queue.wanted() } else { unsent };
        if !origins.is_empty() {
            self.is_fetching = true;
            let client_id = Arc::clone(self.name());
            turn.journal.fetch(Fetch { session: self.key, client_id, origins });
        }
    }

    /// Takes in what was read back, as far as it still is what comes next.
    pub(crate) fn on_fetched(&mut self, messages: Vec<FetchedMessage>, turn: &mut Turn<'_>, fx: &mut impl Effects) {
        self.is_fetching = false;
        for FetchedMessage { origin, found } in messages {
            let owed = found.map(Owed::read_back);
            if self.is_unsent(origin) {
                self.load_unsent(origin, owed, turn, fx);
            } else if let Some(stored) = self.queue.take_stored(origin) {
                turn.counters.wait_no_more(stored.weight_bytes.into());
                match owed {
                    Some(owed) => {
                        turn.counters.wait(owed.weight());
                        self.queue.load(Owed { qos: stored.qos.min(owed.qos), ..owed });
                    }
                    None => self.lose(origin, turn, fx),
                }
            }
        }
    }

    /// A message that waited cannot be read back.
    pub(crate) fn lose(&mut self, origin: Origin, turn: &mut Turn<'_>, fx: &mut impl Effects) {
        turn.counters.dropped += 1;
        self.settle(Some(origin), turn);
        self.miss(fx);
    }

    /// Judges what waits under a new policy and drops what it denies (K20, K22).
    pub(crate) fn judge_queue(&mut self, turn: &mut Turn<'_>, fx: &mut impl Effects) {
        let mut queue = std::mem::take(&mut self.queue);
        let denied = queue.take_failing(|owed| self.judge(owed, turn));
        self.queue = queue;
        for owed in &denied {
            turn.counters.wait_no_more(owed.weight());
            self.withhold(owed, turn);
        }
        if let Some(owed) = denied.first() {
            let topic = Arc::clone(&owed.message.topic);
            fx.event(self.event(EventKind::Denied { what: Denial::Receive, topic }));
        }
        self.tell_fullness(turn, fx);
    }

    /// Takes out what waits; whatever comes meanwhile belongs behind it.
    pub(crate) fn take_queue(&mut self) -> Queue {
        std::mem::take(&mut self.queue)
    }

    /// Puts back what was taken out.
    pub(crate) fn put_queue(&mut self, mut queue: Queue, turn: &mut Turn<'_>) {
        queue.append(std::mem::take(&mut self.queue), self.holding(turn), turn.limits);
        self.queue = queue;
        self.note_fullness(turn);
    }

    /// The connection ended: what the journal keeps need not be in memory.
    pub(crate) fn unload(&mut self, turn: &mut Turn<'_>) {
        if self.holding(turn) == Holding::References {
            self.queue.unload();
            self.unload_flight();
        }
        self.note_fullness(turn);
    }

    /// The session ends: what waits is dropped.
    pub(crate) fn discard(&mut self, turn: &mut Turn<'_>) {
        let waiting = self.queue.len() as u64;
        turn.counters.queued -= waiting;
        turn.counters.queued_bytes -= self.queue.bytes();
        turn.counters.dropped += waiting;
        self.queue = Queue::default();
        self.discard_in_flight(turn);
    }
}

/// Whether a message has waited for as long as it may.
pub(super) fn is_over(owed: &Owed, turn: &Turn<'_>) -> bool {
    is_past(until(owed.message.accepted, owed.message.expires, turn.limits), turn.now)
}

fn is_past(at: Option<Millis>, now: Millis) -> bool {
    at.is_some_and(|at| at <= now)
}

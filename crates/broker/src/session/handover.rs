//! Messages of groups that are kept by the journal alone and go to other members: which of them are read back next.
//!
//! Called by `handle/handover`. Chooses nobody: it only says what is next and takes back what nobody else can take.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Session;
use super::deliver::Turn;
use super::queue::{Queue, batch};
use crate::effects::Effects;
use crate::journal::Journal;
use crate::limits::Limits;
use crate::message::Origin;
use crate::restore::{Fetch, StoredRef};
use crate::routes::{Facts, SessionKey, Share};

impl Session {
    /// Without a connection, begins to look through what waits for groups.
    pub(crate) fn begin_handover(&mut self, turn: &mut Turn<'_>) {
        if self.link.is_none() && self.queue.has_shared() {
            self.handover = Some(self.queue.rejoin());
            self.go_on_with_handover(turn);
        }
    }

    /// The subscription to this group was removed.
    pub(crate) fn note_left_group(&mut self, text: &str) {
        if self.queue.has_shared() {
            self.left_groups.insert(text.into());
        }
    }

    /// Asks for what is to be looked at next, or ends when there is nothing.
    pub(crate) fn go_on_with_handover(&mut self, turn: &mut Turn<'_>) {
        let Some(left) = self.handover.filter(|_| !self.is_fetching) else { return };
        let origins = self.queue.next_shared(left);
        if origins.is_empty() || self.link.is_some() {
            self.end_handover();
        } else {
            self.is_fetching = true;
            let client_id = Arc::clone(self.client_id());
            turn.journal.fetch(Fetch { session: self.key, client_id, origins });
        }
    }

    /// What was not handed over waits where it stood.
    pub(crate) fn end_handover(&mut self) {
        self.handover = None;
        self.queue.rejoin();
    }

    /// The answer came: what was asked for is given with it.
    pub(crate) fn on_handover_fetched(&mut self) {
        self.is_fetching = false;
    }

    /// Takes a message out of the queue that was read back to be handed over, if it still is the next one.
    pub(crate) fn take_shared(&mut self, origin: Origin) -> Option<StoredRef> {
        let left = self.handover?;
        let (stored, looked_at) = self.queue.take_shared(origin)?;
        self.handover = Some(left.saturating_sub(looked_at));
        Some(stored)
    }

    /// Puts a message back that nobody else can take.
    pub(crate) fn pass_over(&mut self, stored: &StoredRef) {
        self.queue.pass_over(stored);
    }

    /// Whether it is a member of a group.
    pub(crate) fn is_member(&self, share: &Share) -> bool {
        self.shares > 0 && self.subscriptions.contains_key(&*share.text())
    }

    /// The filters of the groups it is in, as they were subscribed to.
    pub(crate) fn groups(&self) -> Vec<Box<str>> {
        let groups = self.subscriptions.keys().filter(|text| text.starts_with("$share/"));
        groups.cloned().collect()
    }

    /// Takes over a message of a group that only the journal holds.
    pub(crate) fn inherit(&mut self, stored: &StoredRef, turn: &mut Turn<'_>, fx: &mut impl Effects) {
        turn.counters.wait(stored.weight_bytes.into());
        self.queue.push_stored(stored, turn.limits);
        self.tell_fullness(turn, fx);
        self.tell_room(turn, fx);
    }

    /// The session ends: what it leaves to its groups and only the journal keeps, if there is anything.
    pub(crate) fn take_estate(&mut self, turn: &mut Turn<'_>) -> Option<Estate> {
        let sent = self.take_stored_of_groups();
        if sent.is_empty() && !self.queue.has_shared() {
            return None;
        }
        let mut queue = std::mem::take(&mut self.queue);
        queue.rejoin();
        queue.leave_shared(|gone| {
            turn.counters.wait_no_more(gone.weight);
            turn.counters.dropped += 1;
        });
        let groups = self.groups().into_iter().chain(std::mem::take(&mut self.left_groups));
        let (facts, is_fetching) = (Arc::clone(&self.facts), self.is_fetching);
        Some(Estate { facts, groups: groups.collect(), is_fetching, sent, queue })
    }
}

/// What a session that ended leaves to its groups.
#[derive(Debug)]
pub(crate) struct Estate {
    pub(crate) facts: Arc<Facts>,
    /// The filters of its groups as they were subscribed to.
    pub(crate) groups: Vec<Box<str>>,
    /// Whether messages were asked back and have not come.
    pub(crate) is_fetching: bool,
    /// Sent and not acknowledged, each with whether it counts as waiting.
    sent: VecDeque<(StoredRef, bool)>,
    queue: Queue,
}

impl Estate {
    /// Asks for what is next; tells whether there is anything.
    pub(crate) fn fetch(&mut self, session: SessionKey, journal: &mut impl Journal) -> bool {
        let sent = batch(self.sent.iter().map(|(stored, _)| *stored));
        let origins = if sent.is_empty() { self.queue.next_shared(usize::MAX) } else { sent };
        self.is_fetching = !origins.is_empty();
        if self.is_fetching {
            let client_id = Arc::clone(&self.facts.subject.client_id.0);
            journal.fetch(Fetch { session, client_id, origins });
        }
        self.is_fetching
    }

    /// Takes out a message that was read back, if it still is the next one; tells whether it counts as waiting.
    pub(crate) fn take(&mut self, origin: Origin) -> Option<(StoredRef, bool)> {
        if let Some(sent) = self.sent.pop_front_if(|(stored, _)| stored.origin == origin) {
            return Some(sent);
        }
        self.queue.take_shared(origin).map(|(stored, _)| (stored, true))
    }

    /// Takes out what is next, with whether it counts as waiting.
    pub(crate) fn pop(&mut self) -> Option<(StoredRef, bool)> {
        self.sent.pop_front().or_else(|| self.queue.pop_stored().map(|stored| (stored, true)))
    }

    /// Takes in what was moved to the session before anybody knew that it had ended.
    pub(crate) fn inherit(&mut self, stored: &StoredRef, limits: &Limits) {
        self.queue.push_stored(stored, limits);
    }

    /// The weights of what counts as waiting.
    pub(crate) fn waiting(mut self) -> Vec<u64> {
        let sent = self.sent.iter().filter(|(_, waits)| *waits).map(|(stored, _)| stored.weight_bytes.into());
        let mut weights: Vec<u64> = sent.collect();
        weights.extend(std::iter::from_fn(|| self.queue.pop_any()).map(|gone| gone.weight));
        weights
    }
}

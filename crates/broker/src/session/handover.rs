//! Messages of groups that are kept by the journal alone and go to other members: which of them are read back next.
//!
//! Called by `handle/handover`. Chooses nobody: it only says what is next and takes back what nobody else can take.

use std::collections::VecDeque;
use std::sync::Arc;

use motte_policy::ClientId;

use super::Session;
use super::deliver::Turn;
use super::queue::{Queue, batch};
use crate::journal::{Journal, Position};
use crate::message::Origin;
use crate::restore::{Fetch, StoredRef};
use crate::routes::{Facts, SessionKey, Share};
use crate::shard::ShardId;

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

    /// Whether messages of groups that it has left may be among what it has read back.
    pub(crate) fn may_have_left_groups(&self) -> bool {
        self.is_unsure_of_groups || !self.left_groups.is_empty()
    }

    /// Asks for what is to be looked at next, or ends when there is nothing.
    pub(crate) fn go_on_with_handover(&mut self, turn: &mut Turn<'_>) {
        let Some(left) = self.handover.filter(|_| !self.is_fetching) else { return };
        let origins = self.queue.next_shared(left);
        if origins.is_empty() || self.link.is_some() {
            self.end_handover();
        } else {
            self.is_fetching = true;
            let client_id = Arc::clone(self.name());
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

    /// The session ends: what it leaves to its groups and only the journal keeps, if there is anything, under a name of
    /// its own.
    pub(crate) fn take_estate(&mut self, name: impl FnOnce() -> String, turn: &mut Turn<'_>) -> Option<Estate> {
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
        let (name, is_outdated, knows_groups) = (name().into(), self.is_fetching, !self.is_unsure_of_groups);
        let facts = Arc::new(self.facts.renamed(ClientId(name)));
        Some(Estate { facts, groups: groups.collect(), knows_groups, is_outdated, sent, queue })
    }
}

/// What begins the name of an estate. No text of a packet holds this character (MQTT-1.5.4-2), so that no client ever
/// comes by such a name.
const ESTATE: char = '\0';

/// The name of an estate that is written down behind this record of a shard.
pub(crate) fn estate_name(shard: ShardId, behind: Position) -> String {
    format!("{ESTATE}{}/{}", shard.0, behind.0)
}

/// Whether this is the name of an estate.
pub(crate) fn is_estate(client_id: &str) -> bool {
    client_id.starts_with(ESTATE)
}

/// What a session that ended leaves to its groups, by a name of its own: whoever comes by that of the session has
/// nothing to do with it.
#[derive(Debug)]
pub(crate) struct Estate {
    /// Those of the session, under the name of the estate.
    pub(crate) facts: Arc<Facts>,
    /// The filters of its groups as they were subscribed to.
    pub(crate) groups: Vec<Box<str>>,
    /// Whether there are no others: those that the session had left before a crash are not known.
    pub(crate) knows_groups: bool,
    /// Whether the session itself had asked for messages, which come by its name and are asked for again.
    pub(crate) is_outdated: bool,
    /// Sent and not acknowledged, each with whether it counts as waiting.
    sent: VecDeque<(StoredRef, bool)>,
    queue: Queue,
}

impl Estate {
    /// The name it stands under in the journal.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.facts.name
    }

    /// Asks for what is next; tells whether there is anything.
    pub(crate) fn fetch(&self, session: SessionKey, journal: &mut impl Journal) -> bool {
        let sent = batch(self.sent.iter().map(|(stored, _)| *stored));
        let origins = if sent.is_empty() { self.queue.next_shared(usize::MAX) } else { sent };
        if origins.is_empty() {
            return false;
        }
        journal.fetch(Fetch { session, client_id: Arc::clone(self.name()), origins });
        true
    }

    /// Takes out a message that was read back, if it still is the next one; tells whether it counts as waiting.
    pub(crate) fn take(&mut self, origin: Origin) -> Option<(StoredRef, bool)> {
        if let Some(sent) = self.sent.pop_front_if(|(stored, _)| stored.origin == origin) {
            return Some(sent);
        }
        self.queue.take_shared(origin).map(|(stored, _)| (stored, true))
    }

    /// The weights of what counts as waiting.
    pub(crate) fn waiting(mut self) -> Vec<u64> {
        let sent = self.sent.iter().filter(|(_, waits)| *waits).map(|(stored, _)| stored.weight_bytes.into());
        let mut weights: Vec<u64> = sent.collect();
        weights.extend(std::iter::from_fn(|| self.queue.pop_any()).map(|gone| gone.weight));
        weights
    }
}

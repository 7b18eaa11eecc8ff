//! Messages of groups that only the journal holds: read back a few at a time and given to other members.
//!
//! Called when a session that is in groups loses its connection, leaves one of them, or ends. What one that ended
//! leaves is kept under a name of its own until nothing of it is left, whoever comes by the name of the session. Which
//! group a message is owed to stands with the message: nothing goes to anybody without being read.

use std::sync::Arc;

use motte_mqtt::SubscriptionFilter;

use super::group::Leaving;
use crate::effects::Effects;
use crate::journal::{Journal, Record};
use crate::restore::FetchedMessage;
use crate::routes::{Readiness, SessionKey, SessionRef};
use crate::session::Session;
use crate::session::handover::{Estate, estate_name};
use crate::session::queue::Owed;
use crate::shard::{Millis, Shard};

impl<J: Journal> Shard<J> {
    /// A session without a connection hands over what waits for its groups, if somebody can take it better.
    pub(super) fn begin_handover(&mut self, slot: usize, now: Millis) {
        if self.can_hand_over(slot) {
            self.sessions[slot].begin_handover(&mut self.core.turn(&mut self.journal, now));
        }
    }

    /// Messages came that a session without a connection asked for: they go to whoever can take them better.
    pub(super) fn hand_over(&mut self, slot: usize, messages: Vec<FetchedMessage>, now: Millis, fx: &mut impl Effects) {
        let (key, facts) = (self.sessions[slot].key, Arc::clone(&self.sessions[slot].facts));
        self.sessions[slot].on_handover_fetched();
        for FetchedMessage { origin, found } in messages {
            let session = &mut self.sessions[slot];
            let Some(stored) = session.take_shared(origin) else { continue };
            let weight = stored.weight_bytes.into();
            self.core.counters.wait_no_more(weight);
            let Some(owed) = found.map(Owed::read_back) else {
                session.lose(origin, &mut self.core.turn(&mut self.journal, now), fx);
                continue;
            };
            let owed = Owed { qos: stored.qos.min(owed.qos), ..owed };
            let is_member = owed.share.as_deref().is_some_and(|share| session.is_member(share));
            let readiness = if is_member { Readiness::Away } else { Readiness::Full };
            if self.pass_on(&owed, Leaving { key, facts: &facts, readiness, times: 0 }, now, fx) {
                self.core.counters.routed -= 1;
            } else {
                self.core.counters.wait(weight);
                self.sessions[slot].pass_over(&stored);
            }
        }
        let can_go_on = self.can_hand_over(slot);
        let session = &mut self.sessions[slot];
        let mut turn = self.core.turn(&mut self.journal, now);
        if can_go_on {
            session.go_on_with_handover(&mut turn);
        } else {
            session.end_handover();
        }
        session.tell_fullness(&mut turn, fx);
    }

    /// Whether another member of a group could take messages better than a session without a connection, or it has left
    /// a group that messages wait for.
    fn can_hand_over(&self, slot: usize) -> bool {
        let session = &self.sessions[slot];
        let from = SessionRef { shard: self.core.id, key: session.key };
        self.is_wanted(&session.left_groups, from, Readiness::Full)
            || (session.shares > 0 && self.is_wanted(&session.groups(), from, Readiness::Away))
    }

    /// Whether a member of one of these groups, other than `from`, is readier than that.
    fn is_wanted<'a>(
        &self,
        groups: impl IntoIterator<Item = &'a Box<str>>,
        from: SessionRef,
        readiness: Readiness,
    ) -> bool {
        groups.into_iter().filter_map(|text| SubscriptionFilter::parse(text, usize::MAX).ok()).any(|filter| {
            let is_readier = |session: SessionRef, room: Readiness| session != from && room > readiness;
            self.core.shared.routes.has_member(&filter, is_readier)
        })
    }

    /// A session that was removed leaves something to its groups: the journal is told of its end, and once that is done
    /// of the end of what it left.
    pub(super) fn close_session(&mut self, mut session: Session, now: Millis, fx: &mut impl Effects) {
        let (shard, last) = (self.core.id, self.journal.end());
        let mut turn = self.core.turn(&mut self.journal, now);
        let estate = session.take_estate(|| estate_name(shard, last), &mut turn);
        session.discard(&mut turn);
        match estate {
            Some(estate) => {
                let client_id = session.name();
                self.journal.append(&Record::SessionEnded { client_id, estate: estate.name() });
                let (key, is_outdated) = (session.key, estate.is_outdated);
                self.estates.insert(key, estate);
                if !is_outdated {
                    self.settle_estate(key, Vec::new(), now, fx);
                }
            }
            None if session.is_recorded => {
                self.journal.append(&Record::SessionClosed { client_id: session.name() });
            }
            None => {}
        }
    }

    /// Gives what was read back of an estate to members that can take it, and asks for more.
    pub(crate) fn settle_estate(
        &mut self,
        key: SessionKey,
        messages: Vec<FetchedMessage>,
        now: Millis,
        fx: &mut impl Effects,
    ) {
        let Some(mut estate) = self.estates.remove(&key) else { return };
        let facts = Arc::clone(&estate.facts);
        let is_outdated = std::mem::take(&mut estate.is_outdated);
        for FetchedMessage { origin, found } in messages.into_iter().filter(|_| !is_outdated) {
            let Some((stored, waits)) = estate.take(origin) else { continue };
            let leaving = Leaving { key, facts: &facts, readiness: Readiness::Full, times: 0 };
            let is_passed_on = found.is_some_and(|found| self.pass_on(&Owed::read_back(found), leaving, now, fx));
            if waits {
                let counters = &mut self.core.counters;
                counters.wait_no_more(stored.weight_bytes.into());
                counters.routed -= u64::from(is_passed_on);
                counters.dropped += u64::from(!is_passed_on);
            }
        }
        let from = SessionRef { shard: self.core.id, key };
        let is_wanted = !estate.knows_groups || self.is_wanted(&estate.groups, from, Readiness::Full);
        if is_wanted && estate.fetch(key, &mut self.journal) {
            self.estates.insert(key, estate);
        } else {
            self.close_estate(estate);
        }
    }

    fn close_estate(&mut self, estate: Estate) {
        self.journal.append(&Record::SessionClosed { client_id: estate.name() });
        for weight in estate.waiting() {
            self.core.counters.wait_no_more(weight);
            self.core.counters.dropped += 1;
        }
    }
}

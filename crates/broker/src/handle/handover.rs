//! Messages of groups that only the journal holds: read back a few at a time and given to other members.
//!
//! Called when a session that is in groups loses its connection, leaves one of them, or ends. What one that ended
//! leaves is kept in its name until nothing of it is left. When somebody comes by that name before, the rest is not
//! read back any longer: it goes as references to members that outlive their connections.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use motte_audit::EventKind;
use motte_mqtt::{Qos, SubscriptionFilter};

use super::group::Leaving;
use crate::effects::{Effects, Letter, LetterContent};
use crate::journal::{DurableTarget, Journal, Record};
use crate::restore::{FetchedMessage, StoredRef};
use crate::routes::{Readiness, SessionKey, SessionRef, Share, Subscription};
use crate::session::handover::Estate;
use crate::session::queue::Owed;
use crate::session::{Session, event_about};
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
            let Some(owed) = found.and_then(Owed::read_back) else {
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

    /// A session that was removed leaves something to its groups: the journal is told of its end once that is done.
    pub(super) fn close_session(&mut self, mut session: Session, now: Millis, fx: &mut impl Effects) {
        let mut turn = self.core.turn(&mut self.journal, now);
        let estate = session.take_estate(&mut turn);
        session.discard(&mut turn);
        match estate {
            Some(estate) => {
                // A crash meanwhile ends it once more, and does not bring it back.
                let (owner, mount_point) = (&estate.facts.subject, estate.facts.mount_point.as_str());
                self.journal.append(&Record::SessionOpened { owner, expiry_s: 0, mount_point });
                let is_fetching = estate.is_fetching;
                self.estates.insert(session.key, estate);
                // What the session itself had asked for comes first.
                if !is_fetching {
                    self.settle_estate(session.key, Vec::new(), now, fx);
                }
            }
            None if session.is_recorded => {
                self.journal.append(&Record::SessionClosed { client_id: session.client_id() });
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
        for FetchedMessage { origin, found } in messages {
            let Some((stored, waits)) = estate.take(origin) else { continue };
            let owed = found.and_then(Owed::read_back);
            let leaving = Leaving { key, facts: &facts, readiness: Readiness::Full, times: 0 };
            let is_passed_on = owed.is_some_and(|owed| self.pass_on(&owed, leaving, now, fx));
            if waits {
                let counters = &mut self.core.counters;
                counters.wait_no_more(stored.weight_bytes.into());
                counters.routed -= u64::from(is_passed_on);
                counters.dropped += u64::from(!is_passed_on);
            }
        }
        let from = SessionRef { shard: self.core.id, key };
        if self.is_wanted(&estate.groups, from, Readiness::Full) && estate.fetch(key, &mut self.journal) {
            self.estates.insert(key, estate);
        } else {
            self.close_estate(estate);
        }
    }

    /// Somebody comes by the name of a session that ended: what it left is not read back any longer. What nobody can be
    /// given unread is dropped and reported.
    pub(super) fn close_estate_of(&mut self, client_id: &str, now: Millis, fx: &mut impl Effects) {
        let of_client = |(_, estate): &(&SessionKey, &Estate)| *estate.facts.subject.client_id.0 == *client_id;
        let key = self.estates.iter().find(of_client).map(|(key, _)| *key);
        let Some(mut estate) = key.and_then(|key| self.estates.remove(&key)) else { return };
        let dropped = self.bequeath(&mut estate, now, fx);
        if dropped > 0 {
            fx.event(event_about(&estate.facts.subject, EventKind::Dropped { messages: dropped }));
        }
        self.close_estate(estate);
    }

    /// Gives what is left of an estate to members that outlive their connections, unread and in turn, be they
    /// connected or not: a reference costs nothing. Whether they may have it is judged when they read it back. Tells
    /// how many messages there was nobody for.
    fn bequeath(&mut self, estate: &mut Estate, now: Millis, fx: &mut impl Effects) -> u64 {
        let facts = Arc::clone(&estate.facts);
        let groups = std::mem::take(&mut estate.groups);
        let (share, heirs) = self.heirs(&groups);
        let mut dropped = 0;
        while let Some((stored, waits)) = estate.pop() {
            let rate = |session: SessionRef, subscription: &Subscription| {
                let qos = subscription.options.qos;
                let lasts = subscription.facts.durable.load(Ordering::Acquire);
                if qos == Qos::AtMostOnce || !lasts || !heirs.contains(&session) {
                    return Readiness::Full;
                }
                match subscription.facts.room.readiness(qos, 0) {
                    // That it is there is certain.
                    _ if session.shard == self.core.id => Readiness::Ready,
                    // It may end on its shard before it is told: less likely where nobody is connected.
                    Readiness::Away => Readiness::Busy,
                    Readiness::Full | Readiness::Busy | Readiness::Ready => Readiness::Away,
                }
            };
            let chosen = share.as_ref().and_then(|share| self.core.shared.routes.choose(share, rate));
            let counters = &mut self.core.counters;
            if waits {
                counters.wait_no_more(stored.weight_bytes.into());
                counters.routed -= u64::from(chosen.is_some());
                counters.dropped += u64::from(chosen.is_none());
            }
            let Some((shard, target)) = chosen else {
                dropped += 1;
                continue;
            };
            // How it was published stands in the message alone: this is what the member would take at most.
            let to = DurableTarget::new(&target, Qos::ExactlyOnce, true);
            let stored = StoredRef { qos: to.qos, ..stored };
            self.journal.append(&Record::Moved { origin: stored.origin, from: &facts.subject.client_id.0, to });
            if shard == self.core.id {
                self.inherit(target.key, stored, now, fx);
            } else {
                fx.post(shard, Letter { content: LetterContent::Inherit { key: target.key, stored } });
            }
        }
        dropped
    }

    /// Who may be given a message of one of these groups without looking which: those who are in all of them.
    fn heirs(&self, groups: &[Box<str>]) -> (Option<Share>, BTreeSet<SessionRef>) {
        let parsed = groups.iter().filter_map(|text| SubscriptionFilter::parse(text, usize::MAX).ok());
        let mut members = parsed.clone().map(|filter| self.core.shared.routes.members(&filter));
        let first = members.next().unwrap_or_default();
        let common = members.fold(first, |common, next| &common & &next);
        let share = parsed
            .clone()
            .next()
            .and_then(|filter| Some(Share::new(filter.share?.as_str().into(), filter.filter.as_str().into())));
        (share, common)
    }

    /// A message of a group that only the journal holds was moved to a session of this shard.
    pub(crate) fn inherit(&mut self, key: SessionKey, stored: StoredRef, now: Millis, fx: &mut impl Effects) {
        self.core.counters.routed += 1;
        if let Some(slot) = self.slot(key) {
            self.sessions[slot].inherit(&stored, &mut self.core.turn(&mut self.journal, now), fx);
            if self.sessions[slot].link.is_some() {
                self.pump(slot, now, fx);
            }
        } else if let Some(estate) = self.estates.get_mut(&key) {
            // It ended meanwhile and leaves it in its turn.
            estate.inherit(&stored, &self.core.limits);
            self.core.counters.wait(stored.weight_bytes.into());
        } else {
            self.core.counters.dropped += 1;
        }
    }

    fn close_estate(&mut self, estate: Estate) {
        self.journal.append(&Record::SessionClosed { client_id: &estate.facts.subject.client_id.0 });
        for weight in estate.waiting() {
            self.core.counters.wait_no_more(weight);
            self.core.counters.dropped += 1;
        }
    }
}

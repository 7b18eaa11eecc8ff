//! Messages of shared subscriptions: checked again where the chosen member lives, passed on when it cannot take them or
//! leaves.
//!
//! Called by delivery, by the end of links and sessions, and by UNSUBSCRIBE. A message is with one member at a time: it
//! leaves one session before it is offered to the next.

use std::sync::Arc;

use motte_mqtt::SubscriptionFilter;

use crate::effects::{Effects, Letter, LetterContent};
use crate::journal::{DurableTarget, Journal, JournalState, Record};
use crate::message::Message;
use crate::routes::{Facts, Readiness, SessionKey, SessionRef, Share, Subscription, Target};
use crate::session::Session;
use crate::session::queue::{Owed, Queue};
use crate::shard::{Millis, Shard};

/// How often a message may look for another member: each shard knows its own members exactly and the others a moment
/// late, so a few times are enough, and a message cannot go round for ever.
const TIMES_PASSED_MAX: u8 = 4;

/// A message of a group on its way to a member.
#[derive(Debug)]
pub(crate) struct PassedOn {
    key: SessionKey,
    facts: Arc<Facts>,
    owed: Owed,
    times: u8,
}

impl PassedOn {
    /// A message for the member a publisher chose.
    pub(crate) fn new(target: &Target, owed: Owed) -> Self {
        Self { key: target.key, facts: Arc::clone(&target.facts), owed, times: 0 }
    }

    /// The message.
    pub(crate) fn message(&self) -> &Message {
        &self.owed.message
    }
}

/// The member a message leaves, and how well it could still take it.
#[derive(Clone, Copy)]
pub(super) struct Leaving<'a> {
    pub(super) key: SessionKey,
    pub(super) facts: &'a Arc<Facts>,
    pub(super) readiness: Readiness,
    pub(super) times: u8,
}

impl<J: Journal> Shard<J> {
    /// Gives a message of a group to a member of this shard, or passes it on to one that can take it better.
    pub(crate) fn give(&mut self, passed: PassedOn, now: Millis, fx: &mut impl Effects) {
        let PassedOn { key, facts, mut owed, times } = passed;
        let slot = self.slot(key);
        if slot.is_none() && self.journal.state() == JournalState::Ready {
            // It ended before the journal was told that it is owed the message: there is nothing that could be moved.
            // What it leaves may have come to be owed it since, whether or not the session still lasted in the end.
            if let (Some(estate), Some(origin)) = (self.estates.get(&key), owed.message.origin) {
                self.journal.append(&Record::Settled { client_id: estate.name(), origin });
            }
            self.settle_owed(&owed, &facts);
            owed.is_kept = false;
        }
        let readiness = match slot {
            Some(slot) => self.sessions[slot].readiness(&owed, &self.core.turn(&mut self.journal, now), fx),
            None => Readiness::Full,
        };
        if slot.is_some_and(|slot| !Arc::ptr_eq(&facts, &self.sessions[slot].facts)) {
            // Judged by what was known of its owner before.
            owed.epoch = None;
        }
        let leaving = Leaving { key, facts: &facts, readiness, times };
        if readiness < Readiness::Busy && self.pass_on(&owed, leaving, now, fx) {
            return;
        }
        if let Some(slot) = slot {
            self.offer(slot, owed, now, fx);
            return;
        }
        self.core.counters.routed += 1;
        self.core.counters.dropped += 1;
        self.settle_owed(&owed, &facts);
    }

    /// A subscription to a group was removed: what waits for it goes to the other members, if there are any.
    pub(crate) fn leave_group(
        &mut self,
        slot: usize,
        filter: &SubscriptionFilter<'_>,
        now: Millis,
        fx: &mut impl Effects,
    ) {
        self.pass_waiting_on(slot, Readiness::Full, |share| share.is(filter), now, fx);
        // What is only kept by the journal follows when it is read back.
        let name = filter.share.map_or("", |name| name.as_str());
        self.sessions[slot].note_left_group(&format!("$share/{name}/{}", filter.filter.as_str()));
        self.begin_handover(slot, now);
    }

    /// Messages of groups that a session has left were read back for it: they go to the other members, if there are.
    pub(super) fn pass_left_on(&mut self, slot: usize, now: Millis, fx: &mut impl Effects) {
        let groups = self.sessions[slot].groups();
        let is_left = |share: &Share| groups.iter().all(|text| **text != *share.text());
        self.pass_waiting_on(slot, Readiness::Full, is_left, now, fx);
    }

    /// A link ended and its session goes on: what waits for groups goes to members that are online.
    pub(crate) fn leave_waiting(&mut self, slot: usize, now: Millis, fx: &mut impl Effects) {
        if self.sessions[slot].shares == 0 {
            return;
        }
        self.sessions[slot].tell_room(&self.core.turn(&mut self.journal, now), fx);
        self.pass_waiting_on(slot, Readiness::Away, |_| true, now, fx);
    }

    /// A session ended, and was removed already: what waits for groups and what was sent at QoS 1 and not acknowledged
    /// goes to other members.
    pub(crate) fn leave_groups(&mut self, session: &mut Session, now: Millis, fx: &mut impl Effects) {
        if session.shares == 0 {
            return;
        }
        let facts = Arc::clone(&session.facts);
        let leaving = Leaving { key: session.key, facts: &facts, readiness: Readiness::Full, times: 0 };
        for (owed, waits) in session.take_unacknowledged() {
            let is_passed_on = self.pass_on(&owed, leaving, now, fx);
            if waits {
                let counters = &mut self.core.counters;
                counters.wait_no_more(owed.weight());
                counters.routed -= u64::from(is_passed_on);
                counters.dropped += u64::from(!is_passed_on);
            }
        }
        let mut queue = session.take_queue();
        self.pass_queue_on(&mut queue, leaving, |_| true, now, fx);
        session.put_queue(queue, &mut self.core.turn(&mut self.journal, now));
    }

    fn pass_waiting_on(
        &mut self,
        slot: usize,
        readiness: Readiness,
        which: impl Fn(&Share) -> bool,
        now: Millis,
        fx: &mut impl Effects,
    ) {
        let session = &mut self.sessions[slot];
        let (key, facts) = (session.key, Arc::clone(&session.facts));
        let mut queue = session.take_queue();
        self.pass_queue_on(&mut queue, Leaving { key, facts: &facts, readiness, times: 0 }, which, now, fx);
        self.sessions[slot].put_queue(queue, &mut self.core.turn(&mut self.journal, now));
    }

    fn pass_queue_on(
        &mut self,
        queue: &mut Queue,
        leaving: Leaving<'_>,
        which: impl Fn(&Share) -> bool,
        now: Millis,
        fx: &mut impl Effects,
    ) {
        let passed = queue.take_failing(|owed| {
            let is_meant = owed.share.as_deref().is_some_and(&which);
            !(is_meant && self.pass_on(owed, leaving, now, fx))
        });
        for owed in &passed {
            self.core.counters.wait_no_more(owed.weight());
            self.core.counters.routed -= 1;
        }
    }

    /// Gives a message to another member that can take it better; tells whether there was one.
    pub(super) fn pass_on(&mut self, owed: &Owed, leaving: Leaving<'_>, now: Millis, fx: &mut impl Effects) -> bool {
        let message = &owed.message;
        let may_go_on = leaving.times < TIMES_PASSED_MAX && !message.is_expired(now);
        let Some(share) = owed.share.as_ref().filter(|_| may_go_on) else { return false };
        let from = SessionRef { shard: self.core.id, key: leaving.key };
        let rate = |session: SessionRef, subscription: &Subscription| {
            let qos = message.qos.min(subscription.options.qos);
            let readiness = subscription.facts.room.readiness(qos, message.packet_bytes_max());
            let is_better = session != from && readiness > leaving.readiness;
            let may = is_better && subscription.facts.may_receive(&self.core.policy, &message.topic);
            if may { readiness } else { Readiness::Full }
        };
        let Some((shard, target)) = self.core.shared.routes.choose(share, rate) else { return false };
        // Not judged yet: the member's shard asks about the publisher and about the member.
        let mut next =
            PassedOn { times: leaving.times + 1, ..PassedOn::new(&target, Owed::new(message, &target, None)) };
        self.record_passed_on(&mut next.owed, (owed, leaving.facts), &target);
        if shard == self.core.id {
            self.give(next, now, fx);
        } else {
            fx.post(shard, Letter { content: LetterContent::PassOn(next) });
        }
        true
    }

    /// Writes down who is owed the message now. A message that was not written down for the session it leaves is
    /// recorded anew when the next one is durable.
    fn record_passed_on(&mut self, next: &mut Owed, (old, facts): (&Owed, &Arc<Facts>), target: &Target) {
        let is_owed = target.is_owed(next.message.qos);
        match old.origin() {
            Some(origin) if is_owed => {
                let to = DurableTarget::new(target, next.message.qos, next.message.retain);
                let from = &facts.name;
                self.journal.append(&Record::Moved { origin, from, to });
                next.is_kept = true;
            }
            Some(_) => {
                self.settle_owed(old, facts);
                next.is_kept = false;
            }
            None if is_owed && self.journal.state() == JournalState::Ready => {
                next.message = self.keep(&next.message, target);
                next.is_kept = true;
            }
            None => next.is_kept = false,
        }
    }

    /// A session that was owed a message needs it no longer.
    pub(super) fn settle_owed(&mut self, owed: &Owed, facts: &Arc<Facts>) {
        if let Some(origin) = owed.origin() {
            self.journal.append(&Record::Settled { client_id: &facts.name, origin });
        }
    }
}

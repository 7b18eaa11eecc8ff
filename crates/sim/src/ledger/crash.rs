//! What is left of the books when the broker dies: what its journal kept, and nothing of what it did later.
//!
//! Called by the world at a crash and at the start that follows. An answer that a client was given is judged where it
//! is written: the turn it stands for has to be durable by then, so that nothing taken back here was promised.

use std::collections::BTreeMap;

use motte_broker::Millis;
use motte_broker::mqtt::Qos;

use super::{Due, Ledger, Session};
use crate::history::{MessageNo, SessionNo, Tally, What};

/// The books as they were at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// Length of the log.
    facts: usize,
    sessions: BTreeMap<usize, Session>,
    retained: BTreeMap<&'static str, MessageNo>,
}

impl Ledger {
    /// The books as they are.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot { facts: self.history.facts.len(), sessions: self.sessions.clone(), retained: self.retained.clone() }
    }

    /// The broker died, and its journal holds what is in `before`; all of it when that is `None`.
    pub(crate) fn on_crash(&mut self, before: Option<Snapshot>) {
        let before = before.unwrap_or_else(|| self.snapshot());
        let from = before.facts;
        let at = self.note(What::Crashed { from });
        let lived: Vec<SessionNo> = self.sessions.values().map(|session| session.no).collect();
        self.sessions = before.sessions;
        self.sessions.retain(|_, session| session.is_kept);
        self.retained = before.retained;
        for no in lived {
            self.history.sessions[no].ended.get_or_insert(at);
        }
        for session in self.sessions.values() {
            self.history.sessions[session.no].ended = None;
        }
        self.restore_memberships(from, at);
        self.restore_debts(from);
    }

    fn restore_memberships(&mut self, from: usize, at: usize) {
        for session in self.sessions.values() {
            let book = &mut self.history.sessions[session.no];
            for filter in session.subscriptions.keys() {
                let mut mine = book.memberships.iter_mut().filter(|one| one.filter == *filter);
                if let Some(kept) = mine.find(|one| one.until.is_none_or(|until| until > from)) {
                    kept.until = None;
                }
                mine.filter(|one| one.until.is_none()).for_each(|lost| lost.until = Some(at + 1));
            }
            let is_gone = |filter: &String| !session.subscriptions.contains_key(filter);
            let gone = book.memberships.iter_mut().filter(|one| one.until.is_none() && is_gone(&one.filter));
            gone.for_each(|lost| lost.until = Some(at + 1));
        }
    }

    /// What was accepted later is owed no more; what was acknowledged by its receiver later may come again.
    fn restore_debts(&mut self, from: usize) {
        let is_later = |settled: Option<usize>| settled.is_some_and(|at| at >= from);
        let lives = |no: SessionNo| self.history.sessions[no].ended.is_none();
        for owed in &mut self.history.owed {
            owed.is_void |= owed.since >= from;
            owed.is_handed = true;
            owed.settled = owed.settled.filter(|_| !is_later(owed.settled));
            // At QoS 2 the identifier was durable before the message left.
            if owed.is_written && owed.settled.is_none() && owed.qos == Qos::AtLeastOnce && is_later(owed.written) {
                (owed.is_written, owed.must_repeat) = (false, true);
            }
        }
        for group in &mut self.history.groups {
            group.is_void |= group.since >= from;
            group.settled = group.settled.filter(|_| !is_later(group.settled));
            // A QoS 2 delivery that was begun goes on with the same member.
            let stays = |(no, qos): (SessionNo, Qos)| group.settled.is_some() || (lives(no) && qos == Qos::ExactlyOnce);
            group.winner = group.winner.filter(|winner| stays(*winner));
        }
        for settled in self.written.values_mut() {
            *settled = settled.filter(|_| !is_later(*settled));
        }
    }

    /// The broker is there again, `now`; it died at `died`. Sessions live on the shards they now belong to.
    pub(crate) fn on_restart(&mut self, died: Millis, shards: u16, shard_of: impl Fn(usize) -> usize) {
        let now = self.now;
        self.note(What::Restarted { shards });
        self.history.tallies = vec![Tally::default(); usize::from(shards)];
        self.history.has_crashed = true;
        for (client, session) in &mut self.sessions {
            session.shard = shard_of(*client);
            self.history.sessions[session.no].shard = session.shard;
            if session.link.take().is_none() && !session.has_left_unsaid {
                continue;
            }
            session.has_left_unsaid = true;
            // Who finds it without a connection, and not since when, counts from its own start.
            let first = |due: Option<Due>, seconds| due.map_or(died.plus_s(seconds), |Due(first, _)| first);
            let due = |known, seconds| Due(first(known, seconds), now.plus_s(seconds));
            let will_s = session.will.map(|will| will.delay_s.min(session.expiry_s));
            session.will_due = will_s.map(|seconds| due(session.will_due, seconds));
            session.ends = (session.expiry_s != u32::MAX).then(|| due(session.ends, session.expiry_s));
            session.is_ending |= session.expiry_s == 0;
        }
    }

    /// The journal was told at a start that a session has no connection any more.
    pub(crate) fn on_left_said(&mut self, client: usize) {
        if let Some(session) = self.sessions.get_mut(&client) {
            session.has_left_unsaid = false;
        }
    }
}

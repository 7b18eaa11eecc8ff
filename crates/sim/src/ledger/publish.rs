//! What a PUBLISH or a will comes to by the rules: refused, or owed to whom.

use std::collections::BTreeMap;

use motte_broker::QueuePolicy;
use motte_broker::mqtt::{ProtocolVersion, Qos};

use super::Ledger;
use crate::history::{GroupOwed, Message, MessageNo, Owed, SessionNo, What};
use crate::rights::{matches, share_of};

/// How a PUBLISH has to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Codes for PUBACK or PUBREC.
    pub(crate) codes: Vec<u8>,
    /// Whether it was taken.
    pub(crate) is_accepted: bool,
    /// The turn that has to be durable before the answer leaves; 0 for none.
    pub(crate) turn: u64,
}

/// What became of a message that was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// Somebody is given it.
    is_wanted: bool,
    /// It has to survive a crash.
    is_kept: bool,
}

impl Ledger {
    /// Writes down a message somebody is about to publish; tells its number.
    pub(crate) fn enter(&mut self, message: Message) -> MessageNo {
        self.history.messages.push(message);
        self.history.messages.len() - 1
    }

    /// A PUBLISH was taken from a client.
    pub(crate) fn on_publish(
        &mut self,
        client: usize,
        no: MessageNo,
        id: Option<u16>,
        (version, turn): (ProtocolVersion, u64),
    ) -> Option<Verdict> {
        let is_v5 = version == ProtocolVersion::V5;
        let session = self.sessions.get_mut(&client)?;
        let (user, shard) = (session.user, session.shard);
        self.history.tallies[shard].received += 1;
        let (qos, topic) = (self.history.messages[no].qos, self.history.messages[no].topic);
        let (lasts, repeated) = (session.expiry_s > 0, id.and_then(|id| session.received.get(&id).copied()));
        if let Some(turn) = repeated.filter(|_| qos == Qos::ExactlyOnce) {
            return Some(Verdict { codes: vec![0], is_accepted: false, turn });
        }
        let is_told = is_v5 && qos > Qos::AtMostOnce;
        let verdict = if !self.rights.may_publish(user, topic) {
            self.note(What::Denied { message: no });
            Verdict { codes: vec![if is_v5 { 0x87 } else { 0 }], is_accepted: false, turn: 0 }
        } else if is_told && self.is_retained_full(no) {
            self.history.tallies[shard].owed += 1;
            self.note(What::Denied { message: no });
            Verdict { codes: vec![0x97], is_accepted: false, turn: 0 }
        } else {
            let Taken { is_wanted, is_kept } = self.accept(no, shard);
            let codes = if is_wanted || !is_v5 { vec![0] } else { vec![0, 0x10] };
            let must_hold = is_kept || (lasts && qos == Qos::ExactlyOnce);
            Verdict { codes, is_accepted: true, turn: if must_hold { turn } else { 0 } }
        };
        let is_held = qos == Qos::ExactlyOnce && verdict.codes[0] < 0x80;
        if let Some(session) = self.sessions.get_mut(&client)
            && is_held
        {
            session.received.extend(id.map(|id| (id, turn)));
        }
        Some(verdict)
    }

    /// A PUBLISH was refused because a queue is full.
    pub(crate) fn on_refused(&mut self, client: usize, no: MessageNo) -> Verdict {
        if let Some(session) = self.sessions.get(&client) {
            self.history.tallies[session.shard].received += 1;
        }
        self.note(What::Denied { message: no });
        Verdict { codes: vec![0x97], is_accepted: false, turn: 0 }
    }

    /// Whether a message may be refused: it is for a session that lasts and for which enough may wait, or for a group
    /// of nobody but such.
    pub(crate) fn may_refuse(&self, no: MessageNo) -> bool {
        let message = &self.history.messages[no];
        if message.qos == Qos::AtMostOnce || self.limits.queue_policy != QueuePolicy::Reject {
            return false;
        }
        let mut groups: BTreeMap<&str, bool> = BTreeMap::new();
        for session in self.sessions.values().filter(|session| self.rights.may_receive(session.user, message.topic)) {
            for (filter, sub) in &session.subscriptions {
                let (share, topic_filter) = share_of(filter);
                if !matches(topic_filter, message.topic) {
                    continue;
                }
                let lasts = session.expiry_s > 0 && Self::effective(message.qos, sub) > Qos::AtMostOnce;
                let is_full = lasts && self.may_be_full(session.no);
                match share {
                    None if is_full => return true,
                    None => {}
                    Some(_) => *groups.entry(filter).or_insert(true) &= is_full,
                }
            }
        }
        groups.into_values().any(|is_full| is_full)
    }

    /// Whether as much may wait for a session as makes its queue count as full.
    fn may_be_full(&self, session: SessionNo) -> bool {
        // What another member was given may have come back when its session ended.
        let owed = self.history.owed.iter().filter(|owed| owed.session == session && !owed.is_written);
        let book = &self.history.sessions[session];
        let groups = self.history.groups.iter().filter(|group| {
            group.winner.is_none_or(|(winner, _)| winner != session)
                && book.member_since(&group.filter, group.since).count() > 0
        });
        let max = self.limits.queue_messages_max;
        owed.count() + groups.count() >= max - max / 16
    }

    /// Whether a retained message finds no room: what has expired makes some.
    fn is_retained_full(&self, no: MessageNo) -> bool {
        let message = &self.history.messages[no];
        if !message.retain || message.payload.is_empty() {
            return false;
        }
        let is_live = |no: &MessageNo| self.history.messages[*no].expires.last().is_none_or(|at| *at > self.now);
        let others = self.retained.iter().filter(|(topic, no)| **topic != message.topic && is_live(no)).count();
        others + 1 > self.limits.retained_messages_max
    }

    /// The broker has to take a message on this shard: owed to every session that subscribed and may receive it, once,
    /// at the highest QoS of its matching subscriptions (MQTT-3.3.4-2), and to one member of each group.
    pub(crate) fn accept(&mut self, no: MessageNo, shard: usize) -> Taken {
        let at = self.note(What::Accepted { message: no });
        let now = self.now;
        let is_full = self.is_retained_full(no);
        let message = &mut self.history.messages[no];
        message.accepted.push(at);
        message.expires.extend(message.expiry_s.map(|s| now.plus_s(s)));
        let message = message.clone();
        if is_full {
            self.history.tallies[shard].owed += 1;
        } else if message.retain && message.payload.is_empty() {
            self.retained.remove(message.topic);
        } else if message.retain {
            self.retained.insert(message.topic, no);
        }
        let keeps = message.retain && !is_full;
        let direct = self.owe_direct(no, at, shard, &message, keeps);
        let shared = self.owe_groups(no, at, shard, &message);
        let is_kept = direct.is_kept || shared.is_kept || (keeps && !message.payload.is_empty());
        Taken { is_wanted: direct.is_wanted || shared.is_wanted, is_kept }
    }

    fn owe_direct(&mut self, no: MessageNo, at: usize, shard: usize, message: &Message, keeps: bool) -> Taken {
        let mut taken = Taken { is_wanted: false, is_kept: false };
        for (client, session) in &self.sessions {
            let own = *client == message.publisher;
            let subs = session.subscriptions.iter().filter(|(filter, sub)| {
                let (share, filter) = share_of(filter);
                share.is_none() && matches(filter, message.topic) && !(own && sub.options.no_local)
            });
            let subs: Vec<_> = subs.map(|(_, sub)| sub).collect();
            let Some(qos) = subs.iter().map(|sub| Self::effective(message.qos, sub)).max() else { continue };
            if !self.rights.may_receive(session.user, message.topic) {
                self.history.tallies[shard].owed += 1;
                continue;
            }
            taken.is_wanted = true;
            taken.is_kept |= qos > Qos::AtMostOnce && session.expiry_s > 0;
            let mut subscription_ids: Vec<u32> = subs.iter().filter_map(|sub| sub.id).collect();
            subscription_ids.sort_unstable();
            let is_handed = session.shard == shard;
            self.history.tallies[shard].owed += u64::from(is_handed);
            self.history.owed.push(Owed {
                message: no,
                session: session.no,
                since: at,
                qos,
                keeps_retain: keeps && subs.iter().any(|sub| sub.options.retain_as_published),
                subscription_ids,
                expires: message.expires.last().copied(),
                is_handed,
                maybe_dropped: false,
                is_written: false,
                id: None,
                settled: None,
                written: None,
                must_repeat: false,
                is_void: false,
            });
        }
        taken
    }

    fn owe_groups(&mut self, no: MessageNo, at: usize, shard: usize, message: &Message) -> Taken {
        let mut groups: BTreeMap<&str, Vec<(SessionNo, Qos, bool)>> = BTreeMap::new();
        for session in self.sessions.values() {
            for (filter, sub) in &session.subscriptions {
                let (share, topic_filter) = share_of(filter);
                if share.is_some() && matches(topic_filter, message.topic) {
                    let group = groups.entry(filter).or_default();
                    if self.rights.may_receive(session.user, message.topic) {
                        group.push((session.no, Self::effective(message.qos, sub), session.expiry_s > 0));
                    }
                }
            }
        }
        let mut taken = Taken { is_wanted: false, is_kept: false };
        for (filter, members) in groups {
            let Some(qos_min) = members.iter().map(|(_, qos, _)| *qos).min() else {
                self.history.tallies[shard].owed += 1;
                continue;
            };
            taken.is_wanted = true;
            // Whoever of them is chosen.
            taken.is_kept |= qos_min > Qos::AtMostOnce && members.iter().all(|(_, _, lasts)| *lasts);
            self.history.groups.push(GroupOwed {
                message: no,
                filter: filter.into(),
                since: at,
                members: members.into_iter().map(|(session, ..)| session).collect(),
                qos_min,
                expires: message.expires.last().copied(),
                winner: None,
                settled: None,
                is_void: false,
            });
        }
        taken
    }

    /// A parcel with this message reached a shard.
    pub(crate) fn on_parcel(&mut self, no: MessageNo, since: usize, shard: usize) {
        let sessions = &self.history.sessions;
        for owed in self.history.owed.iter_mut().rev().take_while(|owed| owed.since >= since) {
            let book = &sessions[owed.session];
            if owed.message != no || owed.since != since || book.shard != shard || owed.is_handed {
                continue;
            }
            owed.is_handed = true;
            self.history.tallies[shard].owed += u64::from(book.ended.is_none());
        }
    }

    /// In the call in which this shard took these messages it counted something as dropped.
    pub(crate) fn on_dropped(&mut self, taken: &[(MessageNo, usize)], shard: usize) {
        let sessions = &self.history.sessions;
        if self.limits.queue_policy == QueuePolicy::DropOldest {
            let older = self.history.owed.iter_mut().filter(|owed| !owed.is_written);
            older.filter(|owed| sessions[owed.session].shard == shard).for_each(|owed| owed.maybe_dropped = true);
        }
        for (no, since) in taken {
            let owed = self.history.owed.iter_mut().rev().take_while(|owed| owed.since >= *since);
            for owed in owed.filter(|owed| owed.message == *no && sessions[owed.session].shard == shard) {
                owed.maybe_dropped = true;
            }
        }
        let at = self.history.facts.len();
        self.history.drops.push(at);
    }
}

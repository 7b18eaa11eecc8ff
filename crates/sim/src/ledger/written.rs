//! What a PUBLISH from the broker stands for: something owed to that session, a retained message, or nothing.

use motte_broker::mqtt::{ProtocolVersion, Qos};
use motte_broker::{LinkId, Millis};

use super::Ledger;
use crate::history::{Delivered, GroupOwed, History, Invariant, MessageNo, Owed, SessionNo, Violation, What};

impl Ledger {
    /// A PUBLISH was written to a link.
    pub(crate) fn on_written(&mut self, session: SessionNo, link: LinkId, copy: &Delivered) -> Result<(), Violation> {
        self.note(What::Wrote { session, link, copy: copy.clone() });
        let (shard, client) = (self.history.sessions[session].shard, self.history.sessions[session].client);
        let complain = |invariant, what: &str| {
            Err(Violation::new(invariant, format!("{what}: {copy:?}")).of_message(copy.message).of_client(client))
        };
        if copy.dup {
            let what = "a copy was sent again that its receiver has acknowledged, or was never sent";
            return if self.is_repeat(session, copy) { Ok(()) } else { complain(Invariant::I2, what) };
        }
        self.history.tallies[shard].wrote += 1;
        let Some(no) = copy.message else { return self.on_empty(session, copy) };
        let Some(message) = self.history.messages.get(no) else {
            return complain(Invariant::Protocol, "a message nobody published was written");
        };
        if message.topic != copy.topic || message.accepted.is_empty() {
            return complain(Invariant::Protocol, "a message that was not accepted like this was written");
        }
        let now = self.now;
        // An interval of 0 is over at once, but not before whoever is there is given the message.
        let is_over = |at: &Millis| *at < now || (*at == now && message.expiry_s != Some(0));
        if message.expiry_s.is_some() && message.expires.iter().all(is_over) {
            return complain(Invariant::Protocol, "a message was written after it expired (MQTT-3.3.2-5)");
        }
        let left = |at: &Millis| u32::try_from(at.0.saturating_sub(now.0).div_ceil(1_000)).unwrap_or(u32::MAX);
        if copy.expiry_s.is_some_and(|said| message.expires.iter().all(|at| left(at) != said)) {
            return complain(Invariant::Protocol, "the expiry is not the time left (MQTT-3.3.2-6)");
        }
        self.written.insert((session, no, copy.id), None);
        if self.take_owed(session, no, copy) || self.take_group(session, no, copy) {
            return Ok(());
        }
        if copy.retain && self.history.messages[no].retain {
            self.history.tallies[shard].replayed += 1;
            let from_group = self.history.groups.iter().any(|group| group.message == no);
            self.history.tallies[shard].replayed_maybe += u64::from(from_group);
            return Ok(());
        }
        let owed = self.history.owed.iter().any(|owed| owed.message == no && owed.session == session);
        if owed {
            return complain(Invariant::I2, "a second copy that nobody owes was written, or with other options");
        }
        complain(Invariant::I5, "a message was written that no subscription asked for")
    }

    /// Whether something is sent again that has to be: what was written and not acknowledged, under the identifier it
    /// had (MQTT-4.4.0-1), and what may have been written for all the journal knows.
    fn is_repeat(&mut self, session: SessionNo, copy: &Delivered) -> bool {
        let Some(no) = copy.message else { return true };
        let settled = self.written.get(&(session, no, copy.id)).copied();
        if settled == Some(None) {
            return true;
        }
        // A retained message that got its identifier and did not leave before the crash counts as sent.
        let is_replay = settled.is_none() && copy.retain && self.history.messages[no].retain;
        let is_first = self.take_owed(session, no, copy) || self.take_group(session, no, copy) || is_replay;
        if is_first {
            self.written.insert((session, no, copy.id), None);
            self.history.tallies[self.history.sessions[session].shard].wrote += 1;
        }
        is_first
    }

    /// A client acknowledged a message of QoS 1 or 2: it is not sent again.
    pub(crate) fn on_settled(&mut self, session: SessionNo, copy: &Delivered) {
        let now = self.history.facts.len();
        let Some(no) = copy.message else { return };
        self.written.insert((session, no, copy.id), Some(now));
        let is_it = |owed: &&mut Owed| owed.message == no && owed.session == session && owed.settled.is_none();
        let mut owed = self.history.owed.iter_mut().filter(is_it);
        if let Some(owed) = owed.find(|owed| owed.is_written && owed.id == copy.id) {
            owed.settled = Some(now);
            return;
        }
        let group = self.history.groups.iter_mut().find(|group| {
            group.message == no && group.settled.is_none() && group.winner.is_some_and(|(winner, _)| winner == session)
        });
        if let Some(group) = group {
            group.settled = Some(now);
        }
    }

    /// An empty payload does not say its number: it clears the retained message of its topic and is owed like others.
    fn on_empty(&mut self, session: SessionNo, copy: &Delivered) -> Result<(), Violation> {
        let messages = &self.history.messages;
        let is_it = |owed: &&Owed| {
            let message = &messages[owed.message];
            owed.session == session && !owed.is_written && message.payload.is_empty() && message.topic == copy.topic
        };
        let Some(at) = self.history.owed.iter().rposition(|owed| is_it(&owed)) else {
            // It may have come through a group.
            let groups = self.history.groups.iter().any(|group| messages[group.message].payload.is_empty());
            let what = format!("an empty message nobody owes was written: {copy:?}");
            return if groups { Ok(()) } else { Err(Violation::new(Invariant::I5, what)) };
        };
        self.history.owed[at].is_written = true;
        Ok(())
    }

    fn take_owed(&mut self, session: SessionNo, no: MessageNo, copy: &Delivered) -> bool {
        let history = &mut self.history;
        let now = history.facts.len() - 1;
        let is_v5 = history.versions[history.sessions[session].client] == ProtocolVersion::V5;
        let first = history.messages[no].accepted.first().copied().unwrap_or(usize::MAX);
        let from = history.owed.partition_point(|owed| owed.since < first);
        let found = history.owed[from..].iter_mut().find(|owed| {
            owed.message == no
                && owed.session == session
                && !owed.is_written
                && !owed.is_void
                && (copy.dup || !owed.must_repeat)
                && owed.qos == copy.qos
                && owed.keeps_retain == copy.retain
                && (!is_v5 || owed.subscription_ids == copy.subscription_ids)
        });
        let Some(owed) = found else { return false };
        owed.is_written = true;
        (owed.id, owed.written) = (copy.id, Some(now));
        if copy.retain {
            let shard = self.history.sessions[session].shard;
            self.history.tallies[shard].replayed_maybe += 1;
        }
        true
    }

    /// Finds a group for a copy: one this session was a member of since the message was accepted, since a copy may be
    /// passed on. A session may be in several groups, so others may have to make room. With RETAIN set it may as well
    /// come from the retained store, and is booked as that.
    fn take_group(&mut self, session: SessionNo, no: MessageNo, copy: &Delivered) -> bool {
        let History { groups, sessions, regiven, messages, .. } = &mut self.history;
        let qos_max = messages[no].qos;
        let mut places: Vec<Place<'_>> = groups
            .iter_mut()
            .filter(|group| group.message == no && !copy.retain && !group.is_void)
            .map(|group| Place { group, was_tried: false })
            .collect();
        let fits = |group: &GroupOwed, (session, qos): (SessionNo, Qos)| {
            sessions[session].member_since(&group.filter, group.since).any(|granted| granted.min(qos_max) == qos)
        };
        // What a session that ended had not acknowledged at QoS 1 goes to another member.
        let gave_up = |(session, qos): (SessionNo, Qos)| qos == Qos::AtLeastOnce && sessions[session].ended.is_some();
        for place in &mut places {
            if place.group.winner.is_some_and(gave_up) {
                *regiven += 1;
                place.group.winner = None;
            }
        }
        find_place(&mut places, &fits, (session, copy.qos))
    }
}

struct Place<'a> {
    group: &'a mut GroupOwed,
    was_tried: bool,
}

fn find_place(
    places: &mut [Place<'_>],
    fits: &impl Fn(&GroupOwed, (SessionNo, Qos)) -> bool,
    member: (SessionNo, Qos),
) -> bool {
    for at in 0..places.len() {
        if places[at].was_tried || !fits(places[at].group, member) {
            continue;
        }
        places[at].was_tried = true;
        let has_room = match places[at].group.winner {
            None => true,
            Some(other) => find_place(places, fits, other),
        };
        if has_room {
            places[at].group.winner = Some(member);
            return true;
        }
    }
    false
}

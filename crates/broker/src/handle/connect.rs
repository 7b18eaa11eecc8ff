//! Taking an admitted connection in: ownership, takeover, clean start, CONNACK, redelivery.
//!
//! Called by the shard for each admission. Has no effect on anybody before the owner of the session is checked (K25).

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use motte_audit::{CloseCause, Denial, EventKind, RefusalReason};
use motte_mqtt::{
    ConnAck, ConnAckProperties, Encoder, Packet, ProtocolVersion, Qos, ReasonCode, SubscriptionFilter, TopicName,
};
use motte_policy::scram::METHOD;
use motte_policy::{Subject, SubscribeVerdict};

use super::Ending;
use super::publish::says_its_format;
use crate::admission::Admission;
use crate::effects::Effects;
use crate::journal::{Journal, JournalState, Position, Record};
use crate::limits::Limits;
use crate::link::{Link, write_counted};
use crate::mount::MountPoint;
use crate::rates::Rate;
use crate::routes::SessionKey;
use crate::session::{Session, event_about};
use crate::shard::{LinkId, Millis, Shard};
use crate::tenant::{self, user_key};
use crate::timer::TimerKind;
use crate::words;

impl<J: Journal> Shard<J> {
    pub(crate) fn on_admission(&mut self, link: LinkId, mut admission: Admission, now: Millis, fx: &mut impl Effects) {
        let before = self.journal.last();
        let known = self.clients.get(&admission.name).copied();
        if let Err((reason, why)) = self.check_admission(&admission, known, now) {
            return self.refuse_admission(link, &admission, (reason, why), fx);
        }
        let resumed = known.and_then(|slot| self.take_over(slot, &admission, now, fx));
        let session_present = resumed.is_some();
        if let Some(slot) = resumed {
            self.know_as(slot, &admission.subject, now, fx);
        }
        let slot = resumed.unwrap_or_else(|| {
            if known.is_some() {
                // In the place of one that has just ended: its owner has room for it, whoever was quicker elsewhere.
                self.core.shared.owners.enter_anyhow(&admission.subject);
            }
            self.open(admission.subject.clone(), admission.mount_point.clone())
        });
        self.attach(slot, link, &admission, now);
        // A will that was still to come from an earlier connection is not (MQTT-3.1.3-9).
        self.clear_will(slot);
        self.sessions[slot].will = admission.will.take();
        self.record_opened(slot);
        let told = self.journal.last().filter(|_| self.journal.last() != before);
        self.write_connack(slot, (&admission, session_present), told, fx);
        let protocol_level = match admission.version {
            ProtocolVersion::V31 => 3,
            ProtocolVersion::V311 => 4,
            ProtocolVersion::V5 => 5,
        };
        fx.event(self.sessions[slot].event(EventKind::Admitted { session_present, protocol_level }));
        if let Some(link) = &mut self.sessions[slot].link {
            link.reauthentication = admission.reauthentication;
        }
        self.pump(slot, now, fx);
    }

    /// Whether the session may be had: by its owner only, and within limits. The connection, and a session that is new,
    /// count as those of their owner from here on.
    fn check_admission(
        &self,
        admission: &Admission,
        known: Option<usize>,
        now: Millis,
    ) -> Result<(), (ReasonCode, RefusalReason)> {
        let (limits, shared) = (&self.core.limits, &self.core.shared);
        let identity = &admission.subject.identity;
        if self.is_banned(&admission.subject, now) {
            return Err((ReasonCode::Banned, RefusalReason::Banned));
        }
        let owner = known.map(|slot| &self.sessions[slot].facts.subject.identity);
        if owner.is_some_and(|owner| owner != identity) {
            return Err((ReasonCode::ClientIdNotValid, RefusalReason::ClientIdOwnedByAnother));
        }
        self.check_rates(admission, now)?;
        let is_v5 = admission.version == ProtocolVersion::V5;
        if !is_v5 && limits.refuses_keep_alive(admission.keep_alive_s) {
            return Err((ReasonCode::ClientIdNotValid, RefusalReason::KeepAlive));
        }
        self.check_will(admission)?;
        self.check_connack(admission)?;
        self.check_storage(admission, known)?;
        let reason = if is_v5 { ReasonCode::QuotaExceeded } else { ReasonCode::ServerBusy };
        let full = Err((reason, RefusalReason::Quota));
        let is_in_place = known.is_some_and(|slot| self.sessions[slot].link.is_some());
        if !shared.owners.enter_link(&admission.subject, is_in_place) {
            return full;
        }
        let has_room = self.sessions.len() < limits.sessions_max;
        let subject = &admission.subject;
        if known.is_none() && !(has_room && shared.owners.enter(subject, limits.sessions_per_user_max)) {
            shared.owners.leave_link(subject);
            return full;
        }
        Ok(())
    }

    /// Whether the session can be kept, if it has to be. One that is kept already goes on.
    fn check_storage(&self, admission: &Admission, known: Option<usize>) -> Result<(), (ReasonCode, RefusalReason)> {
        let is_v5 = admission.version == ProtocolVersion::V5;
        let lasts = expiry_in_force(admission, &self.core.limits) > 0;
        let is_kept = known.is_some_and(|slot| self.sessions[slot].is_recorded);
        match self.journal.state() {
            JournalState::Failed => Err((ReasonCode::ServerUnavailable, RefusalReason::JournalFailed)),
            JournalState::Full if lasts && !is_kept => {
                let reason = if is_v5 { ReasonCode::QuotaExceeded } else { ReasonCode::ServerUnavailable };
                Err((reason, RefusalReason::JournalFull))
            }
            JournalState::Full | JournalState::Ready => Ok(()),
        }
    }

    fn check_will(&self, admission: &Admission) -> Result<(), (ReasonCode, RefusalReason)> {
        let Some(will) = &admission.will else { return Ok(()) };
        let limits = &self.core.limits;
        let fits = limits.takes_topic(&will.topic) && TopicName::parse(&will.topic, limits.topic_levels_max).is_ok();
        if !fits {
            Err((ReasonCode::TopicNameInvalid, RefusalReason::BadConnect))
        } else if admission.mount_point.seen(&will.topic).is_none() {
            Err((ReasonCode::NotAuthorized, RefusalReason::WillDenied))
        } else if !says_its_format(will.properties.as_ref(), &will.payload) {
            Err((ReasonCode::PayloadFormatInvalid, RefusalReason::BadConnect))
        } else {
            let forbidden = limits.forbids(will.qos, will.retain);
            forbidden.map_or(Ok(()), |reason| Err((reason, RefusalReason::BadConnect)))
        }
    }

    /// Whether the client takes the CONNACK it has to be sent: without one it would wait for ever.
    fn check_connack(&self, admission: &Admission) -> Result<(), (ReasonCode, RefusalReason)> {
        let properties = told_at_connect(admission, &self.core.limits);
        let connack = ConnAck { session_present: false, reason: ReasonCode::Success, properties };
        let encoder = Encoder::new(admission.version, admission.packet_size_max);
        encoder
            .encode(&Packet::ConnAck(connack), &mut Vec::new())
            .map_err(|_| (ReasonCode::PacketTooLarge, RefusalReason::BadConnect))
    }

    pub(crate) fn refuse_admission(
        &mut self,
        link: LinkId,
        admission: &Admission,
        (reason, why): (ReasonCode, RefusalReason),
        fx: &mut impl Effects,
    ) {
        if let Some(out) = fx.outbox(link) {
            let reason_string = words::of_connect(reason);
            let properties = ConnAckProperties { reason_string, ..ConnAckProperties::default() };
            let packet = ConnAck { session_present: false, reason, properties };
            // What 3.x has no return code for is refused by closing (MQTT-3.2.2-6 of 3.1.1).
            let encoder = Encoder::new(admission.version, admission.packet_size_max);
            write_counted(encoder, &Packet::ConnAck(packet), out, &mut self.core.counters);
        }
        fx.event(event_about(&admission.subject, EventKind::Refused { reason: why }));
        fx.close(link);
    }

    /// Whether user and client connect no more often than they may. The client identifier counts for its user alone:
    /// nobody uses up what another may.
    fn check_rates(&self, admission: &Admission, now: Millis) -> Result<(), (ReasonCode, RefusalReason)> {
        let (limits, connects) = (&self.core.limits, &self.core.shared.connects);
        let user = user_key(&admission.subject);
        let of_user = Rate::per_minute(limits.connects_per_user_per_min_max);
        let of_client = Rate::per_minute(limits.connects_per_client_per_min_max);
        // No name of a user or a client holds the character that is between the two, and the key of no user two of it.
        let client = format!("{}\0\0{}", user.as_deref().unwrap_or_default(), admission.name);
        let is_within =
            user.is_none_or(|user| connects.allows(&user, of_user, now)) && connects.allows(&client, of_client, now);
        if is_within { Ok(()) } else { Err((ReasonCode::ConnectionRateExceeded, RefusalReason::ConnectionRate)) }
    }

    /// Ends the connection that stands for the session, and the session itself on a clean start. Gives the slot when
    /// the session goes on: one that was to end with its connection does not, nor one behind another mount point, whose
    /// subscriptions and messages are of topics that the client would not know by these names.
    fn take_over(&mut self, slot: usize, admission: &Admission, now: Millis, fx: &mut impl Effects) -> Option<usize> {
        let key = self.sessions[slot].key;
        if self.sessions[slot].link.is_some() {
            self.end_link(slot, Ending::told(ReasonCode::SessionTakenOver, CloseCause::TakenOver), now, fx);
        }
        self.slot(key)?;
        if admission.clean_start || self.sessions[slot].facts.mount_point != admission.mount_point {
            self.end_session(slot, now, fx);
            return None;
        }
        Some(slot)
    }

    /// A session that goes on is judged by what its owner is known by now: another address, certificate or token brings
    /// other attributes and rights (K20).
    fn know_as(&mut self, slot: usize, subject: &Subject, now: Millis, fx: &mut impl Effects) {
        if *self.sessions[slot].facts.subject == *subject {
            return;
        }
        let session = &mut self.sessions[slot];
        session.facts = Arc::new(session.facts.known_as(subject.clone()));
        session.forget_verdicts();
        let asked: Vec<_> = session.subscriptions.iter().map(|(text, asked)| (text.clone(), *asked)).collect();
        for (text, asked) in asked {
            if let Ok(filter) = SubscriptionFilter::parse(&text, usize::MAX) {
                self.enter_subscription(slot, &text, &filter, asked);
            }
        }
        self.judge_again(slot, now, fx);
    }

    /// A new session of `owner`, which was counted as one of its owner's.
    pub(super) fn open(&mut self, owner: Subject, mount_point: MountPoint) -> usize {
        let entry = self.sessions.vacant_entry();
        let key = SessionKey { slot: entry.key(), serial: self.core.next_serial };
        self.core.next_serial += 1;
        let session = entry.insert(Session::new(key, owner, mount_point));
        self.clients.insert(Arc::clone(session.name()), key.slot);
        self.core.counters.sessions += 1;
        key.slot
    }

    /// Binds the link to the session.
    fn attach(&mut self, slot: usize, link: LinkId, admission: &Admission, now: Millis) {
        let limits = &self.core.limits;
        let state = Link::new(link, admission, keep_alive_in_force(admission, limits), limits, now);
        let silent_until = state.silent_until();
        let session = &mut self.sessions[slot];
        session.set_expiry(expiry_in_force(admission, limits), &self.core.shared.fullness);
        session.attach(state);
        let timers = &mut self.core.timers;
        timers.clear(&mut session.armed, session.key);
        timers.set(&mut session.armed, session.key, TimerKind::KeepAlive, silent_until);
        self.links.insert(link, slot);
        self.core.counters.links += 1;
    }

    /// Writes CONNACK, which leaves once `told`, the last of what was recorded about the session, is durable.
    fn write_connack(
        &mut self,
        slot: usize,
        (admission, session_present): (&Admission, bool),
        told: Option<Position>,
        fx: &mut impl Effects,
    ) {
        let Some(link) = &mut self.sessions[slot].link else { return };
        if let Some(position) = told.filter(|&position| position > self.journal.durable()) {
            link.open_at(position);
            self.unacknowledged.insert(slot);
        }
        let encoder = link.encoder;
        let Some(out) = link.outbox(fx) else { return };
        let (hints, client_id) = (&self.core.hints, &admission.subject.client_id.0);
        let response = admission.wants_response_information.then(|| hints.response_information(client_id)).flatten();
        let properties = told_at_connect(admission, &self.core.limits);
        let plain = ConnAck { session_present, reason: ReasonCode::Success, properties };
        let with_hint = ConnAckProperties { response_information: response.as_deref(), ..properties };
        let whole = ConnAck { properties: with_hint, ..plain };
        // The hint is the part a client with little room can do without; that the rest fits was checked.
        let counters = &mut self.core.counters;
        if !write_counted(encoder, &Packet::ConnAck(whole), out, counters) {
            write_counted(encoder, &Packet::ConnAck(plain), out, counters);
        }
    }

    fn record_opened(&mut self, slot: usize) {
        self.record_expiry(slot);
        let session = &self.sessions[slot];
        if let Some(will) = session.will.as_ref().filter(|_| session.is_recorded) {
            self.journal.append(&Record::WillSet { client_id: session.name(), will: will.record() });
        }
    }

    /// Writes down how long the session outlives its connection, if the journal has to know it or knows it already.
    pub(super) fn record_expiry(&mut self, slot: usize) {
        let session = &mut self.sessions[slot];
        session.is_recorded |= session.is_durable();
        if session.is_recorded {
            let (owner, expiry_s) = (&session.facts.subject, session.expiry_s);
            let mount_point = session.facts.mount_point.as_str();
            self.journal.append(&Record::SessionOpened { owner, expiry_s, mount_point });
        }
    }

    /// Judges one session under a new policy: what it may no longer subscribe to or be given is taken away (K20).
    pub(crate) fn judge_again(&mut self, slot: usize, now: Millis, fx: &mut impl Effects) {
        let subject = self.sessions[slot].facts.subject.clone();
        let filters: Vec<Box<str>> = self.sessions[slot].subscriptions.keys().cloned().collect();
        for text in filters {
            let Ok(filter) = SubscriptionFilter::parse(&text, usize::MAX) else { continue };
            if tenant::may_subscribe(&self.core.policy, &subject, filter.filter.as_str()) == SubscribeVerdict::Refused {
                self.unsubscribe(slot, &text, now, fx);
                let what = Denial::Subscribe;
                fx.event(event_about(&subject, EventKind::Denied { what, topic: (&*text).into() }));
            }
        }
        self.sessions[slot].judge_queue(&mut self.core.turn(&mut self.journal, now), fx);
    }
}

/// What CONNACK says of our limits, and of what differs from what the client asked for.
fn told_at_connect<'a>(admission: &'a Admission, limits: &Limits) -> ConnAckProperties<'a> {
    let keep_alive_s = keep_alive_in_force(admission, limits);
    let expiry_s = expiry_in_force(admission, limits);
    ConnAckProperties {
        session_expiry_s: (expiry_s != admission.session_expiry_s).then_some(expiry_s),
        receive_maximum: NonZeroU16::new(limits.receive_maximum.max(1)),
        // Absent means all of them (MQTT-3.2.2-9).
        qos_maximum: Some(limits.qos_max).filter(|qos| *qos < Qos::ExactlyOnce),
        retain_available: limits.retains(),
        packet_size_max: NonZeroU32::new(limits.packet_size_bytes_max),
        assigned_client_id: admission.assigned.then_some(&*admission.subject.client_id.0),
        topic_alias_maximum: limits.topic_alias_maximum,
        server_keep_alive_s: (keep_alive_s != admission.keep_alive_s).then_some(keep_alive_s),
        authentication_method: admission.reauthentication.is_some().then_some(METHOD),
        authentication_data: admission.reauthentication.is_some().then_some(&*admission.authentication_data),
        ..ConnAckProperties::default()
    }
}

/// Seconds of the keep alive that is enforced: 0 from a client asks for none, which counts as more than any limit.
fn keep_alive_in_force(admission: &Admission, limits: &Limits) -> u16 {
    match (admission.keep_alive_s, limits.keep_alive_s_max) {
        (asked, 0) => asked,
        (0, max) => max,
        (asked, max) => asked.min(max),
    }
}

/// Seconds the session may outlive the connection.
fn expiry_in_force(admission: &Admission, limits: &Limits) -> u32 {
    admission.session_expiry_s.min(limits.session_expiry_s_max)
}

//! What a shard does with each packet and each fact: one file per kind of packet.
//!
//! Called by `shard`. A handler that meets an error of the peer returns a [`Stop`]; the link then ends with the right
//! reason code and nothing more of it is read.

mod ack;
mod auth;
mod connect;
mod control;
mod disconnect;
mod forward;
mod group;
mod handover;
mod passing;
mod publish;
mod restore;
mod subscribe;
mod sys;

use std::sync::Arc;

use motte_audit::CloseCause;
use motte_mqtt::{Ack, AckKind, DecodeError, Packet, ProtocolVersion, ReasonCode};
use slab::Slab;

use crate::effects::Effects;
use crate::journal::{Journal, Position};
use crate::link::{Answer, Link, PendingAck};
use crate::message::Message;
use crate::restore::FetchedMessage;
use crate::routes::{SessionKey, Target};
use crate::session::Session;
use crate::session::queue::Owed;
use crate::shard::{LinkId, Millis, Shard};
use crate::timer::TimerKind;

pub(crate) use group::PassedOn;
pub(crate) use passing::Passing;

/// Why a link has to end because of what its client sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    reason: ReasonCode,
    cause: CloseCause,
    detail: &'static str,
}

impl Stop {
    /// The client broke the protocol.
    pub(crate) fn protocol(reason: ReasonCode, detail: &'static str) -> Self {
        Self { reason, cause: CloseCause::Protocol, detail }
    }

    /// The client went past a limit.
    pub(crate) fn limit(reason: ReasonCode, detail: &'static str) -> Self {
        Self { reason, cause: CloseCause::Limit, detail }
    }

    /// The client does not read.
    pub(crate) fn slow_reader(detail: &'static str) -> Self {
        Self { reason: ReasonCode::QuotaExceeded, cause: CloseCause::SlowReader, detail }
    }
}

impl From<DecodeError> for Stop {
    fn from(error: DecodeError) -> Self {
        let detail = match error {
            DecodeError::Malformed(detail) | DecodeError::Protocol(detail) | DecodeError::TopicName(detail) => detail,
            DecodeError::UnsupportedVersion => "unsupported protocol version",
            DecodeError::TooLarge => return Self::limit(error.reason(), "packet too large"),
            DecodeError::TopicAlias => "invalid topic alias",
        };
        Self::protocol(error.reason(), detail)
    }
}

/// How a link ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) cause: CloseCause,
    pub(crate) detail: Option<&'static str>,
    /// What a 5.0 client is told in a DISCONNECT; `None` when it left or is gone.
    pub(crate) told: Option<ReasonCode>,
    /// Whether the transport still has to be closed.
    pub(crate) closes: bool,
    /// Whether the will is due.
    pub(crate) will_due: bool,
}

impl Ending {
    /// The transport is gone.
    pub(crate) fn lost(cause: CloseCause) -> Self {
        Self { cause, detail: None, told: None, closes: false, will_due: true }
    }

    /// We end it and say why.
    pub(crate) fn told(reason: ReasonCode, cause: CloseCause) -> Self {
        Self { cause, detail: None, told: Some(reason), closes: true, will_due: true }
    }
}

impl From<Stop> for Ending {
    fn from(stop: Stop) -> Self {
        Self { detail: Some(stop.detail), ..Self::told(stop.reason, stop.cause) }
    }
}

/// The state of a link, if it still is the one of the session in this slot.
fn link_at(sessions: &mut Slab<Session>, slot: usize, link: LinkId) -> Option<&mut Link> {
    sessions.get_mut(slot)?.link.as_mut().filter(|state| state.id == link)
}

/// Bytes of an acknowledgement that says success and nothing else.
const PLAIN_ACK_BYTES: usize = 4;

/// Whether the answer to a packet is never much longer than itself. The outbox need not be looked at after each of
/// those, only after all that came in one turn.
fn is_answered_briefly(packet: &Packet<'_>) -> bool {
    use Packet::{PubAck, PubComp, PubRec, PubRel, Publish};
    matches!(packet, Publish(_) | PubAck(_) | PubRec(_) | PubRel(_) | PubComp(_))
}

impl<J: Journal> Shard<J> {
    /// Reads packets until there is no whole one left or the link has ended.
    pub(crate) fn on_packets(&mut self, link: LinkId, bytes: &[u8], now: Millis, fx: &mut impl Effects) -> usize {
        let Some(&slot) = self.links.get(&link) else { return bytes.len() };
        let mut taken = 0;
        loop {
            // A packet may end the link, and one of this client in another session's place the session.
            let Some(state) = link_at(&mut self.sessions, slot, link) else { return bytes.len() };
            if let Some((kind, id)) = state.decoder.plain_ack(&bytes[taken..]) {
                state.heard = now;
                self.core.counters.incoming.count(bytes[taken], PLAIN_ACK_BYTES);
                taken += PLAIN_ACK_BYTES;
                if let Err(stop) = self.on_ack(slot, kind, &Ack::new(id, ReasonCode::Success), now, fx) {
                    self.end_link(slot, stop.into(), now, fx);
                }
                continue;
            }
            let expected = state.cache.last_topic();
            let topic = expected.as_ref().map_or("", |cached| &cached.topic);
            let stop = match state.decoder.decode_expecting(&bytes[taken..], topic) {
                Ok(None) => break,
                Ok(Some((packet, len))) => {
                    state.heard = now;
                    self.core.counters.incoming.count(bytes[taken], len);
                    taken += len;
                    let is_publish = matches!(packet, Packet::Publish(_));
                    if is_publish && !state.pace.count(len, &self.core.limits, now) {
                        let detail = "publishes come faster than the server takes them";
                        Some(Stop::limit(ReasonCode::MessageRateTooHigh, detail))
                    } else {
                        let is_brief = is_answered_briefly(&packet);
                        let done = self.on_packet(slot, packet, now, fx);
                        done.and_then(|()| if is_brief { Ok(()) } else { self.check_outbox(slot, fx) }).err()
                    }
                }
                Err(error) => Some(Stop::from(error)),
            };
            if let Some(stop) = stop {
                self.end_link(slot, stop.into(), now, fx);
            }
        }
        if link_at(&mut self.sessions, slot, link).is_none() {
            return bytes.len();
        }
        if let Err(stop) = self.check_outbox(slot, fx) {
            self.end_link(slot, stop.into(), now, fx);
            return bytes.len();
        }
        self.pause(slot, fx);
        taken
    }

    /// Lets a client that publishes too fast wait. It cannot be heard for that time, so silence begins after it.
    fn pause(&mut self, slot: usize, fx: &mut impl Effects) {
        let Some(link) = &mut self.sessions[slot].link else { return };
        if let Some(until) = link.pace.settled_at(&self.core.limits) {
            link.heard = link.heard.max(until);
            fx.pause(link.id, until);
        }
    }

    /// The owner does not read these links for now, for a reason that is none of their clients: they cannot be heard,
    /// so their silence begins after it.
    pub fn on_unread(&mut self, links: impl IntoIterator<Item = LinkId>, now: Millis) {
        for link in links {
            let Some(&slot) = self.links.get(&link) else { continue };
            if let Some(state) = &mut self.sessions[slot].link {
                state.heard = state.heard.max(now);
            }
        }
    }

    fn on_packet(&mut self, slot: usize, packet: Packet<'_>, now: Millis, fx: &mut impl Effects) -> Result<(), Stop> {
        match packet {
            Packet::Publish(publish) => self.on_publish(slot, &publish, now, fx),
            Packet::PubAck(ack) => self.on_ack(slot, AckKind::PubAck, &ack, now, fx),
            Packet::PubRec(ack) => self.on_ack(slot, AckKind::PubRec, &ack, now, fx),
            Packet::PubRel(ack) => self.on_ack(slot, AckKind::PubRel, &ack, now, fx),
            Packet::PubComp(ack) => self.on_ack(slot, AckKind::PubComp, &ack, now, fx),
            Packet::Subscribe(subscribe) => self.on_subscribe(slot, &subscribe, now, fx),
            Packet::Unsubscribe(unsubscribe) => self.on_unsubscribe(slot, &unsubscribe, now, fx),
            Packet::PingReq => {
                self.write(slot, &Packet::PingResp, fx);
                Ok(())
            }
            Packet::Disconnect(disconnect) => self.on_disconnect(slot, &disconnect, now, fx),
            Packet::Connect(_) => Err(Stop::protocol(ReasonCode::ProtocolError, "second CONNECT")),
            Packet::Auth(auth) => self.on_auth(slot, &auth, now, fx),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                Err(Stop::protocol(ReasonCode::ProtocolError, "packet that only a server sends"))
            }
        }
    }

    /// A client that asks and never reads must not fill memory with answers: beyond what messages alone can fill, its
    /// outbox may hold as much again.
    fn check_outbox(&self, slot: usize, fx: &mut impl Effects) -> Result<(), Stop> {
        let Some(link) = self.sessions.get(slot).and_then(|session| session.link.as_ref()) else { return Ok(()) };
        let waiting = link.unsent_bytes(fx).unwrap_or(0);
        let limits = &self.core.limits;
        let largest = usize::try_from(limits.packet_size_bytes_max).unwrap_or(usize::MAX);
        if waiting <= limits.outbox_bytes_max.saturating_mul(2).saturating_add(largest) {
            return Ok(());
        }
        Err(Stop::slow_reader("answers are not read"))
    }

    /// Writes a packet to the link of a session, if it has one.
    fn write(&mut self, slot: usize, packet: &Packet<'_>, fx: &mut impl Effects) {
        if let Some(link) = &mut self.sessions[slot].link {
            link.write(packet, &mut self.core.counters, fx);
        }
    }

    fn version(&self, slot: usize) -> ProtocolVersion {
        self.sessions[slot].link.as_ref().map_or(ProtocolVersion::V5, |link| link.version)
    }

    /// Answers once the record at `position` is durable, in the order of the questions.
    fn answer(
        &mut self,
        slot: usize,
        answer: Answer,
        position: Option<Position>,
        fx: &mut impl Effects,
    ) -> Result<(), Stop> {
        let durable = self.journal.durable();
        let Some(link) = &mut self.sessions[slot].link else { return Ok(()) };
        let position = position.unwrap_or_default();
        if position <= durable && !link.waits() {
            link.write_answer(&answer, &mut self.core.counters, fx);
            return Ok(());
        }
        self.unacknowledged.insert(slot);
        if link.wait(PendingAck { position, answer, request: None }) > usize::from(u16::MAX) {
            return Err(Stop::limit(
                ReasonCode::ReceiveMaximumExceeded,
                "too many packets wait for their acknowledgement",
            ));
        }
        Ok(())
    }

    /// Sends what waited for records that are durable now.
    pub(crate) fn acknowledge(&mut self, slot: usize, now: Millis, fx: &mut impl Effects) {
        self.unacknowledged.remove(&slot);
        let durable = self.journal.durable();
        let Some(link) = self.sessions.get_mut(slot).and_then(|session| session.link.as_mut()) else { return };
        let has_opened = link.open(durable, fx);
        while let Some(ack) = link.take_durable(durable) {
            link.write_answer(&ack.answer, &mut self.core.counters, fx);
        }
        if link.waits() || link.is_opening() {
            self.unacknowledged.insert(slot);
        }
        if has_opened || self.sessions[slot].next_record().is_some() {
            self.pump(slot, now, fx);
        }
    }

    /// Gives a message to a session.
    pub(crate) fn offer(&mut self, slot: usize, owed: Owed, now: Millis, fx: &mut impl Effects) {
        self.sessions[slot].offer(owed, &mut self.core.turn(&mut self.journal, now), fx);
        self.note_waiting(slot);
    }

    /// Remembers a session that has something to send which waits for a record.
    fn note_waiting(&mut self, slot: usize) {
        if self.sessions[slot].next_record().is_some_and(|record| record > self.journal.durable()) {
            self.unacknowledged.insert(slot);
        }
    }

    /// Gives a message to sessions of this shard.
    pub(crate) fn deliver(
        &mut self,
        message: &Arc<Message>,
        targets: &[Target],
        epoch: u64,
        now: Millis,
        fx: &mut impl Effects,
    ) {
        self.core.copies.begin(message.payload(), targets.len());
        for target in targets {
            let mut owed = Owed::new(message, target, Some(epoch));
            if owed.share.is_some() {
                self.give(PassedOn::new(target, owed), now, fx);
            } else if let Some(slot) = self.slot(target.key) {
                if !Arc::ptr_eq(&target.facts, &self.sessions[slot].facts) {
                    // Judged by what was known of its owner before.
                    owed.epoch = None;
                }
                self.offer(slot, owed, now, fx);
            } else {
                self.settle_owed(&owed, &target.facts);
            }
        }
        self.core.copies.end();
    }

    /// Sends what may go to a session now.
    pub(crate) fn pump(&mut self, slot: usize, now: Millis, fx: &mut impl Effects) {
        let session = &mut self.sessions[slot];
        if session.is_at_rest() {
            return;
        }
        let wants_more = session.pump(&mut self.core.turn(&mut self.journal, now), fx);
        let at = wants_more.then_some(now);
        self.core.timers.set(&mut session.armed, session.key, TimerKind::Replay, at);
        self.note_waiting(slot);
    }

    /// Messages that a session asked for were read back.
    pub(crate) fn take_fetched(
        &mut self,
        slot: usize,
        messages: Vec<FetchedMessage>,
        now: Millis,
        fx: &mut impl Effects,
    ) {
        let session = &mut self.sessions[slot];
        if session.link.is_none() {
            self.hand_over(slot, messages, now, fx);
            return;
        }
        session.on_fetched(messages, &mut self.core.turn(&mut self.journal, now), fx);
        if session.may_have_left_groups() {
            self.pass_left_on(slot, now, fx);
        }
        self.pump(slot, now, fx);
    }

    /// A timer of a session is due.
    pub(crate) fn on_due(&mut self, key: SessionKey, kind: TimerKind, now: Millis, fx: &mut impl Effects) {
        let Some(slot) = self.slot(key) else { return };
        match kind {
            TimerKind::KeepAlive => self.on_silence(slot, now, fx),
            TimerKind::WillDelay => self.publish_will(slot, now, fx),
            TimerKind::SessionExpiry => self.on_session_expired(slot, now, fx),
            TimerKind::Replay => self.pump(slot, now, fx),
            TimerKind::Reauthentication => self.on_exchange_overdue(slot, now, fx),
            TimerKind::Waiting => self.sessions[slot].on_waited(&mut self.core.turn(&mut self.journal, now), fx),
        }
    }
}

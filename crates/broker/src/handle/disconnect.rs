//! The end of connections and of sessions: DISCONNECT, silence, loss, expiry.
//!
//! Called by the packet handlers, the timers and the shard. Every close of a link passes through `end_link`.

use motte_audit::{CloseCause, Denial, EventKind};
use motte_mqtt::{Disconnect, ProtocolVersion, ReasonCode, SubscriptionFilter};

use super::{Ending, Stop};
use crate::effects::Effects;
use crate::journal::{Journal, Record};
use crate::session::handover::is_estate;
use crate::shard::{Millis, Shard};
use crate::timer::TimerKind;
use crate::words;

impl<J: Journal> Shard<J> {
    pub(crate) fn on_disconnect(
        &mut self,
        slot: usize,
        disconnect: &Disconnect<'_>,
        now: Millis,
        fx: &mut impl Effects,
    ) -> Result<(), Stop> {
        let expiry_max = self.core.limits.session_expiry_s_max;
        let session = &mut self.sessions[slot];
        let expiry_was_zero = session.link.as_ref().is_none_or(|link| link.expiry_was_zero);
        match disconnect.session_expiry_s {
            Some(1..) if expiry_was_zero => {
                let detail = "DISCONNECT sets a Session Expiry Interval after CONNECT had none";
                return Err(Stop::protocol(ReasonCode::ProtocolError, detail));
            }
            Some(expiry_s) => {
                session.set_expiry(expiry_s.min(expiry_max), &self.core.shared.fullness);
                // One that ends now is recorded as closed, once nothing of it is owed any longer.
                if session.is_durable() {
                    self.record_expiry(slot);
                }
            }
            None => {}
        }
        // Only a normal end takes the will back (MQTT-3.14.4-3).
        let is_normal = self.version(slot) != ProtocolVersion::V5 || disconnect.reason == ReasonCode::Success;
        let ending = Ending {
            cause: CloseCause::ClientDisconnected,
            detail: None,
            told: None,
            closes: true,
            will_due: !is_normal,
        };
        self.end_link(slot, ending, now, fx);
        Ok(())
    }

    /// Ends the link of a session; the session goes on for as long as it was to outlive its connection.
    pub(crate) fn end_link(&mut self, slot: usize, ending: Ending, now: Millis, fx: &mut impl Effects) {
        let session = &mut self.sessions[slot];
        let Some(mut link) = session.detach() else { return };
        if let Some(reason) = ending.told {
            let words = ending.detail.or_else(|| words::of_end(reason));
            let has_moved = reason == ReasonCode::UseAnotherServer;
            let reference = self.core.hints.server_reference.as_deref().filter(|_| has_moved);
            link.write_disconnect((reason, words), reference, &mut self.core.counters, fx);
        }
        if ending.closes {
            fx.close(link.id);
        }
        self.links.remove(&link.id);
        self.unacknowledged.remove(&slot);
        self.core.counters.links -= 1;
        self.core.shared.owners.leave_link(&session.facts.subject);
        let (cause, detail) = (ending.cause, ending.detail);
        fx.event(session.event(EventKind::Closed { cause, detail }));
        if !ending.will_due {
            self.clear_will(slot);
        } else if matches!(
            cause,
            CloseCause::Revoked | CloseCause::Removed | CloseCause::Expired | CloseCause::OtherTenant
        ) {
            self.withhold_will(slot, fx);
        }
        self.leave_behind(slot, now, fx);
    }

    /// The journal failed: the session stays as it is written down, with its will, and whoever was connected is told
    /// that nothing can be promised any more.
    pub(crate) fn abandon(&mut self, slot: usize, fx: &mut impl Effects) {
        let session = &mut self.sessions[slot];
        self.core.timers.clear(&mut session.armed, session.key);
        let Some(mut link) = session.detach() else { return };
        let counters = &mut self.core.counters;
        if !link.refuse(ReasonCode::ServerUnavailable, counters, fx) {
            let reason = ReasonCode::ServerBusy;
            link.write_disconnect((reason, words::of_end(reason)), None, counters, fx);
        }
        counters.links -= 1;
        self.core.shared.owners.leave_link(&session.facts.subject);
        fx.close(link.id);
        self.links.remove(&link.id);
        self.unacknowledged.remove(&slot);
        fx.event(session.event(EventKind::Closed { cause: CloseCause::JournalFailed, detail: None }));
    }

    /// Takes away the will of somebody who is not known to be who it was any more: it would be published in a name that
    /// nobody has proved (K15).
    pub(crate) fn withhold_will(&mut self, slot: usize, fx: &mut impl Effects) {
        let session = &self.sessions[slot];
        let Some(will) = &session.will else { return };
        let topic = will.topic.as_ref().into();
        fx.event(session.event(EventKind::Denied { what: Denial::Will, topic }));
        self.core.counters.denied += 1;
        self.clear_will(slot);
    }

    /// Takes a will back.
    pub(super) fn clear_will(&mut self, slot: usize) {
        let session = &mut self.sessions[slot];
        if session.will.take().is_some() && session.is_recorded {
            self.journal.append(&Record::WillCleared { client_id: session.name() });
        }
    }

    /// Arms what a session without a connection waits for, or ends it.
    fn leave_behind(&mut self, slot: usize, now: Millis, fx: &mut impl Effects) {
        let session = &mut self.sessions[slot];
        let expiry_s = session.expiry_s;
        self.core.timers.clear(&mut session.armed, session.key);
        if expiry_s == 0 {
            self.end_session(slot, now, fx);
            return;
        }
        let session = &self.sessions[slot];
        if session.is_recorded {
            self.journal.append(&Record::SessionLeft { client_id: session.name(), at: now });
        }
        self.leave_waiting(slot, now, fx);
        let session = &mut self.sessions[slot];
        session.unload(&mut self.core.turn(&mut self.journal, now));
        self.begin_handover(slot, now);
        let session = &mut self.sessions[slot];
        let will_delay_s = session.will.as_ref().map(|will| will.delay_s(expiry_s));
        let timers = &mut self.core.timers;
        let ends = (expiry_s != u32::MAX).then(|| now.plus_s(expiry_s));
        timers.set(&mut session.armed, session.key, TimerKind::SessionExpiry, ends);
        match will_delay_s {
            Some(0) => self.publish_will(slot, now, fx),
            Some(delay_s) => {
                let at = Some(now.plus_s(delay_s));
                timers.set(&mut session.armed, session.key, TimerKind::WillDelay, at);
            }
            None => {}
        }
    }

    /// Ends a session that has no link: its will is due, everything else of it is dropped.
    pub(crate) fn end_session(&mut self, slot: usize, now: Millis, fx: &mut impl Effects) {
        self.publish_will(slot, now, fx);
        let session_ref = self.session_ref(slot);
        let mut session = self.sessions.remove(slot);
        for text in session.subscriptions.keys() {
            if let Ok(filter) = SubscriptionFilter::parse(text, usize::MAX) {
                self.core.shared.routes.remove(&filter, session_ref);
                *self.core.counters.subscriptions_of(&filter) -= 1;
            }
        }
        self.core.timers.clear(&mut session.armed, session.key);
        self.leave_groups(&mut session, now, fx);
        session.report_missed(fx);
        self.clients.remove(session.name());
        self.core.shared.owners.leave(&session.facts.subject);
        self.core.counters.sessions -= 1;
        self.close_session(session, now, fx);
    }

    /// The session's time is over.
    pub(crate) fn on_session_expired(&mut self, slot: usize, now: Millis, fx: &mut impl Effects) {
        let session = &self.sessions[slot];
        if session.link.is_none() {
            // What a session left had its end told.
            if !is_estate(&session.facts.subject.client_id.0) {
                fx.event(session.event(EventKind::SessionExpired));
                self.core.counters.expired += 1;
            }
            self.end_session(slot, now, fx);
        }
    }

    /// The keep alive timer is due: it ends the link only if nothing was heard since (MQTT-3.1.2-22).
    pub(crate) fn on_silence(&mut self, slot: usize, now: Millis, fx: &mut impl Effects) {
        let session = &mut self.sessions[slot];
        let Some(until) = session.link.as_ref().and_then(crate::link::Link::silent_until) else { return };
        if until > now {
            self.core.timers.set(&mut session.armed, session.key, TimerKind::KeepAlive, Some(until));
            return;
        }
        self.end_link(slot, Ending::told(ReasonCode::KeepAliveTimeout, CloseCause::KeepAlive), now, fx);
    }
}

//! Giving messages to one session: at once, from its queue, again after a resume, and from the retained store.
//!
//! Called by `handle`. Asks policy whenever a message changes hands under another policy than it was last judged by
//! (K20, K21, K22). Never closes a link and never waits.

use std::sync::Arc;

use motte_audit::EventKind;
use motte_mqtt::{Delivery, PacketId, Publish, Qos, SubscriptionIds};
use motte_policy::Policy;

use super::Session;
use super::copies::Copies;
use super::queue::Owed;
use super::waiting::is_over;
use crate::counters::Counters;
use crate::effects::Effects;
use crate::journal::{Journal, Record};
use crate::limits::Limits;
use crate::link::Link;
use crate::message::Origin;
use crate::retained::Retained;
use crate::routes::{Facts, Fullness, Readiness};
use crate::shard::{Millis, ShardId};
use crate::shared::Removals;
use crate::spare::Spare;
use crate::timer::{TimerKind, Timers};

/// What one step of a session is given.
pub(crate) struct Turn<'a> {
    pub(crate) shard: ShardId,
    pub(crate) now: Millis,
    pub(crate) limits: &'a Limits,
    pub(crate) policy: &'a Policy,
    pub(crate) removals: &'a Removals,
    pub(crate) epoch: u64,
    pub(crate) retained: &'a Retained,
    pub(crate) fullness: &'a Fullness,
    pub(crate) timers: &'a mut Timers,
    pub(crate) counters: &'a mut Counters,
    pub(crate) copies: &'a mut Copies,
    pub(crate) spare: &'a mut Spare,
    pub(crate) journal: &'a mut dyn Journal,
}

pub(super) enum Written {
    Sent,
    /// No room or no transport: it has to wait.
    NotNow,
    /// The client does not accept a packet of this size (MQTT-3.1.2-25), or may not see the topic.
    NotForClient,
}

impl Session {
    /// Takes a message that is owed to this session.
    pub(crate) fn offer(&mut self, mut owed: Owed, turn: &mut Turn<'_>, fx: &mut impl Effects) {
        turn.counters.routed += 1;
        if owed.message.is_too_late(turn.now) {
            // Its time ran out on the way from another shard (MQTT-3.3.2-5).
            turn.counters.dropped += 1;
            self.settle(owed.origin(), turn);
        } else if !self.judge(&mut owed, turn) {
            self.withhold(&owed, turn);
        } else if owed.qos == Qos::AtMostOnce {
            self.offer_at_most_once(&owed, turn, fx);
        } else if self.must_wait(owed.message.weight_bytes(), turn) {
            self.enqueue(owed, turn, fx);
        } else {
            self.send_first(owed, turn, fx);
        }
        self.tell_room(turn, fx);
    }

    /// Tells the members of its groups what this session can take, if it is in any.
    pub(crate) fn tell_room(&self, turn: &Turn<'_>, fx: &mut impl Effects) {
        if self.shares == 0 {
            return;
        }
        let (online, queue) = (self.link.is_some(), !self.is_full() && self.takes(1, turn));
        self.facts.room.tell(online, self.has_room(turn, fx), !self.must_wait(1, turn), queue);
    }

    /// How well this session can take a message now.
    pub(crate) fn readiness(&self, owed: &Owed, turn: &Turn<'_>, fx: &mut impl Effects) -> Readiness {
        self.tell_room(turn, fx);
        let readiness = self.facts.room.readiness(owed.qos, owed.message.packet_bytes_max());
        let has_to_wait = matches!(readiness, Readiness::Away | Readiness::Busy);
        if has_to_wait && !self.takes(owed.message.weight_bytes(), turn) {
            return Readiness::Full;
        }
        readiness
    }

    /// Whether a new message of this weight has to go behind others, or the window is full.
    fn must_wait(&self, weight_bytes: usize, turn: &Turn<'_>) -> bool {
        self.is_held_up(turn) || !self.queue.is_empty() || !self.window_takes(weight_bytes, turn.limits)
    }

    fn offer_at_most_once(&mut self, owed: &Owed, turn: &mut Turn<'_>, fx: &mut impl Effects) {
        let written = match &mut self.link {
            Some(link) => write((link, &self.facts), owed, Delivery::AtMostOnce, turn, fx),
            None => Written::NotNow,
        };
        self.count_at_most_once(&written, turn, fx);
    }

    /// Passes a QoS 0 message of the full name `topic` on out of the packet it came in: nobody has to keep it, and it
    /// was judged for this session just now.
    pub(crate) fn forward(
        &mut self,
        packet: Publish<'_>,
        topic: &Arc<str>,
        turn: &mut Turn<'_>,
        fx: &mut impl Effects,
    ) {
        turn.counters.routed += 1;
        let written = match &mut self.link {
            Some(link) => write_packet((link, &self.facts), packet, topic, turn, fx),
            None => Written::NotNow,
        };
        self.count_at_most_once(&written, turn, fx);
        self.tell_room(turn, fx);
    }

    fn count_at_most_once(&mut self, written: &Written, turn: &mut Turn<'_>, fx: &mut impl Effects) {
        match written {
            Written::Sent | Written::NotForClient => turn.counters.sent += 1,
            Written::NotNow => {
                turn.counters.dropped += 1;
                if self.link.as_ref().is_some_and(|link| !link.is_opening()) {
                    self.miss(fx);
                }
            }
        }
    }

    /// Sends a QoS 1 or 2 message for the first time; it waits when the transport has no room.
    fn send_first(&mut self, owed: Owed, turn: &mut Turn<'_>, fx: &mut impl Effects) {
        // What leaves no record may be tried.
        if !self.is_durable() || self.has_room(turn, fx) {
            if let Some(owed) = self.begin_flight(owed, turn, fx) {
                self.enqueue(owed, turn, fx);
            }
        } else {
            self.enqueue(owed, turn, fx);
        }
    }

    /// Whether there is nothing to send, to read back or to tell anybody: [`Session::pump`] would do nothing.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.shares == 0
            && self.queue.is_empty()
            && self.replays.is_empty()
            && self.next_record().is_none()
            && self.armed[TimerKind::Replay as usize].is_none()
            && !self.is_full()
    }

    /// Sends whatever may go now: what was unfinished on an earlier connection, what waits, what is being replayed.
    /// Tells whether a replay used up its share and wants to go on later.
    pub(crate) fn pump(&mut self, turn: &mut Turn<'_>, fx: &mut impl Effects) -> bool {
        let wants_more = self.send_waiting(turn, fx);
        self.fetch(turn);
        self.tell_fullness(turn, fx);
        self.tell_room(turn, fx);
        wants_more
    }

    fn send_waiting(&mut self, turn: &mut Turn<'_>, fx: &mut impl Effects) -> bool {
        if !self.send_in_flight(turn, fx) {
            return false;
        }
        while let Some(mut owed) = self.next_waiting(turn) {
            turn.counters.wait_no_more(owed.weight());
            if is_over(&owed, turn) {
                turn.counters.dropped += 1;
                self.settle(owed.origin(), turn);
            } else if !self.judge(&mut owed, turn) {
                self.withhold(&owed, turn);
            } else if self.has_room(turn, fx) {
                self.send_first(owed, turn, fx);
            } else {
                turn.counters.wait(owed.weight());
                self.queue.push_front(owed);
                return false;
            }
        }
        self.replay(turn, fx)
    }

    pub(super) fn has_room(&self, turn: &Turn<'_>, fx: &mut impl Effects) -> bool {
        let Some(link) = &self.link else { return false };
        link.outbox_below(turn.limits.outbox_bytes_max, fx).is_some()
    }

    /// Whether the message may still change hands, as [`judge`].
    pub(super) fn judge(&self, owed: &mut Owed, turn: &Turn<'_>) -> bool {
        judge(&self.facts, owed, turn)
    }

    /// Counts a delivery that policy denies.
    pub(super) fn withhold(&self, owed: &Owed, turn: &mut Turn<'_>) {
        turn.counters.withheld += 1;
        turn.counters.denied += 1;
        self.settle(owed.origin(), turn);
    }

    /// Lets the journal forget a message this session no longer needs.
    pub(super) fn settle(&self, origin: Option<Origin>, turn: &mut Turn<'_>) {
        if let Some(origin) = origin.filter(|_| self.is_durable()) {
            turn.journal.append(&Record::Settled { client_id: self.name(), origin });
        }
    }

    /// Reports the first message of a burst that was dropped, and counts the others.
    pub(super) fn miss(&mut self, fx: &mut impl Effects) {
        if self.missed.in_burst {
            self.missed.messages += 1;
        } else {
            self.missed.in_burst = true;
            fx.event(self.event(EventKind::Dropped { messages: 1 }));
        }
    }

    /// The transport took everything: a burst of dropped messages is over once nothing waits.
    pub(crate) fn on_room(&mut self, fx: &mut impl Effects) {
        if self.queue.is_empty() {
            self.report_missed(fx);
        }
    }

    /// Ends a burst of dropped messages, if there is one, and reports those that were only counted.
    pub(crate) fn report_missed(&mut self, fx: &mut impl Effects) {
        let messages = std::mem::take(&mut self.missed).messages;
        if messages > 0 {
            fx.event(self.event(EventKind::Dropped { messages }));
        }
    }
}

/// Writes a message to the link of a session with these facts.
pub(super) fn write(
    (link, facts): (&mut Link, &Facts),
    owed: &Owed,
    delivery: Delivery,
    turn: &mut Turn<'_>,
    fx: &mut impl Effects,
) -> Written {
    let message = &owed.message;
    let packet = Publish {
        delivery,
        retain: owed.retain,
        topic: &message.topic,
        topic_alias: None,
        message_expiry_s: message.remaining_s(turn.now),
        subscription_ids: SubscriptionIds::from_slice(&owed.ids),
        properties: message.properties.as_ref(),
        payload: &message.payload,
    };
    write_packet((link, facts), packet, &message.topic, turn, fx)
}

/// Writes a PUBLISH of the full name `topic`, which the packet still has.
fn write_packet(
    (link, facts): (&mut Link, &Facts),
    packet: Publish<'_>,
    topic: &Arc<str>,
    turn: &mut Turn<'_>,
    fx: &mut impl Effects,
) -> Written {
    let Some(out) = link.outbox_below(turn.limits.outbox_bytes_max, fx) else { return Written::NotNow };
    // Names out of sight are held back where receivers are judged; one that came this far is not told either.
    let Some(seen) = facts.mount_point.seen(topic) else { return Written::NotForClient };
    let packet = Publish { topic: seen, ..packet };
    let before = out.len();
    let is_like_others = packet.subscription_ids.is_empty() && seen.len() == topic.len() && !link.names.are_used();
    let copied = if is_like_others { turn.copies.write(link.encoder, &packet, out) } else { None };
    if !copied.unwrap_or_else(|| link.publish(&packet, topic, out)) {
        return Written::NotForClient;
    }
    let outgoing = &mut turn.counters.outgoing;
    outgoing.count(out[before], out.len() - before);
    outgoing.payload_bytes += packet.payload.len() as u64;
    Written::Sent
}

/// Whether policy still lets the publisher publish and a session with these facts receive, and the publisher was not
/// removed. Asked only when the policy is another than at the last time.
pub(super) fn judge(facts: &Facts, owed: &mut Owed, turn: &Turn<'_>) -> bool {
    if owed.epoch == Some(turn.epoch) {
        return true;
    }
    let message = &*owed.message;
    owed.epoch = Some(turn.epoch);
    message.may_be_published(turn.policy)
        && !message.is_withdrawn(turn.removals)
        && facts.may_receive(turn.policy, &message.topic)
}

/// QoS, identifier and DUP of a message on the wire.
pub(super) fn delivery(owed: &Owed, id: PacketId, dup: bool) -> Delivery {
    match owed.qos {
        Qos::AtMostOnce => Delivery::AtMostOnce,
        Qos::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
        Qos::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
    }
}

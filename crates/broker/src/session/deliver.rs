//! Giving messages to one session: at once, from its queue, again after a resume, and from the retained store.
//!
//! Called by `handle`. Asks policy whenever a message changes hands under another policy than it was last judged by
//! (K20, K21, K22). Never closes a link and never waits.

use std::sync::Arc;

use motte_audit::{Denial, EventKind};
use motte_mqtt::{Delivery, PacketId, Publish, Qos, SubscriptionIds};
use motte_policy::Policy;

use super::Session;
use super::queue::{Front, Holding, Owed, Queue, until};
use crate::counters::Counters;
use crate::effects::Effects;
use crate::journal::{Journal, Record};
use crate::limits::Limits;
use crate::link::Link;
use crate::message::Origin;
use crate::restore::{Fetch, FetchedMessage, StoredRef};
use crate::retained::Retained;
use crate::routes::{Facts, Readiness};
use crate::shard::{Millis, ShardId};
use crate::shared::Removals;

/// What one step of a session is given.
pub(crate) struct Turn<'a> {
    pub(crate) shard: ShardId,
    pub(crate) now: Millis,
    pub(crate) limits: &'a Limits,
    pub(crate) policy: &'a Policy,
    pub(crate) removals: &'a Removals,
    pub(crate) epoch: u64,
    pub(crate) retained: &'a Retained,
    pub(crate) counters: &'a mut Counters,
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
        let (online, queue) = (self.link.is_some(), self.queue.has_room(1, self.holding(turn), turn.limits));
        self.facts.room.tell(online, self.has_room(turn, fx), !self.must_wait(1, turn), queue);
    }

    /// How well this session can take a message now.
    pub(crate) fn readiness(&self, owed: &Owed, turn: &Turn<'_>, fx: &mut impl Effects) -> Readiness {
        self.tell_room(turn, fx);
        let readiness = self.facts.room.readiness(owed.qos, owed.message.packet_bytes_max());
        let has_to_wait = matches!(readiness, Readiness::Away | Readiness::Busy);
        if has_to_wait && !self.queue.has_room(owed.message.weight_bytes(), self.holding(turn), turn.limits) {
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

    fn enqueue(&mut self, owed: Owed, turn: &mut Turn<'_>, fx: &mut impl Effects) {
        let (holding, weight) = (self.holding(turn), owed.message.weight_bytes());
        if !self.queue.has_room(weight, holding, turn.limits) {
            self.drop_expired(turn);
        }
        if self.queue.has_room(weight, holding, turn.limits) {
            turn.counters.wait(owed.weight());
            self.queue.push(owed, holding, turn.limits);
        } else {
            turn.counters.dropped += 1;
            self.settle(owed.origin(), turn);
            self.miss(fx);
        }
    }

    /// Where what waits is held now.
    pub(super) fn holding(&self, turn: &Turn<'_>) -> Holding {
        match (turn.journal.reads_back(), &self.link) {
            (false, _) => Holding::Memory,
            (true, Some(_)) => Holding::Window,
            (true, None) => Holding::References,
        }
    }

    /// Drops what has expired while it waited, so that it takes no room from what has not.
    fn drop_expired(&mut self, turn: &mut Turn<'_>) {
        let mut queue = std::mem::take(&mut self.queue);
        queue.take_expired(turn.now, turn.limits, |gone| {
            turn.counters.wait_no_more(gone.weight);
            turn.counters.dropped += 1;
            self.settle(gone.origin, turn);
        });
        self.queue = queue;
    }

    /// Sends a QoS 1 or 2 message for the first time; it waits when the transport has no room.
    fn send_first(&mut self, owed: Owed, turn: &mut Turn<'_>, fx: &mut impl Effects) {
        if self.has_room(turn, fx) {
            self.begin_flight(owed, turn);
            self.send_in_flight(turn, fx);
        } else {
            self.enqueue(owed, turn, fx);
        }
    }

    /// Sends whatever may go now: what was unfinished on an earlier connection, what waits, what is being replayed.
    /// Tells whether a replay used up its share and wants to go on later.
    pub(crate) fn pump(&mut self, turn: &mut Turn<'_>, fx: &mut impl Effects) -> bool {
        let wants_more = self.send_waiting(turn, fx);
        self.fetch(turn);
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

    /// The next message that is in memory, if the window takes it.
    fn next_waiting(&mut self, turn: &mut Turn<'_>) -> Option<Owed> {
        loop {
            let weight_bytes = match self.queue.front() {
                Front::Loaded(owed) => owed.message.weight_bytes(),
                // What is over need not be read back.
                Front::Stored(stored) if is_past(until(stored.accepted, stored.expires, turn.limits), turn.now) => {
                    let gone = self.queue.pop_any()?;
                    turn.counters.wait_no_more(gone.weight);
                    turn.counters.dropped += 1;
                    self.settle(gone.origin, turn);
                    continue;
                }
                Front::Stored(_) | Front::Nothing => return None,
            };
            return if self.window_takes(weight_bytes, turn.limits) { self.queue.pop() } else { None };
        }
    }

    /// Asks for what has to be read back before the session can go on, or will have to be soon; once at a time.
    fn fetch(&mut self, turn: &mut Turn<'_>) {
        if self.link.is_none() || self.is_fetching {
            return;
        }
        let unsent = self.unsent_stored();
        let origins = if unsent.is_empty() { self.queue.wanted() } else { unsent };
        if !origins.is_empty() {
            self.is_fetching = true;
            let client_id = Arc::clone(self.client_id());
            turn.journal.fetch(Fetch { session: self.key, client_id, origins });
        }
    }

    /// Takes in what was read back, as far as it still is what comes next.
    pub(crate) fn on_fetched(&mut self, messages: Vec<FetchedMessage>, turn: &mut Turn<'_>, fx: &mut impl Effects) {
        self.is_fetching = false;
        // Without a connection nothing is wanted in memory.
        let messages = if self.link.is_some() { messages } else { Vec::new() };
        for FetchedMessage { origin, found } in messages {
            let owed = found.map(Owed::read_back);
            if self.is_unsent(origin) {
                self.load_unsent(origin, owed, turn, fx);
            } else if let Some(stored) = self.queue.take_stored(origin) {
                turn.counters.wait_no_more(stored.weight_bytes.into());
                match owed {
                    Some(owed) => {
                        turn.counters.wait(owed.weight());
                        self.queue.load(Owed { qos: stored.qos, ..owed });
                    }
                    None => {
                        turn.counters.dropped += 1;
                        self.settle(Some(origin), turn);
                        self.miss(fx);
                    }
                }
            }
        }
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
    fn withhold(&self, owed: &Owed, turn: &mut Turn<'_>) {
        turn.counters.withheld += 1;
        turn.counters.denied += 1;
        self.settle(owed.origin(), turn);
    }

    /// Lets the journal forget a message this session no longer needs.
    pub(super) fn settle(&self, origin: Option<Origin>, turn: &mut Turn<'_>) {
        if let Some(origin) = origin.filter(|_| self.is_durable()) {
            turn.journal.append(&Record::Settled { client_id: self.client_id(), origin });
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

    /// Judges what waits under a new policy and drops what it denies (K20, K22).
    pub(crate) fn judge_queue(&mut self, turn: &mut Turn<'_>, fx: &mut impl Effects) {
        let mut queue = std::mem::take(&mut self.queue);
        let denied = queue.take_failing(|owed| self.judge(owed, turn));
        self.queue = queue;
        for owed in &denied {
            turn.counters.wait_no_more(owed.weight());
            self.withhold(owed, turn);
        }
        if let Some(owed) = denied.first() {
            let topic = Arc::clone(&owed.message.topic);
            fx.event(self.event(EventKind::Denied { what: Denial::Receive, topic }));
        }
    }

    /// Takes out what waits; whatever comes meanwhile belongs behind it.
    pub(crate) fn take_queue(&mut self) -> Queue {
        std::mem::take(&mut self.queue)
    }

    /// Puts back what was taken out.
    pub(crate) fn put_queue(&mut self, mut queue: Queue, turn: &Turn<'_>) {
        queue.append(std::mem::take(&mut self.queue), self.holding(turn), turn.limits);
        self.queue = queue;
    }

    /// Takes what the journal kept for this session while the node was away.
    #[expect(dead_code, reason = "called once sessions are restored")]
    pub(crate) fn restore_waiting(&mut self, stored: &[StoredRef], turn: &mut Turn<'_>) {
        for stored in stored {
            turn.counters.routed += 1;
            turn.counters.wait(stored.weight_bytes.into());
            self.queue.push_stored(stored, turn.limits);
        }
    }

    /// The connection ended: what the journal keeps need not be in memory.
    pub(crate) fn unload(&mut self, turn: &Turn<'_>) {
        if self.holding(turn) == Holding::References {
            self.queue.unload();
            self.unload_flight();
        }
    }

    /// The session ends: what waits is dropped.
    pub(crate) fn discard(&mut self, turn: &mut Turn<'_>) {
        let waiting = self.queue.len() as u64;
        turn.counters.queued -= waiting;
        turn.counters.queued_bytes -= self.queue.bytes();
        turn.counters.dropped += waiting;
        self.queue = Queue::default();
        self.discard_in_flight(turn);
    }
}

/// Whether a message has waited for as long as it may.
fn is_over(owed: &Owed, turn: &Turn<'_>) -> bool {
    is_past(until(owed.message.accepted, owed.message.expires, turn.limits), turn.now)
}

fn is_past(at: Option<Millis>, now: Millis) -> bool {
    at.is_some_and(|at| at <= now)
}

/// Writes a message to the link of a session with these facts.
pub(super) fn write(
    (link, facts): (&mut Link, &Facts),
    owed: &Owed,
    delivery: Delivery,
    turn: &mut Turn<'_>,
    fx: &mut impl Effects,
) -> Written {
    let Some(out) = link.outbox_below(turn.limits.outbox_bytes_max, fx) else { return Written::NotNow };
    let message = &owed.message;
    // Names out of sight are held back where receivers are judged; one that came this far is not told either.
    let Some(topic) = facts.mount_point.seen(&message.topic) else { return Written::NotForClient };
    let packet = Publish {
        delivery,
        retain: owed.retain,
        topic,
        topic_alias: None,
        message_expiry_s: message.remaining_s(turn.now),
        subscription_ids: SubscriptionIds::from_slice(&owed.ids),
        properties: message.properties.as_ref(),
        payload: &message.payload,
    };
    let before = out.len();
    if !link.publish(&packet, &message.topic, out) {
        return Written::NotForClient;
    }
    let outgoing = &mut turn.counters.outgoing;
    outgoing.count(out[before], out.len() - before);
    outgoing.payload_bytes += message.payload.len() as u64;
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
    message.publisher.may_publish(turn.policy, &message.topic)
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

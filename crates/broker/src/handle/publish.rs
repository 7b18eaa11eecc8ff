//! PUBLISH from a client: window, alias, verdict, journal, retained, targets, acknowledgement; in this order.
//!
//! Also publishes wills. Policy is asked about the resolved topic of every packet (K23), through a cache that is valid
//! only while route generations and policy epoch stand.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use motte_audit::{Denial, EventKind};
use motte_mqtt::{
    AckKind, Delivery, ForwardedProperties, PacketId, ProtocolVersion, Publish, Qos, ReasonCode, TopicName,
};
use motte_policy::PublishRight;
use motte_policy::control::Endpoint;

use super::Stop;
use crate::effects::{Effects, Letter, LetterContent};
use crate::journal::{DurableTarget, DurableTargets, Journal, JournalState, Position, Record};
use crate::link::Answer;
use crate::message::{Message, Origin, Publisher};
use crate::routes::{Cached, Facts, Generations, Route, Target};
use crate::session::event_about;
use crate::shard::{Millis, Shard, ShardId};
use crate::tenant;

/// Pause between two looks for retained messages that have expired.
const RETAINED_SWEEP_MS: u64 = 10_000;

/// The targets chosen for one message: one member of each group.
type Chosen = Vec<(ShardId, Arc<[Target]>)>;

impl<J: Journal> Shard<J> {
    pub(crate) fn on_publish(
        &mut self,
        slot: usize,
        publish: &Publish<'_>,
        now: Millis,
        fx: &mut impl Effects,
    ) -> Result<(), Stop> {
        self.core.counters.received += 1;
        self.core.counters.incoming.payload_bytes += publish.payload.len() as u64;
        if let Some(reason) = self.core.limits.forbids(publish.delivery.qos(), publish.retain) {
            return Err(Stop::protocol(reason, "QoS or RETAIN that CONNACK says is not available"));
        }
        self.check_window(slot, publish.delivery)?;
        let cached = self.look_up(slot, publish)?;
        if let Delivery::ExactlyOnce { id, .. } = publish.delivery
            && self.sessions[slot].received.contains(id)
        {
            // Repeated before PUBREL: acknowledged again, given to nobody (MQTT-4.3.3-10).
            let position = self.journal.last();
            return self.answer(slot, Answer::Ack(AckKind::PubRec, id, ReasonCode::Success), position, fx);
        }
        let is_right = cached.right.allows(publish.delivery.qos().as_u8(), publish.retain);
        let Some(route) = cached.route.as_ref().filter(|_| is_right) else {
            return match cached.control.filter(|_| is_right) {
                Some(endpoint) => self.ask_control(slot, publish, endpoint, fx),
                None => self.deny(slot, publish.delivery, &cached.topic, fx),
            };
        };
        if !says_its_format(publish.properties, publish.payload) {
            return self.refuse_payload(slot, publish.delivery, fx);
        }
        if publish.delivery == Delivery::AtMostOnce && !publish.retain && route.groups.is_empty() {
            self.forward(slot, publish, (&cached.topic, route), now, fx);
            return Ok(());
        }
        let has_answer = publish.delivery != Delivery::AtMostOnce;
        if has_answer && (route.is_full(&self.core.shared.fullness) || self.lacks_room(slot, publish, route)) {
            return self.refuse_full(slot, publish.delivery, fx);
        }
        let mut message = self.message(slot, publish, &cached.topic, now);
        if publish.retain {
            let is_told = self.version(slot) == ProtocolVersion::V5 && publish.delivery.id().is_some();
            if !self.fits_retained(alone(&mut message), now, fx) && is_told {
                return self.answer_publish(slot, publish.delivery, (ReasonCode::QuotaExceeded, None), fx);
            }
        }
        let reason = if route.is_empty() { ReasonCode::NoMatchingSubscribers } else { ReasonCode::Success };
        let position = self.publish(message, (route, cached.generations), now, fx);
        self.answer_publish(slot, publish.delivery, (reason, position), fx)
    }

    pub(super) fn count_withheld(&mut self, route: &Route) {
        self.core.counters.routed += route.withheld;
        self.core.counters.withheld += route.withheld;
        self.core.counters.denied += route.withheld;
    }

    /// Our Receive Maximum: PUBLISH of QoS 1 and 2 without their acknowledgement, QoS 2 until PUBREL (MQTT-3.3.4-7).
    /// 3.x clients are not told of one, and are bounded by the number of identifiers.
    fn check_window(&self, slot: usize, delivery: Delivery) -> Result<(), Stop> {
        let session = &self.sessions[slot];
        let Some((link, id)) = session.link.as_ref().zip(delivery.id()).filter(|(link, _)| link.is_v5()) else {
            return Ok(());
        };
        let unfinished = session.received.len() + link.pending_publishes;
        let is_repeated = session.received.contains(id);
        if is_repeated || unfinished < usize::from(self.core.limits.receive_maximum.max(1)) {
            return Ok(());
        }
        Err(Stop::limit(ReasonCode::ReceiveMaximumExceeded, "more unacknowledged publishes than our Receive Maximum"))
    }

    /// Resolves the alias and finds verdict and targets of the topic.
    fn look_up(&mut self, slot: usize, publish: &Publish<'_>) -> Result<Rc<Cached>, Stop> {
        let session = &mut self.sessions[slot];
        let subject = &session.facts.subject;
        let Some(link) = &mut session.link else { return Err(Stop::protocol(ReasonCode::ProtocolError, "no link")) };
        if publish.topic_alias.is_some_and(|alias| !link.aliases.takes(alias)) {
            return Err(Stop::protocol(ReasonCode::TopicAliasInvalid, "topic alias above our maximum"));
        }
        let by_alias = publish.topic_alias.filter(|_| publish.topic.is_empty());
        let topic: Option<Arc<str>> = match by_alias {
            Some(alias) => Some(link.aliases.topic(alias).cloned().ok_or_else(unknown_alias)?),
            None => None,
        };
        let mount_point = &session.facts.mount_point;
        let full = match &topic {
            Some(topic) => Cow::Borrowed(&**topic),
            // An empty name stays one, and is refused.
            None if publish.topic.is_empty() => Cow::Borrowed(""),
            None => mount_point.mounted(publish.topic),
        };
        let text = &*full;
        let routes = &self.core.shared.routes;
        let cached = match link.cache.find(text, self.core.epoch, routes) {
            Some(cached) => cached,
            None => {
                let generations = routes.generations(text);
                let limits = &self.core.limits;
                if !limits.takes_topic(text) || TopicName::parse(text, limits.topic_levels_max).is_err() {
                    let detail = "topic name empty, or of too many levels or bytes";
                    return Err(Stop::protocol(ReasonCode::TopicNameInvalid, detail));
                }
                let policy = &self.core.policy;
                let local = tenant::local(subject, text).filter(|_| mount_point.seen(text).is_some());
                let right = local.map_or_else(PublishRight::default, |local| policy.publish(subject, local));
                let control = Endpoint::of(text).filter(|_| right.is_some());
                let route = (right.is_some() && control.is_none()).then(|| {
                    let may_receive = |who: &Facts| who.may_receive(policy, text);
                    routes.resolve(text, Some(&subject.client_id), may_receive)
                });
                let topic = topic.clone().unwrap_or_else(|| text.into());
                let cached = Rc::new(Cached { topic, epoch: self.core.epoch, generations, right, route, control });
                link.cache.put(Rc::clone(&cached));
                cached
            }
        };
        if let Some(alias) = publish.topic_alias.filter(|_| by_alias.is_none()) {
            link.aliases.set(alias, &cached.topic);
        }
        Ok(cached)
    }

    /// Refuses a PUBLISH: 5.0 is told, 3.x gets the usual answer because it has no other (MQTT-3.3.5-2 of 3.1.1).
    fn deny(&mut self, slot: usize, delivery: Delivery, topic: &Arc<str>, fx: &mut impl Effects) -> Result<(), Stop> {
        self.core.counters.denied += 1;
        let denied = EventKind::Denied { what: Denial::Publish, topic: Arc::clone(topic) };
        fx.event(self.sessions[slot].event(denied));
        self.answer_publish(slot, delivery, (ReasonCode::NotAuthorized, None), fx)
    }

    /// Refuses a payload that is not what its Payload Format Indicator says. QoS 0 has no answer: it is dropped.
    fn refuse_payload(&mut self, slot: usize, delivery: Delivery, fx: &mut impl Effects) -> Result<(), Stop> {
        self.core.counters.routed += 1;
        self.core.counters.dropped += 1;
        fx.event(self.sessions[slot].event(EventKind::Dropped { messages: 1 }));
        self.answer_publish(slot, delivery, (ReasonCode::PayloadFormatInvalid, None), fx)
    }

    /// Whether the journal would have to keep something of a message of QoS 1 or 2 and cannot. Clearing a topic makes
    /// room.
    fn lacks_room(&self, slot: usize, publish: &Publish<'_>, route: &Route) -> bool {
        if self.journal.state() == JournalState::Ready {
            return false;
        }
        let qos = publish.delivery.qos();
        let is_retained = publish.retain && !publish.payload.is_empty();
        let is_received = qos == Qos::ExactlyOnce && self.sessions[slot].is_durable();
        is_retained || is_received || route.is_owed(qos)
    }

    /// Refuses a PUBLISH as a whole, because there is no room to keep it or somebody it has to be kept for is full: 5.0
    /// is told, 3.x is not answered, so that neither takes it for accepted.
    pub(super) fn refuse_full(&mut self, slot: usize, delivery: Delivery, fx: &mut impl Effects) -> Result<(), Stop> {
        self.core.counters.refused += 1;
        match self.version(slot) {
            ProtocolVersion::V5 => self.answer_publish(slot, delivery, (ReasonCode::QuotaExceeded, None), fx),
            ProtocolVersion::V31 | ProtocolVersion::V311 => Ok(()),
        }
    }

    pub(super) fn answer_publish(
        &mut self,
        slot: usize,
        delivery: Delivery,
        (reason, position): (ReasonCode, Option<Position>),
        fx: &mut impl Effects,
    ) -> Result<(), Stop> {
        match delivery {
            Delivery::AtMostOnce => Ok(()),
            Delivery::AtLeastOnce { id, .. } => {
                self.answer(slot, Answer::Ack(AckKind::PubAck, id, reason), position, fx)
            }
            Delivery::ExactlyOnce { id, .. } => {
                let position = self.remember_received(slot, id, reason).or(position);
                self.answer(slot, Answer::Ack(AckKind::PubRec, id, reason), position, fx)
            }
        }
    }

    /// Holds the identifier until PUBREL. A 5.0 client that is told of a failure sends none (MQTT-4.3.3-9).
    pub(super) fn remember_received(&mut self, slot: usize, id: PacketId, reason: ReasonCode) -> Option<Position> {
        let session = &mut self.sessions[slot];
        let told = session.link.as_ref().map_or(reason, |link| link.told(reason));
        if told.is_error() {
            return None;
        }
        session.received.insert(id);
        let client_id = session.name();
        session.is_durable().then(|| self.journal.append(&Record::Received { client_id, id }))
    }

    /// Whether a message may be retained if it asks for that; one that does not fit, or cannot be kept, goes on as one
    /// that did not ask.
    fn fits_retained(&mut self, message: &mut Message, now: Millis, fx: &mut impl Effects) -> bool {
        let may_be_kept = message.payload.is_empty() || self.journal.state() == JournalState::Ready;
        let fits =
            |shard: &Self| shard.core.shared.retained.fits(message, &shard.core.limits, &shard.core.shared.owners);
        if !message.retain || may_be_kept && (fits(self) || (self.sweep_retained(now) && fits(self))) {
            return true;
        }
        message.retain = false;
        self.core.counters.routed += 1;
        self.core.counters.dropped += 1;
        if let Publisher::Client(subject) = &message.publisher {
            fx.event(event_about(subject, EventKind::Dropped { messages: 1 }));
        }
        false
    }

    /// When expired retained messages are to be dropped: one shard does it for all, now and then.
    pub(crate) fn retained_due(&self) -> Option<Millis> {
        let soonest = self.core.shared.retained.soonest().filter(|_| self.core.id == ShardId(0))?;
        Some(self.core.retained_swept.map_or(soonest, |last| soonest.max(last.plus_ms(RETAINED_SWEEP_MS))))
    }

    /// Drops retained messages that have expired, on the disk as well; tells whether there were any.
    pub(crate) fn sweep_retained(&mut self, now: Millis) -> bool {
        let swept = self.core.shared.retained.sweep(now);
        self.core.retained_swept = Some(now);
        for (topic, serial) in &swept {
            self.journal.append(&Record::Retained { topic, origin: None, serial: *serial });
        }
        !swept.is_empty()
    }

    /// Publishes a message that policy has let pass: keeps what must be kept, then gives it to all targets. The
    /// position is that of its record; the route was looked up at the generations beside it.
    pub(super) fn publish(
        &mut self,
        mut message: Arc<Message>,
        (route, generations): (&Route, Generations),
        now: Millis,
        fx: &mut impl Effects,
    ) -> Option<Position> {
        // Nobody to choose and nothing to retain, as with nearly all: the targets are not looked through for more.
        if route.groups.is_empty() && !message.retain {
            let may_be_owed = route.may_be_owed(message.qos, &self.core.shared.fullness);
            let position = if may_be_owed { self.record_publish(alone(&mut message), route, &[]) } else { None };
            self.count_withheld(route);
            for (shard, targets) in &route.direct {
                self.send_to(*shard, &message, targets, now, fx);
            }
            self.core.spare.give_back(message);
            return position;
        }
        let chosen: Chosen = route.groups.iter().map(|group| group.choose(&message).clone()).collect();
        let apart = kept_apart(&message, route, &chosen);
        let position = self.record_publish(alone(&mut message), route, &chosen[..apart]);
        let is_kept = self.journal.state() == JournalState::Ready;
        let position = if message.retain { self.retain(&message).or(position) } else { position };
        let before = route;
        let latest = self.route_since(&message, generations);
        let route = latest.as_ref().unwrap_or(route);
        self.count_withheld(route);
        let split = latest.as_ref().map(|latest| since(before, latest));
        let (known, late) = split.as_ref().map_or((&route.direct[..], &[][..]), |(known, late)| (known, late));
        for (shard, targets) in known.iter().chain(&chosen[..apart]) {
            self.send_to(*shard, &message, targets, now, fx);
        }
        let mut position = position;
        for (shard, targets) in late.iter().chain(&chosen[apart..]) {
            let owed = targets.iter().find(|target| is_kept && target.is_owed(message.qos));
            let own = owed.map(|target| self.keep(&message, target));
            position = own.as_ref().and_then(|own| own.origin).map(|origin| origin.position).or(position);
            self.send_to(*shard, own.as_ref().unwrap_or(&message), targets, now, fx);
        }
        self.core.spare.give_back(message);
        position
    }

    /// Keeps a message for one target alone, by a record of its own.
    pub(super) fn keep(&mut self, message: &Message, target: &Target) -> Arc<Message> {
        let target = DurableTarget::new(target, message.qos, message.retain);
        Arc::new(message.kept_for(target, self.core.id, &mut self.journal))
    }

    /// Makes a message the retained one of its topic.
    fn retain(&mut self, message: &Arc<Message>) -> Option<Position> {
        let (serial, changes) = self.core.shared.retained.put(message);
        // The figures of the `$SYS` tree are those of this run. Where nothing was, nothing is taken away: only an
        // acknowledgement has to know that what another shard has taken away is gone for good.
        let is_told = message.publisher != Publisher::Broker && (changes || message.qos > Qos::AtMostOnce);
        let origin = message.origin.filter(|_| !message.payload.is_empty());
        is_told.then(|| self.journal.append(&Record::Retained { topic: &message.topic, origin, serial }))
    }

    /// The route of a retained message once more, if a subscription was made since `generations`: on another shard its
    /// replay may have read the store before this message was put there, and then it is owed the message as a new one.
    fn route_since(&self, message: &Message, generations: Generations) -> Option<Route> {
        let routes = &self.core.shared.routes;
        if !message.retain || routes.generations(&message.topic) == generations {
            return None;
        }
        let may_receive = |who: &Facts| who.may_receive(&self.core.policy, &message.topic);
        let publisher = match &message.publisher {
            Publisher::Client(subject) => Some(&subject.client_id),
            Publisher::Broker => None,
        };
        Some(routes.resolve(&message.topic, publisher, may_receive))
    }

    /// One record for a message that a durable session is owed or that is retained.
    fn record_publish(
        &mut self,
        message: &mut Message,
        route: &Route,
        chosen: &[(ShardId, Arc<[Target]>)],
    ) -> Option<Position> {
        let targets = DurableTargets::routed(message, route, chosen);
        let is_owed = message.qos > Qos::AtMostOnce && targets.iter().next().is_some();
        let is_retained = message.retain && !message.payload.is_empty();
        if (!is_retained && !is_owed) || message.publisher == Publisher::Broker {
            return None;
        }
        // Only a will comes this far when there is no room: it is given to whoever is there.
        if self.journal.state() != JournalState::Ready {
            self.core.counters.unkept += 1;
            return None;
        }
        let position = self.journal.append(&Record::Published { message, targets });
        message.origin = Some(Origin { shard: self.core.id, position });
        Some(position)
    }

    pub(super) fn send_to(
        &mut self,
        shard: ShardId,
        message: &Arc<Message>,
        targets: &Arc<[Target]>,
        now: Millis,
        fx: &mut impl Effects,
    ) {
        let epoch = self.core.epoch;
        if shard == self.core.id {
            self.deliver(message, targets, epoch, now, fx);
        } else {
            // What came before goes before.
            self.post_passing(shard, fx);
            let (message, targets) = (Arc::clone(message), Arc::clone(targets));
            fx.post(shard, Letter { content: LetterContent::Deliver { message, targets, epoch } });
        }
    }

    /// Publishes the will of a session, if policy lets its owner publish it now (K15).
    pub(crate) fn publish_will(&mut self, slot: usize, now: Millis, fx: &mut impl Effects) {
        let session = &mut self.sessions[slot];
        let Some(will) = session.will.take() else { return };
        let owner = Arc::clone(&session.facts.subject);
        if session.is_recorded {
            self.journal.append(&Record::WillCleared { client_id: session.name() });
        }
        let mut message = will.into_message(Arc::clone(&owner), now);
        let topic = Arc::clone(&message.topic);
        let policy = Arc::clone(&self.core.policy);
        if !tenant::may_will(&policy, &owner, message.publishing()) {
            self.core.counters.denied += 1;
            fx.event(event_about(&owner, EventKind::Denied { what: Denial::Will, topic }));
            return;
        }
        fx.event(event_about(&owner, EventKind::WillPublished { topic: Arc::clone(&topic) }));
        let may_receive = |who: &Facts| who.may_receive(&policy, &topic);
        let generations = self.core.shared.routes.generations(&topic);
        let route = self.core.shared.routes.resolve(&topic, Some(&owner.client_id), may_receive);
        self.fits_retained(&mut message, now, fx);
        self.publish(Arc::new(message), (&route, generations), now, fx);
    }
}

/// A message that nobody else holds yet.
fn alone(message: &mut Arc<Message>) -> &mut Message {
    Arc::get_mut(message).expect("it was made for this call and given to nobody yet")
}

/// The targets of a route that an earlier one had as well, and each of the others.
fn since(before: &Route, route: &Route) -> (Chosen, Chosen) {
    let was_there = |shard: ShardId, target: &Target| {
        before.direct.iter().any(|(at, targets)| *at == shard && targets.iter().any(|one| one.key == target.key))
    };
    let all = route.direct.iter().flat_map(|(shard, targets)| targets.iter().map(|target| (*shard, target)));
    let alone = |(shard, target): (ShardId, &Target)| (shard, Arc::from([target.clone()]));
    let (known, late): (Vec<_>, Vec<_>) = all.partition(|(shard, target)| was_there(*shard, target));
    (known.into_iter().map(alone).collect(), late.into_iter().map(alone).collect())
}

/// How many of the chosen members stand in the record of the message itself. A session is found by what its record says
/// of a message and of the session, so nobody may stand there twice: where somebody is owed the message already, as a
/// subscriber or as a member of another group, which any member may be in as well, it is kept for the member apart.
fn kept_apart(message: &Message, route: &Route, chosen: &Chosen) -> usize {
    let is_owed = |(_, targets): &(ShardId, Arc<[Target]>)| targets.iter().any(|target| target.is_owed(message.qos));
    let already = usize::from(route.direct.iter().any(is_owed));
    let mut owed = chosen.iter().enumerate().filter(|(_, one)| is_owed(one)).map(|(at, _)| at);
    owed.nth(1 - already).unwrap_or(chosen.len())
}

/// Whether a payload that is said to be UTF-8 is.
pub(super) fn says_its_format(properties: ForwardedProperties<'_>, payload: &[u8]) -> bool {
    !properties.payload_is_utf8() || std::str::from_utf8(payload).is_ok()
}

fn unknown_alias() -> Stop {
    Stop::protocol(ReasonCode::ProtocolError, "topic alias that was never set")
}

//! The client's side of an established MQTT session, without any input or output: packets and requests in, bytes and
//! answers out. Called by `driver`. Never reads a clock or a socket, and never trusts the broker: every identifier it
//! acknowledges must be one that was sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::SyncSender;

use bytes::Bytes;
use motte_mqtt::{
    Ack, Delivery, Disconnect, EncodeError, Encoder, Packet, PacketId, ProtocolVersion, Publish, Qos, ReasonCode,
    Subscribe, SubscribeFilters, SubscriptionIds, SubscriptionOptions, Unsubscribe, UnsubscribeFilters, UserProperties,
};

use crate::error::{ConnectionLost, PublishError, SubscribeError};
use crate::message::{Granted, Message, Subscription};
use crate::session::{Session, Unfinished};
use outgoing::{Flight, Outgoing, Reply, Step};
use question::Question;
use reauthenticate::Reauthentication;

mod outgoing;
mod question;
mod reauthenticate;

/// Most SUBSCRIBE and UNSUBSCRIBE packets without an answer.
const QUESTIONS_MAX: usize = 16;
/// Topic aliases the broker may use towards us; told in CONNECT.
pub(crate) const TOPIC_ALIAS_MAXIMUM: u16 = 16;

/// What the broker allows, from its CONNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) version: ProtocolVersion,
    /// Most unacknowledged QoS 1 and 2 messages; never 0.
    pub(crate) in_flight_max: u16,
    pub(crate) packet_size_max: u32,
    pub(crate) qos_max: Qos,
    pub(crate) retain_available: bool,
}

/// A request of the blocking side. Dropping it unanswered tells the asker that the connection is gone.
#[derive(Debug)]
pub(crate) enum Request {
    Publish(Message, SyncSender<Result<ReasonCode, PublishError>>),
    Subscribe(Vec<Subscription>, SyncSender<Result<Vec<Granted>, SubscribeError>>),
    Unsubscribe(Vec<String>, SyncSender<Result<Vec<ReasonCode>, SubscribeError>>),
    /// With the nonce of the exchange.
    Reauthenticate(String, reauthenticate::Reply),
}

/// What a packet of the broker means for the driver.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Dealt with here.
    Nothing,
    /// A message for the application.
    Message(Message),
    /// The answer to a ping.
    Pong,
    /// The broker ended the connection.
    Ended(ConnectionLost),
}

/// The broker did what MQTT forbids: what, and the code of the DISCONNECT that tells it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) what: &'static str,
    pub(crate) reason: ReasonCode,
}

const fn violation(what: &'static str) -> Violation {
    Violation { what, reason: ReasonCode::ProtocolError }
}

/// The session.
#[derive(Debug)]
pub(crate) struct Protocol {
    limits: Limits,
    encoder: Encoder,
    /// Bytes for the broker, in order; the driver takes them away.
    pub(crate) out: Vec<u8>,
    /// How much of `out`, at most, are answers to the broker's own packets.
    answers_unsent: usize,
    outgoing: Outgoing,
    /// What the last connection left, as far as the broker's Receive Maximum did not let it go out again yet.
    again: VecDeque<(PacketId, Unfinished)>,
    questions: BTreeMap<PacketId, Question>,
    /// QoS 2 messages that came and were not released yet (MQTT-4.3.3-10): identifiers only, so never much. No Receive
    /// Maximum is asked for, because brokers in wide use exceed it.
    incoming: BTreeSet<PacketId>,
    /// Topics the broker gave an alias on this connection.
    aliases: BTreeMap<u16, String>,
    id_last: u16,
    /// There when the connection began with an exchange of authentication data.
    reauthentication: Option<Reauthentication>,
}

impl Protocol {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            encoder: Encoder::new(limits.version, limits.packet_size_max),
            out: Vec::new(),
            answers_unsent: 0,
            outgoing: Outgoing::default(),
            again: VecDeque::new(),
            questions: BTreeMap::new(),
            incoming: BTreeSet::new(),
            aliases: BTreeMap::new(),
            id_last: 0,
            reauthentication: None,
        }
    }

    /// Goes on with a session the broker has kept: what was not acknowledged is written again, with DUP and the same
    /// identifiers, in order (MQTT-4.4.0-1, MQTT-4.6.0-1).
    pub(crate) fn resume(limits: Limits, session: Session) -> Self {
        let mut protocol = Self::new(limits);
        protocol.again = session.outgoing.into();
        protocol.incoming = session.incoming;
        protocol.id_last = session.id_last;
        protocol.send_again();
        protocol
    }

    /// What the next connection goes on with.
    pub(crate) fn into_session(self, client_id: String) -> Session {
        let outgoing = self.outgoing.into_unfinished().chain(self.again).collect();
        Session { client_id, outgoing, incoming: self.incoming, id_last: self.id_last }
    }

    /// Writes what the last connection left, as far as the window allows.
    fn send_again(&mut self) {
        while self.outgoing.len() < usize::from(self.limits.in_flight_max)
            && let Some((id, unfinished)) = self.again.pop_front()
        {
            match unfinished {
                Unfinished::Release => {
                    self.acknowledge(&Packet::PubRel(Ack::new(id, ReasonCode::Success)));
                    self.outgoing.insert(id, Step::Completion(ReasonCode::Success), None);
                }
                // What a broker with new limits takes no more can only be given up.
                Unfinished::Message(message) => {
                    if self.write_publish(&message, id, true).is_ok() {
                        self.set_out(id, message, None);
                    }
                }
            }
        }
    }

    /// Whether a request may be taken now: the broker's Receive Maximum holds back PUBLISH and nothing else
    /// (MQTT-3.3.4-7, MQTT-3.3.4-8).
    pub(crate) fn takes(&self, request: &Request) -> bool {
        match request {
            Request::Publish(..) => {
                self.again.is_empty() && self.outgoing.len() < usize::from(self.limits.in_flight_max)
            }
            Request::Subscribe(..) | Request::Unsubscribe(..) => self.questions.len() < QUESTIONS_MAX,
            Request::Reauthenticate(..) => true,
        }
    }

    /// Bytes of answers that the broker has not taken yet. A broker that asks and does not read makes them grow.
    pub(crate) const fn answers_unsent(&self) -> usize {
        self.answers_unsent
    }

    /// The first `count` bytes of `out` were sent.
    pub(crate) fn on_sent(&mut self, count: usize) {
        self.out.drain(..count);
        if self.out.is_empty() {
            self.answers_unsent = 0;
        }
    }

    /// Writes a request, or answers at once why it cannot be.
    pub(crate) fn on_request(&mut self, request: Request) {
        match request {
            Request::Publish(message, reply) => self.on_publish_request(message, reply),
            Request::Subscribe(subscriptions, reply) => self.on_subscribe_request(&subscriptions, reply),
            Request::Unsubscribe(filters, reply) => self.on_unsubscribe_request(&filters, reply),
            Request::Reauthenticate(nonce, reply) => self.on_reauthenticate_request(nonce, reply),
        }
    }

    fn on_publish_request(&mut self, message: Message, reply: Reply) {
        let id = self.free_id();
        match self.write_publish(&message, id, false) {
            Err(error) => answer(&reply, Err(error)),
            Ok(()) if message.qos == Qos::AtMostOnce => answer(&reply, Ok(ReasonCode::Success)),
            Ok(()) => self.set_out(id, message, Some(reply)),
        }
    }

    fn set_out(&mut self, id: PacketId, message: Message, reply: Option<Reply>) {
        let is_once = message.qos == Qos::ExactlyOnce;
        self.outgoing.insert(id, if is_once { Step::Receipt(message) } else { Step::Ack(message) }, reply);
    }

    fn write_publish(&mut self, message: &Message, id: PacketId, dup: bool) -> Result<(), PublishError> {
        if message.qos > self.limits.qos_max {
            return Err(PublishError::QosNotSupported { max: self.limits.qos_max.as_u8() });
        }
        if message.retain && !self.limits.retain_available {
            return Err(PublishError::RetainNotSupported);
        }
        let is_v5 = self.limits.version == ProtocolVersion::V5;
        let packet = Packet::Publish(Publish {
            delivery: match message.qos {
                Qos::AtMostOnce => Delivery::AtMostOnce,
                Qos::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
                Qos::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
            },
            retain: message.retain,
            topic: &message.topic,
            topic_alias: None,
            message_expiry_s: message.message_expiry_s.filter(|_| is_v5),
            subscription_ids: SubscriptionIds::EMPTY,
            properties: if is_v5 { message.properties.as_ref() } else { motte_mqtt::ForwardedProperties::EMPTY },
            payload: &message.payload,
        });
        self.encoder.encode(&packet, &mut self.out).map_err(|error| match error {
            EncodeError::TooLarge => PublishError::TooLarge {
                payload_bytes: message.payload.len(),
                packet_bytes_max: self.limits.packet_size_max,
            },
            error => PublishError::Encode(error),
        })
    }

    fn on_subscribe_request(
        &mut self,
        subscriptions: &[Subscription],
        reply: SyncSender<Result<Vec<Granted>, SubscribeError>>,
    ) {
        let id = self.free_id();
        let is_v5 = self.limits.version == ProtocolVersion::V5;
        // 3.x has the QoS and nothing else.
        let options = |options: SubscriptionOptions| {
            if is_v5 { options } else { SubscriptionOptions { qos: options.qos, ..SubscriptionOptions::default() } }
        };
        let filters: Vec<_> = subscriptions.iter().map(|one| (one.filter.as_str(), options(one.options))).collect();
        let packet = Packet::Subscribe(Subscribe {
            id,
            subscription_id: None,
            user: UserProperties::EMPTY,
            filters: SubscribeFilters::from_slice(&filters),
        });
        match self.encoder.encode(&packet, &mut self.out) {
            Ok(()) => drop(self.questions.insert(id, Question::Subscribe(filters.len(), reply))),
            Err(error) => answer(&reply, Err(SubscribeError::Encode(error))),
        }
    }

    fn on_unsubscribe_request(
        &mut self,
        filters: &[String],
        reply: SyncSender<Result<Vec<ReasonCode>, SubscribeError>>,
    ) {
        let id = self.free_id();
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        let packet = Packet::Unsubscribe(Unsubscribe {
            id,
            user: UserProperties::EMPTY,
            filters: UnsubscribeFilters::from_slice(&filters),
        });
        match self.encoder.encode(&packet, &mut self.out) {
            Ok(()) => drop(self.questions.insert(id, Question::Unsubscribe(filters.len(), reply))),
            Err(error) => answer(&reply, Err(SubscribeError::Encode(error))),
        }
    }

    /// Takes in a packet of the broker; acknowledgements go to `out`.
    pub(crate) fn on_packet(&mut self, packet: &Packet<'_>) -> Result<Event, Violation> {
        match packet {
            Packet::Publish(publish) => self.on_publish(publish),
            Packet::PubAck(ack) => self.on_puback(ack),
            Packet::PubRec(ack) => self.on_pubrec(ack),
            Packet::PubRel(ack) => self.on_pubrel(ack),
            Packet::PubComp(ack) => self.on_pubcomp(ack),
            Packet::SubAck(suback) => self.on_suback(suback.id, suback.codes),
            Packet::UnsubAck(unsuback) => self.on_unsuback(unsuback.id, unsuback.codes),
            Packet::PingResp => Ok(Event::Pong),
            Packet::Disconnect(disconnect) => Ok(Event::Ended(ConnectionLost::Disconnected {
                reason: disconnect.reason,
                text: disconnect.reason_string.map(str::to_owned),
            })),
            Packet::ConnAck(_) => Err(violation("a second CONNACK")),
            Packet::Auth(auth) => self.on_auth(auth),
            Packet::Connect(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_) | Packet::PingReq => {
                Err(violation("a packet that only clients send"))
            }
        }
    }

    fn on_publish(&mut self, publish: &Publish<'_>) -> Result<Event, Violation> {
        let topic = self.topic(publish)?;
        let dup = match publish.delivery {
            Delivery::AtMostOnce => false,
            Delivery::AtLeastOnce { id, dup } => {
                self.acknowledge(&Packet::PubAck(Ack::new(id, ReasonCode::Success)));
                dup
            }
            Delivery::ExactlyOnce { id, dup } => {
                let is_new = self.incoming.insert(id);
                self.acknowledge(&Packet::PubRec(Ack::new(id, ReasonCode::Success)));
                if !is_new {
                    return Ok(Event::Nothing);
                }
                dup
            }
        };
        Ok(Event::Message(Message {
            topic,
            payload: Bytes::copy_from_slice(publish.payload),
            qos: publish.delivery.qos(),
            retain: publish.retain,
            dup,
            message_expiry_s: publish.message_expiry_s,
            properties: publish.properties.to_owned(),
        }))
    }

    /// The topic of a message, by name or by an alias (MQTT-3.3.2-10).
    fn topic(&mut self, publish: &Publish<'_>) -> Result<String, Violation> {
        let Some(alias) = publish.topic_alias.map(std::num::NonZeroU16::get) else {
            return Ok(publish.topic.to_owned());
        };
        let invalid = |what| Violation { what, reason: ReasonCode::TopicAliasInvalid };
        if alias > TOPIC_ALIAS_MAXIMUM {
            return Err(invalid("a topic alias above the maximum"));
        }
        if !publish.topic.is_empty() {
            self.aliases.insert(alias, publish.topic.to_owned());
        }
        self.aliases.get(&alias).cloned().ok_or_else(|| invalid("a topic alias that stands for nothing"))
    }

    fn on_puback(&mut self, ack: &Ack<'_>) -> Result<Event, Violation> {
        match self.outgoing.remove(ack.id) {
            Some(Flight { step: Step::Ack(_), reply, .. }) => self.complete(reply, outcome(ack.reason)),
            _ => Err(violation("PUBACK for no QoS 1 message of ours")),
        }
    }

    fn on_pubrec(&mut self, ack: &Ack<'_>) -> Result<Event, Violation> {
        match self.outgoing.get_mut(ack.id) {
            // A broker may repeat it; the answer is repeated too (MQTT-4.3.3-4).
            Some(Flight { step: Step::Completion(_), .. }) if !ack.reason.is_error() => {}
            Some(flight @ Flight { step: Step::Receipt(_), .. }) => flight.step = Step::Completion(ack.reason),
            _ => return Err(violation("PUBREC for no QoS 2 message of ours")),
        }
        if ack.reason.is_error() {
            // The flow ends here, and the identifier is free again (MQTT 5.0 §4.3.3).
            let reply = self.outgoing.remove(ack.id).and_then(|flight| flight.reply);
            return self.complete(reply, Err(PublishError::Refused(ack.reason)));
        }
        self.acknowledge(&Packet::PubRel(Ack::new(ack.id, ReasonCode::Success)));
        Ok(Event::Nothing)
    }

    /// A message has arrived or was refused: who asked learns it, and its place is free.
    fn complete(
        &mut self,
        reply: Option<Reply>,
        outcome: Result<ReasonCode, PublishError>,
    ) -> Result<Event, Violation> {
        if let Some(reply) = reply {
            answer(&reply, outcome);
        }
        self.send_again();
        Ok(Event::Nothing)
    }

    fn on_pubrel(&mut self, ack: &Ack<'_>) -> Result<Event, Violation> {
        let known = self.incoming.remove(&ack.id);
        let is_v5 = self.limits.version == ProtocolVersion::V5;
        let reason = if known || !is_v5 { ReasonCode::Success } else { ReasonCode::PacketIdNotFound };
        self.acknowledge(&Packet::PubComp(Ack::new(ack.id, reason)));
        Ok(Event::Nothing)
    }

    fn on_pubcomp(&mut self, ack: &Ack<'_>) -> Result<Event, Violation> {
        match self.outgoing.remove(ack.id) {
            Some(Flight { step: Step::Completion(received), reply, .. }) => {
                let reason = if ack.reason.is_error() { ack.reason } else { received };
                self.complete(reply, outcome(reason))
            }
            _ => Err(violation("PUBCOMP for no QoS 2 message of ours")),
        }
    }

    /// Writes a PINGREQ.
    pub(crate) fn ping(&mut self) {
        self.acknowledge(&Packet::PingReq);
    }

    /// Writes a DISCONNECT; 3.x has one only for an orderly end, and closes for anything else.
    pub(crate) fn disconnect(&mut self, reason: ReasonCode) {
        if self.limits.version == ProtocolVersion::V5 || reason == ReasonCode::Success {
            self.acknowledge(&Packet::Disconnect(Disconnect::new(reason)));
        }
    }

    /// Writes a small packet of our own making.
    fn acknowledge(&mut self, packet: &Packet<'_>) {
        let before = self.out.len();
        match self.encoder.encode(packet, &mut self.out) {
            // A broker that takes not even these few bytes gets nothing, and will notice.
            Ok(()) | Err(EncodeError::TooLarge) => {}
            Err(error) => unreachable!("an acknowledgement is always allowed: {error}"),
        }
        self.answers_unsent += self.out.len() - before;
    }

    /// An identifier that nothing waits for. Requests are taken only while far fewer than 65,535 are in use.
    fn free_id(&mut self) -> PacketId {
        loop {
            self.id_last = self.id_last.wrapping_add(1);
            if let Some(id) = PacketId::new(self.id_last)
                && !self.outgoing.contains(id)
                && !self.again.iter().any(|(used, _)| *used == id)
                && !self.questions.contains_key(&id)
            {
                return id;
            }
        }
    }
}

fn outcome(reason: ReasonCode) -> Result<ReasonCode, PublishError> {
    if reason.is_error() { Err(PublishError::Refused(reason)) } else { Ok(reason) }
}

/// The asker may have stopped waiting; then nobody needs the answer.
fn answer<T>(reply: &SyncSender<T>, value: T) {
    let _ = reply.try_send(value);
}

#[cfg(test)]
mod tests;

//! The client's side of an established MQTT session, without any input or output: packets and requests in, bytes and
//! answers out. Called by `driver`. Never reads a clock or a socket, and never trusts the broker: every identifier it
//! acknowledges must be one that was sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::SyncSender;

use bytes::Bytes;
use motte_mqtt::{
    Ack, Delivery, Disconnect, EncodeError, Encoder, Packet, PacketId, ProtocolVersion, Publish, Qos, ReasonCode,
    Subscribe, SubscribeFilters, SubscriptionIds, SubscriptionOptions, Unsubscribe, UnsubscribeFilters, UserProperties,
};

use crate::error::{ConnectionLost, PublishError, SubscribeError};
use crate::message::{Granted, Message, Subscription};

/// Most SUBSCRIBE and UNSUBSCRIBE packets without an answer.
const QUESTIONS_MAX: usize = 16;

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

/// A QoS 1 or 2 message on its way to the broker, by the packet it waits for.
#[derive(Debug)]
enum Outgoing {
    Ack(SyncSender<Result<ReasonCode, PublishError>>),
    Receipt(SyncSender<Result<ReasonCode, PublishError>>),
    Completion(SyncSender<Result<ReasonCode, PublishError>>, ReasonCode),
}

/// A SUBSCRIBE or UNSUBSCRIBE without its answer; how many filters it had.
#[derive(Debug)]
enum Question {
    Subscribe(usize, SyncSender<Result<Vec<Granted>, SubscribeError>>),
    Unsubscribe(usize, SyncSender<Result<Vec<ReasonCode>, SubscribeError>>),
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
    outgoing: BTreeMap<PacketId, Outgoing>,
    questions: BTreeMap<PacketId, Question>,
    /// QoS 2 messages that came and were not released yet (MQTT-4.3.3-10): identifiers only, so never much. No Receive
    /// Maximum is asked for, because brokers in wide use exceed it.
    incoming: BTreeSet<PacketId>,
    id_last: u16,
}

impl Protocol {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            encoder: Encoder::new(limits.version, limits.packet_size_max),
            out: Vec::new(),
            answers_unsent: 0,
            outgoing: BTreeMap::new(),
            questions: BTreeMap::new(),
            incoming: BTreeSet::new(),
            id_last: 0,
        }
    }

    /// Whether another request may be taken: the broker's Receive Maximum leaves room (MQTT-3.3.4-7).
    pub(crate) fn takes_requests(&self) -> bool {
        self.outgoing.len() < usize::from(self.limits.in_flight_max) && self.questions.len() < QUESTIONS_MAX
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
            Request::Publish(message, reply) => self.on_publish_request(&message, reply),
            Request::Subscribe(subscriptions, reply) => self.on_subscribe_request(&subscriptions, reply),
            Request::Unsubscribe(filters, reply) => self.on_unsubscribe_request(&filters, reply),
        }
    }

    fn on_publish_request(&mut self, message: &Message, reply: SyncSender<Result<ReasonCode, PublishError>>) {
        let id = self.free_id();
        match self.write_publish(message, id) {
            Err(error) => answer(&reply, Err(error)),
            Ok(()) => match message.qos {
                Qos::AtMostOnce => answer(&reply, Ok(ReasonCode::Success)),
                Qos::AtLeastOnce => drop(self.outgoing.insert(id, Outgoing::Ack(reply))),
                Qos::ExactlyOnce => drop(self.outgoing.insert(id, Outgoing::Receipt(reply))),
            },
        }
    }

    fn write_publish(&mut self, message: &Message, id: PacketId) -> Result<(), PublishError> {
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
                Qos::AtLeastOnce => Delivery::AtLeastOnce { id, dup: false },
                Qos::ExactlyOnce => Delivery::ExactlyOnce { id, dup: false },
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
            Packet::Auth(_) => Err(violation("AUTH without an authentication method")),
            Packet::Connect(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_) | Packet::PingReq => {
                Err(violation("a packet that only clients send"))
            }
        }
    }

    fn on_publish(&mut self, publish: &Publish<'_>) -> Result<Event, Violation> {
        if publish.topic_alias.is_some() {
            // We said that we take none (MQTT-3.1.2-26).
            return Err(Violation { what: "a topic alias nobody asked for", reason: ReasonCode::TopicAliasInvalid });
        }
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
            topic: publish.topic.to_owned(),
            payload: Bytes::copy_from_slice(publish.payload),
            qos: publish.delivery.qos(),
            retain: publish.retain,
            dup,
            message_expiry_s: publish.message_expiry_s,
            properties: publish.properties.to_owned(),
        }))
    }

    fn on_puback(&mut self, ack: &Ack<'_>) -> Result<Event, Violation> {
        match self.outgoing.remove(&ack.id) {
            Some(Outgoing::Ack(reply)) => {
                answer(&reply, outcome(ack.reason));
                Ok(Event::Nothing)
            }
            _ => Err(violation("PUBACK for no QoS 1 message of ours")),
        }
    }

    fn on_pubrec(&mut self, ack: &Ack<'_>) -> Result<Event, Violation> {
        let reply = match self.outgoing.remove(&ack.id) {
            Some(Outgoing::Receipt(reply)) => reply,
            // A broker may repeat it; the answer is repeated too (MQTT-4.3.3-4).
            Some(Outgoing::Completion(reply, _)) if !ack.reason.is_error() => reply,
            _ => return Err(violation("PUBREC for no QoS 2 message of ours")),
        };
        if ack.reason.is_error() {
            // The flow ends here, and the identifier is free again (MQTT 5.0 §4.3.3).
            answer(&reply, Err(PublishError::Refused(ack.reason)));
        } else {
            self.acknowledge(&Packet::PubRel(Ack::new(ack.id, ReasonCode::Success)));
            self.outgoing.insert(ack.id, Outgoing::Completion(reply, ack.reason));
        }
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
        match self.outgoing.remove(&ack.id) {
            Some(Outgoing::Completion(reply, received)) => {
                let reason = if ack.reason.is_error() { ack.reason } else { received };
                answer(&reply, outcome(reason));
                Ok(Event::Nothing)
            }
            _ => Err(violation("PUBCOMP for no QoS 2 message of ours")),
        }
    }

    fn on_suback(&mut self, id: PacketId, codes: &[u8]) -> Result<Event, Violation> {
        let Some(Question::Subscribe(filters, reply)) = self.questions.remove(&id) else {
            return Err(violation("SUBACK for no SUBSCRIBE of ours"));
        };
        if codes.len() != filters {
            return Err(violation("SUBACK with another number of codes than filters were asked for"));
        }
        let mut granted = Vec::with_capacity(codes.len());
        for code in codes {
            granted.push(match (Qos::from_u8(*code), ReasonCode::from_u8(*code)) {
                (Some(qos), _) => Ok(qos),
                (None, Some(reason)) if reason.is_error() => Err(reason),
                (None, _) => return Err(violation("SUBACK with a code that does not exist")),
            });
        }
        answer(&reply, Ok(granted));
        Ok(Event::Nothing)
    }

    fn on_unsuback(&mut self, id: PacketId, codes: &[u8]) -> Result<Event, Violation> {
        let Some(Question::Unsubscribe(filters, reply)) = self.questions.remove(&id) else {
            return Err(violation("UNSUBACK for no UNSUBSCRIBE of ours"));
        };
        if self.limits.version != ProtocolVersion::V5 {
            answer(&reply, Ok(vec![ReasonCode::Success; filters]));
            return Ok(Event::Nothing);
        }
        let reasons: Option<Vec<_>> = codes.iter().map(|code| ReasonCode::from_u8(*code)).collect();
        match reasons {
            Some(reasons) if reasons.len() == filters => answer(&reply, Ok(reasons)),
            _ => return Err(violation("UNSUBACK with codes that do not fit the filters")),
        }
        Ok(Event::Nothing)
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
                && !self.outgoing.contains_key(&id)
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

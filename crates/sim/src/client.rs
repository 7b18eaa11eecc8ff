//! A small model of an MQTT 5.0 client: it keeps its side of every QoS flow over reconnects and notes what it is given.
//!
//! Used by the simulated world. Panics when the broker breaks a promise; that is what it is for.

use std::collections::{BTreeMap, BTreeSet};

use motte_broker::LinkId;
use motte_broker::mqtt::{
    Ack, Decoder, Delivery, Encoder, ForwardedProperties, Packet, PacketId, ProtocolVersion, Publish, Qos, ReasonCode,
    Sender, SubscriptionIds,
};

/// A publish the client has not seen finished.
#[derive(Clone, Debug)]
struct Unfinished {
    topic: String,
    payload: String,
    qos: Qos,
    /// PUBREC came: only PUBREL is sent again.
    released: bool,
}

/// What a payload says of itself: publisher, QoS and number.
type Stream = (String, String, u8);

/// The client.
#[derive(Debug)]
pub(crate) struct SimClient {
    pub(crate) name: String,
    pub(crate) link: Option<LinkId>,
    /// What was not yet handed to the shard.
    pub(crate) to_send: Vec<u8>,
    /// Messages published, by QoS.
    pub(crate) published: u64,
    /// Messages given to the application, first copies at QoS 2.
    pub(crate) given: u64,
    /// QoS 2 identifiers received and not released.
    received: BTreeSet<PacketId>,
    unfinished: BTreeMap<u64, (PacketId, Unfinished)>,
    next_number: u64,
    last_id: u16,
    /// Whether CONNACK came: what was unfinished went out before anything new.
    pub(crate) is_ready: bool,
    /// Numbers of QoS 1 messages sent more than once.
    pub(crate) repeated: BTreeSet<u64>,
    /// QoS 1 messages that came after a later one of their publisher.
    pub(crate) late: Vec<(String, u64)>,
    /// Numbers seen of each publisher, topic and QoS.
    seen: BTreeMap<Stream, BTreeSet<u64>>,
}

const ENCODER: Encoder = Encoder::new(ProtocolVersion::V5, u32::MAX);
const DECODER: Decoder = Decoder::new(Sender::Server, ProtocolVersion::V5, u32::MAX);
/// Publishes of QoS 1 and 2 the client has under way at most.
const UNFINISHED_MAX: usize = 20;

impl SimClient {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            link: None,
            to_send: Vec::new(),
            published: 0,
            given: 0,
            received: BTreeSet::new(),
            unfinished: BTreeMap::new(),
            next_number: 1,
            last_id: 0,
            is_ready: false,
            repeated: BTreeSet::new(),
            late: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    pub(crate) fn send(&mut self, packet: &Packet<'_>) {
        ENCODER.encode(packet, &mut self.to_send).expect("the model sends what may be sent");
    }

    /// The connection is gone; with the session gone as well, both sides forget everything.
    pub(crate) fn on_gone(&mut self, session_ends: bool) {
        self.link = None;
        self.is_ready = false;
        self.to_send.clear();
        if session_ends {
            self.received.clear();
            self.unfinished.clear();
        }
    }

    /// Publishes the next message of this client.
    pub(crate) fn publish(&mut self, topic: &str, qos: Qos) {
        if qos > Qos::AtMostOnce && self.unfinished.len() >= UNFINISHED_MAX {
            return;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.published += 1;
        let payload = format!("{} {} {number}", self.name, qos.as_u8());
        if qos == Qos::AtMostOnce {
            self.send(&publish(topic, &payload, Delivery::AtMostOnce));
            return;
        }
        let id = self.free_id();
        self.send(&publish(topic, &payload, delivery(qos, id, false)));
        let unfinished = Unfinished { topic: topic.into(), payload, qos, released: false };
        self.unfinished.insert(number, (id, unfinished));
    }

    fn free_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            let free = |id: &PacketId| self.unfinished.values().all(|(used, _)| used != id);
            if let Some(id) = PacketId::new(self.last_id).filter(free) {
                return id;
            }
        }
    }

    /// CONNACK came: with the session goes what was unfinished, without it everything is sent again.
    fn on_connack(&mut self, session_present: bool) {
        self.is_ready = true;
        if !session_present {
            self.received.clear();
            self.unfinished.clear();
            return;
        }
        for (number, (id, unfinished)) in self.unfinished.clone() {
            self.repeated.insert(number);
            if unfinished.released {
                self.send(&Packet::PubRel(Ack::new(id, ReasonCode::Success)));
            } else {
                self.send(&publish(&unfinished.topic, &unfinished.payload, delivery(unfinished.qos, id, true)));
            }
        }
    }

    /// Reads what the broker wrote. Tells whether it said that the connection ends.
    pub(crate) fn on_bytes(&mut self, mut bytes: &[u8]) -> bool {
        let mut ends = false;
        while !bytes.is_empty() {
            let decoded = DECODER.decode(bytes).expect("the broker writes valid packets");
            let (packet, len) = decoded.expect("the broker writes whole packets");
            assert!(!ends, "nothing follows a DISCONNECT (MQTT-3.14.4-1)");
            self.on_packet(&packet, &mut ends);
            bytes = &bytes[len..];
        }
        ends
    }

    fn on_packet(&mut self, packet: &Packet<'_>, ends: &mut bool) {
        match packet {
            Packet::ConnAck(connack) => {
                assert_eq!(connack.reason, ReasonCode::Success);
                self.on_connack(connack.session_present);
            }
            Packet::Publish(publish) => self.on_publish(publish),
            Packet::PubAck(ack) => self.finish(ack.id),
            Packet::PubRec(ack) => {
                let (_, unfinished) =
                    self.unfinished.values_mut().find(|(id, _)| *id == ack.id).expect("PUBREC answers a PUBLISH");
                unfinished.released = true;
                self.send(&Packet::PubRel(Ack::new(ack.id, ReasonCode::Success)));
            }
            Packet::PubComp(ack) => {
                // After a reconnect the PUBCOMP of an earlier PUBREL may have been lost: then it is no longer known.
                assert!(matches!(ack.reason, ReasonCode::Success | ReasonCode::PacketIdNotFound), "{ack:?}");
                self.finish(ack.id);
            }
            Packet::PubRel(ack) => {
                self.received.remove(&ack.id);
                self.send(&Packet::PubComp(Ack::new(ack.id, ReasonCode::Success)));
            }
            Packet::SubAck(ack) => assert!(ack.codes.iter().all(|code| *code < 0x80), "{ack:?}"),
            Packet::UnsubAck(_) | Packet::PingResp => {}
            Packet::Disconnect(disconnect) => {
                assert_eq!(disconnect.reason, ReasonCode::SessionTakenOver, "the model breaks no rule");
                *ends = true;
            }
            other => panic!("a server does not send {other:?}"),
        }
    }

    /// Whether every flow of this client is finished.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.unfinished.is_empty() && self.received.is_empty() && self.to_send.is_empty()
    }

    fn finish(&mut self, id: PacketId) {
        self.unfinished.retain(|_, (used, _)| *used != id);
    }

    fn on_publish(&mut self, publish: &Publish<'_>) {
        let is_repeated = match publish.delivery {
            Delivery::AtMostOnce => false,
            Delivery::AtLeastOnce { id, dup } => {
                self.send(&Packet::PubAck(Ack::new(id, ReasonCode::Success)));
                dup
            }
            Delivery::ExactlyOnce { id, dup } => {
                self.send(&Packet::PubRec(Ack::new(id, ReasonCode::Success)));
                let is_new = self.received.insert(id);
                assert!(dup || is_new, "{}: a new message under an identifier still in use", self.name);
                !is_new
            }
        };
        if is_repeated && publish.delivery.qos() == Qos::ExactlyOnce {
            return;
        }
        self.given += 1;
        self.check_order(publish);
    }

    /// Per publisher, topic and QoS the first copies come in order, and where every hop is QoS 2 there is no second one
    /// (MQTT-4.6.0-6, MQTT-4.3.3-10).
    fn check_order(&mut self, publish: &Publish<'_>) {
        let text = std::str::from_utf8(publish.payload).expect("the model writes text");
        let (said, number) = text.rsplit_once(' ').expect("the model writes numbers");
        let number: u64 = number.parse().expect("the model writes numbers");
        let qos = publish.delivery.qos();
        let seen = self.seen.entry((said.to_owned(), publish.topic.to_owned(), qos.as_u8())).or_default();
        let is_copy = seen.contains(&number);
        let may_copy = said.ends_with(" 1") || qos == Qos::AtLeastOnce;
        assert!(!is_copy || may_copy, "{}: {text} of {} came twice", self.name, publish.topic);
        let is_next = seen.last().is_none_or(|last| number > *last);
        seen.insert(number);
        if is_copy || is_next {
            return;
        }
        // A QoS 1 message that was accepted before this client subscribed comes late when its publisher repeats it.
        let publisher = said.strip_suffix(" 1").unwrap_or_default();
        assert!(!publisher.is_empty(), "{}: {text} of {} out of order", self.name, publish.topic);
        self.late.push((publisher.to_owned(), number));
    }
}

fn delivery(qos: Qos, id: PacketId, dup: bool) -> Delivery {
    match qos {
        Qos::AtMostOnce => Delivery::AtMostOnce,
        Qos::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
        Qos::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
    }
}

fn publish<'a>(topic: &'a str, payload: &'a str, delivery: Delivery) -> Packet<'a> {
    Packet::Publish(Publish {
        delivery,
        retain: false,
        topic,
        topic_alias: None,
        message_expiry_s: None,
        subscription_ids: SubscriptionIds::EMPTY,
        properties: ForwardedProperties::EMPTY,
        payload: payload.as_bytes(),
    })
}

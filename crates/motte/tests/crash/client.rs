//! A client of 3.1.1 or 5.0 that does exactly what it is told: no acknowledgement of its own, identifiers as given.
//!
//! Used by the oracle and by single tests. Packets are those of `motte-mqtt`, the connection is a `Peer`.

use std::num::NonZeroU16;
use std::time::Duration;

use motte_mqtt::{
    Ack, Connect, ConnectProperties, Decoder, Delivery, Disconnect, Encoder, ForwardedPropertiesBuf, Packet, PacketId,
    ProtocolVersion, Publish, Qos, ReasonCode, Sender, Subscribe, SubscribeFilters, SubscriptionId, SubscriptionIds,
    SubscriptionOptions, Unsubscribe, UnsubscribeFilters, UserProperties, Will,
};

use crate::peer::{self, PATIENCE, Peer};

const PACKET_BYTES_MAX: u32 = 1024 * 1024;
/// Longer than any test.
const EXPIRY_S: u32 = 7 * 24 * 3600;

/// How a client comes in.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    pub(crate) client_id: String,
    pub(crate) version: ProtocolVersion,
    /// Clean start; with 3.1.1 the session ends with the connection then.
    pub(crate) clean: bool,
    /// Session Expiry Interval, 5.0 only.
    pub(crate) expiry_s: u32,
    /// Receive Maximum, 5.0 only.
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) will: Option<Testament>,
}

/// A will.
#[derive(Clone, Debug)]
pub(crate) struct Testament {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: Qos,
    /// Will Delay Interval, 5.0 only.
    pub(crate) delay_s: u32,
}

impl Hello {
    /// A session that outlives its connection; made when there is none.
    pub(crate) fn durable(client_id: &str, version: ProtocolVersion) -> Self {
        let client_id = client_id.to_owned();
        Self { client_id, version, clean: false, expiry_s: EXPIRY_S, receive_maximum: None, will: None }
    }

    /// A session that ends with its connection.
    pub(crate) fn clean(client_id: &str, version: ProtocolVersion) -> Self {
        Self { clean: true, expiry_s: 0, ..Self::durable(client_id, version) }
    }
}

/// Why a client did not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// The connection ended before a CONNACK.
    Gone,
    /// By this code.
    Refused(u8),
    /// No answer.
    Silence,
}

impl NotAdmitted {
    /// Whether the broker has ended or is about to.
    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Gone | Self::Refused(3 | 0x88 | 0x89 | 0x8b))
    }
}

/// What the broker said.
#[derive(Debug)]
pub(crate) enum Heard {
    Publish(Box<Incoming>),
    PubAck(u16, u8),
    PubRec(u16, u8),
    PubRel(u16),
    PubComp(u16, u8),
    SubAck(u16, Vec<u8>),
    UnsubAck(u16),
    Pong,
    Disconnect(u8),
    /// What should not come.
    Other(#[expect(dead_code, reason = "shown with a failed test")] String),
    Silence,
    End,
}

/// A message that came.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) qos: Qos,
    pub(crate) dup: bool,
    pub(crate) id: u16,
    pub(crate) retain: bool,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) subscription_ids: Vec<u32>,
    pub(crate) user: Vec<(String, String)>,
    pub(crate) expiry_s: Option<u32>,
}

/// A message to send.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: Qos,
    pub(crate) id: u16,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    /// 5.0 only.
    pub(crate) expiry_s: Option<u32>,
    /// A user property, 5.0 only.
    pub(crate) user: Option<(&'a str, &'a str)>,
}

impl<'a> Outgoing<'a> {
    /// Of QoS 1 and without anything special.
    pub(crate) fn new(topic: &'a str, payload: &'a [u8], id: u16) -> Self {
        Self { topic, payload, qos: Qos::AtLeastOnce, id, dup: false, retain: false, expiry_s: None, user: None }
    }
}

/// An admitted client.
#[derive(Debug)]
pub(crate) struct Client {
    peer: Peer,
    version: ProtocolVersion,
    decoder: Decoder,
    unsent: Vec<u8>,
    /// Whether its session was there before.
    pub(crate) present: bool,
}

impl Client {
    /// Comes in.
    pub(crate) fn connect(port: u16, hello: &Hello) -> Result<Self, NotAdmitted> {
        let peer = Peer::try_open(port).map_err(|_| NotAdmitted::Gone)?;
        let decoder = Decoder::new(Sender::Server, hello.version, PACKET_BYTES_MAX);
        let mut client = Self { peer, version: hello.version, decoder, unsent: Vec::new(), present: false };
        let v5 = hello.version == ProtocolVersion::V5;
        let properties = ConnectProperties {
            session_expiry_s: (v5 && hello.expiry_s > 0).then_some(hello.expiry_s),
            receive_maximum: hello.receive_maximum.filter(|_| v5).and_then(NonZeroU16::new),
            ..ConnectProperties::default()
        };
        let none = ForwardedPropertiesBuf::default();
        let will = hello.will.as_ref().map(|will| Will {
            topic: &will.topic,
            payload: &will.payload,
            qos: will.qos,
            retain: false,
            delay_s: if v5 { will.delay_s } else { 0 },
            message_expiry_s: None,
            properties: none.as_ref(),
        });
        client.send(&Packet::Connect(Connect {
            version: hello.version,
            clean_start: hello.clean,
            keep_alive_s: 300,
            client_id: &hello.client_id,
            will,
            user_name: None,
            password: None,
            properties,
        }));
        match client.peer.hear(PATIENCE) {
            peer::Heard::Packet(bytes) => match client.decoder.decode(&bytes) {
                Ok(Some((Packet::ConnAck(answer), _))) if bytes[3] == 0 => {
                    client.present = answer.session_present;
                    Ok(client)
                }
                Ok(Some((Packet::ConnAck(_), _))) => Err(NotAdmitted::Refused(bytes[3])),
                other => panic!("no CONNACK: {other:?}"),
            },
            peer::Heard::End => Err(NotAdmitted::Gone),
            peer::Heard::Silence => Err(NotAdmitted::Silence),
        }
    }

    /// Comes in, which has to succeed.
    #[track_caller]
    pub(crate) fn admitted(port: u16, hello: &Hello) -> Self {
        Self::connect(port, hello).unwrap_or_else(|why| panic!("{} is not admitted: {why:?}", hello.client_id))
    }

    /// Puts a packet behind what will be sent with the next [`Client::flush`].
    pub(crate) fn write(&mut self, packet: &Packet<'_>) {
        Encoder::new(self.version, PACKET_BYTES_MAX).encode(packet, &mut self.unsent).expect("a legal packet");
    }

    /// Sends what was written. The other side may be gone, which shows when it is listened to.
    pub(crate) fn flush(&mut self) {
        self.peer.send(&self.unsent);
        self.unsent.clear();
    }

    pub(crate) fn send(&mut self, packet: &Packet<'_>) {
        self.write(packet);
        self.flush();
    }

    /// Writes a PUBLISH.
    pub(crate) fn write_publish(&mut self, message: &Outgoing<'_>) {
        let v5 = self.version == ProtocolVersion::V5;
        let mut properties = ForwardedPropertiesBuf::default();
        if let Some((name, value)) = message.user.filter(|_| v5) {
            properties = properties.user(name, value).expect("a legal property");
        }
        let id = || PacketId::new(message.id).expect("an identifier");
        let delivery = match message.qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            Qos::AtLeastOnce => Delivery::AtLeastOnce { id: id(), dup: message.dup },
            Qos::ExactlyOnce => Delivery::ExactlyOnce { id: id(), dup: message.dup },
        };
        self.write(&Packet::Publish(Publish {
            delivery,
            retain: message.retain,
            topic: message.topic,
            topic_alias: None,
            message_expiry_s: message.expiry_s.filter(|_| v5),
            subscription_ids: SubscriptionIds::EMPTY,
            properties: properties.as_ref(),
            payload: message.payload,
        }));
    }

    /// Sends a PUBLISH.
    pub(crate) fn publish(&mut self, message: &Outgoing<'_>) {
        self.write_publish(message);
        self.flush();
    }

    pub(crate) fn write_puback(&mut self, id: u16) {
        self.write(&Packet::PubAck(ack(id)));
    }

    pub(crate) fn write_pubrec(&mut self, id: u16) {
        self.write(&Packet::PubRec(ack(id)));
    }

    pub(crate) fn write_pubrel(&mut self, id: u16) {
        self.write(&Packet::PubRel(ack(id)));
    }

    pub(crate) fn write_pubcomp(&mut self, id: u16) {
        self.write(&Packet::PubComp(ack(id)));
    }

    /// Writes a SUBSCRIBE to one filter; the identifier of the subscription is left out with 3.1.1.
    pub(crate) fn write_subscribe(&mut self, id: u16, filter: &str, qos: Qos, subscription_id: Option<u32>) {
        let v5 = self.version == ProtocolVersion::V5;
        let filters = [(filter, SubscriptionOptions { qos, ..SubscriptionOptions::default() })];
        self.write(&Packet::Subscribe(Subscribe {
            id: PacketId::new(id).unwrap(),
            subscription_id: subscription_id.filter(|_| v5).and_then(SubscriptionId::new),
            user: UserProperties::EMPTY,
            filters: SubscribeFilters::from_slice(&filters),
        }));
    }

    pub(crate) fn write_unsubscribe(&mut self, id: u16, filter: &str) {
        let filters = [filter];
        self.write(&Packet::Unsubscribe(Unsubscribe {
            id: PacketId::new(id).unwrap(),
            user: UserProperties::EMPTY,
            filters: UnsubscribeFilters::from_slice(&filters),
        }));
    }

    /// Subscribes and waits for the answer. `None` when the connection ended or said nothing.
    pub(crate) fn subscribe(&mut self, filter: &str, qos: Qos, subscription_id: Option<u32>) -> Option<u8> {
        self.write_subscribe(u16::MAX, filter, qos, subscription_id);
        self.flush();
        loop {
            match self.hear(PATIENCE) {
                Heard::SubAck(u16::MAX, codes) => return codes.first().copied(),
                Heard::End | Heard::Silence => return None,
                _ => {}
            }
        }
    }

    /// Says goodbye, which withdraws the will, and waits for the end.
    pub(crate) fn disconnect(mut self) {
        self.send(&Packet::Disconnect(Disconnect::new(ReasonCode::Success)));
        while !matches!(self.hear(PATIENCE), Heard::End | Heard::Silence) {}
    }

    pub(crate) fn ping(&mut self) {
        self.send(&Packet::PingReq);
    }

    /// What comes next, however long nothing did.
    pub(crate) fn hear(&mut self, patience: Duration) -> Heard {
        let bytes = match self.peer.hear(patience) {
            peer::Heard::Packet(bytes) => bytes,
            peer::Heard::Silence => return Heard::Silence,
            peer::Heard::End => return Heard::End,
        };
        match self.decoder.decode(&bytes) {
            Ok(Some((packet, _))) => owned(&packet),
            other => Heard::Other(format!("{other:?}")),
        }
    }
}

fn ack(id: u16) -> Ack<'static> {
    Ack::new(PacketId::new(id).expect("an identifier"), ReasonCode::Success)
}

fn owned(packet: &Packet<'_>) -> Heard {
    match packet {
        Packet::Publish(publish) => Heard::Publish(Box::new(Incoming {
            qos: publish.delivery.qos(),
            dup: matches!(
                publish.delivery,
                Delivery::AtLeastOnce { dup: true, .. } | Delivery::ExactlyOnce { dup: true, .. }
            ),
            id: publish.delivery.id().map_or(0, PacketId::value),
            retain: publish.retain,
            topic: publish.topic.to_owned(),
            payload: publish.payload.to_vec(),
            subscription_ids: publish.subscription_ids.iter().map(|id| id.value()).collect(),
            user: publish.properties.user().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            expiry_s: publish.message_expiry_s,
        })),
        Packet::PubAck(ack) => Heard::PubAck(ack.id.value(), ack.reason as u8),
        Packet::PubRec(ack) => Heard::PubRec(ack.id.value(), ack.reason as u8),
        Packet::PubRel(ack) => Heard::PubRel(ack.id.value()),
        Packet::PubComp(ack) => Heard::PubComp(ack.id.value(), ack.reason as u8),
        Packet::SubAck(suback) => Heard::SubAck(suback.id.value(), suback.codes.to_vec()),
        Packet::UnsubAck(unsuback) => Heard::UnsubAck(unsuback.id.value()),
        Packet::PingResp => Heard::Pong,
        Packet::Disconnect(disconnect) => Heard::Disconnect(disconnect.reason as u8),
        other => Heard::Other(format!("{other:?}")),
    }
}

//! Packets as the model speaks of them: what a client sends with its bytes, and what it reads.
//!
//! Used by clients, lines and the ledger.

use motte_broker::mqtt::{
    Ack, ConnAck, Decoder, Delivery, Disconnect, Encoder, ForwardedProperties, Packet, PacketId, ProtocolVersion,
    Publish, Qos, ReasonCode, SubscribeFilters, SubscriptionId, SubscriptionIds, SubscriptionOptions,
    UnsubscribeFilters, UserProperties,
};

use crate::history::{Message, MessageNo};

/// What a client asks for in a SUBSCRIBE.
pub(crate) type Asked = (String, SubscriptionOptions);

/// What a packet of a client means.
#[derive(Clone, Debug)]
pub(crate) enum Meaning {
    Publish {
        message: MessageNo,
        id: Option<u16>,
    },
    PubAck(u16),
    PubRec(u16),
    PubRel(u16),
    PubComp(u16),
    Subscribe {
        id: u16,
        filters: Vec<Asked>,
        subscription_id: Option<u32>,
    },
    Unsubscribe {
        id: u16,
        filters: Vec<String>,
    },
    Ping,
    Disconnect {
        keeps_will: bool,
        expiry_s: Option<u32>,
    },
    /// Something no client may send: the link ends with one of these codes. `is_publish` when it may count as one. An
    /// acknowledgement is wrong only as long as its identifier is in use at the other QoS.
    Illegal {
        name: &'static str,
        codes: &'static [u8],
        is_publish: bool,
        in_use: Option<(u16, Qos)>,
    },
}

/// A packet on its way to the broker.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) bytes: Vec<u8>,
    pub(crate) meaning: Meaning,
}

/// A packet from the broker.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    ConnAck { is_present: bool, code: u8, receive_maximum: usize, alias_max: u16 },
    Publish(crate::history::Delivered),
    PubAck(u16, u8),
    PubRec(u16, u8),
    PubRel(u16),
    PubComp(u16, u8),
    SubAck(u16, Vec<u8>),
    UnsubAck(u16, Vec<u8>),
    Pong,
    Disconnect(u8),
}

/// The text every message of the model begins with: its number.
pub(crate) fn payload(message: MessageNo, padding: usize) -> String {
    format!("m{message} {}", "x".repeat(padding))
}

/// The number a payload says.
pub(crate) fn number(payload: &[u8]) -> Option<MessageNo> {
    std::str::from_utf8(payload).ok()?.strip_prefix('m')?.split(' ').next()?.parse().ok()
}

fn id_of(id: u16) -> PacketId {
    PacketId::new(id).expect("the model counts from one")
}

fn encode(version: ProtocolVersion, packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::new(version, u32::MAX).encode(packet, &mut bytes).expect("the model sends what may be sent");
    bytes
}

/// An acknowledgement.
pub(crate) fn ack(version: ProtocolVersion, meaning: Meaning) -> Sent {
    let ok = |id| Ack::new(id_of(id), ReasonCode::Success);
    let packet = match meaning {
        Meaning::PubAck(id) => Packet::PubAck(ok(id)),
        Meaning::PubRec(id) => Packet::PubRec(ok(id)),
        Meaning::PubRel(id) => Packet::PubRel(ok(id)),
        Meaning::PubComp(id) => Packet::PubComp(ok(id)),
        _ => Packet::PingReq,
    };
    Sent { bytes: encode(version, &packet), meaning }
}

/// How a PUBLISH goes out: topic (empty when the alias stands for it), alias, identifier, DUP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner<'a> {
    pub(crate) topic: &'a str,
    pub(crate) alias: Option<u16>,
    pub(crate) id: Option<u16>,
    pub(crate) dup: bool,
}

/// A PUBLISH of a message.
pub(crate) fn publish(version: ProtocolVersion, no: MessageNo, message: &Message, manner: Manner<'_>) -> Sent {
    let Manner { topic, alias, id, dup } = manner;
    let delivery = match (message.qos, id) {
        (Qos::AtLeastOnce, Some(id)) => Delivery::AtLeastOnce { id: id_of(id), dup },
        (Qos::ExactlyOnce, Some(id)) => Delivery::ExactlyOnce { id: id_of(id), dup },
        _ => Delivery::AtMostOnce,
    };
    let packet = Packet::Publish(Publish {
        delivery,
        retain: message.retain,
        topic,
        topic_alias: alias.and_then(std::num::NonZeroU16::new),
        message_expiry_s: message.expiry_s.filter(|_| version == ProtocolVersion::V5),
        subscription_ids: SubscriptionIds::EMPTY,
        properties: ForwardedProperties::EMPTY,
        payload: message.payload.as_bytes(),
    });
    Sent { bytes: encode(version, &packet), meaning: Meaning::Publish { message: no, id } }
}

/// SUBSCRIBE.
pub(crate) fn subscribe(version: ProtocolVersion, id: u16, filters: Vec<Asked>, subscription_id: Option<u32>) -> Sent {
    let list: Vec<_> = filters.iter().map(|(text, options)| (text.as_str(), *options)).collect();
    let packet = Packet::Subscribe(motte_broker::mqtt::Subscribe {
        id: id_of(id),
        subscription_id: subscription_id.and_then(SubscriptionId::new),
        user: UserProperties::EMPTY,
        filters: SubscribeFilters::from_slice(&list),
    });
    let bytes = encode(version, &packet);
    Sent { bytes, meaning: Meaning::Subscribe { id, filters, subscription_id } }
}

/// UNSUBSCRIBE.
pub(crate) fn unsubscribe(version: ProtocolVersion, id: u16, filters: Vec<String>) -> Sent {
    let list: Vec<_> = filters.iter().map(String::as_str).collect();
    let filters_of = UnsubscribeFilters::from_slice(&list);
    let packet = Packet::Unsubscribe(motte_broker::mqtt::Unsubscribe {
        id: id_of(id),
        user: UserProperties::EMPTY,
        filters: filters_of,
    });
    let bytes = encode(version, &packet);
    Sent { bytes, meaning: Meaning::Unsubscribe { id, filters } }
}

/// DISCONNECT; 3.x knows only the normal one.
pub(crate) fn disconnect(version: ProtocolVersion, keeps_will: bool, expiry_s: Option<u32>) -> Sent {
    let is_v5 = version == ProtocolVersion::V5;
    let (keeps_will, expiry_s) = (keeps_will && is_v5, expiry_s.filter(|_| is_v5));
    let reason = if keeps_will { ReasonCode::DisconnectWithWill } else { ReasonCode::Success };
    let packet = Packet::Disconnect(Disconnect { session_expiry_s: expiry_s, ..Disconnect::new(reason) });
    Sent { bytes: encode(version, &packet), meaning: Meaning::Disconnect { keeps_will, expiry_s } }
}

/// Reads the packet at the front of what the broker wrote; the error says what no client can read.
pub(crate) fn read(decoder: Decoder, bytes: &[u8]) -> Result<(Item, Option<u16>, usize), String> {
    let (packet, len) = match decoder.decode(bytes) {
        Ok(Some(decoded)) => decoded,
        Ok(None) => return Err("half a packet was written".into()),
        Err(error) => return Err(format!("bytes were written that are no packet: {error}")),
    };
    let mut alias = None;
    let item = match packet {
        Packet::ConnAck(ConnAck { session_present, reason, properties }) => Item::ConnAck {
            is_present: session_present,
            code: reason.as_u8(),
            receive_maximum: properties.receive_maximum.map_or(65_535, |max| usize::from(max.get())),
            alias_max: properties.topic_alias_maximum,
        },
        Packet::Publish(publish) => {
            alias = publish.topic_alias.map(std::num::NonZeroU16::get);
            Item::Publish(delivered(&publish))
        }
        Packet::PubAck(ack) => Item::PubAck(ack.id.value(), ack.reason.as_u8()),
        Packet::PubRec(ack) => Item::PubRec(ack.id.value(), ack.reason.as_u8()),
        Packet::PubRel(ack) => Item::PubRel(ack.id.value()),
        Packet::PubComp(ack) => Item::PubComp(ack.id.value(), ack.reason.as_u8()),
        Packet::SubAck(ack) => Item::SubAck(ack.id.value(), ack.codes.to_vec()),
        Packet::UnsubAck(ack) => Item::UnsubAck(ack.id.value(), ack.codes.to_vec()),
        Packet::PingResp => Item::Pong,
        Packet::Disconnect(disconnect) => Item::Disconnect(disconnect.reason.as_u8()),
        other => return Err(format!("a server does not send {other:?}")),
    };
    Ok((item, alias, len))
}

fn delivered(publish: &Publish<'_>) -> crate::history::Delivered {
    let dup = match publish.delivery {
        Delivery::AtMostOnce => false,
        Delivery::AtLeastOnce { dup, .. } | Delivery::ExactlyOnce { dup, .. } => dup,
    };
    let mut subscription_ids: Vec<u32> = publish.subscription_ids.iter().map(SubscriptionId::value).collect();
    subscription_ids.sort_unstable();
    crate::history::Delivered {
        message: number(publish.payload),
        topic: publish.topic.into(),
        qos: publish.delivery.qos(),
        retain: publish.retain,
        dup,
        id: publish.delivery.id().map(PacketId::value),
        subscription_ids,
        expiry_s: publish.message_expiry_s,
    }
}

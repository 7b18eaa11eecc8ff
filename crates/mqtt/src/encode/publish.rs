//! PUBLISH: the hot path of every writer.
//!
//! Called by the encoder, once for each receiver of a message.

use crate::encode::sink::{Sink, measure, property_len};
use crate::packet::{Delivery, ProtocolVersion, Publish};
use crate::property::raw::id;
use crate::wire::varint_len;

/// Type, DUP, QoS and RETAIN.
pub(super) const fn first_byte(packet: &Publish<'_>) -> u8 {
    let flags = match packet.delivery {
        Delivery::AtMostOnce => 0,
        Delivery::AtLeastOnce { dup, .. } => 0b0010 | (dup as u8) << 3,
        Delivery::ExactlyOnce { dup, .. } => 0b0100 | (dup as u8) << 3,
    };
    0x30 | flags | packet.retain as u8
}

/// The value of Property Length; `None` for 3.x, which has no properties.
pub(super) fn properties_len(packet: &Publish<'_>, version: ProtocolVersion) -> Option<usize> {
    (version == ProtocolVersion::V5).then(|| measure(|len| properties(packet, len)))
}

/// The length of the body, given the value of [`properties_len`].
pub(super) fn body_len(packet: &Publish<'_>, properties_len: Option<usize>) -> usize {
    let id_len = if packet.delivery.id().is_some() { 2 } else { 0 };
    let properties_len = properties_len.map_or(0, |len| varint_len(property_len(len)) + len);
    2 + packet.topic.len() + id_len + properties_len + packet.payload.len()
}

/// The body, given the value of [`properties_len`].
pub(super) fn body(packet: &Publish<'_>, properties_len: Option<usize>, out: &mut impl Sink) {
    out.field(packet.topic.as_bytes());
    if let Some(id) = packet.delivery.id() {
        out.short(id.value());
    }
    if let Some(len) = properties_len {
        out.varint(property_len(len));
        if len > 0 {
            properties(packet, out);
        }
    }
    out.bytes(packet.payload);
}

fn properties(packet: &Publish<'_>, out: &mut impl Sink) {
    out.short_property(id::TOPIC_ALIAS, packet.topic_alias.map(Into::into));
    out.long_property(id::MESSAGE_EXPIRY, packet.message_expiry_s);
    for subscription in packet.subscription_ids.iter() {
        out.byte(id::SUBSCRIPTION_ID);
        out.varint(subscription.value());
    }
    out.forwarded_properties(packet.properties);
}

//! Packets that many tests send.

use motte_mqtt::{Delivery, ForwardedProperties, Packet, PacketId, Publish, SubscriptionIds};

/// A PUBLISH without RETAIN and properties.
pub(crate) fn publish<'a>(topic: &'a str, delivery: Delivery, payload: &'a [u8]) -> Packet<'a> {
    Packet::Publish(Publish {
        delivery,
        retain: false,
        topic,
        topic_alias: None,
        message_expiry_s: None,
        subscription_ids: SubscriptionIds::EMPTY,
        properties: ForwardedProperties::EMPTY,
        payload,
    })
}

/// QoS 1 for the first time.
pub(crate) fn qos1(id: u16) -> Delivery {
    Delivery::AtLeastOnce { id: PacketId::new(id).unwrap(), dup: false }
}

//! Packets that many tests send, and answers that many wait for.

use motte_mqtt::{Delivery, ForwardedProperties, Packet, PacketId, Publish, ReasonCode, SubscriptionIds};

use crate::support::Client;

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

/// A client that stands is answered.
pub(crate) fn ping(client: &mut Client) {
    client.send(&[0xc0, 0]);
    client.receive(|packet| assert!(matches!(packet, Packet::PingResp), "{packet:?}"));
}

/// The reason of the DISCONNECT that comes next.
pub(crate) fn disconnected(client: &mut Client) -> ReasonCode {
    client.receive(|packet| match packet {
        Packet::Disconnect(disconnect) => disconnect.reason,
        packet => panic!("{packet:?}"),
    })
}

//! PUBLISH.
//!
//! Values only: decoder and encoder know the bytes, the broker and the client what they mean.

use std::num::NonZeroU16;

use crate::packet::{PacketId, Qos};
use crate::property::{ForwardedProperties, SubscriptionIds};

/// QoS of a PUBLISH together with what only that QoS has: QoS 0 has neither identifier nor DUP
/// (MQTT-2.2.1-2, MQTT-3.3.1-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce {
        /// Packet identifier.
        id: PacketId,
        /// Whether this may be a repetition.
        dup: bool,
    },
    /// QoS 2.
    ExactlyOnce {
        /// Packet identifier.
        id: PacketId,
        /// Whether this may be a repetition.
        dup: bool,
    },
}

impl Delivery {
    /// The QoS alone.
    #[must_use]
    pub const fn qos(self) -> Qos {
        match self {
            Self::AtMostOnce => Qos::AtMostOnce,
            Self::AtLeastOnce { .. } => Qos::AtLeastOnce,
            Self::ExactlyOnce { .. } => Qos::ExactlyOnce,
        }
    }

    /// The packet identifier; `None` at QoS 0.
    #[must_use]
    pub const fn id(self) -> Option<PacketId> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce { id, .. } | Self::ExactlyOnce { id, .. } => Some(id),
        }
    }
}

/// PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// QoS, packet identifier and DUP.
    pub delivery: Delivery,
    /// RETAIN.
    pub retain: bool,
    /// The topic name, checked; empty only together with `topic_alias`.
    pub topic: &'a str,
    /// Topic Alias; never 0 on the wire.
    pub topic_alias: Option<NonZeroU16>,
    /// Message Expiry Interval in seconds.
    pub message_expiry_s: Option<u32>,
    /// Subscription identifiers; only a server may send them (MQTT-3.3.4-6).
    pub subscription_ids: SubscriptionIds<'a>,
    /// The properties a server forwards unchanged (MQTT-3.3.2-4, -15 to -18, -20).
    pub properties: ForwardedProperties<'a>,
    /// The application message.
    pub payload: &'a [u8],
}

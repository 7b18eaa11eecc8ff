//! The packet model: one set of types for all three protocol versions.
//!
//! Every type borrows from the bytes it was decoded from, or from the caller's values when it is to be encoded.
//! Called by decoder, encoder, broker and client. Never allocates.

use std::num::{NonZeroU16, NonZeroU32};

use crate::property::{ForwardedProperties, SubscriptionId, SubscriptionIds, UserProperties};
use crate::reason::ReasonCode;

/// A protocol version this crate speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolVersion {
    /// MQTT 3.1: protocol name `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1: protocol name `MQTT`, level 4.
    V311,
    /// MQTT 5.0: protocol name `MQTT`, level 5.
    V5,
}

/// Quality of service of a message or a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    /// QoS 0.
    #[default]
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce,
    /// QoS 2.
    ExactlyOnce,
}

impl Qos {
    /// The QoS of a number 0, 1 or 2; `None` for anything else (MQTT-3.3.1-4).
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self as u8
    }
}

/// A packet identifier: never zero (MQTT-2.2.1-3, MQTT-2.2.1-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub NonZeroU16);

impl PacketId {
    /// The identifier of a number; `None` for 0.
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        match NonZeroU16::new(value) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0.get()
    }
}

/// Any control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// CONNECT.
    Connect(Connect<'a>),
    /// CONNACK.
    ConnAck(ConnAck<'a>),
    /// PUBLISH.
    Publish(Publish<'a>),
    /// PUBACK.
    PubAck(Ack<'a>),
    /// PUBREC.
    PubRec(Ack<'a>),
    /// PUBREL.
    PubRel(Ack<'a>),
    /// PUBCOMP.
    PubComp(Ack<'a>),
    /// SUBSCRIBE.
    Subscribe(Subscribe<'a>),
    /// SUBACK.
    SubAck(SubAck<'a>),
    /// UNSUBSCRIBE.
    Unsubscribe(Unsubscribe<'a>),
    /// UNSUBACK.
    UnsubAck(UnsubAck<'a>),
    /// PINGREQ.
    PingReq,
    /// PINGRESP.
    PingResp,
    /// DISCONNECT.
    Disconnect(Disconnect<'a>),
    /// AUTH (5.0 only).
    Auth(Auth<'a>),
}

/// CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version the client asks for; it decides how everything after it is read.
    pub version: ProtocolVersion,
    /// Clean Start (5.0) or Clean Session (3.x).
    pub clean_start: bool,
    /// Keep alive in seconds; 0 turns it off.
    pub keep_alive_s: u16,
    /// The client identifier; empty asks for an assigned one.
    pub client_id: &'a str,
    /// The will, if any.
    pub will: Option<Will<'a>>,
    /// User name.
    pub user_name: Option<&'a str>,
    /// Password: binary, not text.
    pub password: Option<&'a [u8]>,
    /// Properties of 5.0; their defaults for 3.x.
    pub properties: ConnectProperties<'a>,
}

/// The will in a CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// Where it will be published. A valid topic name (checked by the decoder).
    pub topic: &'a str,
    /// What will be published.
    pub payload: &'a [u8],
    /// At which QoS.
    pub qos: Qos,
    /// Whether it will be retained.
    pub retain: bool,
    /// Will Delay Interval in seconds.
    pub delay_s: u32,
    /// Message Expiry Interval in seconds.
    pub message_expiry_s: Option<u32>,
    /// The properties that travel with the will.
    pub properties: ForwardedProperties<'a>,
}

/// Properties of CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectProperties<'a> {
    /// Session Expiry Interval in seconds; absent means 0.
    pub session_expiry_s: Option<u32>,
    /// Receive Maximum; absent means 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// Maximum Packet Size in bytes; absent means no limit.
    pub packet_size_max: Option<NonZeroU32>,
    /// Topic Alias Maximum; absent means 0.
    pub topic_alias_maximum: u16,
    /// Request Response Information; absent means false.
    pub request_response_information: bool,
    /// Request Problem Information; absent means true.
    pub request_problem_information: bool,
    /// Authentication Method.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data; only with a method.
    pub authentication_data: Option<&'a [u8]>,
    /// User properties.
    pub user: UserProperties<'a>,
}

impl Default for ConnectProperties<'_> {
    fn default() -> Self {
        Self {
            session_expiry_s: None,
            receive_maximum: None,
            packet_size_max: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            authentication_method: None,
            authentication_data: None,
            user: UserProperties::EMPTY,
        }
    }
}

/// CONNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// Session Present; false whenever `reason` is a refusal (MQTT-3.2.2-6). Not on the wire in 3.1.
    pub session_present: bool,
    /// The answer. For 3.x the encoder maps it to the return codes 0 to 5, see [`ReasonCode::v3_connack`].
    pub reason: ReasonCode,
    /// Properties of 5.0; ignored for 3.x.
    pub properties: ConnAckProperties<'a>,
}

/// Properties of CONNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnAckProperties<'a> {
    /// Session Expiry Interval in force, when it differs from what was asked.
    pub session_expiry_s: Option<u32>,
    /// The server's Receive Maximum; absent means 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// The highest QoS the server takes; absent means 2. Only 0 and 1 may be sent.
    pub qos_maximum: Option<Qos>,
    /// Retain Available; absent means true.
    pub retain_available: bool,
    /// The server's Maximum Packet Size in bytes.
    pub packet_size_max: Option<NonZeroU32>,
    /// The client identifier the server chose.
    pub assigned_client_id: Option<&'a str>,
    /// Topic Alias Maximum; absent means 0.
    pub topic_alias_maximum: u16,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// Wildcard Subscription Available; absent means true.
    pub wildcard_subscription_available: bool,
    /// Subscription Identifiers Available; absent means true.
    pub subscription_ids_available: bool,
    /// Shared Subscription Available; absent means true.
    pub shared_subscription_available: bool,
    /// Server Keep Alive in seconds: overrides the client's.
    pub server_keep_alive_s: Option<u16>,
    /// Response Information.
    pub response_information: Option<&'a str>,
    /// Server Reference.
    pub server_reference: Option<&'a str>,
    /// Authentication Method.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data.
    pub authentication_data: Option<&'a [u8]>,
    /// User properties.
    pub user: UserProperties<'a>,
}

impl Default for ConnAckProperties<'_> {
    fn default() -> Self {
        Self {
            session_expiry_s: None,
            receive_maximum: None,
            qos_maximum: None,
            retain_available: true,
            packet_size_max: None,
            assigned_client_id: None,
            topic_alias_maximum: 0,
            reason_string: None,
            wildcard_subscription_available: true,
            subscription_ids_available: true,
            shared_subscription_available: true,
            server_keep_alive_s: None,
            response_information: None,
            server_reference: None,
            authentication_method: None,
            authentication_data: None,
            user: UserProperties::EMPTY,
        }
    }
}

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

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The identifier of the PUBLISH (MQTT-2.2.1-5).
    pub id: PacketId,
    /// The outcome. For 3.x always success; the encoder leaves it out.
    pub reason: ReasonCode,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User properties.
    pub user: UserProperties<'a>,
}

impl Ack<'_> {
    /// An acknowledgement without properties.
    #[must_use]
    pub const fn new(id: PacketId, reason: ReasonCode) -> Self {
        Self { id, reason, reason_string: None, user: UserProperties::EMPTY }
    }
}

/// Retain Handling of a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RetainHandling {
    /// 0: send retained messages at every SUBSCRIBE (MQTT-3.3.1-9). The only one in 3.x.
    #[default]
    Always,
    /// 1: only when the subscription is new (MQTT-3.3.1-10).
    IfNew,
    /// 2: never (MQTT-3.3.1-11).
    Never,
}

/// Options of one subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    /// The highest QoS wanted.
    pub qos: Qos,
    /// No Local: not back to the same client (MQTT-3.8.3-3).
    pub no_local: bool,
    /// Retain As Published: keep the RETAIN flag when forwarding.
    pub retain_as_published: bool,
    /// When to send retained messages.
    pub retain_handling: RetainHandling,
}

/// SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Packet identifier.
    pub id: PacketId,
    /// Subscription Identifier.
    pub subscription_id: Option<SubscriptionId>,
    /// User properties.
    pub user: UserProperties<'a>,
    /// Filters and their options, at least one. Text is checked UTF-8; the grammar of a filter is not checked here,
    /// so that a server can answer each filter with its own reason code.
    pub filters: SubscribeFilters<'a>,
}

/// The filters of a SUBSCRIBE: a view of decoded bytes, or a slice of the caller's.
#[derive(Clone, Copy, Debug)]
pub struct SubscribeFilters<'a>(pub(crate) Filters<'a, (&'a str, SubscriptionOptions)>);

/// The filters of an UNSUBSCRIBE: a view of decoded bytes, or a slice of the caller's.
#[derive(Clone, Copy, Debug)]
pub struct UnsubscribeFilters<'a>(pub(crate) Filters<'a, &'a str>);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Filters<'a, T> {
    /// The payload of a checked packet.
    Wire { bytes: &'a [u8], version: ProtocolVersion },
    /// The caller's values.
    Slice(&'a [T]),
}

/// SUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// The identifier of the SUBSCRIBE (MQTT-2.2.1-6).
    pub id: PacketId,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User properties.
    pub user: UserProperties<'a>,
    /// One code a filter, in order (MQTT-3.9.3-1), as numbers of the 5.0 list; the encoder maps failures to 0x80 for
    /// 3.1.1 (MQTT-3.9.3-2 of 3.1.1). Read them with [`ReasonCode::from_u8`].
    pub codes: &'a [u8],
}

/// UNSUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Packet identifier.
    pub id: PacketId,
    /// User properties.
    pub user: UserProperties<'a>,
    /// Filters, at least one.
    pub filters: UnsubscribeFilters<'a>,
}

/// UNSUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsubAck<'a> {
    /// The identifier of the UNSUBSCRIBE.
    pub id: PacketId,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User properties.
    pub user: UserProperties<'a>,
    /// One code a filter, in order; empty for 3.x, where UNSUBACK has none.
    pub codes: &'a [u8],
}

/// DISCONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Why. For 3.x always a normal disconnection.
    pub reason: ReasonCode,
    /// Session Expiry Interval in seconds; only a client may send it (MQTT-3.14.2-2).
    pub session_expiry_s: Option<u32>,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// Server Reference.
    pub server_reference: Option<&'a str>,
    /// User properties.
    pub user: UserProperties<'a>,
}

impl Disconnect<'_> {
    /// A DISCONNECT without properties.
    #[must_use]
    pub const fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            session_expiry_s: None,
            reason_string: None,
            server_reference: None,
            user: UserProperties::EMPTY,
        }
    }
}

/// AUTH (5.0 only).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Success, continue or re-authenticate (MQTT-3.15.2-1).
    pub reason: ReasonCode,
    /// Authentication Method.
    pub method: Option<&'a str>,
    /// Authentication Data.
    pub data: Option<&'a [u8]>,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User properties.
    pub user: UserProperties<'a>,
}

impl<'a> SubscribeFilters<'a> {
    /// The caller's filters, to be encoded.
    #[must_use]
    pub const fn from_slice(filters: &'a [(&'a str, SubscriptionOptions)]) -> Self {
        Self(Filters::Slice(filters))
    }

    /// Filters and options in the order of the packet.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, SubscriptionOptions)> + use<'a> {
        todo!();
        #[allow(unreachable_code)]
        std::iter::empty()
    }
}

impl<'a> UnsubscribeFilters<'a> {
    /// The caller's filters, to be encoded.
    #[must_use]
    pub const fn from_slice(filters: &'a [&'a str]) -> Self {
        Self(Filters::Slice(filters))
    }

    /// Filters in the order of the packet.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        todo!();
        #[allow(unreachable_code)]
        std::iter::empty()
    }
}

impl PartialEq for SubscribeFilters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}
impl Eq for SubscribeFilters<'_> {}
impl PartialEq for UnsubscribeFilters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}
impl Eq for UnsubscribeFilters<'_> {}

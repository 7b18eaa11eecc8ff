//! CONNECT with its will, and CONNACK.
//!
//! Values only: decoder and encoder know the bytes, the broker and the client what they mean.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use crate::packet::{ProtocolVersion, Qos, Secret};
use crate::property::{ForwardedProperties, UserProperties};
use crate::reason::ReasonCode;

/// CONNECT.
#[derive(Clone, Copy, PartialEq, Eq)]
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

impl fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("keep_alive_s", &self.keep_alive_s)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .field("password", &Secret(self.password))
            .field("properties", &self.properties)
            .finish()
    }
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
#[derive(Clone, Copy, PartialEq, Eq)]
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

impl fmt::Debug for ConnectProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectProperties")
            .field("session_expiry_s", &self.session_expiry_s)
            .field("receive_maximum", &self.receive_maximum)
            .field("packet_size_max", &self.packet_size_max)
            .field("topic_alias_maximum", &self.topic_alias_maximum)
            .field("request_response_information", &self.request_response_information)
            .field("request_problem_information", &self.request_problem_information)
            .field("authentication_method", &self.authentication_method)
            .field("authentication_data", &Secret(self.authentication_data))
            .field("user", &self.user)
            .finish()
    }
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
#[derive(Clone, Copy, PartialEq, Eq)]
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

impl fmt::Debug for ConnAckProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnAckProperties")
            .field("session_expiry_s", &self.session_expiry_s)
            .field("receive_maximum", &self.receive_maximum)
            .field("qos_maximum", &self.qos_maximum)
            .field("retain_available", &self.retain_available)
            .field("packet_size_max", &self.packet_size_max)
            .field("assigned_client_id", &self.assigned_client_id)
            .field("topic_alias_maximum", &self.topic_alias_maximum)
            .field("reason_string", &self.reason_string)
            .field("wildcard_subscription_available", &self.wildcard_subscription_available)
            .field("subscription_ids_available", &self.subscription_ids_available)
            .field("shared_subscription_available", &self.shared_subscription_available)
            .field("server_keep_alive_s", &self.server_keep_alive_s)
            .field("response_information", &self.response_information)
            .field("server_reference", &self.server_reference)
            .field("authentication_method", &self.authentication_method)
            .field("authentication_data", &Secret(self.authentication_data))
            .field("user", &self.user)
            .finish()
    }
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

//! The four acknowledgements of PUBLISH, DISCONNECT and AUTH: a reason code and a few properties.
//!
//! Values only: decoder and encoder know the bytes, the broker and the client what they mean.

use std::fmt;

use crate::packet::{PacketId, Secret};
use crate::property::UserProperties;
use crate::reason::ReasonCode;

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
#[derive(Clone, Copy, PartialEq, Eq)]
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

impl fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("reason", &self.reason)
            .field("method", &self.method)
            .field("data", &Secret(self.data))
            .field("reason_string", &self.reason_string)
            .field("user", &self.user)
            .finish()
    }
}

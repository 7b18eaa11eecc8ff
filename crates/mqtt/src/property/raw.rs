//! Property identifiers, the type of each, and a walk over a block of them (MQTT 5.0, table 2-4).
//!
//! Called by the decoder to check a block and by the views to read a checked one. The walk is total: it ends where the
//! bytes stop making sense, which in a checked block is its end.

use crate::wire;

/// Property identifiers by name.
pub(crate) mod id {
    pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
    pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
    pub(crate) const CONTENT_TYPE: u8 = 0x03;
    pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
    pub(crate) const CORRELATION_DATA: u8 = 0x09;
    pub(crate) const SUBSCRIPTION_ID: u8 = 0x0B;
    pub(crate) const SESSION_EXPIRY: u8 = 0x11;
    pub(crate) const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(crate) const AUTHENTICATION_METHOD: u8 = 0x15;
    pub(crate) const AUTHENTICATION_DATA: u8 = 0x16;
    pub(crate) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub(crate) const WILL_DELAY: u8 = 0x18;
    pub(crate) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    pub(crate) const RESPONSE_INFORMATION: u8 = 0x1A;
    pub(crate) const SERVER_REFERENCE: u8 = 0x1C;
    pub(crate) const REASON_STRING: u8 = 0x1F;
    pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(crate) const TOPIC_ALIAS: u8 = 0x23;
    pub(crate) const QOS_MAXIMUM: u8 = 0x24;
    pub(crate) const RETAIN_AVAILABLE: u8 = 0x25;
    pub(crate) const USER: u8 = 0x26;
    pub(crate) const PACKET_SIZE_MAX: u8 = 0x27;
    pub(crate) const WILDCARD_SUBSCRIPTION_AVAILABLE: u8 = 0x28;
    pub(crate) const SUBSCRIPTION_IDS_AVAILABLE: u8 = 0x29;
    pub(crate) const SHARED_SUBSCRIPTION_AVAILABLE: u8 = 0x2A;
}

/// How the value of a property is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One byte that is 0 or 1.
    Flag,
    /// A two-byte number.
    Short,
    /// A four-byte number.
    Long,
    /// A variable byte integer.
    Varint,
    /// A text.
    Text,
    /// Bytes with a two-byte length.
    Binary,
    /// Two texts.
    Pair,
}

/// The type of a property; `None` for an identifier the standard does not have. All identifiers are below 0x80, so
/// one byte is the whole variable byte integer they formally are.
pub(crate) const fn kind(id: u8) -> Option<Kind> {
    Some(match id {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => Kind::Flag,
        0x13 | 0x21..=0x23 => Kind::Short,
        0x02 | 0x11 | 0x18 | 0x27 => Kind::Long,
        0x0B => Kind::Varint,
        0x03 | 0x08 | 0x12 | 0x15 | 0x1A | 0x1C | 0x1F => Kind::Text,
        0x09 | 0x16 => Kind::Binary,
        0x26 => Kind::Pair,
        _ => return None,
    })
}

/// Whether a server forwards the property with a message (MQTT-3.3.2-4, -15 to -17, -20).
pub(crate) const fn is_forwarded(property: u8) -> bool {
    use id::{CONTENT_TYPE, CORRELATION_DATA, PAYLOAD_FORMAT, RESPONSE_TOPIC, USER};
    matches!(property, PAYLOAD_FORMAT | CONTENT_TYPE | RESPONSE_TOPIC | CORRELATION_DATA | USER)
}

/// One property of a checked block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw<'a> {
    /// Its identifier.
    pub(crate) id: u8,
    /// Its value as written.
    pub(crate) value: &'a [u8],
    /// Identifier and value as written.
    pub(crate) encoded: &'a [u8],
}

/// The properties of a checked block in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawProperties<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for RawProperties<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        let (id, after_id) = self.0.split_first()?;
        let rest = match kind(*id)? {
            Kind::Flag => after_id.get(1..)?,
            Kind::Short => after_id.get(2..)?,
            Kind::Long => after_id.get(4..)?,
            Kind::Varint => wire::varint(after_id)?.1,
            Kind::Text | Kind::Binary => wire::field(after_id)?.1,
            Kind::Pair => wire::field(wire::field(after_id)?.1)?.1,
        };
        let value = &after_id[..after_id.len() - rest.len()];
        let encoded = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some(Raw { id: *id, value, encoded })
    }
}

/// The value of the first property `wanted` of a checked block, as written.
pub(crate) fn find(block: &[u8], wanted: u8) -> Option<&[u8]> {
    RawProperties(block).find(|property| property.id == wanted).map(|property| property.value)
}

//! Properties of MQTT 5.0: views over checked bytes, and owned blocks to build from.
//!
//! A view keeps the whole property block of its packet and skips what is not its own when it is read, so decoding
//! copies nothing whatever the order on the wire. Called by decoder, encoder, broker and client.

use std::num::NonZeroU32;

/// A subscription identifier: 1 to 268,435,455.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(NonZeroU32);

impl SubscriptionId {
    /// The identifier of a number; `None` for 0 and for what a variable byte integer cannot hold.
    #[must_use]
    pub const fn new(value: u32) -> Option<Self> {
        match NonZeroU32::new(value) {
            Some(id) if value <= 268_435_455 => Some(Self(id)),
            _ => None,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0.get()
    }
}

/// The properties of a PUBLISH or a will that a server forwards unchanged and in order: payload format indicator,
/// content type, response topic, correlation data, user properties.
#[derive(Clone, Copy, Debug)]
pub struct ForwardedProperties<'a> {
    block: &'a [u8],
}

impl<'a> ForwardedProperties<'a> {
    /// No properties.
    pub const EMPTY: ForwardedProperties<'static> = ForwardedProperties { block: &[] };
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        todo!()
    }
    /// Payload Format Indicator 1: the payload is said to be UTF-8.
    #[must_use]
    pub fn payload_is_utf8(&self) -> bool {
        todo!()
    }
    /// Content Type.
    #[must_use]
    pub fn content_type(&self) -> Option<&'a str> {
        todo!()
    }
    /// Response Topic.
    #[must_use]
    pub fn response_topic(&self) -> Option<&'a str> {
        todo!()
    }
    /// Correlation Data.
    #[must_use]
    pub fn correlation_data(&self) -> Option<&'a [u8]> {
        todo!()
    }
    /// User properties, in order.
    #[must_use]
    pub fn user(&self) -> UserProperties<'a> {
        todo!()
    }
    /// Length in bytes of these properties alone when encoded.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        todo!()
    }
    /// Appends these properties alone, encoded, to `out`.
    pub fn write_to(&self, _out: &mut Vec<u8>) {
        todo!()
    }
    /// An owned copy: these properties alone, compact.
    #[must_use]
    pub fn to_owned(&self) -> ForwardedPropertiesBuf {
        todo!()
    }
}
impl PartialEq for ForwardedProperties<'_> {
    fn eq(&self, _other: &Self) -> bool {
        todo!()
    }
}
impl Eq for ForwardedProperties<'_> {}

/// Owned [`ForwardedProperties`]; also the way to build them. A setter returns `self` so that calls chain; text is
/// checked by the encoder when the packet is written. Cheap to keep: no allocation when empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardedPropertiesBuf {
    block: Vec<u8>,
}

impl ForwardedPropertiesBuf {
    /// No properties.
    #[must_use]
    pub const fn new() -> Self {
        Self { block: Vec::new() }
    }
    /// The view that packets carry.
    #[must_use]
    pub fn as_ref(&self) -> ForwardedProperties<'_> {
        ForwardedProperties { block: &self.block }
    }
    /// Sets Payload Format Indicator 1.
    #[must_use]
    pub fn payload_utf8(self) -> Self {
        todo!()
    }
    /// Sets the Content Type. Errors when the text is not allowed in MQTT or too long.
    pub fn content_type(self, _value: &str) -> Result<Self, crate::EncodeError> {
        todo!()
    }
    /// Sets the Response Topic. Errors as above, or when it holds a wildcard (MQTT-3.3.2-14).
    pub fn response_topic(self, _value: &str) -> Result<Self, crate::EncodeError> {
        todo!()
    }
    /// Sets the Correlation Data. Errors above 65,535 bytes.
    pub fn correlation_data(self, _value: &[u8]) -> Result<Self, crate::EncodeError> {
        todo!()
    }
    /// Adds a user property; order is kept.
    pub fn user(self, _name: &str, _value: &str) -> Result<Self, crate::EncodeError> {
        todo!()
    }
}

/// User properties of a packet, in order.
#[derive(Clone, Copy, Debug)]
pub struct UserProperties<'a> {
    block: &'a [u8],
}

impl<'a> UserProperties<'a> {
    /// No properties.
    pub const EMPTY: UserProperties<'static> = UserProperties { block: &[] };
    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        todo!();
        #[allow(unreachable_code)]
        std::iter::empty()
    }
}
impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}
impl Eq for UserProperties<'_> {}

/// Owned [`UserProperties`], to be encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserPropertiesBuf {
    block: Vec<u8>,
}

impl UserPropertiesBuf {
    /// No properties.
    #[must_use]
    pub const fn new() -> Self {
        Self { block: Vec::new() }
    }
    /// Adds one; order is kept. Errors when a text is not allowed in MQTT or too long.
    pub fn push(&mut self, _name: &str, _value: &str) -> Result<(), crate::EncodeError> {
        todo!()
    }
    /// The view that packets carry.
    #[must_use]
    pub fn as_ref(&self) -> UserProperties<'_> {
        UserProperties { block: &self.block }
    }
}

/// Subscription identifiers of a PUBLISH.
#[derive(Clone, Copy, Debug)]
pub struct SubscriptionIds<'a>(Ids<'a>);

#[derive(Clone, Copy, Debug)]
enum Ids<'a> {
    Wire(&'a [u8]),
    Slice(&'a [SubscriptionId]),
}

impl<'a> SubscriptionIds<'a> {
    /// None.
    pub const EMPTY: SubscriptionIds<'static> = SubscriptionIds(Ids::Slice(&[]));
    /// The caller's, to be encoded.
    #[must_use]
    pub const fn from_slice(ids: &'a [SubscriptionId]) -> Self {
        Self(Ids::Slice(ids))
    }
    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = SubscriptionId> + use<'a> {
        todo!();
        #[allow(unreachable_code)]
        std::iter::empty()
    }
}
impl PartialEq for SubscriptionIds<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}
impl Eq for SubscriptionIds<'_> {}

//! Properties of MQTT 5.0: views over checked bytes, and owned blocks to build from.
//!
//! A view keeps the whole property block of its packet and skips what is not its own when it is read, so decoding
//! copies nothing whatever the order on the wire. Called by decoder, encoder, broker and client.

use std::fmt;
use std::num::NonZeroU32;

use crate::wire;

pub(crate) mod build;
pub(crate) mod raw;

pub use build::{ForwardedPropertiesBuf, UserPropertiesBuf};
use raw::{RawProperties, find, id, is_forwarded};

/// A subscription identifier: 1 to 268,435,455.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(NonZeroU32);

impl SubscriptionId {
    /// The identifier of a number; `None` for 0 and for what a variable byte integer cannot hold.
    #[must_use]
    pub const fn new(value: u32) -> Option<Self> {
        match NonZeroU32::new(value) {
            Some(id) if value <= wire::VARINT_MAX => Some(Self(id)),
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
/// content type, response topic, correlation data, user properties. Two are equal when they say the same, whatever the
/// order of different properties on the wire.
#[derive(Clone, Copy)]
pub struct ForwardedProperties<'a> {
    pub(crate) block: &'a [u8],
}

impl<'a> ForwardedProperties<'a> {
    /// No properties.
    pub const EMPTY: ForwardedProperties<'static> = ForwardedProperties { block: &[] };

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.block.is_empty() || !RawProperties(self.block).any(|property| is_forwarded(property.id))
    }

    /// Payload Format Indicator 1: the payload is said to be UTF-8.
    #[must_use]
    pub fn payload_is_utf8(&self) -> bool {
        !self.block.is_empty() && find(self.block, id::PAYLOAD_FORMAT) == Some(&[1])
    }

    /// Content Type.
    #[must_use]
    pub fn content_type(&self) -> Option<&'a str> {
        find(self.block, id::CONTENT_TYPE).and_then(wire::text).map(|(text, _)| text)
    }

    /// Response Topic.
    #[must_use]
    pub fn response_topic(&self) -> Option<&'a str> {
        find(self.block, id::RESPONSE_TOPIC).and_then(wire::text).map(|(text, _)| text)
    }

    /// Correlation Data.
    #[must_use]
    pub fn correlation_data(&self) -> Option<&'a [u8]> {
        find(self.block, id::CORRELATION_DATA).and_then(wire::field).map(|(data, _)| data)
    }

    /// User properties, in order.
    #[must_use]
    pub fn user(&self) -> UserProperties<'a> {
        UserProperties { block: self.block }
    }

    /// Length in bytes of these properties alone when encoded.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        if self.block.is_empty() { 0 } else { self.parts().map(<[u8]>::len).sum() }
    }

    /// Appends these properties alone, encoded, to `out`.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        for part in self.parts() {
            out.extend_from_slice(part);
        }
    }

    /// An owned copy: these properties alone, compact.
    #[must_use]
    pub fn to_owned(&self) -> ForwardedPropertiesBuf {
        let mut block = Vec::with_capacity(self.encoded_len());
        self.write_to(&mut block);
        ForwardedPropertiesBuf { block: block.into() }
    }

    /// Each property as written, its identifier included.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        RawProperties(self.block).filter(|property| is_forwarded(property.id)).map(|property| property.encoded)
    }
}

impl PartialEq for ForwardedProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        let says_the_same = || {
            self.payload_is_utf8() == other.payload_is_utf8()
                && self.content_type() == other.content_type()
                && self.response_topic() == other.response_topic()
                && self.correlation_data() == other.correlation_data()
                && self.user() == other.user()
        };
        self.block == other.block || says_the_same()
    }
}
impl Eq for ForwardedProperties<'_> {}

impl fmt::Debug for ForwardedProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardedProperties")
            .field("payload_is_utf8", &self.payload_is_utf8())
            .field("content_type", &self.content_type())
            .field("response_topic", &self.response_topic())
            .field("correlation_data", &self.correlation_data())
            .field("user", &self.user())
            .finish()
    }
}

/// User properties of a packet, in order.
#[derive(Clone, Copy)]
pub struct UserProperties<'a> {
    pub(crate) block: &'a [u8],
}

impl<'a> UserProperties<'a> {
    /// No properties.
    pub const EMPTY: UserProperties<'static> = UserProperties { block: &[] };

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.raw().filter_map(|property| {
            let (name, rest) = wire::text(&property[1..])?;
            let (value, _) = wire::text(rest)?;
            Some((name, value))
        })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw().next().is_none()
    }

    /// Each property as written, its identifier included.
    pub(crate) fn raw(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        RawProperties(self.block).filter(|property| property.id == id::USER).map(|property| property.encoded)
    }
}

impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.raw().eq(other.raw())
    }
}
impl Eq for UserProperties<'_> {}

impl fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Subscription identifiers of a PUBLISH.
#[derive(Clone, Copy)]
pub struct SubscriptionIds<'a>(Ids<'a>);

#[derive(Clone, Copy)]
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

    /// Those in the property block of a checked packet.
    pub(crate) const fn from_block(block: &'a [u8]) -> Self {
        Self(Ids::Wire(block))
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = SubscriptionId> + use<'a> {
        let (block, slice): (&[u8], &[SubscriptionId]) = match self.0 {
            Ids::Wire(block) => (block, &[]),
            Ids::Slice(slice) => (&[], slice),
        };
        let wire = RawProperties(block)
            .filter(|property| property.id == id::SUBSCRIPTION_ID)
            .filter_map(|property| SubscriptionId::new(wire::varint(property.value)?.0));
        wire.chain(slice.iter().copied())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self.0 {
            Ids::Slice(slice) => slice.is_empty(),
            Ids::Wire(block) => block.is_empty() || self.iter().next().is_none(),
        }
    }
}

impl PartialEq for SubscriptionIds<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}
impl Eq for SubscriptionIds<'_> {}

impl fmt::Debug for SubscriptionIds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

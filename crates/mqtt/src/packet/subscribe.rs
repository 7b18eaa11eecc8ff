//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK, and the filters two of them carry.
//!
//! Filters are read again from the checked bytes at each iteration, so that no list is ever built.

use std::fmt;

use crate::packet::{PacketId, ProtocolVersion, Qos};
use crate::property::{SubscriptionId, UserProperties};
use crate::wire;

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

impl SubscriptionOptions {
    /// The options of a byte whose reserved bits are known to be clear; `None` for QoS 3 or Retain Handling 3.
    pub(crate) const fn from_bits(bits: u8, version: ProtocolVersion) -> Option<Self> {
        let Some(qos) = Qos::from_u8(bits & 0b11) else { return None };
        if !matches!(version, ProtocolVersion::V5) {
            return Some(Self {
                qos,
                no_local: false,
                retain_as_published: false,
                retain_handling: RetainHandling::Always,
            });
        }
        let retain_handling = match (bits >> 4) & 0b11 {
            0 => RetainHandling::Always,
            1 => RetainHandling::IfNew,
            2 => RetainHandling::Never,
            _ => return None,
        };
        let (no_local, retain_as_published) = (bits & 0b100 != 0, bits & 0b1000 != 0);
        Some(Self { qos, no_local, retain_as_published, retain_handling })
    }

    /// The byte on the wire: for 3.x the QoS alone.
    pub(crate) const fn to_bits(self, version: ProtocolVersion) -> u8 {
        if !matches!(version, ProtocolVersion::V5) {
            return self.qos.as_u8();
        }
        let flags = (self.no_local as u8) << 2 | (self.retain_as_published as u8) << 3;
        self.qos.as_u8() | flags | (self.retain_handling as u8) << 4
    }
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
#[derive(Clone, Copy)]
pub struct SubscribeFilters<'a>(pub(crate) Filters<'a, (&'a str, SubscriptionOptions)>);

/// The filters of an UNSUBSCRIBE: a view of decoded bytes, or a slice of the caller's.
#[derive(Clone, Copy)]
pub struct UnsubscribeFilters<'a>(pub(crate) Filters<'a, &'a str>);

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

impl<'a> SubscribeFilters<'a> {
    /// The caller's filters, to be encoded.
    #[must_use]
    pub const fn from_slice(filters: &'a [(&'a str, SubscriptionOptions)]) -> Self {
        Self(Filters::Slice(filters))
    }

    /// Filters and options in the order of the packet.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, SubscriptionOptions)> + use<'a> {
        let (mut wire, slice) = self.0.sources();
        let mut slice = slice.iter();
        std::iter::from_fn(move || match &mut wire {
            Some((bytes, version)) => {
                let (filter, rest) = wire::text(bytes)?;
                let (options, rest) = rest.split_first()?;
                *bytes = rest;
                Some((filter, SubscriptionOptions::from_bits(*options, *version)?))
            }
            None => slice.next().copied(),
        })
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
        let (mut wire, slice) = self.0.sources();
        let mut slice = slice.iter();
        std::iter::from_fn(move || match &mut wire {
            Some((bytes, _)) => {
                let (filter, rest) = wire::text(bytes)?;
                *bytes = rest;
                Some(filter)
            }
            None => slice.next().copied(),
        })
    }
}

impl<T> Clone for Filters<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Filters<'_, T> {}

impl<'a, T> Filters<'a, T> {
    /// The bytes and their version, or else the slice: both halves always exist so that one iterator serves both.
    fn sources(self) -> (Option<(&'a [u8], ProtocolVersion)>, &'a [T]) {
        match self {
            Self::Wire { bytes, version } => (Some((bytes, version)), &[]),
            Self::Slice(slice) => (None, slice),
        }
    }
}

impl PartialEq for SubscribeFilters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}
impl Eq for SubscribeFilters<'_> {}
impl fmt::Debug for SubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
impl PartialEq for UnsubscribeFilters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}
impl Eq for UnsubscribeFilters<'_> {}
impl fmt::Debug for UnsubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

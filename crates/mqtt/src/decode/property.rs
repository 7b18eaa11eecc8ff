//! One pass over a block of properties: known, allowed here, at most once, of the right type, in range.
//!
//! Called by the decoders of the packet types, each with its own list and with a closure that keeps what it needs.

use crate::decode::DecodeError;
use crate::decode::reader::Reader;
use crate::property::raw::{Kind, id, is_forwarded, kind};
use crate::property::{ForwardedProperties, ForwardedPropertiesBuf, SubscriptionIds, UserProperties};
use crate::wire::has_wildcard;

/// A set of property identifiers; all of them are below 64.
#[derive(Clone, Copy, Debug)]
pub(super) struct Set(u64);

impl Set {
    /// The set of these identifiers.
    pub(super) const fn of(ids: &[u8]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < ids.len() {
            bits |= 1 << ids[index];
            index += 1;
        }
        Self(bits)
    }

    pub(super) const fn has(self, id: u8) -> bool {
        id < 64 && self.0 & (1 << id) != 0
    }
}

/// The value of a property.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Flag(bool),
    Short(u16),
    Long(u32),
    Text(&'a str),
    Binary(&'a [u8]),
    /// In the block for a view to read.
    Viewed,
}

/// The properties that are forwarded unchanged.
const FORWARDED: [u8; 5] = [id::PAYLOAD_FORMAT, id::CONTENT_TYPE, id::RESPONSE_TOPIC, id::CORRELATION_DATA, id::USER];

/// A checked block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    bytes: &'a [u8],
    seen: Set,
}

impl<'a> Block<'a> {
    pub(super) const EMPTY: Block<'static> = Block { bytes: &[], seen: Set(0) };

    pub(super) const fn has(self, id: u8) -> bool {
        self.seen.has(id)
    }

    /// A view that needs no walk when there is nothing to see.
    pub(super) const fn user(self) -> UserProperties<'a> {
        if self.has(id::USER) { UserProperties { block: self.bytes } } else { UserProperties::EMPTY }
    }

    pub(super) fn forwarded(self) -> ForwardedProperties<'a> {
        debug_assert!(FORWARDED.iter().all(|id| is_forwarded(*id)));
        if self.seen.0 & const { Set::of(&FORWARDED).0 } == 0 {
            ForwardedProperties::EMPTY
        } else {
            ForwardedProperties { block: self.bytes }
        }
    }

    pub(super) const fn subscription_ids(self) -> SubscriptionIds<'a> {
        if self.has(id::SUBSCRIPTION_ID) { SubscriptionIds::from_block(self.bytes) } else { SubscriptionIds::EMPTY }
    }
}

impl ForwardedPropertiesBuf {
    /// Reads back what [`ForwardedProperties::write_to`] wrote: nothing but properties that are forwarded, to the end.
    ///
    /// # Errors
    /// The bytes are something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const ALLOWED: Set = Set::of(&FORWARDED);
        check(Reader::new(bytes), ALLOWED, Set(0), &mut |_, _| ()).map(|block| block.forwarded().to_owned())
    }
}

/// Reads a length and that many bytes of properties. `repeatable` besides User Property may come more than once.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    allowed: Set,
    repeatable: Set,
    mut each: impl FnMut(u8, Value<'a>),
) -> Result<Block<'a>, DecodeError> {
    let len = reader.varint()?;
    if len == 0 {
        return Ok(Block::EMPTY);
    }
    check(reader.sub(len)?, allowed, repeatable, &mut each)
}

/// All bytes of `reader` as properties.
fn check<'a>(
    mut reader: Reader<'a>,
    allowed: Set,
    repeatable: Set,
    each: &mut impl FnMut(u8, Value<'a>),
) -> Result<Block<'a>, DecodeError> {
    let bytes = reader.rest();
    let mut seen = Set(0);
    while !reader.is_empty() {
        let id = reader.byte()?;
        let Some(kind) = kind(id).filter(|_| allowed.has(id)) else {
            return Err(DecodeError::Malformed("property that is unknown or not allowed in this packet"));
        };
        if seen.has(id) && id != id::USER && !repeatable.has(id) {
            return Err(DecodeError::Protocol("property given twice"));
        }
        seen.0 |= 1 << id;
        each(id, value(&mut reader, id, kind)?);
    }
    Ok(Block { bytes, seen })
}

fn value<'a>(reader: &mut Reader<'a>, id: u8, kind: Kind) -> Result<Value<'a>, DecodeError> {
    Ok(match kind {
        Kind::Flag => match reader.byte()? {
            0 => Value::Flag(false),
            1 => Value::Flag(true),
            _ => return Err(DecodeError::Protocol("property that is neither 0 nor 1")),
        },
        Kind::Short => match (id, reader.short()?) {
            (id::RECEIVE_MAXIMUM, 0) => return Err(DecodeError::Protocol("receive maximum of 0")),
            (id::TOPIC_ALIAS, 0) => return Err(DecodeError::TopicAlias),
            (_, number) => Value::Short(number),
        },
        Kind::Long => match (id, reader.long()?) {
            (id::PACKET_SIZE_MAX, 0) => return Err(DecodeError::Protocol("maximum packet size of 0")),
            (_, number) => Value::Long(number),
        },
        Kind::Varint => match reader.varint()? {
            0 => return Err(DecodeError::Protocol("subscription identifier 0")),
            number => Value::Long(number),
        },
        Kind::Text => {
            let text = reader.text()?;
            // A response topic is a topic name (MQTT-3.3.2-14, MQTT-4.7.3-1).
            if id == id::RESPONSE_TOPIC && (text.is_empty() || has_wildcard(text.as_bytes())) {
                return Err(DecodeError::Protocol("response topic that is no topic name"));
            }
            Value::Text(text)
        }
        Kind::Binary => Value::Binary(reader.binary()?),
        Kind::Pair => {
            reader.text()?;
            reader.text()?;
            Value::Viewed
        }
    })
}

/// No property but User Property may come more than once.
pub(super) const NONE: Set = Set(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_properties_are_read_back_as_they_were_written() {
        let built = ForwardedPropertiesBuf::new()
            .payload_utf8()
            .content_type("text/plain")
            .and_then(|built| built.response_topic("answers/1"))
            .and_then(|built| built.correlation_data(&[0, 1, 255]))
            .and_then(|built| built.user("key", "one")?.user("key", "two"))
            .expect("all of it is allowed");
        let mut bytes = Vec::new();
        built.as_ref().write_to(&mut bytes);
        assert_eq!(ForwardedPropertiesBuf::decode(&bytes), Ok(built));
        assert_eq!(ForwardedPropertiesBuf::decode(&[]), Ok(ForwardedPropertiesBuf::new()));
        for end in 1..bytes.len() {
            // A cut between two properties leaves fewer of them; any other is seen.
            let read = ForwardedPropertiesBuf::decode(&bytes[..end]);
            assert!(read.is_err() || read.is_ok_and(|read| read.as_ref().encoded_len() == end), "{end}");
        }
    }

    #[test]
    fn other_properties_and_wild_response_topics_are_not_read_back() {
        for bytes in
            [&[id::TOPIC_ALIAS, 0, 1][..], &[id::MESSAGE_EXPIRY, 0, 0, 0, 1], b"\x08\x00\x01#", &[0x7F], &[1, 2]]
        {
            assert!(ForwardedPropertiesBuf::decode(bytes).is_err(), "{bytes:?}");
        }
    }
}

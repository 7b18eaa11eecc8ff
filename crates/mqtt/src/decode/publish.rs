//! PUBLISH: the hot path of every reader.
//!
//! Called by the decoder; each byte of the header is looked at once, and the payload never.

use std::num::NonZeroU16;

use crate::decode::property::{self, Set, Value};
use crate::decode::reader::Reader;
use crate::decode::{DecodeError, Sender};
use crate::packet::{Delivery, Packet, ProtocolVersion, Publish};
use crate::property::raw::id;

const PUBLISH: Set = Set::of(&[
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::TOPIC_ALIAS,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER,
    id::SUBSCRIPTION_ID,
    id::CONTENT_TYPE,
]);

/// A server names every subscription a message matched (MQTT-3.3.4-4).
const REPEATABLE: Set = Set::of(&[id::SUBSCRIPTION_ID]);

/// The body of a PUBLISH whose flags are checked; its topic name is, when it is the one that is expected.
pub(super) fn publish<'a>(
    mut reader: Reader<'a>,
    flags: u8,
    (version, sender): (ProtocolVersion, Sender),
    expected: &'a str,
) -> Result<Packet<'a>, DecodeError> {
    let topic = reader.topic_like(expected)?;
    let dup = flags & 0b1000 != 0;
    let delivery = match flags & 0b0110 {
        0 => Delivery::AtMostOnce,
        0b0010 => Delivery::AtLeastOnce { id: reader.packet_id()?, dup },
        _ => Delivery::ExactlyOnce { id: reader.packet_id()?, dup },
    };
    let (mut topic_alias, mut message_expiry_s) = (None, None);
    let block = if version == ProtocolVersion::V5 {
        property::read(&mut reader, PUBLISH, REPEATABLE, |id, value| match (id, value) {
            (id::TOPIC_ALIAS, Value::Short(alias)) => topic_alias = NonZeroU16::new(alias),
            (id::MESSAGE_EXPIRY, Value::Long(seconds)) => message_expiry_s = Some(seconds),
            _ => {}
        })?
    } else {
        property::Block::EMPTY
    };
    if sender == Sender::Client && block.has(id::SUBSCRIPTION_ID) {
        return Err(DecodeError::Protocol("subscription identifier in a PUBLISH of a client"));
    }
    if topic.is_empty() && topic_alias.is_none() {
        return Err(DecodeError::Protocol("empty topic name without a topic alias"));
    }
    Ok(Packet::Publish(Publish {
        delivery,
        retain: flags & 1 != 0,
        topic,
        topic_alias,
        message_expiry_s,
        subscription_ids: block.subscription_ids(),
        properties: block.forwarded(),
        payload: reader.rest(),
    }))
}

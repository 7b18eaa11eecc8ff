//! Messages that nobody holds any more, kept for their memory.
//!
//! Held by the shard: a message that was sent to the last who was owed it is the next one that comes in, so that the
//! steady path asks the allocator for nothing. Gives nothing of an old message away.

use std::sync::Arc;

use motte_mqtt::{ForwardedProperties, Qos};
use motte_policy::Subject;

use crate::message::{Message, Publisher};
use crate::shard::Millis;

/// Bytes kept: topics, payloads and properties, and what each message takes beside them.
const BYTES_MAX: usize = 2 * 1024 * 1024;
/// What a message takes beside those.
const MESSAGE_BYTES: usize = 256;

/// What a new message is made of.
pub(crate) struct Parts<'a> {
    pub(crate) topic: &'a Arc<str>,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) publisher: &'a Arc<Subject>,
    pub(crate) properties: ForwardedProperties<'a>,
    pub(crate) accepted: Millis,
    pub(crate) expires: Option<Millis>,
}

/// The messages.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    messages: Vec<Arc<Message>>,
    bytes: usize,
}

impl Spare {
    /// A message that nobody else holds.
    pub(crate) fn make(&mut self, parts: &Parts<'_>) -> Arc<Message> {
        if let Some(mut spare) = self.messages.pop() {
            self.bytes -= weight(&spare);
            if let Some(message) = Arc::get_mut(&mut spare) {
                fill(message, parts);
                return spare;
            }
        }
        Arc::new(Message {
            topic: Arc::clone(parts.topic),
            payload: parts.payload.into(),
            qos: parts.qos,
            retain: parts.retain,
            publisher: Publisher::Client(Arc::clone(parts.publisher)),
            properties: parts.properties.to_owned(),
            accepted: parts.accepted,
            expires: parts.expires,
            origin: None,
        })
    }

    /// Takes a message from one of its holders; kept if that was the last.
    pub(crate) fn give_back(&mut self, message: Arc<Message>) {
        let bytes = self.bytes + weight(&message);
        if Arc::strong_count(&message) == 1 && bytes <= BYTES_MAX {
            self.bytes = bytes;
            self.messages.push(message);
        }
    }
}

fn weight(message: &Message) -> usize {
    MESSAGE_BYTES + message.weight_bytes()
}

fn fill(message: &mut Message, parts: &Parts<'_>) {
    if !Arc::ptr_eq(&message.topic, parts.topic) {
        message.topic = Arc::clone(parts.topic);
    }
    if message.payload.len() == parts.payload.len() {
        message.payload.copy_from_slice(parts.payload);
    } else {
        message.payload = parts.payload.into();
    }
    match &message.publisher {
        Publisher::Client(publisher) if Arc::ptr_eq(publisher, parts.publisher) => {}
        _ => message.publisher = Publisher::Client(Arc::clone(parts.publisher)),
    }
    // Properties that mean the same are not the same bytes, and are forwarded as they were (MQTT-3.3.2-4).
    if !message.properties.as_ref().is_empty() || !parts.properties.is_empty() {
        message.properties = parts.properties.to_owned();
    }
    message.qos = parts.qos;
    message.retain = parts.retain;
    message.accepted = parts.accepted;
    message.expires = parts.expires;
    message.origin = None;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop")]
    use motte_mqtt::{Decoder, Packet, ProtocolVersion, Sender};
    use motte_policy::{ClientId, Identity};

    use super::*;

    /// The properties of a PUBLISH with this block of them.
    fn forwarded(block: &[u8], act: impl FnOnce(ForwardedProperties<'_>)) {
        let mut bytes = vec![0x30, 0, 0, 1, b't', u8::try_from(block.len()).unwrap()];
        bytes.extend_from_slice(block);
        bytes[1] = u8::try_from(bytes.len() - 2).unwrap();
        let decoder = Decoder::new(Sender::Client, ProtocolVersion::V5, u32::MAX);
        match decoder.decode(&bytes).unwrap().unwrap().0 {
            Packet::Publish(publish) => act(publish.properties),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn v5_3_3_2_4_a_message_in_old_memory_has_the_bytes_of_its_own_properties() {
        let publisher = Arc::new(Subject::new(Identity::Anonymous, ClientId("c".into())));
        let topic: Arc<str> = "t".into();
        let mut spare = Spare::default();
        // Payload Format Indicator 0, which means what its absence means, and a content type, in each order.
        for block in [&b"\x01\x00"[..], b"", b"\x03\x00\x01x", b"\x01\x00\x03\x00\x01x", b"\x03\x00\x01x\x01\x00"] {
            forwarded(block, |properties| {
                let message = spare.make(&Parts {
                    topic: &topic,
                    payload: b"p",
                    qos: Qos::AtLeastOnce,
                    retain: false,
                    publisher: &publisher,
                    properties,
                    accepted: Millis(1),
                    expires: None,
                });
                let mut bytes = Vec::new();
                message.properties.as_ref().write_to(&mut bytes);
                assert_eq!(bytes, block);
                spare.give_back(message);
            });
        }
    }
}

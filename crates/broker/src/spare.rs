//! Messages that nobody holds any more, kept for their memory.
//!
//! Held by the shard: a message that was sent to the last who was owed it is the next one that comes in, so that the
//! steady path asks the allocator for nothing. Gives nothing of an old message away.

use std::sync::Arc;

use motte_mqtt::{ForwardedProperties, Qos};
use motte_policy::Subject;

use crate::message::{Message, Publisher};
use crate::shard::Millis;

/// Bytes of payloads kept, each message counted for a little more than itself.
const BYTES_MAX: usize = 2 * 1024 * 1024;
/// What a message takes beside its payload.
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
    MESSAGE_BYTES + message.payload.len()
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
    let both_empty = message.properties.as_ref().is_empty() && parts.properties.is_empty();
    if !both_empty && message.properties.as_ref() != parts.properties {
        message.properties = parts.properties.to_owned();
    }
    message.qos = parts.qos;
    message.retain = parts.retain;
    message.accepted = parts.accepted;
    message.expires = parts.expires;
    message.origin = None;
}

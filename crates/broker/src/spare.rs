//! Messages that nobody holds any more, kept for their memory.
//!
//! Held by the shard: a message that was sent to the last who was owed it is the next one that comes in, so that the
//! steady path asks the allocator for nothing. Gives nothing of an old message away.

use std::sync::Arc;

use motte_mqtt::{ForwardedProperties, Qos};
use motte_policy::Subject;

use crate::message::{Message, Publisher};
use crate::shard::Millis;

/// Messages kept, and the longest payload of one that is.
const MESSAGES_MAX: usize = 512;
const PAYLOAD_BYTES_MAX: usize = 1024;

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
pub(crate) struct Spare(Vec<Arc<Message>>);

impl Spare {
    /// A message that nobody else holds.
    pub(crate) fn make(&mut self, parts: &Parts<'_>) -> Arc<Message> {
        if let Some(mut spare) = self.0.pop()
            && let Some(message) = Arc::get_mut(&mut spare)
        {
            fill(message, parts);
            return spare;
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
    pub(crate) fn give_back(&mut self, mut message: Arc<Message>) {
        let is_kept = self.0.len() < MESSAGES_MAX
            && Arc::get_mut(&mut message).is_some_and(|message| message.payload.len() <= PAYLOAD_BYTES_MAX);
        if is_kept {
            self.0.push(message);
        }
    }
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
    if message.properties.as_ref() != parts.properties {
        message.properties = parts.properties.to_owned();
    }
    message.qos = parts.qos;
    message.retain = parts.retain;
    message.accepted = parts.accepted;
    message.expires = parts.expires;
    message.origin = None;
}

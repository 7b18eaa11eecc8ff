//! Wills: when they are due, and the message they become.
//!
//! Called by `handle` when a connection or a session ends. Publishes nothing: `handle` asks policy first (K15).

use std::sync::Arc;

use motte_policy::Subject;

use crate::journal::WillRecord;
use crate::message::{Message, Publisher};
use crate::restore::StoredWill;
use crate::shard::Millis;

impl StoredWill {
    /// Seconds after the end of the connection at which the will is published: its delay, but no later than the end of
    /// the session (MQTT-3.1.2-8).
    pub(crate) fn delay_s(&self, session_expiry_s: u32) -> u32 {
        self.delay_s.min(session_expiry_s)
    }

    /// The message, published now by the owner of the session.
    pub(crate) fn into_message(self, publisher: Arc<Subject>, now: Millis) -> Message {
        Message {
            topic: self.topic.into(),
            payload: self.payload,
            qos: self.qos,
            retain: self.retain,
            publisher: Publisher::Client(publisher),
            properties: self.properties,
            accepted: now,
            expires: self.message_expiry_s.map(|s| now.plus_s(s)),
            origin: None,
        }
    }

    /// As the journal keeps it.
    pub(crate) fn record(&self) -> WillRecord<'_> {
        WillRecord {
            topic: &self.topic,
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            delay_s: self.delay_s,
            message_expiry_s: self.message_expiry_s,
            properties: self.properties.as_ref(),
        }
    }
}

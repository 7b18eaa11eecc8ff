//! What a journal gives back: sessions and retained messages at the start, single messages while the node runs.
//!
//! Made by `store` out of the records it was given, taken in by [`crate::Shard`] and [`crate::Shared`]. All times are
//! on the clock of the node, which goes on after a restart from where it was, moved on by how long the node was away.

use std::sync::Arc;

use motte_mqtt::{ForwardedPropertiesBuf, PacketId, Qos, SubscriptionId, SubscriptionOptions};
use motte_policy::{Subject, UserName};

use crate::bans::Banned;
use crate::journal::WillRecord;
use crate::message::{Message, Origin};
use crate::shard::Millis;

pub use crate::routes::SessionKey;

/// Everything that was kept.
#[derive(Debug, Default)]
pub struct Restored {
    /// Sessions that outlive their connections, by client identifier. Those whose time ran out are among them.
    pub sessions: Vec<RestoredSession>,
    /// Retained messages, one for each topic, with the serial number of each.
    pub retained: Vec<(Arc<Message>, u64)>,
    /// Users whose messages were withdrawn, and until when.
    pub removals: Vec<(UserName, Millis)>,
    /// Who is kept out, and until when; `None` is for good.
    pub bans: Vec<(Banned, Option<Millis>)>,
}

/// A session as it was when the node stopped.
#[derive(Debug)]
pub struct RestoredSession {
    /// Its owner and client identifier.
    pub owner: Subject,
    /// Seconds it outlives the connection; `u32::MAX` is for ever. 0: it was to end with its connection.
    pub expiry_s: u32,
    /// The mount point it lives behind; empty for none.
    pub mount_point: Box<str>,
    /// When its connection ended; `None` when it had one until the node stopped.
    pub left_at: Option<Millis>,
    /// Full filters with any `$share/NAME/` in front, options and identifiers.
    pub subscriptions: Vec<(Box<str>, SubscriptionOptions, Option<SubscriptionId>)>,
    /// Its will, when it was neither published nor withdrawn.
    pub will: Option<StoredWill>,
    /// Incoming QoS 2 identifiers that were not released.
    pub received: Vec<PacketId>,
    /// What was sent and not finished, in the order of sending.
    pub in_flight: Vec<RestoredFlight>,
    /// What waits, in the order of acceptance.
    pub queue: Vec<StoredRef>,
}

/// A message that was sent and not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoredFlight {
    /// The identifier it was sent under.
    pub id: PacketId,
    /// The message; `None` once PUBREC came and only PUBREL is owed.
    pub message: Option<StoredRef>,
}

/// A message that is kept by the journal and owed to one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRef {
    /// Where the journal keeps it.
    pub origin: Origin,
    /// The QoS the session gets it with.
    pub qos: Qos,
    /// Whether it is a message of a group.
    pub is_shared: bool,
    /// Bytes that count against byte limits, as [`Message::weight_bytes`].
    pub weight_bytes: u32,
    /// When it was accepted.
    pub accepted: Millis,
    /// When it expires; `None` for never.
    pub expires: Option<Millis>,
}

/// A will, owned: as a session has it, and as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredWill {
    /// Where it will be published.
    pub topic: Box<str>,
    /// What will be published.
    pub payload: Box<[u8]>,
    /// At which QoS.
    pub qos: Qos,
    /// Whether it will be retained.
    pub retain: bool,
    /// Will Delay Interval in seconds.
    pub delay_s: u32,
    /// Message Expiry Interval in seconds.
    pub message_expiry_s: Option<u32>,
    /// Its properties.
    pub properties: ForwardedPropertiesBuf,
}

impl From<&WillRecord<'_>> for StoredWill {
    fn from(will: &WillRecord<'_>) -> Self {
        Self {
            topic: will.topic.into(),
            payload: will.payload.into(),
            qos: will.qos,
            retain: will.retain,
            delay_s: will.delay_s,
            message_expiry_s: will.message_expiry_s,
            properties: will.properties.to_owned(),
        }
    }
}

/// A message as it is kept, to make a [`Message`] of with [`Message::restored`].
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// The full topic name.
    pub topic: Arc<str>,
    /// The payload.
    pub payload: Box<[u8]>,
    /// The QoS it was published with.
    pub qos: Qos,
    /// Whether it was published with RETAIN.
    pub retain: bool,
    /// The client that published it.
    pub publisher: Subject,
    /// Its properties.
    pub properties: ForwardedPropertiesBuf,
    /// When it was accepted.
    pub accepted: Millis,
    /// When it expires.
    pub expires: Option<Millis>,
    /// Where the journal keeps it.
    pub origin: Origin,
}

/// Messages a session wants to have read back.
#[derive(Debug)]
pub struct Fetch {
    /// The session, given back with the answer.
    pub session: SessionKey,
    /// Its client identifier: how it is owed a message stands with the message.
    pub client_id: Arc<str>,
    /// The messages, in the order they are wanted in.
    pub origins: Vec<Origin>,
}

/// The answer to a [`Fetch`].
#[derive(Debug)]
pub struct Fetched {
    /// The session that asked.
    pub session: SessionKey,
    /// One for each message that was asked for, in that order.
    pub messages: Vec<FetchedMessage>,
}

/// A message that was read back.
#[derive(Debug)]
pub struct FetchedMessage {
    /// Where the journal keeps it.
    pub origin: Origin,
    /// The message and how the session is owed it; `None` when it cannot be read or is kept for the session no longer.
    pub found: Option<FoundMessage>,
}

/// How a session is owed a message that was read back.
#[derive(Debug)]
pub struct FoundMessage {
    /// The message.
    pub message: Arc<Message>,
    /// The QoS the session gets it with.
    pub qos: Qos,
    /// Whether it gets it with RETAIN set.
    pub retain: bool,
    /// The subscription identifiers that go with it.
    pub ids: Box<[SubscriptionId]>,
    /// Name and filter of the group whose message it is.
    pub share: Option<(Box<str>, Box<str>)>,
}

impl Message {
    /// A message that was kept.
    #[must_use]
    pub fn restored(stored: StoredMessage) -> Self {
        let StoredMessage { topic, payload, qos, retain, publisher, properties, accepted, expires, origin } = stored;
        let publisher = crate::message::Publisher::Client(std::sync::Arc::new(publisher));
        Self { topic, payload, qos, retain, publisher, properties, accepted, expires, origin: Some(origin) }
    }
}

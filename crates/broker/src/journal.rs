//! What must survive a crash, as records, and the promise that they will.
//!
//! Implemented by `store`. An acknowledgement waits until the position of its record is durable.

use std::sync::Arc;

use motte_mqtt::{ForwardedProperties, Qos, SubscriptionId, SubscriptionOptions};
use motte_policy::Subject;

use crate::message::{Message, Origin};
use crate::routes::{Route, Target};
use crate::shard::ShardId;

/// How far a journal has been written: grows by one with each record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// A fact to be kept. Sessions are named by client identifier, because shards may be another number after a restart.
#[derive(Debug)]
#[non_exhaustive]
pub enum Record<'a> {
    /// A message was accepted: it is owed to the durable targets, and retained when it says so.
    Published {
        /// The message; its origin is the position this record gets.
        message: &'a Message,
        /// The sessions that outlive their connections and are owed the message.
        targets: DurableTargets<'a>,
    },
    /// A session needs a message no longer: acknowledged, dropped, expired or denied.
    Settled {
        /// The session.
        client_id: &'a str,
        /// The message.
        origin: Origin,
    },
    /// A message of a shared subscription goes from one durable session to another: the first needs it no longer.
    Moved {
        /// The message.
        origin: Origin,
        /// The session it was owed to.
        from: &'a str,
        /// The session it is owed to from now on.
        to: DurableTarget<'a>,
    },
    /// A session that outlives its connection was opened, resumed or given another expiry.
    SessionOpened {
        /// Its owner and client identifier.
        owner: &'a Subject,
        /// Seconds it outlives the connection; `u32::MAX` is for ever. 0 when it was resumed to end with its
        /// connection, which a crash ends.
        expiry_s: u32,
        /// The mount point it lives behind; empty for none. All topics and filters of its records are full names.
        mount_point: &'a str,
    },
    /// A session ended; nothing of it is owed any longer.
    SessionClosed {
        /// The session.
        client_id: &'a str,
    },
    /// A subscription of a durable session was made or replaced.
    Subscribed {
        /// The session.
        client_id: &'a str,
        /// The filter with any mount point, and any `$share/NAME/` in front.
        filter: &'a str,
        /// Its options.
        options: SubscriptionOptions,
        /// Its identifier.
        id: Option<SubscriptionId>,
    },
    /// A subscription of a durable session was removed.
    Unsubscribed {
        /// The session.
        client_id: &'a str,
        /// The filter as it was subscribed to.
        filter: &'a str,
    },
    /// A durable session has a will.
    WillSet {
        /// The session.
        client_id: &'a str,
        /// The will.
        will: WillRecord<'a>,
    },
    /// The will of a durable session was published or withdrawn.
    WillCleared {
        /// The session.
        client_id: &'a str,
    },
}

/// A will to be kept.
#[derive(Debug)]
pub struct WillRecord<'a> {
    /// Where it will be published.
    pub topic: &'a str,
    /// What will be published.
    pub payload: &'a [u8],
    /// At which QoS.
    pub qos: Qos,
    /// Whether it will be retained.
    pub retain: bool,
    /// Will Delay Interval in seconds.
    pub delay_s: u32,
    /// Message Expiry Interval in seconds.
    pub message_expiry_s: Option<u32>,
    /// Its properties.
    pub properties: ForwardedProperties<'a>,
}

/// One durable session that is owed a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurableTarget<'a> {
    /// The session.
    pub client_id: &'a str,
    /// The QoS it gets the message with.
    pub qos: Qos,
    /// The subscription identifiers that go with it.
    pub ids: &'a [SubscriptionId],
}

/// The durable targets of a message, worked out while they are read.
#[derive(Clone, Copy, Debug)]
pub struct DurableTargets<'a> {
    pub(crate) route: &'a Route,
    pub(crate) chosen: &'a [(ShardId, Arc<[Target]>)],
    pub(crate) qos: Qos,
}

impl<'a> DurableTargets<'a> {
    /// The targets, in a stable order.
    pub fn iter(&self) -> impl Iterator<Item = DurableTarget<'a>> + use<'a> {
        let qos = self.qos;
        let direct = self.route.direct.iter().flat_map(|(_, targets)| targets.iter());
        let shared = self.chosen.iter().flat_map(|(_, targets)| targets.iter());
        direct.chain(shared).filter(move |t| t.is_owed(qos)).map(move |t| DurableTarget {
            client_id: &t.facts.subject.client_id.0,
            qos: qos.min(t.qos),
            ids: &t.ids,
        })
    }
}

/// An append-only journal.
pub trait Journal {
    /// Appends a record and tells its position. The record is promised only once [`Journal::durable`] has reached it.
    fn append(&mut self, record: &Record<'_>) -> Position;

    /// The last position that survives a crash.
    fn durable(&self) -> Position;
}

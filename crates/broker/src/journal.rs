//! What must survive a crash, as records, and the promise that they will.
//!
//! Implemented by `store`. An acknowledgement waits until the position of its record is durable. All records of one
//! call into a shard become durable together or not at all, and never without those that any shard wrote earlier and
//! that this one could know of: the caller hands over the records of a turn before it posts the letters of that turn.

use std::sync::Arc;

use motte_mqtt::{ForwardedProperties, PacketId, Qos, SubscriptionId, SubscriptionOptions};
use motte_policy::{Subject, UserName};

use crate::bans::Banned;
use crate::message::{Message, Origin};
use crate::restore::Fetch;
use crate::routes::{Route, Target};
use crate::shard::{Millis, ShardId};

/// How far a journal has been written: grows by one with each record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// A fact to be kept. Sessions are named by client identifier, in a tenant behind its name (see
/// [`crate::tenant::session_name`]), because shards may be another number after a restart.
#[derive(Debug)]
#[non_exhaustive]
pub enum Record<'a> {
    /// A message was accepted: it is owed to the durable targets. One that is retained is kept until a
    /// [`Record::Retained`] of the same turn has said for which topic, and then until a later one replaces it.
    Published {
        /// The message; its origin is the position this record gets.
        message: &'a Message,
        /// The sessions that outlive their connections and are owed the message, each once: what is said later of the
        /// message and a session names no more than these two. Whoever is owed a second copy, as a member of a group,
        /// has it by a record of its own.
        targets: DurableTargets<'a>,
    },
    /// The retained message of a topic is this one from now on, or none.
    Retained {
        /// The full topic name.
        topic: &'a str,
        /// The message; `None` clears the topic.
        origin: Option<Origin>,
        /// Grows with each change of the topic, whichever shard makes it: of two records the higher one holds.
        serial: u64,
    },
    /// A durable session received this QoS 2 identifier from its client, and does not take the message again until it
    /// is released (MQTT-4.3.3-10).
    Received {
        /// The session.
        client_id: &'a str,
        /// The identifier.
        id: PacketId,
    },
    /// PUBREL came for an identifier: it is free again. PUBCOMP waits for this record, else a crash would make the next
    /// message under the identifier pass for a copy.
    Released {
        /// The session.
        client_id: &'a str,
        /// The identifier.
        id: PacketId,
    },
    /// A message is being sent to a durable session under this identifier. A QoS 2 PUBLISH leaves once this is durable,
    /// so that it is sent again under the same identifier after a crash and is not taken for another (MQTT-4.4.0-1).
    Sent {
        /// The session.
        client_id: &'a str,
        /// The message.
        origin: Origin,
        /// The identifier.
        id: PacketId,
    },
    /// PUBREC came: the message is owed no more, PUBREL is until [`Record::Completed`]. PUBREL waits for this record.
    Arrived {
        /// The session.
        client_id: &'a str,
        /// The message; `None` when its session was not durable when it was sent.
        origin: Option<Origin>,
        /// The identifier.
        id: PacketId,
    },
    /// PUBCOMP came, or the flow was given up: the identifier is free again.
    Completed {
        /// The session.
        client_id: &'a str,
        /// The identifier.
        id: PacketId,
    },
    /// A session needs a message no longer: acknowledged, dropped, expired or denied. An identifier it was sent under
    /// is free again.
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
    /// A session that outlives its connection was opened, resumed or given another expiry; it has a connection.
    SessionOpened {
        /// Its owner and client identifier.
        owner: &'a Subject,
        /// Seconds it outlives the connection; `u32::MAX` is for ever. 0 when it was resumed to end with its
        /// connection, which a crash ends.
        expiry_s: u32,
        /// The mount point it lives behind; empty for none. All topics and filters of its records are full names.
        mount_point: &'a str,
    },
    /// The connection of a durable session ended: its expiry and the delay of its will count from here.
    SessionLeft {
        /// The session.
        client_id: &'a str,
        /// When.
        at: Millis,
    },
    /// A session ended and leaves messages of groups that other members are to be given. It goes on as an estate: what
    /// it was owed is owed under that name from now on, until [`Record::SessionClosed`] of it. A crash ends it once
    /// more.
    SessionEnded {
        /// The session.
        client_id: &'a str,
        /// The name of what it leaves: no client ever has it, and no other estate has had it.
        estate: &'a str,
    },
    /// A session or an estate ended; nothing of it is owed any longer.
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
    /// What this user published until then is given to nobody (K21).
    UserRemoved {
        /// The user.
        user: &'a UserName,
        /// Until when.
        at: Millis,
    },
    /// Somebody is kept out from now on.
    Banned {
        /// Who.
        who: &'a Banned,
        /// Until when; `None` is for good.
        until: Option<Millis>,
    },
    /// Somebody is kept out no longer.
    Unbanned {
        /// Who.
        who: &'a Banned,
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
    /// Whether it gets the message with RETAIN set.
    pub retain: bool,
    /// The subscription identifiers that go with it.
    pub ids: &'a [SubscriptionId],
    /// Name and filter of the group whose message it is.
    pub share: Option<(&'a str, &'a str)>,
}

/// The durable targets of a message, worked out while they are read.
#[derive(Clone, Copy, Debug)]
pub struct DurableTargets<'a> {
    found: Found<'a>,
}

/// Where the targets of a message are found.
#[derive(Clone, Copy, Debug)]
enum Found<'a> {
    /// In a route and among the members that were chosen from its groups.
    Routed { route: &'a Route, chosen: &'a [(ShardId, Arc<[Target]>)], qos: Qos, retain: bool },
    /// In a list.
    Listed(&'a [DurableTarget<'a>]),
}

impl<'a> DurableTarget<'a> {
    /// A message of `qos` and with this RETAIN flag, as a target is owed it.
    pub(crate) fn new(target: &'a Target, qos: Qos, retain: bool) -> Self {
        Self {
            client_id: &target.facts.name,
            qos: qos.min(target.qos),
            retain: retain && target.retain_as_published,
            ids: &target.ids,
            share: target.share.as_deref().map(|share| (share.name(), share.filter())),
        }
    }
}

impl<'a> DurableTargets<'a> {
    /// The durable ones among the targets of a message: those of its route, and the members `chosen` from its groups.
    pub(crate) fn routed(message: &Message, route: &'a Route, chosen: &'a [(ShardId, Arc<[Target]>)]) -> Self {
        Self { found: Found::Routed { route, chosen, qos: message.qos, retain: message.retain } }
    }

    /// These targets: what a journal is told where there are no routes.
    #[must_use]
    pub fn listed(targets: &'a [DurableTarget<'a>]) -> Self {
        Self { found: Found::Listed(targets) }
    }

    /// The targets, in a stable order.
    pub fn iter(&self) -> impl Iterator<Item = DurableTarget<'a>> + use<'a> {
        let (direct, chosen, qos, retain, listed): (&[_], _, _, _, &[_]) = match self.found {
            Found::Routed { route, chosen, qos, retain } => (&route.direct, chosen, qos, retain, &[]),
            Found::Listed(listed) => (&[], &[][..], Qos::AtMostOnce, false, listed),
        };
        let direct = direct.iter().flat_map(|(_, targets)| targets.iter());
        let shared = chosen.iter().flat_map(|(_, targets)| targets.iter());
        let owed = direct.chain(shared).filter(move |t| t.is_owed(qos));
        owed.map(move |t| DurableTarget::new(t, qos, retain)).chain(listed.iter().copied())
    }
}

/// Whether a journal can keep its promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JournalState {
    /// It takes everything.
    #[default]
    Ready,
    /// There is no room for new messages and sessions; what makes room is still taken. Passes when room is made.
    Full,
    /// A write failed: nothing that was not durable before will ever be. Final for the life of the process.
    Failed,
}

/// An append-only journal, one for each shard.
pub trait Journal {
    /// Appends a record and tells its position, which grows by one with each record and goes on from where it was when
    /// the node stopped. The record is promised only once [`Journal::durable`] has reached it.
    fn append(&mut self, record: &Record<'_>) -> Position;

    /// The last position of this shard that survives a crash.
    fn durable(&self) -> Position;

    /// Whether promises can be made now. Asked before a message, a session or a subscription is accepted.
    fn state(&self) -> JournalState {
        JournalState::Ready
    }

    /// Whether messages that were appended can be fetched, so that a session need not hold them in memory.
    fn reads_back(&self) -> bool {
        false
    }

    /// Asks for messages to be read back. The answer is [`crate::Shard::on_fetched`], in its own time, and knows of
    /// everything that was appended before. A message that is read back is durable; what was appended of it since may
    /// not be yet. Does nothing where messages are not read back.
    fn fetch(&mut self, fetch: Fetch) {
        let _ = fetch;
    }
}

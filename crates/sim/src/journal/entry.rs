//! Records as the journal of the simulation keeps them: the same facts, owned.
//!
//! Made by the journal for each record that is appended, read by what was kept.

use motte_broker::mqtt::{PacketId, Qos, SubscriptionId, SubscriptionOptions};
use motte_broker::policy::{Subject, UserName};
use motte_broker::restore::{StoredMessage, StoredWill};
use motte_broker::{Message, Millis, Origin, Position, Publisher, Record, ShardId};

/// A session that is owed a message.
#[derive(Clone, Debug)]
pub(crate) struct Aim {
    pub(crate) client_id: String,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) ids: Vec<SubscriptionId>,
    pub(crate) share: Option<(String, String)>,
}

/// An owned record; for the meaning of each see [`Record`].
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// The origin of the message is to be filled in, and its weight stands beside it.
    Published(Box<(StoredMessage, u32)>, Vec<Aim>),
    Retained(String, Option<Origin>, u64),
    Received(String, PacketId),
    Released(String, PacketId),
    Sent(String, Origin, PacketId),
    Arrived(String, Option<Origin>, PacketId),
    Completed(String, PacketId),
    Settled(String, Origin),
    Moved(Origin, String, Aim),
    SessionOpened(Subject, u32, String),
    SessionLeft(String, Millis),
    SessionEnded(String, String),
    SessionClosed(String),
    Subscribed(String, String, SubscriptionOptions, Option<SubscriptionId>),
    Unsubscribed(String, String),
    WillSet(String, Box<StoredWill>),
    WillCleared(String),
    UserRemoved(UserName, Millis),
}

impl Entry {
    pub(crate) fn new(record: &Record<'_>) -> Self {
        let owned = |text: &&str| String::from(*text);
        match record {
            Record::Published { message, targets } => {
                let weight = u32::try_from(message.weight_bytes()).unwrap_or(u32::MAX);
                let aims = targets.iter().map(|target| aim(&target)).collect();
                Self::Published(Box::new((stored(message), weight)), aims)
            }
            Record::Retained { topic, origin, serial } => Self::Retained(owned(topic), *origin, *serial),
            Record::Received { client_id, id } => Self::Received(owned(client_id), *id),
            Record::Released { client_id, id } => Self::Released(owned(client_id), *id),
            Record::Sent { client_id, origin, id } => Self::Sent(owned(client_id), *origin, *id),
            Record::Arrived { client_id, origin, id } => Self::Arrived(owned(client_id), *origin, *id),
            Record::Completed { client_id, id } => Self::Completed(owned(client_id), *id),
            Record::Settled { client_id, origin } => Self::Settled(owned(client_id), *origin),
            Record::Moved { origin, from, to } => Self::Moved(*origin, owned(from), aim(to)),
            Record::SessionOpened { owner, expiry_s, mount_point } => {
                Self::SessionOpened((*owner).clone(), *expiry_s, owned(mount_point))
            }
            Record::SessionLeft { client_id, at } => Self::SessionLeft(owned(client_id), *at),
            Record::SessionEnded { client_id, estate } => Self::SessionEnded(owned(client_id), owned(estate)),
            Record::SessionClosed { client_id } => Self::SessionClosed(owned(client_id)),
            Record::Subscribed { client_id, filter, options, id } => {
                Self::Subscribed(owned(client_id), owned(filter), *options, *id)
            }
            Record::Unsubscribed { client_id, filter } => Self::Unsubscribed(owned(client_id), owned(filter)),
            Record::WillSet { client_id, will } => Self::WillSet(owned(client_id), Box::new(will.into())),
            Record::WillCleared { client_id } => Self::WillCleared(owned(client_id)),
            Record::UserRemoved { user, at } => Self::UserRemoved((*user).clone(), *at),
            other => unreachable!("the journal was not taught {other:?}"),
        }
    }
}

fn aim(target: &motte_broker::journal::DurableTarget<'_>) -> Aim {
    Aim {
        client_id: target.client_id.into(),
        qos: target.qos,
        retain: target.retain,
        ids: target.ids.to_vec(),
        share: target.share.map(|(name, filter)| (name.into(), filter.into())),
    }
}

fn stored(message: &Message) -> StoredMessage {
    let Publisher::Client(publisher) = message.publisher() else {
        unreachable!("what the broker itself publishes is not kept")
    };
    StoredMessage {
        topic: message.topic().into(),
        payload: message.payload().into(),
        qos: message.qos(),
        retain: message.retain(),
        publisher: Subject::clone(publisher),
        properties: message.properties().to_owned(),
        accepted: message.accepted(),
        expires: message.expires(),
        origin: Origin { shard: ShardId(0), position: Position(0) },
    }
}

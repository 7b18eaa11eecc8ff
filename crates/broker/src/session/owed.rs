//! A message as it is owed to one session: in memory, or kept by the journal alone.
//!
//! Made where a message is given to a session or read back, held by its queue and by what is in flight.

use std::sync::Arc;

use motte_mqtt::{Qos, SubscriptionId};
use smallvec::SmallVec;

use crate::journal::Position;
use crate::message::{Message, Origin};
use crate::restore::{FoundMessage, StoredRef};
use crate::routes::{Share, Target};
use crate::shard::ShardId;

/// Bytes of memory a message takes beside topic, payload and properties.
pub(super) const MESSAGE_BYTES: usize = 256;

/// A message owed to one session, and how it is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Owed {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// Whether the journal keeps it for this session.
    pub(crate) is_kept: bool,
    /// Whether it comes from the retained store, for a subscription that was made later.
    pub(crate) is_replay: bool,
    pub(crate) ids: SmallVec<[SubscriptionId; 1]>,
    /// The group it is owed to, which it goes back to when this session cannot take it.
    pub(crate) share: Option<Arc<Share>>,
    /// The policy epoch under which publisher and receiver were last judged; `None` for not yet.
    pub(crate) epoch: Option<u64>,
}

impl Owed {
    /// A message as it is owed to a target, judged under the policy of `epoch`.
    pub(crate) fn new(message: &Arc<Message>, target: &Target, epoch: Option<u64>) -> Self {
        Self {
            message: Arc::clone(message),
            qos: message.qos.min(target.qos),
            retain: message.retain && target.retain_as_published,
            // A session that does not outlive its connection never comes to.
            is_kept: message.origin.is_some() && target.is_owed(message.qos),
            is_replay: false,
            // To clone an empty one is dearer than to make it.
            ids: if target.ids.is_empty() { SmallVec::new() } else { target.ids.clone() },
            share: target.share.clone(),
            epoch,
        }
    }

    /// A message that was read back, not judged yet.
    pub(crate) fn read_back(found: FoundMessage) -> Self {
        let FoundMessage { message, qos, retain, ids, share } = found;
        let share = share.map(|(name, filter)| Arc::new(Share::new(name, filter)));
        let ids = SmallVec::from_slice(&ids);
        Self { message, qos, retain, is_kept: true, is_replay: false, ids, share, epoch: None }
    }

    /// Bytes that count against byte limits.
    pub(crate) fn weight(&self) -> u64 {
        self.message.weight_bytes() as u64
    }

    /// Where the journal keeps it for this session.
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.message.origin.filter(|_| self.is_kept)
    }

    /// What is left of it when it is only kept by the journal; `None` when it is not.
    pub(super) fn stored(&self) -> Option<StoredRef> {
        self.origin().map(|origin| StoredRef { origin, ..self.described() })
    }

    pub(super) fn described(&self) -> StoredRef {
        let nowhere = Origin { shard: ShardId(0), position: Position(0) };
        StoredRef {
            origin: self.message.origin.unwrap_or(nowhere),
            qos: self.qos,
            is_shared: self.share.is_some(),
            weight_bytes: u32::try_from(self.message.weight_bytes()).unwrap_or(u32::MAX),
            accepted: self.message.accepted,
            expires: self.message.expires,
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        MESSAGE_BYTES + self.message.weight_bytes()
    }
}

/// A message owed to one session, in memory or kept by the journal alone.
#[derive(Debug)]
pub(crate) enum Held {
    Loaded(Owed),
    Stored(StoredRef),
}

impl Held {
    /// The QoS it is sent with.
    pub(crate) fn qos(&self) -> Qos {
        match self {
            Self::Loaded(owed) => owed.qos,
            Self::Stored(stored) => stored.qos,
        }
    }

    /// Where the journal keeps it for this session.
    pub(crate) fn origin(&self) -> Option<Origin> {
        match self {
            Self::Loaded(owed) => owed.origin(),
            Self::Stored(stored) => Some(stored.origin),
        }
    }

    /// Frees the memory of a message that the journal keeps.
    pub(crate) fn unload(&mut self) {
        if let Self::Loaded(owed) = self
            && let Some(stored) = owed.stored()
        {
            *self = Self::Stored(stored);
        }
    }
}

/// A message that left the queue without being sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone {
    pub(crate) weight: u64,
    pub(crate) origin: Option<Origin>,
}

impl From<&Owed> for Gone {
    fn from(owed: &Owed) -> Self {
        Self { weight: owed.weight(), origin: owed.origin() }
    }
}

//! An accepted application message, shared by all who will be given it.
//!
//! Made by `handle/publish` and `session/will` after policy passed, read by queues, the retained store, the journal and
//! delivery. Never changes after it was accepted.

use std::sync::Arc;

use motte_mqtt::{ForwardedProperties, ForwardedPropertiesBuf, Qos};
use motte_policy::{ClientId, Identity, Policy, Publishing, Subject};

use crate::journal::{DurableTarget, DurableTargets, Journal, Position, Record};
use crate::shard::{Millis, ShardId};
use crate::shared::Removals;
use crate::tenant;

/// Where the journal keeps a message: the shard that accepted it and the position of its record there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The accepting shard.
    pub shard: ShardId,
    /// The position in that shard's journal.
    pub position: Position,
}

/// Who published a message. No client can become the broker: only the broker itself makes such a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publisher {
    /// A client.
    Client(Arc<Subject>),
    /// The broker, for the `$SYS` tree.
    Broker,
}

impl Publisher {
    /// Whether it is the client of this identifier.
    pub(crate) fn is(&self, client_id: &ClientId) -> bool {
        matches!(self, Self::Client(subject) if subject.client_id == *client_id)
    }
}

/// A message: topic, payload, properties, publisher, expiry. Shared behind an `Arc`.
#[derive(Clone, Debug)]
pub struct Message {
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Box<[u8]>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) publisher: Publisher,
    pub(crate) properties: ForwardedPropertiesBuf,
    pub(crate) accepted: Millis,
    pub(crate) expires: Option<Millis>,
    pub(crate) origin: Option<Origin>,
}

impl Message {
    /// The topic name, resolved from any alias.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The QoS it was published with.
    #[must_use]
    pub fn qos(&self) -> Qos {
        self.qos
    }

    /// Whether it was published with RETAIN.
    #[must_use]
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// Who published it: kept with the message so that the right can be judged again at every change of hands (K21).
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// The properties that are forwarded unchanged.
    #[must_use]
    pub fn properties(&self) -> ForwardedProperties<'_> {
        self.properties.as_ref()
    }

    /// What publishing it is to policy.
    pub(crate) fn publishing(&self) -> Publishing<'_> {
        Publishing { topic: &self.topic, qos: self.qos.as_u8(), retain: self.retain }
    }

    /// Whether its publisher may publish it under `policy`.
    pub(crate) fn may_be_published(&self, policy: &Policy) -> bool {
        match &self.publisher {
            Publisher::Client(subject) => tenant::may_publish(policy, subject, self.publishing()),
            Publisher::Broker => true,
        }
    }

    /// When it was accepted.
    #[must_use]
    pub fn accepted(&self) -> Millis {
        self.accepted
    }

    /// When it expires; `None` for never.
    #[must_use]
    pub fn expires(&self) -> Option<Millis> {
        self.expires
    }

    /// Where the journal keeps it; `None` when it is not kept.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        self.origin
    }

    /// The same message, kept for one target by a record of its own. Nothing is retained by that.
    pub(crate) fn kept_for(&self, target: DurableTarget<'_>, shard: ShardId, journal: &mut dyn Journal) -> Self {
        let mut message = Self { retain: false, ..self.clone() };
        let targets = [target];
        let targets = DurableTargets::listed(&targets);
        let position = journal.append(&Record::Published { message: &message, targets });
        message.retain = self.retain;
        message.origin = Some(Origin { shard, position });
        message
    }

    /// Bytes that count against byte limits: topic, payload and properties.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.as_ref().encoded_len()
    }

    /// Bytes of the largest PUBLISH it can become for a member of a group: beside itself the fixed header, the lengths
    /// of topic and properties, and packet identifier, expiry, alias and one subscription identifier.
    pub(crate) fn packet_bytes_max(&self) -> usize {
        self.weight_bytes() + 5 + 2 + 4 + 2 + 5 + 3 + 5
    }

    /// Whether its Message Expiry Interval has passed.
    #[must_use]
    pub fn is_expired(&self, now: Millis) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// Whether its Message Expiry Interval ran out since it was accepted. An interval of 0 has not at that very moment:
    /// it reaches who can be given it at once, and waits for nobody.
    pub(crate) fn is_too_late(&self, now: Millis) -> bool {
        self.is_expired(now) && now > self.accepted
    }

    /// Whether its publisher was removed after it was accepted.
    pub(crate) fn is_withdrawn(&self, removals: &Removals) -> bool {
        let Publisher::Client(subject) = &self.publisher else { return false };
        let Identity::User(name) = &subject.identity else { return false };
        removals.get(name).is_some_and(|&at| self.accepted <= at)
    }

    /// What is left of the Message Expiry Interval, less the whole seconds that have passed (MQTT-3.3.2-6).
    pub(crate) fn remaining_s(&self, now: Millis) -> Option<u32> {
        // Another shard may have accepted it by a later look at the clock.
        let now = now.max(self.accepted);
        self.expires.map(|at| {
            let left_s = at.0.saturating_sub(now.0).div_ceil(1_000);
            u32::try_from(left_s).unwrap_or(u32::MAX)
        })
    }
}

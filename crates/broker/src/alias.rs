//! Topic aliases, both ways: what the client has set, and what we use towards the client.
//!
//! Held by a link and forgotten with it, so no alias outlives its connection (MQTT-3.3.2-7). Writes no packet itself.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;

/// Bytes of a topic from which an alias pays: three bytes of property at every use, and the topic once more with it.
const TOPIC_BYTES_MIN: usize = 8;

/// The aliases a client has set.
#[derive(Debug)]
pub(crate) struct InboundAliases {
    /// Topic of each alias, by alias less one.
    topics: Vec<Option<Arc<str>>>,
    max: u16,
}

impl InboundAliases {
    /// None so far; the client may use 1 to `max`.
    pub(crate) fn new(max: u16) -> Self {
        Self { topics: Vec::new(), max }
    }

    /// Whether the client may use this alias at all (MQTT-3.3.2-9).
    pub(crate) fn takes(&self, alias: NonZeroU16) -> bool {
        alias.get() <= self.max
    }

    /// Remembers a topic under an alias that the client may use (MQTT-3.3.2-12).
    pub(crate) fn set(&mut self, alias: NonZeroU16, topic: &Arc<str>) {
        let at = usize::from(alias.get()) - 1;
        if self.topics.len() <= at {
            self.topics.resize(at + 1, None);
        }
        self.topics[at] = Some(Arc::clone(topic));
    }

    /// The topic of an alias; `None` when it was not set.
    pub(crate) fn topic(&self, alias: NonZeroU16) -> Option<&Arc<str>> {
        self.topics.get(usize::from(alias.get()) - 1)?.as_ref()
    }
}

/// How a topic may be named in the next PUBLISH to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// By the topic alone.
    Topic,
    /// By the topic, with an alias that the client does not know yet.
    Both(NonZeroU16),
    /// By an alias the client knows; the topic stays empty.
    Alias(NonZeroU16),
}

/// The aliases we use towards a client: the first topics for which an alias pays, while there is room. They are not
/// given to other topics later, because a topic that was sent once tends to come again.
#[derive(Debug)]
pub(crate) struct OutboundAliases {
    topics: BTreeMap<Arc<str>, NonZeroU16>,
    max: u16,
}

impl OutboundAliases {
    /// None so far; 1 to `max` may be used (MQTT-3.1.2-26, MQTT-3.1.2-27).
    pub(crate) fn new(max: u16) -> Self {
        Self { topics: BTreeMap::new(), max }
    }

    /// Whether the client takes any.
    pub(crate) fn are_used(&self) -> bool {
        self.max > 0
    }

    /// How to name `topic` now.
    pub(crate) fn name(&self, topic: &str) -> Naming {
        if self.max == 0 || topic.len() < TOPIC_BYTES_MIN {
            return Naming::Topic;
        }
        if let Some(&alias) = self.topics.get(topic) {
            return Naming::Alias(alias);
        }
        // As many are in use as there are topics, without gaps.
        let used = u16::try_from(self.topics.len()).unwrap_or(u16::MAX);
        match NonZeroU16::new(used.saturating_add(1)) {
            Some(next) if used < self.max => Naming::Both(next),
            _ => Naming::Topic,
        }
    }

    /// The client was sent `topic` together with `alias`, which [`OutboundAliases::name`] gave.
    pub(crate) fn told(&mut self, topic: &Arc<str>, alias: NonZeroU16) {
        self.topics.insert(Arc::clone(topic), alias);
    }
}

//! What one publisher found out about its topics: the publish verdict and the targets.
//!
//! Called by `handle/publish`. Valid only while route generations and policy epoch stand; bounded, so that a publisher
//! of many topics replaces its own entries and nobody else's.

use std::sync::Arc;

use super::{Generations, Route};
use crate::shard::fnv1a;

/// Topics remembered per publisher.
const ENTRIES: usize = 64;
/// Targets remembered per publisher, over all its topics.
const TARGETS_MAX: usize = 16_384;

/// What is known about one topic.
#[derive(Clone, Debug)]
pub(crate) struct Cached {
    pub(crate) topic: Arc<str>,
    pub(crate) epoch: u64,
    pub(crate) generations: Generations,
    /// `None`: the publisher may not publish to the topic.
    pub(crate) route: Option<Arc<Route>>,
}

/// A direct-mapped table.
#[derive(Debug, Default)]
pub(crate) struct RouteCache {
    entries: Vec<Option<Cached>>,
    targets: usize,
}

impl RouteCache {
    /// What is known about `topic`, if it still holds.
    pub(crate) fn find(&self, topic: &str, epoch: u64, generations: Generations) -> Option<&Cached> {
        let entry = self.entries.get(place(topic))?.as_ref()?;
        let holds = entry.epoch == epoch && entry.generations == generations && *entry.topic == *topic;
        holds.then_some(entry)
    }

    /// Remembers.
    pub(crate) fn put(&mut self, cached: Cached) {
        if self.entries.is_empty() {
            self.entries.resize_with(ENTRIES, || None);
        }
        let size = size(&cached);
        if self.targets + size > TARGETS_MAX {
            self.entries.fill(None);
            self.targets = 0;
        }
        let at = place(&cached.topic);
        self.targets += size;
        if let Some(old) = self.entries[at].replace(cached) {
            self.targets = self.targets.saturating_sub(self::size(&old));
        }
    }
}

fn size(cached: &Cached) -> usize {
    cached.route.as_ref().map_or(0, |route| route.size())
}

fn place(topic: &str) -> usize {
    usize::try_from(fnv1a(topic.as_bytes()) % ENTRIES as u64).expect("less than the number of entries")
}

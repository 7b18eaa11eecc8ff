//! What one publisher found out about its topics: the publish verdict and the targets.
//!
//! Called by `handle/publish`. Valid only while route generations and policy epoch stand; bounded, so that a publisher
//! of many topics replaces its own entries and nobody else's.

use std::rc::Rc;
use std::sync::Arc;

use motte_policy::PublishRight;
use motte_policy::control::Endpoint;

use super::{Generations, Route, Routes};
use crate::shard::fnv1a;

/// Topics remembered per publisher.
const ENTRIES: usize = 64;
/// Targets remembered per publisher, over all its topics.
const TARGETS_MAX: usize = 16_384;

/// What is known about one topic.
#[derive(Debug)]
pub(crate) struct Cached {
    pub(crate) topic: Arc<str>,
    pub(crate) epoch: u64,
    pub(crate) generations: Generations,
    /// In which ways the publisher may publish to it.
    pub(crate) right: PublishRight,
    /// `None`: in none, or what is published is a request.
    pub(crate) route: Option<Route>,
    /// What a message to the topic asks of the broker, where the publisher may.
    pub(crate) control: Option<Endpoint>,
}

/// A direct-mapped table.
#[derive(Debug, Default)]
pub(crate) struct RouteCache {
    entries: Vec<Option<Rc<Cached>>>,
    /// Where the topic asked for last stands: the next one is mostly the same.
    last: usize,
    targets: usize,
}

impl RouteCache {
    /// What is known about `topic`, if it still holds.
    pub(crate) fn find(&mut self, topic: &str, epoch: u64, routes: &Routes) -> Option<Rc<Cached>> {
        // Who expected the topic asks with the very text that stands here.
        let is_it = |entry: &&Rc<Cached>| std::ptr::eq(&*entry.topic, topic) || *entry.topic == *topic;
        let last = self.entries.get(self.last).and_then(Option::as_ref).filter(is_it);
        let entry = match last {
            Some(entry) => entry,
            None => {
                let at = place(topic);
                let entry = self.entries.get(at)?.as_ref().filter(is_it)?;
                self.last = at;
                entry
            }
        };
        (entry.epoch == epoch && routes.stand(entry.generations)).then(|| Rc::clone(entry))
    }

    /// The topic asked for last, for whoever expects it again; empty when there is none.
    pub(crate) fn last_topic(&self) -> Option<Rc<Cached>> {
        self.entries.get(self.last).and_then(Option::clone)
    }

    /// Remembers.
    pub(crate) fn put(&mut self, cached: Rc<Cached>) {
        if self.entries.is_empty() {
            self.entries.resize_with(ENTRIES, || None);
        }
        let size = size(&cached);
        if self.targets + size > TARGETS_MAX {
            self.entries.fill(None);
            self.targets = 0;
        }
        let at = place(&cached.topic);
        self.last = at;
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

//! The filters of one stripe that have no wildcard: each matches the one topic that it spells.
//!
//! Called by the trie under its stripe lock. Looked up and never walked, so that its order shows nowhere. In parts,
//! because a map moves all its entries when it grows, and who publishes meanwhile waits for the lock.

use std::collections::HashMap;

use super::members::Subscribers;
use super::{SessionRef, Subscription};
use crate::shard::fnv1a;
use crate::short::Text;

const PARTS: usize = 32;
/// Bytes at the end of a filter that tell its part: where the filters of many devices differ.
const TAIL_BYTES: usize = 8;

/// A filter; many are shorter than this, and to compare one is what takes most of a look-up.
type Key = Text<38>;

/// Who has subscribed to which filter. Peers choose the filters, and do not know the keys of the hashes.
#[derive(Debug, Default)]
pub(super) struct Exact {
    parts: [HashMap<Key, Subscribers>; PARTS],
}

impl Exact {
    /// Who has subscribed to `filter`.
    pub(super) fn get(&self, filter: &str) -> Option<&Subscribers> {
        self.parts[part_of(filter)].get(filter.as_bytes())
    }

    /// Adds or replaces a subscription.
    pub(super) fn insert(&mut self, filter: &str, share: Option<&str>, session: SessionRef, sub: Subscription) {
        let part = &mut self.parts[part_of(filter)];
        let subscribers = match part.get_mut(filter.as_bytes()) {
            Some(subscribers) => subscribers,
            None => part.entry(filter.into()).or_default(),
        };
        subscribers.insert(filter, share, session, sub);
    }

    /// Removes a subscription, if it is there.
    pub(super) fn remove(&mut self, filter: &str, share: Option<&str>, session: SessionRef) {
        let part = &mut self.parts[part_of(filter)];
        let Some(subscribers) = part.get_mut(filter.as_bytes()) else { return };
        subscribers.remove(share, session);
        if subscribers.is_empty() {
            part.remove(filter.as_bytes());
            // Not with every one of them, so that nobody pays for moving the others again and again.
            if part.len() < part.capacity() / 8 {
                part.shrink_to(part.len() * 2);
            }
        }
    }

    /// Filters kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(HashMap::len).sum()
    }
}

fn part_of(filter: &str) -> usize {
    let bytes = filter.as_bytes();
    let tail = bytes.get(bytes.len().saturating_sub(TAIL_BYTES)..).unwrap_or(bytes);
    usize::try_from(fnv1a(tail) % PARTS as u64).expect("less than the number of parts")
}

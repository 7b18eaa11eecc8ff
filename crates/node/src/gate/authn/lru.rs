//! A map of bounded size that forgets what was used the longest ago.
//!
//! Used by the back-off. Nothing it holds grows with what strangers send beyond its bound.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// The map.
#[derive(Debug)]
pub(super) struct Lru<K, V> {
    values: HashMap<K, (u64, V)>,
    /// Keys by their last use.
    order: BTreeMap<u64, K>,
    uses: u64,
    most: usize,
}

impl<K: Clone + Eq + Hash, V: Default> Lru<K, V> {
    /// An empty map for `most` keys, one at least.
    pub(super) fn new(most: usize) -> Self {
        Self { values: HashMap::new(), order: BTreeMap::new(), uses: 0, most: most.max(1) }
    }

    /// The value of a key, if it has one. No use of it.
    pub(super) fn peek(&self, key: &K) -> Option<&V> {
        self.values.get(key).map(|(_, value)| value)
    }

    /// The value of a key, made where there is none; who was used the longest ago makes room.
    pub(super) fn touch(&mut self, key: &K) -> &mut V {
        self.uses += 1;
        match self.values.get(key) {
            Some((used, _)) => {
                self.order.remove(used);
            }
            None if self.values.len() >= self.most => {
                if let Some((_, oldest)) = self.order.pop_first() {
                    self.values.remove(&oldest);
                }
            }
            None => {}
        }
        self.order.insert(self.uses, key.clone());
        let (used, value) = self.values.entry(key.clone()).or_default();
        *used = self.uses;
        value
    }

    /// Forgets a key.
    pub(super) fn remove(&mut self, key: &K) {
        if let Some((used, _)) = self.values.remove(key) {
            self.order.remove(&used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lru;

    #[test]
    fn k30_what_was_used_the_longest_ago_makes_room() {
        let mut map: Lru<u32, u32> = Lru::new(3);
        for key in [1, 2, 3, 1, 4, 1] {
            *map.touch(&key) += 1;
        }
        assert_eq!([1, 2, 3, 4].map(|key| map.peek(&key).copied()), [Some(3), None, Some(1), Some(1)]);
        map.remove(&1);
        map.remove(&1);
        assert_eq!((map.values.len(), map.order.len()), (2, 2));
        (0..10_000).for_each(|key| *map.touch(&key) += 1);
        assert_eq!((map.values.len(), map.order.len()), (3, 3));
    }
}

//! A set of packet identifiers, at most 10 KiB however it is filled (K04).
//!
//! Called by the session for identifiers received and identifiers in use.

use std::collections::BTreeMap;

use motte_mqtt::PacketId;

/// The set: 256 identifiers a block, blocks only where there are any.
#[derive(Debug, Default)]
pub(crate) struct IdSet {
    blocks: BTreeMap<u8, [u64; 4]>,
    len: usize,
}

fn place(id: PacketId) -> (u8, usize, u64) {
    let [high, low] = id.value().to_be_bytes();
    (high, usize::from(low >> 6), 1 << (low & 63))
}

impl IdSet {
    /// Adds an identifier and tells whether it is new.
    pub(crate) fn insert(&mut self, id: PacketId) -> bool {
        let (block, word, bit) = place(id);
        let words = self.blocks.entry(block).or_default();
        let is_new = words[word] & bit == 0;
        words[word] |= bit;
        self.len += usize::from(is_new);
        is_new
    }

    /// Removes an identifier and tells whether it was there.
    pub(crate) fn remove(&mut self, id: PacketId) -> bool {
        if !self.contains(id) {
            return false;
        }
        let (block, word, bit) = place(id);
        if let Some(words) = self.blocks.get_mut(&block) {
            words[word] &= !bit;
            if *words == [0; 4] {
                self.blocks.remove(&block);
            }
        }
        self.len -= 1;
        true
    }

    /// Whether an identifier is there.
    pub(crate) fn contains(&self, id: PacketId) -> bool {
        let (block, word, bit) = place(id);
        self.blocks.get(&block).is_some_and(|words| words[word] & bit != 0)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop")]
    use super::*;

    #[test]
    fn all_identifiers_fit_and_leave_nothing_behind() {
        let mut set = IdSet::default();
        for value in 1..=u16::MAX {
            assert!(set.insert(PacketId::new(value).unwrap()));
        }
        assert!(!set.insert(PacketId::new(7).unwrap()));
        assert_eq!((set.len(), set.blocks.len()), (65_535, 256));
        for value in 1..=u16::MAX {
            assert!(set.remove(PacketId::new(value).unwrap()));
        }
        assert!(!set.remove(PacketId::new(7).unwrap()));
        assert_eq!((set.len(), set.blocks.len()), (0, 0));
    }
}

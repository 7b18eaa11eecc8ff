//! A set of packet identifiers, at most 10 KiB however it is filled (K04).
//!
//! Called by the session for identifiers received and identifiers in use.

use motte_mqtt::PacketId;

/// 256 identifiers from the number times 256 on.
type Block = (u8, [u64; 4]);

/// Blocks that are kept though they are empty: identifiers go round, and the next message needs one again.
const KEPT_MAX: usize = 2;

/// The set: blocks only where there are any, in order.
#[derive(Debug, Default)]
pub(crate) struct IdSet {
    blocks: Vec<Block>,
    len: usize,
}

fn place(id: PacketId) -> (u8, usize, u64) {
    let [high, low] = id.value().to_be_bytes();
    (high, usize::from(low >> 6), 1 << (low & 63))
}

impl IdSet {
    fn find(&self, block: u8) -> Result<usize, usize> {
        // There is mostly one.
        if let Some((number, _)) = self.blocks.first()
            && *number == block
        {
            return Ok(0);
        }
        self.blocks.binary_search_by_key(&block, |(number, _)| *number)
    }

    /// Adds an identifier and tells whether it is new.
    pub(crate) fn insert(&mut self, id: PacketId) -> bool {
        let (block, word, bit) = place(id);
        let at = self.find(block).unwrap_or_else(|at| {
            self.blocks.insert(at, (block, [0; 4]));
            at
        });
        let words = &mut self.blocks[at].1;
        let is_new = words[word] & bit == 0;
        words[word] |= bit;
        self.len += usize::from(is_new);
        is_new
    }

    /// Removes an identifier and tells whether it was there.
    pub(crate) fn remove(&mut self, id: PacketId) -> bool {
        let (block, word, bit) = place(id);
        let Ok(at) = self.find(block) else { return false };
        let words = &mut self.blocks[at].1;
        if words[word] & bit == 0 {
            return false;
        }
        words[word] &= !bit;
        if *words == [0; 4] && self.blocks.len() > KEPT_MAX {
            self.blocks.remove(at);
        }
        self.len -= 1;
        true
    }

    /// Whether an identifier is there.
    pub(crate) fn contains(&self, id: PacketId) -> bool {
        let (block, word, bit) = place(id);
        self.len > 0 && self.find(block).is_ok_and(|at| self.blocks[at].1[word] & bit != 0)
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
    fn all_identifiers_fit_and_leave_next_to_nothing_behind() {
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
        assert_eq!((set.len(), set.blocks.len()), (0, KEPT_MAX));
        assert!(!set.contains(PacketId::new(65_535).unwrap()));
    }
}

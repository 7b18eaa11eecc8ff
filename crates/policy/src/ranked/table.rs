//! Children of a node by the text of their level: found in the same time among a few and among very many, and walked in
//! the order of the texts.
//!
//! Called by the tree of rules only.

/// Up to so many children are compared one by one.
const FEW: usize = 2;
/// A slot with nothing in it.
const FREE: u32 = u32::MAX;

/// Texts with a number each. Open addressing over the sorted texts; nothing a stranger sends is ever put in.
#[derive(Debug, Default)]
pub(super) struct Table {
    sorted: Box<[(Box<str>, u32)]>,
    /// Places in `sorted`, by hash; a power of two, at least twice as many as texts.
    slots: Box<[u32]>,
}

impl Table {
    /// A table of texts in their order, each there once.
    pub(super) fn of(sorted: Vec<(Box<str>, u32)>) -> Self {
        if sorted.len() <= FEW {
            return Self { sorted: sorted.into(), slots: Box::default() };
        }
        let mut slots = vec![FREE; (sorted.len() * 2).next_power_of_two()];
        for (place, (text, _)) in sorted.iter().enumerate() {
            let mut at = start(text, slots.len());
            while slots[at] != FREE {
                at = (at + 1) & (slots.len() - 1);
            }
            slots[at] = u32::try_from(place).expect("a file has fewer lines");
        }
        Self { sorted: sorted.into(), slots: slots.into() }
    }

    /// The number of a text.
    pub(super) fn get(&self, text: &str) -> Option<u32> {
        if self.slots.is_empty() {
            return self.sorted.iter().find(|(known, _)| **known == *text).map(|(_, number)| *number);
        }
        let mut at = start(text, self.slots.len());
        loop {
            let place = self.slots[at];
            if place == FREE {
                return None;
            }
            let (known, number) = &self.sorted[place as usize];
            if **known == *text {
                return Some(*number);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// All texts in their order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, u32)> {
        self.sorted.iter().map(|(text, number)| (&**text, *number))
    }
}

/// Where the search for a text begins: FNV-1a, folded.
fn start(text: &str, slots: usize) -> usize {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    let folded = (hash ^ (hash >> 32)) & (slots as u64 - 1);
    usize::try_from(folded).expect("less than the number of slots")
}

#[cfg(test)]
mod tests {
    //! What was put in is found, what was not is not.
    use super::*;

    #[test]
    fn every_text_is_found_and_no_other() {
        for count in [0, 1, 2, 3, 10, 1_000] {
            let mut texts: Vec<Box<str>> = (0..count).map(|n| format!("level-{n}").into()).collect();
            texts.sort();
            let table = Table::of(texts.iter().cloned().zip(0..).collect());
            for (text, number) in texts.iter().zip(0..) {
                assert_eq!(table.get(text), Some(number), "{text} of {count}");
            }
            assert_eq!((table.get(""), table.get("level-"), table.get("level-1000")), (None, None, None));
            assert!(table.iter().map(|(text, _)| text).eq(texts.iter().map(|text| &**text)));
        }
    }
}

//! References to what waits for a session, 24 bytes each and in order: messages that the journal keeps, and places of
//! some that are in memory.
//!
//! Called by `session/queue`. Never holds a message.

use std::collections::VecDeque;

use motte_mqtt::Qos;

use crate::journal::Position;
use crate::message::Origin;
use crate::restore::StoredRef;
use crate::shard::{Millis, ShardId};

/// References allocated at once, so that a long queue never moves in memory as a whole.
const CHUNK: usize = 256;

/// Bits of the time of acceptance: 557 years.
const ACCEPTED_BITS: u32 = 44;
const EXACTLY_ONCE: u64 = 1 << 63;
const SHARED: u64 = 1 << 62;
const IN_MEMORY: u64 = 1 << 61;

/// One reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    /// The position of its origin, or its number among those in memory.
    position: u64,
    /// From above: flags, the shard of its origin, when it was accepted.
    rest: u64,
    weight_bytes: u32,
    /// Seconds from acceptance to expiry, rounded up; `u32::MAX` for never.
    expiry_s: u32,
}

/// What a reference stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// A message that the journal keeps.
    Stored(StoredRef),
    /// A message in memory, by its number.
    InMemory(u64),
}

impl Packed {
    /// A message that the journal keeps.
    pub(super) fn stored(of: &StoredRef) -> Self {
        let StoredRef { origin, qos, is_shared, .. } = *of;
        let flag = |is: bool, bit: u64| if is { bit } else { 0 };
        let flags = flag(qos == Qos::ExactlyOnce, EXACTLY_ONCE) | flag(is_shared, SHARED);
        Self::new(origin.position.0, flags | u64::from(origin.shard.0) << ACCEPTED_BITS, of)
    }

    /// A message in memory that is as `like`.
    pub(super) fn in_memory(number: u64, like: &StoredRef) -> Self {
        Self::new(number, IN_MEMORY, like)
    }

    fn new(position: u64, flags: u64, of: &StoredRef) -> Self {
        let accepted = of.accepted.0.min((1 << ACCEPTED_BITS) - 1);
        let expiry_s = of.expires.map(|at| at.0.saturating_sub(of.accepted.0).div_ceil(1_000));
        Self {
            position,
            rest: flags | accepted,
            weight_bytes: of.weight_bytes,
            expiry_s: expiry_s.and_then(|s| u32::try_from(s).ok()).unwrap_or(u32::MAX),
        }
    }

    /// What it stands for.
    pub(super) fn meant(self) -> Meant {
        if self.rest & IN_MEMORY != 0 {
            return Meant::InMemory(self.position);
        }
        let shard = (self.rest >> ACCEPTED_BITS) & u64::from(u16::MAX);
        let shard = ShardId(u16::try_from(shard).expect("sixteen bits are left"));
        Meant::Stored(StoredRef {
            origin: Origin { shard, position: Position(self.position) },
            qos: if self.rest & EXACTLY_ONCE != 0 { Qos::ExactlyOnce } else { Qos::AtLeastOnce },
            is_shared: self.rest & SHARED != 0,
            weight_bytes: self.weight_bytes,
            accepted: self.accepted(),
            expires: self.expires(),
        })
    }

    /// The message, if it is one of a group that the journal keeps.
    pub(super) fn shared(self) -> Option<StoredRef> {
        match self.meant() {
            Meant::Stored(stored) if stored.is_shared => Some(stored),
            Meant::Stored(_) | Meant::InMemory(_) => None,
        }
    }

    /// Bytes that count against byte limits.
    pub(super) fn weight(self) -> u64 {
        u64::from(self.weight_bytes)
    }

    /// When it was accepted.
    pub(super) fn accepted(self) -> Millis {
        Millis(self.rest & ((1 << ACCEPTED_BITS) - 1))
    }

    /// When it expires.
    pub(super) fn expires(self) -> Option<Millis> {
        (self.expiry_s != u32::MAX).then(|| self.accepted().plus_s(self.expiry_s))
    }
}

/// References in order.
#[derive(Debug, Default)]
pub(super) struct Refs {
    /// None of them is empty.
    chunks: VecDeque<VecDeque<Packed>>,
    len: usize,
}

impl Refs {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn front(&self) -> Option<Packed> {
        self.chunks.front()?.front().copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Packed> {
        self.chunks.iter().flatten().copied()
    }

    pub(super) fn push_back(&mut self, packed: Packed) {
        match self.chunks.back_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => chunk.push_back(packed),
            None => self.chunks.push_back([packed].into()),
        }
        self.len += 1;
    }

    pub(super) fn push_front(&mut self, packed: Packed) {
        match self.chunks.front_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => chunk.push_front(packed),
            None => self.chunks.push_front([packed].into()),
        }
        self.len += 1;
    }

    pub(super) fn pop_front(&mut self) -> Option<Packed> {
        let chunk = self.chunks.front_mut()?;
        let packed = chunk.pop_front()?;
        if chunk.is_empty() {
            self.chunks.pop_front();
        }
        self.len -= 1;
        Some(packed)
    }

    /// Puts others behind its own.
    pub(super) fn append(&mut self, mut others: Self) {
        self.chunks.append(&mut others.chunks);
        self.len += others.len;
    }

    /// Leaves those that pass, in order.
    pub(super) fn retain(&mut self, mut passes: impl FnMut(Packed) -> bool) {
        let mut len = 0;
        self.chunks.retain_mut(|chunk| {
            let before = chunk.len();
            chunk.retain(|&packed| passes(packed));
            if chunk.len() < before {
                chunk.shrink_to_fit();
            }
            len += chunk.len();
            !chunk.is_empty()
        });
        self.len = len;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop")]
    use proptest::prelude::*;

    use super::*;

    fn stored(position: u64) -> StoredRef {
        StoredRef {
            origin: Origin { shard: ShardId(7), position: Position(position) },
            qos: Qos::AtLeastOnce,
            is_shared: false,
            weight_bytes: 100,
            accepted: Millis(5),
            expires: None,
        }
    }

    #[test]
    fn a_reference_takes_24_bytes_and_loses_nothing() {
        assert_eq!(size_of::<Packed>(), 24);
        for (qos, is_shared) in [(Qos::AtLeastOnce, true), (Qos::ExactlyOnce, false), (Qos::ExactlyOnce, true)] {
            for (shard, accepted) in [(0, 0), (u16::MAX, (1 << 44) - 1)] {
                for expiry_s in [None, Some(0), Some(u32::MAX - 1)] {
                    let accepted = Millis(accepted);
                    let origin = Origin { shard: ShardId(shard), position: Position(u64::MAX) };
                    let expires = expiry_s.map(|s| accepted.plus_s(s));
                    let of = StoredRef { origin, qos, is_shared, weight_bytes: u32::MAX, accepted, expires };
                    assert_eq!(Packed::stored(&of).meant(), Meant::Stored(of));
                }
            }
        }
        assert_eq!(Packed::in_memory(9, &stored(1)).meant(), Meant::InMemory(9));
    }

    proptest! {
        #[test]
        fn references_are_a_list_in_chunks(steps in prop::collection::vec((0_u8..5, 1_u64..600), 0..40)) {
            let (mut refs, mut plain) = (Refs::default(), VecDeque::new());
            for (step, count) in steps {
                match step {
                    0 => (0..count).for_each(|n| {
                        refs.push_back(Packed::stored(&stored(n)));
                        plain.push_back(n);
                    }),
                    1 => (0..count).for_each(|n| {
                        refs.push_front(Packed::stored(&stored(n)));
                        plain.push_front(n);
                    }),
                    2 => for _ in 0..count {
                        prop_assert_eq!(refs.pop_front().map(|packed| packed.position), plain.pop_front());
                    },
                    3 => {
                        let mut others = Refs::default();
                        others.push_back(Packed::stored(&stored(count)));
                        refs.append(others);
                        plain.push_back(count);
                    }
                    _ => {
                        refs.retain(|packed| packed.position % count != 0);
                        plain.retain(|n| n % count != 0);
                    }
                }
                prop_assert_eq!(refs.len(), plain.len());
                prop_assert_eq!(refs.front().map(|packed| packed.position), plain.front().copied());
                prop_assert!(refs.iter().map(|packed| packed.position).eq(plain.iter().copied()));
            }
        }
    }
}

//! Numbers from a seed (SplitMix64), the same in every run and on every machine, or from a list of choices.
//!
//! Used by the plan and the world for every choice they make.

/// The generator.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
    /// Taken first, a byte for each choice among at most 256; a fuzzer writes them.
    choices: std::vec::IntoIter<u8>,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, choices: Vec::new().into_iter() }
    }

    /// These choices, and when they are used up those of seed 0.
    pub(crate) fn choices(bytes: &[u8]) -> Self {
        Self { state: 0, choices: Vec::from(bytes).into_iter() }
    }

    /// Another generator that this one decides, without drawing from it.
    pub(crate) fn fork(&self) -> Self {
        let of_choices = self.choices.as_slice().iter();
        let state =
            of_choices.fold(self.state, |state, byte| (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        Self { state: state ^ 0x6a09_e667_f3bc_c908, choices: Vec::new().into_iter() }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `end - 1`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        if let Some(first) = self.choices.next() {
            let second = if end > 256 { self.choices.next().unwrap_or(0) } else { 0 };
            return usize::from(u16::from_be_bytes([second, first])) % end;
        }
        usize::try_from(self.next() % end as u64).expect("less than a number that fits")
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, of_hundred: usize) -> bool {
        self.below(100) < of_hundred
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

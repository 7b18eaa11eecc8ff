//! Which shards are behind with what this one wrote to them, and whose reading waits until they caught up.
//!
//! Kept by the outlets, asked by the link tasks. Only a shard that lags holds publishers up, and only those that feed
//! it; a client that does not read never does.

/// Shards of a node, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardSet([u64; 4]);

impl ShardSet {
    fn bit(shard: usize) -> (usize, u64) {
        (shard / 64, 1 << (shard % 64))
    }

    /// Adds a shard. The settings allow no more shards than there are bits.
    pub(crate) fn insert(&mut self, shard: usize) {
        let (word, bit) = Self::bit(shard);
        self.0[word] |= bit;
    }

    fn remove(&mut self, shard: usize) {
        let (word, bit) = Self::bit(shard);
        self.0[word] &= !bit;
    }

    fn contains(self, shard: usize) -> bool {
        let (word, bit) = Self::bit(shard);
        self.0[word] & bit != 0
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn meets(self, other: Self) -> bool {
        self.0.iter().zip(other.0).any(|(own, other)| own & other != 0)
    }
}

/// The state of one writing shard.
#[derive(Debug)]
pub(crate) struct Pressure {
    /// Bytes that may wait at a shard before those who feed it are not read any more.
    bytes_max: usize,
    behind: ShardSet,
    /// Whether twice as much waits somewhere: then nobody is read, whoever they feed.
    flooded: bool,
    fed: ShardSet,
}

impl Pressure {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, behind: ShardSet::default(), flooded: false, fed: ShardSet::default() }
    }

    /// A turn is over; what it wrote is told next.
    pub(crate) fn on_turn(&mut self) {
        self.fed = ShardSet::default();
    }

    /// The turn wrote to a shard, where so many bytes wait now.
    pub(crate) fn on_posted(&mut self, shard: usize, waiting: usize) {
        self.fed.insert(shard);
        if waiting > self.bytes_max {
            self.behind.insert(shard);
            self.flooded |= waiting / 2 > self.bytes_max;
        }
    }

    /// Whom the last turn wrote to.
    pub(crate) fn fed(&self) -> ShardSet {
        self.fed
    }

    /// Whether a client that feeds these shards has to wait.
    pub(crate) fn holds_up(&self, feeds: ShardSet) -> bool {
        self.flooded || self.behind.meets(feeds)
    }

    /// Whether any shard is behind.
    pub(crate) fn is_on(&self) -> bool {
        !self.behind.is_empty()
    }

    /// Looks at what waits at the `shards` there are; tells whether anybody may be read again who had to wait.
    pub(crate) fn relieve(&mut self, shards: usize, waiting: impl Fn(usize) -> usize) -> bool {
        if !self.is_on() {
            return false;
        }
        let before = (self.behind, self.flooded);
        for shard in (0..shards).filter(|&shard| before.0.contains(shard)) {
            if waiting(shard) <= self.bytes_max / 2 {
                self.behind.remove(shard);
            }
        }
        self.flooded &= (0..shards).any(|shard| self.behind.contains(shard) && waiting(shard) > self.bytes_max);
        before != (self.behind, self.flooded)
    }
}

#[cfg(test)]
mod tests {
    use super::{Pressure, ShardSet};

    fn set(shards: &[usize]) -> ShardSet {
        let mut set = ShardSet::default();
        shards.iter().for_each(|&shard| set.insert(shard));
        set
    }

    #[test]
    fn only_those_who_feed_a_shard_that_is_behind_wait_for_it() {
        let mut pressure = Pressure::new(100);
        pressure.on_turn();
        pressure.on_posted(1, 100);
        pressure.on_posted(200, 101);
        assert_eq!(pressure.fed(), set(&[1, 200]));
        assert!(pressure.is_on() && pressure.holds_up(set(&[200])) && pressure.holds_up(set(&[1, 200])));
        assert!(!pressure.holds_up(set(&[1, 3])) && !pressure.holds_up(ShardSet::default()));
        assert!(!pressure.relieve(256, |_| 51), "half of the bound is where reading goes on");
        assert!(pressure.relieve(256, |_| 50) && !pressure.is_on() && !pressure.holds_up(set(&[200])));
        pressure.on_turn();
        assert!(pressure.fed().is_empty() && !pressure.relieve(256, |_| 0));
    }

    #[test]
    fn beyond_twice_the_bound_nobody_is_read() {
        let mut pressure = Pressure::new(100);
        pressure.on_posted(1, 202);
        assert!(pressure.holds_up(ShardSet::default()));
        assert!(pressure.relieve(2, |_| 100) && !pressure.holds_up(ShardSet::default()));
        assert!(pressure.holds_up(set(&[1])));
    }
}

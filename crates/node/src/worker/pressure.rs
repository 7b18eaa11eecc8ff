//! Which shards are behind with what this one wrote to them, whether the journal is, and whose reading waits until they
//! caught up.
//!
//! Kept by the outlets, asked for each link before it is read. Only a shard or a journal that lags holds clients up,
//! and only those that feed it; a client that does not read never does.

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

/// What a client makes work for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Feeds {
    shards: ShardSet,
    journal: bool,
}

impl Feeds {
    /// Whether it makes work for nobody but its own shard.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Bytes of records of one shard that may wait for the disk before the clients that write more of them are not read.
/// Some times what a slow disk takes in the time of a commit, so that it never runs dry.
const JOURNAL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The state of one writing shard.
#[derive(Debug)]
pub(crate) struct Pressure {
    /// Bytes that may wait at a shard before those who feed it are not read any more.
    bytes_max: usize,
    behind: ShardSet,
    /// Whether twice as much waits somewhere: then nobody is read, whoever they feed.
    flooded: bool,
    /// Whether too many records wait for the disk.
    journal_behind: bool,
    fed: Feeds,
}

impl Pressure {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let behind = ShardSet::default();
        Self { bytes_max, behind, flooded: false, journal_behind: false, fed: Feeds::default() }
    }

    /// A turn begins; what it writes is told next.
    pub(crate) fn on_turn(&mut self) {
        self.fed = Feeds::default();
    }

    /// The turn wrote to the journal, where so many bytes wait for the disk now.
    pub(crate) fn on_journal(&mut self, waiting: usize) {
        self.fed.journal = true;
        self.journal_behind |= waiting > JOURNAL_BYTES_MAX;
    }

    /// The turn wrote to a shard.
    pub(crate) fn on_letter(&mut self, shard: usize) {
        self.fed.shards.insert(shard);
    }

    /// Letters were posted to a shard, where so many bytes wait now.
    pub(crate) fn on_posted(&mut self, shard: usize, waiting: usize) {
        if waiting > self.bytes_max {
            self.behind.insert(shard);
            self.flooded |= waiting / 2 > self.bytes_max;
        }
    }

    /// Whom the turn wrote to.
    pub(crate) fn fed(&self) -> Feeds {
        self.fed
    }

    /// Whether a client that feeds these has to wait.
    pub(crate) fn holds_up(&self, feeds: Feeds) -> bool {
        self.is_on() && (self.flooded || self.behind.meets(feeds.shards) || self.journal_behind && feeds.journal)
    }

    /// Whether any shard or the journal is behind.
    pub(crate) fn is_on(&self) -> bool {
        self.journal_behind || !self.behind.is_empty()
    }

    /// Looks at what waits for the disk, and at the `shards` there are; tells whether anybody may be read again who had
    /// to wait.
    pub(crate) fn relieve(&mut self, journal: usize, shards: usize, waiting: impl Fn(usize) -> usize) -> bool {
        if !self.is_on() {
            return false;
        }
        let before = (self.behind, self.flooded, self.journal_behind);
        self.journal_behind &= journal > JOURNAL_BYTES_MAX / 2;
        for shard in (0..shards).filter(|&shard| before.0.contains(shard)) {
            if waiting(shard) <= self.bytes_max / 2 {
                self.behind.remove(shard);
            }
        }
        self.flooded &= (0..shards).any(|shard| self.behind.contains(shard) && waiting(shard) > self.bytes_max);
        before != (self.behind, self.flooded, self.journal_behind)
    }
}

#[cfg(test)]
mod tests {
    use super::{Feeds, JOURNAL_BYTES_MAX, Pressure, ShardSet};

    fn set(shards: &[usize]) -> Feeds {
        let mut set = ShardSet::default();
        shards.iter().for_each(|&shard| set.insert(shard));
        Feeds { shards: set, journal: false }
    }

    #[test]
    fn only_those_who_feed_a_shard_that_is_behind_wait_for_it() {
        let mut pressure = Pressure::new(100);
        pressure.on_turn();
        for (shard, waiting) in [(1, 100), (200, 101)] {
            pressure.on_letter(shard);
            pressure.on_posted(shard, waiting);
        }
        assert_eq!(pressure.fed(), set(&[1, 200]));
        assert!(pressure.is_on() && pressure.holds_up(set(&[200])) && pressure.holds_up(set(&[1, 200])));
        assert!(!pressure.holds_up(set(&[1, 3])) && !pressure.holds_up(Feeds::default()));
        assert!(!pressure.relieve(0, 256, |_| 51), "half of the bound is where reading goes on");
        assert!(pressure.relieve(0, 256, |_| 50) && !pressure.is_on() && !pressure.holds_up(set(&[200])));
        pressure.on_turn();
        assert!(pressure.fed().is_empty() && !pressure.relieve(0, 256, |_| 0));
    }

    #[test]
    fn beyond_twice_the_bound_nobody_is_read() {
        let mut pressure = Pressure::new(100);
        pressure.on_posted(1, 202);
        assert!(pressure.holds_up(Feeds::default()));
        assert!(pressure.relieve(0, 2, |_| 100) && !pressure.holds_up(Feeds::default()));
        assert!(pressure.holds_up(set(&[1])));
    }

    #[test]
    fn r04_a_slow_disk_holds_up_those_alone_who_write_to_the_journal() {
        let mut pressure = Pressure::new(100);
        pressure.on_turn();
        assert!(pressure.fed().is_empty());
        pressure.on_journal(JOURNAL_BYTES_MAX);
        let writer = pressure.fed();
        assert!(!writer.is_empty() && !pressure.is_on() && !pressure.holds_up(writer));
        pressure.on_journal(JOURNAL_BYTES_MAX + 1);
        assert!(pressure.is_on() && pressure.holds_up(writer));
        assert!(!pressure.holds_up(set(&[0, 1])) && !pressure.holds_up(Feeds::default()));
        assert!(!pressure.relieve(JOURNAL_BYTES_MAX / 2 + 1, 2, |_| 0) && pressure.holds_up(writer));
        assert!(pressure.relieve(JOURNAL_BYTES_MAX / 2, 2, |_| 0) && !pressure.is_on() && !pressure.holds_up(writer));
    }
}

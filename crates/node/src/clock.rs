//! The one clock of the node: monotonic milliseconds that go on over restarts, as far as the store remembers them.
//!
//! Read by the shard workers and handed to the broker as an argument. The time of day is for what has dates only.

use std::time::{Duration, Instant, SystemTime};

use motte_broker::Millis;

/// The time of day, in seconds of Unix time.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// What it showed at the start.
    first: Millis,
}

impl Clock {
    /// A clock that shows `first` now.
    pub(crate) fn starting_at(first: Millis) -> Self {
        Self { start: Instant::now(), first }
    }

    /// Milliseconds now.
    pub(crate) fn now(&self) -> Millis {
        self.first.plus_ms(u64::try_from(self.uptime().as_millis()).unwrap_or(u64::MAX))
    }

    /// How long ago it was started.
    pub(crate) fn uptime(&self) -> Duration {
        self.start.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use motte_broker::Millis;

    use super::Clock;

    #[test]
    fn r15_a_clock_goes_on_from_where_it_was() {
        let first = Millis(30 * 24 * 3_600 * 1_000);
        let clock = Clock::starting_at(first);
        assert!(first <= clock.now() && clock.now() < first.plus_s(60));
        assert_eq!(Clock::starting_at(Millis(u64::MAX)).now(), Millis(u64::MAX));
    }
}

//! The one clock of the node: monotonic milliseconds since it started.
//!
//! Read by the shard workers and handed to the broker as an argument. Never tells the time of day.

use std::time::{Duration, Instant};

use motte_broker::Millis;

/// A monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts at zero.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Milliseconds since the start.
    pub(crate) fn now(&self) -> Millis {
        Millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The instant of a reading, for timers of the runtime. `None` when it is too far away to be expressed.
    pub(crate) fn instant(&self, at: Millis) -> Option<Instant> {
        self.start.checked_add(Duration::from_millis(at.0))
    }
}

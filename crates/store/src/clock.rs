//! The clock that goes on over restarts: which time it is after the node was away.
//!
//! Called by [`crate::Store::open`]. What the clocks of the machine say is an argument, so that tests move them.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use motte_broker::Millis;

/// The longest time away that is believed. Longer is a clock that was set wrong, and would expire everything.
const AWAY_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What the clocks of the machine say at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Milliseconds of the wall clock since 1970.
    pub wall_ms: u64,
    /// Milliseconds since the machine was started, sleep included.
    pub since_boot_ms: u64,
    /// Which start of the machine that was; 0 where nothing tells.
    pub boot_id: u128,
}

/// Reads the clocks of the machine.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Reading + Send + Sync>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl Clock {
    /// Clocks that say what `read` returns.
    pub fn new(read: impl Fn() -> Reading + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The clocks of this machine.
    #[must_use]
    pub fn system() -> Self {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .ok()
            .and_then(|text| u128::from_str_radix(&text.trim().replace('-', ""), 16).ok())
            .unwrap_or(0);
        Self::new(move || Reading { wall_ms: wall_ms(), since_boot_ms: since_boot_ms(), boot_id })
    }

    pub(crate) fn read(&self) -> Reading {
        (self.0)()
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn since_boot_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

/// How long the node was away, and how that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Away {
    /// The store is new.
    #[default]
    Never,
    /// The machine was not started anew; its own clock tells, which nobody can set.
    SameBoot(Duration),
    /// By the wall clock.
    ByWallClock(Duration),
    /// The wall clock says more than 30 days, or that it went back; counted as no time. In milliseconds.
    NotBelieved(i128),
}

/// Where the clock of the node starts when it stood at `last` as the machine read `then`, and how long that is after.
/// A new run is strictly later than the last.
pub(crate) fn resume(last: Millis, then: Reading, now: Reading) -> (Millis, Away) {
    let same_boot = then.boot_id == now.boot_id && then.boot_id != 0;
    let away = match now.since_boot_ms.checked_sub(then.since_boot_ms) {
        Some(ms) if same_boot => Away::SameBoot(Duration::from_millis(ms)),
        _ => by_wall_clock(then, now),
    };
    let moved_ms = match away {
        Away::SameBoot(by) | Away::ByWallClock(by) => u64::try_from(by.as_millis()).unwrap_or(0),
        Away::Never | Away::NotBelieved(_) => 0,
    };
    (last.plus_ms(moved_ms).plus_ms(1), away)
}

fn by_wall_clock(then: Reading, now: Reading) -> Away {
    match now.wall_ms.checked_sub(then.wall_ms).map(Duration::from_millis) {
        Some(away) if away <= AWAY_MAX => Away::ByWallClock(away),
        _ => Away::NotBelieved(i128::from(now.wall_ms) - i128::from(then.wall_ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: Reading = Reading { wall_ms: 1_000_000_000, since_boot_ms: 5_000, boot_id: 7 };

    #[test]
    fn r15_on_the_same_boot_the_wall_clock_may_jump() {
        for wall_ms in [0, THEN.wall_ms, THEN.wall_ms + 315_360_000_000] {
            let now = Reading { wall_ms, since_boot_ms: 8_000, boot_id: 7 };
            assert_eq!(
                resume(Millis(100), THEN, now),
                (Millis(3_101), Away::SameBoot(Duration::from_secs(3))),
                "{wall_ms}"
            );
        }
    }

    #[test]
    fn r15_after_another_boot_the_wall_clock_is_believed_for_thirty_days() {
        let after = |ms: i64| Reading {
            wall_ms: THEN.wall_ms.checked_add_signed(ms).expect("small"),
            since_boot_ms: 1,
            boot_id: 8,
        };
        let month_ms = 30 * 24 * 60 * 60 * 1_000;
        assert_eq!(resume(Millis(1), THEN, after(2_500)).0, Millis(2_502));
        assert_eq!(resume(Millis(1), THEN, after(month_ms)).0, Millis(2 + month_ms.unsigned_abs()));
        assert_eq!(
            resume(Millis(1), THEN, after(month_ms + 1)),
            (Millis(2), Away::NotBelieved(i128::from(month_ms) + 1))
        );
        assert_eq!(resume(Millis(1), THEN, after(-1)), (Millis(2), Away::NotBelieved(-1)));
    }

    #[test]
    fn r15_a_boot_that_has_no_name_is_another_one() {
        let nameless = Reading { boot_id: 0, ..THEN };
        assert_eq!(
            resume(Millis(9), nameless, Reading { since_boot_ms: 6_000, ..nameless }),
            (Millis(10), Away::ByWallClock(Duration::ZERO))
        );
    }

    #[test]
    fn the_clocks_of_this_machine_go_on() {
        let clock = Clock::system();
        let (first, second) = (clock.read(), clock.read());
        assert!(first.wall_ms > 1_700_000_000_000 && first.since_boot_ms > 0);
        assert!(second.since_boot_ms >= first.since_boot_ms && second.boot_id == first.boot_id);
    }
}

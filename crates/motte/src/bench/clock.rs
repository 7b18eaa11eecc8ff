//! Time of a run: nanoseconds since it began, and when the next message of an open loop is due.
//!
//! Called by `flow`. A timer of the kernel wakes the loop to the microsecond, which the timeout of `epoll` does not.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::crew::Crew;
use super::flow::Load;
use super::measure::whole;
use super::net::Net;
use super::publisher::Pace;

/// Longest time without a look at the clock.
const TURN_MAX: Duration = Duration::from_millis(100);
/// Stands for the timer among the connections.
const TIMER: Token = Token(usize::MAX);

/// When things are due.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) began: Instant,
    open: Option<OpenLoop>,
}

#[derive(Debug)]
struct OpenLoop {
    interval_ns: f64,
    released: u64,
    /// The publisher whose message is due next.
    next: usize,
    count: u64,
    timer: OwnedFd,
}

impl Schedule {
    /// The run begins now.
    pub(crate) fn new(load: &Load, net: &Net) -> io::Result<Self> {
        let open = match load.rate {
            None => None,
            Some(rate) => {
                let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
                net.poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
                let count = if let super::flow::Length::Count(count) = load.length { count } else { u64::MAX };
                Some(OpenLoop { interval_ns: 1e9 / rate, released: 0, next: 0, count, timer })
            }
        };
        Ok(Self { began: Instant::now(), open })
    }

    /// The pace of a load; `None` in a closed loop.
    pub(crate) fn pace(load: &Load) -> Option<Pace> {
        load.rate.map(|rate| Pace { interval_ns: 1e9 / rate, publishers: load.publishers as u64 })
    }

    /// Nanoseconds since the run began.
    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Lets publishers send what is due by now.
    pub(crate) fn release(&mut self, now: Instant, crew: &mut Crew) {
        let Some(open) = &mut self.open else { return };
        let since_ns = now.duration_since(self.began).as_nanos() as f64;
        let target = (whole(since_ns / open.interval_ns) + 1).min(open.count);
        while open.released < target {
            let number = open.next;
            open.next = (number + 1) % crew.publishers.len();
            let publisher = &mut crew.publishers[number];
            publisher.due += 1;
            crew.net.wake(publisher.slot);
            open.released += 1;
        }
    }

    /// How long a turn may wait at most. Sets the timer where that is less than `epoll` can be asked for.
    pub(crate) fn timeout(&self, now: Instant, spin: bool) -> Duration {
        if spin {
            return Duration::ZERO;
        }
        let Some(open) = &self.open else { return TURN_MAX };
        let due = Duration::from_nanos(whole(open.released as f64 * open.interval_ns));
        let wait = (self.began + due).saturating_duration_since(now).max(Duration::from_nanos(1));
        let spec = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() },
        };
        // A timer that cannot be set leaves the timeout, which is only less exact.
        match timerfd_settime(open.timer.as_fd(), TimerfdTimerFlags::empty(), &spec) {
            Ok(_) => TURN_MAX,
            Err(_) => wait.min(TURN_MAX),
        }
    }
}

//! How far a long command is: one line on standard error that is written over, on a terminal only.
//!
//! Used by the commands of `store`. Says nothing in the first moments, so that short work stays quiet.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use motte_store::tools::Step;

/// Work that takes less long says nothing.
const QUIET: Duration = Duration::from_millis(500);
/// How often the line is written.
const EVERY: Duration = Duration::from_millis(200);

/// A line that says how far the work is.
pub(super) struct Progress {
    what: &'static str,
    is_terminal: bool,
    next: Instant,
    is_shown: bool,
}

impl Progress {
    /// Nothing is shown yet.
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, is_terminal: io::stderr().is_terminal(), next: Instant::now() + QUIET, is_shown: false }
    }

    /// What the work calls with each step.
    pub(super) fn tell(&mut self) -> impl FnMut(Step) + '_ {
        |step| self.step(step)
    }

    fn step(&mut self, step: Step) {
        if !self.is_terminal || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + EVERY;
        self.is_shown = true;
        let of = step.of.map(|of| format!(" of {of}")).unwrap_or_default();
        // When standard error is gone there is nobody left to tell.
        let _ = write!(io::stderr(), "\r\x1b[K{}: {}{of} messages", self.what, step.messages);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

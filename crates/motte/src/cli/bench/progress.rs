//! A bar on standard error that says how far a load is, on a terminal only.
//!
//! Used by the commands of `bench`. Gone when the load is over.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Instant;

use crate::bench::flow::Progress;
use crate::bench::measure::whole;

/// Characters of the bar.
const WIDTH: usize = 30;

/// The bar.
#[derive(Debug)]
pub(super) struct Bar {
    is_terminal: bool,
    is_shown: bool,
    before: Option<(Instant, u64)>,
}

impl Bar {
    /// Nothing is shown yet.
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), is_shown: false, before: None }
    }

    /// Shows how far it is.
    pub(super) fn show(&mut self, progress: Progress, unit: &str) {
        if !self.is_terminal {
            return;
        }
        let now = Instant::now();
        let rate = self.before.map_or(0.0, |(then, messages)| {
            progress.messages.saturating_sub(messages) as f64 / now.duration_since(then).as_secs_f64().max(1e-9)
        });
        self.before = Some((now, progress.messages));
        self.is_shown = true;
        let bar = progress.part.map_or_else(|| "waiting for the rest".to_owned(), drawn);
        // When standard error is gone there is nobody left to tell.
        let _ = write!(io::stderr(), "\r\x1b[K{bar}  {} {unit}/s", super::report::grouped(whole(rate)));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn drawn(part: f64) -> String {
    let part = part.clamp(0.0, 1.0);
    let full = usize::try_from(whole(part * WIDTH as f64)).unwrap_or(WIDTH).min(WIDTH);
    format!("[{}{}] {:3.0} %", "█".repeat(full), "·".repeat(WIDTH - full), part * 100.0)
}

#[cfg(test)]
mod tests {
    use super::drawn;

    #[test]
    fn a_bar_is_as_full_as_the_work_is_done() {
        assert_eq!(drawn(0.5), "[███████████████···············]  50 %");
        assert!(drawn(7.0).ends_with("█] 100 %") && drawn(-1.0).starts_with("[·"));
    }
}

//! Knows when the broker has nothing left to do.
//!
//! Asked between two steps of the conversation. Reads the process table; never touches the broker.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// How long to look away between two looks. There is no event for "that process sleeps", so it is asked.
const PAUSE: Duration = Duration::from_micros(100);

/// Looks at one process.
pub(crate) struct Quiet {
    tasks: PathBuf,
}

impl Quiet {
    /// Looks at the process of this number.
    pub(crate) fn of(pid: u32) -> Self {
        Self { tasks: PathBuf::from(format!("/proc/{pid}/task")) }
    }

    /// Comes back when every thread sleeps and none has run between two looks.
    pub(crate) fn wait(&self) {
        let mut before = None;
        loop {
            let now = self.switches();
            if now.is_some() && now == before {
                return;
            }
            before = now;
            thread::sleep(PAUSE);
        }
    }

    /// How often its threads were put to sleep; `None` while one of them is awake.
    fn switches(&self) -> Option<u64> {
        let mut switches = 0;
        for task in fs::read_dir(&self.tasks).expect("the broker runs") {
            let status = fs::read_to_string(task.ok()?.path().join("status")).ok()?;
            let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            if !field("State:")?.starts_with('S') {
                return None;
            }
            for name in ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"] {
                switches += field(name)?.parse::<u64>().ok()?;
            }
        }
        Some(switches)
    }
}

//! What the store is told when it is opened.
//!
//! Filled in by `node` from the configuration.

use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Clock;
use crate::crash::CrashPoint;

/// Free bytes on the file system that are left for making room: 8 MiB.
pub const RESERVE_BYTES: u64 = 8 << 20;

/// When records become durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Acknowledgements wait for the commit that holds their record.
    #[default]
    Sync,
    /// Everything counts as durable at once and is committed this often: a power cut costs what came since.
    Interval(Duration),
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its files are. Made when it does not exist, with mode 0700.
    pub directory: PathBuf,
    /// When records become durable.
    pub mode: Mode,
    /// Above this many bytes of kept data no new messages, sessions and subscriptions are taken.
    pub bytes_max: Option<u64>,
    /// Free bytes on the file system below which the same holds.
    pub reserve_bytes: u64,
    /// Where the process kills itself; for tests.
    pub crash_at: Option<CrashPoint>,
    /// The clocks of the machine.
    pub clock: Clock,
}

impl Options {
    /// The defaults for a directory.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            mode: Mode::Sync,
            bytes_max: None,
            reserve_bytes: RESERVE_BYTES,
            crash_at: None,
            clock: Clock::system(),
        }
    }
}

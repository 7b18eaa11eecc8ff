//! What survives a restart, a crash and a power cut, and where it is kept.
//!
//! Made by `config`, read by boot, which opens the store, and by the `$SYS` tree.

use std::path::PathBuf;
use std::time::Duration;

use motte_store::{CrashPoint, RESERVE_BYTES};

/// How the node keeps what it acknowledges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurabilitySettings {
    /// When what was acknowledged is safe.
    pub mode: DurabilityMode,
    /// The directory of the store. Nothing is read or written there in mode `memory`.
    pub directory: PathBuf,
    /// Bytes of sessions and messages the store may keep; `None`: as many as the disk takes.
    pub bytes_max: Option<u64>,
    /// Bytes of the disk that are left free, so that what was settled can always be removed.
    pub reserve_bytes: u64,
    /// Where the broker kills itself, for tests of crashes. Only under `[danger]`.
    pub crash_at: Option<CrashPoint>,
}

/// The control socket in the directory of the store.
pub(crate) const CONTROL_SOCKET: &str = "control.sock";

/// The time between two commits in mode `interval` unless the configuration says otherwise.
pub const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// When what was acknowledged is safe from a crash and a power cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DurabilityMode {
    /// Before it is acknowledged.
    #[default]
    Sync,
    /// So much later.
    Interval(Duration),
    /// Never.
    Memory,
}

impl DurabilitySettings {
    /// The default: everything in `directory` before it is acknowledged.
    #[must_use]
    pub fn sync(directory: PathBuf) -> Self {
        Self { mode: DurabilityMode::Sync, directory, bytes_max: None, reserve_bytes: RESERVE_BYTES, crash_at: None }
    }

    /// The control socket where the settings name none: beside the store, which belongs to one broker.
    pub(crate) fn control_socket(&self) -> Option<PathBuf> {
        (self.mode != DurabilityMode::Memory).then(|| self.directory.join(CONTROL_SOCKET))
    }

    /// Nothing is kept.
    #[must_use]
    pub fn memory() -> Self {
        Self { mode: DurabilityMode::Memory, ..Self::sync(PathBuf::new()) }
    }
}

impl DurabilityMode {
    /// The mode as it stands in the configuration, in the log and in the `$SYS` tree.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Interval(_) => "interval",
            Self::Memory => "memory",
        }
    }

    /// What of that which was acknowledged can be lost; `None`: nothing.
    #[must_use]
    pub fn loses(self) -> Option<String> {
        match self {
            Self::Sync => None,
            Self::Interval(interval) => {
                let ms = interval.as_millis();
                Some(format!("a crash or a power cut loses what was acknowledged in the last {ms} ms"))
            }
            Self::Memory => Some(String::from(
                "every stop, crash or power cut loses all sessions, queued and retained messages and pending wills",
            )),
        }
    }
}

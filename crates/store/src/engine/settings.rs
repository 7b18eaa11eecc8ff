//! What an engine is told when it is opened, and how it says that it can go on no longer.
//!
//! Filled in by [`crate::Store`], the simulator and tests.

use std::sync::Arc;

use crate::clock::Clock;
use crate::codec::Malformed;
use crate::crash::CrashPoint;
use crate::options::RESERVE_BYTES;

/// What an engine is told when it is opened.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The clocks of the machine.
    pub clock: Clock,
    /// Above this many bytes of kept data there is no room for more.
    pub bytes_max: Option<u64>,
    /// Free bytes below which there is no room for more.
    pub reserve_bytes: u64,
    /// How many bytes are free on the disk.
    pub free: FreeBytes,
    /// Whether positions count as durable at once.
    pub acknowledges_at_once: bool,
    /// Where the process kills itself.
    pub crash_at: Option<CrashPoint>,
}

/// Tells how many bytes are free on a disk; `None` when that is not known.
#[derive(Clone)]
pub struct FreeBytes(pub Arc<dyn Fn() -> Option<u64> + Send + Sync>);

impl std::fmt::Debug for FreeBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FreeBytes")
    }
}

impl Settings {
    /// The defaults, on a disk that is never full.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            bytes_max: None,
            reserve_bytes: RESERVE_BYTES,
            free: FreeBytes(Arc::new(|| None)),
            acknowledges_at_once: false,
            crash_at: None,
        }
    }
}

/// A write failed, or the store was found damaged while it was used. Final: nothing is kept by this engine any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub String);

impl From<Malformed> for Failed {
    fn from(error: Malformed) -> Self {
        Self(format!("the store is damaged: {error}"))
    }
}

macro_rules! failed_from {
    ($($error:ty),*) => { $(impl From<$error> for Failed {
        fn from(error: $error) -> Self {
            Self(error.to_string())
        }
    })* };
}
failed_from!(redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);

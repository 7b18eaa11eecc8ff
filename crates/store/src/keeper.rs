//! The thread that makes records durable: takes what the shards handed over, commits it in one go, tells the shards.
//!
//! Started by [`crate::Store::start`], stopped by `node` after the shards have ended.

use std::time::Duration;

use motte_broker::{Fetched, JournalState, ShardId};

/// What the keeper tells.
#[derive(Debug)]
pub enum Notice {
    /// Records of this shard that somebody may wait for have become durable.
    Durable(ShardId),
    /// What this shard asked for was read back.
    Fetched(ShardId, Fetched),
    /// Whether promises can be made has changed.
    State(JournalState),
}

/// How the store is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Whether promises can be made.
    pub state: JournalState,
    /// Bytes of kept data.
    pub bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Messages that are owed, one for each session that is owed it.
    pub owed: u64,
    /// Commits since the start.
    pub commits: u64,
    /// How long the last commit took.
    pub last_commit: Duration,
    /// How long the longest commit took.
    pub longest_commit: Duration,
    /// Bytes written to the file since the start.
    pub written_bytes: u64,
}

/// Why the last records could not be made durable.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// A write failed, now or before.
    #[error("the store could not be written: {0} — hint: look after the disk; what was not acknowledged is not kept")]
    Failed(String),
    /// The thread panicked.
    #[error("the keeper of the store ended unexpectedly — hint: report it with the lines of the log before it")]
    Panicked,
}

/// The running keeper.
#[derive(Debug)]
pub struct Keeper {}

impl Keeper {
    /// Commits what was handed over, closes the store in order and joins the thread.
    ///
    /// # Errors
    /// Not everything that was handed over is durable.
    pub fn stop(self) -> Result<(), StopError> {
        Ok(())
    }

    /// How the store is doing.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures::default()
    }
}

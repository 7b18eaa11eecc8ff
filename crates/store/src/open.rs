//! What opening a store gives, or why it cannot be opened.
//!
//! Shown by `node` at the start: in its log, or as the error it ends with.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use motte_broker::{Millis, Restored};

use crate::clock::Away;
use crate::store::Store;

/// An open store and what was in it.
#[derive(Debug)]
pub struct Opened {
    /// The store; nothing is kept before it is started.
    pub store: Store,
    /// Everything that was kept.
    pub restored: Restored,
    /// Where the clock of the node starts.
    pub clock: Millis,
    /// What there is to say about it.
    pub report: OpenReport,
}

/// What there is to say about a store that was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Whether it was made just now.
    pub is_new: bool,
    /// How long the node was away.
    pub away: Away,
    /// Whether it was not closed in order the last time.
    pub was_unclean: bool,
    /// Sessions.
    pub sessions: u64,
    /// Messages that wait in queues or were sent and not finished; one for each session that is owed it.
    pub owed: u64,
    /// Retained messages.
    pub retained: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// How long opening took.
    pub took: Duration,
}

/// Why a store cannot be opened. One that is refused as damaged or too new stays as it is, to the byte.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "{} is in use by another process — hint: stop the other broker, or give this one a directory of its own",
        directory.display()
    )]
    Locked {
        /// The directory.
        directory: PathBuf,
    },
    /// What is stored is not what was written.
    #[error("{what} — hint: run motte store check, then motte store repair")]
    Corrupt {
        /// Where, and what is wrong.
        what: String,
    },
    /// It was written by a later version of Motte.
    #[error(
        "the store has format {version}, this motte knows up to {} — hint: use the motte that wrote it, or export the \
         data with that one and import it with this",
        crate::FORMAT
    )]
    TooNew {
        /// Its format.
        version: u32,
    },
    /// The directory or the file cannot be used.
    #[error(
        "{what}: {source} — hint: the directory must be writable for the user motte runs as, and its disk must work"
    )]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

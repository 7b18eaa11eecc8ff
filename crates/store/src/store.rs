//! An open store before its keeper runs.
//!
//! Opened and started once by `node`.

use std::io;

use crate::journal::ShardJournal;
use crate::keeper::{Keeper, Notice};
use crate::open::{OpenError, Opened};
use crate::options::Options;

/// An open store. The directory is locked as long as it or its [`Keeper`] lives.
#[derive(Debug)]
pub struct Store {}

impl Store {
    /// Opens the store of a directory, makes it where there is none, and reads everything that is kept.
    ///
    /// # Errors
    /// Another process uses it, it is damaged, of a later version, or cannot be read or written.
    pub fn open(options: &Options) -> Result<Opened, OpenError> {
        let what = format!("opening {}", options.directory.display());
        Err(OpenError::Io { what, source: io::ErrorKind::Unsupported.into() })
    }

    /// Starts the keeper and gives each shard its journal. `notify` is called on the keeper's thread and must not
    /// block.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(self, shards: u16, notify: Box<dyn Fn(Notice) + Send>) -> io::Result<(Keeper, Vec<ShardJournal>)> {
        let _ = (shards, notify);
        Err(io::ErrorKind::Unsupported.into())
    }
}

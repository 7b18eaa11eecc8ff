//! An open store before its keeper runs.
//!
//! Opened and started once by `node`.

use std::io;

use crate::clock::Away;
use crate::engine::{Engine, OpenedEngine, Settings};
use crate::file;
use crate::journal::ShardJournal;
use crate::keeper::{Keeper, Notice};
use crate::open::{OpenError, OpenReport, Opened};
use crate::options::{Mode, Options};
use crate::reserve::Reserve;

/// An open store. The directory is locked as long as it or its [`Keeper`] lives.
#[derive(Debug)]
pub struct Store {
    engine: Engine,
    mode: Mode,
}

impl Store {
    /// Opens the store of a directory, makes it where there is none, and reads everything that is kept.
    ///
    /// # Errors
    /// Another process uses it, it is damaged, of a later version, or cannot be read or written.
    pub fn open(options: &Options) -> Result<Opened, OpenError> {
        let lock = file::lock(&options.directory)?;
        let settings = Settings {
            clock: options.clock.clone(),
            bytes_max: options.bytes_max,
            reserve_bytes: options.reserve_bytes,
            free: file::free_bytes(&lock),
            acknowledges_at_once: matches!(options.mode, Mode::Interval(_)),
            crash_at: options.crash_at,
        };
        let mut reserve = Reserve::of(&options.directory, options.reserve_bytes);
        // Opening writes a little.
        if (settings.free.0)().is_some_and(|free| free < options.reserve_bytes / 2) {
            reserve.give_up();
        }
        let (disk, is_new) = file::disk(&options.directory, &lock, &settings)?;
        let OpenedEngine { mut engine, restored, clock, report } = Engine::open(disk, settings)?;
        engine.hold(reserve);
        let away = if is_new { Away::Never } else { report.away };
        let report = OpenReport { is_new, away, ..report };
        Ok(Opened { store: Self { engine, mode: options.mode }, restored, clock, report })
    }

    /// Starts the keeper and gives each shard its journal. `notify` is called on the keeper's thread and must not
    /// block.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(mut self, shards: u16, notify: Box<dyn Fn(Notice) + Send>) -> io::Result<(Keeper, Vec<ShardJournal>)> {
        let journals = self.engine.journals(shards);
        Ok((Keeper::start(self.engine, self.mode, notify)?, journals))
    }
}

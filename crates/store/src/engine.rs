//! The engine: what is kept, and how it gets to a disk and back. A plain value, driven by calls.
//!
//! Driven by the keeper's thread, by the simulator and by tests, on any [`StorageBackend`]. Holds in memory which
//! messages each session is owed and which blocks are needed, never a message.

mod apply;
mod compact;
mod fetch;
mod logs;
mod recover;
mod sessions;
mod write;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use motte_broker::{JournalState, Millis, Restored, ShardId};
use redb::{Builder, Database, StorageBackend, TableDefinition};

use crate::batch::Batch;
use crate::block::BlockKey;
use crate::clock::{self, Away, Clock, Reading};
use crate::codec::Malformed;
use crate::crash::{Crash, CrashName, CrashPoint};
use crate::guard::{self, Guard, Header, Meter};
use crate::intake::{Intake, Seat};
use crate::journal::ShardJournal;
use crate::keeper::{Figures, Notice};
use crate::open::{OpenError, OpenReport};
use crate::options::RESERVE_BYTES;
use apply::{Kept, Text};
use logs::Logs;
use sessions::Sessions;
use write::Ending;

pub(crate) const BLOCKS: TableDefinition<'_, &BlockKey, &[u8]> = TableDefinition::new("blocks");
pub(crate) const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

/// Pages the storage engine may keep in memory: 24 MiB.
const CACHE_BYTES: usize = 24 << 20;
/// Records of one commit: about 8 MiB.
const COMMIT_BYTES: usize = 8 << 20;
/// What a commit takes on the disk besides: 256 KiB for the tree and the small rows.
const COMMIT_BYTES_FIXED: u64 = 256 << 10;

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

/// What the engine knows.
#[derive(Debug, Default)]
pub(crate) struct State {
    logs: Logs,
    sessions: Sessions,
    retained: HashMap<Text, Kept>,
    /// Serials of topics that were cleared a moment ago.
    cleared: HashMap<Text, (u64, Millis)>,
    cleared_order: VecDeque<(Millis, Text)>,
    removals: BTreeMap<Text, Millis>,
    next_session: u32,
    commits: u64,
    now: Millis,
    reading: Reading,
    owed: u64,
    block_bytes: u64,
    row_bytes: u64,
    /// Rows to be written or deleted with this commit.
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Sessions that ended with this commit.
    closed: Vec<u32>,
    /// Blocks to be rewritten: since when, log, first position.
    sparse: VecDeque<(Millis, u16, u64)>,
    /// Whether this commit deletes or rewrites blocks.
    is_compacting: bool,
    /// Where the targets of a message stand, and their names.
    targets: Vec<(usize, u32)>,
}

/// An open store, driven by calls.
#[derive(Debug)]
pub struct Engine {
    database: Option<Database>,
    disk: Arc<dyn StorageBackend>,
    state: State,
    settings: Settings,
    crash: Arc<Crash>,
    meter: Arc<Meter>,
    intake: Arc<Intake>,
    seats: Vec<Arc<Seat>>,
    figures: Figures,
    /// Whether the last commit is one that is never taken for a torn one.
    is_sealed: bool,
    failure: Option<Failed>,
}

/// An open engine and what was kept.
#[derive(Debug)]
pub struct OpenedEngine {
    /// The engine.
    pub engine: Engine,
    /// Everything that was kept.
    pub restored: Restored,
    /// Where the clock of the node starts.
    pub clock: Millis,
    /// What there is to say about it.
    pub report: OpenReport,
}

impl Engine {
    /// Opens the store on a disk, or makes it on an empty one. Every byte is verified: the storage engine checks the
    /// sums of all its pages, and each row and block has its own.
    ///
    /// # Errors
    /// The disk cannot be read or written, what is on it is damaged, or of a later version.
    pub fn open(disk: impl StorageBackend, settings: Settings) -> Result<OpenedEngine, OpenError> {
        // The storage engine promises to name damage and not to panic when it checks at the opening. Should it panic
        // all the same, bytes from the disk do not end the process.
        catch_unwind(AssertUnwindSafe(|| Self::open_checked(disk, settings)))
            .unwrap_or_else(|_| Err(corrupt("the storage engine cannot make sense of its file")))
    }

    fn open_checked(disk: impl StorageBackend, settings: Settings) -> Result<OpenedEngine, OpenError> {
        let start = Instant::now();
        let disk = Arc::new(disk);
        let is_new = match guard::read_header(&*disk).map_err(|source| io("reading the header of the store", source))? {
            Header::Store(version) if version > crate::FORMAT => return Err(OpenError::TooNew { version }),
            Header::Store(_) => false,
            Header::Empty => true,
            Header::Foreign => return Err(corrupt("header: it is not that of a store")),
        };
        let witnessed = guard::read_witness(&*disk).map_err(|source| io("reading the header of the store", source))?;
        let (meter, crash) = (Arc::new(Meter::default()), Arc::new(Crash::new(settings.crash_at)));
        let guarded = Guard::new(Arc::clone(&disk), Arc::clone(&meter), Arc::clone(&crash));
        let database = open_database(guarded)?;
        let mut state = State::default();
        let (restored, mut report) = state.recover(&database, is_new)?;
        if is_new {
            let written = state.write(&database, &[], Ending::Open, &crash);
            written.map_err(|Failed(what)| io("making the store", std::io::Error::other(what)))?;
            guard::write_header(&*disk, crate::FORMAT)
                .map_err(|source| io("writing the header of the store", source))?;
        }
        if state.commits < witnessed {
            let (found, lost) = (state.commits, witnessed - state.commits);
            return Err(corrupt(&format!("commit {found} is the last that is whole, and {lost} came after it")));
        }
        let now = settings.clock.read();
        let (clock, away) =
            if is_new { (Millis(0), Away::Never) } else { clock::resume(state.now, state.reading, now) };
        (state.now, state.reading) = (clock, now);
        let file_bytes = disk.len().unwrap_or(0);
        report = OpenReport { away, file_bytes, took: start.elapsed(), ..report };
        let mut engine = Self {
            database: Some(database),
            disk,
            state,
            settings,
            crash,
            meter,
            intake: Arc::default(),
            seats: Vec::new(),
            figures: Figures { file_bytes, ..Figures::default() },
            is_sealed: true,
            failure: None,
        };
        engine.look_for_room();
        Ok(OpenedEngine { engine, restored, clock, report })
    }

    /// The journal of each shard. Called once.
    pub fn journals(&mut self, shards: u16) -> Vec<ShardJournal> {
        let last = self.state.logs.iter().map(|(number, _)| number).max().unwrap_or(0);
        for number in 0..shards.max(last.saturating_add(1)) {
            let seat = Seat::default();
            seat.durable.store(self.state.logs.get(number).map_or(0, |log| log.end), Ordering::Release);
            self.seats.push(Arc::new(seat));
        }
        let journal = |(seat, shard): (&Arc<Seat>, u16)| {
            let (seat, intake, clock) = (Arc::clone(seat), Arc::clone(&self.intake), self.settings.clock.clone());
            ShardJournal::kept(ShardId(shard), seat, intake, clock, self.settings.acknowledges_at_once)
        };
        self.seats.iter().zip(0..shards).map(journal).collect()
    }

    /// Makes durable what was handed over first, up to `batches_max` batches; tells whom to notify. Does nothing when
    /// nothing was handed over.
    ///
    /// # Errors
    /// It failed now or before.
    pub fn commit(&mut self, batches_max: usize) -> Result<Vec<Notice>, Failed> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let mut batches = self.intake.take(batches_max, COMMIT_BYTES);
        if batches.is_empty() {
            self.state.pass_time(self.settings.clock.read());
        }
        // Who only reads waits for no disk: all that was handed over before is durable.
        let has_records = batches.iter().any(|batch| !batch.records.is_empty());
        if has_records || self.state.has_due() {
            self.keep_timed(&mut batches)?;
        } else if batches.is_empty() {
            return Ok(Vec::new());
        }
        let notices = self.tell(&mut batches)?;
        self.intake.give_back(batches);
        Ok(notices)
    }

    fn keep_timed(&mut self, batches: &mut [Batch]) -> Result<(), Failed> {
        let start = Instant::now();
        self.keep(batches, Ending::Open)?;
        let took = start.elapsed();
        self.figures.commits += 1;
        self.figures.last_commit = took;
        self.figures.longest_commit = self.figures.longest_commit.max(took);
        Ok(())
    }

    /// Applies and writes. A panic of the storage engine, which damage that came after the opening could cause, is a
    /// failure like any other.
    fn keep(&mut self, batches: &mut [Batch], ending: Ending) -> Result<(), Failed> {
        let done = catch_unwind(AssertUnwindSafe(|| {
            let database = self.database.as_ref().ok_or_else(|| Failed("the store is closed".to_owned()))?;
            for (index, batch) in batches.iter_mut().enumerate() {
                self.state.apply(index, batch)?;
            }
            self.state.write(database, batches, ending, &self.crash)?;
            guard::write_witness(&*self.disk, self.state.commits).map_err(|error| Failed(error.to_string()))
        }));
        let done = done.unwrap_or_else(|_| Err(Failed("the storage engine panicked".to_owned())));
        self.is_sealed = ending != Ending::Open;
        done.map_err(|failure| self.fail(failure))
    }

    fn fail(&mut self, failure: Failed) -> Failed {
        self.failure = Some(failure.clone());
        self.intake.set_state(JournalState::Failed);
        self.figures.state = JournalState::Failed;
        failure
    }

    /// Lets the shards know what has become durable, and answers what they asked for.
    fn tell(&mut self, batches: &mut [Batch]) -> Result<Vec<Notice>, Failed> {
        self.crash.pass(CrashName::BeforeAck);
        let mut waiting = vec![false; self.seats.len()];
        for batch in batches.iter() {
            let shard = usize::from(batch.shard.0);
            self.seats[shard].durable.store(batch.end, Ordering::Release);
            self.seats[shard].backlog.fetch_sub(batch.records.len(), Ordering::Relaxed);
            waiting[shard] |= batch.waits;
        }
        let durable =
            waiting.iter().zip(0..).filter(|(waits, _)| **waits).map(|(_, shard)| Notice::Durable(ShardId(shard)));
        let mut notices: Vec<_> = durable.collect();
        for batch in batches {
            for fetch in std::mem::take(&mut batch.fetches) {
                let fetched = self.fetch(fetch).map_err(|failure| self.fail(failure))?;
                notices.push(Notice::Fetched(batch.shard, fetched));
            }
        }
        notices.extend(self.look_for_room().map(Notice::State));
        Ok(notices)
    }

    /// Looks whether there is room for more; tells when that has changed.
    pub fn look_for_room(&mut self) -> Option<JournalState> {
        let bytes = self.state.block_bytes + self.state.row_bytes;
        let margin = self.settings.reserve_bytes + (self.settings.reserve_bytes / 2);
        let is_full = self.settings.bytes_max.is_some_and(|max| bytes >= max)
            || (self.settings.free.0)().is_some_and(|free| free < margin);
        let state = if is_full { JournalState::Full } else { JournalState::Ready };
        self.figures.bytes = bytes;
        if !self.intake.set_state(state) {
            return None;
        }
        self.figures.state = state;
        Some(state)
    }

    /// Whether what was handed over can be written without using up the disk.
    pub(crate) fn has_room_to_commit(&self) -> bool {
        // Pages are written anew and not in place, and half filled at worst.
        let needed = 2 * self.intake.bytes().min(COMMIT_BYTES) as u64 + COMMIT_BYTES_FIXED;
        (self.settings.free.0)().is_none_or(|free| free >= needed.min(self.settings.reserve_bytes))
    }

    /// Makes the last commit one that damage is never taken for the end of: the storage engine goes back by one commit
    /// when the last was cut off by a crash, and cannot tell that from damage unless it was written in two steps.
    ///
    /// # Errors
    /// It failed now or before.
    pub fn seal(&mut self) -> Result<(), Failed> {
        if self.is_sealed || self.failure.is_some() {
            return Ok(());
        }
        self.keep(&mut [], Ending::Sealed)
    }

    /// How the store is doing.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            owed: self.state.owed,
            sessions: self.state.sessions.len() as u64,
            written_bytes: self.meter.written_bytes.load(Ordering::Relaxed),
            ..self.figures
        }
    }

    pub(crate) fn intake(&self) -> Arc<Intake> {
        Arc::clone(&self.intake)
    }

    /// Commits what was handed over and closes the store in order.
    ///
    /// # Errors
    /// Not everything that was handed over is durable.
    pub fn close(mut self) -> Result<(), Failed> {
        while !self.intake.is_empty() {
            self.commit(usize::MAX)?;
        }
        self.keep(&mut [], Ending::Closed)?;
        let Some(database) = self.database.take() else { return Ok(()) };
        database.close().map_err(|error| Failed(error.to_string()))
    }
}

fn open_database(disk: impl StorageBackend) -> Result<Database, OpenError> {
    let opened = Builder::new().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).create_with_backend(disk);
    opened.map_err(|error| match error {
        // A file that is not its own is an error of input and output to the storage engine.
        redb::DatabaseError::Storage(redb::StorageError::Io(source)) if !is_damage(source.kind()) => {
            io("opening the store", source)
        }
        other => corrupt(&format!("storage engine: {other}")),
    })
}

/// Whether a disk with a blank header was never a store: what is behind the header is none of the storage engine's.
fn is_damage(kind: std::io::ErrorKind) -> bool {
    matches!(kind, std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
}

pub(crate) fn corrupt(what: &str) -> OpenError {
    OpenError::Corrupt { what: what.to_owned() }
}

pub(crate) fn io(what: &str, source: std::io::Error) -> OpenError {
    OpenError::Io { what: what.to_owned(), source }
}

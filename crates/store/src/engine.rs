//! The engine: what is kept, and how it gets to a disk and back. A plain value, driven by calls.
//!
//! Driven by the keeper's thread, by the simulator and by tests, on any [`StorageBackend`]. Holds in memory which
//! messages each session is owed and which blocks are needed, never a message.

mod apply;
mod compact;
mod fetch;
#[cfg(test)]
mod holds;
mod logs;
mod recover;
mod room;
mod sessions;
mod settings;
mod write;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use motte_broker::restore::Fetch;
use motte_broker::{JournalState, Millis, Restored, ShardId};
use redb::{Builder, Database, StorageBackend, TableDefinition};

use crate::batch::Batch;
use crate::block::BlockKey;
use crate::clock::{self, Away, Reading};
use crate::crash::{Crash, CrashName};
use crate::guard::{self, Guard, Header, Meter};
use crate::intake::{BYTES_MUCH, Intake, Seat};
use crate::journal::ShardJournal;
use crate::keeper::{Figures, Notice};
use crate::open::{OpenError, OpenReport};
use crate::reserve::Reserve;
use apply::{Kept, Text};
use logs::Logs;
use sessions::Sessions;
pub use settings::{Failed, FreeBytes, Settings};
use write::Ending;

pub(crate) const BLOCKS: TableDefinition<'_, &BlockKey, &[u8]> = TableDefinition::new("blocks");
pub(crate) const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

/// Pages the storage engine may keep in memory: 4 MiB. What is kept is hardly ever read, and then in order.
const CACHE_BYTES: usize = 4 << 20;
/// Records of one commit: about 2 MiB, so that what it takes on the disk stays within the reserve.
const COMMIT_BYTES: usize = 2 << 20;

/// What the engine knows.
#[derive(Debug, Default)]
pub(crate) struct State {
    logs: Logs,
    sessions: Sessions,
    retained: HashMap<Box<str>, Kept>,
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
    /// Taken in, and not durable.
    pending: Vec<Batch>,
    pending_bytes: usize,
    /// Whether somebody may wait for one of them.
    is_awaited: bool,
    /// What was asked for, and by which shard.
    fetches: Vec<(ShardId, Fetch)>,
    figures: Figures,
    /// Whether the last commit is one that is never taken for a torn one.
    is_sealed: bool,
    /// Bytes of kept data when the file was made as short as it can be, while there is no room.
    short_at: Option<u64>,
    /// Where there are files.
    reserve: Option<Reserve>,
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
        let written_as =
            match guard::read_header(&*disk).map_err(|source| io("reading the header of the store", source))? {
                Header::Store(version) if version > crate::FORMAT => return Err(OpenError::TooNew { version }),
                Header::Store(version) => Some(version),
                Header::Empty => None,
                Header::Foreign => return Err(corrupt("header: it is not that of a store")),
            };
        let is_new = written_as.is_none();
        let witnessed = guard::read_witness(&*disk).map_err(|source| io("reading the header of the store", source))?;
        let (meter, crash) = (Arc::new(Meter::default()), Arc::new(Crash::new(settings.crash_at)));
        let guarded = Guard::new(Arc::clone(&disk), Arc::clone(&meter), Arc::clone(&crash));
        if !is_new {
            meter.hold_back();
        }
        let database = open_database(guarded)?;
        let mut state = State::default();
        let (restored, mut report) = state.recover(&database, is_new)?;
        if is_new {
            let written = state.write(&database, &[], Ending::Open, &crash);
            written.map_err(|Failed(what)| io("making the store", std::io::Error::other(what)))?;
            guard::write_header(&*disk, crate::FORMAT)
                .map_err(|source| io("writing the header of the store", source))?;
        }
        if written_as.is_some_and(|version| version < crate::FORMAT) {
            // Whoever knows only the earlier format would take what is written from here on for damage.
            guard::write_header(&*disk, crate::FORMAT)
                .map_err(|source| io("writing the header of the store", source))?;
        }
        if state.commits < witnessed {
            let (found, lost) = (state.commits, witnessed - state.commits);
            return Err(corrupt(&format!("commit {found} is the last that is whole, and {lost} came after it")));
        }
        meter.let_go(&*disk).map_err(|source| io("opening the store", source))?;
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
            pending: Vec::new(),
            pending_bytes: 0,
            is_awaited: false,
            fetches: Vec::new(),
            figures: Figures { file_bytes, ..Figures::default() },
            is_sealed: true,
            short_at: None,
            reserve: None,
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
        // What was taken in before is a commit of its own: room was looked for it.
        let mut notices = if self.has_pending() { Vec::new() } else { self.take_in(batches_max)? };
        if self.pending.is_empty() {
            self.state.pass_time(self.settings.clock.read());
            if !self.state.has_due() {
                return Ok(notices);
            }
        }
        let start = Instant::now();
        self.guarded(|engine| engine.write(Ending::Open))?;
        notices.extend(self.tell()?);
        let took = start.elapsed();
        self.figures.commits += 1;
        self.figures.last_commit = took;
        self.figures.longest_commit = self.figures.longest_commit.max(took);
        Ok(notices)
    }

    /// Takes in what was handed over first, without making it durable. What somebody asked for and is in a block is
    /// answered: whoever empties a queue does not wait for the disk to note what is done.
    ///
    /// # Errors
    /// It failed now or before.
    pub(crate) fn take_in(&mut self, batches_max: usize) -> Result<Vec<Notice>, Failed> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let taken = self.intake.take(batches_max, COMMIT_BYTES);
        self.guarded(|engine| {
            for mut batch in taken {
                engine.pending_bytes += batch.records.len();
                engine.is_awaited |= batch.waits;
                engine.state.apply(engine.pending.len(), &mut batch)?;
                let fetches = std::mem::take(&mut batch.fetches);
                engine.fetches.extend(fetches.into_iter().map(|fetch| (batch.shard, fetch)));
                // Who only reads waits for no disk.
                if !batch.records.is_empty() {
                    engine.pending.push(batch);
                }
            }
            let (unwritten, written) = std::mem::take(&mut engine.fetches)
                .into_iter()
                .partition(|(_, fetch)| fetch.origins.iter().any(|origin| engine.state.logs.is_staged(*origin)));
            engine.fetches = unwritten;
            engine.answer(written)
        })
    }

    /// Whether what was taken in is to be made durable now and not a little later.
    pub(crate) fn is_urgent(&self) -> bool {
        self.is_awaited || !self.fetches.is_empty() || self.pending_bytes >= BYTES_MUCH
    }

    /// Whether something was taken in that is not durable.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Does something with the storage engine. A panic of it, which damage that came after the opening could cause, is
    /// a failure like any other.
    fn guarded<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, Failed>) -> Result<T, Failed> {
        let done = catch_unwind(AssertUnwindSafe(|| act(self)));
        let done = done.unwrap_or_else(|_| Err(Failed("the storage engine panicked".to_owned())));
        done.map_err(|failure| self.fail(failure))
    }

    fn write(&mut self, ending: Ending) -> Result<(), Failed> {
        let database = self.database.as_ref().ok_or_else(|| Failed("the store is closed".to_owned()))?;
        self.is_sealed = ending != Ending::Open;
        self.state.write(database, &self.pending, ending, &self.crash)?;
        guard::write_witness(&*self.disk, self.state.commits).map_err(|error| Failed(error.to_string()))
    }

    fn fail(&mut self, failure: Failed) -> Failed {
        self.failure = Some(failure.clone());
        self.intake.set_state(JournalState::Failed);
        self.figures.state = JournalState::Failed;
        failure
    }

    /// Lets the shards know what has become durable, and answers what they asked for.
    fn tell(&mut self) -> Result<Vec<Notice>, Failed> {
        self.crash.pass(CrashName::BeforeAck);
        let mut waiting = vec![false; self.seats.len()];
        for batch in &self.pending {
            let shard = usize::from(batch.shard.0);
            self.seats[shard].durable.store(batch.end, Ordering::Release);
            self.seats[shard].backlog.fetch_sub(batch.records.len(), Ordering::Relaxed);
            waiting[shard] |= batch.waits;
        }
        self.intake.give_back(self.pending.drain(..));
        (self.pending_bytes, self.is_awaited) = (0, false);
        let shards = waiting.iter().zip(0..).filter(|(waits, _)| **waits).map(|(_, shard)| ShardId(shard));
        let mut notices: Vec<_> = shards.map(Notice::Durable).collect();
        let fetches = std::mem::take(&mut self.fetches);
        notices.extend(self.guarded(|engine| engine.answer(fetches))?);
        self.figures.file_bytes = self.disk.len().unwrap_or(self.figures.file_bytes);
        notices.extend(self.look_for_room().map(Notice::State));
        Ok(notices)
    }

    fn answer(&self, fetches: Vec<(ShardId, Fetch)>) -> Result<Vec<Notice>, Failed> {
        let answer = |(shard, fetch)| self.fetch(fetch).map(|fetched| Notice::Fetched(shard, fetched));
        fetches.into_iter().map(answer).collect()
    }

    /// Makes the last commit one that damage is never taken for the end of: the storage engine goes back by one commit
    /// when the last was cut off by a crash, and cannot tell that from damage unless it was written in two steps.
    ///
    /// # Errors
    /// It failed now or before.
    pub fn seal(&mut self) -> Result<(), Failed> {
        if self.is_sealed || self.failure.is_some() || self.has_pending() {
            return Ok(());
        }
        self.guarded(|engine| engine.write(Ending::Sealed))
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
        while !self.intake.is_empty() || self.has_pending() {
            self.commit(usize::MAX)?;
        }
        self.guarded(|engine| engine.write(Ending::Closed))?;
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

/// Whether an error of reading says that the bytes are wrong and not that they cannot be had.
fn is_damage(kind: std::io::ErrorKind) -> bool {
    matches!(kind, std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
}

pub(crate) fn corrupt(what: &str) -> OpenError {
    OpenError::Corrupt { what: what.to_owned() }
}

pub(crate) fn io(what: &str, source: std::io::Error) -> OpenError {
    OpenError::Io { what: what.to_owned(), source }
}

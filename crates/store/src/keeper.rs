//! The thread that makes records durable: takes what the shards handed over, commits it in one go, tells the shards.
//!
//! Started by [`crate::Store::start`], stopped by `node` after the shards have ended.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use motte_broker::{Fetched, JournalState, ShardId};

use crate::engine::{Engine, Failed};
use crate::intake::{Intake, Woken};
use crate::options::Mode;

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
    /// Sessions that are kept.
    pub sessions: u64,
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

/// Records that nobody waits for are committed after this time.
const LAZILY: Duration = Duration::from_millis(10);
/// After so long without a record the keeper looks after the store.
const IDLE: Duration = Duration::from_secs(1);
/// How often it looks whether there is room again.
const ROOM: Duration = Duration::from_millis(100);

/// The running keeper.
#[derive(Debug)]
pub struct Keeper {
    intake: Arc<Intake>,
    figures: Arc<Mutex<Figures>>,
    thread: Option<JoinHandle<Result<(), Failed>>>,
}

impl Keeper {
    pub(crate) fn start(engine: Engine, mode: Mode, notify: Box<dyn Fn(Notice) + Send>) -> io::Result<Self> {
        let intake = engine.intake();
        let figures = Arc::new(Mutex::new(engine.figures()));
        let lazily = match mode {
            Mode::Sync => LAZILY,
            Mode::Interval(interval) => interval,
        };
        let work = Work { engine, intake: Arc::clone(&intake), figures: Arc::clone(&figures), lazily, notify };
        let thread = std::thread::Builder::new().name("keeper".to_owned()).spawn(move || work.run())?;
        Ok(Self { intake, figures, thread: Some(thread) })
    }

    /// Commits what was handed over, closes the store in order and joins the thread.
    ///
    /// # Errors
    /// Not everything that was handed over is durable.
    pub fn stop(mut self) -> Result<(), StopError> {
        self.intake.stop();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Ok(()))) | None => Ok(()),
            Some(Ok(Err(Failed(what)))) => Err(StopError::Failed(what)),
            Some(Err(_)) => Err(StopError::Panicked),
        }
    }

    /// How the store is doing.
    #[must_use]
    pub fn figures(&self) -> Figures {
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.intake.stop();
    }
}

/// What the thread has.
struct Work {
    engine: Engine,
    intake: Arc<Intake>,
    figures: Arc<Mutex<Figures>>,
    lazily: Duration,
    notify: Box<dyn Fn(Notice) + Send>,
}

impl Work {
    fn run(mut self) -> Result<(), Failed> {
        let kept = self.keep();
        if kept.is_err() {
            self.show();
            (self.notify)(Notice::State(JournalState::Failed));
            // Shards go on handing over until they have ended; nothing of it is kept.
            while self.intake.wait(self.lazily, IDLE, false) != Woken::Stop {
                self.intake.take(usize::MAX, usize::MAX);
            }
            return kept;
        }
        self.engine.close()
    }

    /// Commits until it is told to stop.
    fn keep(&mut self) -> Result<(), Failed> {
        let mut since = None;
        loop {
            let lazily = since.map_or(self.lazily, |since: Instant| self.lazily.saturating_sub(since.elapsed()));
            match self.intake.wait(lazily, IDLE, since.is_some()) {
                Woken::Work => {
                    let notices = self.engine.take_in(usize::MAX)?;
                    self.tell(notices);
                    let first = *since.get_or_insert_with(Instant::now);
                    if !self.engine.is_urgent() && first.elapsed() < self.lazily {
                        continue;
                    }
                    if self.wait_for_room() {
                        self.commit()?;
                    }
                }
                Woken::Time => {
                    self.engine.seal()?;
                    self.commit()?;
                    self.look_for_room();
                }
                Woken::Stop => return self.finish(),
            }
            since = self.engine.has_pending().then(Instant::now);
        }
    }

    /// Makes everything durable that was handed over.
    fn finish(&mut self) -> Result<(), Failed> {
        while self.engine.has_pending() || !self.intake.is_empty() {
            if !self.engine.has_room_to_commit() {
                return Err(Failed("there is no room on the disk".to_owned()));
            }
            self.commit()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failed> {
        let notices = self.engine.commit(usize::MAX)?;
        self.tell(notices);
        self.show();
        Ok(())
    }

    fn tell(&self, notices: Vec<Notice>) {
        notices.into_iter().for_each(|notice| (self.notify)(notice));
    }

    fn look_for_room(&mut self) {
        if let Some(state) = self.engine.look_for_room() {
            self.show();
            (self.notify)(Notice::State(state));
        }
    }

    /// Waits until a commit does not meet the end of the disk. False when it is to stop instead.
    fn wait_for_room(&mut self) -> bool {
        while !self.engine.has_room_to_commit() {
            self.look_for_room();
            if self.intake.wait_for_stop(ROOM) {
                return false;
            }
        }
        true
    }

    fn show(&self) {
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = self.engine.figures();
    }
}

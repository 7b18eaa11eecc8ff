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
                    if self.wait_for_room()? {
                        self.commit()?;
                    }
                }
                Woken::Time => {
                    // Others may have filled the disk: what can wait is not written into the end of it.
                    if self.engine.has_room_to_commit() {
                        self.engine.seal()?;
                        self.commit()?;
                    }
                    self.look_for_room();
                    self.engine.renew_reserve();
                }
                Woken::Stop => return self.finish(),
            }
            since = self.engine.has_pending().then(Instant::now);
        }
    }

    /// Makes everything durable that was handed over.
    fn finish(&mut self) -> Result<(), Failed> {
        while self.engine.has_pending() || !self.intake.is_empty() {
            if !self.engine.has_pending() {
                let notices = self.engine.take_in(usize::MAX)?;
                self.tell(notices);
            }
            if !self.engine.finds_room_to_commit() {
                return Err(Failed("there is no room on the disk".to_owned()));
            }
            self.commit()?;
        }
        // The end is noted as well.
        self.engine.finds_room_to_commit();
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failed> {
        let notices = self.engine.commit(usize::MAX)?;
        self.tell(notices);
        self.make_room()?;
        self.show();
        Ok(())
    }

    fn make_room(&mut self) -> Result<(), Failed> {
        if self.engine.make_room()? {
            self.look_for_room();
        }
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

    /// Waits until a commit does not meet the end of the disk; what is to be read back is meanwhile. False when it is
    /// to stop instead.
    fn wait_for_room(&mut self) -> Result<bool, Failed> {
        while !self.engine.finds_room_to_commit() {
            self.look_for_room();
            self.make_room()?;
            if self.engine.can_take_more_in() {
                let notices = self.engine.take_in(usize::MAX)?;
                self.tell(notices);
            }
            if self.intake.wait_for_stop(ROOM) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn show(&self) {
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = self.engine.figures();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::{Receiver, channel};

    use motte_broker::policy::{ClientId, Identity, Subject};
    use motte_broker::restore::{Fetch, SessionKey};
    use motte_broker::{Journal, Millis, Origin, Position, Record};

    use super::*;
    use crate::clock::{Clock, Reading};
    use crate::disk::{Calls, Failure, Fault, SimDisk};
    use crate::engine::{FreeBytes, Settings};
    use crate::journal::ShardJournal;
    use crate::options::RESERVE_BYTES;
    use crate::reserve::{RESERVE_NAME, Reserve};

    struct Kit {
        disk: SimDisk,
        free: Arc<AtomicU64>,
        keeper: Keeper,
        journal: ShardJournal,
        told: Receiver<Notice>,
    }

    impl Kit {
        fn new(disk: SimDisk, mode: Mode) -> Self {
            Self::with_reserve(disk, mode, None)
        }

        /// With a reserve in this directory, which takes of what is free.
        fn with_reserve(disk: SimDisk, mode: Mode, directory: Option<&Path>) -> Self {
            let free = Arc::new(AtomicU64::new(1 << 40));
            let (read, reserve) = (Arc::clone(&free), directory.map(|directory| directory.join(RESERVE_NAME)));
            let is_given_up = move || reserve.as_ref().is_some_and(|reserve| !reserve.exists());
            let free_bytes = move || read.load(Ordering::Relaxed) + if is_given_up() { RESERVE_BYTES } else { 0 };
            let clock = Clock::new(|| Reading { wall_ms: 1, since_boot_ms: 1, boot_id: 1 });
            let settings = Settings {
                free: FreeBytes(Arc::new(move || Some(free_bytes()))),
                acknowledges_at_once: mode != Mode::Sync,
                ..Settings::new(clock)
            };
            let mut engine = Engine::open(disk.clone(), settings).expect("it opens").engine;
            if let Some(directory) = directory {
                engine.hold(Reserve::of(directory, RESERVE_BYTES));
            }
            let journal = engine.journals(1).pop().expect("one shard, one journal");
            let (tell, told) = channel();
            let notify = Box::new(move |notice| drop(tell.send(notice)));
            let keeper = Keeper::start(engine, mode, notify).expect("a thread starts");
            Self { disk, free, keeper, journal, told }
        }

        fn open_session(&mut self, client_id: &str) -> Position {
            let owner = Subject::new(Identity::Anonymous, ClientId(client_id.into()));
            let opened = Record::SessionOpened { owner: &owner, expiry_s: 9, mount_point: "" };
            let position = self.journal.append(&opened);
            self.journal.hand_over(Millis(1));
            position
        }

        fn told(&self) -> Notice {
            self.told.recv_timeout(Duration::from_secs(20)).expect("the keeper tells in time")
        }
    }

    fn sessions(disk: &SimDisk) -> usize {
        let settings = Settings::new(Clock::new(|| Reading { wall_ms: 1, since_boot_ms: 1, boot_id: 1 }));
        let image = disk.power_cut(&crate::disk::Cut::Nothing, &mut || 0);
        Engine::open(SimDisk::from_image(image), settings).expect("it opens").restored.sessions.len()
    }

    #[test]
    fn what_is_told_to_be_durable_survives_a_power_cut() {
        let mut kit = Kit::new(SimDisk::new(), Mode::Sync);
        let position = kit.open_session("a");
        assert!(matches!(kit.told(), Notice::Durable(ShardId(0))));
        assert_eq!((kit.journal.durable(), kit.journal.backlog_bytes()), (position, 0));
        assert_eq!(sessions(&kit.disk), 1);
        kit.open_session("b");
        kit.keeper.stop().expect("the disk works");
        assert_eq!(sessions(&kit.disk), 2);
    }

    #[test]
    fn in_mode_interval_nobody_waits_and_the_end_keeps_everything() {
        let mut kit = Kit::new(SimDisk::new(), Mode::Interval(Duration::from_secs(3_600)));
        let position = kit.open_session("a");
        assert_eq!(kit.journal.durable(), position);
        kit.keeper.stop().expect("the disk works");
        assert!(kit.told.try_recv().is_err(), "nobody is notified");
        assert_eq!(sessions(&kit.disk), 1);
    }

    #[test]
    fn in_mode_interval_everything_is_kept_after_the_interval() {
        let mut kit = Kit::new(SimDisk::new(), Mode::Interval(Duration::from_millis(5)));
        let before = kit.keeper.figures().commits;
        kit.open_session("a");
        while kit.keeper.figures().commits == before {
            std::thread::yield_now();
        }
        assert_eq!(sessions(&kit.disk), 1);
    }

    #[test]
    fn r04_a_failed_sync_is_final() {
        let mut kit = Kit::new(SimDisk::new(), Mode::Sync);
        kit.disk.fail(Some(Fault { calls: Calls::Sync, after: 0, times: 1, failure: Failure::Io }));
        kit.open_session("a");
        assert!(matches!(kit.told(), Notice::State(JournalState::Failed)));
        assert_eq!((kit.journal.state(), kit.journal.durable()), (JournalState::Failed, Position(0)));
        // The disk works again, and nothing is written to it any more.
        let calls = kit.disk.calls();
        kit.open_session("b");
        assert_eq!(kit.keeper.figures().state, JournalState::Failed);
        assert!(matches!(kit.keeper.stop(), Err(StopError::Failed(_))));
        assert_eq!((kit.journal.durable(), kit.disk.calls()), (Position(0), calls));
    }

    #[test]
    fn r03_a_full_disk_is_told_and_met_by_no_write() {
        let mut kit = Kit::new(SimDisk::new(), Mode::Sync);
        kit.free.store(11 << 20, Ordering::Relaxed);
        kit.open_session("a");
        // The reserve is for what was taken before, and for what makes room.
        assert!(matches!(kit.told(), Notice::Durable(_)));
        assert!(matches!(kit.told(), Notice::State(JournalState::Full)));
        kit.free.store(0, Ordering::Relaxed);
        let position = kit.open_session("b");
        assert_eq!(sessions(&kit.disk), 1);
        kit.free.store(1 << 30, Ordering::Relaxed);
        let both = [kit.told(), kit.told()];
        assert!(both.iter().any(|notice| matches!(notice, Notice::Durable(_))), "{both:?}");
        assert!(both.iter().any(|notice| matches!(notice, Notice::State(JournalState::Ready))), "{both:?}");
        assert_eq!((kit.journal.durable(), kit.journal.state()), (position, JournalState::Ready));
        kit.keeper.stop().expect("the disk works");
    }

    #[test]
    fn r03_without_a_free_byte_the_reserve_lets_it_go_on_and_is_made_again() {
        let directory = tempfile::tempdir().expect("a place for files");
        let reserve = directory.path().join(RESERVE_NAME);
        let mut kit = Kit::with_reserve(SimDisk::new(), Mode::Sync, Some(directory.path()));
        assert!(reserve.exists());
        kit.free.store(0, Ordering::Relaxed);
        let position = kit.open_session("a");
        let both = [kit.told(), kit.told()];
        assert!(both.iter().any(|notice| matches!(notice, Notice::Durable(_))), "{both:?}");
        assert!(both.iter().any(|notice| matches!(notice, Notice::State(JournalState::Full))), "{both:?}");
        assert_eq!((kit.journal.durable(), sessions(&kit.disk), reserve.exists()), (position, 1, false));
        kit.free.store(1 << 40, Ordering::Relaxed);
        assert!(matches!(kit.told(), Notice::State(JournalState::Ready)));
        while !reserve.exists() {
            std::thread::yield_now();
        }
        kit.keeper.stop().expect("the disk works");
    }

    #[test]
    fn r03_what_is_kept_is_read_back_while_there_is_no_room() {
        let mut kit = Kit::new(SimDisk::new(), Mode::Sync);
        kit.open_session("a");
        assert!(matches!(kit.told(), Notice::Durable(_)));
        kit.free.store(0, Ordering::Relaxed);
        kit.open_session("b");
        assert!(matches!(kit.told(), Notice::State(JournalState::Full)));
        let origin = Origin { shard: ShardId(0), position: Position(1) };
        let session = SessionKey::default();
        kit.journal.fetch(Fetch { session, client_id: "a".into(), origins: vec![origin] });
        kit.journal.hand_over(Millis(2));
        assert!(matches!(kit.told(), Notice::Fetched(ShardId(0), _)));
        assert_eq!((kit.journal.durable(), sessions(&kit.disk)), (Position(1), 1));
        drop(kit.keeper);
    }

    #[test]
    fn r03_a_stop_without_room_says_so() {
        let mut kit = Kit::new(SimDisk::new(), Mode::Sync);
        kit.free.store(0, Ordering::Relaxed);
        kit.open_session("a");
        let stopped = kit.keeper.stop().map_err(|error| error.to_string());
        assert!(stopped.is_err_and(|text| text.contains("no room on the disk")));
    }

    #[test]
    fn r03_a_message_that_is_larger_than_the_room_waits_for_it_and_is_told() {
        let mut kit = Kit::new(SimDisk::new(), Mode::Sync);
        kit.free.store(16 << 20, Ordering::Relaxed);
        let user = motte_broker::policy::UserName("x".repeat(9 << 20).into());
        kit.journal.append(&Record::UserRemoved { user: &user, at: Millis(1) });
        kit.journal.hand_over(Millis(1));
        assert!(matches!(kit.told(), Notice::State(JournalState::Full)));
        assert_eq!(kit.journal.durable(), Position(0));
        kit.free.store(1 << 30, Ordering::Relaxed);
        let both = [kit.told(), kit.told()];
        assert!(both.iter().any(|notice| matches!(notice, Notice::Durable(_))), "{both:?}");
        assert_eq!((kit.journal.durable(), kit.journal.state()), (Position(1), JournalState::Ready));
        kit.keeper.stop().expect("the disk works");
    }
}

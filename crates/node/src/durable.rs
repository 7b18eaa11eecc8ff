//! The store of a node: opened before anything listens, told of in the log, and its keeper's notices turned into mail.
//!
//! Called by boot. Decides nothing about records; in durability mode `memory` there is no store.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use motte_audit::{Event, EventKind};
use motte_broker::restore::RestoredSession;
use motte_broker::tenant::session_name;
use motte_broker::{JournalState, Millis, Restored, home};
use motte_store::{
    Away, Clock as MachineClock, Figures, Keeper, Mode, Notice, OpenError, OpenReport, Opened, Options, ShardJournal,
    StopError, Store,
};
use tokio::sync::mpsc::UnboundedSender;

use crate::control::Command;
use crate::log::{Entry, Reporter};
use crate::settings::{DurabilityMode, DurabilitySettings};
use crate::worker::mailbox::{Mail, Mailbox};

/// How often a start says that it still reads the store.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// What a node starts with.
#[derive(Debug)]
pub(crate) struct Kept {
    store: Option<Store>,
    /// Where the clock of the node starts.
    pub(crate) clock: Millis,
    restored: Restored,
}

/// Opens the store and says in the log what was in it.
///
/// # Errors
/// The store cannot be used.
pub(crate) fn open(settings: &DurabilitySettings, clock: MachineClock) -> Result<Kept, OpenError> {
    if let Some(loss) = settings.mode.loses() {
        tracing::warn!(durability = settings.mode.word(), loss, "what is acknowledged can be lost");
    }
    let mode = match settings.mode {
        DurabilityMode::Sync => Mode::Sync,
        DurabilityMode::Interval(interval) => Mode::Interval(interval),
        DurabilityMode::Memory => {
            return Ok(Kept { store: None, clock: Millis::default(), restored: Restored::default() });
        }
    };
    let options = Options {
        directory: settings.directory.clone(),
        mode,
        bytes_max: settings.bytes_max,
        reserve_bytes: settings.reserve_bytes,
        crash_at: settings.crash_at,
        clock,
    };
    let Opened { store, restored, clock, report } = open_patiently(&options)?;
    announce(settings, &report);
    Ok(Kept { store: Some(store), clock, restored })
}

/// Opens the store, and says every few seconds that it is at it.
fn open_patiently(options: &Options) -> Result<Opened, OpenError> {
    std::thread::scope(|scope| {
        let (opened, waiting) = channel::<()>();
        let say = move || {
            let begun = Instant::now();
            while let Err(RecvTimeoutError::Timeout) = waiting.recv_timeout(PROGRESS_INTERVAL) {
                tracing::info!(seconds = begun.elapsed().as_secs(), "the store is still being read");
            }
        };
        // Without the thread the start is silent and as good.
        let _ = std::thread::Builder::new().name(String::from("progress")).spawn_scoped(scope, say);
        let outcome = Store::open(options);
        drop(opened);
        outcome
    })
}

/// The line of the log about the store, and what is to be known about the time it was closed.
fn announce(settings: &DurabilitySettings, report: &OpenReport) {
    let away_s = match report.away {
        Away::Never => None,
        Away::SameBoot(away) | Away::ByWallClock(away) => Some(away.as_secs()),
        Away::NotBelieved(said_ms) => {
            let said_s = i64::try_from(said_ms / 1_000).unwrap_or(i64::MAX);
            tracing::warn!(
                said_s,
                hint = "check the clock of this machine",
                "the time since the broker last ran is not believed and counts as none: nothing expired in it"
            );
            None
        }
    };
    tracing::info!(
        durability = settings.mode.word(),
        directory = %settings.directory.display(),
        sessions = report.sessions,
        messages = report.owed,
        retained = report.retained,
        away_s,
        crashed = report.was_unclean,
        took_ms = u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
        "the store is open"
    );
}

/// What was kept, on its way to the shards.
#[derive(Debug)]
pub(crate) struct Inheritance {
    /// The journal of each shard and the sessions that live there now.
    pub(crate) shards: Vec<(ShardJournal, Vec<RestoredSession>)>,
    /// What is not of one session.
    pub(crate) common: Restored,
    /// The keeper.
    pub(crate) keeper: KeeperHandle,
}

impl Kept {
    /// Starts the keeper and gives each of `mailboxes.len()` shards what is its own.
    ///
    /// # Errors
    /// The system gave no thread.
    pub(crate) fn start(
        self,
        mailboxes: &Arc<[Mailbox]>,
        reporter: &Reporter,
        control: &UnboundedSender<Command>,
    ) -> std::io::Result<Inheritance> {
        let Self { store, mut restored, .. } = self;
        let shards = u16::try_from(mailboxes.len()).expect("the settings count shards in 16 bits");
        let (keeper, journals) = match store {
            None => (None, (0..shards).map(|_| ShardJournal::memory()).collect()),
            Some(store) => {
                let (mailboxes, reporter) = (Arc::clone(mailboxes), reporter.clone());
                let farewell = Farewell(control.clone());
                let notify = move |notice| {
                    let _lives_as_long_as_the_keeper = &farewell;
                    deliver(notice, &mailboxes, &reporter);
                };
                let (keeper, journals) = store.start(shards, Box::new(notify))?;
                (Some(keeper), journals)
            }
        };
        let mut shares: Vec<_> = journals.into_iter().map(|journal| (journal, Vec::new())).collect();
        for session in std::mem::take(&mut restored.sessions) {
            let shard = home(&session_name(&session.owner), shards);
            shares[usize::from(shard.0)].1.push(session);
        }
        Ok(Inheritance { shards: shares, common: restored, keeper: KeeperHandle(Arc::new(Mutex::new(keeper))) })
    }
}

/// Tells the control loop when the keeper's thread is over, however it ended.
struct Farewell(UnboundedSender<Command>);

impl Drop for Farewell {
    fn drop(&mut self) {
        // When nobody listens the node is stopping and expects it.
        let _ = self.0.send(Command::KeeperEnded);
    }
}

/// Turns a notice of the keeper into mail. On the keeper's thread: does not wait.
fn deliver(notice: Notice, mailboxes: &[Mailbox], reporter: &Reporter) {
    let report =
        |kind| reporter.report(Entry::of(Event { client_id: None, user_name: None, tenant: None, kind }, None));
    match notice {
        Notice::Durable(shard) => mailboxes[usize::from(shard.0)].post_durable(),
        Notice::Fetched(shard, fetched) => mailboxes[usize::from(shard.0)].post(Mail::Fetched(fetched)),
        Notice::State(JournalState::Ready) => report(EventKind::JournalHasRoom),
        Notice::State(JournalState::Full) => report(EventKind::JournalFull),
        Notice::State(JournalState::Failed) => {
            report(EventKind::JournalFailed);
            for mailbox in mailboxes {
                mailbox.post(Mail::JournalFailed);
            }
        }
    }
}

/// The keeper, for those who ask for its figures and for the one who stops it. Empty without a store.
#[derive(Clone, Debug)]
pub(crate) struct KeeperHandle(Arc<Mutex<Option<Keeper>>>);

impl KeeperHandle {
    /// How the store is doing; `None` without one.
    pub(crate) fn figures(&self) -> Option<Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Keeper::figures)
    }

    /// Makes durable what the shards left behind and closes the store. The shards must have ended.
    ///
    /// # Errors
    /// Not everything is durable.
    pub(crate) fn stop(&self) -> Result<(), StopError> {
        let keeper = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        keeper.map_or(Ok(()), Keeper::stop)
    }
}

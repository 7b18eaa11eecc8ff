//! The engine under test: a clock that the test moves, the journals of the shards, and what was kept as a model.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use motte_broker::journal::{Journal, Position, Record};
use motte_broker::restore::{Fetch, FoundMessage, SessionKey};
use motte_broker::{Millis, Origin, ShardId};
use motte_store::disk::{Calls, Failure, Fault, SimDisk};
use motte_store::{Clock, Engine, Failed, Notice, OpenError, Reading, Settings, ShardJournal};

use crate::model::Model;
use crate::workload::{SHARDS, Sink};

/// How many states or images are tried: so many, or what `MOTTE_PROOF_STATES` says.
pub(crate) fn states(usual: usize) -> usize {
    std::env::var("MOTTE_PROOF_STATES").map_or(usual, |text| text.parse().expect("a number of states"))
}

/// Says how much was tried; seen with `--no-capture`.
pub(crate) fn report(what: &str) {
    let _ = writeln!(std::io::stdout(), "{what}");
}

/// An engine and its journals.
pub(crate) struct Running {
    engine: Engine,
    journals: Vec<ShardJournal>,
    now: Millis,
    disk: SimDisk,
}

/// Clocks of a machine that is never started anew, and on which a second passes at each look.
pub(crate) fn clock() -> Clock {
    static LOOKS: AtomicU64 = AtomicU64::new(0);
    Clock::new(|| {
        let since_boot_ms = 1_000 * LOOKS.fetch_add(1, Ordering::Relaxed);
        Reading { wall_ms: since_boot_ms + 1_000_000, since_boot_ms, boot_id: 7 }
    })
}

/// Why a store cannot be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// It does not open.
    Refused(OpenError),
    /// It opens and what is in it cannot be read.
    Failed(Failed),
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "refused: {error}"),
            Self::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

/// Opens a store; gives what was kept in it, every message read back.
pub(crate) fn open(disk: SimDisk) -> Result<(Running, Model), Unusable> {
    open_with(disk, Settings::new(clock()))
}

/// Opens a store that is told more.
pub(crate) fn open_with(disk: SimDisk, settings: Settings) -> Result<(Running, Model), Unusable> {
    let opened = Engine::open(disk.clone(), settings).map_err(Unusable::Refused)?;
    let mut engine = opened.engine;
    let journals = engine.journals(SHARDS);
    let mut running = Running { engine, journals, now: opened.clock, disk };
    let model = Model::of(opened.restored, &mut |client_id, origins| running.fetch(client_id, origins));
    Ok((running, model.map_err(Unusable::Failed)?))
}

impl Running {
    /// Where the clock of the node starts.
    pub(crate) fn now(&self) -> Millis {
        self.now
    }

    /// The journal of the first shard.
    pub(crate) fn journal(&mut self) -> &mut ShardJournal {
        &mut self.journals[0]
    }

    /// What the keeper does when nothing is handed over.
    pub(crate) fn idle(&mut self) {
        self.engine.commit(usize::MAX).expect("the disk is sound");
        self.engine.make_room().expect("the disk is sound");
        self.engine.look_for_room();
    }

    /// Makes everything durable that was handed over.
    pub(crate) fn commit(&mut self) -> Result<(), Failed> {
        let ends: Vec<Position> = self.journals.iter().map(Journal::durable).collect();
        let done = self.engine.commit(usize::MAX);
        if done.is_err() {
            let after: Vec<Position> = self.journals.iter().map(Journal::durable).collect();
            assert_eq!(ends, after, "a commit that failed makes nothing durable");
        }
        done.map(drop)
    }

    /// Stops in order.
    pub(crate) fn close(self) -> Result<(), Failed> {
        self.engine.close()
    }

    /// Ends as a process does that is killed: nothing more is written. What the next process finds.
    pub(crate) fn kill(self) -> Vec<u8> {
        let image = self.disk.image();
        self.disk.fail(Some(Fault { calls: Calls::Any, after: 0, times: u64::MAX, failure: Failure::Io }));
        image
    }

    fn fetch(&mut self, client_id: &str, origins: &[Origin]) -> Result<Vec<Option<FoundMessage>>, Failed> {
        if origins.is_empty() {
            return Ok(Vec::new());
        }
        let session = SessionKey::default();
        self.journals[0].fetch(Fetch { session, client_id: Arc::from(client_id), origins: origins.to_vec() });
        self.journals[0].hand_over(self.now);
        let notices = self.engine.commit(usize::MAX)?;
        let fetched = notices.into_iter().find_map(|notice| match notice {
            Notice::Fetched(ShardId(0), fetched) => Some(fetched),
            _ => None,
        });
        let messages = fetched.expect("a fetch is answered").messages;
        assert!(messages.iter().map(|message| message.origin).eq(origins.iter().copied()));
        Ok(messages.into_iter().map(|message| message.found).collect())
    }
}

impl Sink for Running {
    fn append(&mut self, shard: ShardId, record: &Record<'_>) -> Position {
        self.journals[usize::from(shard.0)].append(record)
    }

    fn hand_over(&mut self, shard: ShardId, now: Millis) {
        self.journals[usize::from(shard.0)].hand_over(now);
    }
}

//! The real engine behind the journals of a run, on a disk in memory that forgets and tears what was not synced.
//!
//! Held by the keeper in some runs. It is told the same turns, and what it gives back has to be what the records mean
//! by the reading of the simulation.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use motte_broker::{Fetched, Journal, Message, Millis, Position, Restored, RestoredSession, ShardId};
use motte_store::disk::{Cut, SimDisk, survive};
use motte_store::{Clock, Engine, Notice, Reading, Settings, ShardJournal};

use crate::random::Random;

/// The most shards a plan has.
const SHARDS_MAX: u16 = 4;

/// The engine and its disk.
#[derive(Debug)]
pub(crate) struct Real {
    disk: SimDisk,
    engine: Engine,
    now: Arc<AtomicU64>,
    journals: Vec<ShardJournal>,
    answers: BTreeMap<ShardId, VecDeque<Fetched>>,
}

/// What a store said when it was opened.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) restored: Restored,
    /// Where the clock goes on.
    pub(crate) clock: Millis,
}

impl Real {
    /// Opens what an image holds; the error says what no image of a crash may lead to.
    pub(crate) fn open(image: Vec<u8>, now: Millis) -> Result<(Self, Found), String> {
        let (disk, clock) = (SimDisk::from_image(image), Arc::new(AtomicU64::new(now.0)));
        let read = Arc::clone(&clock);
        let settings = Settings::new(Clock::new(move || {
            let ms = read.load(Ordering::Relaxed);
            Reading { wall_ms: ms, since_boot_ms: ms, boot_id: 1 }
        }));
        let mut opened =
            Engine::open(disk.clone(), settings).map_err(|error| format!("a crash left no store: {error}"))?;
        let found = Found { restored: opened.restored, clock: opened.clock };
        let journals = opened.engine.journals(SHARDS_MAX);
        Ok((Self { disk, engine: opened.engine, now: clock, journals, answers: BTreeMap::new() }, found))
    }

    /// The journals of a broker that starts.
    pub(crate) fn journals(&mut self, shards: u16) -> Vec<ShardJournal> {
        self.journals.drain(..usize::from(shards)).collect()
    }

    /// How far the journal of each shard had come, before they are given out.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (ShardId, Position)> {
        (0..).map(ShardId).zip(self.journals.iter().map(Journal::durable))
    }

    /// What time it is.
    pub(crate) fn set_now(&self, now: Millis) {
        self.now.store(now.0, Ordering::Relaxed);
    }

    /// Makes the first turns durable.
    pub(crate) fn commit(&mut self, turns: usize) -> Result<(), String> {
        let notices = self.engine.commit(turns).map_err(|error| format!("the engine failed: {error}"))?;
        for notice in notices {
            match notice {
                Notice::Fetched(shard, fetched) => self.answers.entry(shard).or_default().push_back(fetched),
                Notice::Durable(_) => {}
                Notice::State(state) => return Err(format!("the engine says that it is {state:?}")),
            }
        }
        Ok(())
    }

    /// The answer to the same question that `expected` answers.
    pub(crate) fn answer(&mut self, shard: ShardId, expected: &Fetched) -> Result<Fetched, String> {
        let answers = self.answers.entry(shard).or_default();
        // What is in a block is answered before what has just been written.
        let origins = |fetched: &Fetched| fetched.messages.iter().map(|one| one.origin).collect::<Vec<_>>();
        let is_it = |one: &Fetched| one.session == expected.session && origins(one) == origins(expected);
        let at = answers.iter().position(is_it);
        let fetched =
            at.and_then(|at| answers.remove(at)).ok_or_else(|| format!("{shard:?} was not answered {expected:?}"))?;
        let (found, due) = (shown_fetched(&fetched), shown_fetched(expected));
        if found == due { Ok(fetched) } else { Err(format!("the store read back {found} where {due} is kept")) }
    }

    /// What is on the disk after a crash in the middle of a commit of so many turns, and whether it may be whole.
    pub(crate) fn crash(&mut self, turns: usize, fate: &mut Random) -> Result<(Vec<u8>, bool), String> {
        let cut = fate.pick(&[Cut::All, Cut::Nothing, Cut::Lengths, Cut::Some, Cut::Sectors(512), Cut::Sectors(4_096)]);
        let mut seed = fate.fork();
        let mut random = || seed.below(1 << 16) as u64;
        if turns == 0 {
            return Ok((self.disk.power_cut(&cut, &mut random), true));
        }
        let disk = self.disk.clone().recorded();
        self.commit(turns)?;
        let count = disk.recorded_count();
        let at = if fate.percent(20) { count } else { fate.below(count + 1) };
        let mut image = Vec::new();
        disk.trace().walk(|place, synced, pending| {
            if place == at {
                image = survive(synced, pending, &cut, &mut random);
            }
        });
        Ok((image, at == count))
    }
}

fn shown_fetched(fetched: &Fetched) -> String {
    let shown = fetched.messages.iter().map(|one| {
        let found = one.found.as_ref().map(|found| {
            let rest = (found.qos, found.retain, &found.ids, &found.share);
            format!("{} {rest:?}", shown_message(&found.message))
        });
        format!("{:?}: {found:?}", one.origin)
    });
    format!("{:?} {:?}", fetched.session, shown.collect::<Vec<_>>())
}

fn shown_message(message: &Message) -> String {
    let rest = (message.publisher(), message.accepted(), message.expires(), message.origin());
    let payload = String::from_utf8_lossy(message.payload());
    format!("{} {payload} {:?} {:?} {rest:?}", message.topic(), message.qos(), message.properties())
}

/// What was restored, by name; what has expired may be there or not.
pub(crate) fn shown(restored: &Restored, now: Millis) -> BTreeMap<String, String> {
    let mut shown = BTreeMap::new();
    for session in &restored.sessions {
        shown.insert(format!("session {}", session.owner.client_id.0), shown_session(session, now));
    }
    for (message, serial) in restored.retained.iter().filter(|(message, _)| !message.is_expired(now)) {
        shown.insert(format!("retained {}", message.topic()), format!("{} {serial}", shown_message(message)));
    }
    for (user, at) in &restored.removals {
        shown.insert(format!("removal {}", user.0), format!("{at:?}"));
    }
    shown
}

fn shown_session(session: &RestoredSession, now: Millis) -> String {
    let mut subscriptions: Vec<_> = session.subscriptions.iter().collect();
    subscriptions.sort_by_key(|(filter, ..)| filter);
    let mut received = session.received.clone();
    received.sort_unstable();
    // In one order for each shard that accepted them; those of several at the same moment have none.
    let mut queue = session.queue.iter().filter(|debt| debt.expires.is_none_or(|at| at > now)).collect::<Vec<_>>();
    queue.sort_by_key(|debt| (debt.accepted, debt.origin));
    let life = (&session.owner, session.expiry_s, &session.mount_point, session.left_at);
    let rest = (subscriptions, &session.will, received);
    format!("{life:?} {rest:?} in flight {:?} waiting {queue:?}", session.in_flight)
}

//! A run from seed to verdict, and what is said when it fails.
//!
//! Called by tests and by the command. The text of a failure is all somebody needs to run it again.

use std::fmt;

use motte_broker::Counters;

use crate::check;
use crate::fault::Fault;
use crate::history::{Fact, History, Invariant, Violation, What};
use crate::random::Random;
use crate::world::World;

/// Facts shown with a failure.
const EXCERPT_FACTS: usize = 40;

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Messages clients published or left as a will.
    pub messages: usize,
    /// Messages applications were given.
    pub given: usize,
    /// How often the broker died.
    pub crashes: usize,
    /// Sessions there were.
    pub sessions: usize,
    /// Facts in the log.
    pub facts: usize,
    /// Counters of each shard in the end.
    pub counters: Vec<Counters>,
    /// The whole log, one fact a line; only when it was asked for.
    pub log: Vec<String>,
}

/// A broken promise and how to see it again.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// Which promise.
    pub invariant: Invariant,
    what: String,
    excerpt: Vec<String>,
    log: Vec<String>,
}

impl Failure {
    /// The whole log, one fact a line.
    #[must_use]
    pub fn log(&self) -> &[String] {
        &self.log
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {:?}: {}", self.seed, self.invariant, self.what)?;
        for line in &self.excerpt {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "replay: cargo run -p motte-sim -- --seed {} --verbose", self.seed)?;
        write!(f, "when it is mended, add {} to crates/sim/regressions.txt", self.seed)
    }
}

/// Runs the simulation of one seed.
///
/// # Errors
/// When the broker breaks a promise.
pub fn run(seed: u64) -> Result<Outcome, Box<Failure>> {
    run_with(seed, None)
}

/// Runs the simulation of one seed with a fault put in, or with none.
///
/// # Errors
/// When a promise is broken.
pub fn run_with(seed: u64, fault: Option<Fault>) -> Result<Outcome, Box<Failure>> {
    let _said = SayOnPanic(seed);
    judge(World::new(Random::new(seed), fault), seed)
}

/// Runs the simulation with each choice taken from `bytes`, as long as they last. A fuzzer finds its way with it.
///
/// # Errors
/// When the broker breaks a promise; the seed told is 0, the bytes are what to keep.
pub fn run_choices(bytes: &[u8]) -> Result<Outcome, Box<Failure>> {
    judge(World::new(Random::choices(bytes), None), 0)
}

fn judge(mut world: World, seed: u64) -> Result<Outcome, Box<Failure>> {
    let verdict = world.run().and_then(|()| check::all(&world.ledger.history));
    let history = &world.ledger.history;
    match verdict {
        Ok(()) => Ok(outcome(history)),
        Err(violation) => Err(Box::new(failure(seed, &violation, history, &world))),
    }
}

fn outcome(history: &History) -> Outcome {
    let is_given = |fact: &&Fact| matches!(fact.what, What::Given { .. });
    Outcome {
        messages: history.messages.len(),
        given: history.facts.iter().filter(is_given).count(),
        crashes: history.facts.iter().filter(|fact| matches!(fact.what, What::Crashed { .. })).count(),
        sessions: history.sessions.len(),
        facts: history.facts.len(),
        counters: history.counters.clone(),
        log: Vec::new(),
    }
}

fn failure(seed: u64, violation: &Violation, history: &History, world: &World) -> Failure {
    let line = |(at, fact): (usize, &Fact)| format!("{at:>5} {:>8} ms  {:?}", fact.now.0, fact.what);
    let about = history.facts.iter().enumerate().filter(|(_, fact)| violation.is_about(&fact.what, history));
    let about: Vec<String> = about.map(line).collect();
    let skipped = about.len().saturating_sub(EXCERPT_FACTS);
    let mut excerpt = vec![format!("{:?}", violation.message.map(|no| &history.messages[no]))];
    excerpt.push(format!("{:?}", violation.client.and_then(|at| world.plan.clients.get(at))));
    let owed = history.owed.iter().filter(|owed| violation.message == Some(owed.message));
    excerpt.extend(owed.map(|owed| format!("{owed:?}")));
    let groups = history.groups.iter().filter(|group| violation.message == Some(group.message));
    excerpt.extend(groups.map(|group| format!("{group:?}")));
    excerpt.push(format!("{} shards, {skipped} earlier facts left out", world.plan.shards));
    excerpt.extend(about.into_iter().skip(skipped));
    let mut log = vec![format!("{:?}", world.plan)];
    log.extend(history.facts.iter().enumerate().map(line));
    Failure { seed, invariant: violation.invariant, what: violation.what.clone(), excerpt, log }
}

/// A panic of the broker has to name its seed too.
struct SayOnPanic(u64);

impl Drop for SayOnPanic {
    #[expect(clippy::print_stderr, reason = "a test that panics has no other way to speak")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {0} panicked; replay: cargo run -p motte-sim -- --seed {0} --verbose", self.0);
        }
    }
}

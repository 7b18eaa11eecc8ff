//! What all checks of identities share: the bounded queue of slow hashes, and the counts of what sources said.
//!
//! One for each gate; it outlives reloads. Used by the sources and, for the `$SYS` tree, by `sys`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use motte_audit::{Event, EventKind, RefusalReason};
use motte_broker::{CheckFigures, SourceFigures};
use motte_mqtt::{ProtocolVersion, ReasonCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::backoff::{Backoff, Decision};
use super::proofs::Proofs;
use super::{Question, Verdict};
use crate::gate::Refusal;
use crate::gate::limits::Origin;
use crate::log::{Entry, Reporter};
use crate::settings::GateLimits;

/// What checks share.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(super) hashes: Hashes,
    pub(super) proofs: Proofs,
    pub(super) backoff: Backoff,
    pub(crate) tallies: Tallies,
    reporter: Reporter,
}

impl Desk {
    /// A desk with the bounds of `limits`.
    pub(crate) fn new(limits: &GateLimits, reporter: Reporter) -> Self {
        let (proofs, backoff, tallies) = (Proofs::new(), Backoff::new(), Tallies::default());
        Self { hashes: Hashes::new(limits), proofs, backoff, tallies, reporter }
    }

    /// Makes somebody wait who, or whose address, got too much wrong.
    pub(super) async fn slow_down(&self, question: &Question<'_>) -> Result<(), Refusal> {
        let user = question.connect.user_name.unwrap_or_default();
        match self.decide(question, user) {
            Decision::Go => Ok(()),
            Decision::Later(delay) => {
                tokio::time::sleep(delay).await;
                Ok(())
            }
            Decision::Refuse { told } => {
                let refusal = question.refused(RefusalReason::Guessing, ReasonCode::ConnectionRateExceeded);
                let detail = told.map(|refusals| format!("{refusals} refused since the last line about this address"));
                Err(Refusal { detail, unheard: told.is_none(), ..refusal })
            }
        }
    }

    /// What to do with somebody who says to be `user`.
    pub(super) fn decide(&self, question: &Question<'_>, user: &str) -> Decision {
        let limits = &question.snapshot.settings.gate.guesses;
        let decision = self.backoff.decide(user, Origin::of(question.peer), limits, Instant::now());
        if decision != Decision::Go {
            self.tallies.slowed();
        }
        decision
    }

    /// A proof was refused; what is no proof at all is no guess.
    pub(super) fn was_wrong(&self, question: &Question<'_>, refusal: &Refusal) {
        if refusal.reason == RefusalReason::BadCredentials {
            self.guessed(question, question.connect.user_name.unwrap_or_default());
        }
    }

    /// A guess at a user was wrong.
    pub(super) fn guessed(&self, question: &Question<'_>, user: &str) {
        let limits = &question.snapshot.settings.gate.guesses;
        self.backoff.wrong(user, Origin::of(question.peer), limits, Instant::now());
    }

    /// Somebody was let in, by a name that had to be proved if `named`.
    pub(super) fn was_right(&self, question: &Question<'_>, named: bool) {
        if let (true, Some(user)) = (named, question.connect.user_name) {
            self.backoff.right(user, Origin::of(question.peer));
        }
    }

    /// Tells which of several secrets of a user was used, and when it ends if it does.
    pub(super) fn report_secret(&self, question: &Question<'_>, (label, expires): (&str, Option<String>)) {
        let kind = EventKind::SecretUsed { label: label.into(), expires: expires.map(Into::into) };
        let event = Event {
            client_id: Some(question.connect.client_id.into()),
            user_name: question.connect.user_name.map(Into::into),
            // To which tenant the user belongs is found out behind the sources.
            tenant: None,
            kind,
        };
        self.reporter.report(Entry::of(event, Some(question.peer)));
    }
}

/// The bounded queue of password checks.
#[derive(Debug)]
pub(super) struct Hashes {
    at_once: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// One who waits, counted until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Hashes {
    fn new(limits: &GateLimits) -> Self {
        Self {
            at_once: Arc::new(Semaphore::new(limits.hashes_at_once_max.max(1))),
            waiting: AtomicUsize::new(0),
            waiting_max: limits.hashes_waiting_max,
        }
    }

    /// Computes something slow on the blocking pool, at once or after others, within the deadline of hashes. Who would
    /// be one too many, or waited for too long, is told that a quota is used up; 3.x says the same of an outage.
    pub(super) async fn compute<T: Send + 'static>(
        &self,
        question: &Question<'_>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let busy = |what: &str| {
            let code = match question.connect.version {
                ProtocolVersion::V5 => ReasonCode::QuotaExceeded,
                ProtocolVersion::V31 | ProtocolVersion::V311 => ReasonCode::ServerUnavailable,
            };
            let detail = Some(what.to_owned());
            Refusal { detail, ..question.refused(RefusalReason::Overloaded, code) }
        };
        let computing = async {
            let turn = self.turn().await.ok_or_else(|| busy("too many password checks wait"))?;
            // The turn travels with the work: a hash that outlives its connection still counts.
            let work = tokio::task::spawn_blocking(move || {
                let result = work();
                drop(turn);
                result
            });
            work.await.map_err(|_| busy("a defect ended a password check"))
        };
        let most = question.snapshot.settings.gate.hash_deadline;
        tokio::time::timeout(most, computing).await.unwrap_or_else(|_| Err(busy("a password check waited too long")))
    }

    /// A turn to compute a hash: at once, or after others; `None` when too many wait already.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(turn) = Arc::clone(&self.at_once).try_acquire_owned() {
            return Some(turn);
        }
        let _waiting = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.waiting_max {
            return None;
        }
        Arc::clone(&self.at_once).acquire_owned().await.ok()
    }
}

/// What each source said since the start.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    sources: BTreeMap<String, SourceFigures>,
    checks: CheckFigures,
}

impl Tallies {
    /// Counts what a source says and how long it takes for that. One that is not waited for to its end is not counted.
    pub(super) async fn count(&self, source: &str, asking: impl Future<Output = Verdict>) -> Verdict {
        let begun = Instant::now();
        let verdict = asking.await;
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut counts = self.lock();
        let figures = counts.sources.entry(source.to_owned()).or_default();
        figures.time_us = figures.time_us.saturating_add(took);
        let count = match &verdict {
            Verdict::Accepted(_) => &mut figures.accepted,
            Verdict::Refused(_) => &mut figures.refused,
            Verdict::NotMine => &mut figures.deferred,
            Verdict::Unavailable(_) => &mut figures.unavailable,
        };
        *count += 1;
        verdict
    }

    /// Somebody came whom no source knows.
    pub(super) fn unclaimed(&self) {
        self.lock().checks.unclaimed += 1;
    }

    /// So many hashes were computed.
    pub(super) fn hashed(&self, hashes: usize) {
        self.lock().checks.hashes += hashes as u64;
    }

    /// A password was known to be right without a hash.
    pub(super) fn recalled(&self) {
        self.lock().checks.recalled += 1;
    }

    /// Somebody was refused unasked, or asked later, because of wrong guesses.
    fn slowed(&self) {
        self.lock().checks.slowed += 1;
    }

    /// Sources that were asked and what they said, and what was done for all of them.
    pub(crate) fn figures(&self) -> (Vec<(String, SourceFigures)>, CheckFigures) {
        let counts = self.lock();
        (counts.sources.iter().map(|(name, figures)| (name.clone(), *figures)).collect(), counts.checks)
    }

    /// Writes the counts into the log, a line for each source.
    pub(crate) fn announce(&self) {
        let (sources, checks) = self.figures();
        let CheckFigures { unclaimed, hashes, recalled, slowed } = checks;
        if checks != CheckFigures::default() {
            tracing::info!(unclaimed, hashes, recalled, slowed, "passwords checked");
        }
        for (source, figures) in sources {
            let SourceFigures { accepted, refused, deferred, unavailable, time_us } = figures;
            tracing::info!(source, accepted, refused, deferred, unavailable, time_us, "identities asked for");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Counting cannot panic between its steps.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

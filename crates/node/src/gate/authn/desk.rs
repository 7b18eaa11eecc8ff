//! What all checks of identities share: the bounded queue of slow hashes, and the counts of what sources said.
//!
//! One for each gate; it outlives reloads. Used by the sources and, for the `$SYS` tree, by `sys`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use motte_audit::RefusalReason;
use motte_broker::SourceFigures;
use motte_mqtt::{ProtocolVersion, ReasonCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Question, Verdict};
use crate::gate::Refusal;
use crate::settings::GateLimits;

/// What checks share.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(super) hashes: Hashes,
    pub(crate) tallies: Tallies,
}

impl Desk {
    /// A desk with the bounds of `limits`.
    pub(crate) fn new(limits: &GateLimits) -> Self {
        Self { hashes: Hashes::new(limits), tallies: Tallies::default() }
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
    unclaimed: u64,
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
        self.lock().unclaimed += 1;
    }

    /// Sources that were asked and what they said, and how many users no source knew.
    pub(crate) fn figures(&self) -> (Vec<(String, SourceFigures)>, u64) {
        let counts = self.lock();
        (counts.sources.iter().map(|(name, figures)| (name.clone(), *figures)).collect(), counts.unclaimed)
    }

    /// Writes the counts into the log, a line for each source.
    pub(crate) fn announce(&self) {
        for (source, figures) in self.figures().0 {
            let SourceFigures { accepted, refused, deferred, unavailable, time_us } = figures;
            tracing::info!(source, accepted, refused, deferred, unavailable, time_us, "identities asked for");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Counting cannot panic between its steps.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The queue between the shards and the keeper, and what the keeper lets the shards know.
//!
//! One first-in first-out queue for all shards: a commit holds a prefix of it, so what a record could know of is
//! durable when it is. The lock is held for a push or a swap, never over a call to the disk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use motte_broker::JournalState;

use crate::batch::Batch;

/// Buffers that are kept for the next batches, and the largest of them that is worth it.
const SPARE_MAX: usize = 256;
const SPARE_BYTES_MAX: usize = 256 * 1_024;

/// So many bytes are committed even if nobody waits for them.
pub(crate) const BYTES_MUCH: usize = 1 << 20;

/// What one shard reads.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    /// The last position that is durable.
    pub(crate) durable: AtomicU64,
    /// Bytes that were handed over and are not durable.
    pub(crate) backlog: AtomicUsize,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    queue: Mutex<Queue>,
    wake: Condvar,
    state: AtomicU8,
}

#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<Batch>,
    bytes: usize,
    /// Whether somebody may wait for one of them to be durable, or for something to be read back.
    is_urgent: bool,
    is_stopping: bool,
    /// The keeper waits for a push.
    is_idle: bool,
    spare: Vec<Vec<u8>>,
}

/// Why the keeper woke up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// There is something to commit.
    Work,
    /// Time passed.
    Time,
    /// Everything is to be committed, and then nothing more comes.
    Stop,
}

impl Intake {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a batch; gives an empty buffer for the next.
    pub(crate) fn push(&self, batch: Batch) -> Vec<u8> {
        let mut queue = self.lock();
        queue.bytes += batch.records.len();
        let is_urgent = batch.waits || !batch.fetches.is_empty();
        queue.is_urgent |= is_urgent;
        // Somebody waits, there is much, or the keeper is to look at the clock for the first of a row.
        let wakes = queue.is_idle && (is_urgent || queue.bytes >= BYTES_MUCH || queue.batches.is_empty());
        queue.is_idle &= !wakes;
        queue.batches.push_back(batch);
        let spare = queue.spare.pop().unwrap_or_default();
        drop(queue);
        if wakes {
            self.wake.notify_one();
        }
        spare
    }

    /// The first batches, up to so many of them and about so many bytes.
    pub(crate) fn take(&self, batches_max: usize, bytes_max: usize) -> Vec<Batch> {
        let mut queue = self.lock();
        let mut taken_bytes = 0;
        let count = queue.batches.iter().take(batches_max).take_while(|batch| {
            let is_in = taken_bytes == 0 || taken_bytes + batch.records.len() <= bytes_max;
            taken_bytes += batch.records.len();
            is_in
        });
        let count = count.count();
        let taken: Vec<_> = queue.batches.drain(..count).collect();
        queue.bytes -= taken.iter().map(|batch| batch.records.len()).sum::<usize>();
        queue.is_urgent = queue.batches.iter().any(|batch| batch.waits || !batch.fetches.is_empty());
        taken
    }

    /// Gives buffers back.
    pub(crate) fn give_back(&self, batches: impl Iterator<Item = Batch>) {
        let mut queue = self.lock();
        for mut batch in batches {
            if queue.spare.len() < SPARE_MAX && batch.records.capacity() <= SPARE_BYTES_MAX {
                batch.records.clear();
                queue.spare.push(batch.records);
            }
        }
    }

    /// Waits until somebody waits for a record, for `lazily` when there are records nobody waits for, here or taken
    /// before, or for `idle`.
    pub(crate) fn wait(&self, lazily: Duration, idle: Duration, has_taken: bool) -> Woken {
        let start = Instant::now();
        let mut queue = self.lock();
        loop {
            if queue.is_stopping {
                return Woken::Stop;
            }
            let is_empty = queue.batches.is_empty() && !has_taken;
            if !queue.batches.is_empty() && (queue.is_urgent || queue.bytes >= BYTES_MUCH) {
                return Woken::Work;
            }
            let left = if is_empty { idle } else { lazily }.saturating_sub(start.elapsed());
            if left.is_zero() {
                return if is_empty { Woken::Time } else { Woken::Work };
            }
            queue.is_idle = true;
            queue = self.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
            queue.is_idle = false;
        }
    }

    /// Waits so long, or until the stop; tells which.
    pub(crate) fn wait_for_stop(&self, time: Duration) -> bool {
        let queue = self.lock();
        let waited = self.wake.wait_timeout_while(queue, time, |queue| !queue.is_stopping);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_stopping
    }

    pub(crate) fn stop(&self) {
        self.lock().is_stopping = true;
        self.wake.notify_one();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().batches.is_empty()
    }

    pub(crate) fn state(&self) -> JournalState {
        match self.state.load(Ordering::Acquire) {
            0 => JournalState::Ready,
            1 => JournalState::Full,
            _ => JournalState::Failed,
        }
    }

    /// Sets the state; tells whether it is another. A failure is final.
    pub(crate) fn set_state(&self, state: JournalState) -> bool {
        let number = match state {
            JournalState::Ready => 0,
            JournalState::Full => 1,
            JournalState::Failed => 2,
        };
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < 2).then_some(number));
        before.is_ok_and(|before| before != number)
    }
}

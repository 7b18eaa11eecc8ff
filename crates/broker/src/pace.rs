//! How fast one client publishes: over the soft limits it is not read for a while, over a hard limit it is ended.
//!
//! Held by a link, asked by `handle` for each PUBLISH. Pauses nobody itself: it tells until when.

use crate::limits::Limits;
use crate::rates::{Bucket, Rate};
use crate::shard::Millis;

/// Publishes, then bytes of whole packets.
type Pair<T> = [T; 2];

/// The pace of a connection.
#[derive(Debug)]
pub(crate) struct Pace {
    soft: Pair<Bucket>,
    hard: Pair<Bucket>,
}

fn soft(limits: &Limits) -> Pair<Rate> {
    [limits.publishes_per_s_max, limits.publish_bytes_per_s_max].map(Rate::per_second)
}

fn hard(limits: &Limits) -> Pair<Rate> {
    [limits.publishes_per_s_hard_max, limits.publish_bytes_per_s_hard_max].map(Rate::per_second)
}

impl Pace {
    /// A client that has published nothing yet.
    pub(crate) fn new(limits: &Limits, now: Millis) -> Self {
        Self {
            soft: soft(limits).map(|rate| Bucket::full(rate, now)),
            hard: hard(limits).map(|rate| Bucket::full(rate, now)),
        }
    }

    /// Counts a PUBLISH of `len` bytes and tells whether it is within the hard limits.
    pub(crate) fn count(&mut self, len: usize, limits: &Limits, now: Millis) -> bool {
        take(&mut self.soft, soft(limits), len, now);
        take(&mut self.hard, hard(limits), len, now)
    }

    /// Until when the client is over the soft limits; `None` when it is within.
    pub(crate) fn settled_at(&self, limits: &Limits) -> Option<Millis> {
        let both = self.soft.iter().zip(soft(limits));
        both.filter_map(|(bucket, rate)| bucket.settled_at(rate)).max()
    }
}

fn take(buckets: &mut Pair<Bucket>, rates: Pair<Rate>, len: usize, now: Millis) -> bool {
    let counted = buckets.iter_mut().zip(rates).zip([1, len]);
    counted.fold(true, |within, ((bucket, rate), tokens)| {
        let is_within = rate.tokens == 0 || bucket.take(tokens, rate, now);
        within && is_within
    })
}

//! Rates in virtual time: token buckets, and the rate of connections per user and per client identifier.
//!
//! Called by `handle/connect` for each admission and by `pace` for each PUBLISH. Knows no clock: time is an argument.

use std::collections::BTreeMap;

use crate::lock::Lock;
use crate::shard::{Millis, fnv1a};

/// So many tokens in such a time; a bucket holds as many at most. 0 tokens: no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) tokens: u32,
    pub(crate) period_ms: u32,
}

impl Rate {
    pub(crate) const fn per_second(tokens: u32) -> Self {
        Self { tokens, period_ms: 1_000 }
    }

    pub(crate) const fn per_minute(tokens: u32) -> Self {
        Self { tokens, period_ms: 60_000 }
    }

    /// Shares of a token in one token: each millisecond brings as many shares as there are tokens in a period.
    const fn shares(self) -> i64 {
        self.period_ms as i64
    }

    const fn capacity(self) -> i64 {
        self.tokens as i64 * self.period_ms as i64
    }
}

/// A bucket: full at first, filled by time, and below zero when more was taken than it held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    shares: i64,
    at: Millis,
}

impl Bucket {
    pub(crate) const fn full(rate: Rate, now: Millis) -> Self {
        Self { shares: rate.capacity(), at: now }
    }

    fn refill(&mut self, rate: Rate, now: Millis) {
        let elapsed_ms = i64::try_from(now.0.saturating_sub(self.at.0)).unwrap_or(i64::MAX);
        let gained = elapsed_ms.saturating_mul(i64::from(rate.tokens));
        self.shares = self.shares.saturating_add(gained).min(rate.capacity());
        self.at = self.at.max(now);
    }

    /// Takes one token if there is one.
    pub(crate) fn try_take(&mut self, rate: Rate, now: Millis) -> bool {
        self.refill(rate, now);
        let has_one = self.shares >= rate.shares();
        if has_one {
            self.shares -= rate.shares();
        }
        has_one
    }

    /// Takes tokens whether they are there or not; tells whether they were.
    pub(crate) fn take(&mut self, tokens: usize, rate: Rate, now: Millis) -> bool {
        self.refill(rate, now);
        let shares = i64::try_from(tokens).unwrap_or(i64::MAX).saturating_mul(rate.shares());
        self.shares = self.shares.saturating_sub(shares);
        self.shares >= 0
    }

    /// When the bucket is out of debt; `None` when it is in none.
    pub(crate) fn settled_at(&self, rate: Rate) -> Option<Millis> {
        if self.shares >= 0 || rate.tokens == 0 {
            return None;
        }
        Some(self.at.plus_ms(self.shares.unsigned_abs().div_ceil(u64::from(rate.tokens))))
    }

    fn is_full(&mut self, rate: Rate, now: Millis) -> bool {
        self.refill(rate, now);
        self.shares >= rate.capacity()
    }
}

const STRIPES: usize = 64;
/// Names remembered in one stripe. Only who was authenticated has one; a name whose bucket is full is forgotten first.
const NAMES_PER_STRIPE: usize = 4_096;

/// How often each name connected lately, shared by all shards.
#[derive(Debug)]
pub(crate) struct ConnectRates {
    stripes: Vec<Lock<BTreeMap<Box<str>, Bucket>>>,
}

impl ConnectRates {
    pub(crate) fn new() -> Self {
        Self { stripes: std::iter::repeat_with(Lock::default).take(STRIPES).collect() }
    }

    /// Counts a connection of `name` and tells whether it is within the rate.
    pub(crate) fn allows(&self, name: &str, rate: Rate, now: Millis) -> bool {
        if rate.tokens == 0 {
            return true;
        }
        let at = usize::try_from(fnv1a(name.as_bytes()) % STRIPES as u64).expect("less than the number of stripes");
        let mut buckets = self.stripes[at].write();
        if let Some(bucket) = buckets.get_mut(name) {
            return bucket.try_take(rate, now);
        }
        if buckets.len() >= NAMES_PER_STRIPE {
            buckets.retain(|_, bucket| !bucket.is_full(rate, now));
        }
        if buckets.len() >= NAMES_PER_STRIPE {
            // So many names in one period: what is known of them is worth less than the memory is.
            buckets.clear();
        }
        let mut bucket = Bucket::full(rate, now);
        let allows = bucket.try_take(rate, now);
        buckets.insert(name.into(), bucket);
        allows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_what_it_holds_and_what_time_brings() {
        let rate = Rate::per_minute(6);
        let mut bucket = Bucket::full(rate, Millis(0));
        let taken = (0..100).filter(|_| bucket.try_take(rate, Millis(0))).count();
        assert_eq!(taken, 6);
        assert!(!bucket.try_take(rate, Millis(9_999)) && bucket.try_take(rate, Millis(10_000)));
        let taken = (0..100).filter(|_| bucket.try_take(rate, Millis(u64::MAX))).count();
        assert_eq!(taken, 6, "it never holds more than a period's worth");
    }

    #[test]
    fn debt_is_paid_by_time() {
        let rate = Rate::per_second(100);
        let mut bucket = Bucket::full(rate, Millis(5));
        assert!(bucket.take(100, rate, Millis(5)) && bucket.settled_at(rate).is_none());
        assert!(!bucket.take(50, rate, Millis(5)));
        assert_eq!(bucket.settled_at(rate), Some(Millis(505)));
        assert!(bucket.take(0, rate, Millis(505)) && bucket.settled_at(rate).is_none());
        assert!(!bucket.take(usize::MAX, rate, Millis(505)), "no number is too great to be counted");
    }

    #[test]
    fn names_are_bounded() {
        let (rates, rate) = (ConnectRates::new(), Rate::per_minute(1));
        for number in 0..2 * STRIPES * NAMES_PER_STRIPE {
            rates.allows(&number.to_string(), rate, Millis(0));
        }
        assert!(rates.stripes.iter().all(|stripe| stripe.read().len() <= NAMES_PER_STRIPE));
        assert!(rates.allows("new", rate, Millis(0)) && !rates.allows("new", rate, Millis(0)));
    }
}

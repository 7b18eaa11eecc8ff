//! Who guesses passwords waits, and nobody can be locked out by somebody else's guesses (K30).
//!
//! Asked by the chain before a source that looks at names, and told what came of it. Wrong proofs are counted for a
//! user from one address, for an address and for a user. The first two refuse for a while; the third only slows down,
//! because a device must get in while others guess at its name. Unknown names are counted like known ones (K29).

use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::lru::Lru;
use crate::gate::limits::Origin;
use crate::settings::GuessLimits;

/// Names, addresses and pairs of both that are remembered, each.
const REMEMBERED_MAX: usize = 32_768;
/// Bytes of a user name that tell it apart here.
const NAME_BYTES_MAX: usize = 256;
/// The longest wait of a user at an address; the first is a second, each one twice the one before.
const PAIR_WAIT_MAX: Duration = Duration::from_secs(60);
/// After so long without a wrong proof a pair starts anew.
const PAIR_FORGOTTEN: Duration = Duration::from_secs(15 * 60);
/// One wrong proof of an address is forgotten in this time, and one of a user.
const ADDRESS_LEAK: Duration = Duration::from_secs(3);
const USER_LEAK: Duration = Duration::from_secs(1);
/// How much later a client of a user is asked who is guessed at from everywhere.
const DELAY: Duration = Duration::from_secs(2);
/// One line of the log for each of these.
const WINDOW: Duration = Duration::from_secs(60);

/// What is to be done with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is asked.
    Go,
    /// It is asked later.
    Later(Duration),
    /// It is refused unasked. A line of the log is due for so many since the last one.
    Refuse { told: Option<u64> },
}

type Name = Arc<str>;

/// A user at an address.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    wrong: u32,
    last: Option<Instant>,
    until: Option<Instant>,
}

/// A count that shrinks with time.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    wrong: u32,
    since: Option<Instant>,
}

/// Refusals since the last line of the log.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    at: Option<Instant>,
    since: u64,
}

#[derive(Debug)]
struct Table {
    pairs: Lru<(Name, Option<Origin>), Pair>,
    addresses: Lru<Origin, Bucket>,
    users: Lru<Name, Bucket>,
    told: Lru<Option<Origin>, Told>,
}

/// The counts.
#[derive(Debug)]
pub(super) struct Backoff {
    table: Mutex<Table>,
}

impl Bucket {
    fn level(&self, leak: Duration, now: Instant) -> u32 {
        let passed = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let leaked = u32::try_from(passed.as_millis() / leak.as_millis()).unwrap_or(u32::MAX);
        self.wrong.saturating_sub(leaked)
    }

    fn add(&mut self, leak: Duration, most: u32, now: Instant) {
        // What is beyond the bound is forgotten first, so that nobody waits for longer than a full bucket takes.
        self.wrong = self.level(leak, now).saturating_add(1).min(most.saturating_mul(2));
        self.since = Some(now);
    }
}

impl Backoff {
    pub(super) fn new() -> Self {
        let table = Table {
            pairs: Lru::new(REMEMBERED_MAX),
            addresses: Lru::new(REMEMBERED_MAX),
            users: Lru::new(REMEMBERED_MAX),
            told: Lru::new(REMEMBERED_MAX),
        };
        Self { table: Mutex::new(table) }
    }

    /// What to do with somebody who calls themselves `user`.
    pub(super) fn decide(&self, user: &str, origin: Option<Origin>, limits: &GuessLimits, now: Instant) -> Decision {
        let name = name(user);
        let mut table = self.lock();
        let waits = table
            .pairs
            .peek(&(Arc::clone(&name), origin))
            .is_some_and(|pair| pair.until.is_some_and(|until| now < until));
        let is_full = |bucket: Option<&Bucket>, leak: Duration, most: u32| {
            most > 0 && bucket.is_some_and(|bucket| bucket.level(leak, now) >= most)
        };
        let address = origin.and_then(|origin| table.addresses.peek(&origin));
        if waits || is_full(address, ADDRESS_LEAK, limits.wrong_per_address_max) {
            return Decision::Refuse { told: table.tell(origin, now) };
        }
        match is_full(table.users.peek(&name), USER_LEAK, limits.wrong_per_user_max) {
            true => Decision::Later(DELAY),
            false => Decision::Go,
        }
    }

    /// A proof was wrong.
    pub(super) fn wrong(&self, user: &str, origin: Option<Origin>, limits: &GuessLimits, now: Instant) {
        let name = name(user);
        let mut table = self.lock();
        let pair = table.pairs.touch(&(Arc::clone(&name), origin));
        if pair.last.is_none_or(|last| now.saturating_duration_since(last) > PAIR_FORGOTTEN) {
            *pair = Pair::default();
        }
        (pair.wrong, pair.last) = (pair.wrong.saturating_add(1), Some(now));
        if limits.wrong_max > 0 && pair.wrong >= limits.wrong_max {
            let doublings = (pair.wrong - limits.wrong_max).min(16);
            pair.until = Some(now + Duration::from_secs(1 << doublings).min(PAIR_WAIT_MAX));
        }
        if let Some(origin) = origin {
            table.addresses.touch(&origin).add(ADDRESS_LEAK, limits.wrong_per_address_max, now);
        }
        table.users.touch(&name).add(USER_LEAK, limits.wrong_per_user_max, now);
    }

    /// A proof was right: who just mistyped starts anew.
    pub(super) fn right(&self, user: &str, origin: Option<Origin>) {
        self.lock().pairs.remove(&(name(user), origin));
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Counting cannot panic between its steps.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Whether a line of the log is due for the refusals of an address, and for how many.
    fn tell(&mut self, origin: Option<Origin>, now: Instant) -> Option<u64> {
        let told = self.told.touch(&origin);
        told.since += 1;
        let due = told.at.is_none_or(|at| now.saturating_duration_since(at) >= WINDOW);
        due.then(|| {
            told.at = Some(now);
            std::mem::take(&mut told.since)
        })
    }
}

/// A user name as it is remembered: cut, so that memory is bounded. Long names that begin alike share their counts.
fn name(user: &str) -> Name {
    let mut end = user.len().min(NAME_BYTES_MAX);
    while !user.is_char_boundary(end) {
        end -= 1;
    }
    Arc::from(&user[..end])
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::socket::Peer;

    const LIMITS: GuessLimits = GuessLimits { wrong_max: 5, wrong_per_address_max: 20, wrong_per_user_max: 10 };

    fn origin(number: u8) -> Option<Origin> {
        Origin::of(Peer::Address(SocketAddr::from(([192, 0, 2, number], 1))))
    }

    #[test]
    fn k30_who_guesses_waits_twice_as_long_each_time() {
        let (backoff, start) = (Backoff::new(), Instant::now());
        let decide = |at: u64| backoff.decide("anna", origin(1), &LIMITS, start + Duration::from_secs(at));
        let wrong = |at: u64| backoff.wrong("anna", origin(1), &LIMITS, start + Duration::from_secs(at));
        (0..4).for_each(|_| wrong(0));
        assert_eq!(decide(0), Decision::Go);
        wrong(0);
        assert_eq!((decide(0), decide(1)), (Decision::Refuse { told: Some(1) }, Decision::Go));
        wrong(1);
        assert_eq!((decide(2), decide(3)), (Decision::Refuse { told: None }, Decision::Go));
        backoff.right("anna", origin(1));
        wrong(3);
        assert_eq!(decide(3), Decision::Go, "who proved it starts anew");
    }

    #[test]
    fn k30_nobody_is_locked_out_by_the_guesses_of_others() {
        let (backoff, now) = (Backoff::new(), Instant::now());
        for number in 0..200 {
            backoff.wrong("anna", origin(number), &LIMITS, now);
        }
        assert_eq!(backoff.decide("anna", origin(250), &LIMITS, now), Decision::Later(DELAY), "slower, and asked");
        assert_eq!(backoff.decide("berta", origin(250), &LIMITS, now), Decision::Go);
        assert_eq!(backoff.decide("anna", origin(250), &LIMITS, now + 11 * USER_LEAK), Decision::Go);
        // One address that tries many users is refused whoever it says it is.
        for number in 0..20 {
            backoff.wrong(&format!("user-{number}"), origin(251), &LIMITS, now);
        }
        assert_eq!(backoff.decide("other", origin(251), &LIMITS, now), Decision::Refuse { told: Some(1) });
        assert_eq!(backoff.decide("other", origin(251), &LIMITS, now + ADDRESS_LEAK), Decision::Go);
    }

    #[test]
    fn k30_one_line_is_due_for_each_window() {
        let (backoff, start) = (Backoff::new(), Instant::now());
        for _ in 0..30 {
            backoff.wrong("anna", origin(1), &LIMITS, start);
        }
        let lines: Vec<_> = (0..10_000u64)
            .filter_map(|number| {
                let now = start + Duration::from_millis(number * 5);
                match backoff.decide("anna", origin(1), &LIMITS, now) {
                    Decision::Refuse { told } => told,
                    decision => panic!("{decision:?}"),
                }
            })
            .collect();
        assert_eq!(lines, [1], "fifty seconds of refusals");
    }

    #[test]
    fn k30_what_is_remembered_is_bounded() {
        let (backoff, now) = (Backoff::new(), Instant::now());
        for number in 0..REMEMBERED_MAX + 1_000 {
            backoff.wrong(&format!("{number}{}", "x".repeat(1_000)), origin(1), &LIMITS, now);
        }
        assert!(name(&"\u{fc}".repeat(1_000)).len() <= NAME_BYTES_MAX);
        let off = GuessLimits { wrong_max: 0, wrong_per_address_max: 0, wrong_per_user_max: 0 };
        assert_eq!(backoff.decide("0", origin(1), &off, now), Decision::Go);
    }
}

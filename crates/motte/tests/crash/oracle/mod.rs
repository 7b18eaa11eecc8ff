//! Clients that know what they were promised, and what became of it.
//!
//! Used by `kill`. Each client is driven by one thread while the broker lives, and is audited when it is back. What is
//! promised: what was acknowledged (PUBACK, PUBREC, SUBACK, UNSUBACK, CONNACK of a session that outlives its
//! connection), nothing else; and that nothing is delivered twice but QoS 1 with DUP.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

pub(crate) mod content;
pub(crate) mod mourner;
pub(crate) mod publisher;
pub(crate) mod retainer;
pub(crate) mod subscriber;
pub(crate) mod toggler;

/// How long a broker may say nothing before it counts as silent.
pub(crate) const SILENCE: Duration = Duration::from_secs(20);

/// Work that is spread over the life of a broker, so that something is under way whenever it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    since: Instant,
    over: Duration,
    most: usize,
}

impl Pace {
    /// So much work, from now on.
    pub(crate) fn new(over: Duration, most: usize) -> Self {
        Self { since: Instant::now(), over, most }
    }

    /// Whether the next piece may be begun.
    pub(crate) fn is_due(&self, made: usize) -> bool {
        made < self.most && self.since.elapsed() >= self.at(made)
    }

    /// How long to listen before the next piece is due.
    pub(crate) fn patience(&self, made: usize) -> Duration {
        if made >= self.most {
            return 10 * SILENCE;
        }
        self.at(made).saturating_sub(self.since.elapsed()).max(Duration::from_millis(1))
    }

    fn at(&self, made: usize) -> Duration {
        self.over * u32::try_from(made).unwrap() / u32::try_from(self.most).unwrap()
    }
}

/// Kinds of broken promises, and of what is only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// An acknowledged message did not reach a session that was owed it.
    MessageLost,
    /// A session that was to outlive its connection is gone.
    SessionLost,
    /// A subscription that was acknowledged is gone, or one that was removed is back.
    SubscriptionWrong,
    /// A retained value is neither the last that was acknowledged nor a later one.
    RetainedWrong,
    /// A will that was owed did not come, or one that was withdrawn did.
    WillWrong,
    /// A QoS 2 message came twice.
    SecondCopy,
    /// A message came again without DUP more often than it was sent.
    CopyWithoutDup,
    /// An identifier was used for another message while it was taken.
    IdentifierReused,
    /// A message came before one that was published earlier.
    OutOfOrder,
    /// A message is not what was published.
    ContentWrong,
    /// A packet that should not come.
    Unexpected,
    /// No answer in time.
    Silent,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    counts: BTreeMap<Fault, u64>,
    texts: Vec<String>,
}

impl Findings {
    pub(crate) fn add(&mut self, fault: Fault, text: impl fmt::Display) {
        *self.counts.entry(fault).or_default() += 1;
        if self.texts.len() < 30 {
            self.texts.push(format!("{fault:?}: {text}"));
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (fault, count) in other.counts {
            *self.counts.entry(fault).or_default() += count;
        }
        self.texts.extend(other.texts);
        self.texts.truncate(30);
    }

    pub(crate) fn count(&self, fault: Fault) -> u64 {
        self.counts.get(&fault).copied().unwrap_or(0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.counts)?;
        self.texts.iter().try_for_each(|text| writeln!(f, "  {text}"))
    }
}

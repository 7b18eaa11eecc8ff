//! What a survey of a store finds: how much is there, what is damaged, and what that costs.
//!
//! Given back by the tools and shown by the command line, as a table or as JSON.

use std::path::PathBuf;

use motte_broker::Millis;

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How much is there.
    pub counts: Counts,
    /// What is damaged, in the order of the file.
    pub damage: Vec<Damage>,
    /// Whether the store was not closed in order. That is no damage: the next start goes on from its last commit.
    pub was_unclean: bool,
    /// Whether the last commit was cut off and the one before it holds. Nobody was told that it had been made, so that
    /// is no damage either.
    pub is_cut: bool,
}

/// How much of what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions.
    pub sessions: u64,
    /// Subscriptions of sessions.
    pub subscriptions: u64,
    /// Messages that wait, one for each session that is owed it.
    pub queued: u64,
    /// Messages that were sent and not finished.
    pub in_flight: u64,
    /// Retained messages.
    pub retained: u64,
    /// Wills of sessions.
    pub wills: u64,
    /// Users whose messages are withheld.
    pub removals: u64,
    /// Users and client identifiers that are kept out.
    pub bans: u64,
    /// Stored messages that are owed or retained; one that is owed to many sessions is one.
    pub messages: u64,
    /// Bytes of those.
    pub message_bytes: u64,
    /// How long ago, at the last commit, the oldest message that is owed was accepted, in milliseconds.
    pub oldest_ms: Option<u64>,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// When the last commit was, by the wall clock, in milliseconds since 1970.
    pub committed_ms: Option<u64>,
}

/// What kind of thing is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DamageKind {
    /// A page of the file.
    Page,
    /// What the engine keeps for itself.
    Engine,
    /// The state of the store: its clock and next numbers.
    State,
    /// A session.
    Session,
    /// What a session acknowledged and has not finished.
    Cursor,
    /// A subscription.
    Subscription,
    /// A will.
    Will,
    /// Which message a topic retains.
    Retained,
    /// That the messages of a user are withheld.
    Removal,
    /// That somebody is kept out.
    Ban,
    /// Messages.
    Messages,
}

impl DamageKind {
    /// A word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Engine => "engine",
            Self::State => "state",
            Self::Session => "session",
            Self::Cursor => "cursor",
            Self::Subscription => "subscription",
            Self::Will => "will",
            Self::Retained => "retained",
            Self::Removal => "removal",
            Self::Ban => "ban",
            Self::Messages => "messages",
        }
    }
}

/// One damaged place and what it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What kind of thing it is.
    pub kind: DamageKind,
    /// Which one, and what is wrong with it.
    pub what: String,
    /// What is lost with it.
    pub lost: String,
    /// For messages: where they may have stood. Of each log, which is the shard that accepted them, the first and last
    /// position.
    pub ranges: Vec<(u16, u64, u64)>,
    /// Client identifiers of the sessions it is about, as far as they are known, sorted.
    pub sessions: Vec<String>,
    /// Topics it is about, as far as they are known, sorted.
    pub topics: Vec<String>,
}

impl Damage {
    pub(crate) fn new(kind: DamageKind, what: impl Into<String>, lost: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            lost: lost.into(),
            ranges: Vec::new(),
            sessions: Vec::new(),
            topics: Vec::new(),
        }
    }

    pub(crate) fn of_session(mut self, client_id: impl Into<String>) -> Self {
        self.sessions.push(client_id.into());
        self
    }
}

impl Report {
    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}

/// What a repair did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// What was found before; its damage is what the repair dropped or mended.
    pub before: Report,
    /// What is there now; the same counts where there was nothing to repair.
    pub after: Counts,
    /// Where the store as it was is kept; `None` where there was nothing to repair or no copy was wanted.
    pub backup: Option<PathBuf>,
}

impl Counts {
    pub(crate) fn saw_owed(&mut self, accepted: Millis, now: Millis) {
        let age = now.0.saturating_sub(accepted.0);
        self.oldest_ms = Some(self.oldest_ms.map_or(age, |oldest| oldest.max(age)));
    }
}

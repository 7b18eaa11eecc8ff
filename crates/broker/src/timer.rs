//! What waits for time, soonest first.
//!
//! Called by `handle` to arm and by the shard to find out what is due. Knows no clock: time is an argument.

use std::collections::BTreeSet;

use crate::routes::SessionKey;
use crate::shard::Millis;

/// What a session may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TimerKind {
    /// When silence has lasted one and a half times the keep alive.
    KeepAlive,
    /// When the will is to be published.
    WillDelay,
    /// When the session ends.
    SessionExpiry,
    /// When a replay of retained messages that used up its share of a turn goes on.
    Replay,
    /// When an exchange of authentication data has lasted too long.
    Reauthentication,
    /// When what waits is looked through for messages that are over.
    Waiting,
}

/// Number of kinds.
const KINDS: usize = 6;

/// When each kind is due for one session.
pub(crate) type Armed = [Option<Millis>; KINDS];

/// Every armed timer of a shard.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Millis, SessionKey, TimerKind)>,
}

impl Timers {
    /// Sets a timer of a session, in the place of an earlier one of its kind; `None` only removes that.
    pub(crate) fn set(&mut self, armed: &mut Armed, key: SessionKey, kind: TimerKind, at: Option<Millis>) {
        if let Some(old) = std::mem::replace(&mut armed[kind as usize], at) {
            self.due.remove(&(old, key, kind));
        }
        if let Some(at) = at {
            self.due.insert((at, key, kind));
        }
    }

    /// Removes all timers of a session.
    pub(crate) fn clear(&mut self, armed: &mut Armed, key: SessionKey) {
        for kind in [
            TimerKind::KeepAlive,
            TimerKind::WillDelay,
            TimerKind::SessionExpiry,
            TimerKind::Replay,
            TimerKind::Reauthentication,
            TimerKind::Waiting,
        ] {
            self.set(armed, key, kind, None);
        }
    }

    /// When the next timer is due.
    pub(crate) fn next(&self) -> Option<Millis> {
        self.due.first().map(|&(at, ..)| at)
    }

    /// Takes out what is due. The session still holds the time it was armed for until it sets the timer anew.
    pub(crate) fn take_due(&mut self, now: Millis) -> Vec<(SessionKey, TimerKind)> {
        let mut due = Vec::new();
        while let Some(&(at, key, kind)) = self.due.first() {
            if at > now {
                break;
            }
            self.due.pop_first();
            due.push((key, kind));
        }
        due
    }
}

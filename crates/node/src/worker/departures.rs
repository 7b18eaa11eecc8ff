//! Those who are to leave: links whose proof of identity does not hold any more, or whose time is over. Some of them in
//! each round, so that ten thousand of them hold up nobody else.
//!
//! Filled by the worker's mail and by the clock, emptied by the links' loop.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use motte_audit::CloseCause;
use motte_broker::{LinkId, Millis};
use motte_policy::{Identity, Subject};

use super::Worker;
use super::goodbye::after;
use crate::reload::EndedSession;
use crate::review::Departures;

/// Links that are ended in one round.
const DEPARTURES_MAX: usize = 32;

/// The clock that wakes a shard does not know when somebody sets the time of day: it is asked at least this often while
/// a proof waits for its end.
const TIME_OF_DAY: Duration = Duration::from_secs(5);

/// The line of those who are to leave.
#[derive(Debug, Default)]
pub(super) struct Departing(VecDeque<(LinkId, CloseCause, Option<Sender<EndedSession>>)>);

impl Departing {
    /// Whether somebody stands in it.
    pub(super) fn has_some(&self) -> bool {
        !self.0.is_empty()
    }

    /// Some more.
    pub(super) fn take(&mut self, Departures { links, told }: Departures) {
        self.0.extend(links.into_iter().map(|(link, cause)| (link, cause, Some(told.clone()))));
    }
}

impl Worker {
    /// Ends the next few links that are to be ended.
    pub(super) fn see_out(&mut self) {
        if self.outlets.next_end().is_some_and(|end| end <= time_of_day()) {
            let ended = self.outlets.take_ended(time_of_day());
            self.departures.0.extend(ended.into_iter().map(|link| (link, CloseCause::Expired, None)));
        }
        for _ in 0..DEPARTURES_MAX {
            let Some((link, cause, told)) = self.departures.0.pop_front() else { return };
            let Some(subject) = self.shard.subject_of(link) else { continue };
            let session = ended_session(subject, cause);
            self.guarded(Some(link), |shard, now, outlets| shard.disconnect(link, cause, now, outlets));
            if let Some(told) = told {
                // Whoever asked may have stopped waiting.
                let _ = told.send(session);
            }
        }
    }

    /// When the next proof ends, as far as the clock of the node can know.
    pub(super) fn next_end(&self) -> Option<Millis> {
        let left = self.outlets.next_end()?.saturating_sub(time_of_day());
        Some(after(self.now, left.min(TIME_OF_DAY)))
    }
}

fn time_of_day() -> Duration {
    // A clock that stands before 1970 ends nobody.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn ended_session(subject: &Subject, cause: CloseCause) -> EndedSession {
    let user = match &subject.identity {
        Identity::User(name) => Some(name.0.to_string()),
        Identity::Anonymous => None,
    };
    EndedSession { client_id: subject.client_id.0.to_string(), user, cause }
}

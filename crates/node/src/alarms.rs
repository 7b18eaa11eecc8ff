//! What an operator has to hear of before it hurts: revocation lists that end.
//!
//! Called by the control loop at the start, after each reload and every hour. Changes nothing.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use crate::snapshot::Snapshot;

/// How long before the end of a revocation list the log begins to tell of it.
const AHEAD: Duration = Duration::from_secs(7 * 24 * 60 * 60);

const SOON: &str = "a revocation list ends soon; from then on all clients of its CA are refused";
const ENDED: &str = "a revocation list has ended; all clients of its CA are refused until there is a new one";
const ACCEPTED: &str = "a revocation list has ended; it counts on because [danger] says so";

/// Tells of every revocation list in use that has ended or soon will.
pub(crate) fn tell_of_lists(snapshot: &Snapshot, now: SystemTime) {
    let mut told = BTreeSet::new();
    for list in snapshot.revocation_lists() {
        if !told.insert((&list.file, &list.issuer)) {
            continue;
        }
        let (file, issuer) = (list.file.display(), &list.issuer);
        match list.next_update.duration_since(now) {
            Ok(left) if left > AHEAD => {}
            Ok(left) if !left.is_zero() => {
                let hours_left = left.as_secs() / 3600;
                tracing::warn!(%file, issuer, hours_left, "{SOON}");
            }
            _ if snapshot.settings.tls.accept_expired_crls => {
                tracing::error!(%file, issuer, "{ACCEPTED}");
            }
            _ => {
                tracing::error!(%file, issuer, "{ENDED}");
            }
        }
    }
}

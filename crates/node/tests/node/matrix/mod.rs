//! The path matrix: every path a message can take × what carries it × versions × proof of identity × right that is
//! taken away × moment, pairwise reduced, over a running node with real sockets.
//!
//! In each case a message takes its path while both ends may; then a right is taken away by a reload, before, in the
//! middle of or after the path, and from then on nothing arrives and the right reason code says so (K15, K18, K20 to
//! K24, K39). Faults come back on the path that forgets the check, so the cases are made, not chosen. Beside them stand
//! the topics of the server, names and secrets on the same listeners.

mod cases;
mod names;
mod pairs;
mod paths;
mod stage;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::cases::{Path, cases};
use self::stage::{SECRET, Stage};
use crate::support::log_holds;

/// Plays all cases of a path on one node and names those that fail.
fn play(path: Path) {
    let mut stage = Stage::new();
    let mut failed = Vec::new();
    let mut played = 0;
    for case in cases().into_iter().filter(|case| case.path == path) {
        played += 1;
        // The panic itself has been printed; what is missing there is the case it belongs to.
        if catch_unwind(AssertUnwindSafe(|| paths::play(&mut stage, &case))).is_err() {
            failed.push(case.to_string());
        }
    }
    assert!(played > 0, "no case of this path");
    assert!(failed.is_empty(), "{} of {played} cases failed:\n{}", failed.len(), failed.join("\n"));
    assert!(!log_holds(SECRET), "a password is in the log");
}

#[test]
fn k20_live_messages_end_with_the_right() {
    play(Path::Live);
}

#[test]
fn k23_an_alias_carries_no_right_over_a_revocation() {
    play(Path::Alias);
}

#[test]
fn k15_a_will_fires_with_the_rights_of_that_moment() {
    play(Path::Will);
}

#[test]
fn k22_a_delayed_will_fires_with_the_rights_of_that_moment() {
    play(Path::DelayedWill);
}

#[test]
fn k21_a_retained_message_is_served_by_the_rights_of_that_moment() {
    play(Path::Retained);
}

#[test]
fn k22_a_queue_is_emptied_by_the_rights_of_that_moment() {
    play(Path::Queued);
}

#[test]
fn k22_what_was_sent_is_sent_again_by_the_rights_of_that_moment() {
    play(Path::InFlight);
}

#[test]
fn k22_what_waits_behind_the_window_leaves_by_the_rights_of_that_moment() {
    play(Path::Window);
}

#[test]
fn k22_a_release_after_the_loss_ends_the_exchange_and_delivers_nothing() {
    play(Path::Released);
}

#[test]
fn k20_a_shared_subscription_ends_with_the_right() {
    play(Path::Shared);
}

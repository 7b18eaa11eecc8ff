//! Crashes of the real binary: it is killed without warning, its disk is full or fails, its clock jumps.
//!
//! What it acknowledged is written down by clients that know what they were promised, and audited after each restart.
//! `kill` says how to run more cycles than the checks do, and how to replay a seed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "tables and seeds are shown with the test")]

#[path = "../common/child.rs"]
#[expect(dead_code, reason = "other targets tell a program what to do")]
mod child;
#[path = "../common/peer.rs"]
#[expect(dead_code, reason = "attackers write packets by hand")]
mod peer;

mod client;
mod clock;
mod daemon;
mod downgrade;
mod failing_disk;
mod full_disk;
mod kill;
mod limits;
mod namespace;
mod oracle;
mod preload;
mod random;

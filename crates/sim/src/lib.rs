//! A seeded simulation of the broker: one number decides everything that happens, so a failure can be run again.
//!
//! Used by tests and by its own small command. Drives the real shards over encoded bytes with virtual time; knows
//! nothing of their insides and judges them by what clients see, against a ledger written from the standard.

mod check;
mod client;
mod fault;
mod history;
mod journal;
mod ledger;
mod line;
mod packet;
mod plan;
mod random;
mod report;
mod rights;
mod rogue;
mod world;

pub use fault::Fault;
pub use history::Invariant;
pub use report::{Failure, Outcome, run, run_choices, run_with};

//! A seeded simulation of the broker: one number decides everything that happens, so a failure can be run again.
//!
//! Used by tests only. Drives the real shards over encoded bytes with virtual time; knows nothing of their insides and
//! judges them by what clients see.

mod client;
mod random;
mod world;

pub use world::{Outcome, run};

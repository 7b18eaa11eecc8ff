//! The durable store: where the records of the shards go, and what comes back after a restart.
//!
//! Called by `node`, which opens a [`Store`], gives each shard its [`ShardJournal`] and stops the [`Keeper`], by the
//! simulator, and by the tools of the command line. Knows what a record is and nothing of packets.

mod batch;
mod block;
mod clock;
mod codec;
mod crash;
mod cursor;

pub mod disk;
mod engine;
mod entry;
mod file;
mod guard;
#[cfg(test)]
mod hostile;
mod intake;
mod journal;
mod keeper;
mod known;
mod open;
mod options;
mod reserve;
mod row;
mod store;
pub mod tools;

pub use clock::{Away, Clock, Reading};
pub use crash::{CrashName, CrashPoint, CrashPointError};
pub use engine::{Engine, Failed, FreeBytes, OpenedEngine, Settings};
pub use journal::ShardJournal;
pub use keeper::{Figures, Keeper, Notice, StopError};
pub use motte_broker::{Fetched, JournalState, Restored};
pub use open::{OpenError, OpenReport, Opened};
pub use options::{Mode, Options, RESERVE_BYTES};
pub use store::Store;

/// The version of the format that is written. A store of a later one is refused.
///
/// 2 keeps what is known of publishers and owners beside their names; all that 1 wrote is read.
pub const FORMAT: u32 = 2;

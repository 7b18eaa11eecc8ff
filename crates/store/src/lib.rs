//! Journals of the broker: where the records of a shard go.
//!
//! Called by `node` when it makes its shards, and by the simulator. Knows what a record is and nothing of sessions.

pub mod disk;
mod memory;

pub use memory::MemoryJournal;

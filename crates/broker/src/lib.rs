//! The broker core: sessions, routes, QoS flows, retained messages and wills, as plain values driven by calls.
//!
//! Called by `node/worker` (one [`Shard`] per thread), by tests and by the simulator. Pure: no socket, file, thread,
//! clock or randomness; time is an argument, effects go into a sink.

pub mod admission;
mod alias;
mod bans;
mod control;
pub mod counters;
pub mod effects;
mod handle;
pub mod hints;
pub mod journal;
pub mod limits;
mod link;
mod lock;
pub mod message;
pub mod mount;
mod narrowing;
mod owners;
mod pace;
mod rates;
mod recorder;
pub mod restore;
mod retained;
mod routes;
mod session;
pub mod shard;
pub mod shared;
mod short;
mod spare;
pub mod sys;
pub mod tenant;
mod timer;
mod words;

pub use admission::Admission;
pub use bans::Banned;
pub use control::{ControlAnswer, ControlRequest, ControlTicket};
pub use counters::{Counters, Traffic};
pub use effects::{Effects, Letter};
pub use hints::Hints;
pub use journal::{Journal, JournalState, Position, Record};
pub use limits::{Limits, QueuePolicy};
pub use message::{Message, Origin, Publisher};
pub use motte_audit as audit;
pub use motte_mqtt as mqtt;
pub use motte_policy as policy;
pub use mount::{MountPoint, MountPointError};
pub use owners::TenantLimits;
pub use restore::{Fetch, Fetched, Restored, RestoredSession};
pub use shard::{LinkId, Millis, Shard, ShardId, home};
pub use shared::Shared;
pub use sys::{CheckFigures, NodeFigures, ReloadFigures, SourceFigures, StoreFigures};

//! What happened, as values: the events of the broker and the closed list of reasons for a refusal.
//!
//! Made by `broker` and `node`, written to the log by `node`. Does no input or output, has no clock, and no event
//! carries a secret or a payload.

mod event;
mod text;

pub use event::{CloseCause, Denial, Event, EventKind, RefusalReason, Severity};
pub use text::Escaped;

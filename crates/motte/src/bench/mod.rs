//! The engine of `motte bench`: load for any MQTT broker, on one thread, fast enough that the broker is the limit.
//!
//! Called by `cli/bench`. Packets are encoded once and copied, read in large pieces and found by their fixed headers;
//! the client library, which hands each message to a person's program, would be the limit itself. Never opens a
//! connection that is weaker than asked for.

mod clock;
pub(crate) mod crew;
pub(crate) mod dial;
pub(crate) mod flow;
pub(crate) mod limits;
mod link;
pub(crate) mod measure;
mod net;
mod peer;
mod publisher;
mod scan;
mod socket;
pub(crate) mod storm;
mod subscriber;
mod template;
mod tickets;

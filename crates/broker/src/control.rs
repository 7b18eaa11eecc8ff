//! What a client asks of the broker itself, on its way to whoever answers.
//!
//! Made by `handle/control` out of a PUBLISH that policy let pass, handed over through [`crate::Effects::control`],
//! answered through [`crate::Shard::on_control_answer`]. The broker looks at no content.

use std::fmt;
use std::sync::Arc;

use motte_policy::Subject;
use motte_policy::control::Endpoint;

/// Which request of a connection an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ControlTicket(pub(crate) u64);

/// A request.
pub struct ControlRequest {
    /// What it asks of.
    pub endpoint: Endpoint,
    /// What the answer has to show.
    pub ticket: ControlTicket,
    /// Who asks.
    pub who: Arc<Subject>,
    /// What was published. May hold passwords: not shown in `Debug`, to be wiped by whoever is done with it.
    pub payload: Vec<u8>,
}

impl fmt::Debug for ControlRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, ticket, who, payload } = self;
        let mut shown = f.debug_struct("ControlRequest");
        shown.field("endpoint", endpoint).field("ticket", ticket).field("who", who);
        shown.field("payload_bytes", &payload.len()).finish_non_exhaustive()
    }
}

/// The answer to a request; whatever it changed is durable by now.
#[derive(Clone, Debug)]
pub struct ControlAnswer {
    /// What the request asked of.
    pub endpoint: Endpoint,
    /// That of the request.
    pub ticket: ControlTicket,
    /// What the client is told.
    pub payload: Vec<u8>,
}

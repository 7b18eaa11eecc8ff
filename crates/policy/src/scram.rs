//! SCRAM-SHA-256 (RFC 5802, RFC 7677): what a server keeps of a password, and its side of the exchange.
//!
//! Called by the gate before CONNACK, by the broker for a link that authenticates again, and by `motte passwd`. The
//! password itself never comes here but when keys are derived. Pure: randomness is an argument.

mod exchange;
mod keys;
mod message;
mod reauthentication;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub(crate) use exchange::decoy;
pub use exchange::{Candidate, Exchange, Proved, Reply, SEED_BYTES};
pub(crate) use keys::is_prepared;
pub use keys::{ITERATIONS_NEW, ScramKeys};
pub use message::{ClientFinal, ClientFirst, MESSAGE_BYTES_MAX};
pub use reauthentication::Reauthentication;

/// The Authentication Method of MQTT 5.0 and name of the mechanism (RFC 7677 §4).
pub const METHOD: &str = "SCRAM-SHA-256";

/// Why an exchange fails. Holds no text of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{}", self.what())]
pub enum ScramError {
    /// A message that breaks the grammar, or does not belong to this exchange.
    Message(&'static str),
    /// The user is unknown or the proof is wrong; the two are not told apart (K29).
    Credentials,
    /// The exchange is for another name than the connection is.
    OtherUser,
}

impl ScramError {
    /// What went wrong, for the operator.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Message(what) => what,
            Self::Credentials => "the user is unknown or the proof is wrong",
            Self::OtherUser => "the user name of the exchange is not that of the connection",
        }
    }
}

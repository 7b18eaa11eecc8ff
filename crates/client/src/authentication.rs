//! How a client proves who it is, and what can go wrong with that.
//!
//! Used by the configuration, by `connect` and by a connection that authenticates again. Never shows a secret.

use thiserror::Error;

use crate::error::{ConnectionLost, EXIT_PROTOCOL, EXIT_TIMEOUT, EXIT_USAGE};

/// What is done with user name and password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Both are sent in CONNECT.
    #[default]
    Password,
    /// The password is proved by SCRAM-SHA-256 (RFC 7677) and not sent; the broker proves in turn that it has the
    /// user's record, or is not believed. MQTT 5.0 only.
    ScramSha256,
}

/// Why an exchange did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AuthenticationError {
    /// The configuration does not allow one.
    #[error("SCRAM-SHA-256 cannot be used: {0}")]
    Credentials(&'static str),
    /// The broker did not do its part: whoever it is, it may not have the user's record.
    #[error("the broker did not prove who it is: {0}")]
    BrokerUnproved(&'static str),
    /// The connection did not begin with an exchange, so there is none to repeat.
    #[error("this connection was not authenticated by SCRAM-SHA-256")]
    NotInUse,
    /// Another exchange is going on.
    #[error("an authentication is going on already")]
    Running,
    /// No answer in time.
    #[error("the broker did not answer the authentication in time")]
    TimedOut,
    /// The system gave no randomness.
    #[error("the system gives no randomness: {0}")]
    System(String),
    /// The connection ended; after a refusal the broker ends it.
    #[error(transparent)]
    Lost(#[from] ConnectionLost),
}

impl AuthenticationError {
    /// What the user can do about it, one sentence.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Credentials(_) => "give a user name and its password, both in ASCII, and use MQTT 5",
            Self::BrokerUnproved(_) => "make sure that this is the right broker: it does not know this user's password",
            Self::NotInUse => "connect with SCRAM-SHA-256",
            Self::Running => "wait for its end",
            Self::TimedOut => "check the broker",
            Self::System(_) => "try again",
            Self::Lost(lost) => lost.hint(),
        }
    }

    /// The exit status of a command that ends with this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Credentials(_) | Self::NotInUse | Self::Running => EXIT_USAGE,
            Self::BrokerUnproved(_) => EXIT_PROTOCOL,
            Self::TimedOut => EXIT_TIMEOUT,
            Self::System(_) => crate::error::EXIT_SYSTEM,
            Self::Lost(lost) => lost.exit_code(),
        }
    }
}

//! Names of people and devices.
//!
//! Called by every room that handles an identity. Never touches a secret.

use std::sync::Arc;

/// A user name: from a password login or from a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(pub Arc<str>);

/// A client identifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub Arc<str>);

/// Who somebody is: the owner of a session, the publisher of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A named user.
    User(UserName),
    /// Nobody in particular; only where the configuration allows it under `[danger]`.
    Anonymous,
}

impl Identity {
    /// The name, if there is one.
    #[must_use]
    pub fn user_name(&self) -> Option<&str> {
        match self {
            Self::User(name) => Some(&name.0),
            Self::Anonymous => None,
        }
    }
}

/// Whom a decision is about: the identity and the client it uses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The identity.
    pub identity: Identity,
    /// The client identifier.
    pub client_id: ClientId,
}

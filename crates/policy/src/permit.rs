//! The chain of custody of a CONNECT: `Authenticated`, then `AdmitPermit`.
//!
//! An `Authenticated` is made only by a verified password or by the gate from a certificate that TLS verified; an
//! `AdmitPermit` only out of an `Authenticated`; the broker's `Admission` only out of a permit.

use thiserror::Error;

use crate::acl::{Action, Policy};
use crate::identity::{ClientId, Identity, Subject, UserName};

/// How somebody proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// User name and password.
    Password,
    /// A client certificate verified in the TLS handshake.
    Certificate,
    /// Not at all, allowed under `[danger]`.
    Anonymous,
}

/// Proof that an identity was checked. Not clonable: one check admits one connection.
#[derive(Debug)]
pub struct Authenticated {
    identity: Identity,
    method: Method,
}

impl Authenticated {
    /// The identity of a certificate whose chain, dates and role the TLS handshake verified. Only `node/gate/authn` may
    /// call this; a check over the source keeps it so.
    #[must_use]
    pub fn by_certificate(name: UserName) -> Self {
        Self { identity: Identity::User(name), method: Method::Certificate }
    }

    /// Nobody, where `[danger] allow_anonymous` stands. Only `node/gate/authn` may call this.
    #[must_use]
    pub fn anonymously() -> Self {
        Self { identity: Identity::Anonymous, method: Method::Anonymous }
    }

    /// Made by the password file after the hash matched.
    pub(crate) fn by_password(name: UserName) -> Self {
        Self { identity: Identity::User(name), method: Method::Password }
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How it was proved.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }
}

/// Why policy does not admit somebody who is who they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// The user name or client identifier holds `+`, `#` or `/` while a pattern rule would use it (K17).
    #[error("the name holds a character that would widen an ACL pattern")]
    UnsafeName,
    /// The will's topic may not be published by this subject (K15).
    #[error("the will may not be published")]
    WillDenied,
}

/// The right to be admitted as one subject. Not clonable.
#[derive(Debug)]
pub struct AdmitPermit {
    subject: Subject,
    method: Method,
}

impl AdmitPermit {
    /// The subject that is admitted.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// How the identity was proved.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }
}

impl Policy {
    /// Whether `who` may come in with `client_id` and a will for `will_topic`. The will is judged again when it fires.
    pub fn admit(
        &self,
        who: Authenticated,
        client_id: ClientId,
        will_topic: Option<&str>,
    ) -> Result<AdmitPermit, Refused> {
        let subject = Subject { identity: who.identity, client_id };
        if self.is_unsafe(&subject) {
            return Err(Refused::UnsafeName);
        }
        if will_topic.is_some_and(|topic| !self.allows(&subject, Action::Publish, topic)) {
            return Err(Refused::WillDenied);
        }
        Ok(AdmitPermit { subject, method: who.method })
    }
}

#[cfg(test)]
mod tests;

//! The chain of custody of a CONNECT: `Authenticated`, then `AdmitPermit`.
//!
//! An `Authenticated` is made only by a verified password or by the gate, from a certificate that TLS verified or from
//! the word of a source outside; an `AdmitPermit` only out of an `Authenticated`; the broker's `Admission` only out of
//! a permit.

use std::sync::Arc;

use thiserror::Error;

use crate::facts::{Facts, TooManyAttributes};
use crate::identity::{ClientId, Identity, Subject, UserName};
use crate::password::Fingerprint;
use crate::policy::{Policy, Publishing};
use crate::scram::{Proved, Reauthentication};
use crate::topic::{Reserved, reserved};

/// How somebody proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// User name and password.
    Password,
    /// SCRAM-SHA-256: the password was proved and never sent.
    Scram,
    /// A client certificate verified in the TLS handshake.
    Certificate,
    /// By the word of a source outside the broker: an issuer of tokens, a webhook, a directory.
    Source,
    /// Not at all, allowed under `[danger]`.
    Anonymous,
}

/// Which source outside the broker vouched for somebody, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouch {
    /// Its name in the configuration.
    pub source: Arc<str>,
    /// What stands for the key that a token was signed with.
    pub key: Option<[u8; 32]>,
}

/// Proof that an identity was checked. Not clonable: one check admits one connection.
#[derive(Debug)]
pub struct Authenticated {
    identity: Identity,
    method: Method,
    reauthentication: Option<Box<Reauthentication>>,
    secret: Option<Fingerprint>,
    facts: Facts,
    vouch: Option<Vouch>,
}

impl Authenticated {
    /// The identity of a certificate whose chain, dates and role the TLS handshake verified. Only `node/gate/authn` may
    /// call this; a check over the source keeps it so.
    #[must_use]
    pub fn by_certificate(name: UserName) -> Self {
        Self::new(Identity::User(name), Method::Certificate)
    }

    /// Somebody a source outside the broker vouches for. Only `node/gate/authn` may call this.
    #[must_use]
    pub fn by_source(name: UserName, vouch: Vouch) -> Self {
        Self { vouch: Some(vouch), ..Self::new(Identity::User(name), Method::Source) }
    }

    /// Nobody, where `[danger] allow_anonymous` stands. Only `node/gate/authn` may call this.
    #[must_use]
    pub fn anonymously() -> Self {
        Self::new(Identity::Anonymous, Method::Anonymous)
    }

    /// Made by the dynamic users after the hash matched.
    pub(crate) fn by_password(name: UserName) -> Self {
        Self::new(Identity::User(name), Method::Password)
    }

    /// Made by the password file after the hash of one of the user's secrets matched.
    pub(crate) fn by_secret(name: UserName, secret: Fingerprint) -> Self {
        Self { secret: Some(secret), ..Self::new(Identity::User(name), Method::Password) }
    }

    /// Whoever completed a SCRAM exchange against a record of the password file.
    #[must_use]
    pub fn by_scram(proved: Proved) -> Self {
        let identity = Identity::User(proved.user().clone());
        let secret = Some(proved.fingerprint());
        let reauthentication = Some(Box::new(Reauthentication::new(proved)));
        Self { reauthentication, secret, ..Self::new(identity, Method::Scram) }
    }

    fn new(identity: Identity, method: Method) -> Self {
        Self { identity, method, reauthentication: None, secret: None, facts: Facts::default(), vouch: None }
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

    /// The same with what the proof, or another proof of the same identity, says beside the name.
    pub fn with_facts(mut self, facts: Facts) -> Result<Self, TooManyAttributes> {
        self.facts = self.facts.and(facts)?;
        Ok(self)
    }

    /// What is known beside the name.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
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
    reauthentication: Option<Box<Reauthentication>>,
    secret: Option<Fingerprint>,
    until: Option<u64>,
    vouch: Option<Vouch>,
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

    /// Which secret of the password file was proved.
    #[must_use]
    pub fn secret(&self) -> Option<Fingerprint> {
        self.secret
    }

    /// When the proof ends, in seconds of Unix time.
    #[must_use]
    pub fn until(&self) -> Option<u64> {
        self.until
    }

    /// Which source outside the broker vouched for the identity.
    #[must_use]
    pub fn vouch(&self) -> Option<&Vouch> {
        self.vouch.as_ref()
    }

    /// The permit as the subject, and the state of its enhanced authentication where it was admitted by one.
    #[must_use]
    pub fn into_parts(self) -> (Subject, Option<Box<Reauthentication>>) {
        (self.subject, self.reauthentication)
    }
}

impl Policy {
    /// Whether `who` may come in with `client_id` and a will. The will is judged again when it fires.
    pub fn admit(
        &self,
        who: Authenticated,
        client_id: ClientId,
        will: Option<Publishing<'_>>,
    ) -> Result<AdmitPermit, Refused> {
        let Authenticated { identity, method, reauthentication, secret, facts, vouch } = who;
        let until = facts.until;
        let subject = Subject::new(identity, client_id).with_facts(facts);
        if self.is_unsafe(&subject) {
            return Err(Refused::UnsafeName);
        }
        if will.is_some_and(|will| !self.may_will(&subject, will)) {
            return Err(Refused::WillDenied);
        }
        Ok(AdmitPermit { subject, method, reauthentication, secret, until, vouch })
    }

    /// Whether `who` may have this published when its connection ends: what it may publish itself, but for commands to
    /// the broker, which nobody gives when gone.
    #[must_use]
    pub fn may_will(&self, who: &Subject, will: Publishing<'_>) -> bool {
        reserved(will.topic) == Reserved::No && self.may_publish(who, will)
    }
}

#[cfg(test)]
mod tests;

//! Names of people and devices, and whom a decision is about.
//!
//! Called by every room that handles an identity. Never touches a secret.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use thiserror::Error;

use crate::facts::{Attributes, Facts};
use crate::grants::Grants;

/// A user name: from a password login or from a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(pub Arc<str>);

impl std::borrow::Borrow<str> for UserName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

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

/// Longest name of a tenant.
const TENANT_BYTES_MAX: usize = 64;

/// The name of a tenant: one level of a topic whatever it is put into, because it holds letters, digits, `.`, `_` and
/// `-` only, and begins with a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantName(Arc<str>);

/// Why a text is no name of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a tenant is named by 1 to 64 letters, digits, `.`, `_` and `-`, and begins with a letter or a digit")]
pub struct TenantNameError;

impl TenantName {
    /// Takes a name that is one.
    pub fn parse(text: &str) -> Result<Self, TenantNameError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !begins_well || text.len() > TENANT_BYTES_MAX || !text.bytes().all(is_plain) {
            return Err(TenantNameError);
        }
        Ok(Self(text.into()))
    }

    /// A name that stands for every name: no tenant can have it.
    pub(crate) fn symbol() -> Self {
        Self("%t".into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whom a decision is about: the identity, the client it uses, and what else was proved or seen when it came in. Cheap
/// to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject {
    /// The identity.
    pub identity: Identity,
    /// The client identifier.
    pub client_id: ClientId,
    /// The tenant it belongs to.
    pub tenant: Option<TenantName>,
    /// What the proof of the identity said beside the name.
    pub attributes: Arc<Attributes>,
    /// The address it came in from; `None` where there is none, as behind a unix socket.
    pub address: Option<IpAddr>,
    /// Rights that came with the proof.
    pub grants: Option<Arc<Grants>>,
}

/// What is not known is not shown.
impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Subject");
        shown.field("identity", &self.identity).field("client_id", &self.client_id);
        if let Some(tenant) = &self.tenant {
            shown.field("tenant", tenant);
        }
        if !self.attributes.is_empty() {
            shown.field("attributes", &self.attributes.iter().collect::<Vec<_>>());
        }
        if let Some(address) = &self.address {
            shown.field("address", address);
        }
        if let Some(grants) = &self.grants {
            shown.field("grants", &grants.list());
        }
        shown.finish()
    }
}

impl Subject {
    /// A subject of whom nothing is known beside identity and client identifier.
    #[must_use]
    pub fn new(identity: Identity, client_id: ClientId) -> Self {
        Self { identity, client_id, tenant: None, attributes: Attributes::none(), address: None, grants: None }
    }

    /// The same with what a proof said.
    #[must_use]
    pub fn with_facts(self, facts: Facts) -> Self {
        let Facts { attributes, tenant, grants, until: _, address } = facts;
        Self { attributes, tenant, grants, address, ..self }
    }
}

#[cfg(test)]
mod tests;

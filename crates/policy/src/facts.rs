//! What the proof of an identity says beside the name: attributes, tenant, rights, and until when it holds.
//!
//! Filled by the gate's sources of identity, carried by the permit into the broker, asked by policy. Bounded, because a
//! peer's certificate or token stands behind it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use thiserror::Error;

use crate::grants::Grants;
use crate::identity::TenantName;

/// Bytes of all names and values of one subject.
const BYTES_MAX: usize = 16 * 1024;
/// Values of one subject, over all names.
const VALUES_MAX: usize = 256;

/// Named lists of texts, in the order of the names: `cert.cn`, `cert.san.dns`, `jwt.scope`, …
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes {
    lists: BTreeMap<Box<str>, Vec<Box<str>>>,
    values: usize,
    bytes: usize,
}

/// A proof says more beside the name than is kept. Nothing may be left out: a rule that denies could depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the proof of identity says more than {VALUES_MAX} things, or more than {BYTES_MAX} bytes")]
pub struct TooManyAttributes;

impl Attributes {
    /// No attributes at all; one value for everybody.
    #[must_use]
    pub fn none() -> Arc<Self> {
        static NONE: LazyLock<Arc<Attributes>> = LazyLock::new(Arc::default);
        Arc::clone(&NONE)
    }

    /// Adds a value to the list of a name; the same one twice is one.
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), TooManyAttributes> {
        if self.values(name).any(|known| known == value) {
            return Ok(());
        }
        let bytes = self.bytes.saturating_add(name.len()).saturating_add(value.len());
        if self.values == VALUES_MAX || bytes > BYTES_MAX {
            return Err(TooManyAttributes);
        }
        self.values += 1;
        self.bytes = bytes;
        self.lists.entry(name.into()).or_default().push(value.into());
        Ok(())
    }

    /// The values of a name, in the order they were added; none for a name that is not there.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.lists.get(name).into_iter().flatten().map(AsRef::as_ref)
    }

    /// Every name with each of its values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lists.iter().flat_map(|(name, values)| values.iter().map(move |value| (&**name, &**value)))
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }
}

/// What a proof says beside the name.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What it says about its holder.
    pub attributes: Arc<Attributes>,
    /// The tenant its holder belongs to.
    pub tenant: Option<TenantName>,
    /// Rights that come with it.
    pub grants: Option<Arc<Grants>>,
    /// When it ends, in seconds of Unix time.
    pub until: Option<u64>,
    /// The address its holder came in from.
    pub address: Option<IpAddr>,
}

impl Default for Facts {
    fn default() -> Self {
        Self { attributes: Attributes::none(), tenant: None, grants: None, until: None, address: None }
    }
}

impl Facts {
    /// What two proofs of one identity say together: every attribute of both, the tenant and the rights of the later
    /// one where it names them, and the end that comes first.
    pub fn and(self, later: Self) -> Result<Self, TooManyAttributes> {
        let attributes = match (self.attributes.is_empty(), later.attributes.is_empty()) {
            (_, true) => self.attributes,
            (true, false) => later.attributes,
            (false, false) => {
                let mut both = Attributes::clone(&self.attributes);
                later.attributes.iter().try_for_each(|(name, value)| both.add(name, value))?;
                Arc::new(both)
            }
        };
        let until = self.until.into_iter().chain(later.until).min();
        let (tenant, grants) = (later.tenant.or(self.tenant), later.grants.or(self.grants));
        Ok(Self { attributes, tenant, grants, until, address: later.address.or(self.address) })
    }
}

#[cfg(test)]
mod tests;

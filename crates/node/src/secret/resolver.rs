//! Finds the secrets that the settings refer to, those in a vault too.
//!
//! Made for one snapshot, used while that is built, where waiting is allowed.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::vault::{self, Values, VaultPath, VaultSettings};
use super::{Environment, Secret, SecretError, SecretRef};
use crate::outbound::wait_for;

/// Finds secrets.
pub struct Resolver<'a> {
    environment: Environment<'a>,
    vault: Option<&'a VaultSettings>,
    /// What was read so far, so that all secrets of one place are of one version.
    read: BTreeMap<String, Values>,
}

impl<'a> Resolver<'a> {
    /// One that looks into this environment and this vault.
    #[must_use]
    pub fn new(environment: Environment<'a>, vault: Option<&'a VaultSettings>) -> Self {
        Self { environment, vault, read: BTreeMap::new() }
    }

    /// The secret, as it is where it is kept at present. Blocks, on the network too.
    ///
    /// # Errors
    /// It is not there, is open to others, or cannot be read.
    pub fn resolve(&mut self, reference: &SecretRef) -> Result<Secret, SecretError> {
        match reference {
            SecretRef::Vault(path) => self.ask_vault(path),
            other => other.resolve(self.environment),
        }
    }

    fn ask_vault(&mut self, path: &VaultPath) -> Result<Secret, SecretError> {
        let settings = self.vault.ok_or(SecretError::NoVault)?;
        let place = path.place();
        if !self.read.contains_key(&place) {
            let proof = settings.login.proof().resolve(self.environment)?;
            let values = wait_for(vault::read(settings, &proof, &place))
                .map_err(|error| SecretError::Vault(error.to_string()))??;
            self.read.insert(place.clone(), values);
        }
        let value = self.read.get(&place).and_then(|values| values.get(path.key()));
        let missing = || SecretError::Vault(format!("it has no text under the key {:?} there", path.key()));
        Secret::new(Zeroizing::new(value.ok_or_else(missing)?.as_bytes().to_vec()))
    }
}

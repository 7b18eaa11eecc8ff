//! Who a dynamic client is: its password, whether it is disabled, and the client identifier it is bound to.
//!
//! Called by the gate's bounded pool (a password check is slow on purpose), and by admission for whoever proved by
//! other means to have the name of a dynamic client: one that is disabled is out however it comes.

use sha2::{Digest as _, Sha512};
use subtle::Choice;
use thiserror::Error;

use super::model::DynamicSecurity;
use super::password::Password;
use crate::identity::UserName;
use crate::password::PasswordHash;
use crate::permit::Authenticated;

/// What a password says about a dynamic client.
#[derive(Debug)]
pub enum Check {
    /// It is the client.
    Accepted(Authenticated),
    /// It is not, or must not come in.
    Refused,
    /// There is no client of this name.
    Unknown,
}

/// Why a client that is who it says must stay outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Barred {
    /// It is disabled.
    #[error("the dynamic client is disabled")]
    Disabled,
    /// It is bound to another client identifier.
    #[error("the dynamic client is bound to another client identifier")]
    OtherClientId,
}

impl DynamicSecurity {
    /// Checks a password. The work is the same whether there is such a client or not, and whether it may come in (K29).
    #[must_use]
    pub fn verify(&self, user: &str, client_id: &str, password: &[u8]) -> Check {
        let client = self.clients.get(user);
        let known = client.and_then(|client| client.password.as_ref());
        let matches = match known.or_else(|| self.decoy(user)) {
            Some(hash) => hash.matches(password),
            None => PasswordHash::nobody().matches(password),
        };
        if client.is_none() {
            return Check::Unknown;
        }
        let may_enter = known.is_some() && self.bars(user, client_id).is_none();
        if bool::from(matches & Choice::from(u8::from(may_enter))) {
            Check::Accepted(Authenticated::by_password(UserName(user.into())))
        } else {
            Check::Refused
        }
    }

    /// Why `user` must not come in with this client identifier, however the name was proved; nothing for one who is no
    /// client here.
    #[must_use]
    pub fn bars(&self, user: &str, client_id: &str) -> Option<Barred> {
        let client = self.clients.get(user)?;
        if client.is_disabled {
            return Some(Barred::Disabled);
        }
        client.client_id.as_ref().filter(|bound| *bound != client_id).map(|_| Barred::OtherClientId)
    }

    /// Whether a password that `earlier` accepted of `user` is the one that is accepted here, with the same client
    /// identifier.
    #[must_use]
    pub fn upholds(&self, earlier: &Self, user: &str) -> bool {
        let (Some(now), Some(before)) = (self.clients.get(user), earlier.clients.get(user)) else { return false };
        let is_same = now.password == before.password && now.client_id == before.client_id;
        is_same && now.password.is_some() && !now.is_disabled
    }

    /// Whether `user` is a client that must stay outside.
    #[must_use]
    pub fn is_disabled(&self, user: &str) -> bool {
        self.clients.get(user).is_some_and(|client| client.is_disabled)
    }

    /// The hash whose work an unknown user costs: each name has its own, so that times are spread as those of known
    /// names are. The first hash keeps the choice unguessable.
    fn decoy(&self, user: &str) -> Option<&Password> {
        let all = || self.clients.values().filter_map(|client| client.password.as_ref());
        let secret = all().next()?.encode();
        let digest = Sha512::new().chain_update(secret).chain_update(user).finalize();
        let draw = digest.iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let place = usize::try_from(draw % all().count() as u64).unwrap_or_default();
        all().nth(place)
    }
}

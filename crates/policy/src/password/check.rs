//! Checking a password against the file, and whether a proof of earlier still stands.
//!
//! Called by the gate, on its pool, and by the command line. Slow on purpose.

use std::fmt;

use sha2::{Digest, Sha512};
use subtle::Choice;

use super::hash::Scheme;
use super::{Fingerprint, PasswordFile, PasswordHash, Secret, Term};
use crate::facts::Facts;
use crate::identity::UserName;
use crate::permit::Authenticated;

/// What a check came to, and the work it was.
#[derive(Debug)]
pub struct Checked {
    /// Who it is; `None` says no more than no.
    pub login: Option<Login>,
    /// One for each hash that was computed.
    pub work: Vec<Cost>,
}

/// Somebody whose password is right.
#[derive(Debug)]
pub struct Login {
    /// Who it is. The proof ends when the secret does.
    pub who: Authenticated,
    /// Label and dates of the secret.
    pub term: Term,
    /// The secret.
    pub fingerprint: Fingerprint,
}

/// What computing a hash costs: its scheme and parameters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(Scheme);

impl fmt::Debug for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PasswordFile {
    /// Checks a password at `now`, in seconds of Unix time. The work is the same for an unknown user, a wrong password
    /// and a secret that does not count yet or any more (K29).
    ///
    /// The empty password is a password like any other: it opens where the file holds its hash, as clients and files of
    /// other brokers expect. `motte passwd` sets none.
    #[must_use]
    pub fn check(&self, user: &str, password: &[u8], now: u64) -> Checked {
        let known = self.secrets(user);
        let mut work = Vec::new();
        let mut matches = |hash: &PasswordHash| {
            work.push(Cost(hash.scheme));
            hash.matches(password)
        };
        for Secret { term, hash } in &known {
            let counts = Choice::from(u8::from(term.holds_at(now)));
            if bool::from(matches(hash) & counts) {
                return Checked { login: Some(login(user, term.clone(), hash)), work };
            }
        }
        if known.is_empty() {
            let decoys = self.decoy(user);
            if decoys.is_empty() {
                let _ = matches(&PasswordHash::nobody());
            }
            for hash in decoys {
                let _ = matches(hash);
            }
        }
        Checked { login: None, work }
    }

    /// The login of somebody whose secret with this fingerprint was checked before, if it still counts.
    #[must_use]
    pub fn recall(&self, user: &str, fingerprint: Fingerprint, now: u64) -> Option<Login> {
        let secret = self.secrets(user).into_iter().find(|secret| secret.hash.fingerprint() == fingerprint)?;
        secret.term.holds_at(now).then(|| login(user, secret.term, secret.hash))
    }

    /// Whether a secret of a user, sent or proved by SCRAM, is there and counts at `now`. One that was hashed anew by
    /// the broker itself is the same secret.
    #[must_use]
    pub fn stands(&self, user: &str, fingerprint: Fingerprint, now: u64) -> bool {
        let is_it =
            |secret: &Secret<'_>| secret.term.holds_at(now) && self.is_same(secret.hash.fingerprint(), fingerprint);
        self.secrets(user).iter().any(is_it)
            || self.scram_keys(user).is_some_and(|keys| keys.fingerprint() == fingerprint)
    }

    /// Whether everything `earlier` has of a user that counts at `now`, and that is something, stands here.
    #[must_use]
    pub fn upholds(&self, earlier: &Self, user: &str, now: u64) -> bool {
        let keys = earlier.scram_keys(user).map(crate::ScramKeys::fingerprint);
        let secrets = earlier.secrets(user).into_iter().filter(|secret| secret.term.holds_at(now));
        let mut all = secrets.map(|secret| secret.hash.fingerprint()).chain(keys);
        earlier.contains(user) && self.contains(user) && all.all(|fingerprint| self.stands(user, fingerprint, now))
    }

    /// The hashes whose work an unknown user costs: those of some user. Each name has its own, so that in a file with
    /// several schemes the times of unknown names are spread as those of known ones are. The salt of the first entry
    /// keeps it unguessable.
    pub(super) fn decoy(&self, user: &str) -> Vec<&PasswordHash> {
        let Some(first) = self.lines.iter().find_map(|line| line.hash()) else { return Vec::new() };
        let digest = Sha512::new().chain_update(first.salt()).chain_update(user).finalize();
        let draw = digest.iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let place = usize::try_from(draw % self.secrets.len().max(1) as u64).unwrap_or_default();
        let places = self.secrets.values().nth(place).into_iter().flatten();
        places.filter_map(|at| self.lines[*at].hash()).collect()
    }
}

fn login(user: &str, term: Term, hash: &PasswordHash) -> Login {
    let fingerprint = hash.fingerprint();
    let who = Authenticated::by_secret(UserName(user.into()), fingerprint);
    let until = Facts { until: term.expires, ..Facts::default() };
    let who = who.with_facts(until).expect("an end is no attribute");
    Login { who, term, fingerprint }
}

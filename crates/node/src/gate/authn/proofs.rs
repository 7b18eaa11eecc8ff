//! Passwords that were right a moment ago, so that thousands of devices that come back at once are not hashed again.
//!
//! Asked by the password source. Holds no password: a keyed digest of user and password (HMAC-SHA-256, the key is
//! random and of this process) leads to the fingerprint of the secret it proved, which has to be in the file in force.
//! The key is replaced as time goes on, and what was kept under the one before the last is gone.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use motte_policy::Fingerprint;
use sha2::Sha256;
use zeroize::Zeroizing;

type Digest = [u8; 32];

/// What is kept under one key.
struct Generation {
    key: Zeroizing<Digest>,
    begun: Instant,
    proofs: HashMap<Digest, (Fingerprint, Instant)>,
}

/// The two latest generations, the newer one first.
pub(super) struct Proofs {
    generations: Mutex<Vec<Generation>>,
}

impl fmt::Debug for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proofs").finish_non_exhaustive()
    }
}

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keeping {
    pub(super) most: usize,
    pub(super) life: Duration,
}

impl Generation {
    /// A generation with a key of its own; none where the system has no randomness.
    fn new(now: Instant) -> Option<Self> {
        let mut key = Zeroizing::new(Digest::default());
        getrandom::fill(&mut *key).ok()?;
        Some(Self { key, begun: now, proofs: HashMap::new() })
    }

    fn digest(&self, user: &str, password: &[u8]) -> Digest {
        let mac = Hmac::<Sha256>::new_from_slice(&*self.key).expect("HMAC takes a key of any length");
        let length = (user.len() as u64).to_be_bytes();
        mac.chain_update(length).chain_update(user).chain_update(password).finalize().into_bytes().into()
    }
}

impl Proofs {
    pub(super) fn new() -> Self {
        Self { generations: Mutex::new(Vec::new()) }
    }

    /// The secret that this user and password proved a short while ago.
    pub(super) fn recall(&self, user: &str, password: &[u8], keeping: Keeping, now: Instant) -> Option<Fingerprint> {
        let generations = self.lock();
        let found = generations.iter().find_map(|kept| kept.proofs.get(&kept.digest(user, password)));
        let (fingerprint, proved) = found?;
        (now.saturating_duration_since(*proved) < keeping.life).then_some(*fingerprint)
    }

    /// Remembers that this user and password proved a secret.
    pub(super) fn remember(
        &self,
        (user, password): (&str, &[u8]),
        fingerprint: Fingerprint,
        keeping: Keeping,
        now: Instant,
    ) {
        if keeping.most == 0 || keeping.life.is_zero() {
            return;
        }
        let mut generations = self.lock();
        let is_over = |kept: &Generation| {
            now.saturating_duration_since(kept.begun) >= keeping.life || kept.proofs.len() * 2 >= keeping.most
        };
        if generations.first().is_none_or(is_over) {
            let Some(next) = Generation::new(now) else { return };
            generations.insert(0, next);
            generations.truncate(2);
        }
        let Some(current) = generations.first_mut() else { return };
        let digest = current.digest(user, password);
        current.proofs.insert(digest, (fingerprint, now));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Generation>> {
        // Nothing in here panics between its steps.
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use motte_policy::PasswordHash;

    use super::*;

    const KEEPING: Keeping = Keeping { most: 8, life: Duration::from_secs(10) };

    #[test]
    fn a_proof_is_recalled_for_its_life_and_for_the_same_words_only() {
        let (proofs, now) = (Proofs::new(), Instant::now());
        let secret = PasswordHash::new(b"secret", [0; 16]).fingerprint();
        proofs.remember(("anna", b"secret"), secret, KEEPING, now);
        let recall = |user: &str, password: &[u8], at: u64| {
            proofs.recall(user, password, KEEPING, now + Duration::from_secs(at))
        };
        assert_eq!(recall("anna", b"secret", 9), Some(secret));
        assert_eq!(recall("anna", b"secret", 10), None);
        for (user, password) in
            [("anna", &b"secrets"[..]), ("annas", b"ecret"), ("ann", b"asecret"), ("", b"annasecret")]
        {
            assert_eq!(recall(user, password, 0), None);
        }
    }

    #[test]
    fn keys_change_and_what_is_kept_is_bounded() {
        let (proofs, now) = (Proofs::new(), Instant::now());
        let secret = PasswordHash::new(b"secret", [0; 16]).fingerprint();
        for number in 0..1_000 {
            proofs.remember((&format!("user-{number}"), b"x"), secret, KEEPING, now);
            let generations = proofs.lock();
            assert!(generations.iter().map(|kept| kept.proofs.len()).sum::<usize>() <= KEEPING.most);
        }
        let first = proofs.lock()[0].key.clone();
        proofs.remember(("late", b"x"), secret, KEEPING, now + Duration::from_secs(11));
        assert_ne!(proofs.lock()[0].key, first);
        assert_eq!(proofs.lock().len(), 2);
        let off = Proofs::new();
        off.remember(("anna", b"x"), secret, Keeping { most: 0, ..KEEPING }, now);
        assert!(off.lock().is_empty());
    }
}

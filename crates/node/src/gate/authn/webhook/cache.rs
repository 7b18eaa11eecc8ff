//! Answers that said yes, for a short time and a bounded number of questions.
//!
//! Used by the webhook. What was asked holds a password and is not kept: only its HMAC under a key that nobody knows.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Yes;

/// What stands for a question.
pub(super) type Key = [u8; 32];

/// The answers.
pub(super) struct Cache {
    secret: Zeroizing<[u8; 32]>,
    lifetime: Duration,
    entries_max: usize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<Key, (Instant, Yes)>,
    /// The keys with their ends, in the order they came; one that was kept again stands in it twice.
    order: VecDeque<(Instant, Key)>,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("entries_max", &self.entries_max).finish_non_exhaustive()
    }
}

impl Cache {
    /// A cache of so many answers for so long. Without randomness, and without room, it keeps nothing.
    pub(super) fn new(lifetime: Duration, entries_max: usize) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        let entries_max = if getrandom::fill(&mut *secret).is_ok() { entries_max } else { 0 };
        Self { secret, lifetime, entries_max, entries: Mutex::default() }
    }

    /// What stands for a question.
    pub(super) fn key(&self, question: &[u8]) -> Key {
        let mut hash = Hmac::<Sha256>::new_from_slice(&*self.secret).expect("HMAC takes keys of any length");
        hash.update(question);
        hash.finalize().into_bytes().into()
    }

    /// The answer, if it was yes a short time ago.
    pub(super) fn find(&self, key: &Key) -> Option<Yes> {
        let entries = self.lock();
        let (end, yes) = entries.by_key.get(key)?;
        (*end > Instant::now()).then(|| yes.clone())
    }

    /// Keeps a yes, no longer than `left`.
    pub(super) fn keep(&self, key: Key, yes: Yes, left: Option<Duration>) {
        let lifetime = left.map_or(self.lifetime, |left| left.min(self.lifetime));
        if lifetime.is_zero() || self.entries_max == 0 {
            return;
        }
        let now = Instant::now();
        let mut entries = self.lock();
        while let Some((end, oldest)) = entries.order.front().copied()
            && (end <= now || entries.order.len() >= self.entries_max)
        {
            entries.order.pop_front();
            // Only if it was not kept again since.
            if entries.by_key.get(&oldest).is_some_and(|(kept, _)| *kept == end) {
                entries.by_key.remove(&oldest);
            }
        }
        entries.order.push_back((now + lifetime, key));
        entries.by_key.insert(key, (now + lifetime, yes));
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Nothing panics between two steps that belong together.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn yes() -> Yes {
        Yes { attributes: Arc::default(), grants: None, tenant: None, expires_at: None }
    }

    #[test]
    fn k28_the_number_and_the_life_of_kept_answers_are_bounded() {
        let cache = Cache::new(Duration::from_secs(60), 3);
        let keys: Vec<_> = (0..10_u8).map(|n| cache.key(&[n])).collect();
        for key in &keys {
            cache.keep(*key, yes(), None);
            cache.keep(*key, yes(), None);
        }
        let found: Vec<_> = keys.iter().map(|key| cache.find(key).is_some()).collect();
        assert_eq!(found.iter().filter(|found| **found).count(), 2, "the last one stands twice in the order");
        assert!(cache.find(&keys[9]).is_some() && cache.find(&keys[0]).is_none());
        let entries = cache.lock();
        assert!(entries.by_key.len() <= 3 && entries.order.len() <= 3);
        drop(entries);
        cache.keep(keys[0], yes(), Some(Duration::ZERO));
        assert!(cache.find(&keys[0]).is_none(), "what ends now is not kept");
        assert!(Cache::new(Duration::from_secs(60), 3).find(&keys[9]).is_none());
        let without = Cache::new(Duration::ZERO, 3);
        without.keep(keys[0], yes(), None);
        assert!(without.find(&keys[0]).is_none());
    }
}

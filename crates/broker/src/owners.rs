//! How many sessions each user has, over all shards.
//!
//! Called by `handle` when a session is opened and when it ends. Strangers without a name are nobody's sessions and
//! are not counted against one another.

use std::collections::BTreeMap;
use std::sync::Arc;

use motte_policy::Identity;

use crate::lock::Lock;
use crate::shard::fnv1a;

const STRIPES: usize = 64;

/// Sessions by user. Holds a user only while there are any.
#[derive(Debug)]
pub(crate) struct Owners {
    stripes: Vec<Lock<BTreeMap<Arc<str>, usize>>>,
}

impl Owners {
    pub(crate) fn new() -> Self {
        Self { stripes: std::iter::repeat_with(Lock::default).take(STRIPES).collect() }
    }

    /// Counts one more session, unless its owner has `max` already.
    pub(crate) fn enter(&self, owner: &Identity, max: usize) -> bool {
        let Identity::User(name) = owner else { return true };
        let mut counts = self.stripe(&name.0).write();
        match counts.get_mut(&name.0) {
            Some(count) if *count >= max => return false,
            Some(count) => *count += 1,
            None if max == 0 => return false,
            None => {
                counts.insert(Arc::clone(&name.0), 1);
            }
        }
        true
    }

    /// A session that was counted has ended.
    pub(crate) fn leave(&self, owner: &Identity) {
        let Identity::User(name) = owner else { return };
        let mut counts = self.stripe(&name.0).write();
        if let Some(count) = counts.get_mut(&name.0) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&name.0);
            }
        }
    }

    fn stripe(&self, name: &str) -> &Lock<BTreeMap<Arc<str>, usize>> {
        let at = usize::try_from(fnv1a(name.as_bytes()) % STRIPES as u64).expect("less than the number of stripes");
        &self.stripes[at]
    }
}

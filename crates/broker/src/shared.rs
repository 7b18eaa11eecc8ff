//! What all shards of a node share: the route map, the retained messages, the policy in force, and counts by user.
//!
//! The only locks a shard may take are the stripes in here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use motte_policy::Policy;

use crate::lock::Lock;
use crate::owners::Owners;
use crate::rates::ConnectRates;
use crate::retained::Retained;
use crate::routes::Routes;
use crate::shard::{ShardId, home};

/// Shared by all shards.
#[derive(Debug)]
pub struct Shared {
    shards: u16,
    pub(crate) routes: Routes,
    pub(crate) retained: Retained,
    pub(crate) owners: Owners,
    pub(crate) connects: ConnectRates,
    policy: Lock<Arc<Policy>>,
    epoch: AtomicU64,
}

impl Shared {
    /// Shared state for `shards` shards, with the policy in force.
    #[must_use]
    pub fn new(shards: u16, policy: Arc<Policy>) -> Arc<Self> {
        Arc::new(Self {
            shards,
            routes: Routes::new(),
            retained: Retained::new(),
            owners: Owners::new(),
            connects: ConnectRates::new(),
            policy: Lock::new(policy),
            epoch: AtomicU64::new(0),
        })
    }

    /// The shard where a client id lives.
    #[must_use]
    pub fn home(&self, client_id: &str) -> ShardId {
        home(client_id, self.shards)
    }

    /// All shards.
    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shards).map(ShardId)
    }

    /// Puts a new policy in force: each shard judges by it from its next call on; call
    /// [`crate::Shard::on_policy_changed`] on each of them.
    pub fn replace_policy(&self, policy: Arc<Policy>) {
        let mut current = self.policy.write();
        *current = policy;
        // Still under the lock: nobody finds the new policy with the old epoch.
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Retained messages and their bytes now.
    #[must_use]
    pub fn retained_totals(&self) -> (u64, u64) {
        self.retained.totals()
    }

    /// Counts up with each policy put in force.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The policy in force and its epoch.
    pub(crate) fn policy(&self) -> (Arc<Policy>, u64) {
        let current = self.policy.read();
        (Arc::clone(&current), self.epoch())
    }
}

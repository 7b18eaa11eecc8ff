//! What all shards of a node share: the route map, the retained messages, the policy in force, and counts by user.
//!
//! The only locks a shard may take are the stripes in here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use motte_policy::{Policy, TenantName, UserName};

use crate::bans::Bans;
use crate::lock::Lock;
use crate::message::Message;
use crate::owners::{Owners, TenantLimits};
use crate::rates::ConnectRates;
use crate::retained::Retained;
use crate::routes::{Fullness, Routes};
use crate::shard::{Millis, ShardId, home};

/// When users were removed, of those that were since the start. What they had published until then is given to nobody.
pub(crate) type Removals = BTreeMap<UserName, Millis>;

/// Shared by all shards.
#[derive(Debug)]
pub struct Shared {
    shards: u16,
    pub(crate) routes: Routes,
    pub(crate) fullness: Fullness,
    pub(crate) retained: Retained,
    pub(crate) owners: Owners,
    pub(crate) connects: ConnectRates,
    pub(crate) bans: Lock<Arc<Bans>>,
    policy: Lock<(Arc<Policy>, Arc<Removals>)>,
    epoch: AtomicU64,
}

impl Shared {
    /// Shared state for `shards` shards, with the policy in force.
    #[must_use]
    pub fn new(shards: u16, policy: Arc<Policy>) -> Arc<Self> {
        Arc::new(Self {
            shards,
            routes: Routes::new(),
            fullness: Fullness::default(),
            retained: Retained::new(),
            owners: Owners::new(),
            connects: ConnectRates::new(),
            bans: Lock::default(),
            policy: Lock::new((policy, Arc::default())),
            epoch: AtomicU64::new(0),
        })
    }

    /// The shard where the session of this name lives.
    #[must_use]
    pub fn home(&self, session_name: &str) -> ShardId {
        home(session_name, self.shards)
    }

    /// All shards.
    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shards).map(ShardId)
    }

    /// Puts a new policy in force: each shard judges by it from its next call on; call
    /// [`crate::Shard::on_policy_changed`] on each of them.
    pub fn replace_policy(&self, policy: Arc<Policy>) {
        let mut current = self.policy.write();
        current.0 = policy;
        // Still under the lock: nobody finds the new policy with the old epoch.
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Withdraws what these users have published until `now`, wherever it waits or is retained; call
    /// [`crate::Shard::on_policy_changed`] and [`crate::Shard::on_users_revoked`] on each shard. Rules are kept under
    /// names, so that they stand when a user is removed from where it proves who it is, and would go on to serve what
    /// it left behind (K21). Whoever comes by that name later starts with nothing.
    pub fn remove_users(&self, users: impl IntoIterator<Item = UserName>, now: Millis) {
        let mut current = self.policy.write();
        Arc::make_mut(&mut current.1).extend(users.into_iter().map(|user| (user, now)));
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Takes back retained messages, with the serial numbers they had, and the users whose messages were withdrawn.
    /// Called before the first shard is made.
    pub fn restore(
        &self,
        retained: impl IntoIterator<Item = (Arc<Message>, u64)>,
        removals: impl IntoIterator<Item = (UserName, Millis)>,
        now: Millis,
    ) {
        self.retained.begin(now);
        for (message, serial) in retained {
            self.retained.restore(message, serial);
        }
        Arc::make_mut(&mut self.policy.write().1).extend(removals);
    }

    /// Puts the bounds of all tenants in force. Those who have more by now keep what they have.
    pub fn set_tenant_limits(&self, limits: impl IntoIterator<Item = (TenantName, TenantLimits)>) {
        self.owners.set_limits(limits.into_iter().collect());
    }

    /// Retained messages and their bytes now.
    #[must_use]
    pub fn retained_totals(&self) -> (u64, u64) {
        self.retained.totals()
    }

    /// Counts up with each policy put in force and each removal of users.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The policy in force, the users that were removed, and the epoch of both.
    pub(crate) fn policy(&self) -> (Arc<Policy>, Arc<Removals>, u64) {
        let current = self.policy.read();
        (Arc::clone(&current.0), Arc::clone(&current.1), self.epoch())
    }
}

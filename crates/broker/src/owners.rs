//! How many sessions each user has, and how many sessions and connections each tenant, over all shards.
//!
//! Called by `handle` when a session or a link begins and when it ends. Strangers without a name are nobody's sessions
//! and are not counted against one another, but against their tenant they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use motte_policy::{Subject, TenantName};

use crate::lock::Lock;
use crate::shard::fnv1a;
use crate::tenant::user_key;

const STRIPES: usize = 64;

/// What a tenant may have; `None` for any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// Sessions.
    pub sessions_max: Option<usize>,
    /// Connections.
    pub connections_max: Option<usize>,
    /// Retained messages.
    pub retained_messages_max: Option<usize>,
}

/// The bounds of every tenant.
pub(crate) type TenantsLimits = BTreeMap<TenantName, TenantLimits>;

/// Counts by name. Holds a name only while there is something to count.
#[derive(Debug)]
struct Counts {
    stripes: Vec<Lock<BTreeMap<Box<str>, usize>>>,
}

impl Counts {
    fn new() -> Self {
        Self { stripes: std::iter::repeat_with(Lock::default).take(STRIPES).collect() }
    }

    /// Counts one more, unless there are `max` already.
    fn enter(&self, name: &str, max: usize) -> bool {
        let mut counts = self.stripe(name).write();
        match counts.get_mut(name) {
            Some(count) if *count >= max => return false,
            Some(count) => *count += 1,
            None if max == 0 => return false,
            None => {
                counts.insert(name.into(), 1);
            }
        }
        true
    }

    /// One that was counted is no more.
    fn leave(&self, name: &str) {
        let mut counts = self.stripe(name).write();
        if let Some(count) = counts.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                counts.remove(name);
            }
        }
    }

    fn stripe(&self, name: &str) -> &Lock<BTreeMap<Box<str>, usize>> {
        let at = usize::try_from(fnv1a(name.as_bytes()) % STRIPES as u64).expect("less than the number of stripes");
        &self.stripes[at]
    }
}

/// Who has how much.
#[derive(Debug)]
pub(crate) struct Owners {
    sessions_by_user: Counts,
    sessions_by_tenant: Counts,
    links_by_tenant: Counts,
    limits: Lock<Arc<TenantsLimits>>,
}

impl Owners {
    pub(crate) fn new() -> Self {
        let [sessions_by_user, sessions_by_tenant, links_by_tenant] = [(); 3].map(|()| Counts::new());
        Self { sessions_by_user, sessions_by_tenant, links_by_tenant, limits: Lock::default() }
    }

    /// Puts the bounds of all tenants in force. Those who have more by now keep what they have.
    pub(crate) fn set_limits(&self, limits: TenantsLimits) {
        *self.limits.write() = Arc::new(limits);
    }

    /// The bounds of a tenant; none for one that is not known.
    pub(crate) fn limits(&self, tenant: &str) -> TenantLimits {
        let limits = Arc::clone(&self.limits.read());
        limits.iter().find(|(name, _)| name.as_str() == tenant).map(|(_, limits)| *limits).unwrap_or_default()
    }

    /// Counts one more session of `owner`, unless the user has `user_max` already or the tenant as many as it may.
    pub(crate) fn enter(&self, owner: &Subject, user_max: usize) -> bool {
        let user = user_key(owner);
        if !user.as_ref().is_none_or(|user| self.sessions_by_user.enter(user, user_max)) {
            return false;
        }
        let Some(tenant) = &owner.tenant else { return true };
        let max = self.limits(tenant.as_str()).sessions_max.unwrap_or(usize::MAX);
        let has_room = self.sessions_by_tenant.enter(tenant.as_str(), max);
        if let Some(user) = user.filter(|_| !has_room) {
            self.sessions_by_user.leave(&user);
        }
        has_room
    }

    /// Counts one more session of `owner`, whatever the bounds.
    pub(crate) fn enter_anyhow(&self, owner: &Subject) {
        if let Some(user) = user_key(owner) {
            self.sessions_by_user.enter(&user, usize::MAX);
        }
        if let Some(tenant) = &owner.tenant {
            self.sessions_by_tenant.enter(tenant.as_str(), usize::MAX);
        }
    }

    /// A session that was counted has ended.
    pub(crate) fn leave(&self, owner: &Subject) {
        if let Some(user) = user_key(owner) {
            self.sessions_by_user.leave(&user);
        }
        if let Some(tenant) = &owner.tenant {
            self.sessions_by_tenant.leave(tenant.as_str());
        }
    }

    /// Counts one more connection of the tenant of `owner`, unless it has as many as it may; one that takes the place
    /// of another is let in before the other is gone.
    pub(crate) fn enter_link(&self, owner: &Subject, is_in_place: bool) -> bool {
        let Some(tenant) = &owner.tenant else { return true };
        let max = self.limits(tenant.as_str()).connections_max.filter(|_| !is_in_place);
        self.links_by_tenant.enter(tenant.as_str(), max.unwrap_or(usize::MAX))
    }

    /// A connection that was counted has ended.
    pub(crate) fn leave_link(&self, owner: &Subject) {
        if let Some(tenant) = &owner.tenant {
            self.links_by_tenant.leave(tenant.as_str());
        }
    }
}

//! What all shards of a node share: the route map, the retained messages and the policy in force.
//!
//! The only locks a shard may take are the stripes in here.

use std::sync::Arc;

use motte_policy::Policy;

/// Shared by all shards.
#[derive(Debug)]
pub struct Shared {}

impl Shared {
    /// Shared state for `shards` shards, with the policy in force.
    #[must_use]
    pub fn new(shards: u16, policy: Arc<Policy>) -> Arc<Self> {
        let _ = (shards, policy);
        todo!()
    }

    /// Puts a new policy in force: each shard judges by it from its next call on; call
    /// [`crate::Shard::on_policy_changed`] on each of them.
    pub fn replace_policy(&self, policy: Arc<Policy>) {
        let _ = policy;
        todo!()
    }
}

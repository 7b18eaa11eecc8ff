//! Shared subscriptions: each message goes to one member of a group (MQTT 5.0 §4.8.2).
//!
//! Kept in the trie, read out as a [`GroupRoute`] that a publisher may choose from without a lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use motte_policy::Subject;

use super::{SessionRef, Subscription, Target};
use crate::shard::ShardId;

/// The members of one `$share/NAME/FILTER`.
#[derive(Debug, Default)]
pub(super) struct Group {
    turn: Arc<AtomicUsize>,
    members: BTreeMap<SessionRef, Subscription>,
}

impl Group {
    pub(super) fn insert(&mut self, session: SessionRef, subscription: Subscription) {
        self.members.insert(session, subscription);
    }

    /// Removes a member and tells whether nobody is left.
    pub(super) fn remove(&mut self, session: SessionRef) -> bool {
        self.members.remove(&session);
        self.members.is_empty()
    }

    /// The members policy lets receive the topic; `None` when there is none.
    pub(super) fn route(&self, may_receive: impl Fn(&Subject) -> bool) -> Option<GroupRoute> {
        let members: Vec<_> = self
            .members
            .iter()
            .filter(|(_, subscription)| may_receive(&subscription.facts.subject))
            .map(|(session, subscription)| (session.shard, [Target::new(session.key, subscription)].into()))
            .collect();
        (!members.is_empty()).then(|| GroupRoute { turn: Arc::clone(&self.turn), members })
    }
}

/// A group as a publisher sees it.
#[derive(Debug)]
pub(crate) struct GroupRoute {
    turn: Arc<AtomicUsize>,
    members: Vec<(ShardId, Arc<[Target]>)>,
}

impl GroupRoute {
    /// The member whose turn it is: round robin over those that are online, or over all when none is.
    pub(crate) fn choose(&self) -> &(ShardId, Arc<[Target]>) {
        let start = self.turn.fetch_add(1, Ordering::Relaxed);
        let len = self.members.len();
        let in_turn = || (0..len).map(|step| &self.members[start.wrapping_add(step) % len]);
        in_turn()
            .find(|(_, targets)| targets.iter().any(|t| t.facts.online.load(Ordering::Acquire)))
            .or_else(|| in_turn().next())
            .expect("a group route has a member")
    }

    pub(super) fn size(&self) -> usize {
        self.members.len()
    }
}

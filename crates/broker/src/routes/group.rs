//! Shared subscriptions: each message goes to one member of a group (MQTT 5.0 §4.8.2).
//!
//! Kept in the trie, read out as a [`GroupRoute`] that a publisher may choose from without a lock. Chooses by what the
//! members tell of their room; that the chosen one still has it is checked where it lives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use motte_mqtt::{Qos, SubscriptionFilter};

use super::room::Readiness;
use super::{Facts, SessionRef, Subscription, Target};
use crate::message::Message;
use crate::shard::ShardId;

/// The name of a group and whose turn it is. Goes with each message the group is owed until a member has it.
#[derive(Debug)]
pub(crate) struct Share {
    pub(super) name: Box<str>,
    pub(super) filter: Box<str>,
    turn: AtomicUsize,
}

impl Share {
    /// A group as it is known of a message that was read back: it has no turn of its own.
    pub(crate) fn new(name: Box<str>, filter: Box<str>) -> Self {
        Self { name, filter, turn: AtomicUsize::new(0) }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its filter, without what stands before it.
    pub(crate) fn filter(&self) -> &str {
        &self.filter
    }

    /// The group as it is subscribed to.
    pub(crate) fn text(&self) -> String {
        format!("$share/{}/{}", self.name, self.filter)
    }

    /// Whether `filter` is a subscription to this group.
    pub(crate) fn is(&self, filter: &SubscriptionFilter<'_>) -> bool {
        filter.share.is_some_and(|name| *name.as_str() == *self.name) && *filter.filter.as_str() == *self.filter
    }

    /// The member that is readiest, beginning with the one whose turn it is. The turn moves on behind the member that
    /// was chosen, so those who were passed over do not double the share of the one behind them.
    fn choose<T, I>(&self, len: usize, from: impl FnOnce(usize) -> I, rate: impl Fn(&T) -> Readiness) -> Option<T>
    where
        I: Iterator<Item = T>,
    {
        let start = self.turn.fetch_add(1, Ordering::Relaxed) % len.max(1);
        let mut best: Option<(usize, T, Readiness)> = None;
        for (skipped, member) in from(start).enumerate() {
            let readiness = rate(&member);
            if best.as_ref().is_none_or(|(_, _, so_far)| readiness > *so_far) {
                best = Some((skipped, member, readiness));
            }
            if readiness == Readiness::Ready {
                break;
            }
        }
        let (skipped, member, _) = best?;
        self.turn.fetch_add(skipped, Ordering::Relaxed);
        Some(member)
    }
}

/// The members of one `$share/NAME/FILTER`.
#[derive(Debug)]
pub(super) struct Group {
    share: Arc<Share>,
    members: BTreeMap<SessionRef, Subscription>,
}

impl Group {
    pub(super) fn new(name: &str, filter: &str) -> Self {
        Self { share: Arc::new(Share::new(name.into(), filter.into())), members: BTreeMap::new() }
    }

    pub(super) fn insert(&mut self, session: SessionRef, subscription: Subscription) {
        self.members.insert(session, subscription);
    }

    /// Removes a member and tells whether nobody is left.
    pub(super) fn remove(&mut self, session: SessionRef) -> bool {
        self.members.remove(&session);
        self.members.is_empty()
    }

    /// The members policy lets receive the topic; `None` when there is none.
    pub(super) fn route(&self, may_receive: impl Fn(&Facts) -> bool) -> Option<GroupRoute> {
        let members: Vec<_> = self
            .members
            .iter()
            .filter(|(_, subscription)| may_receive(&subscription.facts))
            .map(|(session, subscription)| (session.shard, [self.target(*session, subscription)].into()))
            .collect();
        (!members.is_empty()).then(|| GroupRoute { share: Arc::clone(&self.share), members })
    }

    /// The readiest member by `rate`; `None` when all of them are full.
    pub(super) fn choose(&self, rate: impl Fn(SessionRef, &Subscription) -> Readiness) -> Option<(ShardId, Target)> {
        let in_turn = |start| self.members.iter().skip(start).chain(self.members.iter().take(start));
        let rate = |(session, subscription): &(&SessionRef, &Subscription)| rate(**session, subscription);
        let chosen = self.share.choose(self.members.len(), in_turn, rate)?;
        if rate(&chosen) == Readiness::Full {
            // Nobody was given anything, so it is still the same one's turn.
            self.share.turn.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let (session, subscription) = chosen;
        Some((session.shard, self.target(*session, subscription)))
    }

    /// Whether a member can take messages as it is asked here; of what size and QoS they are is not looked at.
    pub(super) fn has_member(&self, is_it: impl Fn(SessionRef, Readiness) -> bool) -> bool {
        self.members.iter().any(|(session, one)| is_it(*session, one.facts.room.readiness(Qos::AtLeastOnce, 0)))
    }

    fn target(&self, session: SessionRef, subscription: &Subscription) -> Target {
        Target { share: Some(Arc::clone(&self.share)), ..Target::new(session.key, subscription) }
    }
}

/// A group as a publisher sees it.
#[derive(Debug)]
pub(crate) struct GroupRoute {
    share: Arc<Share>,
    members: Vec<(ShardId, Arc<[Target]>)>,
}

impl GroupRoute {
    /// The member that is given a message: in turn among those that are readiest for it.
    pub(crate) fn choose(&self, message: &Message) -> &(ShardId, Arc<[Target]>) {
        let (len, qos, packet_bytes) = (self.members.len(), message.qos, message.packet_bytes_max());
        let in_turn = |start: usize| self.members.iter().cycle().skip(start).take(len);
        let rate = |member: &&(ShardId, Arc<[Target]>)| {
            let ready_for = |target: &Target| target.facts.room.readiness(qos.min(target.qos), packet_bytes);
            let readiness = member.1.iter().map(ready_for);
            readiness.max().unwrap_or(Readiness::Full)
        };
        self.share.choose(len, in_turn, rate).expect("a group route has a member")
    }

    /// Whether there is a member that a message of `qos` has to be kept for.
    pub(super) fn is_owed(&self, qos: Qos) -> bool {
        self.members.iter().any(|(_, targets)| targets.iter().any(|target| target.is_owed(qos)))
    }

    /// Whether every member would have to keep a message of QoS 1 or 2 and is full.
    pub(super) fn is_full(&self) -> bool {
        self.members.iter().all(|(_, targets)| targets.iter().all(Target::is_full))
    }

    pub(super) fn size(&self) -> usize {
        self.members.len()
    }
}

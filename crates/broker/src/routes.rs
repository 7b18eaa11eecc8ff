//! The route map: which sessions are given a topic, read-mostly and shared by all shards.
//!
//! Striped by the first topic level, with a generation per stripe, so that a publisher may keep what it looked up for
//! as long as two generations stand. Called by `handle/{publish,subscribe,connect}`; never calls a session.

mod cache;
mod exact;
mod fullness;
mod group;
mod members;
mod room;
mod trie;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use motte_mqtt::{Qos, SubscriptionFilter, SubscriptionId, SubscriptionOptions};
use motte_policy::{ClientId, Policy, Subject};
use smallvec::SmallVec;

pub(crate) use cache::{Cached, RouteCache};
use fullness::Found;
pub(crate) use fullness::Fullness;
pub(crate) use group::{GroupRoute, Share};
use members::Subscribers;
pub(crate) use room::{Readiness, Room};
use trie::Trie;

use crate::lock::Lock;
use crate::mount::MountPoint;
use crate::shard::ShardId;
use crate::tenant;

/// Stripes for filters that begin with a literal level; filters that begin with a wildcard have one of their own.
const LITERAL_STRIPES: usize = 63;

/// A session within its shard: the slot it stands in and a serial number that is never used again, so that a late
/// letter cannot reach the session that took the slot over. The default is for whoever asks a journal without a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    pub(crate) slot: usize,
    pub(crate) serial: u64,
}

/// A session of any shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionRef {
    pub(crate) shard: ShardId,
    pub(crate) key: SessionKey,
}

/// What other shards may know of a session while it lives.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) subject: Arc<Subject>,
    /// The name it is kept under, which is another than the client identifier where there are tenants.
    pub(crate) name: Arc<str>,
    /// What stands before all its topics.
    pub(crate) mount_point: MountPoint,
    /// What it can take: shared subscriptions choose by it.
    pub(crate) room: Room,
    /// Whether the session outlives its connection: messages for it go into the journal.
    pub(crate) durable: AtomicBool,
    /// Whether its queue is full, so that who publishes to it is refused.
    pub(crate) full: AtomicBool,
}

impl Facts {
    /// Those of somebody else who is as this session was.
    pub(crate) fn renamed(&self, client_id: ClientId) -> Self {
        let subject = Subject { client_id, ..Subject::clone(&self.subject) };
        Self {
            name: tenant::session_name(&subject).into(),
            subject: Arc::new(subject),
            mount_point: self.mount_point.clone(),
            room: Room::default(),
            durable: AtomicBool::new(true),
            full: AtomicBool::new(false),
        }
    }

    /// The same session with what its owner is known by now.
    pub(crate) fn known_as(&self, subject: Subject) -> Self {
        let copied = |flag: &AtomicBool| AtomicBool::new(flag.load(Ordering::Acquire));
        Self {
            subject: Arc::new(subject),
            name: Arc::clone(&self.name),
            mount_point: self.mount_point.clone(),
            room: self.room.copied(),
            durable: copied(&self.durable),
            full: copied(&self.full),
        }
    }

    /// Whether a message of the full name `topic` may be given to this session: policy lets it, and the client can be
    /// told the name without what is before its mount point.
    pub(crate) fn may_receive(&self, policy: &Policy, topic: &str) -> bool {
        self.mount_point.seen(topic).is_some() && tenant::may_receive(policy, &self.subject, topic)
    }
}

/// One subscription as the map keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) options: SubscriptionOptions,
    pub(crate) id: Option<SubscriptionId>,
    pub(crate) facts: Arc<Facts>,
}

/// A session that is given a topic, and how: overlapping subscriptions make one target with the highest QoS and all
/// identifiers (MQTT-3.3.4-2, MQTT-3.3.4-4).
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) key: SessionKey,
    pub(crate) qos: Qos,
    pub(crate) retain_as_published: bool,
    pub(crate) ids: SmallVec<[SubscriptionId; 1]>,
    pub(crate) facts: Arc<Facts>,
    /// The group whose message it is; `None` for a subscription of its own.
    pub(crate) share: Option<Arc<Share>>,
}

impl Target {
    /// Whether a message of `qos` for this target must survive a crash.
    pub(crate) fn is_owed(&self, qos: Qos) -> bool {
        qos.min(self.qos) > Qos::AtMostOnce && self.facts.durable.load(Ordering::Acquire)
    }

    /// Whether a message of QoS 1 or 2 would have to be kept for it, and its queue is full.
    fn is_full(&self) -> bool {
        self.facts.full.load(Ordering::Acquire) && self.is_owed(Qos::AtLeastOnce)
    }

    /// Takes in what another subscription of the same session asks for.
    fn merge(&mut self, other: &Self) {
        self.qos = self.qos.max(other.qos);
        self.retain_as_published |= other.retain_as_published;
        self.ids.extend_from_slice(&other.ids);
    }

    fn new(key: SessionKey, subscription: &Subscription) -> Self {
        let ids = subscription.id.into_iter().collect();
        let SubscriptionOptions { qos, retain_as_published, .. } = subscription.options;
        Self { key, qos, retain_as_published, ids, facts: Arc::clone(&subscription.facts), share: None }
    }
}

/// All who are given one topic when one publisher publishes it.
#[derive(Debug, Default)]
pub(crate) struct Route {
    /// Sessions by shard, in order of shard and slot.
    pub(crate) direct: SmallVec<[(ShardId, Arc<[Target]>); 1]>,
    /// Groups of shared subscriptions: one member each.
    pub(crate) groups: Vec<GroupRoute>,
    /// Subscribers left out because policy does not let them receive the topic.
    pub(crate) withheld: u64,
    /// Whether a queue is full that its messages would have to wait in.
    full: Found,
    /// Whether a message of QoS 1 or 2 has to be kept for somebody.
    owed: Found,
}

impl Route {
    /// Whether a message of QoS 1 or 2 has to be refused, because a session that it would be kept for is full, or all
    /// members of a group are.
    pub(crate) fn is_full(&self, fullness: &Fullness) -> bool {
        self.full.or_find(fullness.changes(), || {
            let mut direct = self.direct.iter().flat_map(|(_, targets)| targets.iter());
            direct.any(Target::is_full) || self.groups.iter().any(GroupRoute::is_full)
        })
    }

    /// Whether a message of `qos` may have to be kept for somebody. Looks at the targets once for all messages, until a
    /// session changes.
    pub(crate) fn may_be_owed(&self, qos: Qos, fullness: &Fullness) -> bool {
        qos > Qos::AtMostOnce && self.owed.or_find(fullness.changes(), || self.is_owed(Qos::ExactlyOnce))
    }

    /// Whether a message of `qos` has to be kept for somebody, or for whom a group may choose.
    pub(crate) fn is_owed(&self, qos: Qos) -> bool {
        let mut direct = self.direct.iter().flat_map(|(_, targets)| targets.iter());
        direct.any(|target| target.is_owed(qos)) || self.groups.iter().any(|group| group.is_owed(qos))
    }

    /// Whether nobody is given the topic.
    pub(crate) fn is_empty(&self) -> bool {
        self.direct.is_empty() && self.groups.is_empty()
    }

    /// Number of targets kept, to bound caches.
    fn size(&self) -> usize {
        let direct: usize = self.direct.iter().map(|(_, targets)| targets.len()).sum();
        direct + self.groups.iter().map(GroupRoute::size).sum::<usize>()
    }
}

/// The generations a looked-up route is valid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generations {
    wild: u64,
    literal: u64,
    /// The literal stripe, so that nobody has to hash the topic again to ask whether they still stand.
    stripe: usize,
}

#[derive(Debug, Default)]
struct Stripe {
    generation: AtomicU64,
    trie: Lock<Trie>,
}

/// The map.
#[derive(Debug)]
pub(crate) struct Routes {
    wild: Stripe,
    literal: Vec<Stripe>,
}

impl Routes {
    pub(crate) fn new() -> Self {
        Self {
            wild: Stripe::default(),
            literal: std::iter::repeat_with(Stripe::default).take(LITERAL_STRIPES).collect(),
        }
    }

    /// Adds or replaces a subscription.
    pub(crate) fn insert(&self, filter: &SubscriptionFilter<'_>, session: SessionRef, subscription: Subscription) {
        self.change(filter, |trie, share, text| trie.insert(text, share, session, subscription));
    }

    /// Removes a subscription, if it is there.
    pub(crate) fn remove(&self, filter: &SubscriptionFilter<'_>, session: SessionRef) {
        self.change(filter, |trie, share, text| trie.remove(text, share, session));
    }

    fn change(&self, filter: &SubscriptionFilter<'_>, act: impl FnOnce(&mut Trie, Option<&str>, &str)) {
        let text = filter.filter.as_str();
        let stripe = self.stripe_of_filter(text);
        let mut trie = stripe.trie.write();
        act(&mut trie, filter.share.map(|s| s.as_str()), text);
        // Still under the lock: whoever reads the new generation finds the new trie.
        stripe.generation.fetch_add(1, Ordering::Release);
    }

    fn stripe_of_filter(&self, filter: &str) -> &Stripe {
        let first = first_level(filter);
        if matches!(first, "+" | "#") { &self.wild } else { self.stripe(first) }
    }

    fn stripe(&self, first_level: &str) -> &Stripe {
        &self.literal[stripe_of(first_level)]
    }

    /// The readiest member of a group as it is now; `None` when nobody is left or all are full by `rate`.
    pub(crate) fn choose(
        &self,
        share: &Share,
        rate: impl Fn(SessionRef, &Subscription) -> Readiness,
    ) -> Option<(ShardId, Target)> {
        let trie = self.stripe_of_filter(&share.filter).trie.read();
        trie.find(&share.filter)?.groups.get(&share.name)?.choose(rate)
    }

    /// Whether the group of a filter has a member for which `is_it` holds.
    pub(crate) fn has_member(
        &self,
        filter: &SubscriptionFilter<'_>,
        is_it: impl Fn(SessionRef, Readiness) -> bool,
    ) -> bool {
        let text = filter.filter.as_str();
        let trie = self.stripe_of_filter(text).trie.read();
        let group = filter.share.and_then(|name| trie.find(text)?.groups.get(name.as_str()));
        group.is_some_and(|group| group.has_member(is_it))
    }

    /// The generations that decide about `topic`.
    pub(crate) fn generations(&self, topic: &str) -> Generations {
        self.generations_of(stripe_of(first_level(topic)))
    }

    /// Whether no subscription came or went since that matters to what was looked up at these generations.
    pub(crate) fn stand(&self, generations: Generations) -> bool {
        self.generations_of(generations.stripe) == generations
    }

    fn generations_of(&self, stripe: usize) -> Generations {
        Generations {
            wild: self.wild.generation.load(Ordering::Acquire),
            literal: self.literal[stripe].generation.load(Ordering::Acquire),
            stripe,
        }
    }

    /// Who is given `topic` when `publisher` publishes it; `None` is the broker itself. `may_receive` is the answer for
    /// a subscriber.
    pub(crate) fn resolve(
        &self,
        topic: &str,
        publisher: Option<&ClientId>,
        may_receive: impl Fn(&Facts) -> bool,
    ) -> Route {
        let mut gathering = Gathering { publisher, may_receive, direct: SmallVec::new(), route: Route::default() };
        let literal = self.stripe(first_level(topic)).trie.read();
        literal.visit(topic, |subscribers| gathering.add(subscribers));
        drop(literal);
        // A filter that begins with a wildcard never matches a topic that begins with `$` (MQTT-4.7.2-1).
        if !topic.starts_with('$') {
            let wild = self.wild.trie.read();
            wild.visit(topic, |subscribers| gathering.add(subscribers));
        }
        gathering.finish()
    }
}

struct Gathering<'a, F> {
    publisher: Option<&'a ClientId>,
    may_receive: F,
    /// In the order they were found in; a session is there once for each of its filters.
    direct: SmallVec<[(ShardId, Target); 2]>,
    route: Route,
}

impl<F: Fn(&Facts) -> bool> Gathering<'_, F> {
    fn add(&mut self, subscribers: &Subscribers) {
        let Self { publisher, may_receive, direct, route } = self;
        subscribers.direct.for_each(|session, subscription| {
            let is_own = || *publisher == Some(&subscription.facts.subject.client_id);
            if !(subscription.options.no_local && is_own()) {
                direct.push((session.shard, Target::new(session.key, subscription)));
            }
        });
        for group in subscribers.groups.iter() {
            match group.route(&*may_receive) {
                Some(found) => route.groups.push(found),
                None => route.withheld += 1,
            }
        }
    }

    fn finish(self) -> Route {
        let Self { may_receive, mut direct, mut route, .. } = self;
        // Those of one session come to stand side by side, in the order they were found in.
        direct.sort_by_key(|(shard, target)| (*shard, target.key));
        direct.dedup_by(|(shard, next), (before_shard, before)| {
            let is_same = (*shard, next.key) == (*before_shard, before.key);
            if is_same {
                before.merge(next);
            }
            is_same
        });
        let found = direct.len();
        direct.retain(|(_, target)| may_receive(&target.facts));
        route.withheld += (found - direct.len()) as u64;
        let mut rest = direct.into_iter().peekable();
        while let Some((shard, first)) = rest.next() {
            let mut targets = SmallVec::<[Target; 1]>::from_buf([first]);
            while let Some((_, next)) = rest.next_if(|(next, _)| *next == shard) {
                targets.push(next);
            }
            route.direct.push((shard, in_one_piece(targets)));
        }
        route
    }
}

fn in_one_piece(targets: SmallVec<[Target; 1]>) -> Arc<[Target]> {
    match targets.into_inner() {
        Ok(one) => Arc::new(one),
        Err(many) => many.into_vec().into(),
    }
}

/// The literal stripe of a first level.
fn stripe_of(first_level: &str) -> usize {
    let at = crate::shard::fnv1a(first_level.as_bytes()) % LITERAL_STRIPES as u64;
    usize::try_from(at).expect("less than the number of stripes")
}

/// The first level of a topic name or filter.
pub(crate) fn first_level(text: &str) -> &str {
    text.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests;

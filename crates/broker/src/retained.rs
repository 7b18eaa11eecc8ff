//! Retained messages: the last one of each topic, shared by all shards, bounded in number and bytes.
//!
//! Called by `handle/publish` to keep and clear and by `session/deliver` to replay, a page at a time. Judges nothing:
//! the reader asks policy about publisher and receiver at every replay (K21).

mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::Limits;
use crate::lock::Lock;
use crate::message::{Message, Publisher};
use crate::owners::Owners;
use crate::routes::first_level;
use crate::shard::{Millis, fnv1a};
use crate::tenant;
use tree::Tree;

const STRIPES: usize = 64;
/// No message expires.
const NEVER: u64 = u64::MAX;
/// How far serial numbers of two runs lie apart for each millisecond between their starts.
const SERIALS_PER_MS: u64 = 1 << 20;
/// Levels looked at in one page: bounds the time a page may take.
const PAGE_STEPS: usize = 4_096;

/// A part of what matches a filter.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) messages: Vec<Arc<Message>>,
    /// Where the next page begins: after this topic. `None` when this was the last.
    pub(crate) next: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct Stripe {
    tree: Tree,
    /// Of the last change of any topic of this stripe.
    serial: u64,
    /// Messages that expire, soonest first.
    expiring: BTreeSet<(Millis, Arc<str>)>,
    /// How many each tenant has, by the first level of its topics, which stand in one stripe.
    of_tenants: BTreeMap<Box<str>, usize>,
}

impl Stripe {
    /// A topic of a tenant has a message now or not, and had one before or not.
    fn count(&mut self, space: &str, has: bool, had: bool) {
        match (has, had) {
            (true, false) => *self.of_tenants.entry(space.into()).or_default() += 1,
            (false, true) => {
                let left = self.of_tenants.get_mut(space).map_or(0, |count| {
                    *count -= 1;
                    *count
                });
                if left == 0 {
                    self.of_tenants.remove(space);
                }
            }
            (true, true) | (false, false) => {}
        }
    }
}

/// The store.
#[derive(Debug)]
pub(crate) struct Retained {
    stripes: Vec<Lock<Stripe>>,
    messages: AtomicU64,
    bytes: AtomicU64,
    /// Milliseconds before which no message expires.
    soonest: AtomicU64,
}

impl Retained {
    pub(crate) fn new() -> Self {
        let stripes = std::iter::repeat_with(Lock::default).take(STRIPES).collect();
        Self { stripes, messages: AtomicU64::new(0), bytes: AtomicU64::new(0), soonest: AtomicU64::new(NEVER) }
    }

    /// A time before which no message expires; `None` when none does.
    pub(crate) fn soonest(&self) -> Option<Millis> {
        Some(self.soonest.load(Ordering::Relaxed)).filter(|at| *at != NEVER).map(Millis)
    }

    /// Messages and bytes of clients now.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.messages.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Keeps `message` as the one of its topic, or clears the topic when the payload is empty (MQTT-3.3.1-5 to -7). Ask
    /// [`Retained::fits`] first. Gives the serial number of the change, and whether there was anything to change: two
    /// shards that write at once are told here whose message stands.
    pub(crate) fn put(&self, message: &Arc<Message>) -> (u64, bool) {
        let kept = (!message.payload.is_empty()).then(|| Arc::clone(message));
        let keeps = kept.is_some();
        let mut stripe = self.stripes[stripe_of(&message.topic)].write();
        stripe.serial += 1;
        let had_one = self.replace(&mut stripe, &message.topic, kept);
        (stripe.serial, keeps || had_one)
    }

    /// Lets the serial numbers of a run that starts `now` begin above all of earlier ones, of which the highest may
    /// have cleared its topic and be known to nobody. The clock goes on over restarts, and no run has made a million
    /// changes in each millisecond that it lasted.
    pub(crate) fn begin(&self, now: Millis) {
        for stripe in &self.stripes {
            stripe.write().serial = now.0.saturating_mul(SERIALS_PER_MS);
        }
    }

    /// Takes back what was kept of an earlier run. What has expired is given to nobody, and swept with the rest.
    pub(crate) fn restore(&self, message: Arc<Message>, serial: u64) {
        let topic = Arc::clone(&message.topic);
        let mut stripe = self.stripes[stripe_of(&topic)].write();
        stripe.serial = stripe.serial.max(serial);
        self.replace(&mut stripe, &topic, Some(message));
    }

    /// Whether there is room for `message`; what has expired takes some until [`Retained::sweep`].
    pub(crate) fn fits(&self, message: &Message, limits: &Limits, owners: &Owners) -> bool {
        message.payload.is_empty() || self.has_room(message, limits) && self.tenant_has_room(message, owners)
    }

    /// Whether the tenant a message is of has as many as it may.
    fn tenant_has_room(&self, message: &Message, owners: &Owners) -> bool {
        let Some(space) = tenant::space(&message.topic) else { return true };
        let Some(max) = owners.limits(tenant::of_space(space)).retained_messages_max else { return true };
        let stripe = self.stripes[stripe_of(&message.topic)].read();
        let has = stripe.of_tenants.get(space).copied().unwrap_or(0);
        has < max || stripe.tree.find(&message.topic).is_some()
    }

    /// Whether `message` fits. Shards that ask at the same moment may each be told yes, so the limit may be passed by
    /// as many messages as there are shards.
    fn has_room(&self, message: &Message, limits: &Limits) -> bool {
        let (messages, bytes) = self.totals();
        let stripe = self.stripes[stripe_of(&message.topic)].read();
        let (old_messages, old_bytes) = stripe.tree.find(&message.topic).map_or((0, 0), |old| share(old));
        drop(stripe);
        (messages + 1).saturating_sub(old_messages) <= limits.retained_messages_max as u64
            && (bytes + weight(message)).saturating_sub(old_bytes) <= limits.retained_bytes_max as u64
    }

    /// Puts a message in the place of the one of its topic, and tells whether there was one.
    fn replace(&self, stripe: &mut Stripe, topic: &Arc<str>, message: Option<Arc<Message>>) -> bool {
        if let Some(new) = &message {
            let (messages, bytes) = share(new);
            self.messages.fetch_add(messages, Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            if let Some(at) = new.expires {
                stripe.expiring.insert((at, Arc::clone(topic)));
                self.soonest.fetch_min(at.0, Ordering::Relaxed);
            }
        }
        let keeps = message.is_some();
        let old = match message {
            Some(new) => stripe.tree.insert(topic, new),
            None => stripe.tree.remove(topic),
        };
        if let Some(space) = tenant::space(topic) {
            stripe.count(space, keeps, old.is_some());
        }
        let Some(old) = old else { return false };
        let (messages, bytes) = share(&old);
        self.messages.fetch_sub(messages, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let still = stripe.tree.find(topic).and_then(|m| m.expires);
        if let Some(at) = old.expires.filter(|&at| Some(at) != still) {
            stripe.expiring.remove(&(at, Arc::clone(topic)));
        }
        true
    }

    /// Drops what has expired; gives the topics, each with the serial number of the change.
    pub(crate) fn sweep(&self, now: Millis) -> Vec<(Arc<str>, u64)> {
        let mut swept = Vec::new();
        // What is put meanwhile makes it sooner again.
        self.soonest.store(NEVER, Ordering::Relaxed);
        for stripe in &self.stripes {
            let mut stripe = stripe.write();
            while let Some((at, topic)) = stripe.expiring.first().cloned() {
                if at > now {
                    self.soonest.fetch_min(at.0, Ordering::Relaxed);
                    break;
                }
                stripe.expiring.pop_first();
                self.replace(&mut stripe, &topic, None);
                stripe.serial += 1;
                swept.push((topic, stripe.serial));
            }
        }
        swept
    }

    /// Up to `messages_max` messages that match `filter` and come after the topic `after`, in a stable order.
    pub(crate) fn page(&self, filter: &str, after: Option<&str>, messages_max: usize, now: Millis) -> Page {
        let mut page = Page::default();
        let mut steps = PAGE_STEPS;
        let first = first_level(filter);
        let stripes = match (first, after) {
            ("+" | "#", None) => 0..STRIPES,
            ("+" | "#", Some(topic)) => stripe_of(topic)..STRIPES,
            _ => stripe_of(filter)..stripe_of(filter) + 1,
        };
        let mut cursor = after;
        for at in stripes {
            let stripe = self.stripes[at].read();
            let mut walk = tree::Walk { filter, after: cursor.take(), steps: &mut steps, messages_max, now };
            page.next = stripe.tree.walk(&mut walk, &mut page.messages);
            if page.next.is_some() {
                break;
            }
        }
        page
    }
}

/// What a message takes of the room of clients, in messages and bytes: what the broker publishes takes none.
fn share(message: &Message) -> (u64, u64) {
    match message.publisher {
        Publisher::Client(_) => (1, weight(message)),
        Publisher::Broker => (0, 0),
    }
}

fn weight(message: &Message) -> u64 {
    message.weight_bytes() as u64
}

fn stripe_of(topic: &str) -> usize {
    let at = fnv1a(first_level(topic).as_bytes()) % STRIPES as u64;
    usize::try_from(at).expect("less than the number of stripes")
}

#[cfg(test)]
mod tests;

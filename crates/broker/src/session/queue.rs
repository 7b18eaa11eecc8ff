//! Messages waiting for a session: for its client to come, to acknowledge, or to read.
//!
//! Called by `session/deliver`. Holds references; bounded in messages and in bytes, and drops the newest when full.

use std::collections::VecDeque;
use std::sync::Arc;

use motte_mqtt::{Qos, SubscriptionId};
use smallvec::SmallVec;

use crate::limits::Limits;
use crate::message::Message;
use crate::routes::{Share, Target};
use crate::shard::Millis;

/// A message owed to one session, and how it is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Owed {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) ids: SmallVec<[SubscriptionId; 1]>,
    /// The group it is owed to, which it goes back to when this session cannot take it.
    pub(crate) share: Option<Arc<Share>>,
    /// The policy epoch under which publisher and receiver were last judged; `None` for not yet.
    pub(crate) epoch: Option<u64>,
}

impl Owed {
    /// A message as it is owed to a target, judged under the policy of `epoch`.
    pub(crate) fn new(message: &Arc<Message>, target: &Target, epoch: Option<u64>) -> Self {
        Self {
            message: Arc::clone(message),
            qos: message.qos.min(target.qos),
            retain: message.retain && target.retain_as_published,
            ids: target.ids.clone(),
            share: target.share.clone(),
            epoch,
        }
    }

    /// Bytes that count against byte limits.
    pub(crate) fn weight(&self) -> u64 {
        self.message.weight_bytes() as u64
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Owed>,
    bytes: usize,
    /// No message expires before this; earlier than the soonest one when that has left.
    expires: Option<Millis>,
}

impl Queue {
    /// Adds at the end, or gives the message back when there is no room.
    pub(crate) fn push(&mut self, owed: Owed, limits: &Limits) -> Result<(), Owed> {
        let weight_bytes = owed.message.weight_bytes();
        if !self.has_room(weight_bytes, limits) {
            return Err(owed);
        }
        self.bytes += weight_bytes;
        self.expires = sooner(self.expires, owed.message.expires);
        self.waiting.push_back(owed);
        Ok(())
    }

    /// Whether a message of this weight would be taken.
    pub(crate) fn has_room(&self, weight_bytes: usize, limits: &Limits) -> bool {
        self.waiting.len() < limits.queue_messages_max && self.bytes + weight_bytes <= limits.queue_bytes_max
    }

    /// Adds what another queue holds behind its own.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.bytes += other.bytes;
        self.expires = sooner(self.expires, other.expires);
        self.waiting.append(&mut other.waiting);
    }

    /// Bytes of the oldest.
    pub(crate) fn next_weight_bytes(&self) -> Option<usize> {
        self.waiting.front().map(|owed| owed.message.weight_bytes())
    }

    /// Takes the oldest.
    pub(crate) fn pop(&mut self) -> Option<Owed> {
        let owed = self.waiting.pop_front()?;
        self.bytes -= owed.message.weight_bytes();
        Some(owed)
    }

    /// Puts back what [`Queue::pop`] gave and could not be sent.
    pub(crate) fn push_front(&mut self, owed: Owed) {
        self.bytes += owed.message.weight_bytes();
        self.expires = sooner(self.expires, owed.message.expires);
        self.waiting.push_front(owed);
    }

    /// Takes out what does not pass, in order.
    pub(crate) fn take_failing(&mut self, mut passes: impl FnMut(&mut Owed) -> bool) -> Vec<Owed> {
        let mut failing = Vec::new();
        self.expires = None;
        for mut owed in std::mem::take(&mut self.waiting) {
            if passes(&mut owed) {
                self.expires = sooner(self.expires, owed.message.expires);
                self.waiting.push_back(owed);
            } else {
                self.bytes -= owed.message.weight_bytes();
                failing.push(owed);
            }
        }
        failing
    }

    /// Takes out what has expired. Looks through the queue only when there may be something.
    pub(crate) fn take_expired(&mut self, now: Millis) -> Vec<Owed> {
        if self.expires.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.take_failing(|owed| !owed.message.is_expired(now))
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// The sooner of two times, where `None` is never.
fn sooner(one: Option<Millis>, other: Option<Millis>) -> Option<Millis> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

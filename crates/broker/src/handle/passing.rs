//! Messages of QoS 0 on their way to another shard: many in one letter.
//!
//! Called by `handle/forward` on the shard of the publisher and by `shard` on that of the sessions. What one call into
//! a shard passes on leaves before the call ends, in order with all other letters of messages.

use std::sync::Arc;

use motte_mqtt::{Decoder, Delivery, Encoder, Packet, ProtocolVersion, Publish, Qos, Sender, SubscriptionIds};
use motte_policy::Subject;

use crate::effects::{Effects, Letter, LetterContent};
use crate::journal::Journal;
use crate::routes::Target;
use crate::shard::{Millis, Shard, ShardId};
use crate::spare::Parts;

/// Bytes at which a letter leaves though more is coming.
const PACKETS_BYTES_MAX: usize = 16 * 1024;

/// Any alias will do: the topic stands beside the packets.
const ALIAS: std::num::NonZeroU16 = std::num::NonZeroU16::MIN;

/// Messages of QoS 0 of one publisher to one topic, for sessions of one other shard.
#[derive(Debug)]
pub(crate) struct Passing {
    topic: Arc<str>,
    publisher: Arc<Subject>,
    targets: Arc<[Target]>,
    /// The policy they were judged under.
    epoch: u64,
    accepted: Millis,
    /// A PUBLISH of 5.0 for each, without its topic.
    packets: Vec<u8>,
}

impl Passing {
    /// Bytes of topic and packets.
    pub(crate) fn weight_bytes(&self) -> usize {
        self.topic.len() + self.packets.len()
    }

    fn is_for(&self, topic: &Arc<str>, targets: &Arc<[Target]>) -> bool {
        Arc::ptr_eq(&self.topic, topic) && Arc::ptr_eq(&self.targets, targets)
    }
}

impl<J: Journal> Shard<J> {
    /// Passes a message on to sessions of another shard; false for one that is not worth it: it expires, is large, or
    /// does not fit the packet it would travel in.
    pub(super) fn pass_to(
        &mut self,
        slot: usize,
        (publish, topic): (&Publish<'_>, &Arc<str>),
        (shard, targets): (ShardId, &Arc<[Target]>),
        now: Millis,
        fx: &mut impl Effects,
    ) -> bool {
        if publish.message_expiry_s.is_some() || publish.payload.len() > PACKETS_BYTES_MAX {
            return false;
        }
        let publisher = &self.sessions[slot].facts.subject;
        let open = self.core.passing.iter().position(|(to, _)| *to == shard);
        let at = match open {
            Some(at) if self.core.passing[at].1.is_for(topic, targets) => at,
            open => {
                let (topic, publisher, targets) = (Arc::clone(topic), Arc::clone(publisher), Arc::clone(targets));
                if open.is_some() {
                    self.post_passing(shard, fx);
                }
                let (epoch, packets) = (self.core.epoch, Vec::with_capacity(PACKETS_BYTES_MAX / 8));
                let passing = Passing { topic, publisher, targets, epoch, accepted: now, packets };
                self.core.passing.push((shard, passing));
                self.core.passing.len() - 1
            }
        };
        let packets = &mut self.core.passing[at].1.packets;
        let (topic_alias, subscription_ids) = (Some(ALIAS), SubscriptionIds::EMPTY);
        let packet = Publish { topic: "", topic_alias, subscription_ids, ..*publish };
        let is_written = Encoder::new(ProtocolVersion::V5, u32::MAX).forward(&packet, packets).is_ok();
        if packets.len() >= PACKETS_BYTES_MAX {
            self.post_passing(shard, fx);
        }
        is_written
    }

    /// Lets what is passed on to a shard leave.
    pub(super) fn post_passing(&mut self, shard: ShardId, fx: &mut impl Effects) {
        if let Some(at) = self.core.passing.iter().position(|(to, _)| *to == shard) {
            let (to, passing) = self.core.passing.swap_remove(at);
            fx.post(to, Letter { content: LetterContent::Passed(passing) });
        }
    }

    /// Lets everything that is passed on leave.
    pub(crate) fn post_all_passing(&mut self, fx: &mut impl Effects) {
        for (to, passing) in self.core.passing.drain(..) {
            fx.post(to, Letter { content: LetterContent::Passed(passing) });
        }
    }

    /// Takes in what another shard passed on; judged again if the policy is another one here.
    pub(crate) fn take_passed(&mut self, passed: &Passing, now: Millis, fx: &mut impl Effects) {
        let Passing { topic, publisher, targets, epoch, accepted, packets } = passed;
        let known = |target: &Target| {
            self.slot(target.key).is_none_or(|slot| Arc::ptr_eq(&target.facts, &self.sessions[slot].facts))
        };
        let is_as_known = targets.iter().all(known);
        let decoder = Decoder::new(Sender::Client, ProtocolVersion::V5, u32::MAX);
        let mut rest = &packets[..];
        while let Ok(Some((Packet::Publish(publish), len))) = decoder.decode(rest) {
            rest = &rest[len..];
            debug_assert_eq!(publish.delivery, Delivery::AtMostOnce, "others are owed");
            if *epoch == self.core.epoch && is_as_known {
                self.forward_here(&publish, (topic, targets), now, fx);
                continue;
            }
            let message = self.core.spare.make(&Parts {
                topic,
                payload: publish.payload,
                qos: Qos::AtMostOnce,
                retain: false,
                publisher,
                properties: publish.properties,
                accepted: *accepted,
                expires: None,
            });
            self.deliver(&message, targets, *epoch, now, fx);
            self.core.spare.give_back(message);
        }
        debug_assert!(rest.is_empty(), "packets of our own are whole");
    }
}

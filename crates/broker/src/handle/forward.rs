//! What a PUBLISH becomes: a message that is kept, or bytes that are passed on at once.
//!
//! Called by `handle/publish` after policy passed. Asks nobody anything.

use std::sync::Arc;

use motte_mqtt::{Publish, SubscriptionIds};

use crate::effects::Effects;
use crate::journal::Journal;
use crate::message::Message;
use crate::routes::{Route, Target};
use crate::shard::{Millis, Shard};
use crate::spare::Parts;

impl<J: Journal> Shard<J> {
    /// The message of a packet, under the full name of its topic.
    pub(super) fn message(
        &mut self,
        slot: usize,
        publish: &Publish<'_>,
        topic: &Arc<str>,
        now: Millis,
    ) -> Arc<Message> {
        self.core.spare.make(&Parts {
            topic,
            payload: publish.payload,
            qos: publish.delivery.qos(),
            retain: publish.retain,
            publisher: &self.sessions[slot].facts.subject,
            properties: publish.properties,
            accepted: now,
            expires: publish.message_expiry_s.map(|s| now.plus_s(s)),
        })
    }

    /// Gives a message of QoS 0 that is not retained to all targets: those of this shard out of the packet itself, for
    /// nobody has to keep it.
    pub(super) fn forward(
        &mut self,
        slot: usize,
        publish: &Publish<'_>,
        (topic, route): (&Arc<str>, &Route),
        now: Millis,
        fx: &mut impl Effects,
    ) {
        self.count_withheld(route);
        for (shard, targets) in &route.direct {
            if *shard == self.core.id {
                self.forward_here(publish, (topic, targets), now, fx);
                continue;
            }
            if self.pass_to(slot, (publish, topic), (*shard, targets), now, fx) {
                continue;
            }
            let message = self.message(slot, publish, topic, now);
            self.send_to(*shard, &message, targets, now, fx);
        }
    }

    /// Gives a message of QoS 0 to sessions of this shard.
    pub(super) fn forward_here(
        &mut self,
        publish: &Publish<'_>,
        (topic, targets): (&Arc<str>, &[Target]),
        now: Millis,
        fx: &mut impl Effects,
    ) {
        self.core.copies.begin(publish.payload, targets.len());
        for target in targets {
            // One that is gone needs it no more.
            let Some(slot) = self.slot(target.key) else { continue };
            let packet = Publish {
                topic,
                topic_alias: None,
                subscription_ids: SubscriptionIds::from_slice(&target.ids),
                ..*publish
            };
            self.sessions[slot].forward(packet, topic, &mut self.core.turn(&mut self.journal, now), fx);
        }
        self.core.copies.end();
    }
}

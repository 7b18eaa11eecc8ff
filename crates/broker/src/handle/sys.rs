//! The round in which the `$SYS` tree is brought up to date: counts of all shards, then what changed is published.
//!
//! Called by the shard. Publishes in the name of the broker, which no client can take: policy is asked about the
//! receivers only.

use std::sync::Arc;

use motte_mqtt::{ForwardedProperties, Qos};

use crate::counters::Counters;
use crate::effects::{Effects, Letter, LetterContent};
use crate::journal::Journal;
use crate::message::{Message, Publisher};
use crate::routes::Facts;
use crate::shard::{Millis, Shard, ShardId};
use crate::sys::NodeFigures;

impl<J: Journal> Shard<J> {
    /// Begins a round: this shard's own counts are there, the others are asked for theirs.
    pub(crate) fn ask_for_reports(&mut self, node: NodeFigures, now: Millis, fx: &mut impl Effects) {
        let asking = self.core.id;
        self.board.begin(node, self.core.shared.shards().count());
        for shard in self.core.shared.shards().filter(|&shard| shard != asking) {
            fx.post(shard, Letter { content: LetterContent::Ask { asking } });
        }
        self.on_report(asking, &self.core.counters.clone(), now, fx);
    }

    /// Answers a shard that wants to know.
    pub(crate) fn report_counters(&self, asking: ShardId, fx: &mut impl Effects) {
        let counters = Box::new(self.core.counters);
        fx.post(asking, Letter { content: LetterContent::Report { from: self.core.id, counters } });
    }

    /// Takes the counts of one shard; with the last of them the tree is published.
    pub(crate) fn on_report(&mut self, from: ShardId, counters: &Counters, now: Millis, fx: &mut impl Effects) {
        if !self.board.take(from, counters) {
            return;
        }
        for (topic, value) in self.board.changes(self.core.shared.retained.totals(), now) {
            self.publish_figure(&topic.into(), value, now, fx);
        }
    }

    /// QoS 0: whoever misses a figure is given the next one, and a session that is away needs none of them.
    fn publish_figure(&mut self, topic: &Arc<str>, value: String, now: Millis, fx: &mut impl Effects) {
        let policy = Arc::clone(&self.core.policy);
        let may_receive = |who: &Facts| who.may_receive(&policy, topic);
        let generations = self.core.shared.routes.generations(topic);
        let route = self.core.shared.routes.resolve(topic, None, may_receive);
        let message = Message {
            topic: Arc::clone(topic),
            payload: value.into_bytes().into(),
            qos: Qos::AtMostOnce,
            retain: true,
            publisher: Publisher::Broker,
            properties: ForwardedProperties::EMPTY.to_owned(),
            accepted: now,
            expires: None,
            origin: None,
        };
        self.publish(Arc::new(message), (&route, generations), now, fx);
    }
}

//! Replaying retained messages to a new subscription, a page at a time.
//!
//! Called by `handle/subscribe` to begin and by `session/deliver` to go on. Reads only as fast as the client takes, so
//! a filter that matches everything holds nothing in memory (K10).

use std::sync::Arc;

use motte_mqtt::{Qos, SubscriptionId, SubscriptionOptions};

use super::deliver::Turn;
use super::queue::Owed;
use super::{Session, Subscribed};
use crate::effects::Effects;

/// Retained messages fetched at once.
const PAGE_MESSAGES: usize = 32;
/// Pages fetched in one turn.
const PAGES_PER_TURN: usize = 16;

/// A replay under way for one subscription.
#[derive(Debug)]
pub(crate) struct Replay {
    filter: Box<str>,
    qos: Qos,
    /// Whether what this client published itself is left out (MQTT-3.8.3-3).
    no_local: bool,
    id: Option<SubscriptionId>,
    /// Replayed up to this topic.
    after: Option<Arc<str>>,
}

impl Session {
    /// Begins a replay; one under way for the same filter starts anew.
    pub(crate) fn begin_replay(&mut self, filter: &str, asked: Subscribed) {
        self.cancel_replay(filter);
        let Subscribed { options: SubscriptionOptions { qos, no_local, .. }, id } = asked;
        self.replays.push_back(Replay { filter: filter.into(), qos, no_local, id, after: None });
    }

    /// Ends the replay of a filter.
    pub(crate) fn cancel_replay(&mut self, filter: &str) {
        self.replays.retain(|replay| *replay.filter != *filter);
    }

    /// Goes on with replays while the client takes them; tells whether the share of this turn is used up.
    pub(super) fn replay(&mut self, turn: &mut Turn<'_>, fx: &mut impl Effects) -> bool {
        for _ in 0..PAGES_PER_TURN {
            let Some(replay) = self.replays.front() else { return false };
            if !self.may_replay(1, turn, fx) {
                return false;
            }
            let (qos, no_local, id) = (replay.qos, replay.no_local, replay.id);
            let page = turn.retained.page(&replay.filter, replay.after.as_deref(), PAGE_MESSAGES, turn.now);
            for message in page.messages {
                if !self.may_replay(message.weight_bytes(), turn, fx) {
                    return false;
                }
                self.replayed_up_to(Some(Arc::clone(&message.topic)));
                if no_local && message.publisher.is(&self.facts.subject.client_id) {
                    continue;
                }
                let (qos, ids) = (qos.min(message.qos), id.into_iter().collect());
                let (is_kept, is_replay) = (false, true);
                let owed = Owed { message, qos, retain: true, ids, share: None, is_kept, is_replay, epoch: None };
                self.offer(owed, turn, fx);
            }
            match page.next {
                Some(topic) => self.replayed_up_to(Some(topic)),
                None => {
                    self.replays.pop_front();
                }
            }
        }
        !self.replays.is_empty()
    }

    fn replayed_up_to(&mut self, topic: Option<Arc<str>>) {
        if let Some(replay) = self.replays.front_mut() {
            replay.after = topic;
        }
    }

    /// Whether a message of this weight would go out at once, or as soon as it is written down.
    fn may_replay(&self, weight_bytes: usize, turn: &Turn<'_>, fx: &mut impl Effects) -> bool {
        let is_behind = !self.queue.is_empty() || self.is_held_up(turn);
        !is_behind && self.window_takes(weight_bytes, turn.limits) && self.has_room(turn, fx)
    }
}

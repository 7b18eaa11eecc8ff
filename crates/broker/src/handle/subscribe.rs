//! SUBSCRIBE and UNSUBSCRIBE: each filter on its own, one answer for all.
//!
//! A filter of which nothing may be received is refused; what is granted is judged again at each delivery (K18).

use std::borrow::Cow;
use std::sync::Arc;

use motte_audit::{Denial, EventKind};
use motte_mqtt::{
    ProtocolVersion, ReasonCode, RetainHandling, Subscribe, SubscriptionFilter, SubscriptionOptions, Unsubscribe,
};
use motte_policy::SubscribeVerdict;

use super::Stop;
use crate::effects::Effects;
use crate::journal::{Journal, JournalState, Position, Record};
use crate::link::{Answer, Link};
use crate::narrowing::Narrowings;
use crate::routes::Subscription;
use crate::session::Subscribed;
use crate::shard::{Millis, Shard};
use crate::tenant;

impl<J: Journal> Shard<J> {
    pub(crate) fn on_subscribe(
        &mut self,
        slot: usize,
        subscribe: &Subscribe<'_>,
        now: Millis,
        fx: &mut impl Effects,
    ) -> Result<(), Stop> {
        let mut codes = Vec::new();
        let mut position = None;
        let mut narrowings = Narrowings::default();
        for (text, options) in subscribe.filters.iter() {
            // More than there is may be asked for, and what there is is granted (MQTT-3.2.2-10).
            let options = SubscriptionOptions { qos: options.qos.min(self.core.limits.qos_max), ..options };
            let asked = Subscribed { options, id: subscribe.subscription_id };
            let (code, at) = self.subscribe(slot, text, asked, fx)?;
            codes.push(code.as_u8());
            position = at.or(position);
            if !code.is_error() {
                self.tell_narrowing(slot, text, codes.len(), &mut narrowings);
            }
        }
        self.answer(slot, Answer::SubAck(subscribe.id, codes, narrowings), position, fx)?;
        self.pump(slot, now, fx);
        Ok(())
    }

    /// Makes or replaces one subscription (MQTT-3.8.4-3).
    fn subscribe(
        &mut self,
        slot: usize,
        text: &str,
        asked: Subscribed,
        fx: &mut impl Effects,
    ) -> Result<(ReasonCode, Option<Position>), Stop> {
        let Ok(written) = SubscriptionFilter::parse(text, usize::MAX) else {
            return self.refuse(slot, ReasonCode::TopicFilterInvalid);
        };
        let mount_point = self.sessions[slot].facts.mount_point.clone();
        let full = mount_point.mounted_filter(text, written.filter.as_str());
        let (text, limits) = (&*full, &self.core.limits);
        let filter = SubscriptionFilter::parse(text, limits.topic_levels_max).ok();
        let Some(filter) = filter.filter(|_| limits.takes_topic(text)) else {
            return self.refuse(slot, ReasonCode::TopicFilterInvalid);
        };
        if filter.share.is_some() && asked.options.no_local {
            return Err(Stop::protocol(ReasonCode::ProtocolError, "No Local on a shared subscription"));
        }
        let session = &self.sessions[slot];
        let verdict = tenant::may_subscribe(&self.core.policy, &session.facts.subject, filter.filter.as_str());
        let is_hidden = mount_point.seen(filter.filter.as_str()).is_none();
        if verdict == SubscribeVerdict::Refused || is_hidden {
            self.core.counters.denied += 1;
            fx.event(session.event(EventKind::Denied { what: Denial::Subscribe, topic: text.into() }));
            return self.refuse(slot, ReasonCode::NotAuthorized);
        }
        let is_new = !session.subscriptions.contains_key(text);
        if is_new && session.subscriptions.len() >= self.core.limits.subscriptions_max {
            return self.refuse(slot, ReasonCode::QuotaExceeded);
        }
        if session.is_durable() && self.journal.state() != JournalState::Ready {
            return self.refuse(slot, ReasonCode::QuotaExceeded);
        }
        let position = self.insert(slot, text, &filter, asked);
        let replays = match asked.options.retain_handling {
            RetainHandling::Always => true,
            RetainHandling::IfNew => is_new,
            RetainHandling::Never => false,
        };
        if replays && filter.share.is_none() {
            self.sessions[slot].begin_replay(filter.filter.as_str(), asked);
        }
        let granted = ReasonCode::from_u8(asked.options.qos.as_u8()).unwrap_or(ReasonCode::Success);
        Ok((granted, position))
    }

    /// Names the part of a granted filter that holds, if it is not all of it and the client wants to be told.
    fn tell_narrowing(&self, slot: usize, text: &str, number: usize, narrowings: &mut Narrowings) {
        let session = &self.sessions[slot];
        let takes_words = session.link.as_ref().is_some_and(Link::takes_words);
        if !takes_words || !narrowings.has_room() {
            return;
        }
        let (subject, mount_point) = (&session.facts.subject, &session.facts.mount_point);
        let Ok(written) = SubscriptionFilter::parse(text, usize::MAX) else { return };
        let full = mount_point.mounted(written.filter.as_str());
        let Some(local) = tenant::local(subject, &full) else { return };
        if self.core.policy.may_subscribe(subject, local) == SubscribeVerdict::Narrowed {
            let mount_point = mount_point.without(subject.tenant.as_ref());
            narrowings.add(number, &self.core.policy.narrowed(subject, local), &mount_point);
        }
    }

    /// 3.1 has no code for a refusal, and granting what will not be delivered would hide it: the link ends.
    fn refuse(&self, slot: usize, reason: ReasonCode) -> Result<(ReasonCode, Option<Position>), Stop> {
        if self.version(slot) == ProtocolVersion::V31 {
            return Err(Stop::protocol(reason, "a subscription was refused and MQTT 3.1 cannot be told"));
        }
        Ok((reason, None))
    }

    fn insert(
        &mut self,
        slot: usize,
        text: &str,
        filter: &SubscriptionFilter<'_>,
        asked: Subscribed,
    ) -> Option<Position> {
        self.enter_subscription(slot, text, filter, asked);
        let session = &self.sessions[slot];
        let (client_id, Subscribed { options, id }) = (session.name(), asked);
        let record = Record::Subscribed { client_id, filter: text, options, id };
        session.is_durable().then(|| self.journal.append(&record))
    }

    /// Enters a subscription where it is looked for.
    pub(super) fn enter_subscription(
        &mut self,
        slot: usize,
        text: &str,
        filter: &SubscriptionFilter<'_>,
        asked: Subscribed,
    ) {
        let session_ref = self.session_ref(slot);
        let session = &mut self.sessions[slot];
        let Subscribed { options, id } = asked;
        let subscription = Subscription { options, id, facts: Arc::clone(&session.facts) };
        self.core.shared.routes.insert(filter, session_ref, subscription);
        let is_new = session.subscriptions.insert(text.into(), asked).is_none();
        session.shares += usize::from(is_new && filter.share.is_some());
        *self.core.counters.subscriptions_of(filter) += u64::from(is_new);
    }

    pub(crate) fn on_unsubscribe(
        &mut self,
        slot: usize,
        unsubscribe: &Unsubscribe<'_>,
        now: Millis,
        fx: &mut impl Effects,
    ) -> Result<(), Stop> {
        let mut codes = Vec::new();
        let mut position = None;
        for text in unsubscribe.filters.iter() {
            let mount_point = self.sessions[slot].facts.mount_point.clone();
            let full = match SubscriptionFilter::parse(text, usize::MAX) {
                Ok(written) => mount_point.mounted_filter(text, written.filter.as_str()),
                Err(_) => Cow::Borrowed(text),
            };
            let (code, at) = match self.may_unsubscribe(slot, &full) {
                true => self.unsubscribe(slot, &full, now, fx),
                false => (ReasonCode::NotAuthorized, None),
            };
            codes.push(code.as_u8());
            position = at.or(position);
        }
        self.answer(slot, Answer::UnsubAck(unsubscribe.id, codes), position, fx)?;
        self.pump(slot, now, fx);
        Ok(())
    }

    /// Whether policy lets a client give up a subscription; 3.x cannot be told when it does not.
    fn may_unsubscribe(&self, slot: usize, text: &str) -> bool {
        let subject = &self.sessions[slot].facts.subject;
        let filter = SubscriptionFilter::parse(text, usize::MAX);
        filter.ok().is_none_or(|filter| self.core.policy.may_unsubscribe(subject, filter.filter.as_str()))
    }

    /// Removes one subscription; what is on its way goes on (MQTT-3.10.4-3), but what waits for a group goes to another
    /// member if there is one.
    pub(crate) fn unsubscribe(
        &mut self,
        slot: usize,
        text: &str,
        now: Millis,
        fx: &mut impl Effects,
    ) -> (ReasonCode, Option<Position>) {
        let Ok(filter) = SubscriptionFilter::parse(text, usize::MAX) else {
            return (ReasonCode::TopicFilterInvalid, None);
        };
        let session_ref = self.session_ref(slot);
        let session = &mut self.sessions[slot];
        if session.subscriptions.remove(text).is_none() {
            return (ReasonCode::NoSubscriptionExisted, None);
        }
        self.core.shared.routes.remove(&filter, session_ref);
        *self.core.counters.subscriptions_of(&filter) -= 1;
        match filter.share {
            None => session.cancel_replay(filter.filter.as_str()),
            Some(_) => {
                session.shares -= 1;
                self.leave_group(slot, &filter, now, fx);
            }
        }
        let session = &self.sessions[slot];
        if !session.is_durable() {
            return (ReasonCode::Success, None);
        }
        let client_id = session.name();
        (ReasonCode::Success, Some(self.journal.append(&Record::Unsubscribed { client_id, filter: text })))
    }
}

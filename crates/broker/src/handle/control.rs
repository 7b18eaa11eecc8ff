//! A PUBLISH to a control topic: handed to whoever answers, acknowledged when the answer is there, routed to nobody.
//!
//! Called by `handle/publish` after policy passed, and by the shard's owner with the answer. A client may have a few
//! requests under way; who asks more is refused, so that an administrator cannot fill memory either.

use std::sync::Arc;

use motte_mqtt::{AckKind, Delivery, ForwardedProperties, Publish, Qos, ReasonCode};
use motte_policy::control::Endpoint;

use super::Stop;
use crate::control::{ControlAnswer, ControlRequest, ControlTicket};
use crate::effects::Effects;
use crate::journal::{Journal, Position};
use crate::link::{Answer, PendingAck};
use crate::message::{Message, Publisher};
use crate::routes::Facts;
use crate::shard::{LinkId, Millis, Shard};

/// Bytes of one request.
const REQUEST_BYTES_MAX: usize = 256 * 1024;
/// Requests of one connection that are not answered.
const REQUESTS_MAX: usize = 16;

impl<J: Journal> Shard<J> {
    /// Hands a request over. Whoever answers may refuse to take it.
    pub(super) fn ask_control(
        &mut self,
        slot: usize,
        publish: &Publish<'_>,
        endpoint: Endpoint,
        fx: &mut impl Effects,
    ) -> Result<(), Stop> {
        let who = Arc::clone(&self.sessions[slot].facts.subject);
        let Some(link) = &mut self.sessions[slot].link else { return Ok(()) };
        if publish.payload.len() > REQUEST_BYTES_MAX || link.requests.len() >= REQUESTS_MAX {
            return self.refuse_full(slot, publish.delivery, fx);
        }
        let (id, ticket) = (link.id, link.next_ticket());
        let request = ControlRequest { endpoint, ticket, who, payload: publish.payload.to_vec() };
        match fx.control(id, request) {
            Ok(()) => self.await_answer(slot, publish.delivery, ticket),
            Err(ReasonCode::QuotaExceeded) => self.refuse_full(slot, publish.delivery, fx),
            Err(reason) => self.answer_publish(slot, publish.delivery, (reason, None), fx),
        }
    }

    /// The acknowledgement takes its place among the others and waits.
    fn await_answer(&mut self, slot: usize, delivery: Delivery, ticket: ControlTicket) -> Result<(), Stop> {
        let Some(link) = &mut self.sessions[slot].link else { return Ok(()) };
        link.requests.insert(ticket);
        let answer = match delivery {
            Delivery::AtMostOnce => return Ok(()),
            Delivery::AtLeastOnce { id, .. } => Answer::Ack(AckKind::PubAck, id, ReasonCode::Success),
            Delivery::ExactlyOnce { id, .. } => Answer::Ack(AckKind::PubRec, id, ReasonCode::Success),
        };
        link.wait(PendingAck { position: Position::default(), answer, request: Some(ticket) });
        self.unacknowledged.insert(slot);
        Ok(())
    }

    /// A request was answered: the client is acknowledged what it sent, and gets the answer if it has subscribed to it
    /// and may receive it. Nobody else is given it. For a connection that is gone there is nothing to be done.
    pub fn on_control_answer(&mut self, link: LinkId, answer: ControlAnswer, now: Millis, fx: &mut impl Effects) {
        self.begin();
        let Some(&slot) = self.links.get(&link) else { return };
        let Some(state) = &mut self.sessions[slot].link else { return };
        if !state.requests.remove(&answer.ticket) {
            return;
        }
        if let Some(id) = state.received_by(answer.ticket) {
            let record = self.remember_received(slot, id, ReasonCode::Success).unwrap_or_default();
            if let Some(state) = &mut self.sessions[slot].link {
                state.on_answered(answer.ticket, record);
            }
        } else {
            state.on_answered(answer.ticket, Position::default());
        }
        self.acknowledge(slot, now, fx);
        self.tell_answer(slot, answer, now, fx);
    }

    fn tell_answer(&mut self, slot: usize, answer: ControlAnswer, now: Millis, fx: &mut impl Effects) {
        let topic: Arc<str> = answer.endpoint.response_topic().into();
        let asking = Arc::clone(&self.sessions[slot].facts);
        let policy = Arc::clone(&self.core.policy);
        let may_receive = |who: &Facts| std::ptr::eq(who, &*asking) && who.may_receive(&policy, &topic);
        let routes = &self.core.shared.routes;
        let generations = routes.generations(&topic);
        let mut route = routes.resolve(&topic, None, may_receive);
        // That others may not have it is nothing that was withheld from them.
        route.withheld = 0;
        let message = Message {
            topic: Arc::clone(&topic),
            payload: answer.payload.into(),
            qos: Qos::AtMostOnce,
            retain: false,
            publisher: Publisher::Broker,
            properties: ForwardedProperties::EMPTY.to_owned(),
            accepted: now,
            expires: None,
            origin: None,
        };
        self.publish(Arc::new(message), (&route, generations), now, fx);
    }
}

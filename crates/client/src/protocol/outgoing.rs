//! QoS 1 and 2 messages on their way to the broker, by packet identifier, in the order they were first sent.
//! Called by `protocol`. Never decides what is sent when.

use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;

use motte_mqtt::{PacketId, ReasonCode};

use crate::error::PublishError;
use crate::message::Message;
use crate::session::Unfinished;

/// Where the outcome of a publish goes.
pub(super) type Reply = SyncSender<Result<ReasonCode, PublishError>>;

/// The packet a message waits for.
#[derive(Debug)]
pub(super) enum Step {
    /// PUBACK.
    Ack(Message),
    /// PUBREC.
    Receipt(Message),
    /// PUBCOMP; the code is that of the PUBREC.
    Completion(ReasonCode),
}

/// A message on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) step: Step,
    /// `None` when the connection it was asked for on is gone.
    pub(super) reply: Option<Reply>,
    /// Counts up with each message that sets out.
    order: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    flights: BTreeMap<PacketId, Flight>,
    order_last: u64,
}

impl Outgoing {
    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    pub(super) fn contains(&self, id: PacketId) -> bool {
        self.flights.contains_key(&id)
    }

    /// A message sets out, or is sent again on a new connection.
    pub(super) fn insert(&mut self, id: PacketId, step: Step, reply: Option<Reply>) {
        self.order_last += 1;
        self.flights.insert(id, Flight { step, reply, order: self.order_last });
    }

    pub(super) fn get_mut(&mut self, id: PacketId) -> Option<&mut Flight> {
        self.flights.get_mut(&id)
    }

    /// The exchange for an identifier is over.
    pub(super) fn remove(&mut self, id: PacketId) -> Option<Flight> {
        self.flights.remove(&id)
    }

    /// What the next connection sends again, in order (MQTT-4.6.0-1).
    pub(super) fn into_unfinished(self) -> impl Iterator<Item = (PacketId, Unfinished)> {
        let mut flights: Vec<_> = self.flights.into_iter().collect();
        flights.sort_unstable_by_key(|(_, flight)| flight.order);
        flights.into_iter().map(|(id, flight)| match flight.step {
            Step::Ack(message) | Step::Receipt(message) => (id, Unfinished::Message(message)),
            Step::Completion(_) => (id, Unfinished::Release),
        })
    }
}

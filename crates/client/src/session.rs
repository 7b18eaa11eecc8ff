//! What outlives a connection: messages the broker has not acknowledged, and identifiers of those it has not released.
//! Made by `connection` at the end of one connection and given to the next. Never writes anything to disk.

use std::collections::BTreeSet;

use motte_mqtt::PacketId;

use crate::message::Message;

/// The client's half of an MQTT session. A broker that still has its half lets both go on: [`crate::resume`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The client identifier it belongs to; empty before the first connection.
    pub(crate) client_id: String,
    /// What was not acknowledged, in the order it was first sent.
    pub(crate) outgoing: Vec<(PacketId, Unfinished)>,
    /// QoS 2 messages that came and were not released yet.
    pub(crate) incoming: BTreeSet<PacketId>,
    /// The identifier given out last.
    pub(crate) id_last: u16,
}

/// What is sent again for one identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfinished {
    /// The PUBLISH, with DUP.
    Message(Message),
    /// The PUBREL: the broker has the message.
    Release,
}

impl Session {
    /// A session with nothing in it, for a first connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many messages of QoS 1 and 2 will be sent again.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.outgoing.len()
    }
}

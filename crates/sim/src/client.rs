//! A model of a client that keeps its side of every QoS flow over reconnects and notes what it is given.
//!
//! Driven by the world: told what it reads, asked for what it sends. The state here is what MQTT 5.0 §4.1 calls the
//! session state of a client.

use std::collections::{BTreeSet, VecDeque};

use motte_broker::LinkId;
use motte_broker::mqtt::{ProtocolVersion, Qos};

use crate::history::{Delivered, Message, MessageNo, SessionNo};
use crate::packet::{self, Item, Manner, Meaning, Sent};

/// A publish the client has not seen finished.
#[derive(Clone, Copy, Debug)]
struct Unfinished {
    id: u16,
    message: MessageNo,
    /// PUBREC came: only PUBREL is sent again.
    is_released: bool,
}

/// What a client does with something it read.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Given to its application.
    pub(crate) given: Option<Delivered>,
    /// What the broker must not have sent.
    pub(crate) complaint: Option<String>,
}

/// The client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) version: ProtocolVersion,
    pub(crate) link: Option<LinkId>,
    /// The session its state belongs to.
    session: Option<SessionNo>,
    /// Whether CONNACK came: what was unfinished went out before anything new.
    pub(crate) is_ready: bool,
    /// What was not yet handed to the shard.
    pub(crate) to_send: VecDeque<Sent>,
    /// QoS 2 identifiers received and not released.
    received: BTreeSet<u16>,
    unfinished: Vec<Unfinished>,
    last_id: u16,
    /// Publishes of QoS 1 and 2 the broker takes at once.
    window: usize,
    alias_max: u16,
    /// Topics by alias less one, as set on this connection.
    aliases: Vec<&'static str>,
}

impl Client {
    pub(crate) fn new(version: ProtocolVersion) -> Self {
        Self {
            version,
            link: None,
            session: None,
            is_ready: false,
            to_send: VecDeque::new(),
            received: BTreeSet::new(),
            unfinished: Vec::new(),
            last_id: 0,
            window: 0,
            alias_max: 0,
            aliases: Vec::new(),
        }
    }

    /// The connection is gone.
    pub(crate) fn on_gone(&mut self) {
        self.link = None;
        self.is_ready = false;
        self.to_send.clear();
        self.aliases.clear();
    }

    /// The session is gone on this side as well. CONNACK says so, and nothing before: the broker may not have heard of
    /// a clean start.
    fn forget(&mut self) {
        self.received.clear();
        self.unfinished.clear();
    }

    /// A publish is not answered, because a queue is full: it is not tried again.
    pub(crate) fn give_up(&mut self, id: u16) {
        self.unfinished.retain(|unfinished| unfinished.id != id);
    }

    /// Whether another publish of QoS 1 or 2 may begin.
    pub(crate) fn has_window(&self) -> bool {
        self.unfinished.len() < self.window.min(30)
    }

    /// Whether every flow of this client is finished.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.unfinished.is_empty() && self.received.is_empty() && self.to_send.is_empty()
    }

    /// What it still waits for, to be shown.
    pub(crate) fn waits_for(&self) -> String {
        format!("publishes {:?}, received {:?}, {} packets to send", self.unfinished, self.received, self.to_send.len())
    }

    pub(crate) fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.unfinished.iter().all(|unfinished| unfinished.id != self.last_id) {
                return self.last_id;
            }
        }
    }

    /// Publishes a message; `uses_alias` where the connection allows one.
    pub(crate) fn publish(&mut self, no: MessageNo, message: &Message, uses_alias: bool) {
        let id = (message.qos > Qos::AtMostOnce).then(|| self.free_id());
        let mut manner = Manner { topic: message.topic, alias: None, id, dup: false };
        if uses_alias && self.alias_max > 0 {
            let known = self.aliases.iter().position(|topic| *topic == message.topic);
            if let Some(at) = known {
                (manner.topic, manner.alias) = ("", u16::try_from(at + 1).ok());
            } else if self.aliases.len() < usize::from(self.alias_max) {
                self.aliases.push(message.topic);
                manner.alias = u16::try_from(self.aliases.len()).ok();
            }
        }
        self.to_send.push_back(packet::publish(self.version, no, message, manner));
        self.unfinished.extend(id.map(|id| Unfinished { id, message: no, is_released: false }));
    }

    /// CONNACK came: for another session everything is forgotten, for the same one it is sent again. Which session it
    /// is comes from the ledger: 3.1 does not tell, and no version tells a client that lost the CONNACK of a new
    /// session and then came again.
    fn on_connack(&mut self, session: Option<SessionNo>, messages: &[Message]) {
        self.is_ready = true;
        if self.session != session {
            self.forget();
        }
        self.session = session;
        for Unfinished { id, message, is_released } in self.unfinished.clone() {
            if is_released {
                self.acknowledge(Meaning::PubRel(id));
            } else {
                let manner = Manner { topic: messages[message].topic, alias: None, id: Some(id), dup: true };
                self.to_send.push_back(packet::publish(self.version, message, &messages[message], manner));
            }
        }
    }

    fn acknowledge(&mut self, meaning: Meaning) {
        self.to_send.push_back(packet::ack(self.version, meaning));
    }

    /// Reads one packet.
    pub(crate) fn on_item(&mut self, item: &Item, session: Option<SessionNo>, messages: &[Message]) -> Reading {
        let mut reading = Reading::default();
        match item {
            Item::ConnAck { code: 0, receive_maximum, alias_max, .. } => {
                self.window = *receive_maximum;
                self.alias_max = *alias_max;
                self.on_connack(session, messages);
            }
            Item::ConnAck { .. } | Item::SubAck(..) | Item::UnsubAck(..) | Item::Pong | Item::Disconnect(_) => {}
            Item::Publish(copy) => reading.given = self.on_publish(copy),
            Item::PubAck(id, _) => reading.complaint = self.finish(*id, "PUBACK"),
            Item::PubRec(id, 0x80..) => reading.complaint = self.finish(*id, "PUBREC"),
            Item::PubRec(id, _) => {
                let known = self.unfinished.iter_mut().find(|unfinished| unfinished.id == *id);
                match known {
                    Some(unfinished) => unfinished.is_released = true,
                    None => reading.complaint = Some(format!("PUBREC {id} answers no PUBLISH")),
                }
                self.acknowledge(Meaning::PubRel(*id));
            }
            Item::PubComp(id, _) => {
                // Also the answer to a PUBREL a rogue made up.
                self.unfinished.retain(|unfinished| unfinished.id != *id || !unfinished.is_released);
            }
            Item::PubRel(id) => {
                self.received.remove(id);
                self.acknowledge(Meaning::PubComp(*id));
            }
        }
        reading
    }

    fn finish(&mut self, id: u16, by: &str) -> Option<String> {
        let before = self.unfinished.len();
        self.unfinished.retain(|unfinished| unfinished.id != id);
        (self.unfinished.len() == before).then(|| format!("{by} {id} answers no PUBLISH"))
    }

    fn on_publish(&mut self, copy: &Delivered) -> Option<Delivered> {
        let is_new = match (copy.qos, copy.id) {
            (Qos::AtLeastOnce, Some(id)) => {
                self.acknowledge(Meaning::PubAck(id));
                true
            }
            (Qos::ExactlyOnce, Some(id)) => {
                self.acknowledge(Meaning::PubRec(id));
                self.received.insert(id)
            }
            _ => true,
        };
        is_new.then(|| copy.clone())
    }
}

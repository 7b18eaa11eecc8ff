//! One connection of the simulated world: what is on its way in both directions, and what the broker owes on it.
//!
//! Held by the world. Checks what can be judged by looking at one connection alone: valid packets, windows,
//! identifiers, sizes, and an answer for each question in order.

use std::collections::{BTreeMap, VecDeque};

use motte_broker::mqtt::{Decoder, ProtocolVersion, Qos, Sender};
use motte_broker::{LinkId, Millis};

use crate::history::{Delivered, Invariant, MessageNo, SessionNo, Violation};
use crate::packet::{self, Item};

/// An answer that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// PUBACK with one of these codes.
    PubAck(u16, MessageNo, Vec<u8>),
    /// PUBREC with one of these codes.
    PubRec(u16, MessageNo, Vec<u8>),
    SubAck(u16, Vec<u8>),
    UnsubAck(u16, Vec<u8>),
}

/// What a client was given at QoS 1 or 2 and has not finished.
#[derive(Clone, Debug)]
struct Outstanding {
    copy: Delivered,
    is_received: bool,
}

/// The connection.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) id: LinkId,
    pub(crate) client: usize,
    pub(crate) shard: usize,
    pub(crate) version: ProtocolVersion,
    pub(crate) session: Option<SessionNo>,
    /// Whether the session should be there already.
    pub(crate) is_resumed: bool,
    /// Handed to the shard and not taken yet.
    pub(crate) unread: Vec<u8>,
    /// Bytes of the client's next packet among them.
    pub(crate) begun: usize,
    /// Written by the broker, whole packets with their lengths.
    pub(crate) items: VecDeque<(Item, usize)>,
    /// Bytes the transport holds.
    pub(crate) in_transport: usize,
    /// Bytes of the outbox that were looked at.
    pub(crate) seen: usize,
    /// The client went without a word and the shard does not know.
    pub(crate) is_vanished: bool,
    /// The broker ended it.
    pub(crate) is_closed: bool,
    pub(crate) told: Option<u8>,
    /// With the turn that has to be durable before each leaves.
    pub(crate) answers: VecDeque<(Answer, u64)>,
    /// PUBCOMP that are due, with such turns.
    pub(crate) completions: VecDeque<(u16, u8, u64)>,
    /// The turn that has to be durable before CONNACK leaves.
    pub(crate) promised: u64,
    /// CONNACK was written: nothing can be told before.
    pub(crate) is_open: bool,
    pub(crate) pongs: usize,
    pub(crate) heard: Millis,
    /// In force, in seconds.
    pub(crate) keep_alive_s: u16,
    pub(crate) asked_expiry_s: u32,
    pub(crate) packet_size_max: u32,
    pub(crate) receive_maximum: usize,
    pub(crate) alias_max: u16,
    aliases: BTreeMap<u16, String>,
    outstanding: BTreeMap<u16, Outstanding>,
}

impl Line {
    pub(crate) fn new(id: LinkId, client: usize, shard: usize, version: ProtocolVersion) -> Self {
        Self {
            id,
            client,
            shard,
            version,
            session: None,
            is_resumed: false,
            unread: Vec::new(),
            begun: 0,
            items: VecDeque::new(),
            in_transport: 0,
            seen: 0,
            is_vanished: false,
            is_closed: false,
            told: None,
            is_open: false,
            answers: VecDeque::new(),
            promised: 0,
            completions: VecDeque::new(),
            pongs: 0,
            heard: Millis(0),
            keep_alive_s: 0,
            asked_expiry_s: 0,
            packet_size_max: u32::MAX,
            receive_maximum: 65_535,
            alias_max: 0,
            aliases: BTreeMap::new(),
            outstanding: BTreeMap::new(),
        }
    }

    pub(crate) fn is_v5(&self) -> bool {
        self.version == ProtocolVersion::V5
    }

    /// When silence has lasted too long (MQTT-3.1.2-22).
    pub(crate) fn silent_at(&self) -> Option<Millis> {
        (self.keep_alive_s > 0).then(|| self.heard.plus_ms(u64::from(self.keep_alive_s) * 1_500))
    }

    /// An identifier given to the client at this QoS and still in use; the first PUBLISH alone counts.
    pub(crate) fn outstanding_id(&self, qos: Qos) -> Option<u16> {
        self.outstanding.iter().find(|(_, o)| o.copy.qos == qos && !o.is_received).map(|(id, _)| *id)
    }

    /// Whether the client was given this identifier at this QoS and has not finished.
    pub(crate) fn is_outstanding(&self, id: u16, qos: Qos) -> bool {
        self.outstanding.get(&id).is_some_and(|o| o.copy.qos == qos)
    }

    /// Reads what was written since the last look, and checks what this connection alone can tell.
    pub(crate) fn look(&mut self, outbox: &[u8], committed: u64) -> Result<Vec<Item>, Violation> {
        let decoder = Decoder::new(Sender::Server, self.version, u32::MAX);
        let mut items = Vec::new();
        while self.seen < outbox.len() {
            let client = self.client;
            let complain = |what: String| Violation::protocol(what).of_client(client);
            let (mut item, alias, len) = packet::read(decoder, &outbox[self.seen..]).map_err(complain)?;
            if len > usize::try_from(self.packet_size_max).unwrap_or(usize::MAX) {
                return Err(complain(format!("{item:?} of {len} bytes is larger than {}", self.packet_size_max)));
            }
            if !self.is_open && !matches!(item, Item::ConnAck { .. }) {
                return Err(complain("a packet comes before CONNACK (MQTT-3.2.0-1)".into()));
            }
            if self.told.is_some() {
                return Err(complain("a packet follows DISCONNECT (MQTT-3.14.4-1)".into()));
            }
            let promised = self.promise(&item);
            self.check(&mut item, alias).map_err(complain)?;
            if promised > committed {
                let what = format!("{item:?} was written before what it promises was durable");
                return Err(Violation::new(Invariant::I1, what).of_client(client));
            }
            self.seen += len;
            self.items.push_back((item.clone(), len));
            items.push(item);
        }
        Ok(items)
    }

    /// The turn that has to be durable by now.
    fn promise(&self, item: &Item) -> u64 {
        match item {
            Item::PubAck(..) | Item::PubRec(..) | Item::SubAck(..) | Item::UnsubAck(..) => {
                self.answers.front().map_or(0, |(_, turn)| *turn)
            }
            Item::PubComp(..) => self.completions.front().map_or(0, |(.., turn)| *turn),
            Item::ConnAck { .. } => self.promised,
            Item::Publish(_) | Item::PubRel(_) | Item::Pong | Item::Disconnect(_) => 0,
        }
    }

    fn check(&mut self, item: &mut Item, alias: Option<u16>) -> Result<(), String> {
        match item {
            Item::Publish(copy) => {
                self.check_alias(copy, alias)?;
                self.check_identifier(copy)
            }
            Item::PubAck(id, code) => match self.answers.pop_front().map(|(answer, _)| answer) {
                Some(Answer::PubAck(due, _, codes)) if due == *id && codes.contains(code) => Ok(()),
                due => Err(format!("PUBACK {id} {code:#04x} where {due:?} is due")),
            },
            Item::PubRec(id, code) => match self.answers.pop_front().map(|(answer, _)| answer) {
                Some(Answer::PubRec(due, _, codes)) if due == *id && codes.contains(code) => Ok(()),
                due => Err(format!("PUBREC {id} {code:#04x} where {due:?} is due")),
            },
            Item::SubAck(id, codes) => match self.answers.pop_front().map(|(answer, _)| answer) {
                Some(Answer::SubAck(due, due_codes)) if due == *id && due_codes == *codes => Ok(()),
                due => Err(format!("SUBACK {id} {codes:02x?} where {due:02x?} is due")),
            },
            Item::UnsubAck(id, codes) => match self.answers.pop_front().map(|(answer, _)| answer) {
                Some(Answer::UnsubAck(due, due_codes)) if due == *id && due_codes == *codes => Ok(()),
                due => Err(format!("UNSUBACK {id} {codes:02x?} where {due:02x?} is due")),
            },
            Item::PubComp(id, code) => match self.completions.pop_front() {
                Some((due, due_code, _)) if (due, due_code) == (*id, *code) => Ok(()),
                due => Err(format!("PUBCOMP {id} {code:#04x} where {due:02x?} is due")),
            },
            Item::Pong if self.pongs == 0 => Err("PINGRESP without a PINGREQ".into()),
            Item::Pong => {
                self.pongs -= 1;
                Ok(())
            }
            Item::Disconnect(code) => {
                self.told = Some(*code);
                if self.is_v5() { Ok(()) } else { Err("DISCONNECT to a 3.x client".into()) }
            }
            Item::ConnAck { .. } => {
                self.is_open = true;
                Ok(())
            }
            Item::PubRel(_) => Ok(()),
        }
    }

    /// Resolves a topic alias of the broker (MQTT-3.1.2-26, MQTT-3.3.2-8).
    fn check_alias(&mut self, copy: &mut Delivered, alias: Option<u16>) -> Result<(), String> {
        match alias {
            Some(alias) if alias > self.alias_max => {
                Err(format!("alias {alias} where the client accepts {}", self.alias_max))
            }
            Some(alias) if copy.topic.is_empty() => match self.aliases.get(&alias) {
                Some(topic) => {
                    copy.topic.clone_from(topic);
                    Ok(())
                }
                None => Err(format!("alias {alias} was never set")),
            },
            Some(alias) => {
                self.aliases.insert(alias, copy.topic.clone());
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Identifiers are free (MQTT-2.2.1-4) and the client's Receive Maximum holds (MQTT-3.3.4-9).
    fn check_identifier(&mut self, copy: &Delivered) -> Result<(), String> {
        let Some(id) = copy.id else { return Ok(()) };
        if let Some(other) = self.outstanding.get(&id) {
            return Err(format!("identifier {id} is in use on this connection: {copy:?} after {:?}", other.copy));
        }
        self.outstanding.insert(id, Outstanding { copy: copy.clone(), is_received: false });
        if self.outstanding.len() > self.receive_maximum {
            return Err(format!(
                "{} messages under way, Receive Maximum {}",
                self.outstanding.len(),
                self.receive_maximum
            ));
        }
        Ok(())
    }

    /// The broker took an acknowledgement of the client: tells what it is for, the first time.
    pub(crate) fn on_acknowledged(&mut self, id: u16, qos: Qos, is_finished: bool) -> Option<Delivered> {
        let outstanding = self.outstanding.get_mut(&id).filter(|o| o.copy.qos == qos)?;
        let is_new = !std::mem::replace(&mut outstanding.is_received, true);
        let copy = outstanding.copy.clone();
        if is_finished {
            self.outstanding.remove(&id);
        }
        is_new.then_some(copy)
    }

    /// What is still due on this connection.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.items.is_empty() && self.answers.is_empty() && self.completions.is_empty() && self.pongs == 0
    }
}

//! One online connection's protocol state: codec, aliases, windows, acknowledgements that wait for the journal.
//!
//! Held by a session while it is online, used by `handle`. Forgotten as a whole when the connection ends, so nothing in
//! here survives one (MQTT-3.3.2-7).

use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;

use motte_mqtt::{
    Ack, AckKind, ConnAck, ConnAckProperties, Decoder, Disconnect, Encoder, Packet, PacketId, ProtocolVersion, Publish,
    ReasonCode, Sender, SubAck, UnsubAck, UserProperties,
};

use motte_policy::Reauthentication;

use crate::admission::Admission;
use crate::alias::{InboundAliases, Naming, OutboundAliases};
use crate::control::ControlTicket;
use crate::counters::Counters;
use crate::effects::Effects;
use crate::journal::Position;
use crate::limits::Limits;
use crate::narrowing::Narrowings;
use crate::pace::Pace;
use crate::routes::RouteCache;
use crate::shard::{LinkId, Millis};
use crate::words;

/// An acknowledgement and the record it promises.
#[derive(Debug)]
pub(crate) struct PendingAck {
    pub(crate) position: Position,
    pub(crate) answer: Answer,
    /// The request to the broker that has to be answered before.
    pub(crate) request: Option<ControlTicket>,
}

/// What answers a packet of the client.
#[derive(Debug)]
pub(crate) enum Answer {
    Ack(AckKind, PacketId, ReasonCode),
    SubAck(PacketId, Vec<u8>, Narrowings),
    UnsubAck(PacketId, Vec<u8>),
}

/// What a client is sent from CONNACK on, while that waits for a record.
#[derive(Debug)]
struct Opening {
    position: Position,
    bytes: Vec<u8>,
}

/// The state of a connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) version: ProtocolVersion,
    pub(crate) decoder: Decoder,
    pub(crate) encoder: Encoder,
    /// Bytes of the largest packet the client takes.
    pub(crate) packet_size_max: u32,
    /// Silence after which the connection ends: one and a half times the keep alive. `None` for never.
    pub(crate) silence_ms_max: Option<u64>,
    pub(crate) heard: Millis,
    pub(crate) pace: Pace,
    /// Unacknowledged QoS 1 and 2 messages the client takes at once.
    pub(crate) window: usize,
    /// Whether the CONNECT asked for a session that ends with the connection; a DISCONNECT may not change that.
    pub(crate) expiry_was_zero: bool,
    /// Whether reason strings are wanted everywhere (MQTT-3.1.2-29).
    wants_problem_information: bool,
    /// There when the connection began with an exchange of authentication data.
    pub(crate) reauthentication: Option<Box<Reauthentication>>,
    pub(crate) cache: RouteCache,
    opening: Option<Opening>,
    pending: VecDeque<PendingAck>,
    /// QoS 1 publishes among `pending`: they count against our Receive Maximum.
    pub(crate) pending_publishes: usize,
    /// What it asked of the broker and was not answered.
    pub(crate) requests: BTreeSet<ControlTicket>,
    requests_made: u64,
    /// What the client has set.
    pub(crate) aliases: InboundAliases,
    /// What we use towards the client.
    pub(crate) names: OutboundAliases,
}

impl Link {
    /// The state after CONNECT. `keep_alive_s` is the one in force.
    pub(crate) fn new(id: LinkId, admission: &Admission, keep_alive_s: u16, limits: &Limits, now: Millis) -> Self {
        let version = admission.version;
        let is_v5 = version == ProtocolVersion::V5;
        Self {
            id,
            version,
            decoder: Decoder::new(Sender::Client, version, limits.packet_size_bytes_max),
            encoder: Encoder::new(version, admission.packet_size_max),
            packet_size_max: admission.packet_size_max,
            silence_ms_max: NonZeroU16::new(keep_alive_s).map(|s| u64::from(s.get()) * 1_500),
            heard: now,
            pace: Pace::new(limits, now),
            window: usize::from(admission.receive_maximum.get().min(limits.inflight_max.max(1))),
            expiry_was_zero: admission.session_expiry_s == 0,
            wants_problem_information: admission.wants_problem_information,
            reauthentication: None,
            cache: RouteCache::default(),
            opening: None,
            pending: VecDeque::new(),
            pending_publishes: 0,
            requests: BTreeSet::new(),
            requests_made: 0,
            aliases: InboundAliases::new(if is_v5 { limits.topic_alias_maximum } else { 0 }),
            names: OutboundAliases::new(admission.topic_alias_maximum.min(limits.topic_alias_outbound_max)),
        }
    }

    /// Whether reason codes can be told.
    pub(crate) fn is_v5(&self) -> bool {
        self.version == ProtocolVersion::V5
    }

    /// When the connection ends if nothing more is heard.
    pub(crate) fn silent_until(&self) -> Option<Millis> {
        self.silence_ms_max.map(|ms| self.heard.plus_ms(ms))
    }

    /// Lets an acknowledgement wait for its record, behind those that wait already; tells how many wait.
    pub(crate) fn wait(&mut self, ack: PendingAck) -> usize {
        self.pending_publishes += usize::from(matches!(ack.answer, Answer::Ack(AckKind::PubAck, ..)));
        self.pending.push_back(ack);
        self.pending.len()
    }

    /// A name for another request.
    pub(crate) fn next_ticket(&mut self) -> ControlTicket {
        self.requests_made += 1;
        ControlTicket(self.requests_made)
    }

    /// The identifier that is held from the PUBREC of a request on, where it has one.
    pub(crate) fn received_by(&self, ticket: ControlTicket) -> Option<PacketId> {
        let ack = self.pending.iter().find(|ack| ack.request == Some(ticket))?;
        if let Answer::Ack(AckKind::PubRec, id, _) = ack.answer { Some(id) } else { None }
    }

    /// A request is answered: its acknowledgement waits for the record at `position` and for nothing else.
    pub(crate) fn on_answered(&mut self, ticket: ControlTicket, position: Position) {
        if let Some(ack) = self.pending.iter_mut().find(|ack| ack.request == Some(ticket)) {
            (ack.request, ack.position) = (None, position);
        }
    }

    /// The next acknowledgement in order, if its record is durable.
    pub(crate) fn take_durable(&mut self, durable: Position) -> Option<PendingAck> {
        let ack = self.pending.pop_front_if(|ack| ack.request.is_none() && ack.position <= durable)?;
        self.pending_publishes -= usize::from(matches!(ack.answer, Answer::Ack(AckKind::PubAck, ..)));
        Some(ack)
    }

    /// Whether acknowledgements wait.
    pub(crate) fn waits(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Lets everything that is written from now on wait for a record.
    pub(crate) fn open_at(&mut self, position: Position) {
        self.opening = Some(Opening { position, bytes: Vec::new() });
    }

    /// Whether CONNACK still waits.
    pub(crate) fn is_opening(&self) -> bool {
        self.opening.is_some()
    }

    /// Lets CONNACK leave, and what was written behind it, if its record is durable; tells whether it left now.
    pub(crate) fn open(&mut self, durable: Position, fx: &mut impl Effects) -> bool {
        let Some(opening) = self.opening.take_if(|opening| opening.position <= durable) else { return false };
        if let Some(out) = fx.outbox(self.id) {
            out.extend_from_slice(&opening.bytes);
        }
        true
    }

    /// Refuses a client whose CONNACK still waits, in the place of what was to be told; tells whether it was so.
    pub(crate) fn refuse(&mut self, reason: ReasonCode, counters: &mut Counters, fx: &mut impl Effects) -> bool {
        if self.opening.take().is_none() {
            return false;
        }
        let properties = ConnAckProperties { reason_string: words::of_connect(reason), ..ConnAckProperties::default() };
        self.write(&Packet::ConnAck(ConnAck { session_present: false, reason, properties }), counters, fx);
        true
    }

    /// Where packets for the client other than PUBLISH are written: behind CONNACK, while that waits. `None` when the
    /// transport is gone.
    pub(crate) fn outbox<'a>(&'a mut self, fx: &'a mut impl Effects) -> Option<&'a mut Vec<u8>> {
        let out = fx.outbox(self.id)?;
        Some(self.opening.as_mut().map_or(out, |opening| &mut opening.bytes))
    }

    /// Where a PUBLISH may be written now, if less than this many bytes wait there. None is written before CONNACK: it
    /// is judged when it leaves.
    pub(crate) fn outbox_below<'a>(&self, bytes_max: usize, fx: &'a mut impl Effects) -> Option<&'a mut Vec<u8>> {
        fx.outbox(self.id).filter(|out| out.len() < bytes_max && self.opening.is_none())
    }

    /// Bytes the client has not been sent yet; `None` when the transport is gone.
    pub(crate) fn unsent_bytes(&self, fx: &mut impl Effects) -> Option<usize> {
        let out = fx.outbox(self.id)?;
        Some(self.opening.as_ref().map_or(out.len(), |opening| opening.bytes.len()))
    }

    /// Writes a packet; what the client does not accept is left out (MQTT-3.1.2-24).
    pub(crate) fn write(&mut self, packet: &Packet<'_>, counters: &mut Counters, fx: &mut impl Effects) {
        let encoder = self.encoder;
        if let Some(out) = self.outbox(fx) {
            write_counted(encoder, packet, out, counters);
        }
    }

    /// Appends a PUBLISH of `topic` to the link's outbox, by an alias where that is possible; tells whether the client
    /// takes a packet of this size (MQTT-3.1.2-24).
    pub(crate) fn publish(&mut self, packet: &Publish<'_>, topic: &Arc<str>, out: &mut Vec<u8>) -> bool {
        match self.names.name(topic) {
            Naming::Alias(alias) => {
                let short = Publish { topic: "", topic_alias: Some(alias), ..*packet };
                self.encoder.forward(&short, out).is_ok()
            }
            Naming::Both(alias) => {
                if self.encoder.forward(&Publish { topic_alias: Some(alias), ..*packet }, out).is_ok() {
                    self.names.told(topic, alias);
                    return true;
                }
                // Three bytes less may be what the client still takes.
                self.encoder.forward(packet, out).is_ok()
            }
            Naming::Topic => self.encoder.forward(packet, out).is_ok(),
        }
    }

    /// Writes a DISCONNECT, where the version has one from servers and CONNACK was sent (MQTT-3.14.0-1). A Server
    /// Reference that the client has no room for leaves nothing to be said but that the server stops.
    pub(crate) fn write_disconnect(
        &mut self,
        (reason, words): (ReasonCode, Option<&str>),
        server_reference: Option<&str>,
        counters: &mut Counters,
        fx: &mut impl Effects,
    ) {
        if !self.is_v5() || self.is_opening() {
            return;
        }
        let Some(out) = fx.outbox(self.id) else { return };
        let packet = Disconnect { reason_string: words, server_reference, ..Disconnect::new(reason) };
        let is_written = write_counted(self.encoder, &Packet::Disconnect(packet), out, counters);
        if !is_written && server_reference.is_some() {
            self.write(&Packet::Disconnect(Disconnect::new(ReasonCode::ServerShuttingDown)), counters, fx);
        }
    }

    /// Writes an answer.
    pub(crate) fn write_answer(&mut self, answer: &Answer, counters: &mut Counters, fx: &mut impl Effects) {
        match answer {
            Answer::Ack(kind, id, reason) => self.write_ack(*kind, (*id, *reason), counters, fx),
            Answer::SubAck(id, codes, narrowings) => {
                let words = words::of_filters(codes).or_else(|| narrowings.words());
                let words = self.explained(words);
                let (reason_string, user) = (words.as_deref(), narrowings.properties());
                self.write(&Packet::SubAck(SubAck { id: *id, reason_string, user, codes }), counters, fx);
            }
            Answer::UnsubAck(id, codes) => {
                let words = self.explained(words::of_filters(codes));
                let (reason_string, user) = (words.as_deref(), UserProperties::EMPTY);
                let codes = if self.is_v5() { codes.as_slice() } else { &[] };
                self.write(&Packet::UnsubAck(UnsubAck { id: *id, reason_string, user, codes }), counters, fx);
            }
        }
    }

    /// Writes an acknowledgement of success.
    pub(crate) fn acknowledge(&mut self, kind: AckKind, id: PacketId, counters: &mut Counters, fx: &mut impl Effects) {
        let encoder = self.encoder;
        if let Some(out) = self.outbox(fx) {
            let before = out.len();
            if encoder.acknowledge(kind, id, out).is_ok() {
                counters.outgoing.count(out[before], out.len() - before);
            }
        }
    }

    /// Writes an acknowledgement, with the reason this version can be told.
    fn write_ack(
        &mut self,
        kind: AckKind,
        (id, reason): (PacketId, ReasonCode),
        counters: &mut Counters,
        fx: &mut impl Effects,
    ) {
        let told = self.told(reason);
        if told == ReasonCode::Success {
            return self.acknowledge(kind, id, counters, fx);
        }
        let reason_string = self.explained(words::of_publish(reason));
        self.write(&kind.packet(Ack { reason_string, ..Ack::new(id, told) }), counters, fx);
    }

    /// A reason string, if the client wants any in packets other than CONNACK and DISCONNECT (MQTT-3.1.2-29).
    fn explained<T>(&self, words: Option<T>) -> Option<T> {
        words.filter(|_| self.wants_problem_information)
    }

    /// Whether it can and wants to be told more than a reason code.
    pub(crate) fn takes_words(&self) -> bool {
        self.is_v5() && self.wants_problem_information
    }

    /// The reason code this version can be told: 3.x acknowledgements have none.
    pub(crate) fn told(&self, reason: ReasonCode) -> ReasonCode {
        if self.is_v5() { reason } else { ReasonCode::Success }
    }
}

/// Writes a packet other than PUBLISH and counts it; tells whether it was written. An error leaves the buffer as it
/// was: the packet is too large for the client, or does not exist in its version, and then must not be sent.
pub(crate) fn write_counted(encoder: Encoder, packet: &Packet<'_>, out: &mut Vec<u8>, counters: &mut Counters) -> bool {
    let before = out.len();
    let is_written = encoder.encode(packet, out).is_ok();
    if is_written {
        counters.outgoing.count(out[before], out.len() - before);
    }
    is_written
}

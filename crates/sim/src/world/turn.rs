//! One call into a shard and its bookkeeping: packets taken, events, bytes written, letters, counts.

use motte_broker::audit::{CloseCause, Denial, EventKind};
use motte_broker::{Counters, LinkId, Millis, Shard};

use super::{Parcel, Sink, World};
use crate::fault::Fault;
use crate::history::{Invariant, MessageNo, Violation, What};
use crate::journal::SimJournal;
use crate::ledger::{Coming, Verdict};
use crate::line::{Answer, Line};
use crate::packet::{Item, Meaning, Sent};
use motte_broker::mqtt::{ProtocolVersion, Qos};

/// How a connection has to end because of what was taken from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    #[default]
    None,
    /// The client left.
    Left,
    /// The client broke this rule; one of these codes.
    Broken(&'static str, &'static [u8]),
}

/// What a call was about.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) shard: usize,
    /// Messages this shard takes in this call, and where in the log they were accepted.
    pub(super) taken: Vec<(MessageNo, usize)>,
    /// Among them, those accepted in this call.
    pub(super) accepted: Vec<(MessageNo, usize)>,
    pub(super) coming: Option<Coming>,
    /// What the shard had counted as refused before.
    pub(super) refused_before: u64,
    /// Whose transport ended.
    pub(super) lost: Option<usize>,
    /// Whose packets ended the connection.
    pub(super) end: (usize, End),
}

impl World {
    /// Calls a shard and books what came of it.
    pub(super) fn call(
        &mut self,
        mut turn: Turn,
        act: impl FnOnce(&mut Shard<SimJournal>, Millis, &mut Sink),
    ) -> Result<(), Violation> {
        self.ledger.now = self.now;
        let dropped = self.shards[turn.shard].counters().dropped;
        act(&mut self.shards[turn.shard], self.now, &mut self.sinks[turn.shard]);
        self.book(&mut turn, dropped)
    }

    /// Hands these packets of a client over, and the first bytes of the next one.
    pub(super) fn hand_over(&mut self, link: LinkId, packets: Vec<Sent>, begun: &[u8]) -> Result<(), Violation> {
        let Some(line) = self.lines.get_mut(&link) else { return Ok(()) };
        let (shard, client) = (line.shard, line.client);
        let mut whole = line.unread.len() - line.begun;
        for (at, packet) in packets.iter().enumerate() {
            let from = if at == 0 { line.begun } else { 0 };
            line.unread.extend(&packet.bytes[from..]);
            whole += packet.bytes.len();
        }
        line.begun = if packets.is_empty() { line.begun } else { 0 };
        line.unread.extend(begun);
        line.begun += begun.len();
        let bytes = std::mem::take(&mut line.unread);
        if !packets.is_empty() {
            line.heard = self.now;
        }
        let Counters { dropped, refused: refused_before, .. } = self.shards[shard].counters();
        self.ledger.now = self.now;
        let taken = self.shards[shard].on_bytes(link, &bytes, self.now, &mut self.sinks[shard]);
        let mut turn = Turn { shard, refused_before, ..Turn::default() };
        for packet in packets {
            let end = self.on_packet(&mut turn, link, packet.meaning);
            if end != End::None {
                turn.end = (client, end);
                break;
            }
        }
        if let Some(line) = self.lines.get_mut(&link) {
            line.unread = bytes[taken.min(bytes.len())..].to_vec();
            if turn.end.1 == End::None && taken != whole && !self.sinks[shard].closed.contains(&link) {
                let what = format!("{taken} bytes were taken of {whole} that are whole packets");
                return Err(Violation::protocol(what).of_client(client));
            }
        }
        self.book(&mut turn, dropped)
    }

    /// Books one packet the shard took.
    fn on_packet(&mut self, turn: &mut Turn, link: LinkId, meaning: Meaning) -> End {
        let Some(line) = self.lines.get_mut(&link) else { return End::None };
        let (client, version) = (line.client, line.version);
        match meaning {
            Meaning::Publish { message, id } => {
                let was_refused = self.shards[turn.shard].counters().refused > turn.refused_before;
                if was_refused && self.ledger.may_refuse(message) {
                    let verdict = self.ledger.on_refused(client, message);
                    match id {
                        Some(id) if version != ProtocolVersion::V5 => self.clients[client].give_up(id),
                        _ => self.on_verdict(turn, link, (message, id), verdict),
                    }
                } else if let Some(verdict) = self.ledger.on_publish(client, message, id, version) {
                    self.on_verdict(turn, link, (message, id), verdict);
                }
            }
            Meaning::PubAck(id) => line.on_acknowledged(id, Qos::AtLeastOnce, true),
            Meaning::PubRec(id) => line.on_acknowledged(id, Qos::ExactlyOnce, false),
            Meaning::PubComp(id) => line.on_acknowledged(id, Qos::ExactlyOnce, true),
            Meaning::PubRel(id) => {
                let session = self.ledger.sessions.get_mut(&client);
                let is_known = session.is_some_and(|session| session.received.remove(&id));
                line.completions.push_back((id, if is_known || !line.is_v5() { 0 } else { 0x92 }));
            }
            Meaning::Subscribe { id, filters, subscription_id } => {
                let codes = self.ledger.on_subscribe(client, &filters, subscription_id, version);
                if version == ProtocolVersion::V31 && codes.iter().any(|code| *code >= 0x80) {
                    return End::Broken("a refusal MQTT 3.1 cannot be told", &[]);
                }
                line.answers.push_back(Answer::SubAck(id, codes));
            }
            Meaning::Unsubscribe { id, filters } => {
                let codes = self.ledger.on_unsubscribe(client, &filters, version);
                line.answers.push_back(Answer::UnsubAck(id, codes));
            }
            Meaning::Ping => line.pongs += 1,
            Meaning::Disconnect { keeps_will, expiry_s } => {
                self.ledger.on_disconnect(client, keeps_will, expiry_s);
                return End::Left;
            }
            Meaning::Illegal { in_use: Some((id, qos)), .. } if !line.is_outstanding(id, qos) => {}
            Meaning::Illegal { name, codes, is_publish, .. } => {
                self.ledger.history.tallies[turn.shard].received_maybe += u64::from(is_publish);
                return End::Broken(name, codes);
            }
        }
        End::None
    }

    fn on_verdict(&mut self, turn: &mut Turn, link: LinkId, (no, id): (MessageNo, Option<u16>), verdict: Verdict) {
        let message = &self.ledger.history.messages[no];
        let at = message.accepted.last().copied().filter(|_| verdict.is_accepted);
        turn.taken.extend(at.map(|at| (no, at)));
        turn.accepted.extend(at.map(|at| (no, at)));
        let answer = match (message.qos, id) {
            (Qos::AtLeastOnce, Some(id)) => Answer::PubAck(id, no, verdict.codes),
            (Qos::ExactlyOnce, Some(id)) => Answer::PubRec(id, no, verdict.codes),
            _ => return,
        };
        if let Some(line) = self.lines.get_mut(&link) {
            line.answers.push_back(answer);
        }
    }

    /// Books events in their order, then everything written, then letters and counts.
    fn book(&mut self, turn: &mut Turn, dropped_before: u64) -> Result<(), Violation> {
        let shard = turn.shard;
        for event in std::mem::take(&mut self.sinks[shard].events) {
            let client = event.client_id.as_deref().and_then(|name| self.client_named(name));
            let Some(client) = client else { continue };
            match event.kind {
                EventKind::Closed { cause, .. } => self.on_closed(turn, client, cause)?,
                EventKind::SessionExpired => self.ledger.on_expired(client)?,
                EventKind::WillPublished { .. } => self.on_will(turn, client, false)?,
                EventKind::Denied { what: Denial::Will, .. } => self.on_will(turn, client, true)?,
                EventKind::Admitted { .. } => self.on_admitted(turn, client)?,
                _ => {}
            }
        }
        if let (client, End::Broken(name, _)) = &turn.end {
            return Err(Violation::protocol(format!("the broker bears {name}")).of_client(*client));
        }
        let links: Vec<LinkId> = self.sinks[shard].outboxes.keys().copied().collect();
        for link in links {
            self.look(link)?;
        }
        let counters = self.shards[shard].counters();
        if counters.dropped > dropped_before {
            self.ledger.on_dropped(&turn.taken, shard);
        }
        let accounted = counters.sent + counters.queued + counters.dropped + counters.withheld;
        if counters.routed != accounted {
            let what = format!("shard {shard}: routed is not sent + queued + dropped + withheld: {counters:?}");
            return Err(Violation::new(Invariant::I8, what));
        }
        self.post(shard, &turn.accepted);
        Ok(())
    }

    /// Letters of one call travel together.
    fn post(&mut self, from: usize, accepted: &[(MessageNo, usize)]) {
        let mut parcels: std::collections::BTreeMap<usize, Vec<_>> = std::collections::BTreeMap::new();
        for (to, letter) in self.sinks[from].letters.drain(..) {
            parcels.entry(usize::from(to.0)).or_default().push(letter);
        }
        for (to, letters) in parcels {
            let parcel = Parcel { letters, messages: accepted.to_vec() };
            self.parcels.entry((from, to)).or_default().push_back(parcel);
        }
    }

    fn on_admitted(&mut self, turn: &mut Turn, client: usize) -> Result<(), Violation> {
        let Some(coming) = turn.coming.filter(|coming| coming.client == client) else {
            return Err(Violation::protocol("somebody was admitted who did not come").of_client(client));
        };
        let is_resumed = self.ledger.on_connect(&coming);
        let session = self.ledger.sessions.get(&client).map(|session| session.no);
        if let Some(line) = self.lines.get_mut(&coming.link) {
            (line.session, line.is_resumed, line.heard) = (session, is_resumed, self.now);
        }
        Ok(())
    }

    fn on_will(&mut self, turn: &mut Turn, client: usize, is_denied: bool) -> Result<(), Violation> {
        let accepted = self.ledger.on_will(client, is_denied)?;
        turn.taken.extend(accepted);
        turn.accepted.extend(accepted);
        Ok(())
    }

    /// A connection ended: for a reason there is, and in words its client can read.
    fn on_closed(&mut self, turn: &mut Turn, client: usize, cause: CloseCause) -> Result<(), Violation> {
        let complain = |what: String| Violation::protocol(what).of_client(client);
        let link = self.attached(client).ok_or_else(|| complain("a connection ended that nobody had".into()))?;
        let outbox = self.sinks[turn.shard].outboxes.get(&link).map(Vec::len);
        self.look(link)?;
        let line = self.lines.get_mut(&link).ok_or_else(|| complain("a connection ended that is gone".into()))?;
        let end = if turn.end.0 == client { std::mem::take(&mut turn.end.1) } else { End::None };
        let codes: &[u8] = match (cause, end) {
            (CloseCause::ClientDisconnected, End::Left) => &[],
            (CloseCause::Protocol | CloseCause::Limit, End::Broken(_, codes)) => codes,
            (CloseCause::ConnectionLost, _) if turn.lost == Some(client) => &[],
            // A takeover is judged with everything else about owners.
            (CloseCause::TakenOver, _) if turn.coming.is_some_and(|coming| coming.client == client) => &[0x8e],
            (CloseCause::KeepAlive, _) if line.silent_at().is_some_and(|at| at <= self.now) => &[0x8d],
            (CloseCause::SlowReader, _) if outbox.is_some_and(|len| len > self.plan.limits.outbox_bytes_max) => &[0x97],
            (cause, end) => return Err(complain(format!("a connection ended without a reason: {cause:?} {end:?}"))),
        };
        let can_tell = outbox.is_some() && line.is_v5() && line.is_open;
        if can_tell && cause != CloseCause::TakenOver && line.told.is_some_and(|told| !codes.contains(&told)) {
            return Err(complain(format!("the client was told {:02x?} where {codes:02x?} is right", line.told)));
        }
        if can_tell && !codes.is_empty() && line.told.is_none() {
            return Err(complain(format!("the client was not told {codes:02x?}")));
        }
        line.is_closed = true;
        let told = line.told;
        if self.fault != Some(Fault::HideTakeover) || cause != CloseCause::TakenOver {
            self.ledger.note(What::Closed { client, link, cause, told, can_tell });
        }
        self.ledger.on_closed(client);
        Ok(())
    }

    /// Reads what was written to one connection since the last look.
    fn look(&mut self, link: LinkId) -> Result<(), Violation> {
        let Some(line) = self.lines.get_mut(&link) else { return Ok(()) };
        let Some(outbox) = self.sinks[line.shard].outboxes.get(&link) else { return Ok(()) };
        if line.seen == outbox.len() {
            return Ok(());
        }
        let due: Vec<Answer> = line.answers.iter().cloned().collect();
        let items = line.look(outbox)?;
        let mut due = due.into_iter();
        for item in items {
            let line = &self.lines[&link];
            match item {
                Item::Publish(copy) => {
                    let session = line.session.ok_or_else(|| Violation::protocol("PUBLISH before CONNACK"))?;
                    self.ledger.on_written(session, link, &copy)?;
                    self.leak(session, link, copy);
                }
                Item::ConnAck { is_present, code, .. } => check_connack(line, is_present, code)?,
                Item::PubAck(_, code) | Item::PubRec(_, code) => {
                    if let Some(Answer::PubAck(_, message, _) | Answer::PubRec(_, message, _)) = due.next() {
                        let book = &mut self.ledger.history.messages[message];
                        book.is_acknowledged |= code < 0x80 && !book.accepted.is_empty();
                        self.ledger.note(What::Acknowledged { message, code });
                    }
                }
                Item::SubAck(..) | Item::UnsubAck(..) => drop(due.next()),
                _ => {}
            }
        }
        Ok(())
    }
}

fn check_connack(line: &Line, is_present: bool, code: u8) -> Result<(), Violation> {
    let complain = |what: String| Err(Violation::protocol(what).of_client(line.client));
    if code != 0 {
        return complain(format!("CONNACK {code:#04x} to somebody who may come"));
    }
    if line.version != ProtocolVersion::V31 && is_present != line.is_resumed {
        return complain(format!("Session Present is {is_present}, but the session is there: {}", line.is_resumed));
    }
    Ok(())
}

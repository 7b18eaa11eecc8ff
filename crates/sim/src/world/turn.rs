//! One call into a shard and its bookkeeping: packets taken, events, bytes written, letters, counts.

use motte_broker::audit::{CloseCause, Denial, EventKind};
use motte_broker::{Counters, LinkId, Millis, Shard};

use super::{Parcel, Sink, World};
use crate::fault::Fault;
use crate::history::{Delivered, Invariant, MessageNo, Violation, What};
use crate::journal::SimJournal;
use crate::ledger::{Coming, Verdict};
use crate::line::{Answer, Line};
use crate::packet::{Item, Meaning, Sent};
use motte_broker::mqtt::{PacketId, ProtocolVersion, Qos};

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
    /// The number of the turn at the keeper; 0 when it has no records.
    pub(super) no: u64,
    /// Messages this shard takes in this call, and where in the log they were accepted.
    pub(super) taken: Vec<(MessageNo, usize)>,
    /// Among them, those accepted in this call.
    pub(super) accepted: Vec<(MessageNo, usize)>,
    pub(super) coming: Option<Coming>,
    /// What the shard had counted as refused before.
    pub(super) refused_before: u64,
    /// The shard is told of a policy.
    pub(super) judges: bool,
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
        turn.no = self.hand_over_records(turn.shard)?;
        if let Some(coming) = &turn.coming {
            self.ledger.before_connect(coming);
        }
        if turn.judges {
            self.ledger.on_judged_again(turn.shard);
        }
        self.book(&mut turn, dropped)
    }

    /// What a turn appended goes to the keeper before anything of the turn is seen outside; tells its number there.
    fn hand_over_records(&mut self, shard: usize) -> Result<u64, Violation> {
        self.keeper.set_now(self.now);
        let Some(batch) = self.shards[shard].journal_mut().take_batch(self.now) else { return Ok(0) };
        let is_at_risk = self.plan.crashes.every_steps > 0 && self.plan.journal_lags;
        let before = is_at_risk.then(|| Box::new(self.ledger.snapshot()));
        let no = self.keeper.hand_over(batch, before);
        if !self.plan.journal_lags {
            self.keeper.commit(usize::MAX).map_err(Violation::protocol)?;
        }
        match self.keeper.kept.take_complaint() {
            Some(what) => Err(Violation::protocol(format!("the journal: {what}"))),
            None => Ok(no),
        }
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
        let mut turn = Turn { shard, no: self.hand_over_records(shard)?, refused_before, ..Turn::default() };
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
        // What a client changes of a session that lasts has to be durable before it is told.
        let lasts = self.ledger.sessions.get(&client).is_some_and(|session| session.expiry_s > 0);
        let promised = if lasts { turn.no } else { 0 };
        match meaning {
            Meaning::Publish { message, id } => {
                let was_refused = self.shards[turn.shard].counters().refused > turn.refused_before;
                if was_refused && self.ledger.may_refuse(message) {
                    let verdict = self.ledger.on_refused(client, message);
                    match id {
                        Some(id) if version != ProtocolVersion::V5 => self.clients[client].give_up(id),
                        _ => self.on_verdict(turn, link, (message, id), verdict),
                    }
                } else if let Some(verdict) = self.ledger.on_publish(client, message, id, (version, turn.no)) {
                    self.on_verdict(turn, link, (message, id), verdict);
                }
            }
            Meaning::PubAck(id) => {
                let settled = line.on_acknowledged(id, Qos::AtLeastOnce, true);
                self.on_settled(client, settled);
            }
            Meaning::PubRec(id) => {
                let settled = line.on_acknowledged(id, Qos::ExactlyOnce, false);
                self.on_settled(client, settled);
            }
            Meaning::PubComp(id) => drop(line.on_acknowledged(id, Qos::ExactlyOnce, true)),
            Meaning::PubRel(id) => {
                let session = self.ledger.sessions.get_mut(&client);
                let is_known = session.is_some_and(|session| session.received.remove(&id).is_some());
                let code = if is_known || !line.is_v5() { 0 } else { 0x92 };
                line.completions.push_back((id, code, if is_known { promised } else { 0 }));
            }
            Meaning::Subscribe { id, filters, subscription_id } => {
                let codes = self.ledger.on_subscribe(client, &filters, subscription_id, version);
                if version == ProtocolVersion::V31 && codes.iter().any(|code| *code >= 0x80) {
                    return End::Broken("a refusal MQTT 3.1 cannot be told", &[]);
                }
                let turn = if codes.iter().any(|code| *code < 0x80) { promised } else { 0 };
                line.answers.push_back((Answer::SubAck(id, codes), turn));
            }
            Meaning::Unsubscribe { id, filters } => {
                let (codes, is_changed) = self.ledger.on_unsubscribe(client, &filters, version);
                line.answers.push_back((Answer::UnsubAck(id, codes), if is_changed { promised } else { 0 }));
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
            line.answers.push_back((answer, verdict.turn));
        }
    }

    fn on_settled(&mut self, client: usize, copy: Option<Delivered>) {
        let session = self.ledger.sessions.get(&client).map(|session| session.no);
        if let Some((session, copy)) = session.zip(copy) {
            self.ledger.on_settled(session, &copy);
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
            line.promised = if coming.expiry_s > 0 { turn.no } else { 0 };
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
        let keeps_records = self.plan.crashes.keeps_records();
        let Some(line) = self.lines.get_mut(&link) else { return Ok(()) };
        let Some(outbox) = self.sinks[line.shard].outboxes.get(&link) else { return Ok(()) };
        if line.seen == outbox.len() {
            return Ok(());
        }
        let due: Vec<Answer> = line.answers.iter().map(|(answer, _)| answer.clone()).collect();
        let committed = if keeps_records { self.keeper.committed() } else { u64::MAX };
        let items = line.look(outbox, committed)?;
        let mut due = due.into_iter();
        for item in items {
            let line = &self.lines[&link];
            match item {
                Item::Publish(copy) => {
                    self.check_sent(line, &copy)?;
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
                Item::PubRel(id) => self.check_arrived(line, id)?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl World {
    /// A session that is kept is sent a QoS 2 message once the journal knows under which identifier: else it would
    /// come under another one after a crash, and count as new.
    fn check_sent(&self, line: &Line, copy: &Delivered) -> Result<(), Violation> {
        let id = copy.id.and_then(PacketId::new).filter(|_| copy.qos == Qos::ExactlyOnce);
        let Some(id) = id.filter(|_| self.keeps(line)) else { return Ok(()) };
        if self.keeper.kept.knows_sent(&self.plan.clients[line.client].name, id) {
            return Ok(());
        }
        let what = format!("a QoS 2 message was written before its identifier was durable: {copy:?}");
        Err(Violation::new(Invariant::I2, what).of_message(copy.message).of_client(line.client))
    }

    /// PUBREL frees the identifier at the client: from then on the message must not come again.
    fn check_arrived(&self, line: &Line, id: u16) -> Result<(), Violation> {
        let name = &self.plan.clients[line.client].name;
        let is_owed = PacketId::new(id).is_some_and(|id| self.keeper.kept.knows_sent(name, id));
        if !is_owed || !self.keeps(line) {
            return Ok(());
        }
        let what = format!("PUBREL {id} was written before it was durable that the message arrived");
        Err(Violation::new(Invariant::I2, what).of_client(line.client))
    }

    fn keeps(&self, line: &Line) -> bool {
        self.plan.crashes.keeps_records()
            && self.ledger.sessions.get(&line.client).is_some_and(|session| session.expiry_s > 0)
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

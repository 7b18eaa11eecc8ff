//! Bytes between clients and shards, and the end of a run: everybody comes, and everything under way arrives.

use motte_broker::mqtt::{ProtocolVersion, Qos};

use super::World;
use super::step::Manners;
use super::turn::Turn;
use crate::fault::Fault;
use crate::history::{Delivered, SessionNo, Violation, What};
use crate::packet::{self, Item, Meaning};
use crate::plan::Profile;
use crate::rights::AUDITOR;

type Step = Result<(), Violation>;

impl World {
    /// Hands some of what a client wrote to its shard, and perhaps the beginning of one more packet.
    pub(super) fn send_some(&mut self, at: usize) -> Step {
        let waiting = self.clients[at].to_send.len();
        if waiting == 0 {
            return Ok(());
        }
        let count = self.random.below(waiting.min(8) + 1);
        let begins = self.random.percent(20);
        self.send(at, count, begins)
    }

    /// Hands over up to `count` packets. At most one PUBLISH goes in one call, as the last packet, so that everything
    /// the shard does can be told to come from it; only a client that reads sends more than one packet.
    pub(super) fn send(&mut self, at: usize, count: usize, begins: bool) -> Step {
        let mut left = count;
        while left > 0 || (begins && left == count) {
            let Some(link) = self.clients[at].link else { return Ok(()) };
            let Some(line) = self.lines.get(&link).filter(|line| !line.is_closed) else { return Ok(()) };
            let has_room = self.sinks[line.shard].outboxes.get(&link).is_some_and(Vec::is_empty);
            let mut packets = Vec::new();
            while packets.len() < left {
                let Some(next) = self.clients[at].to_send.pop_front() else { break };
                let is_last = matches!(next.meaning, Meaning::Publish { .. } | Meaning::Illegal { .. });
                packets.push(next);
                if is_last || !has_room {
                    break;
                }
            }
            let legal = |meaning: &Meaning| !matches!(meaning, Meaning::Illegal { .. });
            let next = self.clients[at].to_send.front().filter(|next| begins && legal(&next.meaning));
            let line_begun = if packets.is_empty() { self.lines[&link].begun } else { 0 };
            let begun = match next {
                Some(next) if line_begun + 1 < next.bytes.len() => {
                    let end = line_begun + 1 + self.random.below(next.bytes.len() - line_begun - 1);
                    next.bytes[line_begun..end].to_vec()
                }
                _ => Vec::new(),
            };
            if packets.is_empty() && begun.is_empty() {
                return Ok(());
            }
            left = left.saturating_sub(packets.len().max(1));
            self.hand_over(link, packets, &begun)?;
            self.part(at)?;
            if begins {
                return Ok(());
            }
        }
        Ok(())
    }

    /// A connection the broker ended: its client may still read what was written.
    fn part(&mut self, at: usize) -> Step {
        let Some(link) = self.clients[at].link else { return Ok(()) };
        if !self.lines.get(&link).is_some_and(|line| line.is_closed) {
            return Ok(());
        }
        if self.random.percent(50) {
            self.read_all(at)?;
        }
        let shard = self.shard_of(at);
        self.sinks[shard].outboxes.remove(&link);
        self.sinks[shard].closed.remove(&link);
        self.lines.remove(&link);
        self.clients[at].on_gone();
        Ok(())
    }

    /// The transport takes what it has room for; the shard hears when it took everything.
    pub(super) fn write_out(&mut self, at: usize) -> Step {
        let Some(link) = self.clients[at].link else { return Ok(()) };
        let Some(line) = self.lines.get_mut(&link) else { return Ok(()) };
        let shard = line.shard;
        let Some(outbox) = self.sinks[shard].outboxes.get_mut(&link) else { return Ok(()) };
        let first = line.items.front().map_or(0, |(_, len)| *len);
        let room = self.plan.transport_bytes.max(first).saturating_sub(line.in_transport);
        let count = outbox.len().min(room);
        outbox.drain(..count);
        line.in_transport += count;
        line.seen -= count;
        if !outbox.is_empty() || line.is_closed {
            return Ok(());
        }
        self.call(Turn { shard, ..Turn::default() }, |shard, now, sink| shard.on_drained(link, now, sink))
    }

    /// A client reads up to `count` packets.
    pub(super) fn read(&mut self, at: usize, count: usize) -> Step {
        let Some(link) = self.clients[at].link else { return Ok(()) };
        for _ in 0..count {
            let Some(line) = self.lines.get_mut(&link) else { return Ok(()) };
            let in_transport = line.in_transport;
            let Some((item, len)) = line.items.pop_front_if(|(_, len)| *len <= in_transport) else { break };
            line.in_transport -= len;
            self.read_item(at, &item)?;
        }
        self.part(at)
    }

    fn read_all(&mut self, at: usize) -> Step {
        let Some(line) = self.clients[at].link.and_then(|link| self.lines.get_mut(&link)) else { return Ok(()) };
        for (item, _) in std::mem::take(&mut line.items) {
            self.read_item(at, &item)?;
        }
        Ok(())
    }

    fn read_item(&mut self, at: usize, item: &Item) -> Step {
        let line = self.clients[at].link.and_then(|link| self.lines.get(&link));
        let Some(session) = line.map(|line| line.session) else { return Ok(()) };
        let reading = self.clients[at].on_item(item, session, &self.ledger.history.messages);
        if let Some(complaint) = reading.complaint {
            return Err(Violation::protocol(complaint).of_client(at));
        }
        self.ledger.now = self.now;
        if let Some((session, copy)) = session.zip(reading.given) {
            self.give(session, copy);
        }
        Ok(())
    }

    /// The application of a client is given a message; faults come in here.
    fn give(&mut self, session: SessionNo, copy: Delivered) {
        let is_firm = copy.qos > Qos::AtMostOnce && !copy.retain && copy.message.is_some();
        match self.fault {
            Some(Fault::SwallowDelivery) if is_firm && self.is_resting => {
                self.fault = None;
                return;
            }
            Some(Fault::DuplicateQos2) if is_firm && copy.qos == Qos::ExactlyOnce => {
                self.fault = None;
                self.ledger.note(What::Given { session, copy: copy.clone() });
            }
            Some(Fault::SwapTwo) if is_firm && self.kept_back.is_none() => {
                self.kept_back = Some((session, copy));
                return;
            }
            Some(Fault::SwapTwo) => {
                let messages = &self.ledger.history.messages;
                let key =
                    |copy: &Delivered| copy.message.map(|no| (messages[no].publisher, messages[no].qos, copy.qos));
                let is_fellow = |kept: &mut (SessionNo, Delivered)| {
                    kept.0 == session && is_firm && kept.1.topic == copy.topic && key(&kept.1) == key(&copy)
                };
                if let Some((session, kept)) = self.kept_back.take_if(is_fellow) {
                    self.fault = None;
                    self.ledger.note(What::Given { session, copy });
                    self.ledger.note(What::Given { session, copy: kept });
                    return;
                }
            }
            _ => {}
        }
        self.ledger.note(What::Given { session, copy });
    }

    /// A parcel arrives.
    pub(super) fn carry(&mut self) -> Step {
        let waiting: Vec<_> = self.parcels.iter().filter(|(_, queue)| !queue.is_empty()).map(|(key, _)| *key).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let key = self.random.pick(&waiting);
        let Some(parcel) = self.parcels.get_mut(&key).and_then(std::collections::VecDeque::pop_front) else {
            return Ok(());
        };
        let shard = key.1;
        for (no, since) in &parcel.messages {
            self.ledger.on_parcel(*no, *since, shard);
        }
        let turn = Turn { shard, taken: parcel.messages, ..Turn::default() };
        self.call(turn, |shard, now, sink| {
            for letter in parcel.letters {
                shard.on_letter(letter, now, sink);
            }
        })
    }

    /// The keeper commits some of what waits, tells a shard or lets it find out, or gives a message it was asked for.
    pub(super) fn commit_some(&mut self) -> Step {
        if self.keeper.answers() > 0 && self.random.percent(60) {
            return self.give_fetched();
        }
        let waiting = self.keeper.waiting();
        let turns = if self.random.percent(50) { waiting } else { self.random.below(waiting + 1) };
        self.commit(turns)?;
        if self.random.percent(70) { self.tell_durable() } else { Ok(()) }
    }

    fn commit(&mut self, turns: usize) -> Step {
        self.keeper.set_now(self.now);
        for (shard, durable) in self.keeper.commit(turns).map_err(Violation::protocol)? {
            let shard = usize::from(shard.0);
            self.shards[shard].journal_mut().on_durable(durable);
            self.unaware.insert(shard);
        }
        Ok(())
    }

    /// Shards hear that their journals got further.
    fn tell_durable(&mut self) -> Step {
        while let Some(shard) = self.unaware.pop_first() {
            self.call(Turn { shard, ..Turn::default() }, |shard, now, sink| shard.on_durable(now, sink))?;
        }
        Ok(())
    }

    /// A message that a session waits for was read back.
    fn give_fetched(&mut self) -> Step {
        let Some((shard, fetched)) = self.keeper.answer().map_err(Violation::protocol)? else { return Ok(()) };
        let turn = Turn { shard: usize::from(shard.0), ..Turn::default() };
        self.call(turn, |shard, now, sink| shard.on_fetched(fetched, now, sink))
    }

    /// Everybody who has a session comes, nobody publishes, and everything under way arrives.
    pub(super) fn come_to_rest(&mut self) -> Step {
        self.is_resting = true;
        while !self.untold.is_empty() {
            self.tell_policy()?;
        }
        let gone: Vec<_> = self.lines.values().filter(|line| self.clients[line.client].link != Some(line.id)).collect();
        let gone: Vec<_> = gone.into_iter().map(|line| (line.id, line.client, line.is_closed)).collect();
        for (link, client, is_closed) in gone {
            self.lose(link, client, is_closed)?;
        }
        self.settle()?;
        self.come_back()?;
        self.settle()?;
        // A rogue whose last packets ended its connection has to come once more.
        self.come_back()?;
        self.settle()?;
        if let Some((session, copy)) = self.kept_back.take_if(|_| self.fault == Some(Fault::SwapTwo)) {
            self.ledger.note(What::Given { session, copy });
        }
        for (at, client) in self.clients.iter().enumerate() {
            let line = client.link.and_then(|link| self.lines.get(&link));
            if line.is_some_and(|line| !line.is_at_rest() || !client.is_at_rest()) {
                let what = format!("a flow is not finished at rest: {} {line:?}", client.waits_for());
                return Err(Violation::protocol(what).of_client(at));
            }
        }
        self.ledger.history.end = self.now;
        self.audit()?;
        self.ledger.history.counters = self.shards.iter().map(motte_broker::Shard::counters).collect();
        if self.fault == Some(Fault::CountOneMore) {
            self.ledger.history.counters[0].routed += 1;
        }
        Ok(())
    }

    fn come_back(&mut self) -> Step {
        for at in 0..self.clients.len() {
            let Some(expiry_s) = self.ledger.sessions.get(&at).map(|session| session.expiry_s) else { continue };
            if self.clients[at].link.is_none() {
                self.connect(at, calm(expiry_s))?;
            }
        }
        Ok(())
    }

    /// Moves everything until nothing moves.
    fn settle(&mut self) -> Step {
        for _ in 0..10_000 {
            let facts = self.ledger.history.facts.len();
            let mut moved = false;
            for at in 0..self.clients.len() {
                let waiting = self.clients[at].to_send.len();
                moved |= waiting > 0;
                self.send(at, waiting, false)?;
                self.write_out(at)?;
                self.read(at, usize::MAX)?;
                let line = self.clients[at].link.and_then(|link| self.lines.get(&link));
                moved |= line.is_some_and(|line| !line.items.is_empty());
                moved |= !self.clients[at].to_send.is_empty();
            }
            moved |= self.keeper.waiting() > 0;
            self.commit(usize::MAX)?;
            self.tell_durable()?;
            moved |= self.keeper.answers() > 0;
            while self.keeper.answers() > 0 {
                self.give_fetched()?;
            }
            for shard in 0..self.shards.len() {
                let is_due = self.shards[shard].next_timer().is_some_and(|at| at <= self.now);
                if is_due {
                    self.call(Turn { shard, ..Turn::default() }, |shard, now, sink| shard.on_timer(now, sink))?;
                }
                moved |= is_due;
            }
            while self.parcels.values().any(|queue| !queue.is_empty()) {
                moved = true;
                self.carry()?;
            }
            if !moved && self.ledger.history.facts.len() == facts {
                return Ok(());
            }
        }
        Err(Violation::protocol("the world does not come to rest"))
    }

    /// Somebody who may receive everything looks at what is retained.
    fn audit(&mut self) -> Step {
        self.ledger.finish_retained();
        let at = self.clients.len();
        self.plan.clients.push(Profile {
            name: "auditor".into(),
            user: AUDITOR,
            version: ProtocolVersion::V5,
            lasts: false,
            expiry_s: 0,
            keep_alive_s: 0,
            is_slow: false,
            is_rogue: false,
        });
        self.clients.push(crate::client::Client::new(ProtocolVersion::V5));
        self.ledger.history.versions.push(ProtocolVersion::V5);
        let from = self.ledger.history.facts.len();
        self.connect(at, calm(0))?;
        let options = motte_broker::mqtt::SubscriptionOptions { qos: Qos::ExactlyOnce, ..Default::default() };
        let id = self.clients[at].free_id();
        let subscribe = packet::subscribe(ProtocolVersion::V5, id, vec![("#".into(), options)], None);
        self.clients[at].to_send.push_back(subscribe);
        self.settle()?;
        let mut found: std::collections::BTreeMap<String, Vec<_>> = std::collections::BTreeMap::new();
        for fact in &self.ledger.history.facts[from..] {
            if let What::Given { session, copy } = &fact.what
                && self.ledger.history.sessions[*session].client == at
            {
                found.entry(copy.topic.clone()).or_default().push(copy.message);
            }
        }
        if self.fault == Some(Fault::LoseRetained) {
            found.pop_first();
        }
        self.ledger.history.retained_found = found;
        Ok(())
    }
}

/// A client that comes to be given everything.
fn calm(expiry_s: u32) -> Manners {
    Manners {
        clean_start: false,
        expiry_s,
        keep_alive_s: 0,
        receive_maximum: None,
        packet_size_max: None,
        alias_max: 0,
        will: None,
    }
}

//! Somebody who sets and clears retained messages, and what is retained after a restart.

use std::collections::{BTreeMap, VecDeque};

use motte_mqtt::{ProtocolVersion, Qos};

use super::{Fault, Findings, Pace, SILENCE, content};
use crate::client::{Client, Heard, Hello, Outgoing};
use crate::random::Random;

const TOPICS: u16 = 32;
const WINDOW: usize = 8;

/// A change of a topic: to the message of this number, or to none.
type Value = Option<u64>;

#[derive(Clone, Copy, Debug)]
struct Change {
    id: u16,
    topic: u16,
    value: Value,
}

/// One publisher of retained messages with its session.
#[derive(Debug)]
pub(crate) struct Retainer {
    name: String,
    /// Stands in the payloads; no other publisher has it.
    number: u8,
    hello: Hello,
    established: bool,
    /// The last value of each topic that was acknowledged.
    certain: Vec<Value>,
    /// What was sent and not acknowledged, in order.
    changes: VecDeque<Change>,
    last_id: u16,
    last_number: u64,
    /// Changes that were acknowledged.
    pub(crate) acknowledged: u64,
    pub(crate) findings: Findings,
}

impl Retainer {
    pub(crate) fn new(number: u8, version: ProtocolVersion) -> Self {
        let name = format!("retainer-{number}");
        Self {
            hello: Hello::durable(&name, version),
            name,
            number,
            established: false,
            certain: vec![None; usize::from(TOPICS)],
            changes: VecDeque::new(),
            last_id: 0,
            last_number: 0,
            acknowledged: 0,
            findings: Findings::default(),
        }
    }

    fn topic(&self, number: u16) -> String {
        format!("r/{}/{number}", self.name)
    }

    /// Changes topics at this pace until the broker ends.
    pub(crate) fn run(&mut self, port: u16, random: &mut Random, pace: Pace) {
        let Ok(mut client) = Client::connect(port, &self.hello) else { return };
        if self.established && !client.present {
            self.findings.add(Fault::SessionLost, &self.name);
        }
        self.established = true;
        if client.present {
            for change in &self.changes {
                self.write(&mut client, *change, true);
            }
        } else {
            self.changes.clear();
        }
        let mut made = 0;
        loop {
            while self.changes.len() < WINDOW && pace.is_due(made) {
                made += 1;
                let change = self.next_change(random);
                self.changes.push_back(change);
                self.write(&mut client, change, false);
            }
            client.flush();
            match client.hear(pace.patience(made)) {
                Heard::PubAck(id, code) => self.on_puback(id, code),
                Heard::Disconnect(_) | Heard::Silence => {}
                Heard::End => return,
                other => self.findings.add(Fault::Unexpected, format!("{} got {other:?}", self.name)),
            }
        }
    }

    fn next_change(&mut self, random: &mut Random) -> Change {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_number += 1;
        let topic = u16::try_from(random.below(u64::from(TOPICS))).unwrap();
        let value = (!random.chance(25)).then_some(self.last_number);
        Change { id: self.last_id, topic, value }
    }

    fn write(&self, client: &mut Client, change: Change, dup: bool) {
        let topic = self.topic(change.topic);
        let payload = change.value.map(|number| content::payload(self.number, number)).unwrap_or_default();
        client.write_publish(&Outgoing { retain: true, dup, ..Outgoing::new(&topic, &payload, change.id) });
    }

    fn on_puback(&mut self, id: u16, code: u8) {
        match self.changes.pop_front() {
            Some(change) if change.id == id => {
                if code < 0x80 {
                    self.acknowledged += 1;
                    self.certain[usize::from(change.topic)] = change.value;
                }
            }
            other => self.findings.add(Fault::Unexpected, format!("{}: PUBACK {id}, owed {other:?}", self.name)),
        }
    }

    /// Asks for all topics; each has the last value that was acknowledged, or one that was sent later.
    pub(crate) fn audit(&mut self, port: u16) {
        let reader = Hello::clean(&format!("{}-reader", self.name), ProtocolVersion::V5);
        let Ok(mut client) = Client::connect(port, &reader) else {
            return self.findings.add(Fault::Silent, format!("nobody can read {}", self.name));
        };
        client.write_subscribe(1, &format!("r/{}/#", self.name), Qos::AtMostOnce, None);
        client.ping();
        let mut found = BTreeMap::new();
        loop {
            match client.hear(SILENCE) {
                Heard::Publish(message) => {
                    let number: u16 = message.topic.rsplit('/').next().unwrap().parse().unwrap();
                    match content::read(&message.payload) {
                        Some((publisher, value)) if publisher == self.number && message.retain => {
                            found.insert(number, value);
                        }
                        _ => self.findings.add(Fault::ContentWrong, format!("{}: retained", message.topic)),
                    }
                }
                Heard::Pong => break,
                Heard::SubAck(..) => {}
                other => {
                    self.findings.add(Fault::Silent, format!("{}: {other:?}", self.name));
                    break;
                }
            }
        }
        client.disconnect();
        for topic in 0..TOPICS {
            let value = found.get(&topic).copied();
            let later = self.changes.iter().filter(|change| change.topic == topic).map(|change| change.value);
            let certain = self.certain[usize::from(topic)];
            if value != certain && !later.into_iter().any(|later| later == value) {
                let text = format!("{} has {value:?}, acknowledged was {certain:?}", self.topic(topic));
                self.findings.add(Fault::RetainedWrong, text);
            }
            // What is there is what will be there: a change that was kept is not undone.
            self.certain[usize::from(topic)] = value;
        }
    }
}

//! Somebody who publishes numbered messages and writes down what became of each.

use std::collections::VecDeque;
use std::time::Instant;

use motte_mqtt::{ProtocolVersion, Qos};

use super::{Fault, Findings, Pace, SILENCE, content};
use crate::client::{Client, Heard, Hello, Outgoing};

/// What a publisher knows about one of its messages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    /// PUBACK or PUBREC came, without an error.
    pub(crate) accepted: bool,
    /// How often it was sent.
    pub(crate) sent: u8,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    number: u64,
    id: u16,
    /// PUBREC came; PUBREL is owed.
    received: bool,
}

/// One publisher with its session.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) number: u8,
    pub(crate) topic: String,
    pub(crate) qos: Qos,
    hello: Hello,
    is_durable: bool,
    established: bool,
    window: usize,
    flights: VecDeque<Flight>,
    last_id: u16,
    /// By number of the message.
    pub(crate) book: Vec<Entry>,
    pub(crate) findings: Findings,
}

impl Publisher {
    pub(crate) fn new(number: u8, version: ProtocolVersion, qos: Qos, is_durable: bool) -> Self {
        let client_id = format!("publisher-{number}");
        let hello = if is_durable { Hello::durable(&client_id, version) } else { Hello::clean(&client_id, version) };
        Self {
            number,
            topic: format!("m/{number}/t"),
            qos,
            hello,
            is_durable,
            established: false,
            window: 8 + usize::from(number) * 4,
            flights: VecDeque::new(),
            last_id: 0,
            book: Vec::new(),
            findings: Findings::default(),
        }
    }

    /// Publishes new messages at this pace until the broker ends.
    pub(crate) fn run(&mut self, port: u16, pace: Pace) {
        let Some(mut client) = self.come_in(port) else { return };
        let (mut made, mut heard_at) = (0, Instant::now());
        loop {
            while self.flights.len() < self.window && pace.is_due(made) {
                self.publish_next(&mut client);
                made += 1;
            }
            client.flush();
            let is_blocked = self.flights.len() == self.window;
            match client.hear(if is_blocked { SILENCE } else { pace.patience(made) }) {
                Heard::Silence if self.flights.is_empty() => continue,
                Heard::Silence if heard_at.elapsed() < SILENCE => continue,
                Heard::Silence => {
                    let owed = self.flights.len();
                    return self.findings.add(Fault::Silent, format!("{}: {owed} without an answer", self.topic));
                }
                Heard::PubAck(id, code) if self.qos == Qos::AtLeastOnce => self.settled(id, code),
                Heard::PubRec(id, code) if self.qos == Qos::ExactlyOnce => self.received(id, code, &mut client),
                Heard::PubComp(id, code) if self.qos == Qos::ExactlyOnce => self.completed(id, code),
                Heard::End => return,
                Heard::Disconnect(_) => {}
                other => self.findings.add(Fault::Unexpected, format!("{} got {other:?}", self.topic)),
            }
            heard_at = Instant::now();
        }
    }

    /// Finishes what is under way and publishes nothing new.
    pub(crate) fn settle(&mut self, port: u16) {
        let Some(mut client) = self.come_in(port) else { return };
        while !self.flights.is_empty() {
            client.flush();
            match client.hear(SILENCE) {
                Heard::PubAck(id, code) => self.settled(id, code),
                Heard::PubRec(id, code) => self.received(id, code, &mut client),
                Heard::PubComp(id, code) => self.completed(id, code),
                other => return self.findings.add(Fault::Silent, format!("{} settles: {other:?}", self.topic)),
            }
        }
        client.disconnect();
    }

    fn come_in(&mut self, port: u16) -> Option<Client> {
        let mut client = match Client::connect(port, &self.hello) {
            Ok(client) => client,
            Err(why) if why.is_over() => return None,
            Err(why) => {
                self.findings.add(Fault::Silent, format!("{} is not admitted: {why:?}", self.topic));
                return None;
            }
        };
        if self.is_durable && self.established && !client.present {
            self.findings.add(Fault::SessionLost, &self.hello.client_id);
        }
        self.established = true;
        if client.present {
            self.resume(&mut client)
        } else {
            self.flights.clear()
        }
        Some(client)
    }

    /// Sends again what was not answered, in the order in which it was sent first (MQTT-4.4.0-1).
    fn resume(&mut self, client: &mut Client) {
        for flight in &self.flights {
            if flight.received {
                client.write_pubrel(flight.id);
                continue;
            }
            let entry = &mut self.book[usize::try_from(flight.number).unwrap()];
            entry.sent = entry.sent.saturating_add(1);
            let payload = content::payload(self.number, flight.number);
            client.write_publish(&Outgoing {
                qos: self.qos,
                dup: true,
                expiry_s: Some(86_400),
                user: Some(("kept", "yes")),
                ..Outgoing::new(&self.topic, &payload, flight.id)
            });
        }
    }

    fn publish_next(&mut self, client: &mut Client) {
        let number = self.book.len() as u64;
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.flights.iter().all(|flight| flight.id != self.last_id) {
                break;
            }
        }
        self.book.push(Entry { accepted: false, sent: 1 });
        self.flights.push_back(Flight { number, id: self.last_id, received: false });
        let payload = content::payload(self.number, number);
        client.write_publish(&Outgoing {
            qos: self.qos,
            expiry_s: Some(86_400),
            user: Some(("kept", "yes")),
            ..Outgoing::new(&self.topic, &payload, self.last_id)
        });
    }

    fn flight(&mut self, id: u16, what: &str) -> Option<usize> {
        let found = self.flights.iter().position(|flight| flight.id == id);
        if found.is_none() {
            self.findings.add(Fault::Unexpected, format!("{}: {what} for {id}, which is free", self.topic));
        }
        found
    }

    fn settled(&mut self, id: u16, code: u8) {
        let Some(at) = self.flight(id, "PUBACK") else { return };
        let flight = self.flights.remove(at).expect("it was found");
        self.book[usize::try_from(flight.number).unwrap()].accepted = code < 0x80;
    }

    fn received(&mut self, id: u16, code: u8, client: &mut Client) {
        let Some(at) = self.flight(id, "PUBREC") else { return };
        if code >= 0x80 {
            self.flights.remove(at);
            return;
        }
        self.flights[at].received = true;
        let number = self.flights[at].number;
        self.book[usize::try_from(number).unwrap()].accepted = true;
        client.write_pubrel(id);
    }

    fn completed(&mut self, id: u16, code: u8) {
        let Some(at) = self.flight(id, "PUBCOMP") else { return };
        let flight = self.flights.remove(at).expect("it was found");
        // The broker may have answered PUBREL before it was killed: then the identifier is unknown to it.
        if !flight.received || !matches!(code, 0 | 0x92) {
            self.findings.add(Fault::Unexpected, format!("{}: PUBCOMP {code:#x} for {flight:?}", self.topic));
        }
    }

    /// Messages that were acknowledged.
    pub(crate) fn accepted(&self) -> u64 {
        self.book.iter().filter(|entry| entry.accepted).count() as u64
    }
}

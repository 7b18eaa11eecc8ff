//! Clients with wills: some say goodbye, some are cut off by the crash, some come back before their will is due.

use std::collections::BTreeMap;

use motte_mqtt::{ProtocolVersion, Qos};

use super::{Fault, Findings, SILENCE};
use crate::client::{Client, Heard, Hello, Outgoing, Testament};
use crate::random::Random;

const CLIENTS: u32 = 6;
/// Longer than any test.
const LONG_S: u32 = 3_600;

/// What is known about a will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its client was never told that it is kept, or its goodbye may not have been kept.
    Either,
    /// It comes once.
    Owed,
    /// It never comes.
    Withdrawn,
}

/// The wills of all, and the session that hears of them.
#[derive(Debug)]
pub(crate) struct Mourners {
    reader: Hello,
    /// By text of the will.
    wills: BTreeMap<String, (Fate, u32)>,
    /// Clients whose will is due in an hour, and which come back before; with the text of the will.
    in_time: Vec<(Hello, String)>,
    /// Connections that are held until the broker ends.
    held: Vec<Client>,
    unreleased: BTreeMap<u16, String>,
    round: u32,
    pub(crate) findings: Findings,
    /// Wills that were owed and came.
    pub(crate) came: u64,
}

impl Mourners {
    pub(crate) fn new() -> Self {
        Self {
            reader: Hello::durable("mourner", ProtocolVersion::V5),
            wills: BTreeMap::new(),
            in_time: Vec::new(),
            held: Vec::new(),
            unreleased: BTreeMap::new(),
            round: 0,
            findings: Findings::default(),
            came: 0,
        }
    }

    #[track_caller]
    pub(crate) fn establish(&self, port: u16) {
        let mut client = Client::admitted(port, &self.reader);
        assert_eq!(client.subscribe("w/#", Qos::ExactlyOnce, None), Some(2));
        client.disconnect();
    }

    /// Everybody comes, and some go, while the broker lives. Those who stay are held until its end.
    pub(crate) fn run(&mut self, port: u16, random: &mut Random) {
        self.round += 1;
        for number in 0..CLIENTS {
            let text = format!("{number}/{}", self.round);
            let version = if number % 2 == 0 { ProtocolVersion::V5 } else { ProtocolVersion::V311 };
            let mut hello = Hello::durable(&format!("mortal-{number}"), version);
            let comes_in_time = version == ProtocolVersion::V5 && random.chance(33);
            hello.will = Some(Testament {
                topic: format!("w/{number}"),
                payload: text.clone().into_bytes(),
                qos: random.pick(&[Qos::AtLeastOnce, Qos::ExactlyOnce]),
                delay_s: if comes_in_time { LONG_S } else { 0 },
            });
            self.wills.insert(text.clone(), (Fate::Either, 0));
            let Ok(client) = Client::connect(port, &hello) else { return };
            self.know(&text, Fate::Owed);
            match random.below(3) {
                _ if comes_in_time => {
                    self.in_time.push((hello, text));
                    self.held.push(client);
                }
                0 => self.part(client, &text, port),
                // Its end is noticed, or the crash is.
                1 => drop(client),
                _ => self.held.push(client),
            }
        }
    }

    fn know(&mut self, text: &str, fate: Fate) {
        self.wills.get_mut(text).expect("it was written down").0 = fate;
    }

    /// Goodbye. It is kept for sure once something that was published later is acknowledged.
    fn part(&mut self, client: Client, text: &str, port: u16) {
        self.know(text, Fate::Either);
        client.disconnect();
        let Ok(mut later) = Client::connect(port, &Hello::clean("later", ProtocolVersion::V5)) else { return };
        later.publish(&Outgoing::new("w/later", b"", 1));
        while let heard @ (Heard::Publish(_) | Heard::PubAck(..)) = later.hear(SILENCE) {
            if let Heard::PubAck(_, 0) = heard {
                self.know(text, Fate::Withdrawn);
                return later.disconnect();
            }
        }
    }

    /// After the broker's end: connections are of no use any more.
    pub(crate) fn over(&mut self) {
        self.held.clear();
    }

    /// Those whose will is due later come back, and then the wills that came are looked at.
    pub(crate) fn audit(&mut self, port: u16) {
        for (hello, text) in std::mem::take(&mut self.in_time) {
            match Client::connect(port, &Hello { will: None, ..hello }) {
                Ok(client) if client.present => {
                    self.know(&text, Fate::Withdrawn);
                    client.disconnect();
                }
                _ => self.findings.add(Fault::SessionLost, format!("the one with the will {text}")),
            }
        }
        let Ok(mut client) = Client::connect(port, &self.reader) else {
            return self.findings.add(Fault::Silent, "the mourner cannot come back");
        };
        if !client.present {
            self.findings.add(Fault::SessionLost, "the mourner");
            let _ = client.subscribe("w/#", Qos::ExactlyOnce, None);
        }
        let patience = if client.present { SILENCE } else { SILENCE / 100 };
        while self.wills.values().any(|(fate, came)| *fate == Fate::Owed && *came == 0) {
            match client.hear(patience) {
                Heard::End | Heard::Silence => break,
                heard => self.on(heard, &mut client),
            }
        }
        client.ping();
        loop {
            match client.hear(SILENCE) {
                Heard::Pong | Heard::End | Heard::Silence => break,
                heard => self.on(heard, &mut client),
            }
        }
        client.disconnect();
        self.judge();
    }

    fn on(&mut self, heard: Heard, client: &mut Client) {
        match heard {
            Heard::PubRel(id) => {
                self.unreleased.remove(&id);
                client.write_pubcomp(id);
            }
            Heard::Publish(message) => {
                let text = String::from_utf8_lossy(&message.payload).into_owned();
                let mut again = message.qos == Qos::AtLeastOnce && message.dup;
                if message.qos == Qos::ExactlyOnce {
                    client.write_pubrec(message.id);
                    again = self.unreleased.insert(message.id, text.clone()).is_some_and(|before| before == text);
                } else {
                    client.write_puback(message.id);
                }
                match self.wills.get_mut(&text) {
                    Some((_, came)) if !again || *came == 0 => *came += 1,
                    Some(_) => {}
                    None if text.is_empty() => {}
                    None => self.findings.add(Fault::ContentWrong, format!("the will {text:?}")),
                }
            }
            _ => {}
        }
        client.flush();
    }

    /// Each owed will came once, none that was withdrawn did. What may still come is kept in mind.
    fn judge(&mut self) {
        for (text, (fate, came)) in &mut self.wills {
            let is_right = match fate {
                Fate::Either => *came <= 1,
                Fate::Owed => *came == 1,
                Fate::Withdrawn => *came == 0,
            };
            if !is_right {
                self.findings.add(Fault::WillWrong, format!("{text} is {fate:?} and came {came} times"));
                *came = 1;
            }
            if *fate == Fate::Owed {
                self.came += 1;
                // It does not come again.
                *fate = Fate::Either;
            }
            if *came > 1 {
                *came = 1;
            }
        }
        // A lost will is reported once: it counts as come from here on.
        self.wills.retain(|_, (fate, came)| *fate != Fate::Withdrawn || *came == 0);
    }
}

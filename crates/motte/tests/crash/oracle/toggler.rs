//! A session that makes and removes subscriptions all the while, and asks after a restart which of them stand.

use std::collections::{BTreeMap, BTreeSet};

use motte_mqtt::{ProtocolVersion, Qos};

use super::{Fault, Findings, Pace, SILENCE};
use crate::client::{Client, Heard, Hello, Outgoing};
use crate::random::Random;

const FILTERS: u16 = 24;
/// SUBSCRIBE and UNSUBSCRIBE packets under way.
const WINDOW: usize = 4;

/// What is known about a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    On,
    Off,
    /// It was asked for a change and not answered.
    Either,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Toggler {
    name: String,
    hello: Hello,
    established: bool,
    standings: Vec<Standing>,
    /// By packet identifier: which filter, and whether it is to stand.
    asked: BTreeMap<u16, (u16, bool)>,
    round: u64,
    /// SUBACK and UNSUBACK that came.
    pub(crate) acknowledged: u64,
    pub(crate) findings: Findings,
}

impl Toggler {
    pub(crate) fn new(name: &str, version: ProtocolVersion) -> Self {
        Self {
            name: name.to_owned(),
            hello: Hello::durable(name, version),
            established: false,
            standings: vec![Standing::Off; usize::from(FILTERS)],
            asked: BTreeMap::new(),
            round: 0,
            acknowledged: 0,
            findings: Findings::default(),
        }
    }

    fn filter(&self, number: u16) -> String {
        format!("c/{}/{number}", self.name)
    }

    /// Makes the session, with one subscription that stays.
    #[track_caller]
    pub(crate) fn establish(&mut self, port: u16) {
        let mut client = Client::admitted(port, &self.hello);
        assert_eq!(client.subscribe(&self.filter(FILTERS), Qos::AtLeastOnce, None), Some(1));
        self.established = true;
        client.disconnect();
    }

    /// Changes subscriptions at this pace until the broker ends.
    pub(crate) fn run(&mut self, port: u16, random: &mut Random, pace: Pace) {
        let Ok(mut client) = Client::connect(port, &self.hello) else { return };
        self.note_presence(&client);
        let mut made = 0;
        loop {
            while self.asked.len() < WINDOW && pace.is_due(made) {
                made += 1;
                self.ask(&mut client, u16::try_from(made).unwrap(), random);
            }
            client.flush();
            let answer = match client.hear(pace.patience(made)) {
                Heard::SubAck(id, codes) if codes == [1] => Some((id, true)),
                Heard::UnsubAck(id) => Some((id, false)),
                Heard::Publish(message) => {
                    client.write_puback(message.id);
                    None
                }
                Heard::Disconnect(_) | Heard::Silence => None,
                Heard::End => break,
                other => {
                    self.findings.add(Fault::Unexpected, format!("{} got {other:?}", self.name));
                    None
                }
            };
            if let Some((id, stands)) = answer
                && let Some((number, wanted)) = self.asked.remove(&id)
            {
                assert_eq!(stands, wanted, "the answer is of the kind that was asked for");
                self.acknowledged += 1;
                self.standings[usize::from(number)] = if stands { Standing::On } else { Standing::Off };
            }
        }
        self.asked.clear();
    }

    fn note_presence(&mut self, client: &Client) {
        if self.established && !client.present {
            self.findings.add(Fault::SessionLost, &self.name);
        }
    }

    fn ask(&mut self, client: &mut Client, id: u16, random: &mut Random) {
        let free: Vec<u16> =
            (0..FILTERS).filter(|number| self.asked.values().all(|(asked, _)| asked != number)).collect();
        let number = random.pick(&free);
        let stands = match self.standings[usize::from(number)] {
            Standing::On => false,
            Standing::Off => true,
            Standing::Either => random.chance(50),
        };
        self.asked.insert(id, (number, stands));
        self.standings[usize::from(number)] = Standing::Either;
        let filter = self.filter(number);
        if stands {
            client.write_subscribe(id, &filter, Qos::AtLeastOnce, Some(u32::from(number) + 1));
        } else {
            client.write_unsubscribe(id, &filter);
        }
    }

    /// Publishes to every filter and looks which messages come.
    pub(crate) fn audit(&mut self, port: u16) {
        self.round += 1;
        let Ok(mut client) = Client::connect(port, &self.hello) else {
            return self.findings.add(Fault::Silent, format!("{} cannot come back", self.name));
        };
        self.note_presence(&client);
        if !client.present {
            // What it knew is void, and reported with the session.
            self.findings.add(Fault::SubscriptionWrong, format!("{}: all are gone", self.name));
            self.standings.fill(Standing::Off);
            let _ = client.subscribe(&self.filter(FILTERS), Qos::AtLeastOnce, None);
        }
        self.probe(port);
        let came = self.collect(&mut client);
        client.disconnect();
        for number in 0..FILTERS {
            let standing = &mut self.standings[usize::from(number)];
            let comes = came.contains(&number);
            let is_right = *standing == Standing::Either || comes == (*standing == Standing::On);
            if !is_right {
                let text = format!("{}/{number} is {standing:?}, and a message comes: {comes}", self.name);
                self.findings.add(Fault::SubscriptionWrong, text);
            }
            *standing = if comes { Standing::On } else { Standing::Off };
        }
    }

    fn probe(&mut self, port: u16) {
        let Ok(mut prober) = Client::connect(port, &Hello::clean(&format!("{}-prober", self.name), self.hello.version))
        else {
            return self.findings.add(Fault::Silent, format!("{} cannot be probed", self.name));
        };
        // The last goes to the subscription that stays: what was to come has come before it.
        for number in 0..=FILTERS {
            let topic = self.filter(number);
            prober.publish(&Outgoing::new(&topic, &self.round.to_be_bytes(), number + 1));
            if !matches!(prober.hear(SILENCE), Heard::PubAck(..)) {
                self.findings.add(Fault::Silent, format!("{topic} is not acknowledged"));
            }
        }
        prober.disconnect();
    }

    fn collect(&mut self, client: &mut Client) -> BTreeSet<u16> {
        let mut came = BTreeSet::new();
        let is_v5 = self.hello.version == ProtocolVersion::V5;
        loop {
            match client.hear(SILENCE) {
                Heard::Publish(message) => {
                    client.write_puback(message.id);
                    client.flush();
                    let number: u16 = message.topic.rsplit('/').next().unwrap().parse().unwrap();
                    if message.payload != self.round.to_be_bytes() {
                        continue;
                    }
                    if number == FILTERS {
                        return came;
                    }
                    if is_v5 && message.subscription_ids != [u32::from(number) + 1] {
                        let text = format!("{}/{number}: identifiers {:?}", self.name, message.subscription_ids);
                        self.findings.add(Fault::SubscriptionWrong, text);
                    }
                    came.insert(number);
                }
                Heard::End | Heard::Silence => {
                    self.findings.add(Fault::SubscriptionWrong, format!("{}: the one that stays is gone", self.name));
                    return came;
                }
                _ => {}
            }
        }
    }
}

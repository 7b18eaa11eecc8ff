//! Random records against a model that is written from the contract and knows nothing of blocks, cursors or batches.
//!
//! What was committed comes back after any end, and nothing else does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use motte_broker::journal::{DurableTarget, WillRecord};
use motte_broker::mqtt::packet::RetainHandling;
use motte_broker::mqtt::{ForwardedProperties, Qos, SubscriptionId, SubscriptionOptions};
use motte_broker::{Origin, Record, Restored};

use crate::kit::{World, id, session, subject};

/// xorshift: the same run for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Session {
    expiry_s: u32,
    left_at: Option<u64>,
    subscriptions: BTreeMap<String, u32>,
    will: Option<String>,
    received: BTreeSet<u16>,
    /// Each with how it is shown.
    owed: Vec<(Origin, bool)>,
    flights: Vec<(u16, Option<Origin>)>,
}

#[derive(Clone, Debug, Default)]
struct Model {
    sessions: BTreeMap<String, Session>,
    retained: BTreeMap<String, (Option<Origin>, u64)>,
    payloads: BTreeMap<Origin, (u64, String)>,
}

const CLIENTS: [&str; 5] = ["a", "b", "c", "d", "e"];

struct Run {
    world: World,
    random: Random,
    model: Model,
    /// The model as of the last commit.
    committed: Model,
    count: u64,
    shards: u16,
}

impl Run {
    fn client(&mut self) -> &'static str {
        CLIENTS[usize::try_from(self.random.below(5)).expect("small")]
    }

    fn step(&mut self) {
        let shard = u16::try_from(self.random.below(self.shards.into())).expect("small");
        match self.random.below(100) {
            0..40 => self.publish(shard),
            40..60 => self.settle(shard),
            60..70 => self.fly(shard),
            70..74 => self.retain(shard),
            74..82 => self.session_record(shard),
            82..84 => self.move_over(shard),
            84..90 => self.world.pass_ms(self.count % 7 * 1_000),
            _ => {
                self.world.commit();
                self.committed = self.model.clone();
            }
        }
        // A turn: what comes later in time comes later in the queue.
        self.world.hand_over();
        self.count += 1;
    }

    fn publish(&mut self, shard: u16) {
        let len = if self.random.below(30) == 0 { 9_000 } else { self.random.below(200) };
        let text = format!("{}{}", self.count, "x".repeat(usize::try_from(len).expect("small")));
        let ids = [SubscriptionId::new(7).expect("not 0")];
        let mut targets = Vec::new();
        for client_id in CLIENTS {
            if self.random.below(3) == 0 {
                let is_shared = self.random.below(4) == 0;
                let share = is_shared.then_some(("group", "filter/#"));
                let ids = if self.random.below(2) == 0 { &ids[..] } else { &[] };
                targets.push(DurableTarget { client_id, qos: Qos::AtLeastOnce, retain: is_shared, ids, share });
            }
        }
        let origin = self.world.publish_to(shard, &text, &targets);
        self.model.payloads.insert(origin, (self.world.now.0, text));
        for target in targets {
            if let Some(session) = self.model.sessions.get_mut(target.client_id) {
                session.owed.push((origin, target.share.is_some()));
            }
        }
    }

    /// A message that is owed to a client, mostly one of the first.
    fn pick(&mut self) -> Option<(&'static str, Origin)> {
        let client_id = self.client();
        let owed = self.model.sessions.get(client_id)?.owed.clone();
        let len = u64::try_from(owed.len()).expect("small");
        let range = if self.random.below(4) == 0 { len } else { len.min(3) };
        let index = if len == 0 { return None } else { self.random.below(range) };
        Some((client_id, owed[usize::try_from(index).expect("small")].0))
    }

    fn settle(&mut self, shard: u16) {
        for _ in 0..self.random.below(4) {
            let Some((client_id, origin)) = self.pick() else { return };
            self.world.settle(shard, client_id, origin);
            let session = self.model.sessions.get_mut(client_id).expect("it was picked");
            session.owed.retain(|(owed, _)| *owed != origin);
            session.flights.retain(|(_, flying)| *flying != Some(origin));
        }
    }

    fn fly(&mut self, shard: u16) {
        let Some((client_id, origin)) = self.pick() else { return };
        let number = u16::try_from(self.count % 60_000 + 1).expect("small");
        let session = self.model.sessions.get_mut(client_id).expect("it was picked");
        let flying = session.flights.iter().position(|(_, flying)| *flying == Some(origin));
        match flying {
            None => {
                self.world.send(shard, client_id, origin, number);
                session.flights.push((number, Some(origin)));
            }
            Some(index) => {
                let number = session.flights[index].0;
                self.world.append(shard, &Record::Arrived { client_id, origin: Some(origin), id: id(number) });
                session.flights[index].1 = None;
                session.owed.retain(|(owed, _)| *owed != origin);
            }
        }
        if let Some(index) = session.flights.iter().position(|(_, flying)| flying.is_none())
            && self.count.is_multiple_of(3)
        {
            let (number, _) = session.flights.remove(index);
            self.world.append(shard, &Record::Completed { client_id, id: id(number) });
        }
    }

    fn retain(&mut self, shard: u16) {
        let topic = ["t/1", "t/2", "t/3"][usize::try_from(self.random.below(3)).expect("small")];
        // Shards write what they changed at about the same time in any order.
        let serial = 10 * self.count - self.random.below(50).min(10 * self.count - 1);
        let clears = self.random.below(3) == 0;
        let origin = (!clears).then(|| {
            let origin = self.world.publish(shard, topic, &[]);
            self.model.payloads.insert(origin, (self.world.now.0, topic.to_owned()));
            origin
        });
        self.world.append(shard, &Record::Retained { topic, origin, serial });
        let kept = self.model.retained.entry(topic.to_owned()).or_default();
        if serial > kept.1 {
            *kept = (origin, serial);
        }
    }

    fn session_record(&mut self, shard: u16) {
        let client_id = self.client();
        let filter = format!("f/{}", self.random.below(3));
        let known = self.model.sessions.contains_key(client_id);
        if !known || self.random.below(6) == 0 {
            let expiry_s = u32::try_from(self.count % 3 * 100).expect("small");
            self.world.append(shard, &Record::SessionOpened { owner: &subject(client_id), expiry_s, mount_point: "" });
            let session = self.model.sessions.entry(client_id.to_owned()).or_default();
            (session.expiry_s, session.left_at) = (expiry_s, None);
            return;
        }
        let at = self.world.now;
        let session = self.model.sessions.get_mut(client_id).expect("it is known");
        let number = u16::try_from(self.random.below(5) + 1).expect("small");
        match self.random.below(8) {
            0 => {
                self.world.append(shard, &Record::SessionClosed { client_id });
                self.model.sessions.remove(client_id);
            }
            1 => {
                self.world.append(shard, &Record::SessionLeft { client_id, at });
                session.left_at = Some(at.0);
            }
            2 | 3 => {
                let options = SubscriptionOptions {
                    qos: Qos::ExactlyOnce,
                    no_local: true,
                    retain_as_published: false,
                    retain_handling: RetainHandling::IfNew,
                };
                let id = SubscriptionId::new(u32::from(number));
                self.world.append(shard, &Record::Subscribed { client_id, filter: &filter, options, id });
                session.subscriptions.insert(filter, number.into());
            }
            4 => {
                self.world.append(shard, &Record::Unsubscribed { client_id, filter: &filter });
                session.subscriptions.remove(&filter);
            }
            5 => {
                let text = format!("will/{}", self.count);
                let will = WillRecord {
                    topic: &text,
                    payload: b"gone",
                    qos: Qos::AtLeastOnce,
                    retain: true,
                    delay_s: 5,
                    message_expiry_s: Some(9),
                    properties: ForwardedProperties::EMPTY,
                };
                self.world.append(shard, &Record::WillSet { client_id, will });
                session.will = Some(text);
            }
            6 => {
                self.world.append(shard, &Record::WillCleared { client_id });
                session.will = None;
            }
            _ => {
                if session.received.insert(number) {
                    self.world.append(shard, &Record::Received { client_id, id: id(number) });
                } else {
                    self.world.append(shard, &Record::Released { client_id, id: id(number) });
                    session.received.remove(&number);
                }
            }
        }
    }

    fn move_over(&mut self, shard: u16) {
        let Some((from, origin)) = self.pick() else { return };
        let client_id = self.client();
        let to = DurableTarget {
            client_id,
            qos: Qos::ExactlyOnce,
            retain: false,
            ids: &[],
            share: Some(("group", "filter/#")),
        };
        // A session is owed a message of a group by one way only here; copies have a test of their own.
        let owes = |client_id: &str| {
            self.model
                .sessions
                .get(client_id)
                .is_some_and(|session| session.owed.iter().any(|(owed, _)| *owed == origin))
        };
        if from == client_id || owes(client_id) || !self.model.sessions.contains_key(client_id) {
            return;
        }
        self.world.append(shard, &Record::Moved { origin, from, to });
        let session = self.model.sessions.get_mut(from).expect("it was picked");
        session.owed.retain(|(owed, _)| *owed != origin);
        session.flights.retain(|(_, flying)| *flying != Some(origin));
        self.model.sessions.get_mut(client_id).expect("it is known").owed.push((origin, true));
    }

    fn end(&mut self) {
        let shards = u16::try_from(self.random.below(4) + 1).expect("small");
        let ending = self.random.below(3);
        let empty = World::with(Default::default(), 1, self.world.settings.clone(), Arc::new(AtomicU64::new(0)));
        let world = std::mem::replace(&mut self.world, empty.expect("an empty disk takes a store"));
        self.world = match ending {
            0 => {
                self.committed = self.model.clone();
                world.reopen(shards)
            }
            1 => world.kill(shards),
            _ => world.cut(shards),
        };
        self.shards = shards;
        self.model = self.committed.clone();
        self.compare();
    }

    fn compare(&mut self) {
        let restored = std::mem::take(&mut self.world.restored);
        let shown = show(&restored);
        let expected = expected(&self.committed);
        let lost: Vec<_> = expected.iter().filter(|line| !shown.contains(line)).collect();
        let extra: Vec<_> = shown.iter().filter(|line| !expected.contains(line)).collect();
        assert!(lost.is_empty() && extra.is_empty(), "after {} steps: lost {lost:#?}, extra {extra:#?}", self.count);
        assert_eq!(shown, expected, "in another order after {} steps", self.count);
        for (client_id, model) in self.committed.sessions.clone() {
            let session = session(&restored, &client_id);
            let mut wanted: Vec<_> = session.queue.iter().map(|found| found.origin).collect();
            wanted.extend(session.in_flight.iter().filter_map(|flight| flight.message).map(|found| found.origin));
            let texts: Vec<_> = wanted.iter().map(|origin| self.committed.payloads[origin].1.clone()).collect();
            assert_eq!(self.world.payloads(&client_id, &wanted), texts);
            assert_eq!(wanted.len(), model.owed.len());
        }
        // Every retained message comes back with its bytes.
        for (message, _) in &restored.retained {
            assert_eq!(message.payload(), message.topic().as_bytes());
        }
    }
}

fn show(restored: &Restored) -> Vec<String> {
    let mut lines = Vec::new();
    for session in &restored.sessions {
        lines.push(format!(
            "session {} {} {:?}",
            session.owner.client_id.0,
            session.expiry_s,
            session.left_at.map(|at| at.0)
        ));
        let mut subscriptions: Vec<_> = session
            .subscriptions
            .iter()
            .map(|(filter, _, id)| format!("  subscription {filter} {}", id.map_or(0, SubscriptionId::value)))
            .collect();
        subscriptions.sort();
        lines.extend(subscriptions);
        lines.extend(session.will.iter().map(|will| format!("  will {}", will.topic)));
        lines.extend(session.received.iter().map(|id| format!("  received {}", id.value())));
        let queue = session.queue.iter().map(|found| format!("  waits {:?} {}", found.origin, found.is_shared));
        lines.extend(queue);
        let flights = session.in_flight.iter();
        lines.extend(
            flights.map(|flight| format!("  flies {} {:?}", flight.id.value(), flight.message.map(|m| m.origin))),
        );
    }
    lines.extend(restored.retained.iter().map(|(message, serial)| {
        format!("retained {} {:?} {serial}", message.topic(), message.origin().expect("it is kept"))
    }));
    lines
}

fn expected(model: &Model) -> Vec<String> {
    let mut lines = Vec::new();
    for (client_id, session) in &model.sessions {
        lines.push(format!("session {client_id} {} {:?}", session.expiry_s, session.left_at));
        lines.extend(session.subscriptions.iter().map(|(filter, id)| format!("  subscription {filter} {id}")));
        lines.extend(session.will.iter().map(|will| format!("  will {will}")));
        lines.extend(session.received.iter().map(|id| format!("  received {id}")));
        let flies = |origin: &Origin| session.flights.iter().any(|(_, flying)| *flying == Some(*origin));
        let mut owed: Vec<_> = session.owed.iter().filter(|(origin, _)| !flies(origin)).collect();
        owed.sort_by_key(|(origin, _)| (model.payloads[origin].0, *origin));
        lines.extend(owed.iter().map(|(origin, is_shared)| format!("  waits {origin:?} {is_shared}")));
        lines.extend(session.flights.iter().map(|(id, origin)| format!("  flies {id} {origin:?}")));
    }
    for (topic, (origin, serial)) in &model.retained {
        lines.extend(origin.map(|origin| format!("retained {topic} {origin:?} {serial}")));
    }
    lines
}

fn run(seed: u64, steps: u64) {
    let mut run = Run {
        world: World::new(2),
        random: Random::new(seed),
        model: Model::default(),
        committed: Model::default(),
        count: 1,
        shards: 2,
    };
    for _ in 0..6 {
        for _ in 0..steps {
            run.step();
        }
        run.end();
    }
}

#[test]
fn i1_what_was_committed_comes_back_after_any_end_and_nothing_else_does() {
    for seed in 1..=20 {
        run(seed, 120);
    }
}

#[test]
fn i1_long_runs_come_back_too() {
    run(100, 900);
}

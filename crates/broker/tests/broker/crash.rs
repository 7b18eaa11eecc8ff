//! Crashes at every moment and at every cut of what was written: nothing that was acknowledged is lost, nothing of
//! QoS 2 comes twice, and the order stays.

use std::collections::BTreeSet;

use motte_broker::Limits;
use mqtt::{Ack, Delivery, Packet, Publish, Qos, ReasonCode};

use crate::kit::*;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Come(Who),
    Lose(Who),
    Subscribe,
    Publish(u8),
    /// Both read what there is and answer it.
    Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    From,
    To,
}

use Step::{Answer, Come, Lose, Subscribe};
use Who::{From, To};

const SCRIPT: &[Step] = &[
    Come(To),
    Answer,
    Subscribe,
    Come(From),
    Answer,
    Step::Publish(2),
    Step::Publish(1),
    Answer,
    Step::Publish(2),
    Step::Publish(2),
    Answer,
    Answer,
    Lose(To),
    Step::Publish(2),
    Step::Publish(1),
    Answer,
    Come(To),
    Answer,
    Answer,
    Lose(From),
    Come(From),
    Step::Publish(2),
    Lose(To),
    Come(To),
    Answer,
    Step::Publish(1),
    Answer,
    Answer,
    Answer,
    Answer,
    Step::Publish(2),
    Answer,
    Answer,
    Answer,
    Step::Publish(2),
];

/// How far a message came for its publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Unsent,
    Sent,
    Received,
    Done,
}

#[derive(Debug)]
struct Outgoing {
    id: u16,
    payload: String,
    qos: Qos,
    stage: Stage,
    was_repeated: bool,
    was_subscribed: bool,
}

/// A publisher and a subscriber as the standard wants them, with what they keep over their connections.
struct Play {
    world: World,
    from: Option<Client>,
    to: Option<Client>,
    /// Whether CONNACK was seen on the connection there is, and on any.
    from_is_in: bool,
    from_was_in: bool,
    to_was_in: bool,
    is_subscribed: bool,
    outgoing: Vec<Outgoing>,
    /// QoS 2 identifiers of the subscriber that were not released.
    held: BTreeSet<u16>,
    /// Payloads in the order of delivery, with DUP.
    got: Vec<(String, bool)>,
    /// How many steps the journal lags behind; `None` for all of them.
    lag: Option<usize>,
    /// Where the log ended after each step.
    ends: Vec<usize>,
}

impl Play {
    fn new(lag: Option<usize>) -> Self {
        let mut world = World::reading_back(2, OPEN, &Limits::default());
        world.durable_until(0);
        Self {
            world,
            from: None,
            to: None,
            from_is_in: false,
            from_was_in: false,
            to_was_in: false,
            is_subscribed: false,
            outgoing: Vec::new(),
            held: BTreeSet::new(),
            got: Vec::new(),
            lag,
            ends: Vec::new(),
        }
    }

    /// Where the log is durable.
    fn durable(&self) -> usize {
        let end = self.lag.and_then(|lag| self.ends.len().checked_sub(lag + 1)).map_or(0, |at| self.ends[at]);
        // Also between two calls of one step.
        let is_in_between = self.lag.is_some_and(|lag| lag % 2 == 1);
        if is_in_between { self.world.cuts().into_iter().rfind(|cut| *cut < end).unwrap_or_default() } else { end }
    }

    fn step(&mut self, step: Step) {
        match step {
            Come(From) => {
                self.from = Some(self.world.admit(&lasting("from")));
                self.from_is_in = false;
            }
            Come(To) => self.to = Some(self.world.admit(&lasting("to"))),
            Lose(From) => {
                self.world.lose(self.from.take().unwrap());
                self.from_is_in = false;
            }
            Lose(To) => self.world.lose(self.to.take().unwrap()),
            Subscribe => self.world.subscribe_with(self.to.unwrap(), None, &[("x", options(2))]),
            Step::Publish(qos) => self.publish(Qos::from_u8(qos).unwrap()),
            Answer => {
                self.answer_from();
                self.answer_to();
            }
        }
        self.ends.extend(self.world.cuts().last());
        self.world.durable_until(self.durable());
    }

    fn publish(&mut self, qos: Qos) {
        let payload = format!("m{}", self.outgoing.len() + 1);
        let was_subscribed = self.is_subscribed;
        // The lowest that is free: identifiers are used again at once.
        let is_free = |id: &u16| self.outgoing.iter().all(|m| m.id != *id || m.stage == Stage::Done);
        let id = (1..).find(is_free).unwrap();
        self.outgoing.push(Outgoing { id, payload, qos, stage: Stage::Unsent, was_repeated: false, was_subscribed });
        if self.from_is_in {
            self.send(self.outgoing.len() - 1);
        }
    }

    /// Sends a message or goes on with it.
    fn send(&mut self, at: usize) {
        let (client, value) = (self.from.unwrap(), self.outgoing[at].id);
        let message = &mut self.outgoing[at];
        let dup = message.stage == Stage::Sent;
        message.was_repeated |= dup;
        let delivery = match (message.stage, message.qos) {
            (Stage::Done, _) => return,
            (Stage::Received, _) => return self.world.pubrel(client, value),
            (_, Qos::AtLeastOnce) => Delivery::AtLeastOnce { id: id(value), dup },
            _ => Delivery::ExactlyOnce { id: id(value), dup },
        };
        message.stage = Stage::Sent;
        let payload = message.payload.clone();
        self.world.publish(client, Publish { delivery, ..crate::kit::message("x", &payload) });
    }

    fn answer_from(&mut self) {
        let Some(client) = self.from else { return };
        for line in self.world.take(client) {
            let (kind, rest) = line.split_once(' ').unwrap();
            let value = rest.split(' ').next().unwrap().parse::<u16>().unwrap_or_default();
            let is_meant = |m: &Outgoing| m.id == value && m.stage != Stage::Done;
            let at = self.outgoing.iter().position(is_meant).unwrap_or_default();
            match kind {
                "connack" => {
                    assert!(line == "connack 00 present" || !self.from_was_in, "the session is lost");
                    (self.from_is_in, self.from_was_in) = (true, true);
                    (0..self.outgoing.len()).for_each(|at| self.send(at));
                }
                "puback" | "pubcomp" => self.outgoing[at].stage = Stage::Done,
                "pubrec" => {
                    self.outgoing[at].stage = Stage::Received;
                    self.send(at);
                }
                _ => panic!("{line}"),
            }
        }
    }

    fn answer_to(&mut self) {
        let Some(client) = self.to else { return };
        for line in self.world.take(client) {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |word: &str| word.trim_start_matches('#').parse::<u16>().unwrap();
            match words[..] {
                ["connack", "00"] => assert!(!self.to_was_in, "the session is lost"),
                ["connack", "00", "present"] => {}
                ["suback", "1", "02"] => self.is_subscribed = true,
                ["publish", payload, "q1", id, ..] => {
                    self.got.push((payload.trim_start_matches("x=").into(), line.ends_with("dup")));
                    self.world.puback(client, number(id));
                }
                ["publish", payload, "q2", id, ..] => {
                    if self.held.insert(number(id)) {
                        self.got.push((payload.trim_start_matches("x=").into(), line.ends_with("dup")));
                    }
                    self.world.pubrec(client, number(id));
                }
                ["pubrel", id, _] => {
                    let reason = if self.held.remove(&number(id)) { 0 } else { 0x92 };
                    let ack = Ack::new(crate::kit::id(number(id)), ReasonCode::from_u8(reason).unwrap());
                    self.world.send(client, &Packet::PubComp(ack));
                }
                _ => panic!("{line}"),
            }
            self.to_was_in = true;
        }
    }

    /// The node crashes and comes back, and everything arrives.
    fn crash(mut self, cut: usize, shards: u16) -> Self {
        self.world = self.world.crash(cut, shards, 1_000);
        (self.lag, self.from_is_in) = (Some(0), false);
        self.step(Come(To));
        self.step(Answer);
        if !self.is_subscribed {
            self.step(Subscribe);
        }
        self.step(Come(From));
        (0..12).for_each(|_| self.step(Answer));
        self
    }

    fn audit(&self) {
        for (at, sent) in self.outgoing.iter().enumerate() {
            assert_eq!(sent.stage, Stage::Done, "m{} is not finished", at + 1);
            let copies: Vec<bool> =
                self.got.iter().filter(|(payload, _)| *payload == sent.payload).map(|(_, dup)| *dup).collect();
            assert!(!copies.is_empty() || !sent.was_subscribed, "{} is lost", sent.payload);
            match sent.qos {
                Qos::ExactlyOnce => assert!(copies.len() <= 1, "{} came {} times", sent.payload, copies.len()),
                _ => assert!(
                    sent.was_repeated || copies.iter().skip(1).all(|dup| *dup),
                    "{} came again as if it were new",
                    sent.payload
                ),
            }
        }
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let is_meant = |payload: &String| self.outgoing.iter().any(|m| m.qos == qos && m.payload == *payload);
            let mut seen = BTreeSet::new();
            let first: Vec<&String> =
                self.got.iter().map(|(payload, _)| payload).filter(|p| is_meant(p) && seen.insert(*p)).collect();
            assert!(first.is_sorted_by_key(|payload| payload[1..].parse::<u32>().unwrap()), "{first:?}");
        }
    }
}

/// A script of its own for each seed.
fn script(seed: u64) -> Vec<Step> {
    let (mut random, mut steps) = (seed, vec![Come(To), Answer, Subscribe, Come(From)]);
    let (mut from, mut to) = (true, true);
    while steps.len() < 40 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        steps.push(match (random >> 33) % 20 {
            0 => {
                from = !from;
                if from { Come(From) } else { Lose(From) }
            }
            1 | 2 => {
                to = !to;
                if to { Come(To) } else { Lose(To) }
            }
            3..=5 => Step::Publish(2),
            6 | 7 => Step::Publish(1),
            _ => Answer,
        });
    }
    steps
}

/// Plays a script up to each of its steps and crashes there at each cut there can be; tells how often.
fn crash_everywhere(script: &[Step], lag: Option<usize>) -> usize {
    let mut crashes = 0;
    for steps in 0..=script.len() {
        let play = || {
            let mut play = Play::new(lag);
            script[..steps].iter().for_each(|step| play.step(*step));
            play
        };
        let played = play();
        let durable = played.durable();
        for cut in played.world.cuts().into_iter().filter(|cut| *cut >= durable) {
            let shards = u16::try_from((steps + cut) % 3).unwrap() + 1;
            let played = std::panic::catch_unwind(|| play().crash(cut, shards).audit());
            let steps = &script[..steps];
            assert!(played.is_ok(), "lag {lag:?}, cut {cut} of {durable}, {shards} shards, after {steps:?}");
            crashes += 1;
        }
    }
    crashes
}

#[test]
fn r01_nothing_acknowledged_is_lost_and_nothing_doubled_at_any_cut_of_the_journal() {
    let lags = [Some(0), Some(2), Some(3), Some(6), None];
    let crashes: usize = lags.into_iter().map(|lag| crash_everywhere(SCRIPT, lag)).sum();
    assert!(crashes > 700, "{crashes}");
}

#[test]
fn r01_nothing_acknowledged_is_lost_and_nothing_doubled_in_any_order_of_events() {
    for seed in 0..7 {
        crash_everywhere(&script(seed), Some(usize::try_from(seed % 7).unwrap()));
    }
}

#[test]
fn r01_what_may_have_been_sent_two_runs_ago_says_that_it_is_repeated() {
    let mut world = World::reading_back(2, OPEN, &Limits::default());
    let elsewhere = (0..).map(|n| format!("c{n}")).find(|id| world.shared.home(id) != world.shared.home("to")).unwrap();
    let (from, to) = (world.connect(&v5(&elsewhere)), world.connect(&lasting("to")));
    world.subscribe(to, &[("x", 1)]);
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "m") });
    world.expect(to, &["publish x=m q1 #1"]);
    // The record of the identifier is lost in the first crash, and that of the lost connection is not in the second.
    let cuts = world.cuts();
    let before_sent = cuts[cuts.len() - 2];
    let world = world.crash(before_sent, 1, 1_000);
    let last = *world.cuts().last().unwrap();
    let mut world = world.crash(last, 1, 1_000);
    let to = world.admit(&lasting("to"));
    world.read_back();
    let shown = world.take(to);
    assert_eq!(shown, ["connack 00 present", "publish x=m q1 #1 dup"]);
}

#[test]
fn r01_a_message_that_is_retained_after_a_restart_stands_though_one_was_cleared_before() {
    let mut world = World::reading_back(1, OPEN, &Limits::default());
    let from = world.connect(&v5("from"));
    for payload in ["a", "b", "c", ""] {
        world.publish(from, Publish { retain: true, delivery: qos1(1), ..message("x", payload) });
    }
    for _ in 0..2 {
        let last = *world.cuts().last().unwrap();
        world = world.crash(last, 1, 1_000);
        let from = world.connect(&v5("from"));
        world.publish(from, Publish { retain: true, delivery: qos1(1), ..message("x", "new") });
    }
    let last = *world.cuts().last().unwrap();
    let mut world = world.crash(last, 1, 1_000);
    let to = world.connect(&v5("to"));
    world.subscribe_with(to, None, &[("x", options(0))]);
    world.expect(to, &["suback 1 00", "publish x=new retain"]);
}

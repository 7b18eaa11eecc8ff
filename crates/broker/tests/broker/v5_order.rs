//! MQTT 5.0, section 4.6: the order of messages, for each publisher, topic and QoS.

use std::collections::BTreeMap;

use motte_broker::Limits;
use mqtt::{Delivery, Publish};

use crate::kit::*;

/// A PUBLISH as a client saw it.
#[derive(Debug)]
struct Seen {
    topic: String,
    payload: String,
    qos: u8,
    id: Option<u16>,
    dup: bool,
}

fn seen(line: &str) -> Option<Seen> {
    let words: Vec<_> = line.strip_prefix("publish ")?.split(' ').collect();
    let (topic, payload) = words[0].split_once('=').unwrap();
    let word = |start: &str| words.iter().find_map(|word| word.strip_prefix(start));
    Some(Seen {
        topic: topic.into(),
        payload: payload.into(),
        qos: word("q").map_or(0, |qos| qos.parse().unwrap()),
        id: word("#").map(|id| id.parse().unwrap()),
        dup: words.contains(&"dup"),
    })
}

/// A client that acknowledges some of what it is sent and remembers the order of everything it saw for the first time.
#[derive(Default)]
struct Reader {
    /// Payloads by topic and QoS, without repetitions.
    order: BTreeMap<(String, u8), Vec<String>>,
    /// Identifiers that were sent and not finished, in order.
    open: Vec<(u16, u8)>,
}

impl Reader {
    fn read(&mut self, world: &mut World, client: Client) {
        for seen in world.take(client).iter().filter_map(|line| seen(line)) {
            let known = self.open.iter().any(|&(id, _)| Some(id) == seen.id);
            assert_eq!(seen.dup, known, "{seen:?}");
            if !known {
                self.open.extend(seen.id.map(|id| (id, seen.qos)));
                self.order.entry((seen.topic, seen.qos)).or_default().push(seen.payload);
            }
        }
    }

    /// Finishes the `at`th of the open flows, so that acknowledgements do not come in order of the messages.
    fn finish(&mut self, world: &mut World, client: Client, at: usize) {
        if at >= self.open.len() {
            return;
        }
        match self.open.remove(at) {
            (id, 1) => world.puback(client, id),
            (id, _) => {
                world.pubrec(client, id);
                world.pubcomp(client, id);
            }
        }
        self.read(world, client);
    }
}

fn delivery(qos: u16, value: u16) -> Delivery {
    match qos {
        0 => Delivery::AtMostOnce,
        1 => qos1(value),
        _ => qos2(value),
    }
}

#[test]
fn v5_4_6_0_5_6_order_is_kept_for_each_publisher_topic_and_qos_over_reconnects() {
    let limits = Limits { inflight_max: 4, ..Limits::default() };
    let mut world = World::with(3, OPEN, &limits);
    let from = ["first", "second"].map(|name| world.connect(&v5(name)));
    let mut to = world.connect(&lasting("to"));
    world.subscribe(to, &[("+", 2)]);
    let mut reader = Reader::default();
    for round in 0..240_u16 {
        let (publisher, topic, qos) = (usize::from(round % 2), ["x", "y"][usize::from(round / 2 % 2)], round % 3);
        // Messages of QoS 0 are sent only while somebody reads them: they do not wait.
        let payload = format!("{publisher}:{round:03}");
        world.publish(from[publisher], Publish { delivery: delivery(qos, round + 1), ..message(topic, &payload) });
        world.pubrel(from[publisher], round + 1);
        reader.read(&mut world, to);
        if round % 3 != 2 {
            reader.finish(&mut world, to, usize::from(round % 4));
        }
        if round % 17 == 16 {
            world.lose(to);
            to = world.admit(&lasting("to"));
            reader.read(&mut world, to);
        }
    }
    while !reader.open.is_empty() {
        reader.finish(&mut world, to, 0);
    }
    assert_eq!(world.counters().queued, 0);
    let mut count = 0;
    for ((topic, qos), payloads) in &reader.order {
        for publisher in ["0:", "1:"] {
            let got: Vec<_> = payloads.iter().filter(|payload| payload.starts_with(publisher)).collect();
            assert!(got.is_sorted(), "{topic} {qos} {got:?}");
            count += got.len();
        }
    }
    assert_eq!(count, 240, "each once");
}

#[test]
fn v5_4_6_0_6_a_paced_replay_never_sends_an_older_message_behind_a_newer_one() {
    let limits = Limits { outbox_bytes_max: 400, ..Limits::default() };
    for qos in [0, 1, 2] {
        let mut world = World::with(2, OPEN, &limits);
        let from = world.connect(&v5("from"));
        let topics: Vec<String> = (0..60).map(|n| format!("t/{n:02}")).collect();
        for topic in &topics {
            world.publish(from, Publish { retain: true, delivery: delivery(qos, 1), ..message(topic, "000") });
            world.pubrel(from, 1);
        }
        let to = world.connect(&Hello { receive_maximum: Some(3), ..v5("to") });
        world.subscribe_with(to, None, &[("t/#", options(2))]);
        let mut last: BTreeMap<String, String> = BTreeMap::new();
        let mut version = 0;
        for round in 0..400_usize {
            if round < 200 {
                version += 1;
                let topic = &topics[round * 7 % 60];
                let update = Publish { retain: true, ..message(topic, "") };
                let payload = format!("{version:03}");
                world.publish(from, Publish { delivery: delivery(qos, 1), payload: payload.as_bytes(), ..update });
                world.pubrel(from, 1);
                world.take(from);
            }
            for seen in world.take_once(to).iter().filter_map(|line| seen(line)) {
                match (seen.id, seen.qos) {
                    (Some(id), 1) => world.puback(to, id),
                    (Some(id), _) => {
                        world.pubrec(to, id);
                        world.pubcomp(to, id);
                    }
                    (None, _) => {}
                }
                let older = last.insert(seen.topic.clone(), seen.payload.clone());
                assert!(older.is_none_or(|older| older <= seen.payload), "{seen:?}");
            }
            world.pass_ms(1);
        }
        // In the end the client knows the last message of each topic.
        assert_eq!(last.len(), 60);
        for n in 1..=version {
            let topic = &topics[(n - 1) * 7 % 60];
            let newest = (n..=version).rev().find(|m| topics[(m - 1) * 7 % 60] == *topic).unwrap();
            assert_eq!(last[topic], format!("{newest:03}"), "{topic} at QoS {qos}");
        }
        assert_eq!(world.counters().queued, 0);
    }
}

#[test]
fn live_messages_and_a_replay_take_turns() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    for n in 0..30 {
        world.publish(from, Publish { retain: true, delivery: qos1(1), ..message(&format!("t/{n:02}"), "r") });
    }
    let to = world.connect(&Hello { receive_maximum: Some(2), ..v5("to") });
    world.subscribe_with(to, None, &[("t/#", options(1)), ("live", options(1))]);
    let (mut replayed, mut live) = (Vec::new(), Vec::new());
    let mut next = 1;
    for round in 0..40 {
        if round % 2 == 0 {
            world.publish(from, Publish { delivery: qos1(1), ..message("live", &format!("{round:02}")) });
        }
        let lines = world.take(to);
        for seen in lines.iter().filter_map(|line| seen(line)) {
            if seen.topic == "live" {
                live.push(seen.payload)
            } else {
                replayed.push(seen.topic)
            }
            assert_eq!(seen.id, Some(next));
            next += 1;
        }
        for value in next.saturating_sub(2).max(1)..next {
            world.puback(to, value);
        }
    }
    assert_eq!(replayed.len(), 30, "the replay is not starved by live messages");
    assert!(replayed.is_sorted());
    assert_eq!(live.len(), 20);
    assert!(live.is_sorted());
}

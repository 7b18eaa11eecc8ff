//! Queues whose messages the journal keeps: references in memory, read back in order while there is a connection.

use motte_broker::Limits;
use mqtt::Publish;

use crate::kit::*;

fn publish_all(world: &mut World, from: Client, values: std::ops::RangeInclusive<u32>) {
    for value in values {
        let id = u16::try_from(value % 60_000 + 1).unwrap();
        world.publish(from, Publish { delivery: qos1(id), ..message("x", &value.to_string()) });
        world.take(from);
    }
}

/// Payloads a client is sent, in order, while it acknowledges each at once; with what was repeated.
fn drain(world: &mut World, client: Client) -> Vec<String> {
    let mut got = Vec::new();
    loop {
        let lines = world.take(client);
        let sent: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("publish x=")).collect();
        if sent.is_empty() {
            return got;
        }
        for line in sent {
            let (payload, rest) = line.split_once(" q1 #").unwrap();
            got.push(payload.to_owned());
            world.puback(client, rest.split(' ').next().unwrap().parse().unwrap());
        }
    }
}

fn numbers(values: std::ops::RangeInclusive<u32>) -> Vec<String> {
    values.map(|value| value.to_string()).collect()
}

/// A publisher, and a session that waits for `x` without a connection.
fn absent(world: &mut World) -> Client {
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("x", 2)]);
    world.lose(to);
    from
}

#[test]
fn a_long_queue_comes_in_order_over_the_borders_of_what_is_read_back_at_once() {
    for shards in [1, 3] {
        let mut world = World::reading_back(shards, OPEN, &Limits::default());
        let from = absent(&mut world);
        publish_all(&mut world, from, 1..=1_000);
        assert_eq!((world.counters().queued, world.kept_for("to")), (1_000, 1_000));
        let to = world.admit(&lasting("to"));
        assert_eq!(drain(&mut world, to), numbers(1..=1_000));
        assert_eq!((world.counters().queued, world.kept_for("to")), (0, 0));
    }
}

#[test]
fn what_was_in_flight_when_the_link_ended_is_read_back_and_sent_again_first() {
    let limits = Limits { inflight_max: 10, ..Limits::default() };
    let mut world = World::reading_back(1, OPEN, &limits);
    let from = absent(&mut world);
    let to = world.connect(&lasting("to"));
    publish_all(&mut world, from, 1..=300);
    assert_eq!(world.take(to).len(), 10);
    world.lose(to);
    publish_all(&mut world, from, 301..=305);
    world.fetches_wait = true;
    let to = world.admit(&lasting("to"));
    // Nothing overtakes what has to be read back.
    publish_all(&mut world, from, 306..=306);
    world.expect(to, &["connack 00 present"]);
    world.read_back();
    let again: Vec<_> = (1..=10).map(|n| format!("publish x={n} q1 #{n} dup")).collect();
    assert_eq!(world.take(to), again);
    world.fetches_wait = false;
    world.read_back();
    for n in 1..=10 {
        world.puback(to, n);
    }
    assert_eq!(drain(&mut world, to), numbers(11..=306));
    assert_eq!((world.counters().queued, world.kept_for("to")), (0, 0));
}

#[test]
fn an_acknowledgement_of_what_was_not_read_back_yet_settles_it() {
    let mut world = World::reading_back(1, OPEN, &Limits::default());
    let from = absent(&mut world);
    let to = world.connect(&lasting("to"));
    publish_all(&mut world, from, 1..=3);
    world.lose(to);
    world.fetches_wait = true;
    let to = world.admit(&lasting("to"));
    world.puback(to, 2);
    world.read_back();
    world.expect(to, &["connack 00 present", "publish x=1 q1 #1 dup", "publish x=3 q1 #3 dup"]);
    assert_eq!(world.kept_for("to"), 2);
}

#[test]
fn answers_for_an_earlier_connection_or_session_are_harmless() {
    let mut world = World::reading_back(1, OPEN, &Limits::default());
    let from = absent(&mut world);
    publish_all(&mut world, from, 1..=300);
    world.fetches_wait = true;
    let first = world.connect(&lasting("to"));
    world.lose(first);
    world.read_back();
    let second = world.connect(&lasting("to"));
    // Taken over while the answer is under way: it serves the third connection.
    let third = world.admit(&lasting("to"));
    world.expect(second, &["disconnect 8e", "closed"]);
    world.fetches_wait = false;
    world.read_back();
    assert_eq!(drain(&mut world, third), numbers(1..=300));
    publish_all(&mut world, from, 1..=300);
    world.take(third);
    world.lose(third);
    world.fetches_wait = true;
    let fourth = world.connect(&lasting("to"));
    let clean = world.admit(&Hello { clean_start: true, ..lasting("to") });
    world.read_back();
    world.expect(fourth, &["disconnect 8e", "closed"]);
    world.expect(clean, &["connack 00"]);
    assert_eq!((world.counters().queued, world.kept_for("to")), (0, 0));
}

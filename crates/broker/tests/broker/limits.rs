//! Bounds on what one client or user may take, each with its reason code, and what is left once it is given back.

use motte_audit::{EventKind, RefusalReason};
use motte_broker::Limits;
use mqtt::{Publish, ReasonCode};

use crate::kit::*;

fn refusals(world: &mut World) -> Vec<RefusalReason> {
    let refusal = |event| if let EventKind::Refused { reason } = event { Some(reason) } else { None };
    world.events().into_iter().filter_map(refusal).collect()
}

#[test]
fn k07_a_3x_client_that_asks_for_a_longer_keep_alive_than_there_is_or_for_none_is_refused() {
    let mut world = World::with_limits(&Limits { keep_alive_s_max: 60, ..Limits::default() });
    for version in [V31, V311] {
        for keep_alive_s in [0, 61, u16::MAX] {
            let client = world.admit(&Hello { keep_alive_s, version, ..v5("c") });
            world.expect(client, &["connack 85", "closed"]);
            assert_eq!(refusals(&mut world), [RefusalReason::KeepAlive]);
        }
        let client = world.admit(&Hello { keep_alive_s: 60, version, ..v5("c") });
        world.expect(client, &["connack 00"]);
    }
    let client = world.admit(&Hello { keep_alive_s: 0, ..v5("c") });
    world.expect(client, &["connack 00 keepalive=60"]);
}

#[test]
fn k07_without_a_maximum_every_keep_alive_is_the_one_the_client_asked_for() {
    let mut world = World::new();
    let clients = [V31, V311, V5].map(|version| {
        [0, 10, u16::MAX].map(|keep_alive_s| {
            let name = format!("{version:?}-{keep_alive_s}");
            let client = world.admit(&Hello { keep_alive_s, version, ..v5(&name) });
            world.expect(client, &["connack 00"]);
            client
        })
    });
    world.pass_ms(65_535 * 1_500 - 1);
    for [never, soon, late] in clients {
        let told: &[&str] = if soon.version == V5 { &["disconnect 8d", "closed"] } else { &["closed"] };
        world.expect(soon, told);
        world.expect(never, &[]);
        world.expect(late, &[]);
    }
    world.pass_ms(1);
    for [never, _, late] in clients {
        assert_eq!(world.take(late).last().unwrap(), "closed");
        world.expect(never, &[]);
    }
}

#[test]
fn k12_sessions_of_one_user_are_bounded_over_all_shards() {
    let limits = Limits { sessions_per_user_max: 3, ..Limits::default() };
    let mut world = World::with(2, OPEN, &limits);
    let names: Vec<_> = (0..40).map(|n| format!("c{n}")).collect();
    let one = |name| Hello { user: "one", ..lasting(name) };
    let clients: Vec<_> = names.iter().map(|name| world.admit(&one(name))).collect();
    let admitted: Vec<_> = clients.iter().filter(|&&client| world.take(client) == ["connack 00"]).copied().collect();
    assert_eq!((admitted.len(), world.counters().sessions), (3, 3));
    assert_eq!(refusals(&mut world), [RefusalReason::Quota; 37]);
    let both = names[..3].iter().map(|name| world.shared.home(name));
    assert_eq!(both.collect::<std::collections::BTreeSet<_>>().len(), 2, "the first three live on both shards");
    // Others are not concerned, and the owner gets its sessions back at any time, anew as well.
    world.connect(&Hello { user: "two", ..v5("other") });
    let refused = world.admit(&Hello { version: V311, ..one("d") });
    assert_eq!(world.take(refused).last().unwrap(), "closed");
    let refused = world.admit(&one("d"));
    world.expect(refused, &["connack 97", "closed"]);
    let again = world.admit(&Hello { clean_start: true, session_expiry_s: None, ..one("c0") });
    world.expect(again, &["connack 00"]);
    world.expect(admitted[0], &["disconnect 8e", "closed"]);
    let resumed = world.admit(&one("c1"));
    world.expect(resumed, &["connack 00 present"]);
    // A session that ends makes room for another, and only for one.
    world.disconnect(again, ReasonCode::Success);
    world.connect(&one("d"));
    let refused = world.admit(&one("e"));
    world.expect(refused, &["connack 97", "closed"]);
    for client in [admitted[2], resumed] {
        world.lose(client);
    }
    world.pass_ms(1_000_000);
    for name in ["e", "f"] {
        world.connect(&one(name));
    }
}

#[test]
fn k13_a_client_that_connects_too_often_is_refused_until_time_has_passed() {
    let limits = Limits { connects_per_client_per_min_max: 6, ..Limits::default() };
    let mut world = World::with_limits(&limits);
    for _ in 0..6 {
        world.connect(&v5("c"));
    }
    world.events();
    let (new, old) = (world.admit(&v5("c")), world.admit(&v311("c")));
    world.expect(new, &["connack 9f", "closed"]);
    world.expect(old, &["connack 88", "closed"]);
    assert_eq!(refusals(&mut world), [RefusalReason::ConnectionRate; 2]);
    assert_eq!(world.counters().links, 1, "the connection that stands is left alone");
    // Its neighbours connect as before, another user under its client identifier uses nothing up.
    world.connect(&v5("d"));
    for _ in 0..20 {
        let thief = world.admit(&Hello { user: "thief", ..v5("c") });
        world.expect(thief, &["connack 85", "closed"]);
    }
    world.pass_ms(10_000);
    world.connect(&v5("c"));
    let client = world.admit(&v5("c"));
    world.expect(client, &["connack 9f", "closed"]);
    world.pass_ms(60_000);
    for _ in 0..6 {
        world.connect(&v5("c"));
    }
}

#[test]
fn k13_a_user_that_connects_too_often_is_refused_whatever_its_clients_are_called() {
    let limits = Limits { connects_per_user_per_min_max: 10, ..Limits::default() };
    let mut world = World::with(2, OPEN, &limits);
    let names: Vec<_> = (0..40).map(|n| format!("c{n}")).collect();
    let clients: Vec<_> = names.iter().map(|name| world.admit(&Hello { user: "one", ..v5(name) })).collect();
    let shown: Vec<_> = clients.iter().map(|&client| world.take(client).remove(0)).collect();
    assert_eq!(shown[..10], ["connack 00"; 10]);
    assert_eq!(shown[10..], ["connack 9f"; 30]);
    world.connect(&v5("two"));
}

#[test]
fn k08_topics_and_filters_are_bounded_in_bytes() {
    let limits = Limits { topic_bytes_max: 20, ..Limits::default() };
    let mut world = World::with_limits(&limits);
    let (fits, long) = ("t".repeat(20), "t".repeat(21));
    let client = world.connect(&v5("c"));
    let shared = format!("$share/g/{}", "t".repeat(12));
    world.subscribe_with(client, None, &[(&fits, options(0)), (&long, options(0)), (&shared, options(0))]);
    world.expect(client, &["suback 1 00 8f 8f"]);
    world.publish(client, message(&fits, "m"));
    world.expect(client, &[&format!("publish {fits}=m")]);
    for (publish, version) in [(message(&long, "m"), V5), (message(&long, "m"), V311)] {
        let client = world.connect(&Hello { version, ..v5("d") });
        world.publish(client, publish);
        let told: &[&str] = if version == V5 { &["disconnect 90", "closed"] } else { &["closed"] };
        world.expect(client, told);
    }
    let with_will = |topic: &'static str| Hello { will: Some(will(topic)), ..v5("e") };
    let refused = world.admit(&with_will("a/will/topic/of/more/than/twenty"));
    world.expect(refused, &["connack 90", "closed"]);
    world.connect(&with_will("a/will/topic"));
}

/// Identifiers of the messages a client was sent.
fn ids(world: &mut World, client: Client) -> Vec<u16> {
    let id = |line: String| line.rsplit_once(" #").map(|(_, id)| id.split(' ').next().unwrap().parse().unwrap());
    world.take(client).into_iter().filter_map(id).collect()
}

fn publish_all(world: &mut World, from: Client, payload: &str, values: std::ops::RangeInclusive<u16>) {
    for value in values {
        world.publish(from, Publish { delivery: qos2(value), ..message("x", payload) });
        world.pubrel(from, value);
    }
    world.take(from);
}

#[test]
fn k04_messages_in_flight_are_bounded_in_bytes_until_they_have_arrived() {
    // Topic, payload and properties of a message weigh 100 bytes.
    let limits = Limits { inflight_bytes_max: 250, ..Limits::default() };
    let payload = "p".repeat(99);
    let mut world = World::with_limits(&limits);
    let (from, to) = (world.connect(&v5("from")), world.connect(&lasting("to")));
    world.subscribe(to, &[("x", 1)]);
    publish_all(&mut world, from, &payload, 1..=5);
    assert_eq!((ids(&mut world, to), world.counters().queued), (vec![1, 2], 3));
    world.puback(to, 1);
    assert_eq!((ids(&mut world, to), world.counters().queued), (vec![3], 2));
    // The bound holds for what an earlier connection left unfinished as well.
    world.lose(to);
    let to = world.admit(&lasting("to"));
    assert_eq!((ids(&mut world, to), world.counters().queued), (vec![2, 3], 2));
    for value in 2..=5 {
        world.puback(to, value);
    }
    assert_eq!((ids(&mut world, to), world.counters().queued), (vec![4, 5], 0));
    // QoS 2: a message has arrived with PUBREC, and what is left of it is its identifier.
    world.subscribe(to, &[("x", 2)]);
    publish_all(&mut world, from, &payload, 1..=3);
    assert_eq!((ids(&mut world, to), world.counters().queued), (vec![6, 7], 1));
    world.pubrec(to, 6);
    assert_eq!(ids(&mut world, to), [8]);
    world.pubcomp(to, 6);
    world.expect(to, &[]);
}

#[test]
fn k04_a_message_larger_than_the_bound_on_bytes_is_sent_alone() {
    let limits = Limits { inflight_bytes_max: 250, ..Limits::default() };
    let mut world = World::with_limits(&limits);
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("x", 1)]);
    publish_all(&mut world, from, "small", 1..=1);
    publish_all(&mut world, from, &"p".repeat(1_000), 1..=1);
    publish_all(&mut world, from, "small", 1..=1);
    for value in 1..=3 {
        assert_eq!(ids(&mut world, to), [value]);
        world.puback(to, value);
    }
    assert_eq!(world.counters().queued, 0);
}

#[test]
fn k10_a_replay_keeps_to_the_bytes_that_may_be_in_flight() {
    let limits = Limits { inflight_bytes_max: 250, ..Limits::default() };
    let mut world = World::with_limits(&limits);
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    for topic in 0..5 {
        let (topic, payload) = (topic.to_string(), "p".repeat(99));
        world.publish(from, Publish { delivery: qos1(1), retain: true, ..message(&topic, &payload) });
    }
    world.subscribe_with(to, None, &[("#", options(1))]);
    assert_eq!((ids(&mut world, to), world.counters().queued), (vec![1, 2], 0));
    for value in 1..=5 {
        world.puback(to, value);
    }
    assert_eq!(ids(&mut world, to), [3, 4, 5]);
}

//! The `$SYS` tree as its readers see it, and that nobody else writes there or reads it by a wide rule.

use motte_audit::{Denial, EventKind};
use motte_broker::mqtt::{Packet, Publish, RetainHandling, SubscriptionOptions};
use motte_broker::{CheckFigures, Limits, NodeFigures, ReloadFigures, SourceFigures, Traffic};

use crate::kit::*;

/// `reader` may read the tree; all others have the widest rules there are without naming it.
const ACL: &str = "pattern readwrite #\nuser reader\ntopic read $SYS/#\n";

fn figures() -> NodeFigures {
    let mut incoming = Traffic::default();
    for _ in 0..3 {
        incoming.count(0x10, 20);
    }
    NodeFigures {
        version: "1.2.3",
        durability: "memory",
        store: None,
        reloads: ReloadFigures { alarm: true, done: 7, refused: 3 },
        uptime_s: 60,
        memory_bytes: 1_000,
        memory_bytes_max: 2_000,
        sockets: 4,
        sockets_open: 2,
        incoming,
        outgoing: Traffic::default(),
        identity: vec![(
            String::from("password"),
            SourceFigures { accepted: 5, refused: 4, deferred: 3, unavailable: 2, time_us: 1_000 },
        )],
        checks: CheckFigures { unclaimed: 6, hashes: 7, recalled: 8, slowed: 9 },
    }
}

/// The tree is due, and every shard does its part.
fn round(world: &mut World, figures: NodeFigures) {
    world.shards[0].on_sys_due(figures, world.now, &mut world.sinks[0]);
    world.settle();
}

/// The value of a topic among what a client was sent.
#[track_caller]
fn value<'a>(shown: &'a [String], topic: &str) -> &'a str {
    let start = format!("publish $SYS/broker/{topic}=");
    let line = shown.iter().rev().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("{topic} is not in {shown:#?}")).trim_end_matches(" retain")
}

/// Names of clients that live on each of `shards` shards.
fn one_each(world: &World, shards: u16) -> Vec<String> {
    (0..shards)
        .map(|at| (0..).map(|n| format!("c{n}")).find(|id| world.shared.home(id).0 == at).expect("ids for all shards"))
        .collect()
}

#[test]
fn the_tree_is_the_sum_of_all_shards_under_the_names_of_mosquitto() {
    let mut world = World::with(3, ACL, &Limits::default());
    let names = one_each(&world, 3);
    let clients: Vec<_> = names.iter().map(|name| world.connect(&lasting(name))).collect();
    for &client in &clients {
        world.subscribe(client, &[("a/+", 1), ("b", 0), ("$share/g/s", 1)]);
    }
    world.publish(clients[0], Publish { delivery: qos1(7), ..message("a/1", "12345") });
    world.publish(clients[1], Publish { retain: true, ..message("kept", "123") });
    for &client in &clients {
        world.take(client);
    }
    world.lose(clients[2]);
    world.publish(clients[0], Publish { delivery: qos1(8), ..message("a/1", "12345") });
    world.take(clients[0]);
    world.take(clients[1]);
    round(&mut world, figures());

    let reader = world.connect(&v5("reader"));
    world.subscribe_with(reader, None, &[("$SYS/#", options(2))]);
    let shown = world.take(reader);
    assert!(shown[1..].iter().all(|line| line.ends_with(" retain")), "{shown:#?}");
    for (topic, expected) in [
        ("version", "motte version 1.2.3"),
        ("uptime", "60 seconds"),
        ("durability/mode", "memory"),
        ("identity/password/accepted", "5"),
        ("identity/password/refused", "4"),
        ("identity/password/deferred", "3"),
        ("identity/password/unavailable", "2"),
        ("identity/password/time_us", "1000"),
        ("identity/unclaimed", "6"),
        ("identity/hashes", "7"),
        ("identity/recalled", "8"),
        ("identity/slowed", "9"),
        ("reload/state", "refused"),
        ("reload/done", "7"),
        ("reload/refused", "3"),
        ("clients/total", "3"),
        ("clients/connected", "2"),
        ("clients/active", "2"),
        ("clients/disconnected", "1"),
        ("clients/inactive", "1"),
        ("clients/maximum", "2"),
        ("clients/expired", "0"),
        ("connections/socket/count", "2"),
        ("subscriptions/count", "6"),
        ("shared_subscriptions/count", "3"),
        ("retained messages/count", "1"),
        ("messages/stored", "2"),
        ("store/messages/count", "2"),
        // "kept" and "123", "a/1" and "12345".
        ("store/messages/bytes", "15"),
        // 3 CONNECT, 3 SUBSCRIBE, 3 PUBLISH; 3 CONNACK, 3 SUBACK, 2 PUBACK, 3 + 2 PUBLISH.
        ("messages/received", "9"),
        ("messages/sent", "13"),
        ("publish/messages/received", "3"),
        ("publish/messages/sent", "5"),
        ("publish/messages/dropped", "0"),
        ("publish/bytes/received", "13"),
        ("publish/bytes/sent", "25"),
        ("mqtt/connect/received", "3"),
        ("mqtt/connack/sent", "3"),
        ("mqtt/subscribe/received", "3"),
        ("mqtt/suback/sent", "3"),
        ("mqtt/puback/sent", "2"),
        ("mqtt/puback/received", "0"),
        ("heap/current", "1000"),
        ("heap/maximum", "2000"),
        ("load/messages/received/1min", "0.00"),
    ] {
        assert_eq!(value(&shown, topic), expected, "{topic}");
    }
}

#[test]
fn only_what_changed_is_published_again() {
    let mut world = World::with(2, ACL, &Limits::default());
    let reader = world.connect(&v5("reader"));
    world.subscribe(reader, &[("$SYS/broker/clients/#", 0), ("$SYS/broker/version", 0), ("$SYS/broker/uptime", 0)]);
    round(&mut world, figures());
    let shown = world.take(reader);
    assert_eq!((shown.len(), value(&shown, "clients/connected")), (9, "1"));
    assert!(shown.iter().all(|line| !line.ends_with(" retain")), "{shown:?}");
    world.connect(&v5("another"));
    round(&mut world, NodeFigures { uptime_s: 70, ..figures() });
    let mut shown = world.take(reader);
    shown.sort();
    assert_eq!(
        shown,
        [
            "publish $SYS/broker/clients/active=2",
            "publish $SYS/broker/clients/connected=2",
            "publish $SYS/broker/clients/maximum=2",
            "publish $SYS/broker/clients/total=2",
            "publish $SYS/broker/uptime=70 seconds",
        ]
    );
}

#[test]
fn loads_are_averages_per_minute_that_fade() {
    let mut world = World::with(1, ACL, &Limits::default());
    let reader = world.connect(&v5("reader"));
    let from = world.connect(&v5("from"));
    world.subscribe(reader, &[("$SYS/broker/load/publish/received/+", 0)]);
    round(&mut world, figures());
    world.take(reader);
    for _ in 0..100 {
        world.publish(from, message("x", "m"));
    }
    world.pass_ms(10_000);
    round(&mut world, figures());
    let shown = world.take(reader);
    let averages = ["1min", "5min", "15min"].map(|period| value(&shown, &format!("load/publish/received/{period}")));
    assert_eq!(averages, ["92.11", "19.67", "6.63"]);
    world.pass_ms(60_000);
    round(&mut world, figures());
    assert_eq!(value(&world.take(reader), "load/publish/received/1min"), "33.89");
}

#[test]
fn queues_and_expired_sessions_are_taken_back() {
    let mut world = World::with(1, ACL, &Limits::default());
    let (away, from) = (world.connect(&lasting("away")), world.connect(&v5("from")));
    world.subscribe(away, &[("x", 1)]);
    world.lose(away);
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "123456789") });
    assert_eq!((world.counters().queued, world.counters().queued_bytes), (1, 10));
    world.pass_ms(1_000_000);
    let counters = world.counters();
    assert_eq!((counters.queued, counters.queued_bytes, counters.subscriptions, counters.expired), (0, 0, 0, 1));
}

#[test]
fn k19_the_tree_is_shown_to_nobody_whose_rules_do_not_name_it() {
    let mut world = World::with(1, ACL, &Limits::default());
    round(&mut world, figures());
    let client = world.connect(&v5("c"));
    for filter in ["$SYS/#", "$SYS/broker/version", "$share/g/$SYS/#", "$SYS/+/version"] {
        world.subscribe_with(client, None, &[(filter, options(1))]);
        world.expect(client, &["suback 1 87"]);
    }
    let always = SubscriptionOptions { retain_handling: RetainHandling::Always, ..options(1) };
    for filter in ["#", "+/#", "+/broker/version"] {
        world.subscribe_with(client, None, &[(filter, always)]);
        world.expect(client, &["suback 1 01"]);
    }
    round(&mut world, NodeFigures { uptime_s: 70, ..figures() });
    world.expect(client, &[]);
    // A wide filter does not match the tree even for somebody who may read it (MQTT-4.7.2-1).
    let reader = world.connect(&v5("reader"));
    world.subscribe_with(reader, None, &[("#", always)]);
    world.expect(reader, &["suback 1 01"]);
}

#[test]
fn k19_nobody_but_the_broker_publishes_in_the_tree() {
    let acl = "pattern readwrite #\nuser evil\ntopic readwrite $SYS/#\ntopic readwrite #\n";
    let mut world = World::with(1, acl, &Limits::default());
    let evil = world.connect(&v5("evil"));
    world.subscribe(evil, &[("$SYS/#", 0)]);
    for topic in ["$SYS/broker/version", "$SYS", "$SYS/", "$SYS/x"] {
        world.publish(evil, Publish { delivery: qos1(1), retain: true, ..message(topic, "forged") });
        world.expect(evil, &["puback 1 87"]);
    }
    round(&mut world, figures());
    let shown = world.take(evil);
    assert_eq!(value(&shown, "version"), "motte version 1.2.3");
    world.events();
    // The gate asks policy about a will; one that got past it is judged again when it fires.
    let will = motte_broker::mqtt::Will { retain: true, ..will("$SYS/broker/version") };
    let dying = world.connect(&Hello { will: Some(will), ..v5("evil-too") });
    world.lose(dying);
    let denied = EventKind::Denied { what: Denial::Will, topic: "$SYS/broker/version".into() };
    assert!(world.events().contains(&denied));
    world.expect(evil, &[]);
}

#[test]
fn k10_the_tree_takes_no_room_of_clients() {
    let limits = Limits { retained_messages_max: 1, ..Limits::default() };
    let mut world = World::with(1, ACL, &limits);
    round(&mut world, figures());
    let client = world.connect(&v5("c"));
    for (topic, code) in [("one", "10"), ("two", "97")] {
        world.publish(client, Publish { delivery: qos1(1), retain: true, ..message(topic, "m") });
        world.expect(client, &[&format!("puback 1 {code}")]);
    }
    assert_eq!(world.shared.retained_totals().0, 1);
    // The room is full, and the tree goes on.
    round(&mut world, NodeFigures { uptime_s: 70, ..figures() });
    let reader = world.connect(&v5("reader"));
    world.subscribe_with(reader, None, &[("$SYS/broker/uptime", options(0))]);
    world.expect(reader, &["suback 1 00", "publish $SYS/broker/uptime=70 seconds retain"]);
}

#[test]
fn figures_of_a_run_are_not_written_to_the_journal() {
    let mut world = World::with(1, ACL, &Limits::default());
    let reader = world.connect(&lasting("reader"));
    world.subscribe(reader, &[("$SYS/#", 2)]);
    let before = world.shards[0].journal().records.len();
    round(&mut world, figures());
    assert!(!world.take(reader).is_empty());
    assert_eq!(world.shards[0].journal().records.len(), before);
    world.send(reader, &Packet::PingReq);
    world.expect(reader, &["pingresp"]);
}

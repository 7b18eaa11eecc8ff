//! How fast a client may publish: over the soft limit it is read later, over the hard limit it is ended.

use motte_broker::Limits;
use mqtt::{Packet, Publish};

use crate::kit::*;

fn publish_all(world: &mut World, from: Client, count: usize) {
    for _ in 0..count {
        world.publish(from, message("x", "m"));
    }
}

#[test]
fn k13_a_client_over_the_soft_limit_is_read_later_and_loses_nothing() {
    let mut world = World::with_limits(&Limits { publishes_per_s_max: 100, ..Limits::default() });
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("x", 0)]);
    publish_all(&mut world, from, 100);
    assert_eq!(world.paused_ms(from), 0, "a second's worth may come at once");
    publish_all(&mut world, from, 50);
    assert_eq!(world.paused_ms(from), 500);
    assert_eq!((world.take(to).len(), world.paused_ms(to)), (150, 0));
    world.pass_ms(500);
    assert_eq!(world.paused_ms(from), 0);
    world.send(from, &Packet::PingReq);
    world.expect(from, &["pingresp"]);
    assert_eq!(world.paused_ms(from), 0, "only PUBLISH counts");
    publish_all(&mut world, from, 1);
    assert_eq!(world.paused_ms(from), 10);
}

#[test]
fn k13_publishes_are_counted_in_bytes_as_well() {
    let mut world = World::with_limits(&Limits { publish_bytes_per_s_max: 1_000, ..Limits::default() });
    let clients = [world.connect(&v5("five")), world.connect(&v311("old"))];
    for client in clients {
        world.publish(client, message("x", &"m".repeat(1_990)));
        let ms = world.paused_ms(client);
        assert!((990..1_000).contains(&ms), "{ms}: as many bytes above a second's worth");
    }
    let quiet = world.connect(&v5("quiet"));
    publish_all(&mut world, quiet, 100);
    assert_eq!(world.paused_ms(quiet), 0);
}

#[test]
fn k13_above_the_hard_limit_a_client_is_ended_with_0x96() {
    let mut world = World::with_limits(&Limits { publishes_per_s_hard_max: 100, ..Limits::default() });
    for (hello, told) in [(v5("five"), "disconnect 96"), (v311("old"), "closed")] {
        let (from, to) = (world.connect(&hello), world.connect(&v5("to")));
        world.subscribe(to, &[("x", 0)]);
        publish_all(&mut world, from, 100);
        world.expect(from, &[]);
        publish_all(&mut world, from, 10);
        assert_eq!((world.take(from)[0].as_str(), world.take(to).len()), (told, 100));
    }
    let bytes = Limits { publish_bytes_per_s_hard_max: 1_000, ..Limits::default() };
    let mut world = World::with_limits(&bytes);
    let from = world.connect(&v5("from"));
    world.publish(from, Publish { delivery: qos1(1), ..message("x", &"m".repeat(1_000)) });
    world.expect(from, &["disconnect 96", "closed"]);
}

#[test]
fn k13_between_the_limits_a_client_is_only_read_later() {
    let limits = Limits { publishes_per_s_max: 10, publishes_per_s_hard_max: 100, ..Limits::default() };
    let mut world = World::with_limits(&limits);
    let from = world.connect(&v5("from"));
    for _ in 0..20 {
        publish_all(&mut world, from, 50);
        let ms = world.paused_ms(from);
        assert!((4_000..=5_000).contains(&ms), "{ms}");
        world.pass_ms(ms);
    }
    world.expect(from, &[]);
}

#[test]
fn k13_a_client_that_is_not_read_is_not_taken_for_silent() {
    let mut world = World::with_limits(&Limits { publishes_per_s_max: 1, ..Limits::default() });
    let from = world.connect(&Hello { keep_alive_s: 10, ..v5("from") });
    publish_all(&mut world, from, 101);
    assert_eq!(world.paused_ms(from), 100_000);
    world.pass_ms(100_000 + 14_999);
    world.expect(from, &[]);
    world.pass_ms(1);
    world.expect(from, &["disconnect 8d", "closed"]);
}

#[test]
fn without_a_rate_nobody_is_paused() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    publish_all(&mut world, from, 10_000);
    world.expect(from, &[]);
    assert_eq!(world.paused_ms(from), 0);
}

#[test]
fn k05_a_slow_reader_never_pauses_a_publisher() {
    let limits = Limits { outbox_bytes_max: 1_000, queue_messages_max: 10, ..Limits::default() };
    let mut world = World::with_limits(&limits);
    let (from, slow) = (world.connect(&v5("from")), world.connect(&v5("slow")));
    world.subscribe(slow, &[("x", 1)]);
    for value in 1..=1_000 {
        world.publish(from, Publish { delivery: qos1(value), ..message("x", &"m".repeat(100)) });
        world.expect(from, &[&format!("puback {value} 00")]);
    }
    assert_eq!(world.paused_ms(from), 0);
    let counters = world.counters();
    assert_eq!(counters.routed, 1_000);
    assert_eq!((counters.sent + counters.queued + counters.dropped, counters.queued), (1_000, 10));
}

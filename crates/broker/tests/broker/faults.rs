//! Faults other brokers had: state that grows, readers that do not read, depth bombs.

use std::cell::RefCell;
use std::rc::Rc;

use motte_audit::{CloseCause, EventKind};
use motte_broker::Limits;
use mqtt::{Packet, Publish};

use crate::kit::*;

#[test]
fn k04_qos_2_state_is_bounded_and_repeating_an_identifier_adds_nothing() {
    let mut world = World::with_limits(&Limits { receive_maximum: 10, ..Limits::default() });
    let (from, to) = (world.connect(&lasting("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("x", 0)]);
    for _ in 0..1_000 {
        world.publish(from, Publish { delivery: qos2(1), ..message("x", "m") });
    }
    assert_eq!((world.take(from).len(), world.take(to).len()), (1_000, 1));
    let mut from = from;
    let mut accepted = 1;
    for round in 0..5 {
        for value in 2..=20 {
            world.publish(from, Publish { delivery: qos2(round * 100 + value), ..message("x", "m") });
        }
        let shown = world.take(from);
        accepted += shown.iter().filter(|line| line.starts_with("pubrec")).count();
        assert_eq!(shown[shown.len() - 2..], ["disconnect 93", "closed"]);
        from = world.connect(&lasting("from"));
    }
    assert_eq!(accepted, 10, "identifiers of an earlier connection still count");
}

#[test]
fn k05_a_slow_reader_is_bounded_counted_and_harms_nobody() {
    let limits = Limits { outbox_bytes_max: 10_000, queue_messages_max: 50, inflight_max: 1_000, ..Limits::default() };
    let mut world = World::with_limits(&limits);
    let from = world.connect(&v5("from"));
    let (slow, bystander) = (world.connect(&v5("slow")), world.connect(&v5("bystander")));
    for client in [slow, bystander] {
        world.subscribe(client, &[("zero", 0), ("one", 1)]);
    }
    world.events();
    let payload = "p".repeat(100);
    let mut acknowledged = 0;
    for n in 0..1_000_u16 {
        world.publish(from, message("zero", &payload));
        world.publish(from, Publish { delivery: qos1(n + 1), ..message("one", &payload) });
        world.take(from);
        for line in world.take(bystander) {
            if let Some((_, value)) = line.rsplit_once('#') {
                world.puback(bystander, value.parse().unwrap());
                acknowledged += 1;
            }
        }
    }
    assert_eq!(acknowledged, 1_000);
    assert!(world.unread_bytes(slow) < 10_200, "{}", world.unread_bytes(slow));
    let counters = world.counters();
    assert_eq!((counters.routed, counters.queued), (4_000, 50));
    assert_eq!(counters.sent + counters.queued + counters.dropped, 4_000);
    assert_eq!(world.events(), [EventKind::Dropped { messages: 1 }], "one event a burst");
    world.take(slow);
    let dropped = counters.dropped;
    assert_eq!(world.events(), [EventKind::Dropped { messages: dropped - 1 }]);
    assert_eq!(world.counters().queued, 0);
}

#[test]
fn k05_a_client_that_never_reads_its_answers_is_ended() {
    let mut world =
        World::with_limits(&Limits { outbox_bytes_max: 1_000, packet_size_bytes_max: 100, ..Limits::default() });
    let client = world.connect(&v5("c"));
    world.events();
    world.send_bytes(client, &[0xc0, 0x00].repeat(5_000));
    assert!(world.unread_bytes(client) < 2_200);
    assert!(world.take(client).ends_with(&["disconnect 97".into(), "closed".into()]));
    let cause = CloseCause::SlowReader;
    assert_eq!(world.events(), [EventKind::Closed { cause, detail: Some("answers are not read") }]);
}

#[test]
fn k08_deep_topics_and_filters_are_refused() {
    let mut world = World::new();
    let client = world.connect(&v5("c"));
    let bombs = ["/".repeat(65_535), "+/".repeat(32_767), format!("{}#", "a/".repeat(10_000)), "/".repeat(201)];
    for bomb in &bombs {
        world.subscribe_with(client, None, &[(bomb, options(0))]);
        world.expect(client, &["suback 1 8f"]);
    }
    world.subscribe_with(client, None, &[(&"/".repeat(200), options(0)), (&"+/".repeat(200), options(0))]);
    world.expect(client, &["suback 1 00 00"]);
    world.publish(client, Publish { retain: true, ..message(&"/".repeat(200), "m") });
    world.expect(client, &[&format!("publish {}=m", "/".repeat(200))]);
    world.subscribe_with(client, None, &[("#", options(0))]);
    world.expect(client, &["suback 1 00", &format!("publish {}=m retain", "/".repeat(200))]);
    world.publish(client, message(&"/".repeat(65_535), "m"));
    world.expect(client, &["disconnect 90", "closed"]);
}

#[test]
fn k09_subscriptions_are_bounded() {
    let mut world = World::with_limits(&Limits { subscriptions_max: 10, ..Limits::default() });
    let client = world.connect(&v5("c"));
    let names: Vec<_> = (0..20_000).map(|n| format!("t/{n}")).collect();
    let filters: Vec<_> = names.iter().map(|name| (name.as_str(), options(0))).collect();
    world.subscribe_with(client, None, &filters);
    let shown = world.take(client);
    assert_eq!(shown[0].matches(" 00").count(), 10);
    assert_eq!(shown[0].matches(" 97").count(), 19_990);
    world.disconnect(client, mqtt::ReasonCode::Success);
    let other = world.connect(&v5("other"));
    world.publish(other, Publish { delivery: qos1(1), ..message("t/3", "m") });
    world.expect(other, &["puback 1 10"]);
}

#[test]
fn k44_random_bytes_never_panic_and_touch_nobody_else() {
    let mut world = World::new();
    let bystander = world.connect(&v5("bystander"));
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..3_000_u32 {
        let hello = if round % 2 == 0 { v5("fuzz") } else { v311("fuzz") };
        let client = world.connect(&hello);
        for _ in 0..4 {
            let kind = u8::try_from(next() % 256).unwrap();
            let len = u8::try_from(next() % 24).unwrap();
            let mut bytes = vec![kind, len];
            bytes.extend((0..len).map(|_| [0, 1, 2, 3, b'a', b'/', b'#', 0xff][usize::try_from(next() % 8).unwrap()]));
            world.send_bytes(client, &bytes);
        }
        world.take(client);
    }
    world.send(bystander, &Packet::PingReq);
    world.expect(bystander, &["pingresp"]);
}

#[test]
fn k41_a_subscription_made_while_a_retained_message_is_put_does_not_miss_it() {
    let mut world = World::with(2, OPEN, &Limits::default());
    let on_shard = |world: &World, at: u16| {
        (0..).map(|n| format!("c{n}")).find(|id| world.shared.home(id).0 == at).expect("both shards have ids")
    };
    let (publisher, subscriber) = (on_shard(&world, 0), on_shard(&world, 1));
    let (from, to) = (world.connect(&v5(&publisher)), world.connect(&lasting(&subscriber)));
    world.publish(from, Publish { retain: true, ..message("x", "old") });
    let bytes = |packet: &Packet<'_>| {
        let mut bytes = Vec::new();
        mqtt::Encoder::new(V5, u32::MAX).encode(packet, &mut bytes).unwrap();
        bytes
    };
    let filters = [("x", options(1))];
    let filters = mqtt::SubscribeFilters::from_slice(&filters);
    let subscribe = mqtt::Subscribe { id: id(1), subscription_id: None, user: mqtt::UserProperties::EMPTY, filters };
    let subscribe = bytes(&Packet::Subscribe(subscribe));
    let publish = Publish { retain: true, delivery: qos1(1), ..message("x", "new") };
    let publish = bytes(&Packet::Publish(publish));
    // The other shard handles the SUBSCRIBE between the look-up of the route and the store of the message.
    let other = Rc::new(RefCell::new((world.shards.pop().unwrap(), world.sinks.pop().unwrap())));
    let (theirs, now) = (Rc::clone(&other), world.now);
    world.shards[0].journal_mut().meanwhile = Meanwhile(Some(Box::new(move || {
        let (shard, sink) = &mut *theirs.borrow_mut();
        shard.on_bytes(to.link, &subscribe, now, sink);
    })));
    world.shards[0].on_bytes(from.link, &publish, now, &mut world.sinks[0]);
    let (shard, sink) = Rc::into_inner(other).unwrap().into_inner();
    world.shards.push(shard);
    world.sinks.push(sink);
    world.settle();
    let shown = world.take(to);
    assert!(shown.last().unwrap().contains("new"), "{shown:?}");
    // Acknowledged, it is kept for who subscribed meanwhile as well.
    let owed = format!("published x to [{subscriber}@1]");
    assert_eq!(world.shards[0].journal().records.last(), Some(&owed));
}

//! Full queues: publishers are refused, or the oldest goes, by the policy of the operator.

use motte_audit::EventKind;
use motte_broker::{Limits, QueuePolicy};
use mqtt::{Packet, Publish, ReasonCode};

use crate::kit::*;

fn publish(world: &mut World, from: Client, delivery: mqtt::Delivery, payload: &str) -> Vec<String> {
    world.publish(from, Publish { delivery, ..message("x", payload) });
    world.take(from)
}

/// A publisher, and a session that waits for `x` without a connection.
fn absent(world: &mut World) -> Client {
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("x", 2)]);
    world.lose(to);
    world.events();
    from
}

/// A world in memory and one that reads back, over two shards.
fn worlds(limits: &Limits) -> [World; 2] {
    [World::with(2, OPEN, limits), World::reading_back(2, OPEN, limits)]
}

#[test]
fn a_publisher_is_refused_while_the_queue_of_a_lasting_session_is_full() {
    for mut world in worlds(&Limits { queue_messages_max: 2, ..Limits::default() }) {
        let from = absent(&mut world);
        let reader = world.connect(&v5("reader"));
        world.subscribe(reader, &[("x", 0)]);
        world.events();
        assert_eq!(publish(&mut world, from, qos1(1), "1"), ["puback 1 00"]);
        assert_eq!(publish(&mut world, from, qos2(2), "2"), ["pubrec 2 00"]);
        assert_eq!(world.events(), [EventKind::QueueFull { messages: 2 }], "it is reported when it becomes so");
        assert_eq!(publish(&mut world, from, qos1(3), "3"), ["puback 3 97"]);
        assert_eq!(publish(&mut world, from, qos2(4), "4"), ["pubrec 4 97"]);
        assert!(publish(&mut world, from, mqtt::Delivery::AtMostOnce, "5").is_empty());
        assert!(world.events().is_empty());
        world.expect(reader, &["publish x=1", "publish x=2", "publish x=5"]);
        let counters = world.counters();
        assert_eq!((counters.refused, counters.queued), (2, 2));
        // The refused identifier is free again, and what was refused can come once there is room.
        let to = world.admit(&lasting("to"));
        world.expect(to, &["connack 00 present", "publish x=1 q1 #1", "publish x=2 q2 #2"]);
        assert_eq!(publish(&mut world, from, qos2(4), "4"), ["pubrec 4 00"]);
        world.expect(to, &["publish x=4 q2 #3"]);
    }
}

#[test]
fn a_3x_publisher_is_not_answered_and_its_identifier_not_remembered_while_a_queue_is_full() {
    for mut world in worlds(&Limits { queue_messages_max: 1, ..Limits::default() }) {
        let from = absent(&mut world);
        let old = world.connect(&v311("old"));
        publish(&mut world, from, qos1(1), "1");
        assert!(publish(&mut world, old, qos1(1), "2").is_empty());
        assert!(publish(&mut world, old, qos2(2), "3").is_empty());
        world.send(old, &Packet::PingReq);
        world.expect(old, &["pingresp"]);
        let to = world.connect(&lasting("to"));
        // Repeated, it is a new message.
        world.publish(
            old,
            Publish { delivery: mqtt::Delivery::ExactlyOnce { id: id(2), dup: true }, ..message("x", "3") },
        );
        world.expect(old, &["pubrec 2 00"]);
        assert_eq!(world.take(to).last().unwrap(), "publish x=3 q2 #2");
    }
}

#[test]
fn a_refused_message_is_not_retained_either() {
    for mut world in worlds(&Limits { queue_messages_max: 1, ..Limits::default() }) {
        let from = absent(&mut world);
        publish(&mut world, from, qos1(1), "1");
        world.publish(from, Publish { delivery: qos1(2), retain: true, ..message("x", "2") });
        world.expect(from, &["puback 2 97"]);
        let reader = world.connect(&v5("reader"));
        world.subscribe(reader, &[("x", 0)]);
        world.expect(reader, &[]);
    }
}

#[test]
fn what_is_under_way_when_a_queue_becomes_full_is_still_taken() {
    for mut world in worlds(&Limits { queue_messages_max: 1, ..Limits::default() }) {
        // The publisher lives on one shard and the session on the other.
        let names: Vec<_> = (0..20).map(|n| format!("c{n}")).collect();
        let to_name = names.iter().find(|name| world.shared.home(name).0 == 0).unwrap();
        let from_name = names.iter().find(|name| world.shared.home(name).0 == 1).unwrap();
        let to = world.connect(&lasting(to_name));
        world.subscribe(to, &[("x", 1)]);
        world.lose(to);
        let from = world.connect(&v5(from_name));
        world.letters_wait = true;
        for value in 1..=3 {
            assert_eq!(publish(&mut world, from, qos1(value), &value.to_string()), [format!("puback {value} 00")]);
        }
        world.letters_wait = false;
        world.settle();
        assert_eq!(publish(&mut world, from, qos1(4), "4"), ["puback 4 97"]);
        assert_eq!((world.counters().queued, world.counters().dropped), (3, 0));
        let to = world.admit(&lasting(to_name));
        let expected = ["connack 00 present", "publish x=1 q1 #1", "publish x=2 q1 #2", "publish x=3 q1 #3"];
        world.expect(to, &expected);
    }
}

#[test]
fn wills_are_never_refused() {
    for mut world in worlds(&Limits { queue_messages_max: 1, ..Limits::default() }) {
        let from = absent(&mut world);
        publish(&mut world, from, qos1(1), "1");
        let will = mqtt::Will { qos: mqtt::Qos::AtLeastOnce, ..will("x") };
        let going = world.connect(&Hello { will: Some(will), ..v5("going") });
        world.lose(going);
        let to = world.admit(&lasting("to"));
        world.expect(to, &["connack 00 present", "publish x=1 q1 #1", "publish x=gone q1 #2"]);
    }
}

#[test]
fn bytes_fill_a_queue_as_well() {
    // Each of the messages weighs 100 bytes.
    for mut world in worlds(&Limits { queue_bytes_max: 250, ..Limits::default() }) {
        let from = absent(&mut world);
        let payload = "p".repeat(98);
        let answers: Vec<_> = (1..=5).flat_map(|value| publish(&mut world, from, qos1(value), &payload)).collect();
        assert_eq!(answers, ["puback 1 00", "puback 2 00", "puback 3 00", "puback 4 97", "puback 5 97"]);
        assert_eq!((world.counters().queued, world.counters().refused), (3, 2));
    }
}

#[test]
fn memory_bounds_what_waits_only_where_it_cannot_be_read_back() {
    let limits = Limits { queue_memory_bytes_max: 4_096, ..Limits::default() };
    for (mut world, queued) in worlds(&limits).into_iter().zip([16, 30]) {
        let from = absent(&mut world);
        for value in 1..=30 {
            publish(&mut world, from, qos1(value), "m");
        }
        let counters = world.counters();
        assert_eq!((counters.queued, counters.refused + queued), (queued, 30));
    }
}

#[test]
fn the_oldest_makes_room_where_the_operator_says_so() {
    let limits = Limits { queue_messages_max: 2, queue_policy: QueuePolicy::DropOldest, ..Limits::default() };
    for mut world in worlds(&limits) {
        let from = absent(&mut world);
        for value in 1..=5 {
            assert_eq!(publish(&mut world, from, qos1(value), &value.to_string()), [format!("puback {value} 00")]);
        }
        assert_eq!(world.events(), [EventKind::Dropped { messages: 1 }], "once for all of them");
        let counters = world.counters();
        assert_eq!((counters.queued, counters.dropped, counters.refused), (2, 3, 0));
        let to = world.admit(&lasting("to"));
        world.expect(to, &["connack 00 present", "publish x=4 q1 #1", "publish x=5 q1 #2"]);
        assert!(world.events().contains(&EventKind::Dropped { messages: 2 }));
    }
}

#[test]
fn what_was_dropped_is_reported_in_full_when_the_session_ends() {
    let limits = Limits { queue_messages_max: 2, queue_policy: QueuePolicy::DropOldest, ..Limits::default() };
    for mut world in worlds(&limits) {
        let from = absent(&mut world);
        for value in 1..=5 {
            publish(&mut world, from, qos1(value), "m");
        }
        world.events();
        world.connect(&v5("to"));
        let dropped = EventKind::Dropped { messages: 2 };
        assert_eq!(world.events().iter().filter(|&event| *event == dropped).count(), 1, "one was reported at once");
    }
}

#[test]
fn a_session_that_ends_with_its_connection_drops_the_newest_and_refuses_nobody() {
    let mut world = World::with_limits(&Limits { queue_messages_max: 2, inflight_max: 1, ..Limits::default() });
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("x", 1)]);
    world.events();
    for value in 1..=5 {
        assert_eq!(publish(&mut world, from, qos1(value), &value.to_string()), [format!("puback {value} 00")]);
    }
    assert_eq!(world.events(), [EventKind::Dropped { messages: 1 }]);
    assert_eq!((world.counters().queued, world.counters().dropped), (2, 2));
    world.expect(to, &["publish x=1 q1 #1"]);
    world.puback(to, 1);
    world.expect(to, &["publish x=2 q1 #2"]);
}

#[test]
fn a_group_is_full_when_all_its_members_are() {
    for mut world in worlds(&Limits { queue_messages_max: 2, ..Limits::default() }) {
        let from = world.connect(&v5("from"));
        for name in ["one", "two", "three"] {
            let client = world.connect(&lasting(name));
            world.subscribe(client, &[("$share/g/x", 1), (name, 1)]);
            world.lose(client);
        }
        // One of them is full for another reason and is passed over.
        for value in 1..=3 {
            world.publish(from, Publish { delivery: qos1(value), ..message("one", "own") });
        }
        world.expect(from, &["puback 1 00", "puback 2 00", "puback 3 97"]);
        let answers: Vec<_> = (1..=6).flat_map(|value| publish(&mut world, from, qos1(value), "m")).collect();
        assert_eq!(answers[..4], ["puback 1 00", "puback 2 00", "puback 3 00", "puback 4 00"]);
        assert_eq!(answers[4..], ["puback 5 97", "puback 6 97"]);
        assert_eq!((world.counters().queued, world.counters().dropped), (6, 0));
    }
}

#[test]
fn messages_that_wait_for_too_long_are_dropped_and_counted_by_and_by() {
    for mut world in worlds(&Limits { queue_age_s_max: 100, ..Limits::default() }) {
        let from = absent(&mut world);
        publish(&mut world, from, qos1(1), "old");
        world.pass_ms(70_000);
        publish(&mut world, from, qos1(2), "new");
        world.pass_ms(30_000);
        // Whoever comes is not given it, though nobody has looked yet.
        let to = world.admit(&lasting("to"));
        world.expect(to, &["connack 00 present", "publish x=new q1 #1"]);
        assert_eq!((world.counters().queued, world.counters().dropped), (0, 1));
        world.lose(to);
        publish(&mut world, from, qos1(3), "never");
        world.pass_ms(161_000);
        assert_eq!((world.counters().queued, world.counters().dropped), (0, 2), "nobody came");
    }
}

#[test]
fn age_makes_room_in_a_full_queue() {
    for mut world in worlds(&Limits { queue_age_s_max: 10, queue_messages_max: 1, ..Limits::default() }) {
        let from = absent(&mut world);
        publish(&mut world, from, qos1(1), "old");
        assert_eq!(publish(&mut world, from, qos1(2), "new"), ["puback 2 97"]);
        world.pass_ms(10_000);
        assert_eq!(publish(&mut world, from, qos1(2), "new"), ["puback 2 00"]);
        assert_eq!((world.counters().queued, world.counters().dropped), (1, 1));
        world.disconnect(from, ReasonCode::Success);
    }
}

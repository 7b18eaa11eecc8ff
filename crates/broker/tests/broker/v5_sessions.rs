//! MQTT 5.0, sections 3.14, 4.4 and 4.5: what a session keeps, for how long, and what its end brings about.

use motte_audit::EventKind;
use motte_broker::Limits;
use mqtt::{Ack, Disconnect, Packet, Publish, ReasonCode, Will};

use crate::kit::*;

fn leave(world: &mut World, client: Client, reason: ReasonCode, expiry_s: Option<u32>) {
    let goodbye = Disconnect { session_expiry_s: expiry_s, ..Disconnect::new(reason) };
    world.send(client, &Packet::Disconnect(goodbye));
}

/// A world in which nobody is disconnected for being silent.
fn patient_world(session_expiry_s_max: u32) -> World {
    World::with_limits(&Limits { keep_alive_s_max: 0, session_expiry_s_max, ..Limits::default() })
}

fn silent(client_id: &str) -> Hello<'_> {
    Hello { keep_alive_s: 0, ..lasting(client_id) }
}

#[test]
fn v5_4_4_0_1_nothing_is_sent_again_while_the_connection_stands() {
    let mut world = patient_world(1_000_000);
    let (from, to) = (world.connect(&silent("from")), world.connect(&silent("to")));
    world.subscribe(to, &[("x", 2)]);
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "1") });
    world.publish(from, Publish { delivery: qos2(2), ..message("x", "2") });
    world.publish(from, Publish { delivery: qos2(3), ..message("x", "3") });
    assert_eq!(world.take(to).len(), 3);
    world.pubrec(to, 3);
    world.expect(to, &["pubrel 3 00"]);
    for _ in 0..5 {
        world.pass_ms(3_600_000);
        world.send(to, &Packet::PingReq);
        world.subscribe_with(to, None, &[("y", options(0))]);
        world.publish(from, message("x", "live"));
        world.expect(to, &["pingresp", "suback 1 00", "publish x=live"]);
    }
    world.lose(to);
    let to = world.admit(&silent("to"));
    let again = ["connack 00 present", "publish x=1 q1 #1 dup", "publish x=2 q2 #2 dup", "pubrel 3 00"];
    world.expect(to, &again);
}

#[test]
fn v5_4_4_0_1_nothing_is_sent_again_to_a_clean_start() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&lasting("to")));
    world.subscribe(to, &[("x", 2)]);
    world.publish(from, Publish { delivery: qos2(1), ..message("x", "1") });
    world.publish(from, Publish { delivery: qos2(2), ..message("x", "2") });
    world.take(to);
    world.pubrec(to, 2);
    world.take(to);
    let to = world.admit(&Hello { clean_start: true, ..lasting("to") });
    world.expect(to, &["connack 00"]);
    // Nor does the session before last come back.
    world.lose(to);
    let to = world.admit(&lasting("to"));
    world.expect(to, &["connack 00 present"]);
}

#[test]
fn v5_4_4_0_2_what_a_client_refused_is_never_sent_again() {
    for code in [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99] {
        let mut world = World::new();
        let (from, to) = (world.connect(&v5("from")), world.connect(&lasting("to")));
        world.subscribe(to, &[("x", 2)]);
        world.publish(from, Publish { delivery: qos1(1), ..message("x", "1") });
        world.publish(from, Publish { delivery: qos2(2), ..message("x", "2") });
        world.publish(from, Publish { delivery: qos1(3), ..message("x", "3") });
        world.take(to);
        world.send_bytes(to, &[0x40, 3, 0, 1, code]);
        world.send_bytes(to, &[0x50, 3, 0, 2, code]);
        world.lose(to);
        let to = world.admit(&lasting("to"));
        world.expect(to, &["connack 00 present", "publish x=3 q1 #3 dup"]);
    }
}

#[test]
fn v5_4_5_0_1_a_message_goes_to_every_session_that_matches_and_to_no_other() {
    let mut world = World::with(3, OPEN, &Limits::default());
    let from = world.connect(&v5("from"));
    let names: Vec<String> = (0..12).map(|n| format!("s{n}")).collect();
    let mut sessions = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let client = world.connect(&lasting(name));
        let filter = ["a/b", "a/+", "a/#", "b"][n % 4];
        world.subscribe(client, &[(filter, 1)]);
        if n % 2 == 1 || n > 8 {
            world.lose(client);
        }
        sessions.push(client);
    }
    world.publish(from, Publish { delivery: qos1(1), ..message("a/b", "m") });
    for (n, name) in names.iter().enumerate() {
        let shown = if n % 2 == 1 || n > 8 {
            let client = world.admit(&lasting(name));
            world.take(client).split_off(1)
        } else {
            world.take(sessions[n])
        };
        let expected: &[&str] = if n % 4 == 3 { &[] } else { &["publish a/b=m q1 #1"] };
        assert_eq!(shown, expected, "{name}");
    }
    assert_eq!(world.counters().routed, 9);
}

#[test]
fn v5_3_8_4_8_every_pair_of_published_and_granted_qos() {
    for published in 0..=2_u8 {
        for granted in 0..=2_u8 {
            let mut world = World::new();
            let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
            world.subscribe(to, &[("x", granted)]);
            let delivery = [mqtt::Delivery::AtMostOnce, qos1(1), qos2(1)][usize::from(published)];
            world.publish(from, Publish { delivery, retain: true, ..message("x", "m") });
            let lower = ["publish x=m", "publish x=m q1 #1", "publish x=m q2 #1"];
            world.expect(to, &[lower[usize::from(published.min(granted))]]);
            // The same holds for what is retained.
            let later = world.connect(&v5("later"));
            world.subscribe_with(later, None, &[("x", options(granted))]);
            let shown = world.take(later);
            assert_eq!(shown[1], format!("{} retain", lower[usize::from(published.min(granted))]));
        }
    }
}

#[test]
fn v5_4_1_0_2_the_session_ends_as_long_after_the_connection_as_it_was_told() {
    let day_ms = 24 * 3_600_000;
    // Asked for, the greatest that is allowed, how long it lasts; `None` for ever.
    let cases = [
        (None, u32::MAX, Some(0)),
        (Some(0), u32::MAX, Some(0)),
        (Some(10), u32::MAX, Some(10_000)),
        (Some(500), 60, Some(60_000)),
        (Some(u32::MAX), 60, Some(60_000)),
        (Some(u32::MAX), u32::MAX, None),
    ];
    for (session_expiry_s, session_expiry_s_max, lasts_ms) in cases {
        let mut world = patient_world(session_expiry_s_max);
        let client = world.connect(&Hello { session_expiry_s, ..silent("c") });
        // The time counts from the end of the connection, not from its beginning.
        world.pass_ms(100 * day_ms);
        world.lose(client);
        match lasts_ms {
            Some(0) => {}
            Some(lasts_ms) => {
                world.pass_ms(lasts_ms - 1);
                assert_eq!(world.counters().sessions, 1, "{session_expiry_s:?}");
                world.pass_ms(1);
            }
            None => world.pass_ms(200 * 365 * day_ms),
        }
        assert_eq!(world.counters().sessions, u64::from(lasts_ms.is_none()), "{session_expiry_s:?}");
        let client = world.admit(&Hello { session_expiry_s, ..silent("c") });
        assert_eq!(world.take(client)[0].contains("present"), lasts_ms.is_none());
    }
}

#[test]
fn v5_4_1_0_2_a_reconnect_stops_the_clock_and_sets_it_anew() {
    let mut world = patient_world(1_000_000);
    let hello = |session_expiry_s| Hello { session_expiry_s: Some(session_expiry_s), ..silent("c") };
    let client = world.connect(&hello(10));
    world.lose(client);
    world.pass_ms(9_999);
    let client = world.admit(&hello(20));
    world.expect(client, &["connack 00 present"]);
    world.pass_ms(100_000);
    world.lose(client);
    world.pass_ms(19_999);
    assert_eq!(world.counters().sessions, 1);
    world.pass_ms(1);
    assert_eq!(world.counters().sessions, 0);
}

#[test]
fn v5_3_14_2_2_the_expiry_of_a_disconnect_is_bounded_like_that_of_a_connect() {
    let mut world = World::with_limits(&Limits { session_expiry_s_max: 60, ..Limits::default() });
    let client = world.connect(&Hello { session_expiry_s: Some(1), ..v5("c") });
    leave(&mut world, client, ReasonCode::Success, Some(u32::MAX));
    world.pass_ms(59_999);
    assert_eq!(world.counters().sessions, 1);
    world.pass_ms(1);
    assert_eq!(world.counters().sessions, 0);
}

#[test]
fn v5_3_14_4_3_a_disconnect_that_breaks_the_protocol_takes_no_will_back() {
    let mut world = World::new();
    let watcher = world.connect(&v5("watcher"));
    world.subscribe(watcher, &[("alarm", 0)]);
    let client = world.connect(&Hello { will: Some(will("alarm")), ..v5("c") });
    leave(&mut world, client, ReasonCode::Success, Some(5));
    world.expect(client, &["disconnect 82", "closed"]);
    world.expect(watcher, &["publish alarm=gone"]);
    assert_eq!(world.counters().sessions, 1, "the session that was to end has ended");
}

#[test]
fn a_delayed_will_is_due_at_the_end_that_a_disconnect_sets() {
    // Expiry of CONNECT, of DISCONNECT, delay, when the will comes.
    let cases = [
        (100, Some(10), 50, 10_000),
        (100, Some(0), 50, 0),
        (10, Some(100), 50, 50_000),
        (100, None, 50, 50_000),
        (50, None, 50, 50_000),
        (100, Some(200), 0, 0),
    ];
    for (expiry_s, changed_s, delay_s, comes_ms) in cases {
        let mut world = World::new();
        let watcher = world.connect(&v5("watcher"));
        world.subscribe(watcher, &[("alarm", 0)]);
        let delayed = Will { delay_s, ..will("alarm") };
        let hello = Hello { session_expiry_s: Some(expiry_s), will: Some(delayed), ..v5("c") };
        let client = world.connect(&hello);
        leave(&mut world, client, ReasonCode::DisconnectWithWill, changed_s);
        if comes_ms > 0 {
            world.pass_ms(comes_ms - 1);
            world.expect(watcher, &[]);
            world.pass_ms(1);
        }
        world.expect(watcher, &["publish alarm=gone"]);
        world.pass_ms(1_000_000);
        world.expect(watcher, &[]);
    }
}

#[test]
fn an_empty_retained_will_clears_the_topic_and_is_delivered() {
    let mut world = World::new();
    let watcher = world.connect(&v5("watcher"));
    world.publish(watcher, Publish { retain: true, ..message("state", "online") });
    world.subscribe_with(watcher, None, &[("state", options(0))]);
    world.expect(watcher, &["suback 1 00", "publish state=online retain"]);
    let empty = Will { topic: "state", payload: b"", retain: true, ..will("state") };
    let client = world.connect(&Hello { will: Some(empty), ..v5("c") });
    world.lose(client);
    world.expect(watcher, &["publish state="]);
    assert_eq!(world.shared.retained_totals(), (0, 0));
}

#[test]
fn a_takeover_publishes_the_will_of_the_old_connection_and_keeps_that_of_the_new() {
    let mut world = World::new();
    let watcher = world.connect(&v5("watcher"));
    world.subscribe(watcher, &[("alarm", 1)]);
    let with = |payload: &'static [u8]| Will { payload, ..will("alarm") };
    let first = world.connect(&Hello { will: Some(with(b"first")), ..lasting("c") });
    let second = world.admit(&Hello { will: Some(with(b"second")), ..lasting("c") });
    world.expect(first, &["disconnect 8e", "closed"]);
    world.expect(second, &["connack 00 present"]);
    world.expect(watcher, &["publish alarm=first"]);
    // What the old connection still has on its way reaches nobody.
    world.publish(first, message("alarm", "late"));
    world.expect(watcher, &[]);
    world.lose(second);
    world.expect(watcher, &["publish alarm=second"]);
}

#[test]
fn flipping_between_clean_and_lasting_sessions_leaves_nothing_behind() {
    let mut world = World::with(2, OPEN, &Limits::default());
    let from = world.connect(&v5("from"));
    for round in 0..20 {
        let client = world.connect(&Hello { clean_start: round % 2 == 0, ..lasting("c") });
        world.subscribe(client, &[("x", 2), ("$share/g/x", 1), ("+/y", 1)]);
        world.publish(from, Publish { delivery: qos1(1), ..message("x", "m") });
        world.take(client);
        if round % 3 == 0 {
            world.puback(client, 1);
        }
        world.lose(client);
        let brief = world.connect(&v5("c"));
        world.subscribe(brief, &[("x", 1)]);
        world.publish(from, Publish { delivery: qos1(1), ..message("x", "m") });
        world.expect(brief, &["publish x=m q1 #1"]);
        leave(&mut world, brief, ReasonCode::Success, None);
        let counters = world.counters();
        assert_eq!((counters.sessions, counters.links, counters.queued), (1, 1, 0), "round {round}");
        assert!(world.shards.iter().all(|shard| shard.next_timer().is_none_or(|at| at > world.now)));
    }
    world.take(from);
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "m") });
    world.expect(from, &["puback 1 10"]);
}

#[test]
fn an_acknowledgement_with_an_error_from_an_old_connection_means_nothing_to_the_new() {
    let mut world = World::new();
    let (from, old) = (world.connect(&v5("from")), world.connect(&lasting("to")));
    world.subscribe(old, &[("x", 1)]);
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "m") });
    world.take(old);
    let new = world.admit(&lasting("to"));
    world.send(old, &Packet::PubAck(Ack::new(id(1), ReasonCode::NotAuthorized)));
    world.expect(new, &["connack 00 present", "publish x=m q1 #1 dup"]);
    world.lose(new);
    let new = world.admit(&lasting("to"));
    world.expect(new, &["connack 00 present", "publish x=m q1 #1 dup"]);
}

#[test]
fn the_end_of_a_session_is_reported_once_and_by_time_only() {
    let mut world = World::new();
    let client = world.connect(&Hello { session_expiry_s: Some(10), ..v5("c") });
    world.lose(client);
    world.events();
    world.pass_ms(10_000);
    assert_eq!(world.events(), [EventKind::SessionExpired]);
    world.pass_ms(100_000);
    let client = world.connect(&Hello { session_expiry_s: Some(10), ..v5("c") });
    leave(&mut world, client, ReasonCode::Success, Some(0));
    assert!(!world.events().contains(&EventKind::SessionExpired));
}

#[test]
fn v5_3_3_2_5_what_expired_in_a_full_queue_makes_room() {
    let mut world = World::with_limits(&Limits { queue_messages_max: 4, ..Limits::default() });
    let (from, to) = (world.connect(&v5("from")), world.connect(&lasting("to")));
    world.subscribe(to, &[("x", 1)]);
    world.lose(to);
    let publish = |world: &mut World, payload: &str, message_expiry_s| {
        world.publish(from, Publish { delivery: qos1(1), message_expiry_s, ..message("x", payload) });
        (world.counters().queued, world.counters().refused)
    };
    publish(&mut world, "short 1", Some(10));
    publish(&mut world, "kept 1", None);
    publish(&mut world, "short 2", Some(20));
    assert_eq!(publish(&mut world, "kept 2", Some(100)), (4, 0));
    world.pass_ms(9_999);
    assert_eq!(publish(&mut world, "too early", None), (4, 1));
    world.pass_ms(1);
    assert_eq!(publish(&mut world, "kept 3", None), (4, 1), "the first has expired");
    assert_eq!(publish(&mut world, "too early", None), (4, 2));
    world.pass_ms(10_000);
    assert_eq!(publish(&mut world, "kept 4", None), (4, 2), "and the third");
    assert_eq!(world.counters().dropped, 2);
    let to = world.admit(&lasting("to"));
    let kept = ["publish x=kept 1 q1 #1", "publish x=kept 2 q1 #2 expiry=80", "publish x=kept 3 q1 #3"];
    world.expect(to, &[&["connack 00 present"], &kept[..], &["publish x=kept 4 q1 #4"]].concat());
}

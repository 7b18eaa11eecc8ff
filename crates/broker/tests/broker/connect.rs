//! CONNECT and what becomes of the connection: CONNACK, takeover, keep alive, ownership.

use motte_audit::{CloseCause, EventKind, RefusalReason};
use motte_broker::Limits;
use mqtt::{Packet, Publish, ReasonCode};

use crate::kit::*;

#[test]
fn v5_3_2_2_2_3_session_present_tells_whether_state_existed() {
    let mut world = World::new();
    let first = world.admit(&lasting("c"));
    world.expect(first, &["connack 00"]);
    world.lose(first);
    let second = world.admit(&lasting("c"));
    world.expect(second, &["connack 00 present"]);
    world.lose(second);
    let fresh = world.admit(&Hello { clean_start: true, ..lasting("c") });
    world.expect(fresh, &["connack 00"]);
    assert_eq!((world.counters().sessions, world.counters().links), (1, 1));
}

#[test]
fn v5_3_1_3_7_an_assigned_client_identifier_is_told() {
    let mut world = World::new();
    let client = world.admit(&Hello { assigned: true, ..v5("motte-1") });
    world.expect(client, &["connack 00 id=motte-1"]);
}

#[test]
fn v5_3_2_2_21_limits_are_announced_when_they_differ_from_what_was_asked() {
    let limits = Limits { keep_alive_s_max: 60, session_expiry_s_max: 100, ..Limits::default() };
    let mut world = World::with_limits(&limits);
    let client = world.admit(&Hello { keep_alive_s: 61, session_expiry_s: Some(101), ..v5("a") });
    world.expect(client, &["connack 00 expiry=100 keepalive=60"]);
    let client = world.admit(&Hello { keep_alive_s: 0, session_expiry_s: Some(100), ..v5("b") });
    world.expect(client, &["connack 00 keepalive=60"]);
    let client = world.admit(&Hello { keep_alive_s: 10, session_expiry_s: Some(u32::MAX), ..v5("c") });
    world.expect(client, &["connack 00 expiry=100"]);
}

#[test]
fn v5_3_1_2_22_silence_ends_the_connection_after_one_and_a_half_keep_alives() {
    let mut world = World::new();
    let (quiet, old) = (world.connect(&Hello { keep_alive_s: 10, ..v5("q") }), world.connect(&v311("o")));
    let chatty = world.connect(&Hello { keep_alive_s: 10, ..v311("c") });
    world.pass_ms(14_999);
    world.send(chatty, &Packet::PingReq);
    world.expect(chatty, &["pingresp"]);
    world.expect(quiet, &[]);
    world.pass_ms(1);
    world.expect(quiet, &["disconnect 8d", "closed"]);
    world.pass_ms(14_998);
    world.expect(chatty, &[]);
    world.pass_ms(1);
    world.expect(chatty, &["closed"]);
    world.expect(old, &[]);
}

#[test]
fn r04_a_client_that_is_not_read_is_not_silent() {
    let mut world = World::new();
    let waiting = world.connect(&Hello { keep_alive_s: 10, ..v5("w") });
    world.pass_ms(14_999);
    world.shards[0].on_unread([waiting.link], world.now);
    world.pass_ms(14_999);
    world.expect(waiting, &[]);
    world.pass_ms(1);
    world.expect(waiting, &["disconnect 8d", "closed"]);
}

#[test]
fn v5_3_1_4_3_the_same_identity_takes_its_session_over() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let first = world.connect(&lasting("c"));
    world.subscribe(first, &[("x", 1)]);
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "m") });
    world.expect(first, &["publish x=m q1 #1"]);
    let second = world.admit(&lasting("c"));
    world.expect(first, &["disconnect 8e", "closed"]);
    world.expect(second, &["connack 00 present", "publish x=m q1 #1 dup"]);
    assert_eq!((world.counters().sessions, world.counters().links), (2, 2));
}

#[test]
fn v311_3_1_4_2_a_taken_over_client_is_only_closed() {
    let mut world = World::new();
    let first = world.connect(&v311("c"));
    let second = world.admit(&v311("c"));
    world.expect(first, &["closed"]);
    world.expect(second, &["connack 00"]);
}

#[test]
fn v311_3_1_2_6_a_clean_session_is_not_resumed_by_a_takeover() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let first = world.connect(&v311("c"));
    world.subscribe(first, &[("x", 1)]);
    let second = world.admit(&Hello { clean_start: false, ..v311("c") });
    world.expect(second, &["connack 00"]);
    world.publish(from, message("x", "m"));
    world.expect(second, &[]);
}

#[test]
fn k25_another_identity_gets_0x85_and_the_owner_notices_nothing() {
    for online in [true, false] {
        let mut world = World::new();
        let from = world.connect(&v5("from"));
        let owner = world.connect(&Hello { will: Some(will("alarm")), ..lasting("c") });
        world.subscribe(owner, &[("x", 1)]);
        world.subscribe(from, &[("alarm", 0)]);
        if !online {
            world.disconnect(owner, ReasonCode::Success);
            world.publish(from, Publish { delivery: qos1(1), ..message("x", "mine") });
            world.take(from);
        }
        world.events();
        for thief in [v5("c"), lasting("c"), v311("c")] {
            let thief = world.admit(&Hello { user: "thief", ..thief });
            let code = if thief.version == V5 { "connack 85" } else { "connack 02" };
            let shown = world.take(thief);
            assert!(shown == [code, "closed"] || shown == ["connack 85", "closed"], "{shown:?}");
        }
        let refused = EventKind::Refused { reason: RefusalReason::ClientIdOwnedByAnother };
        assert_eq!(world.events(), [refused.clone(), refused.clone(), refused]);
        world.expect(from, &[]);
        if online {
            world.publish(from, Publish { delivery: qos1(1), ..message("x", "mine") });
            world.expect(owner, &["publish x=mine q1 #1"]);
        } else {
            let owner = world.admit(&lasting("c"));
            world.expect(owner, &["connack 00 present", "publish x=mine q1 #1"]);
        }
    }
}

/// Every version against every other, behind the same mount point and behind another.
fn pairs_of_clients() -> Vec<(Hello<'static>, Hello<'static>)> {
    let users = [("owner", "thief"), ("owner", NOBODY), (NOBODY, "thief")];
    let versions = [V31, V311, V5];
    let mut pairs = Vec::new();
    for (owner, thief) in users {
        for (first, second) in versions.iter().flat_map(|first| versions.map(|second| (*first, second))) {
            for (own, other) in [("", ""), ("", "site/"), ("site/", ""), ("site/", "hall/")] {
                for clean_start in [true, false] {
                    let owner = Hello { user: owner, version: first, mount_point: own, ..lasting("c") };
                    pairs.push((
                        Hello { will: Some(will("alarm")), ..owner },
                        Hello { user: thief, version: second, mount_point: other, clean_start, ..lasting("c") },
                    ));
                }
            }
        }
    }
    pairs
}

#[test]
fn k25_nobody_else_takes_a_session_over_in_any_version_from_any_listener() {
    // Anonymous clients have the right of everybody else here, so nothing but the owner decides.
    let acl = "topic readwrite #\npattern readwrite #\n";
    for (hello, theft) in pairs_of_clients() {
        for online in [true, false] {
            let mut world = World::with(1, acl, &Limits::default());
            let from = world.connect(&v5("from"));
            world.subscribe(from, &[("+/alarm", 0), ("alarm", 0)]);
            let owner = world.connect(&hello);
            world.subscribe(owner, &[("x", 1)]);
            let topic = format!("{}x", hello.mount_point);
            let secret = Publish { delivery: qos1(1), ..message(&topic, "mine") };
            if !online {
                world.disconnect(owner, ReasonCode::Success);
                world.publish(from, secret);
                world.take(from);
            }
            let thief = world.admit(&theft);
            let code = if theft.version == V5 { "connack 85" } else { "connack 02" };
            let shown = world.take(thief);
            assert!(shown == [code, "closed"] || shown == ["connack 85", "closed"], "{theft:?} {shown:?}");
            world.expect(from, &[]);
            let owner = if online {
                world.publish(from, secret);
                owner
            } else {
                world.admit(&hello)
            };
            let shown = world.take(owner);
            assert_eq!(shown.last().map(String::as_str), Some("publish x=mine q1 #1"), "{hello:?} {theft:?}");
            assert_eq!(shown.len(), if online { 1 } else { 2 }, "{shown:?}");
        }
    }
}

#[test]
fn k16_a_second_identity_cannot_make_a_will_fire() {
    let mut world = World::new();
    let watcher = world.connect(&v5("watcher"));
    world.subscribe(watcher, &[("alarm", 0)]);
    let victim = world.connect(&Hello { will: Some(will("alarm")), ..v5("victim") });
    let thief = world.admit(&Hello { user: "thief", ..v5("victim") });
    world.expect(thief, &["connack 85", "closed"]);
    world.expect(watcher, &[]);
    world.expect(victim, &[]);
}

#[test]
fn k12_sessions_are_bounded() {
    let mut world = World::with_limits(&Limits { sessions_max: 1, ..Limits::default() });
    let first = world.connect(&lasting("a"));
    let (new, old) = (world.admit(&v5("b")), world.admit(&v311("b")));
    world.expect(new, &["connack 97", "closed"]);
    assert_eq!(world.take(old).last().unwrap(), "closed");
    world.lose(first);
    let again = world.admit(&lasting("a"));
    world.expect(again, &["connack 00 present"]);
    world.lose(again);
    world.pass_ms(1_000_000);
    assert_eq!(world.counters().sessions, 0);
    world.connect(&v5("b"));
}

#[test]
fn every_end_is_an_event() {
    let mut world = World::new();
    let one = world.connect(&v5("one"));
    let two = world.connect(&v311("two"));
    world.disconnect(one, ReasonCode::Success);
    world.lose(two);
    let closed: Vec<_> = world
        .events()
        .into_iter()
        .filter_map(|event| if let EventKind::Closed { cause, .. } = event { Some(cause) } else { None })
        .collect();
    assert_eq!(closed, [CloseCause::ClientDisconnected, CloseCause::ConnectionLost]);
}

#[test]
fn a_stop_tells_5_0_clients_and_publishes_wills() {
    let mut world = World::new();
    let watcher = world.connect(&v311("watcher"));
    world.subscribe(watcher, &[("alarm", 0)]);
    let client = world.connect(&Hello { will: Some(will("alarm")), ..v5("c") });
    for (shard, sink) in world.shards.iter_mut().zip(&mut world.sinks) {
        shard.stop(world.now, sink);
    }
    world.expect(client, &["disconnect 8b", "closed"]);
    assert_eq!(world.take(watcher).last().unwrap(), "closed");
    assert_eq!(world.counters().links, 0);
}

#[test]
fn an_order_to_disconnect_says_why() {
    let mut world = World::new();
    for (cause, told) in [(CloseCause::Revoked, "disconnect 87"), (CloseCause::Limit, "disconnect 98")] {
        let client = world.connect(&v5("c"));
        world.shards[0].disconnect(client.link, cause, world.now, &mut world.sinks[0]);
        world.expect(client, &[told, "closed"]);
    }
}

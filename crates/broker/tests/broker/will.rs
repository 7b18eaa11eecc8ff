//! Wills: when they are published, when not, and by whose right.

use motte_audit::{CloseCause, Denial, EventKind};
use motte_broker::Limits;
use mqtt::{Packet, Qos, ReasonCode, Will};

use crate::kit::*;

fn watched(world: &mut World) -> Client {
    let watcher = world.connect(&Hello { keep_alive_s: 0, ..v5("watcher") });
    world.subscribe(watcher, &[("alarm", 1)]);
    watcher
}

fn with_will(client_id: &'static str, will: Will<'static>) -> Hello<'static> {
    Hello { will: Some(will), ..lasting(client_id) }
}

#[test]
fn v5_3_1_2_8_the_will_is_published_unless_the_client_leaves_in_order() {
    type End = fn(&mut World, Client);
    let ends: [(End, bool); 7] = [
        (|world, client| world.lose(client), true),
        (|world, client| world.disconnect(client, ReasonCode::Success), false),
        (|world, client| world.disconnect(client, ReasonCode::DisconnectWithWill), true),
        (|world, client| world.disconnect(client, ReasonCode::UnspecifiedError), true),
        (|world, client| world.send_bytes(client, &[0, 0]), true),
        (|world, _| world.pass_ms(5_400_000), true),
        (
            |world, _| {
                world.admit(&lasting("c"));
            },
            true,
        ),
    ];
    for (n, (end, is_published)) in ends.into_iter().enumerate() {
        let mut world = World::with_limits(&Limits { keep_alive_s_max: 0, ..Limits::default() });
        let watcher = watched(&mut world);
        let client = world.connect(&Hello { keep_alive_s: 3_600, ..with_will("c", will("alarm")) });
        end(&mut world, client);
        let shown = world.take(watcher);
        assert_eq!(shown == ["publish alarm=gone"], is_published, "{n}: {shown:?}");
        assert_eq!(shown.is_empty(), !is_published, "{n}: {shown:?}");
    }
}

#[test]
fn v311_3_1_2_10_a_disconnect_takes_the_will_back() {
    let mut world = World::new();
    let watcher = watched(&mut world);
    let client = world.connect(&Hello { will: Some(will("alarm")), ..v311("c") });
    world.disconnect(client, ReasonCode::Success);
    world.expect(client, &["closed"]);
    world.expect(watcher, &[]);
}

#[test]
fn v5_3_1_3_9_a_delayed_will_is_taken_back_by_a_reconnect() {
    let mut world = World::new();
    let watcher = watched(&mut world);
    let delayed = Will { delay_s: 10, qos: Qos::AtLeastOnce, ..will("alarm") };
    let client = world.connect(&with_will("c", delayed));
    world.lose(client);
    world.pass_ms(9_999);
    world.expect(watcher, &[]);
    let client = world.connect(&lasting("c"));
    world.pass_ms(20_000);
    world.expect(watcher, &[]);
    world.lose(client);
    world.expect(watcher, &[]);
    let client = world.connect(&with_will("c", delayed));
    world.lose(client);
    world.pass_ms(10_000);
    world.expect(watcher, &["publish alarm=gone q1 #1"]);
    world.pass_ms(2_000_000);
    world.expect(watcher, &[]);
}

#[test]
fn v5_3_1_2_8_the_end_of_the_session_cuts_the_delay_short() {
    let mut world = World::new();
    let watcher = watched(&mut world);
    let delayed = Will { delay_s: 100, ..will("alarm") };
    let client = world.connect(&Hello { session_expiry_s: Some(10), ..with_will("c", delayed) });
    world.lose(client);
    world.pass_ms(10_000);
    world.expect(watcher, &["publish alarm=gone"]);
    let client = world.connect(&with_will("c", delayed));
    world.lose(client);
    world.expect(watcher, &[]);
    world.connect(&Hello { clean_start: true, ..lasting("c") });
    world.expect(watcher, &["publish alarm=gone"]);
    let client = world.connect(&with_will("c", delayed));
    world.connect(&Hello { clean_start: true, ..lasting("c") });
    world.expect(client, &["disconnect 8e", "closed"]);
    world.expect(watcher, &["publish alarm=gone"]);
    let client = world.connect(&Hello { session_expiry_s: None, ..with_will("d", delayed) });
    world.lose(client);
    world.expect(watcher, &["publish alarm=gone"]);
}

#[test]
fn v5_3_1_2_15_a_will_may_be_retained_and_may_expire() {
    let mut world = World::new();
    let kept = Will { retain: true, message_expiry_s: Some(50), ..will("alarm") };
    let client = world.connect(&Hello { will: Some(kept), ..v5("c") });
    world.lose(client);
    world.pass_ms(20_000);
    let watcher = world.connect(&v5("watcher"));
    world.subscribe_with(watcher, None, &[("alarm", options(1))]);
    world.expect(watcher, &["suback 1 01", "publish alarm=gone retain expiry=30"]);
}

#[test]
fn k15_a_will_is_judged_again_when_it_fires() {
    let mut world = World::new();
    let watcher = watched(&mut world);
    let client = world.connect(&with_will("c", will("alarm")));
    world.change_policy("pattern read #\nuser watcher\ntopic readwrite #\n");
    world.events();
    world.lose(client);
    world.expect(watcher, &[]);
    let denied = EventKind::Denied { what: Denial::Will, topic: "alarm".into() };
    assert!(world.events().contains(&denied));
    assert_eq!(world.counters().denied, 1);
}

#[test]
fn k15_the_will_of_somebody_whose_proof_holds_no_more_is_withheld() {
    let mut world = World::new();
    let watcher = watched(&mut world);
    let here = world.connect(&with_will("here", will("alarm")));
    let away = world.connect(&Hello { will: Some(Will { delay_s: 10, ..will("alarm") }), ..lasting("away") });
    let other = world.connect(&Hello { will: Some(Will { delay_s: 10, ..will("alarm") }), ..lasting("other") });
    world.lose(away);
    world.lose(other);
    world.events();
    world.shards[here.shard].disconnect(here.link, CloseCause::Revoked, world.now, &mut world.sinks[here.shard]);
    world.remove_users(&["here", "away"]);
    let denied = EventKind::Denied { what: Denial::Will, topic: "alarm".into() };
    assert_eq!(world.events().iter().filter(|&event| *event == denied).count(), 2);
    world.expect(watcher, &[]);
    world.pass_ms(10_000);
    world.expect(watcher, &["publish alarm=gone"]);
    assert_eq!(world.counters().denied, 2);
}

#[test]
fn k15_a_will_of_too_many_levels_is_refused_at_connect() {
    let mut world = World::with_limits(&Limits { topic_levels_max: 3, ..Limits::default() });
    let client = world.admit(&with_will("c", will("a/b/c/d")));
    world.expect(client, &["connack 90", "closed"]);
    let old = world.admit(&Hello { will: Some(will("a/b/c/d")), ..v311("o") });
    world.expect(old, &["closed"]);
    assert_eq!(world.counters().sessions, 0);
    let client = world.connect(&v5("c"));
    world.send(client, &Packet::PingReq);
    world.expect(client, &["pingresp"]);
}

#[test]
fn v5_3_1_2_8_a_takeover_publishes_the_will_unless_its_delay_goes_on() {
    for (session_expiry_s, clean_start, delay_s, is_published) in [
        (Some(100), false, 0, true),
        (Some(100), false, 10, false),
        // Delay or not, the session it belongs to is over.
        (Some(100), true, 10, true),
        (None, false, 10, true),
    ] {
        let mut world = World::new();
        let watcher = watched(&mut world);
        let first = Hello { session_expiry_s, ..with_will("c", Will { delay_s, ..will("alarm") }) };
        let first = world.connect(&first);
        let second = world.connect(&Hello { clean_start, ..lasting("c") });
        world.expect(first, &["disconnect 8e", "closed"]);
        let expected: &[&str] = if is_published { &["publish alarm=gone"] } else { &[] };
        world.expect(watcher, expected);
        // Nothing of it is left to fire later.
        world.lose(second);
        world.pass_ms(200_000);
        world.expect(watcher, &[]);
    }
}

#[test]
fn v5_3_1_2_8_wills_of_clients_that_are_refused_or_never_admitted_do_not_fire() {
    let mut world = World::with_limits(&Limits { sessions_max: 1, ..Limits::default() });
    let watcher = watched(&mut world);
    for hello in [with_will("new", will("alarm")), Hello { user: "thief", ..with_will("watcher", will("alarm")) }] {
        let refused = world.admit(&hello);
        assert_eq!(world.take(refused).last().unwrap(), "closed");
        world.lose(refused);
    }
    world.pass_ms(100_000);
    world.expect(watcher, &[]);
}

//! CONNECT, sessions and wills of 3.1.1.

use mqtt::{Publish, Qos, ReasonCode, Will};

use super::{closes, framed, kept, publish, subscribe};
use crate::kit::*;

#[test]
fn v311_3_1_0_2_a_second_connect_ends_the_connection() {
    closes(&[framed(0x10, b"\0\x04MQTT\x04\x02\0\x3c\0\x01c")]);
}

#[test]
fn v311_3_1_2_4_5_a_kept_session_goes_on_and_its_messages_wait() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let to = world.connect(&kept("to"));
    world.send_bytes(to, &subscribe(1, &[("x/#", 2)]));
    world.take(to);
    world.lose(to);
    world.send_bytes(from, &publish(0, "x/0", None, "zero"));
    world.send_bytes(from, &publish(2, "x/1", Some(1), "one"));
    world.send_bytes(from, &publish(4, "x/2", Some(2), "two"));
    // There is no time limit but the one of the configuration, which is days.
    world.pass_ms(3_600_000);
    let to = world.admit(&kept("to"));
    world.expect(to, &["connack 00 present", "publish x/1=one q1 #1", "publish x/2=two q2 #2"]);
}

#[test]
fn v311_3_1_2_6_a_clean_session_begins_fresh_and_ends_with_its_connection() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let to = world.connect(&kept("to"));
    world.subscribe(to, &[("x", 1)]);
    world.lose(to);
    let to = world.admit(&v311("to"));
    world.expect(to, &["connack 00"]);
    world.send_bytes(from, &publish(2, "x", Some(1), "gone"));
    world.expect(to, &[]);
    world.subscribe(to, &[("x", 1)]);
    world.lose(to);
    let to = world.admit(&kept("to"));
    world.expect(to, &["connack 00"]);
    world.send_bytes(from, &publish(2, "x", Some(2), "gone"));
    world.expect(to, &[]);
}

#[test]
fn v311_3_1_2_7_retained_messages_outlive_the_session_that_sent_them() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    world.send_bytes(from, &publish(1, "x", None, "kept"));
    world.disconnect(from, ReasonCode::Success);
    let again = world.admit(&v311("from"));
    world.expect(again, &["connack 00"]);
    world.send_bytes(again, &subscribe(1, &[("x", 0)]));
    world.expect(again, &["suback 1 00", "publish x=kept retain"]);
}

#[test]
fn v311_3_1_2_8_9_16_17_a_will_is_published_as_connect_says() {
    for (retain, fresh) in [(false, &["suback 9 01"][..]), (true, &["suback 9 01", "publish w=gone q1 #1 retain"])] {
        let mut world = World::new();
        let watcher = world.connect(&v311("watcher"));
        world.send_bytes(watcher, &subscribe(1, &[("w", 1)]));
        world.take(watcher);
        let will = Will { qos: Qos::AtLeastOnce, retain, ..will("w") };
        let client = world.connect(&Hello { will: Some(will), ..v311("c") });
        world.expect(watcher, &[]);
        world.lose(client);
        world.expect(watcher, &["publish w=gone q1 #1"]);
        let late = world.connect(&v311("late"));
        world.send_bytes(late, &subscribe(9, &[("w", 1)]));
        world.expect(late, fresh);
    }
}

#[test]
fn v311_3_1_2_12_no_will_no_message() {
    let mut world = World::new();
    let watcher = world.connect(&v311("watcher"));
    world.subscribe(watcher, &[("#", 0)]);
    let without = world.connect(&v311("without"));
    world.lose(without);
    world.expect(watcher, &[]);
}

#[test]
fn v311_3_14_4_3_disconnect_removes_the_will() {
    let mut world = World::new();
    let watcher = world.connect(&v311("watcher"));
    world.subscribe(watcher, &[("#", 0)]);
    let client = world.connect(&Hello { will: Some(will("w")), ..v311("c") });
    world.send_bytes(client, &[0xE0, 0]);
    world.expect(client, &["closed"]);
    world.pass_ms(10_000);
    world.expect(watcher, &[]);
}

#[test]
fn v311_3_1_2_24_silence_for_one_and_a_half_intervals_ends_the_connection() {
    let mut world = World::new();
    let client = world.connect(&Hello { keep_alive_s: 10, ..v311("c") });
    world.pass_ms(14_900);
    world.send_bytes(client, &[0xC0, 0]);
    world.expect(client, &["pingresp"]);
    world.pass_ms(14_900);
    world.expect(client, &[]);
    world.pass_ms(200);
    world.expect(client, &["closed"]);
}

#[test]
fn v311_3_1_3_2_a_client_identifier_names_one_session() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    for client_id in ["one", "One"] {
        let client = world.connect(&kept(client_id));
        world.subscribe(client, &[(client_id, 1)]);
        world.lose(client);
    }
    world.send_bytes(from, &publish(2, "one", Some(1), "m"));
    let other = world.admit(&kept("One"));
    world.expect(other, &["connack 00 present"]);
    let one = world.admit(&kept("one"));
    world.expect(one, &["connack 00 present", "publish one=m q1 #1"]);
}

#[test]
fn v311_3_1_4_3_4_clean_session_is_processed_and_acknowledged() {
    let mut world = World::new();
    for hello in [v311("a"), kept("b")] {
        let client = world.admit(&hello);
        assert_eq!(world.take_bytes(client), [0x20, 2, 0, 0]);
    }
}

#[test]
fn v311_3_2_2_1_2_3_session_present_tells_what_the_server_has() {
    let mut world = World::new();
    for (hello, present) in [
        (kept("c"), 0),
        (kept("c"), 1),
        // A clean session never has one, and leaves none.
        (v311("c"), 0),
        (kept("c"), 0),
        (kept("c"), 1),
    ] {
        let client = world.admit(&hello);
        assert_eq!(world.take_bytes(client), [0x20, 2, present, 0], "{hello:?}");
        world.lose(client);
    }
}

#[test]
fn v311_4_1_0_1_2_a_session_lasts_at_least_as_long_as_its_connection() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let to = world.connect(&Hello { keep_alive_s: 3_600, ..v311("to") });
    world.subscribe(to, &[("x", 1)]);
    for hour in 0..200 {
        world.pass_ms(3_599_000);
        world.send_bytes(to, &[0xC0, 0]);
        world.send_bytes(from, &[0xC0, 0]);
        world.take(to);
        assert_eq!(world.take(from), ["pingresp"], "hour {hour}");
    }
    world.send_bytes(from, &publish(2, "x", Some(1), "m"));
    world.expect(to, &["publish x=m q1 #1"]);
}

#[test]
fn v311_4_4_0_1_a_reconnect_repeats_what_was_not_acknowledged() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let to = world.connect(&kept("to"));
    world.subscribe(to, &[("x", 2)]);
    for value in 1..=3 {
        world.publish(from, Publish { delivery: qos2(value), ..message("x", &value.to_string()) });
        world.pubrel(from, value);
    }
    world.expect(to, &["publish x=1 q2 #1", "publish x=2 q2 #2", "publish x=3 q2 #3"]);
    world.send_bytes(to, &[0x50, 2, 0, 1, 0x50, 2, 0, 2, 0x70, 2, 0, 2]);
    world.expect(to, &["pubrel 1 00", "pubrel 2 00"]);
    world.lose(to);
    let to = world.admit(&kept("to"));
    world.expect(to, &["connack 00 present", "pubrel 1 00", "publish x=3 q2 #3 dup"]);
}

#[test]
fn v311_4_4_0_1_nothing_is_repeated_on_a_connection_that_stays() {
    let mut world = World::new();
    let from = world.connect(&v311("from"));
    let to = world.connect(&kept("to"));
    world.subscribe(to, &[("x", 1)]);
    world.send_bytes(from, &publish(2, "x", Some(1), "m"));
    world.expect(to, &["publish x=m q1 #1"]);
    world.pass_ms(600_000);
    world.expect(to, &[]);
}

#[test]
fn v311_4_8_0_2_what_the_server_cannot_take_closes_the_connection() {
    let limits = motte_broker::Limits { packet_size_bytes_max: 1_024, ..motte_broker::Limits::default() };
    let mut world = World::with_limits(&limits);
    let client = world.connect(&v311("c"));
    world.publish(client, message("x", &"p".repeat(1_100)));
    world.expect(client, &["closed"]);
}

//! What MQTT 3.1 asks beside 3.1.1, and sessions that go on under another version.

use mqtt::ReasonCode;

use crate::kit::*;

fn v31(client_id: &str) -> Hello<'_> {
    Hello { version: V31, ..v5(client_id) }
}

#[test]
fn v31_dup_is_tolerated_on_requests_that_are_sent_again() {
    let mut world = World::new();
    let client = world.connect(&v31("c"));
    world.send_bytes(client, &[0x82 | 8, 6, 0, 1, 0, 1, b'x', 0]);
    world.expect(client, &["suback 1 00"]);
    world.send_bytes(client, &[0xA2 | 8, 5, 0, 2, 0, 1, b'x']);
    world.expect(client, &["unsuback 2"]);
    world.publish(client, mqtt::Publish { delivery: qos2(3), ..message("y", "m") });
    world.send_bytes(client, &[0x62 | 8, 2, 0, 3]);
    world.expect(client, &["pubrec 3 00", "pubcomp 3 00"]);
    let later = world.connect(&v311("later"));
    world.send_bytes(later, &[0x82 | 8, 6, 0, 1, 0, 1, b'x', 0]);
    world.expect(later, &["closed"]);
}

#[test]
fn v31_what_a_client_repeats_while_connected_is_taken_once() {
    let mut world = World::new();
    let to = world.connect(&v311("to"));
    world.subscribe(to, &[("x", 2)]);
    let from = world.connect(&v31("from"));
    world.send_bytes(from, &[0x34, 6, 0, 1, b'x', 0, 9, b'm']);
    world.send_bytes(from, &[0x3C, 6, 0, 1, b'x', 0, 9, b'm']);
    world.send_bytes(from, &[0x62, 2, 0, 9, 0x6A, 2, 0, 9]);
    world.expect(from, &["pubrec 9 00", "pubrec 9 00", "pubcomp 9 00", "pubcomp 9 00"]);
    world.expect(to, &["publish x=m q2 #1"]);
}

#[test]
fn v31_leading_wildcards_do_not_reach_topics_that_begin_with_a_dollar() {
    let acl = "pattern readwrite #\npattern readwrite $own/#\n";
    let mut world = World::with(1, acl, &Default::default());
    let client = world.connect(&v31("c"));
    world.subscribe(client, &[("#", 0)]);
    world.publish(client, message("$own/x", "hidden"));
    world.publish(client, message("x", "seen"));
    world.expect(client, &["publish x=seen"]);
}

#[test]
fn v31_a_denied_publish_is_acknowledged_and_dropped() {
    let mut world = World::new();
    let client = world.connect(&v31("c"));
    world.publish(client, mqtt::Publish { delivery: qos1(1), retain: true, ..message("secret/x", "m") });
    world.publish(client, mqtt::Publish { delivery: qos2(2), ..message("secret/x", "m") });
    world.expect(client, &["puback 1 00", "pubrec 2 00"]);
    assert_eq!(world.counters().denied, 2);
    assert_eq!(world.shared.retained_totals().0, 0);
}

#[test]
fn v31_a_session_goes_on_under_another_version() {
    let with = |version| match version {
        V5 => lasting("c"),
        version => Hello { version, clean_start: false, ..v5("c") },
    };
    for (made, resumed) in [(V31, V5), (V311, V5), (V5, V311), (V5, V31), (V31, V311), (V311, V31)] {
        let mut world = World::new();
        let from = world.connect(&v5("from"));
        let first = world.connect(&with(made));
        world.subscribe(first, &[("x", 2)]);
        world.publish(from, mqtt::Publish { delivery: qos2(1), ..message("x", "begun") });
        world.pubrel(from, 1);
        world.expect(first, &["publish x=begun q2 #1"]);
        world.pubrec(first, 1);
        world.publish(from, mqtt::Publish { delivery: qos1(2), ..message("x", "sent") });
        world.lose(first);
        world.publish(from, mqtt::Publish { delivery: qos1(3), ..message("x", "queued") });
        let second = world.admit(&with(resumed));
        let present = if resumed == V31 { "connack 00" } else { "connack 00 present" };
        let expected = [present, "pubrel 1 00", "publish x=sent q1 #2 dup", "publish x=queued q1 #3"];
        world.expect(second, &expected);
        world.pubcomp(second, 1);
        world.publish(from, mqtt::Publish { delivery: qos1(4), ..message("x", "live") });
        world.expect(second, &["publish x=live q1 #4"]);
        world.disconnect(second, ReasonCode::Success);
    }
}

#[test]
fn v31_a_session_of_5_0_keeps_what_the_older_version_cannot_say() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let first = world.connect(&lasting("c"));
    let options = mqtt::SubscriptionOptions { no_local: true, retain_as_published: true, ..options(1) };
    world.subscribe_with(first, Some(7), &[("x", options)]);
    world.take(first);
    world.lose(first);
    let old = world.connect(&Hello { clean_start: false, ..v311("c") });
    world.publish(old, message("x", "own"));
    world.publish(from, mqtt::Publish { retain: true, ..message("x", "other") });
    world.expect(old, &["publish x=other retain"]);
    world.lose(old);
    let new = world.admit(&lasting("c"));
    world.expect(new, &["connack 00 present"]);
    world.publish(new, message("x", "own"));
    world.publish(from, message("x", "again"));
    world.expect(new, &["publish x=again ids=7"]);
}

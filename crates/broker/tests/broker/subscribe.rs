//! Subscriptions: filters, options, identifiers, groups, retained messages.

use crate::kit::*;
use motte_broker::Limits;
use mqtt::{Publish, Qos, RetainHandling, SubscriptionOptions};

#[test]
fn v5_4_7_1_1_2_wildcards_match_levels() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("sport/+/player", 0), ("home/#", 0), ("+/+", 0), ("/end", 0)]);
    let topics = ["sport/tennis/player", "sport/player", "home", "home/a/b/c", "a/b", "a/b/c", "/end", "sport//player"];
    for topic in topics {
        world.publish(from, message(topic, "m"));
    }
    let got = ["sport/tennis/player", "sport/player", "home", "home/a/b/c", "a/b", "/end", "sport//player"];
    let got: Vec<_> = got.iter().map(|topic| format!("publish {topic}=m")).collect();
    assert_eq!(world.take(to), got);
}

#[test]
fn v5_4_7_2_1_wildcards_do_not_match_topics_of_the_server() {
    let mut world = World::with(1, "pattern readwrite #\npattern readwrite $app/#\n", &Limits::default());
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("#", 0), ("+/x", 0)]);
    world.publish(from, Publish { retain: true, ..message("$app/x", "hidden") });
    world.expect(to, &[]);
    world.subscribe_with(to, None, &[("#", options(0)), ("+/x", options(0)), ("$app/+", options(0))]);
    world.expect(to, &["suback 1 00 00 00", "publish $app/x=hidden retain"]);
}

#[test]
fn v5_3_3_4_4_overlapping_subscriptions_make_one_copy_with_all_identifiers() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe_with(to, Some(5), &[("a/+", options(0))]);
    world.subscribe_with(to, Some(3), &[("a/#", options(1)), ("b", options(1))]);
    world.subscribe_with(to, None, &[("#", options(0))]);
    world.take(to);
    world.publish(from, Publish { delivery: qos2(1), ..message("a/b", "m") });
    world.expect(to, &["publish a/b=m q1 #1 ids=3,5"]);
}

#[test]
fn v5_3_8_4_3_the_same_filter_replaces_the_subscription() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe_with(to, Some(1), &[("a", options(2))]);
    world.subscribe_with(to, Some(2), &[("a", options(0))]);
    world.take(to);
    world.publish(from, Publish { delivery: qos1(1), ..message("a", "m") });
    world.expect(to, &["publish a=m ids=2"]);
}

#[test]
fn v5_3_8_3_3_no_local_keeps_own_messages_away() {
    let mut world = World::new();
    let (one, two) = (world.connect(&v5("one")), world.connect(&v5("two")));
    let no_local = SubscriptionOptions { no_local: true, ..options(0) };
    world.subscribe_with(one, None, &[("x", no_local)]);
    world.subscribe_with(two, None, &[("x", no_local)]);
    world.publish(one, message("x", "m"));
    world.expect(one, &["suback 1 00"]);
    world.expect(two, &["suback 1 00", "publish x=m"]);
}

#[test]
fn v5_3_8_3_3_no_local_keeps_own_retained_messages_away() {
    let mut world = World::new();
    let (one, two) = (world.connect(&v5("one")), world.connect(&v5("two")));
    world.publish(one, Publish { retain: true, ..message("x/1", "own") });
    world.publish(two, Publish { retain: true, ..message("x/2", "other") });
    let no_local = SubscriptionOptions { no_local: true, ..options(0) };
    world.subscribe_with(one, None, &[("x/#", no_local)]);
    world.expect(one, &["suback 1 00", "publish x/2=other retain"]);
    world.subscribe_with(one, None, &[("x/#", options(0))]);
    let mut shown = world.take(one);
    shown.sort();
    assert_eq!(shown, ["publish x/1=own retain", "publish x/2=other retain", "suback 1 00"]);
}

#[test]
fn v5_3_8_3_4_no_local_on_a_shared_subscription_is_a_protocol_error() {
    let mut world = World::new();
    let client = world.connect(&v5("c"));
    let mut bytes = vec![0x82, 0x10, 0, 1, 0, 0, 10];
    bytes.extend_from_slice(b"$share/g/x\x04");
    world.send_bytes(client, &bytes);
    world.expect(client, &["disconnect 82", "closed"]);
}

#[test]
fn v5_3_9_3_1_each_filter_has_its_code_in_order() {
    let mut world = World::with_limits(&Limits { subscriptions_max: 2, topic_levels_max: 4, ..Limits::default() });
    let (new, old) = (world.connect(&v5("new")), world.connect(&v311("old")));
    let filters = ["a", "a/#/b", "secret/x", "b", "c", "a", "1/2/3/4/5", "$share//x", "$share/g/secret/x"];
    let filters: Vec<_> = filters.iter().map(|&filter| (filter, options(1))).collect();
    world.subscribe_with(new, None, &filters);
    world.expect(new, &["suback 1 01 8f 87 01 97 01 8f 8f 87"]);
    world.subscribe_with(old, None, &filters);
    world.expect(old, &["suback 1 01 80 80 01 80 01 80 80 80"]);
}

#[test]
fn v31_a_refused_subscription_ends_the_connection() {
    let mut world = World::new();
    let client = world.connect(&Hello { version: V31, ..v5("c") });
    world.subscribe_with(client, None, &[("secret/x", options(0))]);
    world.expect(client, &["closed"]);
}

#[test]
fn v5_3_10_4_1_2_4_to_6_unsubscribe_answers_each_filter_and_stops_deliveries() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    let old = world.connect(&v311("old"));
    world.subscribe(to, &[("a", 0), ("$share/g/b", 0)]);
    world.unsubscribe(to, &["a", "A", "$share/g/b", "b"]);
    world.publish(from, message("a", "m"));
    world.publish(from, message("b", "m"));
    world.expect(to, &["unsuback 2 00 11 00 11"]);
    world.unsubscribe(old, &["nothing"]);
    world.expect(old, &["unsuback 2"]);
}

#[test]
fn v5_noid_a_shared_subscription_gives_each_message_to_one_member_in_turn() {
    let mut world = World::with(2, OPEN, &Limits::default());
    let from = world.connect(&v5("from"));
    let members: Vec<_> = ["a", "b", "c"].iter().map(|name| world.connect(&v5(name))).collect();
    for &member in &members {
        world.subscribe(member, &[("$share/g/x", 1)]);
    }
    for n in 1..=6 {
        world.publish(from, Publish { delivery: qos1(n), ..message("x", &n.to_string()) });
    }
    let shares: Vec<_> = members.iter().map(|&member| world.take(member).len()).collect();
    assert_eq!(shares, [2, 2, 2]);
    assert_eq!(world.counters().routed, 6);
}

#[test]
fn v5_noid_online_members_of_a_group_are_preferred() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let (away, here) = (world.connect(&lasting("away")), world.connect(&v5("here")));
    world.subscribe(away, &[("$share/g/x", 1)]);
    world.subscribe(here, &[("$share/g/x", 1)]);
    world.lose(away);
    for n in 1..=4 {
        world.publish(from, Publish { delivery: qos1(n), ..message("x", "m") });
    }
    assert_eq!(world.take(here).len(), 4);
    (1..=4).for_each(|value| world.puback(here, value));
    world.lose(here);
    world.publish(from, Publish { delivery: qos1(9), ..message("x", "kept") });
    let away = world.admit(&lasting("away"));
    world.expect(away, &["connack 00 present", "publish x=kept q1 #1"]);
}

#[test]
fn v5_noid_a_group_and_a_subscription_of_its_own_are_two_deliveries() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("$share/g/x", 0), ("$share/h/x", 0), ("x", 0)]);
    world.publish(from, message("x", "m"));
    assert_eq!(world.take(to).len(), 3);
}

#[test]
fn v5_3_3_1_5_to_8_retained_messages_are_kept_replaced_and_cleared() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    world.publish(from, Publish { retain: true, ..message("a/b", "old") });
    world.publish(from, Publish { retain: true, delivery: qos1(1), ..message("a/b", "kept") });
    world.publish(from, Publish { retain: true, ..message("a", "root") });
    world.publish(from, Publish { retain: true, ..message("a/c", "cleared") });
    world.publish(from, Publish { retain: true, ..message("a/c", "") });
    world.publish(from, message("a/b", "live only"));
    let to = world.connect(&v5("to"));
    world.subscribe_with(to, Some(9), &[("a/#", options(1))]);
    world.expect(to, &["suback 1 01", "publish a=root retain ids=9", "publish a/b=kept q1 #1 retain ids=9"]);
    assert_eq!(world.shared.retained_totals().0, 2);
}

#[test]
fn v5_3_3_1_12_13_retain_is_forwarded_only_as_published_when_asked() {
    let mut world = World::new();
    let (from, plain, kept) = (world.connect(&v5("from")), world.connect(&v5("plain")), world.connect(&v5("kept")));
    world.subscribe(plain, &[("x", 0)]);
    let as_published = SubscriptionOptions { retain_as_published: true, ..options(0) };
    world.subscribe_with(kept, None, &[("x", as_published)]);
    world.take(kept);
    world.publish(from, Publish { retain: true, ..message("x", "m") });
    world.publish(from, Publish { retain: true, ..message("x", "") });
    world.expect(plain, &["publish x=m", "publish x="]);
    world.expect(kept, &["publish x=m retain", "publish x= retain"]);
}

#[test]
fn v5_3_3_1_9_to_11_retain_handling() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.publish(from, Publish { retain: true, ..message("x", "m") });
    let sent = "publish x=m retain";
    for (handling, expected) in [
        (RetainHandling::IfNew, &["suback 1 00", sent][..]),
        (RetainHandling::IfNew, &["suback 1 00"]),
        (RetainHandling::Always, &["suback 1 00", sent]),
        (RetainHandling::Never, &["suback 1 00"]),
    ] {
        world.subscribe_with(to, None, &[("x", retain_handling(0, handling))]);
        world.expect(to, expected);
    }
    world.subscribe_with(to, None, &[("$share/g/x", options(0))]);
    world.expect(to, &["suback 1 00"]);
}

#[test]
fn v5_3_3_2_5_a_retained_message_expires() {
    let mut world = World::with_limits(&Limits { retained_messages_max: 1, ..Limits::default() });
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.publish(from, Publish { retain: true, message_expiry_s: Some(10), ..message("x", "m") });
    world.pass_ms(4_000);
    world.subscribe_with(to, None, &[("x", options(0))]);
    world.expect(to, &["suback 1 00", "publish x=m retain expiry=6"]);
    world.pass_ms(6_000);
    world.subscribe_with(to, None, &[("x", options(0))]);
    world.expect(to, &["suback 1 00"]);
    world.publish(from, Publish { retain: true, delivery: qos1(1), ..message("y", "m") });
    world.expect(from, &["puback 1 10"]);
}

#[test]
fn k10_retained_messages_are_bounded_in_number_and_bytes() {
    let limits = Limits { retained_messages_max: 2, retained_bytes_max: 30, ..Limits::default() };
    let mut world = World::with_limits(&limits);
    let from = world.connect(&v5("from"));
    for (n, (topic, payload)) in
        [("a", "1"), ("b", "2"), ("c", "3"), ("a", "replaced"), ("b", "x23456789012345678901")].into_iter().enumerate()
    {
        let delivery = qos1(u16::try_from(n).unwrap() + 1);
        world.publish(from, Publish { retain: true, delivery, ..message(topic, payload) });
    }
    world.expect(from, &["puback 1 10", "puback 2 10", "puback 3 97", "puback 4 10", "puback 5 97"]);
    assert_eq!(world.shared.retained_totals(), (2, 11));
    world.publish(from, Publish { retain: true, ..message("a", "") });
    world.publish(from, Publish { retain: true, ..message("b", "") });
    assert_eq!(world.shared.retained_totals(), (0, 0));
}

#[test]
fn k10_a_replay_of_everything_is_paced_by_window_and_outbox() {
    let limits = Limits { outbox_bytes_max: 2_000, queue_messages_max: 10, ..Limits::default() };
    let mut world = World::with_limits(&limits);
    let from = world.connect(&v5("from"));
    let payload = "p".repeat(100);
    for n in 0..1_000_u32 {
        let delivery = if n % 2 == 0 { mqtt::Delivery::AtMostOnce } else { qos1(1) };
        world.publish(from, Publish { retain: true, delivery, ..message(&format!("t/{n}/x"), &payload) });
    }
    world.take(from);
    let to = world.connect(&Hello { receive_maximum: Some(5), ..v5("to") });
    world.subscribe_with(to, None, &[("#", options(1))]);
    let mut got = 0;
    let mut next = 1;
    for _ in 0..1_000 {
        assert!(world.unread_bytes(to) <= 2_200, "{}", world.unread_bytes(to));
        let shown = world.take_once(to);
        for line in shown.iter().filter(|line| line.contains(" q1 ")) {
            assert!(line.contains(&format!("#{next} ")), "{line}");
            world.puback(to, next);
            next += 1;
        }
        got += shown.iter().filter(|line| line.starts_with("publish")).count();
        world.pass_ms(1);
    }
    assert_eq!((got, world.counters().dropped, world.counters().queued), (1_000, 0, 0));
}

#[test]
fn v5_3_8_4_7_qos_granted_is_the_one_asked_for() {
    let mut world = World::new();
    let client = world.connect(&v5("c"));
    world.subscribe_with(client, None, &[("a", options(0)), ("b", options(1)), ("c", options(2))]);
    world.expect(client, &["suback 1 00 01 02"]);
    assert_eq!(options(2).qos, Qos::ExactlyOnce);
}

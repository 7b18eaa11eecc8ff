//! MQTT 5.0, sections 3.8 to 3.11: SUBSCRIBE and UNSUBSCRIBE, their options, retained messages, what a session keeps.

use motte_broker::Limits;
use mqtt::{Packet, Publish, RetainHandling, Subscribe, SubscribeFilters, SubscriptionOptions, UserProperties};

use crate::kit::*;

fn retained<'a>(topic: &'a str, payload: &'a str) -> Publish<'a> {
    Publish { retain: true, ..message(topic, payload) }
}

/// A SUBSCRIBE to `a` as bytes: packet identifier 10, no properties, the given options.
fn subscribe_bytes(first: u8, options: u8) -> [u8; 9] {
    [first, 7, 0, 10, 0, 0, 1, b'a', options]
}

#[test]
fn v5_3_8_1_1_flags_of_subscribe_are_0010() {
    for flags in 0..=15 {
        let mut world = World::new();
        let (from, client) = (world.connect(&v5("from")), world.connect(&v5("c")));
        world.send_bytes(client, &subscribe_bytes(0x80 | flags, 0));
        world.publish(from, message("a", "m"));
        if flags == 0b0010 {
            world.expect(client, &["suback 10 00", "publish a=m"]);
        } else {
            world.expect(client, &["disconnect 81", "closed"]);
        }
    }
}

#[test]
fn v5_3_8_4_1_2_each_subscribe_is_answered_once_with_its_identifier() {
    let mut world = World::new();
    let client = world.connect(&v5("c"));
    for value in [1, 7, 7, 255, 256, 65_535] {
        let filters = [("a", options(0)), ("secret/x", options(0))];
        let filters = SubscribeFilters::from_slice(&filters);
        let packet = Subscribe { id: id(value), subscription_id: None, user: UserProperties::EMPTY, filters };
        world.send(client, &Packet::Subscribe(packet));
        assert_eq!(world.take(client), [format!("suback {value} 00 87")]);
    }
    world.publish(client, message("b", "m"));
    world.expect(client, &[]);
}

#[test]
fn v5_3_8_3_5_reserved_option_bits_and_values_subscribe_to_nothing() {
    for (bits, told) in [(0x40, 81), (0x80, 81), (0xc0, 81), (0x03, 82), (0x30, 82)] {
        let mut world = World::new();
        let (from, client) = (world.connect(&v5("from")), world.connect(&lasting("c")));
        world.send_bytes(client, &subscribe_bytes(0x82, bits));
        let shown = world.take(client);
        // The standard calls QoS 3 and Retain Handling 3 a protocol error, the reserved bits malformed.
        assert!(shown == [format!("disconnect {told}"), "closed".into()] || shown == ["disconnect 81", "closed"]);
        world.publish(from, Publish { delivery: qos1(1), ..message("a", "m") });
        world.expect(from, &["puback 1 10"]);
    }
}

#[test]
fn v5_3_8_3_1_a_filter_that_is_no_text_ends_the_link() {
    no_text(0x82, &[0]);
}

#[test]
fn v5_3_10_3_1_a_filter_that_is_no_text_ends_the_link() {
    no_text(0xa2, &[]);
}

/// NUL, half a character, a surrogate, an overlong form, and for comparison two characters beyond ASCII.
fn no_text(first: u8, options: &[u8]) {
    let texts: [&[u8]; 5] = [b"a\0b", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", "\u{e9}\u{10ffff}".as_bytes()];
    for (n, text) in texts.into_iter().enumerate() {
        let mut world = World::new();
        let client = world.connect(&v5("c"));
        let mut body = vec![0, 10, 0, 0, u8::try_from(text.len()).unwrap()];
        body.extend_from_slice(text);
        body.extend_from_slice(options);
        world.send_bytes(client, &[&[first, u8::try_from(body.len()).unwrap()], &body[..]].concat());
        let shown = world.take(client);
        let is_refused = shown == ["disconnect 81", "closed"];
        assert_eq!(is_refused, n < 4, "{text:02x?}: {shown:?}");
    }
}

#[test]
fn v5_3_8_4_3_replacing_a_subscription_replaces_every_option_at_once() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    let steps: [(Option<u32>, SubscriptionOptions, &[&str]); 5] = [
        (Some(7), options(2), &["publish a=m q2 #1 ids=7"]),
        (None, options(1), &["publish a=m q1 #2"]),
        (Some(8), SubscriptionOptions { retain_as_published: true, ..options(0) }, &["publish a=m retain ids=8"]),
        (Some(8), SubscriptionOptions { no_local: true, ..options(0) }, &["publish a=m ids=8"]),
        (None, options(0), &["publish a=m"]),
    ];
    for (sub_id, asked, expected) in steps {
        let never = SubscriptionOptions { retain_handling: RetainHandling::Never, ..asked };
        world.subscribe_with(to, sub_id, &[("a", never)]);
        assert_eq!(world.take(to).len(), 1);
        world.publish(from, Publish { delivery: qos2(1), ..retained("a", "m") });
        world.pubrel(from, 1);
        world.expect(to, expected);
        world.publish(to, retained("a", "own"));
        assert_eq!(world.take(to).is_empty(), asked.no_local);
    }
    assert_eq!(world.shared.retained_totals().0, 1);
    let before = world.counters().routed;
    world.publish(from, message("a", "m"));
    assert_eq!(world.counters().routed, before + 1, "it is one subscription and not five");
}

#[test]
fn v5_3_8_4_3_a_shared_subscription_is_another_one_than_its_filter() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe_with(to, Some(1), &[("a", options(1))]);
    world.subscribe_with(to, Some(2), &[("$share/g/a", options(0))]);
    world.subscribe_with(to, Some(3), &[("$share/g/a", options(1))]);
    world.take(to);
    world.publish(from, Publish { delivery: qos1(1), ..message("a", "m") });
    world.expect(to, &["publish a=m q1 #1 ids=1", "publish a=m q1 #2 ids=3"]);
}

#[test]
fn v5_3_8_4_4_replacing_a_subscription_sends_retained_messages_again_and_loses_none() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&Hello { receive_maximum: Some(1), ..lasting("to") });
    world.publish(from, Publish { delivery: qos1(9), ..retained("a/kept", "r") });
    world.subscribe_with(to, None, &[("a/#", retain_handling(1, RetainHandling::Never))]);
    world.expect(to, &["suback 1 01"]);
    for value in 1..=3 {
        world.publish(from, Publish { delivery: qos1(value), ..message("a/live", &value.to_string()) });
        world.subscribe_with(to, None, &[("a/#", retain_handling(1, RetainHandling::Always))]);
    }
    world.publish(from, Publish { delivery: qos1(4), ..message("a/live", "4") });
    let mut got = Vec::new();
    for value in 1..=6 {
        got.extend(world.take(to).into_iter().filter(|line| line.starts_with("publish")));
        world.puback(to, value);
    }
    let expected = [1, 2, 3, 4].map(|n| format!("publish a/live={n} q1 #{n}"));
    assert_eq!(got[..4], expected);
    // Three subscriptions asked, and the later ones took the place of the earlier, which had sent nothing yet.
    assert_eq!(got[4..], ["publish a/kept=r q1 #5 retain"]);
    world.expect(to, &[]);
    assert_eq!((world.counters().queued, world.counters().dropped), (0, 0));
    for (handling, count) in [(RetainHandling::Always, 2), (RetainHandling::IfNew, 1), (RetainHandling::Never, 1)] {
        world.subscribe_with(to, None, &[("a/#", retain_handling(0, handling))]);
        assert_eq!(world.take(to).len(), count, "{handling:?}");
    }
}

#[test]
fn v5_3_8_4_6_7_each_filter_gets_its_granted_qos_or_its_failure() {
    let limits = Limits { subscriptions_max: 4, topic_levels_max: 3, ..Limits::default() };
    let mut world = World::with_limits(&limits);
    let (from, client) = (world.connect(&v5("from")), world.connect(&v5("c")));
    let asked = [("a", 2), ("secret/#", 2), ("b", 0), ("1/2/3/4", 1), ("c", 1), ("a", 1), ("d", 0), ("over", 0)];
    let filters: Vec<_> = asked.iter().map(|&(filter, qos)| (filter, options(qos))).collect();
    world.subscribe_with(client, None, &filters);
    world.expect(client, &["suback 1 02 87 00 8f 01 01 00 97"]);
    for topic in ["a", "b", "c", "d", "over"] {
        world.publish(from, Publish { delivery: qos2(1), ..message(topic, "m") });
        world.pubrel(from, 1);
    }
    // What was granted is delivered with the granted QoS, what failed is not delivered.
    world.expect(client, &["publish a=m q1 #1", "publish b=m", "publish c=m q1 #2", "publish d=m"]);
}

#[test]
fn v5_3_10_1_1_flags_of_unsubscribe_are_0010() {
    for flags in 0..=15 {
        let mut world = World::new();
        let client = world.connect(&v5("c"));
        world.send_bytes(client, &[0xa0 | flags, 6, 0, 10, 0, 0, 1, b'a']);
        if flags == 0b0010 {
            world.expect(client, &["unsuback 10 11"]);
        } else {
            world.expect(client, &["disconnect 81", "closed"]);
        }
    }
}

#[test]
fn v5_3_10_4_1_filters_are_compared_character_by_character() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("a/b", 0)]);
    // Each of these would match what is subscribed to, look like it, or be a part of it.
    let others = ["a/+", "#", "a/#", "A/b", "a/b/", "/a/b", "a", "a/", "$share/g/a/b", "a/b/#", "+/+"];
    for filter in others {
        world.unsubscribe(to, &[filter]);
        world.expect(to, &["unsuback 2 11"]);
    }
    world.publish(from, message("a/b", "still here"));
    world.expect(to, &["publish a/b=still here"]);
    world.unsubscribe(to, &["a/b"]);
    world.publish(from, message("a/b", "gone"));
    world.expect(to, &["unsuback 2 00"]);
    // A composed and a decomposed letter are not the same characters.
    world.subscribe(to, &[("\u{e9}", 0)]);
    world.unsubscribe(to, &["e\u{301}"]);
    world.expect(to, &["unsuback 2 11"]);
}

#[test]
fn v5_3_10_4_2_nothing_new_is_added_and_other_filters_go_on() {
    let mut world = World::with(2, OPEN, &Limits::default());
    let from = world.connect(&v5("from"));
    let clients = ["a", "b", "c"].map(|name| world.connect(&lasting(name)));
    for client in clients {
        world.subscribe_with(client, Some(1), &[("x/+", options(1))]);
        world.subscribe_with(client, Some(2), &[("x/#", options(0))]);
        world.take(client);
        world.unsubscribe(client, &["x/+"]);
        world.take(client);
    }
    world.publish(from, Publish { delivery: qos1(1), ..message("x/y", "m") });
    for client in clients {
        world.expect(client, &["publish x/y=m ids=2"]);
        world.unsubscribe(client, &["x/#"]);
        world.take(client);
    }
    world.publish(from, Publish { delivery: qos1(1), ..message("x/y", "m") });
    world.expect(from, &["puback 1 00", "puback 1 10"]);
    for client in clients {
        world.expect(client, &[]);
    }
}

#[test]
fn v5_3_10_4_2_unsubscribing_ends_the_replay_of_retained_messages() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    for n in 0..20 {
        world.publish(from, Publish { delivery: qos1(1), ..retained(&format!("t/{n:02}"), "r") });
    }
    let to = world.connect(&Hello { receive_maximum: Some(2), ..v5("to") });
    world.subscribe_with(to, None, &[("t/#", options(1))]);
    world.expect(to, &["suback 1 01", "publish t/00=r q1 #1 retain", "publish t/01=r q1 #2 retain"]);
    world.unsubscribe(to, &["t/#"]);
    world.puback(to, 1);
    world.puback(to, 2);
    world.expect(to, &["unsuback 2 00"]);
}

#[test]
fn v5_3_10_4_4_to_6_each_unsubscribe_is_answered_once_with_its_identifier() {
    let mut world = World::new();
    let client = world.connect(&v5("c"));
    world.subscribe(client, &[("a", 0), ("b", 0), ("c", 0)]);
    for value in [2_u16, 3, 65_535] {
        let [high, low] = value.to_be_bytes();
        world.send_bytes(client, &[0xa2, 6, high, low, 0, 0, 1, b'z']);
        assert_eq!(world.take(client), [format!("unsuback {value} 11")], "nothing matched, and it is answered");
    }
    world.unsubscribe(client, &["a", "b"]);
    world.expect(client, &["unsuback 2 00 00"]);
    world.publish(client, message("a", "m"));
    world.publish(client, message("c", "m"));
    world.expect(client, &["publish c=m"]);
}

#[test]
fn v5_3_11_3_1_codes_of_unsuback_stand_in_the_order_of_the_filters() {
    let mut world = World::new();
    let client = world.connect(&v5("c"));
    world.subscribe(client, &[("a", 0), ("b", 0), ("$share/g/c", 0)]);
    world.unsubscribe(client, &["none", "b", "a", "a", "$share/h/c", "$share/g/c", "a/#/b", "c"]);
    world.expect(client, &["unsuback 2 11 00 00 11 11 00 8f 11"]);
}

#[test]
fn v5_3_8_4_5_many_filters_are_handled_like_one_after_the_other() {
    let asked = [("a", 2), ("secret/x", 1), ("b", 0), ("a", 0), ("b/#/c", 1), ("$share/g/d", 1)];
    let mut world = World::new();
    let (many, single) = (world.connect(&v5("many")), world.connect(&v5("single")));
    let from = world.connect(&v5("from"));
    world.publish(from, retained("a", "r"));
    world.publish(from, retained("b", "r"));
    let filters: Vec<_> = asked.iter().map(|&(filter, qos)| (filter, options(qos))).collect();
    world.subscribe_with(many, None, &filters);
    let mut together = world.take(many);
    let mut codes = String::from("suback 1");
    let mut replayed = Vec::new();
    for filter in &filters {
        world.subscribe_with(single, None, &[*filter]);
        let mut shown = world.take(single);
        codes.push_str(shown.remove(0).strip_prefix("suback 1").unwrap());
        replayed.extend(shown);
    }
    assert_eq!(together.remove(0), codes, "one SUBACK for all");
    assert!(!together.iter().any(|line| line.starts_with("suback")));
    assert_eq!(
        (together.len(), replayed.len()),
        (2, 3),
        "a replay that has not begun is replaced with its subscription"
    );
    for (value, topic) in [(1, "a"), (2, "b"), (3, "d"), (4, "d")] {
        world.publish(from, Publish { delivery: qos1(value), ..message(topic, "m") });
    }
    // The group gives one message to each; all else both are given alike.
    let shown = ["publish a=m", "publish b=m", "publish d=m q1 #1"];
    world.expect(many, &shown);
    world.expect(single, &shown);
}

#[test]
fn options_and_identifiers_survive_a_reconnect() {
    let mut world = World::with(2, OPEN, &Limits::default());
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    let kept = SubscriptionOptions { retain_as_published: true, ..options(1) };
    let no_local = SubscriptionOptions { no_local: true, ..options(2) };
    world.subscribe_with(to, Some(5), &[("kept", kept)]);
    world.subscribe_with(to, Some(6), &[("local", no_local)]);
    world.subscribe_with(to, Some(7), &[("$share/g/group", options(1))]);
    world.take(to);
    world.lose(to);
    world.publish(from, Publish { delivery: qos2(1), ..retained("kept", "queued") });
    let to = world.admit(&lasting("to"));
    world.expect(to, &["connack 00 present", "publish kept=queued q1 #1 retain ids=5"]);
    world.publish(from, retained("kept", "live"));
    world.publish(to, Publish { delivery: qos1(1), ..message("local", "own") });
    world.publish(from, Publish { delivery: qos1(2), ..message("local", "other") });
    world.publish(from, Publish { delivery: qos1(3), ..message("group", "m") });
    let shown = [
        "publish kept=live retain ids=5",
        "puback 1 10",
        "publish local=other q1 #2 ids=6",
        "publish group=m q1 #3 ids=7",
    ];
    assert_eq!(world.take(to), shown);
    // Retain Handling 1 knows that the subscription is not new.
    world.subscribe_with(to, None, &[("kept", retain_handling(0, RetainHandling::IfNew))]);
    world.expect(to, &["suback 1 00"]);
}

#[test]
fn the_client_identifier_and_not_the_connection_makes_a_message_local() {
    let mut world = World::new();
    let no_local = SubscriptionOptions { no_local: true, ..options(1) };
    let client = world.connect(&lasting("c"));
    world.subscribe_with(client, None, &[("x", no_local)]);
    world.take(client);
    // Published before the connection is taken over, by the will of it, and after.
    let client = world.connect(&Hello { will: Some(will("x")), ..lasting("c") });
    world.publish(client, Publish { delivery: qos1(1), ..message("x", "m") });
    world.lose(client);
    let client = world.admit(&lasting("c"));
    world.expect(client, &["connack 00 present"]);
}

#[test]
fn no_local_of_one_subscription_hides_nothing_from_another() {
    let mut world = World::new();
    let client = world.connect(&v5("c"));
    let no_local = SubscriptionOptions { no_local: true, ..options(2) };
    world.subscribe_with(client, Some(1), &[("x/#", no_local)]);
    world.subscribe_with(client, Some(2), &[("x/y", options(1))]);
    world.take(client);
    world.publish(client, Publish { delivery: qos2(1), ..message("x/y", "m") });
    world.expect(client, &["publish x/y=m q1 #1 ids=2", "pubrec 1 00"]);
}

#[test]
fn a_replay_goes_on_after_the_connection_broke() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    for n in 0..50 {
        world.publish(from, Publish { delivery: qos1(1), ..retained(&format!("t/{n:02}"), "r") });
    }
    let hello = Hello { receive_maximum: Some(10), ..lasting("to") };
    let to = world.connect(&hello);
    world.subscribe_with(to, Some(3), &[("t/#", options(1))]);
    assert_eq!(world.take(to).len(), 11);
    world.lose(to);
    // A message that is replaced meanwhile is replayed as it is then, and one that is cleared is not.
    world.publish(from, retained("t/20", "new"));
    world.publish(from, retained("t/30", ""));
    let to = world.admit(&hello);
    let mut got = Vec::new();
    for value in 1..=60 {
        got.extend(world.take(to));
        world.puback(to, value);
    }
    got.extend(world.take(to));
    assert_eq!(got.remove(0), "connack 00 present");
    assert!(got[..10].iter().all(|line| line.ends_with("dup retain ids=3")), "{got:?}");
    assert_eq!(got.len(), 49, "{got:?}");
    assert_eq!(got.iter().filter(|line| line.starts_with("publish t/20=new retain")).count(), 1);
    assert!(!got.iter().any(|line| line.starts_with("publish t/30")));
}

#[test]
fn existing_subscriptions_get_the_message_without_retain_and_new_ones_with_it() {
    let mut world = World::with(2, OPEN, &Limits::default());
    let from = world.connect(&v5("from"));
    let before = ["a", "b"].map(|name| world.connect(&v5(name)));
    for client in before {
        world.subscribe(client, &[("x", 0)]);
    }
    world.publish(from, retained("x", "m"));
    for client in before {
        world.expect(client, &["publish x=m"]);
    }
    let after = world.connect(&v5("after"));
    // Each subscription that matches replays; the flag is set even without Retain As Published.
    world.subscribe_with(after, Some(1), &[("x", options(0)), ("+", options(0))]);
    world.expect(after, &["suback 1 00 00", "publish x=m retain ids=1", "publish x=m retain ids=1"]);
    // Clearing is itself an ordinary message, and leaves nothing to replay.
    world.publish(from, retained("x", ""));
    world.expect(after, &["publish x= ids=1,1"]);
    world.subscribe_with(after, None, &[("x", options(0))]);
    world.expect(after, &["suback 1 00"]);
}

#[test]
fn one_of_overlapping_subscriptions_that_asks_for_retain_as_published_is_enough() {
    let kept = SubscriptionOptions { retain_as_published: true, ..options(0) };
    for [first, second] in [[kept, options(1)], [options(1), kept]] {
        let mut world = World::new();
        let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
        world.subscribe_with(to, None, &[("a/b", first)]);
        world.subscribe_with(to, None, &[("a/#", second)]);
        world.take(to);
        world.publish(from, Publish { delivery: qos1(1), ..retained("a/b", "m") });
        world.expect(to, &["publish a/b=m q1 #1 retain"]);
        world.publish(from, Publish { delivery: qos1(1), ..message("a/b", "m") });
        world.expect(to, &["publish a/b=m q1 #2"]);
    }
}

//! MQTT 5.0, section 3.3: PUBLISH, what is forwarded of it and to whom.

use motte_broker::Limits;
use mqtt::{Delivery, ForwardedPropertiesBuf, Packet, Publish, SubscriptionOptions, Unsubscribe, UnsubscribeFilters};

use crate::kit::*;

/// A publisher and one who subscribes to `filter` at `qos`.
fn pair(world: &mut World, filter: &str, qos: u8) -> (Client, Client) {
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[(filter, qos)]);
    (from, to)
}

/// Every property that is forwarded.
fn all_properties() -> ForwardedPropertiesBuf {
    ForwardedPropertiesBuf::new()
        .user("b", "1")
        .and_then(|p| p.payload_utf8().content_type("text/plain; é"))
        .and_then(|p| p.user("a", "2"))
        .and_then(|p| p.response_topic("re/x"))
        .and_then(|p| p.correlation_data(&[0, 0xff]))
        .and_then(|p| p.user("b", "1"))
        .unwrap()
}

/// A PUBLISH of QoS 0 to `x` with `properties` as written and the payload `m`.
fn raw_publish(properties: &[u8]) -> Vec<u8> {
    let len = u8::try_from(properties.len()).unwrap();
    [&[0x30, 5 + len, 0, 1, b'x', len], properties, b"m"].concat()
}

#[test]
fn v5_3_3_1_1_dup_is_set_on_redelivery_and_only_there() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("x", 2)]);
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "1") });
    world.publish(from, Publish { delivery: qos2(2), ..message("x", "2") });
    world.expect(to, &["publish x=1 q1 #1", "publish x=2 q2 #2"]);
    world.lose(to);
    world.publish(from, Publish { delivery: qos1(3), ..message("x", "3") });
    for _ in 0..2 {
        let to = world.admit(&lasting("to"));
        let shown = world.take(to);
        assert_eq!(shown[..3], ["connack 00 present", "publish x=1 q1 #1 dup", "publish x=2 q2 #2 dup"]);
        assert!(shown[3].starts_with("publish x=3 q1 #3"), "{shown:?}");
        world.lose(to);
    }
}

#[test]
fn v5_3_3_1_3_dup_of_the_publisher_is_not_forwarded() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, "#", 2);
    let away = world.connect(&lasting("away"));
    world.subscribe(away, &[("#", 2)]);
    world.lose(away);
    world.publish(from, Publish { delivery: Delivery::AtLeastOnce { id: id(1), dup: true }, ..message("x", "1") });
    let dup = Delivery::ExactlyOnce { id: id(2), dup: true };
    world.publish(from, Publish { delivery: dup, retain: true, ..message("y", "2") });
    world.expect(to, &["publish x=1 q1 #1", "publish y=2 q2 #2"]);
    let away = world.admit(&lasting("away"));
    world.expect(away, &["connack 00 present", "publish x=1 q1 #1", "publish y=2 q2 #2"]);
    let late = world.connect(&v5("late"));
    world.subscribe_with(late, None, &[("y", options(2))]);
    world.expect(late, &["suback 1 02", "publish y=2 q2 #1 retain"]);
}

#[test]
fn v5_3_3_1_5_the_retained_message_is_the_last_one_with_its_qos_and_properties() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    world.publish(from, Publish { retain: true, delivery: qos2(1), ..message("x", "old") });
    let properties = all_properties();
    let last = Publish { retain: true, delivery: qos1(2), properties: properties.as_ref(), ..message("x", "new") };
    world.publish(from, last);
    let to = world.connect(&v5("to"));
    world.subscribe_with(to, None, &[("x", options(2))]);
    let kept = "publish x=new q1 #1 retain utf8 type=text/plain; é re=re/x correlation=[00, ff] b:1 a:2 b:1";
    world.expect(to, &["suback 1 02", kept]);
}

#[test]
fn v5_3_3_1_6_7_an_empty_retained_message_is_delivered_and_never_kept() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, "x", 1);
    world.publish(from, Publish { retain: true, delivery: qos1(1), ..message("x", "") });
    world.expect(from, &["puback 1 00"]);
    world.publish(from, Publish { retain: true, ..message("x", "kept") });
    world.publish(from, Publish { retain: true, delivery: qos1(2), ..message("x", "") });
    world.expect(to, &["publish x= q1 #1", "publish x=kept", "publish x= q1 #2"]);
    let late = world.connect(&v5("late"));
    world.subscribe_with(late, None, &[("x", options(1))]);
    world.expect(late, &["suback 1 01"]);
    assert_eq!(world.shared.retained_totals(), (0, 0));
}

#[test]
fn v5_3_3_1_8_a_message_without_retain_neither_keeps_nor_clears() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    world.publish(from, message("none", "m"));
    world.publish(from, Publish { retain: true, ..message("x", "kept") });
    world.publish(from, message("x", ""));
    world.publish(from, message("x", "live"));
    let to = world.connect(&v5("to"));
    world.subscribe_with(to, None, &[("#", options(0))]);
    world.expect(to, &["suback 1 00", "publish x=kept retain"]);
}

#[test]
fn v5_3_3_1_13_retain_as_published_keeps_the_flag_in_both_states() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&lasting("to")));
    let as_published = SubscriptionOptions { retain_as_published: true, ..options(1) };
    world.subscribe_with(to, None, &[("x", as_published)]);
    world.take(to);
    world.publish(from, Publish { retain: true, ..message("x", "set") });
    world.publish(from, message("x", "clear"));
    world.expect(to, &["publish x=set retain", "publish x=clear"]);
    // Also for what waited in the session.
    world.lose(to);
    world.publish(from, Publish { retain: true, delivery: qos1(1), ..message("x", "set") });
    world.publish(from, Publish { delivery: qos1(2), ..message("x", "clear") });
    let to = world.admit(&lasting("to"));
    world.expect(to, &["connack 00 present", "publish x=set q1 #1 retain", "publish x=clear q1 #2"]);
}

#[test]
fn v5_3_3_2_2_wildcards_in_a_topic_end_the_link_and_reach_nobody() {
    for topic in ["+", "#", "a/+", "a/#", "a+b", "a#"] {
        let mut world = World::new();
        let (from, to) = pair(&mut world, "#", 0);
        let len = u8::try_from(topic.len()).unwrap();
        world.send_bytes(from, &[&[0x30, 3 + len, 0, len], topic.as_bytes(), &[0]].concat());
        world.expect(from, &["disconnect 90", "closed"]);
        world.expect(to, &[]);
    }
}

#[test]
fn v5_3_3_2_3_the_topic_sent_matches_the_filter() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, "a/+/c", 0);
    for topic in ["a/b/c", "a//c", "a/b", "a/b/c/d", "A/b/c", "a/b/C", "b/b/c", "/a/b/c"] {
        world.publish(from, message(topic, "m"));
    }
    world.expect(to, &["publish a/b/c=m", "publish a//c=m"]);
    // A topic given as an alias arrives as the topic.
    let topic_alias = std::num::NonZeroU16::new(1);
    world.publish(from, Publish { topic_alias, ..message("a/long/c", "1") });
    world.publish(from, Publish { topic_alias, ..message("", "2") });
    world.expect(to, &["publish a/long/c=1", "publish a/long/c=2"]);
}

#[test]
fn v5_3_3_2_4_the_payload_format_indicator_is_forwarded_as_it_came() {
    for properties in [&[][..], &[0x01, 0x00], &[0x01, 0x01]] {
        let mut world = World::new();
        let (from, to) = pair(&mut world, "x", 0);
        let publish = raw_publish(properties);
        world.send_bytes(from, &publish);
        assert_eq!(world.take_bytes(to), publish);
    }
}

#[test]
fn v5_3_3_2_6_the_remaining_expiry_counts_whole_seconds_that_passed() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&Hello { receive_maximum: Some(1), ..lasting("to") });
    world.subscribe(to, &[("x", 1)]);
    for value in 1..=3 {
        world.publish(
            from,
            Publish { delivery: qos1(value), message_expiry_s: Some(10), ..message("x", &value.to_string()) },
        );
    }
    world.expect(to, &["publish x=1 q1 #1 expiry=10"]);
    world.pass_ms(2_500);
    world.puback(to, 1);
    world.expect(to, &["publish x=2 q1 #2 expiry=8"]);
    // What did not start before its time was over is not sent at all.
    world.pass_ms(7_500);
    world.puback(to, 2);
    world.expect(to, &[]);
    assert_eq!((world.counters().queued, world.counters().dropped), (0, 1));
}

#[test]
fn v5_3_3_2_6_an_expiry_of_0_is_forwarded_as_0_and_waits_for_nobody() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, "x", 1);
    let away = world.connect(&lasting("away"));
    world.subscribe(away, &[("x", 1)]);
    world.lose(away);
    let now_or_never = Publish { message_expiry_s: Some(0), retain: true, ..message("x", "m") };
    world.publish(from, Publish { delivery: qos1(1), ..now_or_never });
    world.expect(to, &["publish x=m q1 #1 expiry=0"]);
    let away = world.admit(&lasting("away"));
    world.expect(away, &["connack 00 present"]);
    world.subscribe_with(away, None, &[("x", options(0))]);
    world.expect(away, &["suback 1 00"]);
}

#[test]
fn v5_3_3_2_5_a_will_that_expired_in_a_queue_is_dropped() {
    let mut world = World::new();
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("alarm", 1)]);
    world.lose(to);
    let will = mqtt::Will { qos: mqtt::Qos::AtLeastOnce, message_expiry_s: Some(5), ..will("alarm") };
    for pass_ms in [4_000, 5_000] {
        let client = world.connect(&Hello { will: Some(will), ..v5("c") });
        world.lose(client);
        world.pass_ms(pass_ms);
        let to = world.admit(&lasting("to"));
        let shown = world.take(to);
        assert_eq!(shown.len(), if pass_ms < 5_000 { 2 } else { 1 }, "{shown:?}");
        if pass_ms < 5_000 {
            assert_eq!(shown[1], "publish alarm=gone q1 #1 expiry=1");
            world.puback(to, 1);
        }
        world.lose(to);
    }
}

#[test]
fn v5_3_3_2_12_every_alias_up_to_our_maximum_is_accepted_and_none_above() {
    for (alias, told) in [(1, None), (5, None), (6, Some("disconnect 94")), (65_535, Some("disconnect 94"))] {
        let mut world = World::with_limits(&Limits { topic_alias_maximum: 5, ..Limits::default() });
        let (from, to) = pair(&mut world, "#", 0);
        let topic_alias = std::num::NonZeroU16::new(alias);
        world.publish(from, Publish { topic_alias, ..message("x", "m") });
        match told {
            None => world.expect(to, &["publish x=m"]),
            Some(told) => {
                world.expect(from, &[told, "closed"]);
                world.expect(to, &[]);
            }
        }
    }
    let mut world = World::with_limits(&Limits { topic_alias_maximum: 0, ..Limits::default() });
    let from = world.connect(&v5("from"));
    world.publish(from, Publish { topic_alias: std::num::NonZeroU16::new(1), ..message("x", "m") });
    world.expect(from, &["disconnect 94", "closed"]);
}

#[test]
fn v5_3_3_2_13_14_a_response_topic_that_is_no_topic_name_ends_the_link() {
    for (text, told) in
        [(0xff, "disconnect 81"), (0, "disconnect 81"), (b'+', "disconnect 82"), (b'#', "disconnect 82")]
    {
        let mut world = World::new();
        let (from, to) = pair(&mut world, "x", 0);
        world.send_bytes(from, &raw_publish(&[0x08, 0, 1, text]));
        world.expect(from, &[told, "closed"]);
        world.expect(to, &[]);
    }
}

#[test]
fn v5_3_3_2_15_the_response_topic_is_forwarded_unchanged() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, "x", 0);
    // It is the subscriber's business whether it may publish there.
    for topic in ["re/x", "/", "secret/x", "$SYS/x", "é"] {
        let properties = ForwardedPropertiesBuf::new().response_topic(topic).unwrap();
        world.publish(from, Publish { properties: properties.as_ref(), ..message("x", "m") });
        world.expect(to, &[&format!("publish x=m re={topic}")]);
    }
}

#[test]
fn v5_3_3_2_16_correlation_data_is_forwarded_unchanged() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, "x", 0);
    let long = [0xc0; 3_000];
    for data in [&[][..], &[0], &[0xff, 0xfe, 0], &long] {
        let properties = ForwardedPropertiesBuf::new().correlation_data(data).unwrap();
        world.publish(from, Publish { properties: properties.as_ref(), ..message("x", "m") });
        world.expect(to, &[&format!("publish x=m correlation={data:02x?}")]);
    }
}

#[test]
fn v5_3_3_2_18_user_properties_keep_their_order_on_every_way() {
    let properties = all_properties();
    let said = "utf8 type=text/plain; é re=re/x correlation=[00, ff] b:1 a:2 b:1";
    let mut world = World::with(2, OPEN, &Limits::default());
    let from = world.connect(&v5("from"));
    let names = ["a", "b", "c", "d", "e", "f"];
    let clients: Vec<_> = names.iter().map(|name| world.connect(&lasting(name))).collect();
    assert!(clients.iter().any(|c| c.shard == 0) && clients.iter().any(|c| c.shard == 1));
    for &client in &clients {
        world.subscribe(client, &[("x", 1)]);
    }
    world.lose(clients[0]);
    let publish = Publish { delivery: qos1(1), properties: properties.as_ref(), ..message("x", "m") };
    world.publish(from, publish);
    for &client in &clients[1..] {
        world.expect(client, &[&format!("publish x=m q1 #1 {said}")]);
    }
    let away = world.admit(&lasting("a"));
    world.expect(away, &["connack 00 present", &format!("publish x=m q1 #1 {said}")]);
    // And when it is sent again.
    world.lose(clients[1]);
    let again = world.admit(&lasting("b"));
    world.expect(again, &["connack 00 present", &format!("publish x=m q1 #1 dup {said}")]);
}

#[test]
fn v5_3_3_2_19_a_content_type_that_is_no_text_ends_the_link() {
    for text in [&[0xff][..], &[0], &[0xed, 0xa0, 0x80], &[0xc0, 0x80]] {
        let mut world = World::new();
        let (from, to) = pair(&mut world, "x", 0);
        let len = u8::try_from(text.len()).unwrap();
        world.send_bytes(from, &raw_publish(&[&[0x03, 0, len], text].concat()));
        world.expect(from, &["disconnect 81", "closed"]);
        world.expect(to, &[]);
    }
}

#[test]
fn v5_3_3_2_20_the_content_type_is_forwarded_unchanged() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, "x", 0);
    for text in ["", "text/plain", "\u{feff}x", "no such type"] {
        let properties = ForwardedPropertiesBuf::new().content_type(text).unwrap();
        world.publish(from, Publish { properties: properties.as_ref(), ..message("x", "m") });
        world.expect(to, &[&format!("publish x=m type={text}")]);
    }
}

#[test]
fn v5_3_3_4_2_overlapping_subscriptions_deliver_at_the_highest_qos() {
    for (granted, highest) in [([0, 1, 2], 2), ([2, 1, 0], 2), ([1, 0, 1], 1), ([0, 0, 0], 0)] {
        let mut world = World::new();
        let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
        for (filter, qos) in ["a/#", "a/+", "a/b"].into_iter().zip(granted) {
            world.subscribe(to, &[(filter, qos)]);
        }
        for published in 0..=2 {
            let delivery = [Delivery::AtMostOnce, qos1(1), qos2(2)][published];
            world.publish(from, Publish { delivery, ..message("a/b", "m") });
            let shown = world.take(to);
            assert_eq!(shown.len(), 1, "one copy: {shown:?}");
            // Never above what it was published with.
            let qos = highest.min(published);
            let marks = [false, shown[0].contains(" q1 "), shown[0].contains(" q2 ")];
            assert_eq!(marks, [false, qos == 1, qos == 2], "{granted:?} {published}: {shown:?}");
        }
    }
}

#[test]
fn v5_3_3_4_3_the_identifiers_of_the_matching_subscriptions_are_sent_and_no_others() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe_with(to, Some(268_435_455), &[("a/#", options(0))]);
    world.subscribe_with(to, None, &[("a/+", options(0))]);
    world.subscribe_with(to, Some(1), &[("a/b", options(0)), ("other", options(0))]);
    world.subscribe_with(to, Some(2), &[("a/b/c", options(0))]);
    world.take(to);
    world.publish(from, message("a/b", "m"));
    world.publish(from, message("a/x", "m"));
    world.publish(from, message("other", "m"));
    let ids = ["publish a/b=m ids=1,268435455", "publish a/x=m ids=268435455", "publish other=m ids=1"];
    let mut shown = world.take(to);
    // The order of several identifiers says nothing.
    shown[0] = shown[0].replace("ids=268435455,1", "ids=1,268435455");
    assert_eq!(shown, ids);
    // A subscription made anew without an identifier has none.
    world.subscribe_with(to, None, &[("a/#", options(0)), ("a/b", options(0))]);
    world.take(to);
    world.publish(from, message("a/b", "m"));
    world.expect(to, &["publish a/b=m"]);
}

#[test]
fn v5_3_3_4_5_each_of_several_copies_has_the_identifier_of_its_own_subscription() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe_with(to, Some(1), &[("x", options(0))]);
    world.subscribe_with(to, Some(2), &[("$share/g/x", options(0))]);
    world.subscribe_with(to, Some(3), &[("$share/h/x", options(0))]);
    world.subscribe_with(to, None, &[("$share/i/x", options(0))]);
    world.take(to);
    world.publish(from, message("x", "m"));
    let mut shown = world.take(to);
    shown.sort();
    assert_eq!(shown, ["publish x=m", "publish x=m ids=1", "publish x=m ids=2", "publish x=m ids=3"]);
}

#[test]
fn v5_3_3_4_6_a_client_that_sends_a_subscription_identifier_is_disconnected() {
    let mut world = World::new();
    let (from, to) = pair(&mut world, "x", 0);
    world.send_bytes(from, &raw_publish(&[0x0b, 1]));
    world.expect(from, &["disconnect 82", "closed"]);
    world.expect(to, &[]);
}

#[test]
fn v5_3_3_4_9_the_window_counts_qos_2_until_pubcomp_and_defaults_to_65535() {
    let mut world = World::with_limits(&Limits { inflight_max: 65_535, ..Limits::default() });
    let from = world.connect(&v311("from"));
    let to = world.connect(&Hello { receive_maximum: Some(1), ..v5("to") });
    world.subscribe(to, &[("x", 2)]);
    for value in 1..=2 {
        world.publish(from, Publish { delivery: qos2(value), ..message("x", "m") });
    }
    world.expect(to, &["publish x=m q2 #1"]);
    world.pubrec(to, 1);
    world.expect(to, &["pubrel 1 00"]);
    world.pubcomp(to, 1);
    world.expect(to, &["publish x=m q2 #2"]);
    let greedy = world.connect(&v5("greedy"));
    world.subscribe(greedy, &[("y", 1)]);
    for value in 1..=1_000 {
        world.publish(from, Publish { delivery: qos1(value), ..message("y", "m") });
    }
    assert_eq!(world.take(greedy).len(), 1_000, "the limit of one client is not that of another");
}

#[test]
fn v5_3_3_4_10_a_full_window_holds_back_nothing_but_publish() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&Hello { receive_maximum: Some(2), ..v5("to") });
    world.subscribe(to, &[("x", 2)]);
    for value in 1..=3 {
        world.publish(from, Publish { delivery: qos2(value), ..message("x", "m") });
    }
    world.expect(to, &["publish x=m q2 #1", "publish x=m q2 #2"]);
    world.send(to, &Packet::PingReq);
    world.subscribe_with(to, None, &[("y", options(1))]);
    let filters = UnsubscribeFilters::from_slice(&["y"]);
    world.send(to, &Packet::Unsubscribe(Unsubscribe { id: id(2), user: mqtt::UserProperties::EMPTY, filters }));
    world.publish(to, Publish { delivery: qos1(5), ..message("z", "m") });
    world.publish(to, Publish { delivery: qos2(6), ..message("z", "m") });
    world.pubrel(to, 6);
    world.pubrec(to, 1);
    // QoS 0 is not counted.
    world.publish(from, message("x", "zero"));
    let answers = ["pingresp", "suback 1 01", "unsuback 2 00", "puback 5 10", "pubrec 6 10", "pubcomp 6 00"];
    world.expect(to, &[&answers[..], &["pubrel 1 00", "publish x=zero"]].concat());
}

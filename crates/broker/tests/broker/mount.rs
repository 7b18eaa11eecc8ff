//! Mount points: a client behind one sees its own part of the topics and cannot name any other.

use motte_broker::Limits;
use motte_broker::audit::{Denial, EventKind};
use motte_broker::mqtt::{Disconnect, Packet, Publish, ReasonCode, SubscriptionOptions};

use crate::kit::{Client, Hello, V5, V31, V311, World, lasting, message, options, qos1, qos2, v5, v311, will};

/// A client behind the mount point `site/`.
fn on_site(client_id: &str) -> Hello<'_> {
    Hello { mount_point: "site/", ..v5(client_id) }
}

/// A world in which `outside` sees all topics.
fn world() -> (World, Client) {
    let mut world = World::new();
    let outside = world.connect(&v5("outside"));
    world.subscribe(outside, &[("#", 2)]);
    (world, outside)
}

#[test]
fn what_comes_from_a_mounted_client_has_the_prefix_and_what_goes_to_it_has_not() {
    for version in [V31, V311, V5] {
        let (mut world, outside) = world();
        let inside = world.connect(&Hello { version, ..on_site("inside") });
        world.subscribe(inside, &[("a/+", 2)]);
        world.publish(inside, message("a/b", "out"));
        world.expect(outside, &["publish site/a/b=out"]);
        world.expect(inside, &["publish a/b=out"]);
        world.publish(outside, message("site/a/c", "in"));
        world.expect(inside, &["publish a/c=in"]);
        world.take(outside);
        world.publish(outside, message("a/c", "elsewhere"));
        world.expect(inside, &[]);
    }
}

#[test]
fn qos_1_and_2_are_delivered_behind_a_mount_point_and_sent_again_without_the_prefix() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let hello = Hello { mount_point: "site/", ..lasting("inside") };
    let inside = world.connect(&hello);
    world.subscribe(inside, &[("a/#", 2)]);
    world.publish(from, Publish { delivery: qos1(1), ..message("site/a/1", "one") });
    world.publish(from, Publish { delivery: qos2(2), ..message("site/a/2", "two") });
    world.expect(inside, &["publish a/1=one q1 #1", "publish a/2=two q2 #2"]);
    world.lose(inside);
    world.publish(from, Publish { delivery: qos1(3), ..message("site/a/3", "queued") });
    let inside = world.admit(&hello);
    let again = ["connack 00 present", "publish a/1=one q1 #1 dup", "publish a/2=two q2 #2 dup"];
    world.expect(inside, &[&again[..], &["publish a/3=queued q1 #3"]].concat());
}

#[test]
fn retained_messages_are_kept_by_their_full_name() {
    let mut world = World::new();
    let (outside, inside) = (world.connect(&v5("outside")), world.connect(&on_site("inside")));
    world.publish(inside, Publish { retain: true, ..message("state", "on") });
    world.publish(outside, Publish { retain: true, ..message("site", "of the parent") });
    world.publish(outside, Publish { retain: true, ..message("other/state", "of others") });
    world.subscribe_with(inside, None, &[("#", options(0))]);
    world.expect(inside, &["suback 1 00", "publish state=on retain"]);
    world.subscribe_with(outside, None, &[("site/state", options(0))]);
    world.expect(outside, &["suback 1 00", "publish site/state=on retain"]);
    world.publish(outside, Publish { retain: true, ..message("site/state", "") });
    world.take(inside);
    world.subscribe_with(inside, None, &[("#", options(0))]);
    world.expect(inside, &["suback 1 00"]);
}

#[test]
fn a_wildcard_reaches_neither_the_parent_of_the_mount_point_nor_what_lies_beside_it() {
    let mut world = World::new();
    let (outside, inside) = (world.connect(&v5("outside")), world.connect(&on_site("inside")));
    world.subscribe(inside, &[("#", 1), ("+", 1)]);
    for topic in ["site", "site/", "sites/x", "x", "site/$x", "site/$SYS/load"] {
        world.publish(outside, Publish { delivery: qos1(1), ..message(topic, "m") });
    }
    world.expect(inside, &[]);
    world.publish(outside, message("site//", "empty levels"));
    world.expect(inside, &["publish /=empty levels"]);
    world.counters();
}

#[test]
fn k19_topics_of_the_server_cannot_be_named_behind_a_mount_point() {
    let mut world = World::with(1, "topic readwrite #\ntopic readwrite $SYS/#\n", &Limits::default());
    let outside = world.connect(&v5("outside"));
    let inside = world.connect(&on_site("inside"));
    world.subscribe(outside, &[("$SYS/#", 0), ("site/#", 0)]);
    for (number, topic) in ["$SYS/load", "$CONTROL/x", "$share/g/x", "$x"].into_iter().enumerate() {
        let number = u16::try_from(number + 1).unwrap();
        world.publish(inside, Publish { delivery: qos1(number), ..message(topic, "m") });
        world.expect(inside, &[&format!("puback {number} 87")]);
    }
    let filters = ["$SYS/#", "$share/g/$SYS/#", "$x"].map(|filter| (filter, options(0)));
    world.subscribe_with(inside, None, &filters);
    world.expect(inside, &["suback 1 87 87 87"]);
    world.expect(outside, &[]);
    world.events();
    let willful = world.admit(&Hello { will: Some(will("$SYS/load")), ..on_site("willful") });
    world.expect(willful, &["connack 87", "closed"]);
    world.publish(outside, message("$SYS/load", "m"));
    world.expect(inside, &[]);
}

#[test]
fn shared_subscriptions_are_mounted_behind_the_name_of_the_group() {
    let mut world = World::new();
    let (outside, inside) = (world.connect(&v5("outside")), world.connect(&on_site("inside")));
    // Both are in one group: its filter is a full name.
    world.subscribe(outside, &[("$share/g/site/#", 1)]);
    world.subscribe(inside, &[("$share/g/#", 1)]);
    let from = world.connect(&v5("from"));
    for number in 1..=4 {
        world.publish(from, Publish { delivery: qos1(number), ..message("site/job", "m") });
    }
    world.expect(outside, &["publish site/job=m q1 #1", "publish site/job=m q1 #2"]);
    world.expect(inside, &["publish job=m q1 #1", "publish job=m q1 #2"]);
    // Only the member that can be told the name is given a message of the parent level.
    for number in 5..=6 {
        world.publish(from, Publish { delivery: qos1(number), ..message("site", "m") });
    }
    world.expect(outside, &["publish site=m q1 #3", "publish site=m q1 #4"]);
    world.expect(inside, &[]);
    world.unsubscribe(inside, &["$share/g/#"]);
    world.expect(inside, &["unsuback 2 00"]);
}

#[test]
fn unsubscribing_takes_the_name_that_was_subscribed_to() {
    let mut world = World::new();
    let (from, inside) = (world.connect(&v5("from")), world.connect(&on_site("inside")));
    world.subscribe(inside, &[("a", 0)]);
    world.unsubscribe(inside, &["site/a", "a", "a"]);
    world.expect(inside, &["unsuback 2 11 00 11"]);
    world.publish(from, message("site/a", "m"));
    world.expect(inside, &[]);
}

#[test]
fn a_will_is_published_under_the_mount_point() {
    let (mut world, outside) = world();
    let inside = world.connect(&Hello { will: Some(will("gone")), ..on_site("inside") });
    world.lose(inside);
    world.expect(outside, &["publish site/gone=gone"]);
}

#[test]
fn a_topic_alias_stands_for_the_mounted_topic() {
    let (mut world, outside) = world();
    let inside = world.connect(&on_site("inside"));
    let alias = std::num::NonZeroU16::new(1);
    world.publish(inside, Publish { topic_alias: alias, ..message("a", "1") });
    world.publish(inside, Publish { topic_alias: alias, ..message("", "2") });
    world.expect(outside, &["publish site/a=1", "publish site/a=2"]);
}

#[test]
fn an_empty_topic_does_not_become_the_mount_point() {
    let (mut world, outside) = world();
    let inside = world.connect(&on_site("inside"));
    // QoS 0, an empty topic, no properties.
    world.send_bytes(inside, b"\x30\x04\x00\x00\x00m");
    let shown = world.take(inside);
    assert_eq!(shown.last().map(String::as_str), Some("closed"), "{shown:?}");
    world.expect(outside, &[]);
}

#[test]
fn the_limit_of_levels_holds_for_the_full_name() {
    let mut world = World::with_limits(&Limits { topic_levels_max: 3, ..Limits::default() });
    let inside = world.connect(&on_site("inside"));
    world.subscribe_with(inside, None, &[("a/b", options(0)), ("a/b/c", options(0))]);
    world.expect(inside, &["suback 1 00 8f"]);
    let refused = world.admit(&Hello { will: Some(will("a/b/c")), ..on_site("willful") });
    world.expect(refused, &["connack 90", "closed"]);
    world.publish(inside, message("a/b", "m"));
    world.expect(inside, &["publish a/b=m"]);
    world.publish(inside, message("a/b/c", "m"));
    world.expect(inside, &["disconnect 90", "closed"]);
}

#[test]
fn the_limit_of_length_holds_for_the_full_name() {
    let mut world = World::with_limits(&Limits { topic_bytes_max: 65_535, ..Limits::default() });
    let inside = world.connect(&on_site("inside"));
    let (most, more) = ("x".repeat(65_530), "x".repeat(65_531));
    world.subscribe_with(inside, None, &[(&more, options(0)), (&most, options(0))]);
    world.expect(inside, &["suback 1 8f 00"]);
    world.publish(inside, message(&more, "m"));
    world.expect(inside, &["disconnect 90", "closed"]);
}

#[test]
fn rules_are_asked_about_the_full_name() {
    let acl = "user inside\ntopic readwrite site/mine/#\ntopic readwrite outside/#\nuser outside\ntopic readwrite #\n";
    let mut world = World::with(1, acl, &Limits::default());
    let inside = world.connect(&on_site("inside"));
    world.events();
    let filters = ["mine/#", "outside/#", "site/mine/#"].map(|filter| (filter, SubscriptionOptions::default()));
    world.subscribe_with(inside, None, &filters);
    world.expect(inside, &["suback 1 00 87 87"]);
    let denied = |what, topic: &str| EventKind::Denied { what, topic: topic.into() };
    let expected = ["site/outside/#", "site/site/mine/#"].map(|topic| denied(Denial::Subscribe, topic));
    assert_eq!(world.events(), expected);
    world.publish(inside, Publish { delivery: qos1(1), ..message("outside/x", "m") });
    world.publish(inside, Publish { delivery: qos1(2), ..message("mine/x", "m") });
    world.expect(inside, &["puback 1 87", "publish mine/x=m", "puback 2 00"]);
}

#[test]
fn k20_a_right_that_is_taken_away_ends_a_mounted_subscription() {
    let mut world = World::new();
    let (from, inside) = (world.connect(&v5("from")), world.connect(&on_site("inside")));
    world.subscribe(inside, &[("a", 0), ("b", 0)]);
    world.change_policy("pattern readwrite #\npattern deny site/a\n");
    world.publish(from, message("site/b", "m"));
    world.expect(inside, &["publish b=m"]);
    world.unsubscribe(inside, &["a", "b"]);
    world.expect(inside, &["unsuback 2 11 00"]);
}

#[test]
fn a_session_is_not_resumed_behind_another_mount_point() {
    for (made, resumed) in [("site/", ""), ("", "site/"), ("site/", "hall/"), ("site/", "site/a/")] {
        for version in [V31, V311, V5] {
            for online in [true, false] {
                let mut world = World::new();
                let from = world.connect(&v5("from"));
                let hello = Hello { version, mount_point: made, ..lasting("c") };
                let first = world.connect(&hello);
                world.subscribe(first, &[("a/#", 1)]);
                if !online {
                    world.lose(first);
                    let queued = Publish { delivery: qos1(1), ..message("site/a/b", "secret") };
                    world.publish(from, queued);
                    world.publish(from, Publish { delivery: qos1(2), topic: "a/b", ..queued });
                }
                let second = world.admit(&Hello { mount_point: resumed, ..hello.clone() });
                world.expect(second, &["connack 00"]);
                if online {
                    let shown = world.take(first);
                    let told = if version == V5 { &["disconnect 8e", "closed"][..] } else { &["closed"] };
                    assert_eq!(shown, told);
                }
                for topic in ["a/b", "site/a/b", "hall/a/b", "site/a/a/b"] {
                    world.publish(from, message(topic, "m"));
                }
                world.expect(second, &[]);
                // Nor does the old session come back when its client does.
                let third = world.admit(&hello);
                world.expect(third, &["connack 00"]);
                assert_eq!(world.counters().sessions, 2, "{made:?} {resumed:?}");
            }
        }
    }
}

#[test]
fn a_session_is_resumed_behind_the_mount_point_it_was_made_behind() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let hello = Hello { mount_point: "site/", clean_start: false, ..v311("c") };
    let first = world.connect(&hello);
    world.subscribe(first, &[("a", 1)]);
    let second = world.admit(&hello);
    world.expect(second, &["connack 00 present"]);
    world.publish(from, Publish { delivery: qos1(1), ..message("site/a", "m") });
    world.expect(second, &["publish a=m q1 #1"]);
}

#[test]
fn the_will_of_a_session_ended_by_another_mount_point_keeps_its_own() {
    let (mut world, outside) = world();
    let with_delay = motte_broker::mqtt::Will { delay_s: 100, ..will("gone") };
    let hello = Hello { will: Some(with_delay), mount_point: "site/", ..lasting("c") };
    let first = world.connect(&hello);
    world.lose(first);
    world.expect(outside, &[]);
    world.connect(&Hello { mount_point: "hall/", will: None, ..hello });
    world.expect(outside, &["publish site/gone=gone"]);
}

#[test]
fn one_client_identifier_behind_two_mount_points_is_one_client() {
    let mut world = World::new();
    let owner = world.connect(&on_site("c"));
    let thief = world.admit(&Hello { user: "thief", mount_point: "hall/", ..v5("c") });
    world.expect(thief, &["connack 85", "closed"]);
    world.send(owner, &Packet::Disconnect(Disconnect::new(ReasonCode::Success)));
    world.expect(owner, &["closed"]);
}

//! Topic aliases the broker uses towards a client: only where it asked for them, and never of another connection.

use motte_broker::Limits;
use mqtt::{Publish, ReasonCode};

use crate::kit::*;

fn takes(client_id: &str, topic_alias_maximum: u16) -> Hello<'_> {
    Hello { topic_alias_maximum, ..v5(client_id) }
}

#[test]
fn v5_3_3_2_11_the_first_message_of_a_topic_carries_topic_and_alias_and_later_ones_the_alias_alone() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&takes("to", 2)));
    world.subscribe(to, &[("#", 1)]);
    world.publish(from, message("plant/one", "a"));
    world.publish(from, message("plant/one", "b"));
    world.publish(from, Publish { delivery: qos1(1), ..message("plant/two", "c") });
    world.publish(from, Publish { delivery: qos1(2), ..message("plant/two", "d") });
    world.publish(from, message("plant/one", "e"));
    world.expect(
        to,
        &[
            "publish plant/one=a alias=1",
            "publish =b alias=1",
            "publish plant/two=c q1 #1 alias=2",
            "publish =d q1 #2 alias=2",
            "publish =e alias=1",
        ],
    );
}

#[test]
fn v5_3_1_2_26_no_alias_is_above_the_maximum_of_the_client() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&takes("to", 3)));
    world.subscribe(to, &[("#", 0)]);
    for round in 0..3 {
        for topic in 0..100 {
            world.publish(from, message(&format!("sensors/{topic:02}"), "m"));
        }
        let shown = world.take(to);
        assert_eq!(shown.len(), 100);
        let aliased: Vec<_> = shown.iter().filter_map(|line| line.split_once(" alias=")).collect();
        let highest = aliased.iter().map(|(_, alias)| alias.parse::<u16>().unwrap()).max();
        assert_eq!((aliased.len(), highest), (3, Some(3)), "round {round}");
        assert_eq!(shown[50], "publish sensors/50=m", "round {round}: the others go by their topics");
    }
}

#[test]
fn v5_3_1_2_27_a_client_that_takes_no_aliases_is_sent_none() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let old = Hello { version: V311, ..takes("old", 10) };
    for hello in [v5("absent"), takes("zero", 0), old] {
        let to = world.connect(&hello);
        world.subscribe(to, &[("plant/#", 0)]);
        world.publish(from, message("plant/one", "a"));
        world.publish(from, message("plant/one", "b"));
        world.expect(to, &["publish plant/one=a", "publish plant/one=b"]);
    }
}

#[test]
fn v5_3_3_2_7_an_alias_of_ours_does_not_survive_the_connection() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let lasting = |topic_alias_maximum| Hello { topic_alias_maximum, ..lasting("to") };
    let to = world.connect(&lasting(5));
    world.subscribe(to, &[("plant/#", 1)]);
    for value in 1..=2 {
        world.publish(from, Publish { delivery: qos1(value), ..message("plant/one", "m") });
    }
    world.expect(to, &["publish plant/one=m q1 #1 alias=1", "publish =m q1 #2 alias=1"]);
    world.lose(to);
    let to = world.admit(&lasting(0));
    world.expect(to, &["connack 00 present", "publish plant/one=m q1 #1 dup", "publish plant/one=m q1 #2 dup"]);
    let to = world.admit(&lasting(1));
    world.expect(to, &["connack 00 present", "publish plant/one=m q1 #1 dup alias=1", "publish =m q1 #2 dup alias=1"]);
}

#[test]
fn v5_3_3_2_8_an_alias_the_client_never_received_is_never_used() {
    let mut world = World::with_limits(&Limits { outbox_bytes_max: 100, ..Limits::default() });
    let (from, to) = (world.connect(&v5("from")), world.connect(&takes("to", 5)));
    world.subscribe(to, &[("#", 0)]);
    // The second message finds no room and is dropped: its topic gets no alias by that.
    world.publish(from, message("first/topic", &"m".repeat(100)));
    world.publish(from, message("other/topic", "dropped"));
    assert_eq!(world.take(to).len(), 1);
    world.publish(from, message("other/topic", "m"));
    world.expect(to, &["publish other/topic=m alias=2"]);
}

#[test]
fn v5_3_1_2_24_a_message_that_fits_without_its_alias_is_sent_without() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let topic = "plant/one";
    // Fixed header, topic, property length and payload: the alias would take three bytes more.
    let (bare, payload) = (2 + 2 + topic.len() + 1 + 10, "0123456789");
    for (spare, expected) in [(0, "publish plant/one=0123456789"), (3, "publish plant/one=0123456789 alias=1")] {
        let packet_size_max = Some(u32::try_from(bare + spare).unwrap());
        let to = world.connect(&Hello { packet_size_max, ..takes("to", 5) });
        world.subscribe(to, &[(topic, 0)]);
        world.publish(from, message(topic, payload));
        world.expect(to, &[expected]);
    }
    // One byte more than the client takes is left out in any form, and gives its topic no alias (MQTT-3.1.2-25).
    let to = world.connect(&Hello { packet_size_max: Some(u32::try_from(bare - 1).unwrap()), ..takes("to", 5) });
    world.subscribe(to, &[(topic, 0)]);
    world.publish(from, message(topic, payload));
    world.publish(from, message(topic, "m"));
    world.expect(to, &["publish plant/one=m alias=1"]);
}

#[test]
fn topics_too_short_to_pay_and_aliases_beyond_our_own_bound_are_not_used() {
    let mut world = World::with_limits(&Limits { topic_alias_outbound_max: 1, ..Limits::default() });
    let (from, to) = (world.connect(&v5("from")), world.connect(&takes("to", u16::MAX)));
    world.subscribe(to, &[("#", 0)]);
    for topic in ["short", "a/longer/topic", "another/longer/topic"] {
        world.publish(from, message(topic, "m"));
    }
    world.expect(to, &["publish short=m", "publish a/longer/topic=m alias=1", "publish another/longer/topic=m"]);
    world.disconnect(to, ReasonCode::Success);
    let mut world = World::with_limits(&Limits { topic_alias_outbound_max: 0, ..Limits::default() });
    let (from, to) = (world.connect(&v5("from")), world.connect(&takes("to", 5)));
    world.subscribe(to, &[("#", 0)]);
    world.publish(from, message("a/longer/topic", "m"));
    world.expect(to, &["publish a/longer/topic=m"]);
}

//! The journal: what is recorded, and that acknowledgements wait for it in order.

use motte_broker::Position;
use mqtt::{Disconnect, Packet, Publish, ReasonCode};

use crate::kit::*;

#[test]
fn one_record_serves_all_durable_targets_and_each_settles_on_its_own() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let (one, two, brief) = (world.connect(&lasting("one")), world.connect(&lasting("two")), world.connect(&v5("b")));
    for client in [one, two, brief] {
        world.subscribe(client, &[("x", 2)]);
    }
    world.publish(from, message("x", "zero"));
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "m") });
    world.publish(from, Publish { delivery: qos1(2), ..message("nobody", "m") });
    world.take(one);
    world.puback(one, 1);
    world.disconnect(two, ReasonCode::Success);
    world.connect(&v5("two"));
    assert_eq!(
        world.shards[0].journal().records,
        [
            "opened one 1000",
            "opened two 1000",
            "subscribed one x",
            "subscribed two x",
            "published x to [one@1 two@1]",
            "sent one 5 #1",
            "sent two 5 #1",
            "settled one 5",
            "left two",
            "closed two",
        ]
    );
}

#[test]
fn retained_messages_wills_and_unsubscribing_are_recorded() {
    let mut world = World::new();
    let client = world.connect(&Hello { will: Some(will("alarm")), ..lasting("c") });
    world.publish(client, Publish { retain: true, ..message("x", "m") });
    world.subscribe(client, &[("y", 0)]);
    world.unsubscribe(client, &["y"]);
    world.disconnect(client, ReasonCode::Success);
    let records = &world.shards[0].journal().records;
    let expected = [
        "opened c 1000",
        "will c alarm",
        "published x to [] retain",
        "retained x 3 as 1",
        "subscribed c y",
        "unsubscribed c y",
        "no will c",
        "left c",
    ];
    assert_eq!(*records, expected);
}

#[test]
fn what_a_later_connection_or_a_disconnect_changes_of_a_session_is_recorded() {
    let mut world = World::new();
    let delayed = mqtt::Will { delay_s: 50, ..will("alarm") };
    let client = world.connect(&Hello { will: Some(delayed), ..lasting("c") });
    world.lose(client);
    // Back in time and without a will: the old one must not fire after a crash.
    let client = world.connect(&lasting("c"));
    let leave = |expiry_s| {
        Packet::Disconnect(Disconnect { session_expiry_s: Some(expiry_s), ..Disconnect::new(ReasonCode::Success) })
    };
    world.send(client, &leave(30));
    // Resumed to end with its connection: a crash of ours ends that connection.
    let client = world.connect(&Hello { session_expiry_s: None, ..lasting("c") });
    world.disconnect(client, ReasonCode::Success);
    let client = world.connect(&lasting("d"));
    world.send(client, &leave(0));
    let expected = [
        "opened c 1000",
        "will c alarm",
        "left c",
        "no will c",
        "opened c 1000",
        "opened c 30",
        "left c",
        "opened c 0",
        "closed c",
        "opened d 1000",
        "closed d",
    ];
    assert_eq!(world.shards[0].journal().records, expected);
}

#[test]
fn a_second_copy_of_a_message_for_the_same_session_has_a_record_of_its_own() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let (own, other) = (world.connect(&lasting("own")), world.connect(&lasting("other")));
    world.subscribe(own, &[("x", 1), ("$share/g/x", 1), ("$share/h/+", 1)]);
    let records = world.shards[0].journal().records.len();
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "m") });
    world.take(own);
    world.puback(own, 2);
    world.puback(own, 1);
    world.subscribe(other, &[("$share/i/x", 1)]);
    world.unsubscribe(own, &["x", "$share/h/+"]);
    world.publish(from, Publish { delivery: qos1(2), ..message("x", "n") });
    let expected = [
        "published x to [own@1]",
        "sent own 6 #1",
        "published x to [own@1]",
        "sent own 8 #2",
        "published x to [own@1]",
        "sent own 10 #3",
        "settled own 8",
        "settled own 6",
        "subscribed other $share/i/x",
        "unsubscribed own x",
        "unsubscribed own $share/h/+",
        "published x to [own@1]",
        "sent own 17 #4",
        "published x to [other@1]",
        "sent other 19 #1",
    ];
    assert_eq!(world.shards[0].journal().records[records..], expected);
}

#[test]
fn the_identifier_of_a_retained_message_at_qos_2_is_recorded_before_it_is_sent() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    world.publish(from, Publish { retain: true, delivery: qos2(1), ..message("x", "m") });
    let to = world.connect(&lasting("to"));
    let records = world.shards[0].journal().records.len();
    world.hold_journal(true);
    world.subscribe_with(to, None, &[("x", options(2))]);
    world.expect(to, &[]);
    world.hold_journal(false);
    world.expect(to, &["suback 1 02", "publish x=m q2 #1 retain"]);
    let expected = ["subscribed to x", "published x to [to@2]", "sent to 5 #1"];
    assert_eq!(world.shards[0].journal().records[records..], expected);
}

#[test]
fn acknowledgements_wait_for_the_journal_in_order() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&lasting("to")));
    world.subscribe(to, &[("x", 2)]);
    world.hold_journal(true);
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "m") });
    world.publish(from, Publish { delivery: qos2(2), ..message("x", "m") });
    world.publish(from, Publish { delivery: qos1(3), ..message("nobody", "m") });
    world
        .publish(from, Publish { delivery: mqtt::Delivery::ExactlyOnce { id: id(2), dup: true }, ..message("x", "m") });
    world.subscribe_with(to, None, &[("y", options(0))]);
    world.send(from, &Packet::PingReq);
    world.expect(from, &["pingresp"]);
    world.expect(to, &["publish x=m q1 #1"]);
    world.journal_reaches(Position(3));
    world.expect(from, &["puback 1 00"]);
    world.hold_journal(false);
    world.expect(from, &["pubrec 2 00", "puback 3 10", "pubrec 2 00"]);
    world.expect(to, &["suback 1 00", "publish x=m q2 #2"]);
}

#[test]
fn v5_3_3_4_7_publishes_that_wait_for_the_journal_count_against_our_receive_maximum() {
    let mut world = World::with_limits(&motte_broker::Limits { receive_maximum: 3, ..Default::default() });
    let (from, to) = (world.connect(&v5("from")), world.connect(&lasting("to")));
    world.subscribe(to, &[("x", 1)]);
    world.hold_journal(true);
    for value in 1..=4 {
        world.publish(from, Publish { delivery: qos1(value), ..message("x", "m") });
    }
    world.expect(from, &["disconnect 93", "closed"]);
}

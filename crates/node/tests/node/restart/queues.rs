//! Long queues and full ones, on a store: in order over restarts, refused where they are full, handed to other members
//! of a group.

use motte_mqtt::{Ack, Packet, Qos, ReasonCode};
use motte_node::settings::DurabilitySettings;

use super::kit::{Guest, come, id, keeping, lasting};
use crate::support::{House, Running, connect_as_nobody};

const QOS1: Qos = Qos::AtLeastOnce;

/// Publishes numbers at QoS 1, a hundred at a time.
fn publish_numbers(house: &House, node: &Running, topic: &str, numbers: std::ops::Range<u32>) {
    let mut writer = come(house, node, &connect_as_nobody("writer"), false);
    let numbers: Vec<_> = numbers.collect();
    for some in numbers.chunks(100) {
        for number in some {
            writer.publish_as(topic, &number.to_string(), |_| ());
        }
        for _ in some {
            assert_eq!(writer.next(), "puback #5");
        }
    }
    writer.leave();
}

/// The number and the identifier of the next message.
fn next_number(reader: &mut Guest) -> (u32, u16) {
    let line = reader.next();
    let (_, rest) = line.split_once('=').unwrap_or_else(|| panic!("{line}"));
    let (number, rest) = rest.split_once(" q1 #").unwrap_or_else(|| panic!("{line}"));
    (number.parse().unwrap(), rest.split(' ').next().unwrap().parse().unwrap())
}

/// Reads and acknowledges as many numbers.
fn read_numbers(reader: &mut Guest, count: usize) -> Vec<u32> {
    let read = (0..count).map(|_| {
        let (number, at) = next_number(reader);
        reader.0.send_packet(&Packet::PubAck(Ack::new(id(at), ReasonCode::Success)));
        number
    });
    read.collect()
}

#[test]
fn r01_a_long_queue_is_read_back_in_order_over_restarts() {
    let house = keeping();
    let node = house.start();
    let mut reader = come(&house, &node, &lasting("reader"), false);
    reader.subscribe("a", QOS1);
    reader.leave();
    publish_numbers(&house, &node, "a", 0..1_000);
    let mut reader = come(&house, &node, &lasting("reader"), true);
    assert_eq!(read_numbers(&mut reader, 300), (0..300).collect::<Vec<_>>());
    publish_numbers(&house, &node, "a", 1_000..1_500);
    reader.leave();
    node.stop().unwrap();

    let node = house.start();
    publish_numbers(&house, &node, "a", 1_500..1_600);
    let mut reader = come(&house, &node, &lasting("reader"), true);
    assert_eq!(read_numbers(&mut reader, 1_300), (300..1_600).collect::<Vec<_>>());
    reader.nothing();
}

#[test]
fn r03_a_publisher_is_refused_while_a_queue_is_full_and_let_in_when_it_is_not() {
    let mut house = keeping();
    house.settings.limits.queue_messages_max = 10;
    for is_stored in [true, false] {
        if !is_stored {
            house.settings.durability = DurabilitySettings::memory();
        }
        let node = house.start();
        let mut reader = come(&house, &node, &lasting("reader"), false);
        reader.subscribe("a", QOS1);
        reader.leave();
        publish_numbers(&house, &node, "a", 0..10);
        let mut writer = come(&house, &node, &connect_as_nobody("other"), false);
        writer.publish_as("a", "10", |_| ());
        assert_eq!(writer.next(), "puback #5 97");
        let mut reader = come(&house, &node, &lasting("reader"), true);
        assert_eq!(read_numbers(&mut reader, 10), (0..10).collect::<Vec<_>>());
        writer.publish("a", "10");
        assert_eq!(read_numbers(&mut reader, 1), [10]);
        reader.nothing();
        node.stop().unwrap();
    }
}

#[test]
fn r01_what_waits_for_a_group_is_read_back_for_another_member_after_a_restart() {
    let house = keeping();
    let node = house.start();
    let mut first = come(&house, &node, &lasting("first"), false);
    first.subscribe("$share/g/a", QOS1);
    first.leave();
    publish_numbers(&house, &node, "a", 0..500);
    node.stop().unwrap();

    let node = house.start();
    let mut second = come(&house, &node, &lasting("second"), false);
    second.subscribe("$share/g/a", QOS1);
    second.nothing();
    // Whoever comes and goes leaves what it has not acknowledged to the others, but for what is in flight.
    let mut first = come(&house, &node, &lasting("first"), true);
    assert_eq!(next_number(&mut first), (0, 1));
    first.leave();
    let (least, _) = next_number(&mut second);
    assert!((1..=100).contains(&least), "{least} was the first that was not in flight");
    second.0.send_packet(&Packet::PubAck(Ack::new(id(1), ReasonCode::Success)));
    let count = usize::try_from(500 - least - 1).unwrap();
    assert_eq!(read_numbers(&mut second, count), (least + 1..500).collect::<Vec<_>>());
    second.nothing();
    let mut first = come(&house, &node, &lasting("first"), true);
    let count = usize::try_from(least).unwrap();
    assert_eq!(read_numbers(&mut first, count), (0..least).collect::<Vec<_>>());
    first.nothing();
}

//! Admitted clients that are too slow or too fast: packets that drip in, readers that do not read, floods.

use std::time::{Duration, Instant};

use motte_mqtt::{
    Decoder, Delivery, Packet, PacketId, ProtocolVersion, ReasonCode, Sender, Subscribe, SubscribeFilters,
    SubscriptionOptions, UserProperties,
};

use crate::packets::{publish, qos1};
use crate::support::{Client, House, Running, connect_as_alice, encode, find_logged, logged};

fn admitted(house: &House, node: &Running, client_id: &str) -> Client {
    let mut client = house.open(node.address(), None, b"mqtt");
    assert_eq!(client.connect(&connect_as_alice(client_id)), 0);
    client
}

fn disconnected(packet: &Packet<'_>) -> ReasonCode {
    match packet {
        Packet::Disconnect(disconnect) => disconnect.reason,
        packet => panic!("{packet:?}"),
    }
}

#[test]
fn k06_a_packet_that_drips_in_ends_the_connection_however_steadily_it_does() {
    let mut house = House::new();
    house.settings.links.packet_deadline = Duration::from_secs(1);
    let node = house.start();
    let mut client = admitted(&house, &node, "dripping");
    let closed = |line: &serde_json::Value| line["cause"] == "limit" && line["client_id"] == "dripping";
    // A PUBLISH of 1,000 bytes, a byte at a time: at this pace it would take fifty seconds.
    client.send(&[0x30, 0xe8, 0x07, 0, 1, b'x', 0]);
    for _ in 0..200 {
        if find_logged(closed).is_some() {
            break;
        }
        client.send(b"m");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(find_logged(closed).is_some(), "ten seconds of dripping went unnoticed");
    assert_eq!(client.receive(disconnected), ReasonCode::QuotaExceeded);
    assert_eq!(client.until_closed(), b"");
}

#[test]
fn each_packet_has_its_own_time_to_arrive() {
    let mut house = House::new();
    house.settings.links.packet_deadline = Duration::from_secs(2);
    let node = house.start();
    let mut client = admitted(&house, &node, "in-halves");
    for value in 1..=4 {
        let bytes = encode(ProtocolVersion::V5, &publish("x", qos1(value), b"payload"));
        let (first, second) = bytes.split_at(5);
        client.send(first);
        std::thread::sleep(Duration::from_millis(700));
        client.send(second);
    }
    for value in 1..=4 {
        client.receive(|packet| match packet {
            Packet::PubAck(ack) => assert_eq!(ack.id.value(), value),
            packet => panic!("{packet:?}"),
        });
    }
}

#[test]
fn k05_a_reader_that_takes_nothing_for_too_long_is_ended_with_0x97() {
    let mut house = House::new();
    house.settings.links.write_timeout = Duration::from_secs(1);
    let node = house.start();
    let (mut deaf, mut loud) = (admitted(&house, &node, "stone-deaf"), admitted(&house, &node, "loud"));
    let filters = [("noise", SubscriptionOptions::default())];
    deaf.send_packet(&Packet::Subscribe(Subscribe {
        id: PacketId::new(1).unwrap(),
        subscription_id: None,
        user: UserProperties::EMPTY,
        filters: SubscribeFilters::from_slice(&filters),
    }));
    deaf.receive(|packet| assert!(matches!(packet, Packet::SubAck(_)), "{packet:?}"));
    let noise = encode(ProtocolVersion::V5, &publish("noise", Delivery::AtMostOnce, &[0; 64 * 1024]));
    for _ in 0..256 {
        loud.send(&noise);
    }
    logged(|line| line["cause"] == "slow_reader" && line["client_id"] == "stone-deaf");
    // It reads after all, and finds out why.
    let bytes = deaf.until_closed();
    let decoder = Decoder::new(Sender::Server, ProtocolVersion::V5, u32::MAX);
    let (mut rest, mut last) = (bytes.as_slice(), None);
    while let Some((packet, length)) = decoder.decode(rest).unwrap() {
        last = Some(packet);
        rest = &rest[length..];
    }
    assert!(rest.is_empty(), "nothing follows");
    assert_eq!(disconnected(&last.unwrap()), ReasonCode::QuotaExceeded);
    loud.send_packet(&Packet::PingReq);
    loud.receive(|packet| assert_eq!(packet, &Packet::PingResp));
}

#[test]
fn k13_a_client_over_its_rate_is_read_later_and_its_neighbour_at_once() {
    let mut house = House::new();
    house.settings.shards = std::num::NonZeroU16::MIN;
    house.settings.limits.publishes_per_s_max = 100;
    let node = house.start();
    let (mut fast, mut neighbour) = (admitted(&house, &node, "fast"), admitted(&house, &node, "neighbour"));
    let burst: Vec<u8> =
        (1..=300).flat_map(|value| encode(ProtocolVersion::V5, &publish("x", qos1(value), b"m"))).collect();
    let begun = Instant::now();
    fast.send(&burst);
    for value in 1..=300 {
        fast.receive(|packet| match packet {
            Packet::PubAck(ack) => assert_eq!(ack.id.value(), value),
            packet => panic!("{packet:?}"),
        });
    }
    fast.send_packet(&Packet::PingReq);
    neighbour.send_packet(&Packet::PingReq);
    neighbour.receive(|packet| assert_eq!(packet, &Packet::PingResp));
    let after_ms = begun.elapsed().as_millis();
    fast.receive(|packet| assert_eq!(packet, &Packet::PingResp));
    let paused_ms = begun.elapsed().as_millis();
    // 300 publishes are two seconds more than the one that may come at once.
    assert!(paused_ms >= 1_900 && after_ms < paused_ms, "{after_ms} ms, {paused_ms} ms");
}

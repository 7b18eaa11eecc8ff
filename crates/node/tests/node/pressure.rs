//! Back-pressure between shards: a shard that lags holds up those who feed it, and nobody waits for a slow client.

use motte_broker::home;
use motte_mqtt::{
    Ack, Delivery, Packet, PacketId, ProtocolVersion, Qos, ReasonCode, Subscribe, SubscriptionOptions, UserProperties,
};

use crate::packets::{publish, qos1};
use crate::support::{Client, House, Running, connect_as_nobody, encode, resident_bytes};

/// A client whose session lives on a shard of two.
fn client_on(house: &House, node: &Running, shard: u16, name: &str) -> Client {
    let on_shard = |id: &String| home(id, 2).0 == shard;
    let client_id = (0..).map(|n| format!("{name}-{n}")).find(on_shard).unwrap();
    let mut client = house.open(node.address(), Some("alice"), b"mqtt");
    assert_eq!(client.connect(&connect_as_nobody(&client_id)), 0);
    client
}

fn subscribe(client: &mut Client, filter: &str, qos: Qos) {
    let filters = [(filter, SubscriptionOptions { qos, ..SubscriptionOptions::default() })];
    client.send_packet(&Packet::Subscribe(Subscribe {
        id: PacketId::new(1).unwrap(),
        subscription_id: None,
        user: UserProperties::EMPTY,
        filters: motte_mqtt::packet::SubscribeFilters::from_slice(&filters),
    }));
    client.receive(|packet| assert!(matches!(packet, Packet::SubAck(_)), "{packet:?}"));
}

#[test]
fn two_shards_that_flood_each_other_get_everything_through_however_little_may_wait() {
    const MESSAGES: u16 = 300;
    let mut house = House::new();
    // Each message alone is more than may wait: whoever publishes is held up again and again, on both sides.
    house.settings.limits.letter_bytes_max = 4_096;
    let node = house.start();
    std::thread::scope(|scope| {
        for here in [0, 1] {
            let topic = format!("from/{here}");
            let mut listener = client_on(&house, &node, 1 - here, &format!("listener-{here}"));
            subscribe(&mut listener, &topic, Qos::AtLeastOnce);
            let mut publisher = client_on(&house, &node, here, &format!("publisher-{here}"));
            scope.spawn(move || {
                for number in 1..=MESSAGES {
                    publisher.send_packet(&publish(&topic, qos1(number), &[0; 16 * 1024]));
                }
                for number in 1..=MESSAGES {
                    publisher.receive(|packet| match packet {
                        Packet::PubAck(ack) => assert_eq!((ack.id.value(), ack.reason), (number, ReasonCode::Success)),
                        packet => panic!("{packet:?}"),
                    });
                }
            });
            scope.spawn(move || {
                for _ in 0..MESSAGES {
                    let id = listener.receive(|packet| match packet {
                        Packet::Publish(publish) => publish.delivery.id().unwrap(),
                        packet => panic!("{packet:?}"),
                    });
                    listener.send_packet(&Packet::PubAck(Ack::new(id, ReasonCode::Success)));
                }
            });
        }
    });
}

#[test]
fn k05_a_reader_on_another_shard_that_does_not_read_holds_up_neither_publisher_nor_memory() {
    let house = House::new();
    let node = house.start();
    let mut deaf = client_on(&house, &node, 1, "deaf");
    let mut alive = client_on(&house, &node, 1, "alive");
    subscribe(&mut deaf, "noise", Qos::AtMostOnce);
    subscribe(&mut alive, "bell", Qos::AtMostOnce);
    let mut loud = client_on(&house, &node, 0, "loud");
    let before = resident_bytes();
    let noise = encode(ProtocolVersion::V5, &publish("noise", Delivery::AtMostOnce, &[0; 64 * 1024]));
    for round in 0..1024_u32 {
        // Each write has a second; a publisher that waited for the deaf one would wait for ever.
        loud.send(&noise);
        if round % 64 == 0 {
            loud.send_packet(&publish("bell", Delivery::AtMostOnce, &round.to_le_bytes()));
            alive.receive(|packet| match packet {
                Packet::Publish(publish) => assert_eq!(publish.payload, round.to_le_bytes()),
                packet => panic!("{packet:?}"),
            });
        }
    }
    // The bound on letters, the outbox and some room for the allocator.
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 32 * 1024 * 1024, "memory grew by {grown} bytes");
}

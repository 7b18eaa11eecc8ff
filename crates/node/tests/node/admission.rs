//! CONNECT: who is let in, as whom, and what the others are told.

use motte_mqtt::{Connect, Delivery, ForwardedProperties, Packet, ProtocolVersion, Qos, SubscriptionOptions, Will};

use crate::packets::publish;
use crate::support::{Client, House, Running, connect_as_alice, connect_as_nobody, encode, logged, refused};

fn v311(connect: Connect<'_>) -> Connect<'_> {
    Connect { version: ProtocolVersion::V311, ..connect }
}

fn answer(house: &House, node: &Running, certificate: Option<&str>, connect: &Connect<'_>) -> u8 {
    house.open(node.address(), certificate, b"mqtt").connect(connect)
}

#[test]
fn a_password_and_a_certificate_are_each_enough_and_the_log_says_who_came() {
    let house = House::new();
    let node = house.start();
    assert_eq!(answer(&house, &node, None, &connect_as_alice("by-password")), 0);
    assert_eq!(answer(&house, &node, None, &v311(connect_as_alice("by-password-311"))), 0);
    assert_eq!(answer(&house, &node, Some("alice"), &connect_as_nobody("by-certificate")), 0);
    for client_id in ["by-password", "by-password-311", "by-certificate"] {
        let line = logged(|line| line["message"] == "admitted" && line["client_id"] == client_id);
        assert_eq!(line["user"], "alice");
        assert!(line["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
        assert!(!line.to_string().contains("wonder"), "{line}");
    }
}

#[test]
fn no_credentials_and_wrong_ones_are_told_apart_only_as_far_as_the_standard_does() {
    let house = House::new();
    let node = house.start();
    assert_eq!(answer(&house, &node, None, &connect_as_nobody("n")), 0x87);
    assert_eq!(answer(&house, &node, None, &v311(connect_as_nobody("n"))), 5);
    let wrong = Connect { password: Some(b"wrong"), ..connect_as_alice("w") };
    let unknown = Connect { user_name: Some("eve"), ..connect_as_alice("w") };
    let without = Connect { password: None, ..connect_as_alice("w") };
    for connect in [wrong, unknown, without] {
        assert_eq!(answer(&house, &node, None, &connect), 0x86);
        assert_eq!(answer(&house, &node, None, &v311(connect)), 4);
    }
    refused("no_credentials");
    let line = refused("bad_credentials");
    assert!(line["user"] == "alice" || line["user"] == "eve", "{line}");
}

#[test]
fn k34_peer_text_is_escaped_in_the_log() {
    let house = House::new();
    let node = house.start();
    let connect = Connect { user_name: Some("ali\u{1b}[31mce\r\n"), ..connect_as_alice("x") };
    let code = answer(&house, &node, None, &connect);
    assert!(code == 0x86 || code == 0x81, "{code:#x}");
    let line = logged(|line| line["message"] == "refused");
    assert!(!line.to_string().contains("\\u001b"), "{line}");
}

#[test]
fn password_checks_beyond_the_bound_are_refused_as_busy() {
    let mut house = House::new();
    house.settings.gate.hashes_at_once_max = 1;
    house.settings.gate.hashes_waiting_max = 1;
    let node = house.start();
    let mut clients: Vec<_> = (0..8).map(|_| house.open(node.address(), None, b"mqtt")).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send_packet(&Packet::Connect(connect_as_alice(&format!("crowd-{number}"))));
    }
    let mut codes = Vec::new();
    for client in &mut clients {
        codes.push(client.receive(|packet| match packet {
            Packet::ConnAck(ack) => ack.reason.as_u8(),
            packet => panic!("{packet:?}"),
        }));
    }
    assert!(codes.contains(&0) && codes.contains(&0x97), "{codes:02x?}");
    assert!(codes.iter().all(|code| [0, 0x97].contains(code)), "{codes:02x?}");
    refused("overloaded");
}

#[test]
fn a_user_name_beside_a_certificate_has_to_be_the_same_name() {
    let house = House::new();
    let node = house.start();
    let same = Connect { user_name: Some("alice"), ..connect_as_nobody("same") };
    let other = Connect { user_name: Some("bob"), password: Some(b"x"), ..connect_as_nobody("other") };
    assert_eq!(answer(&house, &node, Some("alice"), &same), 0);
    assert_eq!(answer(&house, &node, Some("alice"), &other), 0x86);
}

#[test]
fn anonymous_clients_come_in_only_where_danger_allows_it() {
    let mut house = House::new();
    house.settings.listeners[0].rules.allow_anonymous = true;
    let node = house.start();
    assert_eq!(answer(&house, &node, None, &connect_as_nobody("anyone")), 0);
    let wrong = Connect { password: Some(b"wrong"), ..connect_as_alice("w") };
    assert_eq!(answer(&house, &node, None, &wrong), 0x86, "wrong credentials are worse than none");
}

#[test]
fn k28_a_name_nobody_can_check_is_no_identity() {
    let mut house = House::new();
    house.settings.listeners[0].rules.allow_anonymous = true;
    house.settings.identity.password_file = None;
    // What alice may do nobody may.
    house.write("acl", "user alice\ntopic readwrite #\n");
    let node = house.start();
    let mut client = house.open(node.address(), None, b"mqtt");
    assert_eq!(client.connect(&connect_as_alice("c")), 0);
    client.send(&[0x32, 7, 0, 1, b'x', 0, 1, 0, b'm']);
    client.receive(|packet| assert!(matches!(packet, Packet::PubAck(ack) if ack.reason.as_u8() == 0x87), "{packet:?}"));
}

#[test]
fn k28_a_password_without_a_name_never_comes_in() {
    let mut house = House::new();
    house.settings.listeners[0].rules.allow_anonymous = true;
    let node = house.start();
    for password in [&b""[..], b"wonder"] {
        let connect = Connect { password: Some(password), ..connect_as_nobody("nameless") };
        assert_eq!(answer(&house, &node, None, &connect), 0x86);
    }
    assert_eq!(answer(&house, &node, None, &connect_as_nobody("anyone")), 0);
}

#[test]
fn client_ids_that_may_not_be_are_refused() {
    let house = House::new();
    let node = house.start();
    let clean_start = false;
    assert_eq!(answer(&house, &node, None, &Connect { clean_start, ..v311(connect_as_alice("")) }), 2);
    assert_eq!(answer(&house, &node, None, &connect_as_alice("a\u{1}b")), 0x85);
    assert_eq!(answer(&house, &node, None, &connect_as_alice(&"x".repeat(300))), 0x85);
    let v31 = |client_id| Connect { version: ProtocolVersion::V31, ..connect_as_alice(client_id) };
    assert_eq!(answer(&house, &node, None, &v31("a-client-id-of-24-chars.")), 2);
    assert_eq!(answer(&house, &node, None, &v31("short")), 0);
}

#[test]
fn v5_3_2_2_16_an_assigned_client_id_is_returned() {
    let house = House::new();
    let node = house.start();
    let mut client = house.open(node.address(), None, b"mqtt");
    client.send_packet(&Packet::Connect(connect_as_alice("")));
    let assigned = client.receive(|packet| match packet {
        Packet::ConnAck(ack) => ack.properties.assigned_client_id.map(str::to_owned),
        packet => panic!("{packet:?}"),
    });
    let assigned = assigned.expect("CONNACK carries the identifier");
    assert!(assigned.starts_with("auto-") && assigned.len() == 31, "{assigned}");
}

#[test]
fn k15_a_will_that_may_not_be_published_is_refused_at_connect() {
    let house = House::new();
    house.write("acl", "user alice\ntopic write allowed/#\n");
    let node = house.start();
    let will = |topic| Will {
        topic,
        payload: b"gone",
        qos: Qos::AtMostOnce,
        retain: false,
        delay_s: 0,
        message_expiry_s: None,
        properties: ForwardedProperties::EMPTY,
    };
    let with_will = |topic| Connect { will: Some(will(topic)), ..connect_as_alice("willful") };
    assert_eq!(answer(&house, &node, None, &with_will("elsewhere/x")), 0x87);
    assert_eq!(answer(&house, &node, None, &with_will("allowed/x")), 0);
    refused("will_denied");
}

#[test]
fn k44_the_first_packet_has_to_be_a_whole_connect() {
    let house = House::new();
    let node = house.start();
    let mut pinging = house.open(node.address(), None, b"mqtt");
    pinging.send(&[0xc0, 0]);
    assert_eq!(pinging.until_closed(), b"");
    let mut newer = house.open(node.address(), None, b"mqtt");
    newer.send(b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x00");
    assert_eq!(newer.until_closed(), [0x20, 3, 0, 0x84, 0]);
    let mut foreign = house.open(node.address(), None, b"mqtt");
    foreign.send(b"\x10\x0c\x00\x04HTTP\x04\x02\x00\x3c\x00\x00");
    assert_eq!(foreign.until_closed(), b"");
}

#[test]
fn a_message_travels_from_a_publisher_to_a_subscriber_on_another_shard_over_tls() {
    let house = House::new();
    let node = house.start();
    let mut others = Vec::new();
    // Eight client ids do not all live on one of two shards.
    for number in 0..8 {
        let mut client = house.open(node.address(), None, b"mqtt");
        assert_eq!(client.connect(&connect_as_alice(&format!("subscriber-{number}"))), 0);
        subscribe(&mut client, "sensors/#");
        others.push(client);
    }
    let mut publisher = house.open(node.address(), Some("alice"), b"mqtt");
    let mut bytes = encode(ProtocolVersion::V5, &Packet::Connect(connect_as_nobody("publisher")));
    bytes.extend(encode(ProtocolVersion::V5, &publish("sensors/lab/temperature", Delivery::AtMostOnce, b"21.5")));
    publisher.version = ProtocolVersion::V5;
    publisher.send(&bytes);
    for client in &mut others {
        client.receive(|packet| match packet {
            Packet::Publish(publish) => {
                assert_eq!((publish.topic, publish.payload), ("sensors/lab/temperature", b"21.5".as_slice()));
            }
            packet => panic!("{packet:?}"),
        });
    }
}

#[test]
fn a_megabyte_arrives_whole_over_tls() {
    let mut house = House::new();
    house.settings.limits.packet_size_bytes_max = 2 * 1024 * 1024;
    house.settings.limits.outbox_bytes_max = 4 * 1024 * 1024;
    let node = house.start();
    let mut subscriber = house.open(node.address(), None, b"mqtt");
    assert_eq!(subscriber.connect(&connect_as_alice("reader")), 0);
    subscribe(&mut subscriber, "big");
    let mut publisher = house.open(node.address(), None, b"mqtt");
    assert_eq!(publisher.connect(&connect_as_alice("writer")), 0);
    let payload: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    publisher.send_packet(&publish("big", Delivery::AtMostOnce, &payload));
    subscriber.receive(|packet| match packet {
        Packet::Publish(publish) => assert!(publish.payload == payload),
        packet => panic!("{packet:?}"),
    });
}

#[test]
fn k05_a_subscriber_that_does_not_read_holds_up_nobody_and_no_memory() {
    let mut house = House::new();
    house.settings.shards = std::num::NonZeroU16::MIN;
    let node = house.start();
    let mut clients: Vec<_> = ["deaf", "alive", "loud"]
        .into_iter()
        .map(|client_id| {
            let mut client = house.open(node.address(), None, b"mqtt");
            assert_eq!(client.connect(&connect_as_alice(client_id)), 0);
            client
        })
        .collect();
    let [deaf, alive, loud] = &mut clients[..] else { panic!("three clients") };
    subscribe(deaf, "noise");
    subscribe(alive, "bell");
    let before = crate::support::resident_bytes();
    // 64 MiB for one who reads nothing; one message in between for one who does.
    let noise = encode(ProtocolVersion::V5, &publish("noise", Delivery::AtMostOnce, &[0; 64 * 1024]));
    for round in 0..1024_u32 {
        loud.send(&noise);
        if round % 128 == 0 {
            loud.send_packet(&publish("bell", Delivery::AtMostOnce, &round.to_le_bytes()));
            alive.receive(|packet| match packet {
                Packet::Publish(publish) => assert_eq!(publish.payload, round.to_le_bytes()),
                packet => panic!("{packet:?}"),
            });
        }
    }
    let grown = crate::support::resident_bytes().saturating_sub(before);
    assert!(grown < 16 * 1024 * 1024, "memory grew by {grown} bytes");
}

fn subscribe(client: &mut Client, filter: &str) {
    let filters = [(filter, SubscriptionOptions::default())];
    client.send_packet(&Packet::Subscribe(motte_mqtt::Subscribe {
        id: motte_mqtt::PacketId::new(1).unwrap(),
        subscription_id: None,
        user: motte_mqtt::UserProperties::EMPTY,
        filters: motte_mqtt::packet::SubscribeFilters::from_slice(&filters),
    }));
    client.receive(|packet| assert!(matches!(packet, Packet::SubAck(ack) if ack.codes == [0]), "{packet:?}"));
}

#[test]
fn v5_3_14_4_3_a_disconnect_counts_that_was_sent_before_the_client_came_again() {
    let mut house = House::new();
    house.settings.shards = std::num::NonZeroU16::MIN;
    let node = house.start();
    let mut watcher = house.open(node.address(), Some("alice"), b"mqtt");
    assert_eq!(watcher.connect(&connect_as_nobody("watcher")), 0);
    subscribe(&mut watcher, "wills/#");
    let will = Will {
        topic: "wills/hasty",
        payload: b"gone",
        qos: Qos::AtMostOnce,
        retain: false,
        delay_s: 0,
        message_expiry_s: None,
        properties: ForwardedProperties::EMPTY,
    };
    let connect = Connect { will: Some(will), ..connect_as_nobody("hasty") };
    // Work for the broker, and no more of it than a socket takes in before the broker reads: what has not reached the
    // broker's side yet when the client comes again, nobody can hear.
    let mut bytes = encode(ProtocolVersion::V5, &publish("bulk", Delivery::AtMostOnce, &[0; 256])).repeat(120);
    bytes.extend([0xE0, 0]);
    // All past the handshake, so that nothing but the CONNECT stands between one and the next. None is closed on this
    // side: the broker learns from the DISCONNECT alone that one is over.
    let mut clients: Vec<_> = (0..20).map(|_| house.open(node.address(), Some("alice"), b"mqtt")).collect();
    for client in &mut clients {
        assert_eq!(client.connect(&connect), 0);
        client.send(&bytes);
    }
    let mut last = house.open(node.address(), Some("alice"), b"mqtt");
    assert_eq!(last.connect(&connect_as_nobody("hasty")), 0);
    watcher.send_packet(&publish("wills/none", Delivery::AtMostOnce, b""));
    watcher.receive(|packet| match packet {
        Packet::Publish(publish) => assert_eq!(publish.topic, "wills/none", "the will of a client that said goodbye"),
        packet => panic!("{packet:?}"),
    });
}

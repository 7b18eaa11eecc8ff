//! What admitted clients may do to TLS and to the node by doing allowed things without end.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};

use motte_mqtt::{Connect, Packet, ProtocolVersion};

use crate::support::{Client, House, PATIENCE, connect_as_alice, connect_as_nobody, encode, resident_bytes};

/// Key updates of one client, more than any network holds. Each asks for one of the other side.
const KEY_UPDATES: usize = 500_000;

#[test]
fn k32_key_updates_without_end_are_ended_and_take_no_memory() {
    let house = House::new();
    let node = house.start();
    let mut bystander = house.open(node.address(), None, b"mqtt");
    assert_eq!(bystander.connect(&connect_as_alice("bystander")), 0);
    let (mut tls, mut socket) = house.shake_hands(node.address());
    assert_eq!(tls.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let connect = encode(ProtocolVersion::V5, &Packet::Connect(connect_as_alice("restless")));
    let mut stream = rustls::Stream::new(&mut tls, &mut socket);
    stream.write_all(&connect).unwrap();
    let mut connack = [0; 1];
    stream.read_exact(&mut connack).unwrap();
    assert_eq!(connack, [0x20]);
    let before = resident_bytes();
    let mut update = || {
        tls.refresh_traffic_keys().unwrap();
        while tls.wants_write() {
            tls.write_tls(&mut socket)?;
        }
        Ok::<(), std::io::Error>(())
    };
    // It is ended after a few dozen; what the network had taken until then may be more.
    let is_ended = (0..KEY_UPDATES).any(|_| update().is_err());
    assert!(is_ended, "the broker answered {KEY_UPDATES} updates");
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 8 * 1024 * 1024, "memory grew by {grown} bytes");
    bystander.send(&[0xc0, 0]);
    bystander.receive(|packet| assert!(matches!(packet, Packet::PingResp), "{packet:?}"));
}

/// Connects again and again under one client identifier, and tells each time whether it was let in, as long as somebody
/// listens.
fn storm(house: &House, address: SocketAddr, told: &Sender<bool>) {
    for round in 0_usize.. {
        let mut connect = Connect { clean_start: round.is_multiple_of(3), ..connect_as_nobody("storm") };
        connect.properties.session_expiry_s = Some(60);
        let mut bytes = encode(ProtocolVersion::V5, &Packet::Connect(connect));
        // SUBSCRIBE to `s` at QoS 1 and PUBLISH to it at QoS 1, without waiting.
        bytes.extend_from_slice(b"\x82\x07\x00\x01\x00\x00\x01s\x01\x32\x06\x00\x01s\x00\x02\x00");
        let client = house.try_open(address, Some("alice"), b"mqtt");
        let code = client.ok().and_then(|mut client| {
            client.stream.write_all(&bytes).and_then(|()| client.stream.flush()).ok()?;
            first_code(&mut client)
        });
        if told.send(code == Some(0)).is_err() {
            return;
        }
    }
}

/// The code of CONNACK; `None` when the connection ended before.
fn first_code(client: &mut Client) -> Option<u8> {
    client.receive_or_end(|packet| match packet {
        Packet::ConnAck(ack) => ack.reason.as_u8(),
        packet => panic!("{packet:?}"),
    })
}

#[test]
fn k41_reloads_in_a_storm_of_takeovers_leave_one_owner_and_a_whole_session() {
    let house = House::new();
    let node = house.start();
    let (house, address) = (&house, node.address());
    std::thread::scope(|scope| {
        let (sender, told) = channel();
        for _ in 0..4 {
            let sender = sender.clone();
            scope.spawn(move || storm(house, address, &sender));
        }
        let other = motte_pki::Authority::create("Other CA", std::time::SystemTime::now()).unwrap();
        for round in 0..30 {
            // Rules come and go, and at times nobody who is there may stay.
            let rules = ["user alice\ntopic readwrite #\n", "user alice\ntopic write #\n", "user alice\n"][round % 3];
            house.write("acl", rules);
            let is_shut = round % 5 == 4;
            let trusted = if is_shut { other.certificate_pem() } else { house.authority.certificate_pem() };
            house.write("ca.pem", trusted);
            node.handle.reload().unwrap();
            // Not the next one before somebody met this one.
            while told.recv_timeout(PATIENCE).unwrap() == is_shut {}
        }
    });
    house.write("ca.pem", house.authority.certificate_pem());
    house.write("acl", "user alice\ntopic readwrite #\n");
    node.handle.reload().unwrap();
    // The last two of them: one owner, and a session that takes and gives as if nothing had been.
    let lasting = || {
        let mut client = house.open(address, Some("alice"), b"mqtt");
        let mut connect = Connect { clean_start: true, ..connect_as_nobody("storm") };
        connect.properties.session_expiry_s = Some(60);
        assert_eq!(client.connect(&connect), 0);
        client
    };
    let (first, mut second) = (lasting(), lasting());
    let told = first.until_closed();
    assert!(told.len() >= 4 && told[0] == 0xe0 && told[2] == 0x8e, "{told:02x?}");
    second.send(b"\x82\x07\x00\x01\x00\x00\x01s\x01");
    second.receive(|packet| assert!(matches!(packet, Packet::SubAck(ack) if ack.codes == [1]), "{packet:?}"));
    second.send(b"\x32\x06\x00\x01s\x00\x02\x00");
    second.receive(|packet| assert!(matches!(packet, Packet::Publish(publish) if publish.topic == "s"), "{packet:?}"));
    second.receive(|packet| assert!(matches!(packet, Packet::PubAck(ack) if ack.id.value() == 2), "{packet:?}"));
}

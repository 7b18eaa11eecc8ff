//! The gate before any identity is known: transport, limits, the one deadline.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use motte_mqtt::Packet;
use motte_node::settings::{ClientCertificates, Speech, Transport};

use crate::support::{
    Client, House, connect_as_alice, connect_as_nobody, encode, listener, log_holds, read_until_closed, refused,
    resident_bytes, tcp,
};

/// A house whose one listener speaks MQTT without TLS.
pub(crate) fn plaintext_house() -> House {
    let mut house = House::new();
    house.settings.listeners = vec![listener("plain", Transport::PLAINTEXT)];
    house
}

/// A house on one plaintext listener where the identity is not what is tested.
pub(crate) fn open_house() -> House {
    let mut house = plaintext_house();
    house.settings.listeners[0].rules.allow_anonymous = true;
    house.write("acl", "topic readwrite #\nuser alice\ntopic readwrite #\n");
    house
}

#[test]
fn plaintext_mqtt_to_a_tls_port_gets_no_mqtt_answer() {
    let house = House::new();
    let node = house.start();
    let mut socket = tcp(node.address());
    socket.write_all(&encode(motte_mqtt::ProtocolVersion::V5, &Packet::Connect(connect_as_alice("a")))).unwrap();
    let mut answer = Vec::new();
    read_until_closed(&mut socket, &mut answer);
    assert_eq!(answer, b"", "not one byte is answered");
    let line = refused("plaintext");
    assert_eq!(line["address"], socket.local_addr().unwrap().to_string());
    assert_eq!(line["listener"], "main");
}

#[test]
fn plaintext_http_to_a_tls_port_gets_no_answer() {
    let house = House::new();
    let node = house.start();
    let mut socket = tcp(node.address());
    socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    read_until_closed(&mut socket, &mut answer);
    assert_eq!(answer, b"");
}

#[test]
fn k01_a_declared_length_takes_no_memory_and_is_refused_on_the_header() {
    let mut house = plaintext_house();
    house.settings.gate.handshakes_per_address_max = 1_000;
    house.settings.gate.handshakes_max = 1_000;
    let node = house.start();
    let before = resident_bytes();
    let mut sockets = Vec::new();
    for first in (0..200).map(|number: u8| (number % 16) << 4) {
        let mut socket = tcp(node.address());
        let mut bytes = vec![first, 0xff, 0xff, 0xff, 0x7f];
        bytes.resize(105, 0);
        // A packet that is no CONNECT may be refused before all of it is written.
        let _ = socket.write_all(&bytes);
        sockets.push(socket);
    }
    for mut socket in sockets {
        let mut answer = Vec::new();
        read_until_closed(&mut socket, &mut answer);
        assert_eq!(answer, b"", "no version is known yet to answer in");
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 16 * 1024 * 1024, "memory grew by {grown} bytes");
    refused("connect_too_large");
    refused("bad_connect");
}

#[test]
fn k01_a_connect_above_the_cap_is_answered_0x95_when_its_version_is_known() {
    let house = plaintext_house();
    let node = house.start();
    let mut client = Client::over(Box::new(tcp(node.address())), motte_mqtt::ProtocolVersion::V5);
    let mut bytes = vec![0x10, 0x80, 0x80, 0x02];
    bytes.extend_from_slice(b"\x00\x04MQTT\x05\x02\x00\x3c");
    client.send(&bytes);
    assert_eq!(client.until_closed(), [0x20, 3, 0, 0x95, 0]);
}

/// Numbers that look random and are the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = self.next() % 200;
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

#[test]
fn k03_garbage_before_and_after_connect_ends_its_own_connection_and_no_other() {
    let house = plaintext_house();
    let node = house.start();
    let mut bystander = Client::over(Box::new(tcp(node.address())), motte_mqtt::ProtocolVersion::V5);
    assert_eq!(bystander.connect(&connect_as_alice("bystander")), 0);
    let mut noise = Noise(0x4d6f_7474);
    for round in 0..80_u32 {
        let mut socket = tcp(node.address());
        let mut bytes = Vec::new();
        if round % 4 != 0 {
            let name = format!("garbage-{round}");
            bytes = encode(motte_mqtt::ProtocolVersion::V5, &Packet::Connect(connect_as_alice(&name)));
        }
        if round % 4 == 2 {
            // A packet with a right length and anything in it.
            let body = noise.bytes();
            bytes.extend([noise.next().to_le_bytes()[0], u8::try_from(body.len() % 128).unwrap()]);
            bytes.extend(&body[..body.len() % 128]);
        }
        if round % 4 == 3 {
            // A CONNECT with bits turned.
            for _ in 0..3 {
                let at = usize::try_from(noise.next()).unwrap() % bytes.len();
                bytes[at] ^= noise.next().to_le_bytes()[0];
            }
        }
        bytes.extend(noise.bytes());
        let _ = socket.write_all(&bytes);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        read_until_closed(&mut socket, &mut Vec::new());
    }
    bystander.send(&[0xc0, 0]);
    bystander.receive(|packet| assert!(matches!(packet, Packet::PingResp), "{packet:?}"));
    drop(node);
    assert!(!log_holds("a defect"), "something panicked");
}

#[test]
fn v5_3_14_0_1_before_a_connack_of_success_there_is_no_disconnect() {
    let house = plaintext_house();
    let node = house.start();
    let connect = encode(motte_mqtt::ProtocolVersion::V5, &Packet::Connect(connect_as_alice("a")));
    let changed = |at: usize, byte: u8| {
        let mut bytes = connect.clone();
        bytes[at] = byte;
        bytes
    };
    let nobody = encode(motte_mqtt::ProtocolVersion::V5, &Packet::Connect(connect_as_nobody("a")));
    let cases = [
        (&[0xc0, 0][..], false),
        (&[0x00, 0], false),
        (&[0xe0, 0], false),
        (&[0x30, 3, 0, 1, b'x'], false),
        // Reserved flags of the fixed header, the reserved connect flag, a version that does not exist, no password.
        (&changed(0, 0x11), false),
        (&changed(9, 0xc3), true),
        (&changed(8, 9), true),
        (&nobody, true),
    ];
    for (bytes, may_be_told) in cases {
        let mut socket = tcp(node.address());
        socket.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        read_until_closed(&mut socket, &mut answer);
        match answer.as_slice() {
            [] => {}
            [0x20, len, _, reason, ..] => {
                assert!(may_be_told && *reason >= 0x80, "{bytes:02x?}: {answer:02x?}");
                assert_eq!(answer.len(), usize::from(*len) + 2, "nothing behind the CONNACK");
            }
            _ => panic!("{bytes:02x?}: {answer:02x?}"),
        }
    }
}

#[test]
fn k06_the_deadline_is_total_and_not_renewed_by_dripped_bytes() {
    let mut house = plaintext_house();
    house.settings.gate.admission_deadline = Duration::from_millis(600);
    let node = house.start();
    let mut socket = tcp(node.address());
    let begun = Instant::now();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    // A CONNECT of 80 bytes, one byte every 50 ms: every byte is progress, the whole takes four seconds.
    let connect = connect_as_alice("a-client-id-that-makes-the-packet-a-good-deal-longer-than-it-has-to-be");
    for byte in encode(motte_mqtt::ProtocolVersion::V5, &Packet::Connect(connect)) {
        if socket.write_all(&[byte]).is_err() || matches!(socket.read(&mut [0; 8]), Ok(0)) {
            break;
        }
    }
    let taken = begun.elapsed();
    assert!(taken >= Duration::from_millis(550) && taken < Duration::from_millis(3_000), "{taken:?}");
    refused("deadline");
}

#[test]
fn k06_silent_connections_on_all_places_keep_nobody_out() {
    let mut house = plaintext_house();
    house.settings.gate.handshakes_max = 8;
    let node = house.start();
    let mut silent: Vec<_> = (0..8).map(|_| tcp(node.address())).collect();
    let mut client = Client::over(Box::new(tcp(node.address())), motte_mqtt::ProtocolVersion::V5);
    assert_eq!(client.connect(&connect_as_alice("newcomer")), 0);
    let mut answer = Vec::new();
    read_until_closed(&mut silent[0], &mut answer);
    assert_eq!(answer, b"", "the oldest made room");
    let line = refused("too_many_connections");
    assert_eq!(line["address"], silent[0].local_addr().unwrap().to_string());
}

#[test]
fn k06_a_silent_connection_is_closed_at_the_deadline_on_tls() {
    let mut house = House::new();
    house.settings.gate.admission_deadline = Duration::from_millis(300);
    let node = house.start();
    let mut silent = tcp(node.address());
    let handshaken = house.open(node.address(), None, b"mqtt");
    let mut answer = Vec::new();
    read_until_closed(&mut silent, &mut answer);
    assert_eq!(answer, b"");
    assert_eq!(handshaken.until_closed(), b"");
    refused("deadline");
}

#[test]
fn connections_on_their_way_in_are_limited_for_each_address() {
    let mut house = House::new();
    house.settings.gate.handshakes_per_address_max = 3;
    let node = house.start();
    let waiting: Vec<_> = (0..3).map(|_| house.open(node.address(), None, b"mqtt")).collect();
    let mut one_too_many = tcp(node.address());
    let mut answer = Vec::new();
    read_until_closed(&mut one_too_many, &mut answer);
    assert_eq!(answer, b"");
    refused("too_many_connections");
    drop(waiting);
}

#[test]
fn a_listener_that_demands_certificates_refuses_clients_without() {
    let mut house = House::new();
    house.settings.listeners[0].client_certificates = ClientCertificates::Required;
    let node = house.start();
    // In TLS 1.3 the client is done before the server has judged it: the refusal shows at the first read.
    if let Ok(client) = house.try_open(node.address(), None, b"mqtt") {
        assert_eq!(client.until_closed(), b"");
    }
    let line = refused("tls_handshake");
    assert!(line["detail"].as_str().unwrap().contains("no certificate"), "{line}");
}

#[test]
fn k31_a_client_certificate_of_another_ca_ends_in_the_handshake() {
    let house = House::new();
    let stranger = House::new();
    for end in ["pem", "key"] {
        std::fs::copy(stranger.path(&format!("alice.{end}")), house.path(&format!("mallory.{end}"))).unwrap();
    }
    let node = house.start();
    if let Ok(mut client) = house.try_open(node.address(), Some("mallory"), b"mqtt") {
        let _ = client.stream.write_all(&encode(client.version, &Packet::Connect(connect_as_nobody("m"))));
        assert_eq!(client.until_closed(), b"");
    }
    refused("tls_handshake");
}

#[test]
fn k32_alpn_is_optional_and_a_foreign_protocol_is_refused() {
    let house = House::new();
    let node = house.start();
    drop(house.open(node.address(), None, b""));
    drop(house.open(node.address(), None, b"mqtt"));
    assert!(house.try_open(node.address(), None, b"h2").is_err());
    let line = refused("tls_handshake");
    assert!(line["detail"].as_str().unwrap().contains("ALPN"), "{line}");
}

#[test]
fn one_tls_port_serves_mqtt_and_websocket_as_alpn_or_the_first_bytes_say() {
    let house = House::new();
    let node = house.start();
    for alpn in [b"mqtt".as_slice(), b""] {
        let mut client = house.open(node.address(), None, alpn);
        assert_eq!(client.connect(&connect_as_alice("by-mqtt")), 0);
    }
    let upgrade = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: mqtt\r\n\r\n";
    let connect = encode(motte_mqtt::ProtocolVersion::V5, &Packet::Connect(connect_as_alice("by-web")));
    let frame = [&[0x82, 0x80 | u8::try_from(connect.len()).unwrap(), 0, 0, 0, 0], connect.as_slice()].concat();
    // A close frame ends the conversation, so that all of it can be read.
    let bytes = [upgrade.as_slice(), &frame, &[0x88, 0x80, 0, 0, 0, 0]].concat();
    for alpn in [b"http/1.1".as_slice(), b""] {
        let mut client = house.open(node.address(), None, alpn);
        client.send(&bytes);
        let answer = client.until_closed();
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{answer:02x?}");
        assert_eq!((answer[head], answer[head + 2]), (0x82, 0x20), "a binary frame with CONNACK: {answer:02x?}");
    }
}

#[test]
fn the_protocol_that_alpn_names_is_held_to() {
    let house = House::new();
    let node = house.start();
    let mut client = house.open(node.address(), None, b"mqtt");
    client.send(b"GET /mqtt HTTP/1.1\r\n\r\n");
    assert_eq!(client.until_closed(), b"");
    let mut client = house.open(node.address(), None, b"http/1.1");
    client.send_packet(&Packet::Connect(connect_as_alice("a")));
    assert!(client.until_closed().starts_with(b"HTTP/1.1 400 "));
}

#[test]
fn a_request_that_is_no_upgrade_gets_a_small_answer_on_the_port_of_both() {
    let house = House::new();
    let node = house.start();
    for (request, status) in [("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404"), ("POST / HTTP/1.1\r\n\r\n", "400")] {
        let mut client = house.open(node.address(), None, b"");
        client.send(request.as_bytes());
        let answer = String::from_utf8(client.until_closed()).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.len() < 300, "{answer}");
    }
}

#[test]
fn a_listener_can_be_held_to_one_of_mqtt_and_websocket() {
    let mut house = House::new();
    house.settings.listeners = vec![listener("mqtts", Transport { tls: true, speech: Speech::Mqtt })];
    let node = house.start();
    assert!(house.try_open(node.address(), None, b"http/1.1").is_err());
    let mut client = house.open(node.address(), None, b"");
    client.send(b"GET /mqtt HTTP/1.1\r\n\r\n");
    assert_eq!(client.until_closed(), b"");
    refused("bad_connect");
}

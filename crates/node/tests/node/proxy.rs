//! Listeners behind a proxy: who is believed, what a header may look like, and whose limits count.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use motte_mqtt::{Packet, ProtocolVersion};
use motte_node::settings::{Speech, Transport, WebSocketSettings};

use crate::support::{
    Client, House, Running, connect_as_alice, connect_as_nobody, encode, listener, logged, read_until_closed, refused,
    tcp,
};

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 1 that names `client`.
fn v1(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let (family, here) = if client.is_ipv4() { ("TCP4", "192.0.2.1") } else { ("TCP6", "2001:db8::1") };
    format!("PROXY {family} {} {here} {} 8883\r\n", client.ip(), client.port()).into_bytes()
}

/// A header of version 2 with command and family as given.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    [V2, &[command, family], &u16::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

/// 203.0.113.9:40000 to 192.0.2.1:8883.
const TCP4: [u8; 12] = [203, 0, 113, 9, 192, 0, 2, 1, 0x9c, 0x40, 0x22, 0xb3];

/// A house whose one listener takes connections of proxies in `trusted`.
fn behind_proxy(transport: Transport, trusted: &[&str]) -> House {
    let mut house = House::new();
    house.settings.listeners = vec![listener("main", transport)];
    house.settings.listeners[0].trusted_proxies = trusted.iter().map(|network| network.parse().unwrap()).collect();
    house
}

fn plain() -> House {
    behind_proxy(Transport::PLAINTEXT, &["127.0.0.0/8"])
}

/// Sends a header and then a CONNECT, and gives the answer.
fn connect_through(node: &Running, header: &[u8], client_id: &str) -> u8 {
    let mut client = Client::over(Box::new(tcp(node.address())), ProtocolVersion::V5);
    client.send(header);
    client.connect(&connect_as_alice(client_id))
}

/// What comes back for these bytes until the broker closes the connection.
fn answer(node: &Running, bytes: &[u8]) -> Vec<u8> {
    let mut socket = tcp(node.address());
    // The broker may close before it has taken all of them.
    let _ = socket.write_all(bytes);
    let mut answer = Vec::new();
    read_until_closed(&mut socket, &mut answer);
    answer
}

fn connect_bytes() -> Vec<u8> {
    encode(ProtocolVersion::V5, &Packet::Connect(connect_as_alice("x")))
}

#[test]
fn k38_the_client_that_a_trusted_proxy_names_is_told_with_the_proxy() {
    let house = plain();
    let node = house.start();
    for (id, header, address) in [
        ("by-v1", v1("203.0.113.9:40000"), "203.0.113.9:40000"),
        ("by-v1-ipv6", v1("[2001:db8::9]:40000"), "[2001:db8::9]:40000"),
        ("by-v2", v2(0x21, 0x11, &TCP4), "203.0.113.9:40000"),
    ] {
        assert_eq!(connect_through(&node, &header, id), 0);
        let line = logged(|line| line["message"] == "admitted" && line["client_id"] == id);
        assert_eq!(line["address"], address);
        assert!(line["proxy"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    }
}

#[test]
fn k38_who_is_not_named_counts_as_the_proxy_itself() {
    let house = plain();
    let node = house.start();
    for (id, header) in [
        ("local", v2(0x20, 0x00, b"")),
        ("unspec", v2(0x21, 0x00, b"")),
        ("unix", v2(0x21, 0x31, &[0; 216])),
        ("unknown", b"PROXY UNKNOWN\r\n".to_vec()),
    ] {
        assert_eq!(connect_through(&node, &header, id), 0);
        let line = logged(|line| line["message"] == "admitted" && line["client_id"] == id);
        assert!(line["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
        assert!(line.get("proxy").is_none(), "{line}");
    }
}

#[test]
fn k38_the_header_stands_before_tls_and_websocket_and_may_come_in_pieces() {
    let house = behind_proxy(Transport::tls(), &["127.0.0.1"]);
    let node = house.start();
    let header = v2(0x21, 0x11, &TCP4);
    let mut socket = tcp(node.address());
    for byte in &header {
        socket.write_all(&[*byte]).unwrap();
    }
    let mut client = house.open_over(socket, b"mqtt");
    assert_eq!(client.connect(&connect_as_alice("tls")), 0);
    let line = logged(|line| line["message"] == "admitted" && line["client_id"] == "tls");
    assert_eq!(line["address"], "203.0.113.9:40000");
    let web = Transport { tls: false, speech: Speech::WebSocket(WebSocketSettings::default()) };
    let node = behind_proxy(web, &["127.0.0.1"]).start();
    let bytes = [header.as_slice(), b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
    assert!(answer(&node, &bytes).starts_with(b"HTTP/1.1 200 "));
}

#[test]
fn k38_a_header_that_is_missing_or_malformed_closes_the_connection_without_a_word() {
    let house = plain();
    let node = house.start();
    let overrun = v2(0x21, 0x11, &[TCP4.as_slice(), b"\x20\x00\x0d\x07"].concat());
    let headers: [(&[u8], &str); 9] = [
        (b"", "does not begin with a PROXY header"),
        (b"GET / HTTP/1.1\r\n\r\n", "does not begin"),
        (b"PROXY TCP4 203.0.113.9\r\n", "malformed"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 40000 8883\n", "malformed"),
        (&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat(), "longer than allowed"),
        (&v2(0x22, 0x11, &TCP4), "malformed"),
        (&v2(0x21, 0x12, &TCP4), "malformed"),
        (&overrun, "malformed"),
        (&v2(0x21, 0x11, &[0; 60_000]), "longer than allowed"),
    ];
    for (header, what) in headers {
        assert_eq!(answer(&node, &[header, &connect_bytes()].concat()), b"", "{header:02x?}");
        logged(|line| {
            line["reason"] == "proxy_header" && line["detail"].as_str().is_some_and(|why| why.contains(what))
        });
    }
    // Two headers are one too many: the second stands where a CONNECT has to.
    let header = v1("203.0.113.9:40000");
    assert_eq!(answer(&node, &[header.clone(), header, connect_bytes()].concat()), b"");
    refused("bad_connect");
}

#[test]
fn k38_a_header_that_does_not_end_is_closed_at_the_deadline() {
    let mut house = plain();
    house.settings.gate.admission_deadline = Duration::from_millis(300);
    let node = house.start();
    for begun in [b"".as_slice(), b"PROXY TCP4", V2, &v2(0x21, 0x11, &TCP4)[..20]] {
        assert_eq!(answer(&node, begun), b"");
        refused("deadline");
    }
}

#[test]
fn k38_nobody_but_a_trusted_proxy_is_believed_or_let_in() {
    let house = behind_proxy(Transport::PLAINTEXT, &["10.0.0.0/8", "::1", "127.0.0.2"]);
    let node = house.start();
    assert_eq!(answer(&node, &[v1("10.0.0.7:1"), connect_bytes()].concat()), b"");
    let line = refused("proxy_header");
    assert!(line["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    assert!(line["detail"].as_str().unwrap().contains("trusted_proxies"), "{line}");
}

#[test]
fn k38_a_listener_without_a_proxy_takes_a_header_for_garbage() {
    for (transport, reason) in [(Transport::PLAINTEXT, "bad_connect"), (Transport::tls(), "plaintext")] {
        let mut house = House::new();
        house.settings.listeners = vec![listener("main", transport)];
        let node = house.start();
        for header in [v1("203.0.113.9:40000"), v2(0x21, 0x11, &TCP4)] {
            assert_eq!(answer(&node, &[header, connect_bytes()].concat()), b"");
        }
        refused(reason);
    }
}

#[test]
fn k38_limits_of_an_address_hold_for_the_client_and_not_for_the_proxy() {
    let mut house = plain();
    house.settings.gate.connections_per_address_max = 2;
    let node = house.start();
    let open = |client: &str| {
        let mut connection = Client::over(Box::new(tcp(node.address())), ProtocolVersion::V5);
        connection.send(&v1(client));
        connection
    };
    let mut kept = Vec::new();
    for (id, client) in [("1", "203.0.113.9:1"), ("2", "203.0.113.9:2"), ("3", "203.0.113.10:1")] {
        let mut connection = open(client);
        assert_eq!(connection.connect(&connect_as_alice(id)), 0);
        kept.push(connection);
    }
    assert_eq!(open("203.0.113.9:3").until_closed(), b"");
    let line = refused("too_many_connections");
    assert_eq!(line["address"], "203.0.113.9:3");
}

#[test]
fn k38_what_a_proxy_tells_of_a_client_certificate_is_no_identity() {
    let house = plain();
    let node = house.start();
    // PP2_TYPE_SSL: a verified certificate with the common name alice.
    let facts = b"\x20\x00\x0d\x07\0\0\0\0\x22\x00\x05alice";
    let mut client = Client::over(Box::new(tcp(node.address())), ProtocolVersion::V5);
    client.send(&v2(0x21, 0x11, &[TCP4.as_slice(), facts].concat()));
    assert_eq!(client.connect(&connect_as_nobody("n")), 0x87);
}

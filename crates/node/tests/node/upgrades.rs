//! The WebSocket upgrade as browsers and attackers ask for it, over WebSocket and secure WebSocket.

use std::io::{Read as _, Write as _};

use motte_node::settings::{Speech, Transport, WebSocketSettings};
use tokio_tungstenite::tungstenite::WebSocket;

use crate::support::{House, Running, Stream, listener, refused, tcp, websocket};
use crate::websocket::{MQTT, upgrade_over};

fn house(transport: Transport) -> House {
    let mut house = House::new();
    house.settings.listeners = vec![listener("web", transport)];
    house
}

/// One house with secure WebSocket and one with WebSocket.
pub(crate) fn houses() -> [House; 2] {
    [house(websocket()), house(Transport { tls: false, ..websocket() })]
}

/// A connection to the first listener that has not begun to speak HTTP.
fn stream(house: &House, node: &Running) -> Box<dyn Stream> {
    match node.ready.listeners[0].scheme {
        "ws" => Box::new(tcp(node.address())),
        _ => house.open(node.address(), None, b"http/1.1").stream,
    }
}

/// Upgrades, with the given path and headers; the HTTP status when it is refused.
pub(crate) fn upgrade(
    house: &House,
    node: &Running,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<WebSocket<Box<dyn Stream>>, u16> {
    upgrade_over(stream(house, node), &format!("localhost:{}", node.address().port()), path, headers)
}

#[test]
fn k37_wrong_path_subprotocol_and_origin_are_refused_in_http() {
    for (house, own, other) in
        houses().iter().zip(["https", "http"]).zip(["http", "https"]).map(|((h, a), b)| (h, a, b))
    {
        let node = house.start();
        let status = |path: &str, headers: &[_]| upgrade(house, &node, path, headers).err();
        assert_eq!(status("/other", &[MQTT]), Some(404));
        assert_eq!(status("/mqtt", &[]), Some(400));
        assert_eq!(status("/mqtt", &[("sec-websocket-protocol", "chat")]), Some(400));
        let port = node.address().port();
        let (own, foreign) = (format!("{own}://localhost:{port}"), format!("{other}://localhost:{port}"));
        for foreign in ["https://evil.example", "null", "", &foreign] {
            assert_eq!(status("/mqtt", &[MQTT, ("origin", foreign)]), Some(403), "{foreign}");
        }
        assert_eq!(status("/mqtt", &[MQTT, ("origin", &own)]), None);
        // A program that is no browser sends none, and cookies mean nothing.
        assert_eq!(status("/mqtt", &[MQTT, ("cookie", "session=1")]), None);
        let line = refused("web_socket_upgrade");
        assert_eq!(line["listener"], "web");
    }
}

#[test]
fn k37_only_origins_of_the_list_may_connect_when_there_is_one() {
    let allowed = vec!["https://app.example".to_owned()];
    let speech = Speech::WebSocket(WebSocketSettings { origins: allowed, ..WebSocketSettings::default() });
    for tls in [true, false] {
        let house = house(Transport { tls, speech: speech.clone() });
        let node = house.start();
        let status = |origin: &str| upgrade(&house, &node, "/mqtt", &[MQTT, ("origin", origin)]).err();
        assert_eq!(status("https://app.example"), None);
        for foreign in ["https://app.example.evil.example", "http://app.example", "https://app.example:444", "null"] {
            assert_eq!(status(foreign), Some(403), "{foreign}");
        }
        let scheme = if tls { "https" } else { "http" };
        let own = format!("{scheme}://localhost:{}", node.address().port());
        assert_eq!(status(&own), Some(403), "the list is the whole list");
    }
}

/// What is answered to a request head; with an answer of 101 up to the end of its head.
fn answer(house: &House, node: &Running, head: &str) -> String {
    let mut stream = stream(house, node);
    // The broker may close before it has taken all of it.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.flush();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8(bytes).unwrap().to_ascii_lowercase()
}

/// A right request, for which `replace` can be put in place of one of its lines.
fn request(line: &str, replacement: &str) -> String {
    let right = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: mqtt\r\n\r\n";
    assert!(right.contains(line), "{line}");
    right.replacen(line, replacement, 1)
}

#[test]
fn k37_an_upgrade_is_what_rfc_6455_says_or_no_upgrade() {
    for house in houses() {
        let node = house.start();
        let status = |line: &str, replacement: &str| {
            let answer = answer(&house, &node, &request(line, replacement));
            answer.get(9..12).unwrap_or_else(|| panic!("{answer:?}")).parse::<u16>().unwrap()
        };
        assert_eq!(status("", ""), 101);
        assert_eq!(status("GET /mqtt ", "GET /mqtt?token=x "), 101);
        assert_eq!(status("GET", "POST"), 400);
        assert_eq!(status("HTTP/1.1", "HTTP/1.0"), 400);
        assert_eq!(status("Version: 13", "Version: 8"), 400);
        assert_eq!(status("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400);
        assert_eq!(status("Connection: keep-alive, Upgrade", "Connection: close"), 400);
        assert_eq!(status("Upgrade: websocket", "Upgrade: h2c"), 400);
        assert_eq!(status("Upgrade: websocket\r\n", ""), 404, "an ordinary request");
        assert_eq!(status("/mqtt ", &format!("/mqtt?{} ", "x".repeat(9000))), 431);
    }
}

#[test]
fn k14_compression_is_never_negotiated() {
    for house in houses() {
        let node = house.start();
        let offered =
            "Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
        let answer = answer(&house, &node, &request("Sec-WebSocket-Protocol: mqtt", offered));
        assert!(answer.starts_with("http/1.1 101 ") && !answer.contains("extensions"), "{answer}");
    }
}

#[test]
fn the_subprotocol_of_mqtt_is_chosen_and_said_back() {
    for house in houses() {
        let node = house.start();
        for (offered, chosen) in [
            ("mqtt", Some("mqtt")),
            ("chat, mqtt", Some("mqtt")),
            ("mqttv3.1", Some("mqttv3.1")),
            ("mqttv3.1,mqtt", Some("mqtt")),
            ("MQTT", None),
            ("mqtt5", None),
        ] {
            let answer = answer(&house, &node, &request("Protocol: mqtt", &format!("Protocol: {offered}")));
            let said = answer.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
            assert_eq!(said, chosen, "{answer}");
        }
    }
}

#[test]
fn k11_a_request_head_beyond_8_kib_or_with_too_many_headers_is_refused() {
    for house in houses() {
        let node = house.start();
        let long = format!("Host: x\r\nCookie: {}", "x".repeat(20_000));
        assert!(answer(&house, &node, &request("Host: localhost", &long)).starts_with("http/1.1 431 "));
        let many = format!("Host: x\r\n{}X: y", "A: b\r\n".repeat(10_000));
        let answer = answer(&house, &node, &request("Host: localhost", &many));
        assert!(answer.starts_with("http/1.1 4"), "{answer}");
    }
}

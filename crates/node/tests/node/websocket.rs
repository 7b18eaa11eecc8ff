//! MQTT over WebSocket as a browser and as an attacker see it.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use motte_mqtt::{Connect, Packet, ProtocolVersion};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, client::client};

use crate::packets::{publish, qos1};
use crate::support::{Client, House, Stream, connect_as_alice, encode, listener, websocket};
use crate::upgrades::{self, houses};

fn house() -> House {
    let mut house = House::new();
    house.settings.listeners = vec![listener("web", websocket())];
    house
}

/// Upgrades, with the given path and headers; the HTTP status when it is refused.
fn upgrade(
    house: &House,
    address: SocketAddr,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<WebSocket<Box<dyn Stream>>, u16> {
    let stream = house.open(address, None, b"http/1.1").stream;
    upgrade_over(stream, &format!("localhost:{}", address.port()), path, headers)
}

/// The same over a stream that stands.
pub(crate) fn upgrade_over(
    stream: Box<dyn Stream>,
    host: &str,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<WebSocket<Box<dyn Stream>>, u16> {
    // The stream is chosen already; the scheme of the URL is not looked at.
    let mut request = format!("wss://{host}{path}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
    }
    match client(request, stream) {
        Ok((socket, response)) => {
            assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
            assert!(!response.headers().contains_key("sec-websocket-extensions"));
            Ok(socket)
        }
        Err(error) => match error {
            tokio_tungstenite::tungstenite::HandshakeError::Failure(Error::Http(response)) => {
                Err(response.status().as_u16())
            }
            error => panic!("{error}"),
        },
    }
}

pub(crate) const MQTT: (&str, &str) = ("sec-websocket-protocol", "mqtt");

/// A WebSocket as a byte stream; each write is one binary message.
pub(crate) struct Framed {
    socket: WebSocket<Box<dyn Stream>>,
    rest: Vec<u8>,
}

impl Framed {
    pub(crate) fn new(socket: WebSocket<Box<dyn Stream>>) -> Self {
        Self { socket, rest: Vec::new() }
    }
}

impl Read for Framed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.socket.read() {
                Ok(Message::Binary(bytes)) => self.rest.extend_from_slice(&bytes),
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(0),
                Ok(message) => panic!("{message:?}"),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

impl Write for Framed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.send(Message::Binary(bytes.to_vec().into())).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn mqtt_over(socket: WebSocket<Box<dyn Stream>>) -> Client {
    Client::over(Box::new(Framed::new(socket)), ProtocolVersion::V5)
}

#[test]
fn v5_6_0_0_2_a_connect_may_be_split_over_frames_and_packets_share_one() {
    let house = house();
    let node = house.start();
    let mut client = mqtt_over(upgrade(&house, node.address(), "/mqtt", &[MQTT]).unwrap());
    let connect = encode(ProtocolVersion::V5, &Packet::Connect(connect_as_alice("web-1")));
    for piece in connect.chunks(5) {
        client.send(piece);
    }
    client.receive(|packet| assert!(matches!(packet, Packet::ConnAck(ack) if !ack.reason.is_error()), "{packet:?}"));
    let two_pings = [0xc0, 0, 0xc0, 0];
    client.send(&two_pings);
    for _ in 0..2 {
        client.receive(|packet| assert!(matches!(packet, Packet::PingResp), "{packet:?}"));
    }
}

#[test]
fn v5_6_0_0_2_bytes_behind_the_connect_in_one_frame_are_not_lost() {
    let house = house();
    let node = house.start();
    let mut client = mqtt_over(upgrade(&house, node.address(), "/mqtt", &[MQTT]).unwrap());
    let mut bytes = encode(ProtocolVersion::V5, &Packet::Connect(connect_as_alice("web-2")));
    bytes.extend_from_slice(&[0xc0, 0]);
    client.send(&bytes);
    client.receive(|packet| assert!(matches!(packet, Packet::ConnAck(_)), "{packet:?}"));
    client.receive(|packet| assert!(matches!(packet, Packet::PingResp), "{packet:?}"));
}

#[test]
fn v5_6_0_0_2_frames_of_an_admitted_client_are_a_stream() {
    let house = house();
    let node = house.start();
    let mut client = mqtt_over(upgrade(&house, node.address(), "/mqtt", &[MQTT]).unwrap());
    client.send(&encode(ProtocolVersion::V5, &Packet::Connect(connect_as_alice("web-6"))));
    client.receive(|packet| assert!(matches!(packet, Packet::ConnAck(ack) if !ack.reason.is_error()), "{packet:?}"));
    let long = "p".repeat(1_000);
    let publish = |id: u16| encode(ProtocolVersion::V5, &publish("x", qos1(id), long.as_bytes()));
    // A byte for each frame, an empty frame, then a frame with one packet and a half, and one with the other half.
    for byte in publish(1) {
        client.send(&[byte]);
    }
    client.send(&[]);
    let (second, third) = (publish(2), publish(3));
    let (half, rest) = third.split_at(third.len() / 2);
    client.send(&[&second, half].concat());
    client.send(rest);
    for id in 1..=3 {
        client.receive(|packet| assert!(matches!(packet, Packet::PubAck(ack) if ack.id.value() == id), "{packet:?}"));
    }
}

#[test]
fn v5_6_0_0_4_mqtt_is_selected_wherever_it_stands_among_the_offers() {
    let house = house();
    let node = house.start();
    for offers in ["mqtt", "chat, mqtt", "mqtt, chat", "mqttv3.1,mqtt"] {
        // What is selected is checked where the upgrade is answered: `mqtt` and nothing else.
        let socket = upgrade(&house, node.address(), "/mqtt", &[("sec-websocket-protocol", offers)]);
        assert!(socket.is_ok(), "{offers}: {:?}", socket.err());
    }
    for offers in ["chat", "xmqtt", "mqtt2", "MQTT"] {
        let socket = upgrade(&house, node.address(), "/mqtt", &[("sec-websocket-protocol", offers)]);
        assert_eq!(socket.err(), Some(400), "{offers}");
    }
}

#[test]
fn v5_6_0_0_1_what_the_broker_sends_is_binary() {
    let house = house();
    let node = house.start();
    let mut socket = upgrade(&house, node.address(), "/mqtt", &[MQTT]).unwrap();
    let connect = encode(ProtocolVersion::V5, &Packet::Connect(connect_as_alice("web-7")));
    socket.send(Message::Binary([&connect[..], &[0xc0, 0, 0xe0, 0]].concat().into())).unwrap();
    let mut bytes = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Binary(payload)) => bytes.extend_from_slice(&payload),
            Ok(Message::Close(_)) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bytes.first(), Some(&0x20), "CONNACK");
    assert!(bytes.ends_with(&[0xd0, 0]), "PINGRESP: {bytes:02x?}");
}

#[test]
fn v311_6_0_0_1_2_4_websocket_carries_3_1_1_in_binary_frames_of_any_cut() {
    let house = house();
    let node = house.start();
    // That `mqtt` is selected is checked where the upgrade is answered.
    let mut socket = upgrade(&house, node.address(), "/mqtt", &[MQTT]).unwrap();
    let connect = Connect { version: ProtocolVersion::V311, ..connect_as_alice("web-311") };
    let bytes = [&encode(ProtocolVersion::V311, &Packet::Connect(connect))[..], &[0xc0, 0, 0xc0, 0]].concat();
    for piece in bytes.chunks(7) {
        socket.send(Message::Binary(piece.to_vec().into())).unwrap();
    }
    let mut told = Vec::new();
    while told.len() < 8 {
        match socket.read() {
            Ok(Message::Binary(payload)) => told.extend_from_slice(&payload),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, [0x20, 2, 0, 0, 0xd0, 0, 0xd0, 0]);
    socket.send(Message::text("\u{c0}")).unwrap();
    assert!(!matches!(socket.read(), Ok(Message::Binary(_))), "text is no packet");
}

#[test]
fn v5_6_0_0_1_a_text_frame_closes_the_connection() {
    let house = house();
    let node = house.start();
    let mut socket = upgrade(&house, node.address(), "/mqtt", &[MQTT]).unwrap();
    socket.send(Message::text("hello")).unwrap();
    match socket.read() {
        Ok(Message::Close(Some(frame))) => assert_eq!(u16::from(frame.code), 1003),
        other => panic!("{other:?}"),
    }
}

#[test]
fn v5_6_0_0_1_a_text_frame_of_an_admitted_client_closes_the_connection() {
    let house = house();
    let node = house.start();
    let mut socket = upgrade(&house, node.address(), "/mqtt", &[MQTT]).unwrap();
    let connect = encode(ProtocolVersion::V5, &Packet::Connect(connect_as_alice("web-3")));
    socket.send(Message::Binary(connect.into())).unwrap();
    assert!(matches!(socket.read(), Ok(Message::Binary(_))), "CONNACK");
    socket.send(Message::Ping(b"still there?".to_vec().into())).unwrap();
    assert!(matches!(socket.read(), Ok(Message::Pong(payload)) if payload == b"still there?".as_slice()));
    socket.send(Message::text("hello")).unwrap();
    assert!(matches!(socket.read(), Ok(Message::Binary(told)) if told[0] == 0xe0 && told[2] == 0x81), "DISCONNECT");
    match socket.read() {
        Ok(Message::Close(Some(frame))) => assert_eq!(u16::from(frame.code), 1003),
        other => panic!("{other:?}"),
    }
}

/// Sends pings and reads no pong; tells how many bytes the broker took before it stopped reading.
fn flood_with_pings(socket: &mut WebSocket<Box<dyn Stream>>) -> usize {
    // Final, ping, masked with zeros, 125 bytes.
    let ping = [[0x89, 0xfd, 0, 0, 0, 0].as_slice(), &[b'x'; 125]].concat();
    let pings = ping.repeat(500);
    let taken = (0..2_000).take_while(|_| socket.get_mut().write_all(&pings).is_ok()).count();
    taken * pings.len()
}

#[test]
fn k14_pings_whose_pongs_are_not_read_stop_being_read() {
    for mut house in houses() {
        house.settings.gate.admission_deadline = std::time::Duration::from_secs(2);
        flood_with_pings_before_and_after_connect(&house);
    }
}

fn flood_with_pings_before_and_after_connect(house: &House) {
    let node = house.start();
    let upgrade = || upgrades::upgrade(house, &node, "/mqtt", &[MQTT]).unwrap();
    let mut stranger = upgrade();
    // Far more than the buffers of both sockets take, far less than what the broker would otherwise gather.
    let bytes_max = 48 * 1024 * 1024;
    let taken = flood_with_pings(&mut stranger);
    assert!(taken < bytes_max, "{taken} bytes before the CONNECT");
    let mut socket = upgrade();
    let connect = encode(ProtocolVersion::V5, &Packet::Connect(connect_as_alice("web-4")));
    socket.send(Message::Binary(connect.into())).unwrap();
    assert!(matches!(socket.read(), Ok(Message::Binary(_))), "CONNACK");
    let taken = flood_with_pings(&mut socket);
    assert!(taken < bytes_max, "{taken} bytes after the CONNECT");
}

#[test]
fn a_close_frame_behind_the_connect_is_answered_after_the_connack() {
    let house = house();
    let node = house.start();
    let mut socket = upgrade(&house, node.address(), "/mqtt", &[MQTT]).unwrap();
    let connect = encode(ProtocolVersion::V5, &Packet::Connect(connect_as_alice("web-5")));
    socket.write(Message::Binary(connect.into())).unwrap();
    socket.write(Message::Close(None)).unwrap();
    socket.flush().unwrap();
    assert!(matches!(socket.read(), Ok(Message::Binary(_))), "CONNACK");
    assert!(matches!(socket.read(), Ok(Message::Close(_))));
}

#[test]
fn plain_http_gets_health_and_nothing_else() {
    let house = house();
    let node = house.start();
    let get = |path: &str| {
        let mut client = house.open(node.address(), None, b"http/1.1");
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        String::from_utf8(client.until_closed()).unwrap()
    };
    let health = get("/healthz");
    assert!(health.starts_with("HTTP/1.1 200 OK\r\n") && health.ends_with("\r\n\r\nok\n"), "{health}");
    assert!(get("/").starts_with("HTTP/1.1 404 "));
}

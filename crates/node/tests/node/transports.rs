//! One table of conversations, byte for byte the same over TCP, TLS, WebSocket, secure WebSocket and a unix socket.
//!
//! What MQTT says must not depend on what carries it. Each test plays the whole table on a node of its own.

use std::io::Read as _;
use std::os::unix::net::UnixStream;

use motte_node::settings::{ListenAddress, ListenerSettings, Speech, Transport, WebSocketSettings};

use crate::support::{House, PATIENCE, Running, Stream, listener, read_until_closed, tcp};
use crate::websocket::{Framed, MQTT, upgrade_over};

/// What carries the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Carrier {
    Tcp,
    Tls,
    WebSocket,
    SecureWebSocket,
    Unix,
}

/// A client of a conversation.
type Who = &'static str;

/// One step of a conversation.
enum Step {
    /// Opens a connection and sends this as its CONNECT.
    Open(Who, Vec<u8>),
    /// Expects CONNACK with these flags and this code; properties may follow.
    Acknowledged(Who, [u8; 2]),
    /// Expects DISCONNECT with this reason; properties may follow.
    Told(Who, u8),
    /// Sends these bytes in one write.
    Send(Who, Vec<u8>),
    /// Sends these bytes one by one.
    Drip(Who, Vec<u8>),
    /// Expects exactly these bytes next.
    Receive(Who, Vec<u8>),
    /// Expects the end of the connection, and no byte before it.
    Closed(Who),
    /// Ends the connection without a word.
    Vanish(Who),
}

impl Step {
    fn who(&self) -> Who {
        match self {
            Open(who, _) | Acknowledged(who, _) | Told(who, _) | Send(who, _) | Drip(who, _) | Receive(who, _) => who,
            Closed(who) | Vanish(who) => who,
        }
    }
}

use Step::{Acknowledged, Closed, Drip, Open, Receive, Send, Told, Vanish};

const V31: (&[u8], u8) = (b"MQIsdp", 3);
const V311: (&[u8], u8) = (b"MQTT", 4);
const V5: (&[u8], u8) = (b"MQTT", 5);
const CLEAN: u8 = 0x02;
const OK: [u8; 2] = [0, 0];

fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut rest = body.len();
    loop {
        let digit = u8::try_from(rest % 128).unwrap();
        rest /= 128;
        bytes.push(if rest == 0 { digit } else { digit | 0x80 });
        if rest == 0 {
            break;
        }
    }
    [bytes, body.to_vec()].concat()
}

/// A CONNECT of `alice`. `will` is topic and payload; `expiry_s` is for 5.0.
fn connect(
    (name, level): (&[u8], u8),
    id: &str,
    clean: u8,
    expiry_s: u8,
    will: Option<(&str, &str)>,
    password: &str,
) -> Vec<u8> {
    let flags = 0xc0 | clean | if will.is_some() { 0x04 } else { 0 };
    let mut body = [&u16::try_from(name.len()).unwrap().to_be_bytes(), name, &[level, flags, 0, 60]].concat();
    if level == 5 {
        body.extend([5, 0x11, 0, 0, 0, expiry_s]);
    }
    body.extend(text(id));
    if let Some((topic, payload)) = will {
        body.extend_from_slice(if level == 5 { &[0] } else { &[] });
        body.extend([text(topic), text(payload)].concat());
    }
    body.extend([text("alice"), text(password)].concat());
    packet(0x10, &body)
}

fn plain(version: (&[u8], u8), id: &str) -> Vec<u8> {
    connect(version, id, CLEAN, 0, None, "wonder")
}

/// A PUBLISH of 3.1.1, or of 5.0 without properties: `first` has QoS and RETAIN; `id` is for QoS 1 and 2.
fn publish(level: u8, first: u8, topic: &str, id: Option<u8>, payload: &str) -> Vec<u8> {
    let mut body = text(topic);
    body.extend(id.into_iter().flat_map(|id| [0, id]));
    body.extend((level == 5).then_some(0));
    body.extend_from_slice(payload.as_bytes());
    packet(first, &body)
}

fn subscribe(level: u8, filter: &str, qos: u8) -> Vec<u8> {
    let mut body = vec![0, 1];
    body.extend((level == 5).then_some(0));
    body.extend(text(filter));
    body.push(qos);
    packet(0x82, &body)
}

/// SUBACK of [`subscribe`].
fn granted(level: u8, qos: u8) -> Vec<u8> {
    if level == 5 { vec![0x90, 4, 0, 1, 0, qos] } else { vec![0x90, 3, 0, 1, qos] }
}

const PING: [u8; 2] = [0xc0, 0];
const PONG: [u8; 2] = [0xd0, 0];
const BYE: [u8; 2] = [0xe0, 0];

/// Each conversation with its name. Clients of all of them have names of their own.
fn conversations() -> Vec<(&'static str, Vec<Step>)> {
    vec![
        ("each version is admitted, answers a ping and lets go", admitted()),
        ("a wrong password is refused", refused()),
        ("messages of each QoS pass in both directions", every_qos()),
        ("a retained message waits for its subscriber", retained()),
        ("a will is published for who vanishes, and not for who says goodbye", will()),
        ("the same client identifier takes over", takeover()),
        ("a malformed packet is told and ends the connection", malformed()),
        ("a packet that is too large is told on its header", too_large()),
        ("a second CONNECT is told as against the protocol", second_connect()),
        ("a session goes on with what came meanwhile", resume()),
        ("packets come whole out of single bytes and out of one write", pieces()),
        ("what is subscribed no more is delivered no more", unsubscribed()),
    ]
}

fn admitted() -> Vec<Step> {
    let mut steps = Vec::new();
    for (who, version) in [("a-31", V31), ("a-311", V311), ("a-5", V5)] {
        steps.extend([Open(who, plain(version, who)), Acknowledged(who, OK)]);
        steps.extend([Send(who, PING.into()), Receive(who, PONG.into()), Send(who, BYE.into()), Closed(who)]);
    }
    steps
}

fn refused() -> Vec<Step> {
    let wrong = |version, id| connect(version, id, CLEAN, 0, None, "wrong");
    vec![
        Open("r-5", wrong(V5, "r-5")),
        Acknowledged("r-5", [0, 0x86]),
        Closed("r-5"),
        Open("r-311", wrong(V311, "r-311")),
        Receive("r-311", vec![0x20, 2, 0, 4]),
        Closed("r-311"),
    ]
}

fn every_qos() -> Vec<Step> {
    let mut steps = Vec::new();
    for (who, version, level) in [("q-311", V311, 4), ("q-5", V5, 5)] {
        let topic = ["q/", who].concat();
        let message = |first, id| publish(level, first, &topic, id, "21.5");
        steps.extend([Open(who, plain(version, who)), Acknowledged(who, OK)]);
        steps.extend([Send(who, subscribe(level, &topic, 2)), Receive(who, granted(level, 2))]);
        steps.extend([Send(who, message(0x30, None)), Receive(who, message(0x30, None))]);
        // The broker acknowledges and delivers in one turn: the message to the sender itself comes first or behind.
        steps.extend([
            Send(who, message(0x32, Some(7))),
            Receive(who, [message(0x32, Some(1)), vec![0x40, 2, 0, 7]].concat()),
            Send(who, vec![0x40, 2, 0, 1]),
        ]);
        steps.extend([
            Send(who, message(0x34, Some(8))),
            Receive(who, [message(0x34, Some(2)), vec![0x50, 2, 0, 8]].concat()),
            Send(who, vec![0x62, 2, 0, 8]),
            Receive(who, vec![0x70, 2, 0, 8]),
            Send(who, vec![0x50, 2, 0, 2]),
            Receive(who, vec![0x62, 2, 0, 2]),
            Send(who, vec![0x70, 2, 0, 2]),
        ]);
        steps.extend([Send(who, PING.into()), Receive(who, PONG.into())]);
    }
    steps
}

fn retained() -> Vec<Step> {
    vec![
        Open("k-writer", plain(V311, "k-writer")),
        Acknowledged("k-writer", OK),
        Send("k-writer", publish(4, 0x33, "k/state", Some(1), "on")),
        Receive("k-writer", vec![0x40, 2, 0, 1]),
        Open("k-reader", plain(V311, "k-reader")),
        Acknowledged("k-reader", OK),
        Send("k-reader", subscribe(4, "k/#", 0)),
        Receive("k-reader", [granted(4, 0), publish(4, 0x31, "k/state", None, "on")].concat()),
    ]
}

fn will() -> Vec<Step> {
    let with_will = |id| connect(V311, id, CLEAN, 0, Some(("w/gone", id)), "wonder");
    vec![
        Open("w-heir", plain(V311, "w-heir")),
        Acknowledged("w-heir", OK),
        Send("w-heir", subscribe(4, "w/#", 0)),
        Receive("w-heir", granted(4, 0)),
        Open("w-polite", with_will("w-polite")),
        Acknowledged("w-polite", OK),
        Send("w-polite", BYE.into()),
        Closed("w-polite"),
        Open("w-rude", with_will("w-rude")),
        Acknowledged("w-rude", OK),
        Vanish("w-rude"),
        Receive("w-heir", publish(4, 0x30, "w/gone", None, "w-rude")),
    ]
}

fn takeover() -> Vec<Step> {
    vec![
        Open("t-old", plain(V5, "t")),
        Acknowledged("t-old", OK),
        Open("t-new", plain(V5, "t")),
        Acknowledged("t-new", OK),
        Told("t-old", 0x8e),
        Closed("t-old"),
        Send("t-new", PING.into()),
        Receive("t-new", PONG.into()),
    ]
}

fn malformed() -> Vec<Step> {
    vec![
        Open("m-5", plain(V5, "m-5")),
        Acknowledged("m-5", OK),
        // A PUBLISH of QoS 3.
        Send("m-5", publish(5, 0x36, "m", Some(1), "x")),
        Told("m-5", 0x81),
        Closed("m-5"),
        Open("m-311", plain(V311, "m-311")),
        Acknowledged("m-311", OK),
        Send("m-311", publish(4, 0x36, "m", Some(1), "x")),
        Closed("m-311"),
    ]
}

fn too_large() -> Vec<Step> {
    vec![
        Open("l", plain(V5, "l")),
        Acknowledged("l", OK),
        // The longest length there is, and none of the bytes.
        Send("l", vec![0x30, 0xff, 0xff, 0xff, 0x7f]),
        Told("l", 0x95),
        Closed("l"),
    ]
}

fn second_connect() -> Vec<Step> {
    vec![Open("c", plain(V5, "c")), Acknowledged("c", OK), Send("c", plain(V5, "c")), Told("c", 0x82), Closed("c")]
}

fn resume() -> Vec<Step> {
    let lasting = |who, version, id, clean| Open(who, connect(version, id, clean, 60, None, "wonder"));
    let mut steps = Vec::new();
    for (first, again, writer, version, level) in
        [("s1-311", "s2-311", "s3-311", V311, 4), ("s1-5", "s2-5", "s3-5", V5, 5)]
    {
        let topic = ["s/", first].concat();
        steps.extend([lasting(first, version, first, 0), Acknowledged(first, OK)]);
        steps.extend([Send(first, subscribe(level, &topic, 1)), Receive(first, granted(level, 1))]);
        steps.extend([Send(first, BYE.into()), Closed(first)]);
        steps.extend([Open(writer, plain(version, writer)), Acknowledged(writer, OK)]);
        steps.push(Send(writer, publish(level, 0x32, &topic, Some(1), "while you were away")));
        steps.push(Receive(writer, vec![0x40, 2, 0, 1]));
        steps.extend([lasting(again, version, first, 0), Acknowledged(again, [1, 0])]);
        steps.push(Receive(again, publish(level, 0x32, &topic, Some(1), "while you were away")));
    }
    steps
}

fn pieces() -> Vec<Step> {
    let message = publish(5, 0x30, "p", None, &"x".repeat(300));
    vec![
        Open("p", plain(V5, "p")),
        Acknowledged("p", OK),
        Drip("p", subscribe(5, "p", 0)),
        Receive("p", granted(5, 0)),
        Drip("p", message.clone()),
        Receive("p", message.clone()),
        Send("p", [message.clone(), PING.to_vec(), message.clone(), PING.to_vec()].concat()),
        Receive("p", [message.clone(), PONG.to_vec(), message, PONG.to_vec()].concat()),
    ]
}

fn unsubscribed() -> Vec<Step> {
    let message = publish(5, 0x30, "u", None, "x");
    vec![
        Open("u", plain(V5, "u")),
        Acknowledged("u", OK),
        Send("u", subscribe(5, "u", 0)),
        Receive("u", granted(5, 0)),
        Send("u", packet(0xa2, &[&[0, 2, 0], text("u").as_slice()].concat())),
        Receive("u", vec![0xb0, 4, 0, 2, 0, 0]),
        Send("u", [message, PING.to_vec()].concat()),
        Receive("u", PONG.into()),
    ]
}

/// A listener for this carrier.
pub(crate) fn door(house: &House, carrier: Carrier) -> ListenerSettings {
    let webs = || Speech::WebSocket(WebSocketSettings::default());
    let transport = match carrier {
        Carrier::Tcp | Carrier::Unix => Transport::PLAINTEXT,
        Carrier::WebSocket => Transport { tls: false, speech: webs() },
        Carrier::SecureWebSocket | Carrier::Tls => Transport::tls(),
    };
    let door = listener(&format!("{carrier:?}"), transport);
    if !matches!(carrier, Carrier::Unix) {
        return door;
    }
    let address = ListenAddress::Unix { path: house.path("mqtt.sock"), mode: 0o600 };
    ListenerSettings { address, ..door }
}

/// Opens a connection to the [`door`] at that place, with the client certificate `certificate` where one is asked for.
pub(crate) fn enter(
    house: &House,
    node: &Running,
    (place, carrier): (usize, Carrier),
    certificate: Option<&str>,
) -> Box<dyn Stream> {
    let framed = |stream| {
        let socket = upgrade_over(stream, "localhost", "/mqtt", &[MQTT]).unwrap();
        Box::new(Framed::new(socket))
    };
    match carrier {
        Carrier::Tcp => Box::new(tcp(node.address_of(place))),
        Carrier::Tls => house.open(node.address_of(place), certificate, b"mqtt").stream,
        Carrier::WebSocket => framed(Box::new(tcp(node.address_of(place)))),
        Carrier::SecureWebSocket => framed(house.open(node.address_of(place), certificate, b"http/1.1").stream),
        Carrier::Unix => {
            let socket = UnixStream::connect(house.path("mqtt.sock")).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            Box::new(socket)
        }
    }
}

/// Expects a packet that begins like this, and reads it to its end.
fn head(receive: &mut impl FnMut(usize) -> Vec<u8>, first: u8, expected: &[u8], place: &str) {
    let head = receive(2);
    assert!(head[0] == first && head[1] < 0x80, "{place}: {head:02x?}");
    assert_eq!(receive(usize::from(head[1]))[..expected.len()], *expected, "{place}");
}

fn play(carrier: Carrier) {
    let mut house = House::new();
    house.settings.listeners = vec![door(&house, carrier)];
    let node = house.start();
    for (name, steps) in conversations() {
        let mut clients = std::collections::HashMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            let place = format!("{carrier:?}: {name}: step {number}");
            let who = step.who();
            if matches!(step, Open(..)) {
                clients.insert(who, enter(&house, &node, (0, carrier), None));
            }
            let client = clients.get_mut(who).expect(&place);
            let mut receive = |length: usize| {
                let mut bytes = vec![0; length];
                client.read_exact(&mut bytes).unwrap_or_else(|error| panic!("{place}: {error}"));
                bytes
            };
            match step {
                Acknowledged(_, expected) => head(&mut receive, 0x20, &expected, &place),
                Told(_, reason) => head(&mut receive, 0xe0, &[reason], &place),
                Receive(_, expected) => assert_eq!(receive(expected.len()), expected, "{place}"),
                Open(_, bytes) | Send(_, bytes) => {
                    client.write_all(&bytes).expect(&place);
                    client.flush().expect(&place);
                }
                Drip(_, bytes) => {
                    for byte in bytes {
                        client.write_all(&[byte]).expect(&place);
                        client.flush().expect(&place);
                    }
                }
                Closed(_) => {
                    let mut rest = Vec::new();
                    read_until_closed(client, &mut rest);
                    assert_eq!(rest, b"", "{place}");
                }
                Vanish(_) => drop(clients.remove(who)),
            }
        }
    }
}

#[test]
fn every_conversation_over_tcp() {
    play(Carrier::Tcp);
}

#[test]
fn every_conversation_over_tls() {
    play(Carrier::Tls);
}

#[test]
fn every_conversation_over_websocket() {
    play(Carrier::WebSocket);
}

#[test]
fn every_conversation_over_secure_websocket() {
    play(Carrier::SecureWebSocket);
}

#[test]
fn every_conversation_over_a_unix_socket() {
    play(Carrier::Unix);
}

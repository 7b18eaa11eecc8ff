//! The library against a broker that lies, floods, stays silent or speaks something else (K43, K44).
//! Run by `cargo nextest`; the broker is a few bytes behind a real TLS listener on a free loopback port.
#![allow(clippy::unwrap_used, reason = "a panic is the failure of a test")]

#[path = "rogue/scram.rs"]
mod scram;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use motte_client::error::{EXIT_TIMEOUT, EXIT_TLS};
use motte_client::{
    ConnectError, ConnectionLost, Message, MqttConfig, ProtocolVersion, Qos, Stage, SubscribeError, Subscription,
    Transport, connect_mqtt_tls,
};
use motte_pki::{ServerTlsParams, server_config};
use rustls::{ServerConnection, StreamOwned};
use support::Pki;

type Tls = StreamOwned<ServerConnection, TcpStream>;

const SOON: Option<Duration> = Some(Duration::from_secs(10));
/// CONNACK of 5.0: accepted, no properties.
const ACCEPTED: [u8; 5] = [0x20, 3, 0, 0, 0];

/// A broker for one connection, played by `script` on the bare TCP stream.
fn rogue_tcp<T: Send + 'static>(script: impl FnOnce(TcpStream) -> T + Send + 'static) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (port, thread::spawn(move || script(listener.accept().unwrap().0)))
}

/// A broker for one connection, played by `script` after the TLS handshake and the client's CONNECT.
fn rogue<T: Send + 'static>(pki: &Pki, script: impl FnOnce(Tls) -> T + Send + 'static) -> (MqttConfig, JoinHandle<T>) {
    rogue_with_connect(pki, |stream, _| script(stream))
}

/// The same for a script that looks at the CONNECT.
fn rogue_with_connect<T: Send + 'static>(
    pki: &Pki,
    script: impl FnOnce(Tls, Vec<u8>) -> T + Send + 'static,
) -> (MqttConfig, JoinHandle<T>) {
    let (certificate, key) = pki.server(&["localhost"], 90, SystemTime::now());
    let tls = server_config(&ServerTlsParams { certificate, key, ..ServerTlsParams::default() }).unwrap();
    let (port, thread) = rogue_tcp(move |tcp| {
        let mut stream = StreamOwned::new(ServerConnection::new(tls).unwrap(), tcp);
        let connect = packet(&mut stream);
        assert_eq!(connect[0], 0x10, "the client speaks first, with CONNECT");
        script(stream, connect)
    });
    (config(pki, port), thread)
}

fn config(pki: &Pki, port: u16) -> MqttConfig {
    MqttConfig {
        connect_timeout: Duration::from_secs(10),
        response_timeout: Duration::from_secs(10),
        ..MqttConfig::new("localhost", port, pki.ca())
    }
}

/// Reads one packet with a remaining length of up to two bytes.
fn packet(stream: &mut Tls) -> Vec<u8> {
    let mut bytes = support::read(stream, 2);
    let mut length = usize::from(bytes[1]);
    if length >= 128 {
        bytes.extend(support::read(stream, 1));
        length = length - 128 + 128 * usize::from(bytes[2]);
    }
    bytes.extend(support::read(stream, length));
    bytes
}

/// The broker answers CONNECT with `answer`; how the client takes it.
fn connect_error(pki: &Pki, answer: &[u8]) -> ConnectError {
    let answer = answer.to_vec();
    let (config, broker) = rogue(pki, move |mut stream| {
        stream.write_all(&answer).unwrap();
        // The client has to go by itself.
        let _ = stream.read(&mut [0; 64]);
    });
    let error = connect_mqtt_tls(&config).expect_err("this must not connect");
    broker.join().unwrap();
    error
}

/// The broker accepts, waits for nothing and sends `bytes`; why the connection ends, and the client's last packet.
fn lost_after(pki: &Pki, bytes: &[u8]) -> (ConnectionLost, Vec<u8>) {
    let bytes = bytes.to_vec();
    let (config, broker) = rogue(pki, move |mut stream| {
        stream.write_all(&[&ACCEPTED, bytes.as_slice()].concat()).unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        said
    });
    let connection = connect_mqtt_tls(&config).unwrap();
    let lost = loop {
        match connection.next_message(SOON) {
            Ok(message) => assert!(message.is_some(), "the client ends it by itself"),
            Err(lost) => break lost,
        }
    };
    (lost, broker.join().unwrap())
}

#[test]
fn k43_an_answer_that_is_no_connack_is_an_error() {
    let pki = Pki::new();
    for answer in
        [b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), &[0xd0, 0], &[0x20, 0xff, 0xff, 0x7f], &[0x20, 2, 0, 0xff]]
    {
        let error = connect_error(&pki, answer);
        assert!(
            matches!(error, ConnectError::Protocol { .. } | ConnectError::ClosedEarly { .. }),
            "{answer:?}: {error:?}"
        );
    }
}

#[test]
fn v5_3_2_2_4_a_session_nobody_asked_for_is_refused() {
    let error = connect_error(&Pki::new(), &[0x20, 3, 1, 0, 0]);
    assert!(error.to_string().contains("resumes a session although a new one was asked for"), "{error}");
}

#[test]
fn k34_the_brokers_words_are_escaped() {
    let words = b"\x1b[31mno";
    let mut refusal = vec![0x20, 13, 0, 0x87, 10, 0x1f, 0];
    refusal.push(u8::try_from(words.len()).unwrap());
    refusal.extend(words);
    let error = connect_error(&Pki::new(), &refusal);
    assert_eq!(error.to_string(), "the broker refused the connection: not authorized (\\u{1b}[31mno)");
    assert_eq!(error.exit_code(), 0x87);
}

#[test]
fn k43_each_lie_ends_the_connection_and_says_which() {
    let pki = Pki::new();
    let check = |bytes: &[u8], what: &str, reason: u8| {
        let (lost, said) = lost_after(&pki, bytes);
        assert_eq!(lost, ConnectionLost::Protocol { what: what.into() }, "{bytes:?}");
        assert!(said.starts_with(&[0xe0]) && said[2] == reason, "{bytes:?}: DISCONNECT {reason:#x}, not {said:?}");
    };
    check(&[0x40, 2, 0, 1], "PUBACK for no QoS 1 message of ours", 0x82);
    check(&[0x50, 2, 0, 1], "PUBREC for no QoS 2 message of ours", 0x82);
    check(&[0x70, 2, 0, 1], "PUBCOMP for no QoS 2 message of ours", 0x82);
    check(&[0x90, 4, 0, 1, 0, 0], "SUBACK for no SUBSCRIBE of ours", 0x82);
    check(&[0xb0, 4, 0, 1, 0, 0], "UNSUBACK for no UNSUBSCRIBE of ours", 0x82);
    check(&ACCEPTED, "a second CONNACK", 0x82);
    check(&[0x30, 6, 0, 0, 3, 0x23, 0, 1], "a topic alias that stands for nothing", 0x94);
    // 256 MiB are announced; they are refused before they come.
    check(&[0x30, 0xff, 0xff, 0xff, 0x7f], "packet too large", 0x95);
}

#[test]
fn k43_malformed_bytes_end_the_connection() {
    let pki = Pki::new();
    for bytes in [&[0x00, 0][..], &[0x30, 0xff, 0xff, 0xff, 0xff, 0x01], &[0x36, 3, 0, 1, b't'], &[0x10, 0], &[0xc0, 0]]
    {
        let (lost, _) = lost_after(&pki, bytes);
        assert!(matches!(lost, ConnectionLost::Protocol { .. }), "{bytes:?}: {lost:?}");
    }
}

#[test]
fn k43_a_suback_with_too_few_codes_is_an_error() {
    let pki = Pki::new();
    let (config, broker) = rogue(&pki, |mut stream| {
        stream.write_all(&ACCEPTED).unwrap();
        let subscribe = packet(&mut stream);
        stream.write_all(&[0x90, 4, subscribe[2], subscribe[3], 0, 0]).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let connection = connect_mqtt_tls(&config).unwrap();
    let two = [Subscription::new("a", Qos::AtMostOnce), Subscription::new("b", Qos::AtMostOnce)];
    let error = connection.subscribe(&two).unwrap_err();
    assert!(matches!(error, SubscribeError::Lost(ConnectionLost::Protocol { .. })), "{error:?}");
    broker.join().unwrap();
}

#[test]
fn v5_4_3_3_10_a_repeated_qos_2_message_is_delivered_once() {
    let publish = [0x34, 7, 0, 1, b't', 0, 9, 0, b'x'];
    let repeated = [0x3c, 7, 0, 1, b't', 0, 9, 0, b'x'];
    let release = [0x62, 2, 0, 9];
    let pki = Pki::new();
    let (config, broker) = rogue(&pki, move |mut stream| {
        stream.write_all(&[&ACCEPTED[..], &publish, &repeated, &release, &release, &publish].concat()).unwrap();
        (0..5).map(|_| packet(&mut stream)).collect::<Vec<_>>()
    });
    let connection = connect_mqtt_tls(&config).unwrap();
    for _ in 0..2 {
        assert_eq!(connection.next_message(SOON).unwrap().unwrap().payload, "x");
    }
    let said = broker.join().unwrap();
    // PUBREC, PUBREC, PUBCOMP, PUBCOMP 0x92 for what is not known any more, PUBREC.
    let expected: [&[u8]; 5] =
        [&[0x50, 2, 0, 9], &[0x50, 2, 0, 9], &[0x70, 2, 0, 9], &[0x70, 3, 0, 9, 0x92], &[0x50, 2, 0, 9]];
    assert_eq!(said, expected);
    assert!(connection.next_message(SOON).is_err(), "no third message, but the end");
}

#[test]
fn k43_a_flood_nobody_reads_is_not_taken_in() {
    // 64 KiB a message at QoS 0.
    let mut message = vec![0x30, 0x84, 0x80, 0x04, 0, 1, b't', 0];
    message.resize(5 + 4 + 65_536 - 1, b'x');
    flood(&message, 64 * 1024 * 1024);
}

#[test]
fn k43_questions_without_end_whose_answers_nobody_reads_are_not_taken_in() {
    flood(&[0x62, 2, 0, 9].repeat(4096), 64 * 1024 * 1024);
}

/// Writes, and reports what the socket says to it, which rustls's own stream keeps to itself.
fn write_through(stream: &mut Tls, bytes: &[u8]) -> std::io::Result<()> {
    stream.conn.writer().write_all(bytes)?;
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut stream.sock)?;
    }
    Ok(())
}

/// The broker writes `bytes` again and again and never reads: before `most` bytes, the client must stop taking them.
fn flood(bytes: &[u8], most: usize) {
    let bytes = bytes.to_vec();
    let pki = Pki::new();
    let (config, broker) = rogue(&pki, move |mut stream| {
        stream.write_all(&ACCEPTED).unwrap();
        stream.sock.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        stream.conn.set_buffer_limit(None);
        let mut written = 0;
        loop {
            match write_through(&mut stream, &bytes) {
                Ok(()) => written += bytes.len(),
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                    return;
                }
            }
            assert!(written < most, "{written} bytes were taken in");
        }
    });
    let connection = connect_mqtt_tls(&config).unwrap();
    broker.join().unwrap();
    drop(connection);
}

#[test]
fn k43_silence_after_the_connack_is_noticed() {
    let pki = Pki::new();
    let (config, broker) = rogue(&pki, |mut stream| {
        stream.write_all(&ACCEPTED).unwrap();
        packet(&mut stream)
    });
    let config = MqttConfig { keep_alive_s: 1, response_timeout: Duration::from_millis(200), ..config };
    let connection = connect_mqtt_tls(&config).unwrap();
    // The broker's thread ends with the ping, but its socket lives until the test has looked.
    let lost = connection.next_message(SOON).unwrap_err();
    assert!(matches!(lost, ConnectionLost::KeepAlive | ConnectionLost::ClosedByBroker), "{lost:?}");
    assert_eq!(broker.join().unwrap(), [0xc0, 0], "PINGREQ");
}

#[test]
fn k43_a_message_that_is_never_acknowledged_is_given_up() {
    let pki = Pki::new();
    let (config, broker) = rogue(&pki, |mut stream| {
        stream.write_all(&ACCEPTED).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let config = MqttConfig { response_timeout: Duration::from_millis(200), ..config };
    let connection = connect_mqtt_tls(&config).unwrap();
    let error = connection.publish(Message::new("t", "x", Qos::AtLeastOnce)).unwrap_err();
    assert_eq!((error.clone(), error.exit_code()), (motte_client::PublishError::TimedOut, EXIT_TIMEOUT));
    connection.disconnect().unwrap();
    broker.join().unwrap();
}

#[test]
fn no_answer_to_connect_is_a_timeout_of_that_stage() {
    let pki = Pki::new();
    let (config, broker) = rogue(&pki, |mut stream| stream.read_to_end(&mut Vec::new()).is_ok());
    let config = MqttConfig { connect_timeout: Duration::from_millis(500), ..config };
    let error = connect_mqtt_tls(&config).unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut { stage: Stage::Mqtt, .. }), "{error:?}");
    broker.join().unwrap();
}

#[test]
fn no_answer_to_the_tls_greeting_is_a_timeout_of_tls() {
    let pki = Pki::new();
    let (port, broker) = rogue_tcp(|mut tcp| {
        let mut said = Vec::new();
        let _ = tcp.read_to_end(&mut said);
        said
    });
    let config = MqttConfig { connect_timeout: Duration::from_millis(300), ..config(&pki, port) };
    let error = connect_mqtt_tls(&config).unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut { stage: Stage::Tls, .. }), "{error:?}");
    assert_eq!(error.exit_code(), EXIT_TLS);
    let said = broker.join().unwrap();
    assert_eq!(said[0], 0x16, "a TLS handshake");
    assert!(!said.windows(6).any(|part| part == b"MQTT\x05\x02"), "no CONNECT in plaintext");
}

#[test]
fn a_server_that_answers_without_tls_is_told_apart() {
    let pki = Pki::new();
    let (port, broker) = rogue_tcp(|mut tcp| {
        tcp.write_all(b"220 mail.example.org ESMTP\r\n").unwrap();
        let _ = tcp.read_to_end(&mut Vec::new());
    });
    let error = connect_mqtt_tls(&config(&pki, port)).unwrap_err();
    assert_eq!(error.to_string(), "localhost answers on this port, but not in TLS");
    assert_eq!(error.exit_code(), EXIT_TLS);
    broker.join().unwrap();
}

#[test]
fn websocket_to_a_port_without_it_is_told_apart() {
    let pki = Pki::new();
    let (certificate, key) = pki.server(&["localhost"], 90, SystemTime::now());
    let params = ServerTlsParams { certificate, key, alpn: vec![b"mqtt".to_vec()], ..ServerTlsParams::default() };
    let tls = server_config(&params).unwrap();
    let (port, broker) = rogue_tcp(move |tcp| {
        let mut stream = StreamOwned::new(ServerConnection::new(tls).unwrap(), tcp);
        assert!(stream.read(&mut [0; 1]).is_err(), "the handshake fails");
    });
    let transport = motte_client::Transport::WebSocketTls { path: "/mqtt".into() };
    let error = connect_mqtt_tls(&MqttConfig { transport, ..config(&pki, port) }).unwrap_err();
    assert_eq!(error.to_string(), "localhost speaks TLS on this port, but not WebSocket");
    assert_eq!(error.exit_code(), EXIT_TLS);
    broker.join().unwrap();
}

#[test]
fn the_brokers_limits_are_kept_before_anything_is_sent() {
    // Maximum QoS 1, Retain Available 0, Maximum Packet Size 64, Receive Maximum 1.
    let connack = [0x20, 15, 0, 0, 12, 0x24, 1, 0x25, 0, 0x27, 0, 0, 0, 64, 0x21, 0, 1];
    let pki = Pki::new();
    let (config, broker) = rogue(&pki, move |mut stream| {
        stream.write_all(&connack).unwrap();
        let first = packet(&mut stream);
        // Only after this acknowledgement may the second come.
        stream.write_all(&[0x40, 2, 0, first[6]]).unwrap();
        let second = packet(&mut stream);
        stream.write_all(&[0x40, 2, 0, second[6]]).unwrap();
        (first, second)
    });
    let connection = connect_mqtt_tls(&config).unwrap();
    let sentence = |message: Message| connection.publish(message).unwrap_err().to_string();
    assert_eq!(sentence(Message::new("t", "x", Qos::ExactlyOnce)), "the broker takes messages up to QoS 1 only");
    let retained = Message { retain: true, ..Message::new("t", "x", Qos::AtMostOnce) };
    assert_eq!(sentence(retained), "the broker keeps no retained messages");
    let large = sentence(Message::new("t", vec![0; 64], Qos::AtMostOnce));
    assert_eq!(
        large,
        "the message is too large: its payload has 64 bytes, and the broker takes packets of at most 64 bytes"
    );
    let first = connection.send(Message::new("t", "1", Qos::AtLeastOnce)).unwrap();
    let second = connection.send(Message::new("t", "2", Qos::AtLeastOnce)).unwrap();
    first.wait().unwrap();
    second.wait().unwrap();
    let (first, second) = broker.join().unwrap();
    assert_eq!((first.last(), second.last()), (Some(&b'1'), Some(&b'2')));
}

#[test]
fn v311_noid_a_refusal_has_the_code_of_its_version() {
    let pki = Pki::new();
    let (config, broker) = rogue(&pki, |mut stream| {
        stream.write_all(&[0x20, 2, 0, 4]).unwrap();
        let _ = stream.read(&mut [0; 64]);
    });
    let config = MqttConfig { protocol_version: ProtocolVersion::V311, ..config };
    let error = connect_mqtt_tls(&config).unwrap_err();
    assert_eq!(error.to_string(), "the broker refused the connection: bad user name or password");
    assert_eq!(error.exit_code(), 4);
    broker.join().unwrap();
}

/// The request with which the client of a version opens a WebSocket.
fn upgrade_request(version: ProtocolVersion) -> String {
    let pki = Pki::new();
    let (certificate, key) = pki.server(&["localhost"], 90, SystemTime::now());
    let tls = server_config(&ServerTlsParams { certificate, key, ..ServerTlsParams::default() }).unwrap();
    let (port, broker) = rogue_tcp(move |tcp| {
        let mut stream = StreamOwned::new(ServerConnection::new(tls).unwrap(), tcp);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.extend(support::read(&mut stream, 1));
        }
        String::from_utf8(request).unwrap().to_ascii_lowercase()
    });
    let transport = Transport::WebSocketTls { path: "/mqtt".into() };
    let config = MqttConfig { transport, protocol_version: version, ..config(&pki, port) };
    connect_mqtt_tls(&config).expect_err("nobody answers");
    broker.join().unwrap()
}

#[test]
fn v5_6_0_0_3_the_subprotocol_mqtt_is_offered() {
    assert!(upgrade_request(ProtocolVersion::V5).contains("\r\nsec-websocket-protocol: mqtt\r\n"));
}

#[test]
fn v311_6_0_0_3_the_subprotocol_mqtt_is_offered() {
    assert!(upgrade_request(ProtocolVersion::V311).contains("\r\nsec-websocket-protocol: mqtt\r\n"));
}

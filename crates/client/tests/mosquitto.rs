//! The library against Debian's Mosquitto, a broker by other people: connecting, TLS failures, messages both ways.
//! Run by `cargo nextest`; every broker listens on a free loopback port.
#![allow(clippy::unwrap_used, reason = "a panic is the failure of a test")]

mod support;

use std::time::{Duration, SystemTime};

use motte_client::error::{EXIT_CONNECTION_LOST, EXIT_SYSTEM, EXIT_TLS};
use motte_client::{
    ConnectError, Connection, ConnectionLost, Message, MqttConfig, ProtocolVersion, Qos, ReasonCode, ServerTrust,
    Subscription, Transport, connect, connect_mqtt_tls,
};
use support::{Mosquitto, Pki};

const DAY: Duration = Duration::from_secs(86_400);
const SOON: Option<Duration> = Some(Duration::from_secs(10));

fn versions() -> [ProtocolVersion; 3] {
    [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5]
}

fn next(connection: &Connection) -> Message {
    connection.next_message(SOON).unwrap().expect("a message comes")
}

/// The error, its sentence, hint and exit status, all of which a user sees.
fn refused(config: &MqttConfig) -> (ConnectError, String, String, u8) {
    let error = connect_mqtt_tls(config).expect_err("this must not connect");
    let (sentence, hint, code) = (error.to_string(), error.hint(), error.exit_code());
    (error, sentence, hint, code)
}

#[test]
fn a_connection_states_what_it_is() {
    let pki = Pki::new();
    let broker = Mosquitto::tls(&pki, "");
    let connection = connect_mqtt_tls(&broker.config(&pki)).unwrap();
    let facts = connection.facts().clone();
    let tls = facts.tls.unwrap();
    assert_eq!(tls.version, "TLS 1.3");
    assert!(tls.suite.starts_with("TLS_"), "{}", tls.suite);
    assert_ne!(tls.key_exchange, "none");
    assert_eq!(tls.peer[0].names, ["localhost", "127.0.0.1"]);
    assert_eq!(tls.peer[0].days_left(SystemTime::now()), 89);
    assert!(facts.client_id.starts_with("motte-"), "{}", facts.client_id);
    connection.disconnect().unwrap();
}

#[test]
fn messages_of_every_qos_go_through_in_every_version() {
    let pki = Pki::new();
    let broker = Mosquitto::tls(&pki, "");
    for version in versions() {
        let config = MqttConfig { protocol_version: version, ..broker.config(&pki) };
        let subscriber = connect_mqtt_tls(&config).unwrap();
        assert_eq!(subscriber.subscribe(&[Subscription::new("t/#", Qos::ExactlyOnce)]), Ok(vec![Ok(Qos::ExactlyOnce)]));
        let publisher = connect_mqtt_tls(&config).unwrap();
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let payload: &[u8] = &[0, 255, b'\n', qos.as_u8()];
            publisher.publish(Message::new("t/1", payload.to_vec(), qos)).unwrap();
            let message = next(&subscriber);
            assert_eq!(
                (message.topic.as_str(), &message.payload[..], message.qos),
                ("t/1", payload, qos),
                "{version:?}"
            );
            assert!(!message.retain && !message.dup);
        }
        publisher.disconnect().unwrap();
        subscriber.disconnect().unwrap();
    }
}

#[test]
fn a_thousand_messages_keep_their_order_within_the_brokers_window() {
    let pki = Pki::new();
    let broker = Mosquitto::tls(&pki, "");
    let subscriber = connect_mqtt_tls(&broker.config(&pki)).unwrap();
    subscriber.subscribe(&[Subscription::new("n", Qos::ExactlyOnce)]).unwrap();
    let publisher = connect_mqtt_tls(&broker.config(&pki)).unwrap();
    let pending: Vec<_> =
        (0..1000_u32).map(|n| publisher.send(Message::new("n", n.to_string(), Qos::ExactlyOnce)).unwrap()).collect();
    for one in pending {
        one.wait().unwrap();
    }
    for n in 0..1000_u32 {
        assert_eq!(next(&subscriber).payload, n.to_string());
    }
}

#[test]
fn a_large_message_goes_both_ways() {
    let pki = Pki::new();
    let broker = Mosquitto::tls(&pki, "");
    let connection = connect_mqtt_tls(&broker.config(&pki)).unwrap();
    connection.subscribe(&[Subscription::new("big", Qos::AtLeastOnce)]).unwrap();
    let payload: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    connection.publish(Message::new("big", payload.clone(), Qos::AtLeastOnce)).unwrap();
    assert!(next(&connection).payload == payload);
}

#[test]
fn retained_messages_come_marked_and_can_be_cleared() {
    let pki = Pki::new();
    let broker = Mosquitto::tls(&pki, "");
    let connection = connect_mqtt_tls(&broker.config(&pki)).unwrap();
    let kept = Message { retain: true, ..Message::new("r", "kept", Qos::AtLeastOnce) };
    connection.publish(kept.clone()).unwrap();
    connection.subscribe(&[Subscription::new("r", Qos::AtMostOnce)]).unwrap();
    assert!(next(&connection).retain);
    assert_eq!(connection.unsubscribe(&["r".into(), "nothing".into()]).unwrap().len(), 2);
    connection.publish(Message { payload: motte_client::Bytes::new(), ..kept }).unwrap();
    connection.subscribe(&[Subscription::new("r", Qos::AtMostOnce)]).unwrap();
    assert_eq!(connection.next_message(Some(Duration::from_millis(300))), Ok(None));
}

#[test]
fn a_session_is_resumed_with_what_it_missed() {
    let pki = Pki::new();
    let broker = Mosquitto::tls(&pki, "");
    for version in versions() {
        let config = MqttConfig {
            protocol_version: version,
            client_id: format!("keeper-{version:?}"),
            clean_start: false,
            session_expiry_s: Some(3600),
            ..broker.config(&pki)
        };
        let first = connect_mqtt_tls(&config).unwrap();
        assert!(!first.facts().session_present);
        first.subscribe(&[Subscription::new("later", Qos::ExactlyOnce)]).unwrap();
        first.disconnect().unwrap();
        let other = connect_mqtt_tls(&broker.config(&pki)).unwrap();
        other.publish(Message::new("later", "missed", Qos::ExactlyOnce)).unwrap();
        let second = connect_mqtt_tls(&config).unwrap();
        // 3.1 has no way to say so.
        assert_eq!(second.facts().session_present, version != ProtocolVersion::V31);
        assert_eq!(next(&second).payload, "missed");
        second.unsubscribe(&["later".into()]).unwrap();
    }
}

#[test]
fn an_idle_connection_is_kept_alive_while_nobody_calls() {
    let pki = Pki::new();
    let broker = Mosquitto::tls(&pki, "");
    let config = MqttConfig { keep_alive_s: 1, ..broker.config(&pki) };
    let connection = connect_mqtt_tls(&config).unwrap();
    // Twice as long as the broker waits before it closes; nothing can be awaited, because nothing is to happen.
    assert_eq!(connection.next_message(Some(Duration::from_secs(3))), Ok(None));
    connection.publish(Message::new("alive", "", Qos::AtLeastOnce)).unwrap();
}

#[test]
fn a_will_is_published_when_the_client_is_taken_over() {
    let pki = Pki::new();
    let broker = Mosquitto::tls(&pki, "");
    let watcher = connect_mqtt_tls(&broker.config(&pki)).unwrap();
    watcher.subscribe(&[Subscription::new("gone", Qos::AtLeastOnce)]).unwrap();
    let will = motte_client::Will {
        topic: "gone".into(),
        payload: b"first".to_vec(),
        qos: Qos::AtLeastOnce,
        retain: false,
        delay_s: 0,
    };
    let config = MqttConfig { client_id: "same".into(), will: Some(will), ..broker.config(&pki) };
    let first = connect_mqtt_tls(&config).unwrap();
    let _second = connect_mqtt_tls(&config).unwrap();
    assert_eq!(next(&watcher).payload, "first");
    let lost = first.next_message(SOON).unwrap_err();
    // This Mosquitto keeps the reason to itself, later ones state it.
    assert!(
        matches!(lost, ConnectionLost::ClosedByBroker)
            || matches!(lost, ConnectionLost::Disconnected { reason: ReasonCode::SessionTakenOver, .. }),
        "{lost:?}"
    );
}

#[test]
fn a_wrong_ca_path_names_the_path() {
    let pki = Pki::new();
    let config = MqttConfig::new("localhost", 1, pki.path("missing.pem"));
    let (error, sentence, hint, code) = refused(&config);
    assert!(matches!(error, ConnectError::TlsFile(_)));
    assert_eq!(sentence, format!("{} does not exist", pki.path("missing.pem").display()));
    assert_eq!(hint, "check the path; relative paths start at the current directory");
    assert_eq!(code, EXIT_TLS);
}

#[test]
fn a_ca_file_that_is_no_certificate_says_so() {
    let pki = Pki::new();
    std::fs::write(pki.path("notes.txt"), "hello").unwrap();
    let (_, sentence, _, code) = refused(&MqttConfig::new("localhost", 1, pki.path("notes.txt")));
    assert_eq!((sentence, code), (format!("{} is not a PEM file", pki.path("notes.txt").display()), EXIT_TLS));
}

#[test]
fn no_ca_file_at_all_is_an_error_and_not_the_systems_list() {
    let (error, ..) = refused(&MqttConfig::new("localhost", 1, ""));
    assert!(matches!(error, ConnectError::NoCertificateFile));
}

#[test]
fn a_ca_that_did_not_sign_the_broker_is_refused() {
    let (pki, other) = (Pki::new(), Pki::new());
    let broker = Mosquitto::tls(&pki, "");
    for trust in [ServerTrust::CertificateFile, ServerTrust::SystemRoots] {
        let config = MqttConfig { server_trust: trust, tls_cert_path: other.ca(), ..broker.config(&pki) };
        let (_, sentence, hint, code) = refused(&config);
        assert_eq!(sentence, "the certificate of localhost is not signed by a CA that is trusted here");
        assert!(hint.starts_with("name the CA file that signed"), "{hint}");
        assert_eq!(code, EXIT_TLS);
    }
}

#[test]
fn a_wrong_host_name_lists_the_right_ones() {
    let pki = Pki::new();
    let (certificate, key) = pki.server(&["broker.example.org"], 90, SystemTime::now());
    let broker = Mosquitto::with_certificate(&pki, &certificate, &key, "");
    let (_, sentence, _, code) = refused(&broker.config(&pki));
    assert_eq!(sentence, "the server's certificate is not for localhost, only for broker.example.org");
    assert_eq!(code, EXIT_TLS);
}

#[test]
fn an_expired_certificate_says_since_when() {
    let then = SystemTime::now() - 40 * DAY;
    let pki = Pki::made_at(then);
    let (certificate, key) = pki.server(&["localhost"], 10, then);
    let broker = Mosquitto::with_certificate(&pki, &certificate, &key, "");
    let (_, sentence, hint, code) = refused(&broker.config(&pki));
    assert!(sentence.starts_with("the certificate of localhost expired 30 days ago"), "{sentence}");
    assert!(hint.contains("renew"), "{hint}");
    assert_eq!(code, EXIT_TLS);
}

#[test]
fn a_plaintext_broker_is_told_apart() {
    let pki = Pki::new();
    let broker = Mosquitto::start("");
    let (_, sentence, hint, code) = refused(&broker.config(&pki));
    assert_eq!(sentence, "localhost closed the connection during the TLS handshake");
    assert!(hint.contains("use the broker's TLS port"), "{hint}");
    assert_eq!(code, EXIT_TLS);
}

#[test]
fn plaintext_is_spoken_only_when_asked_for_by_name() {
    let pki = Pki::new();
    let broker = Mosquitto::start("");
    let config = MqttConfig { transport: Transport::DangerPlaintext, ..broker.config(&pki) };
    assert!(matches!(refused(&config).0, ConnectError::PlaintextAsked));
    let connection = connect(&config).unwrap();
    assert_eq!(connection.facts().tls, None);
    connection.publish(Message::new("t", "x", Qos::ExactlyOnce)).unwrap();
    // And a TLS port gets no MQTT out of it.
    let secure = Mosquitto::tls(&pki, "");
    let error = connect(&MqttConfig { port: secure.port, ..config }).unwrap_err();
    assert!(
        matches!(error, ConnectError::ClosedEarly { encrypted: false, .. } | ConnectError::Protocol { .. }),
        "{error:?}"
    );
}

#[test]
fn nobody_at_the_port_is_a_refused_connection() {
    let pki = Pki::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (_, sentence, _, code) = refused(&MqttConfig::new("127.0.0.1", port, pki.ca()));
    assert_eq!(sentence, format!("no connection to 127.0.0.1 on port {port}: connection refused"));
    assert_eq!(code, EXIT_SYSTEM);
}

#[test]
fn credentials_are_asked_for_and_checked() {
    let pki = Pki::new();
    let file = pki.path("passwords");
    std::fs::write(&file, "").unwrap();
    let made = std::process::Command::new("mosquitto_passwd").arg("-b").arg(&file).args(["ann", "right"]).status();
    assert!(made.unwrap().success());
    let broker = Mosquitto::tls(&pki, &format!("password_file {}", file.display()));
    let nobody = broker.config(&pki);
    let (_, sentence, hint, code) = refused(&nobody);
    assert_eq!(sentence, "the broker refused the connection: not authorized");
    assert!(hint.contains("-u") && hint.contains("--cert"), "{hint}");
    assert_eq!(code, 135);
    let wrong = MqttConfig { user_name: Some("ann".into()), password: Some("wrong".into()), ..nobody };
    assert_eq!(refused(&wrong).3, 135);
    let old = MqttConfig { protocol_version: ProtocolVersion::V311, ..wrong.clone() };
    assert_eq!(refused(&old).3, 5);
    let right = MqttConfig { password: Some("right".into()), ..wrong };
    connect_mqtt_tls(&right).unwrap().disconnect().unwrap();
}

#[test]
fn a_client_certificate_is_asked_for_and_checked() {
    let (pki, other) = (Pki::new(), Pki::new());
    let broker = Mosquitto::tls(&pki, "require_certificate true");
    let nobody = broker.config(&pki);
    let (error, sentence, hint, code) = refused(&nobody);
    // The broker may close so fast that its alert is lost with the connection.
    assert!(matches!(error, ConnectError::Tls(_) | ConnectError::ClosedEarly { .. }), "{sentence}");
    assert!(hint.contains("--cert"), "{hint}");
    assert!([EXIT_TLS, EXIT_CONNECTION_LOST].contains(&code));
    let foreign = MqttConfig { client_certificate: Some(other.client("mallory")), ..nobody.clone() };
    assert!([EXIT_TLS, EXIT_CONNECTION_LOST].contains(&refused(&foreign).3));
    let known = MqttConfig { client_certificate: Some(pki.client("ann")), ..nobody };
    connect_mqtt_tls(&known).unwrap().disconnect().unwrap();
}

#[test]
fn a_denied_publish_is_an_error_in_5_0() {
    let pki = Pki::new();
    let acl = pki.path("acl");
    std::fs::write(&acl, "topic read #\n").unwrap();
    let broker = Mosquitto::tls(&pki, &format!("acl_file {}", acl.display()));
    let connection = connect_mqtt_tls(&broker.config(&pki)).unwrap();
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let error = connection.publish(Message::new("t", "x", qos)).unwrap_err();
        assert_eq!(error, motte_client::PublishError::Refused(ReasonCode::NotAuthorized));
        assert_eq!(
            (error.exit_code(), error.to_string().as_str()),
            (12, "the broker refused the message: not authorized")
        );
    }
}

#[test]
fn websocket_over_tls_carries_the_same() {
    let pki = Pki::new();
    // Mosquitto 2.0.11 does not start with WebSocket listeners alone.
    let second = format!("protocol websockets\nlistener 0 {}", pki.path("unused.sock").display());
    let broker = Mosquitto::tls(&pki, &second);
    let transport = Transport::WebSocketTls { path: "/mqtt".into() };
    let config = MqttConfig { transport, ..broker.config(&pki) };
    let connection = connect_mqtt_tls(&config).unwrap();
    connection.subscribe(&[Subscription::new("w", Qos::ExactlyOnce)]).unwrap();
    let payload = vec![7; 300_000];
    connection.publish(Message::new("w", payload.clone(), Qos::ExactlyOnce)).unwrap();
    assert!(next(&connection).payload == payload);
    connection.disconnect().unwrap();
    // The same port does not speak MQTT without WebSocket.
    let (error, ..) = refused(&broker.config(&pki));
    assert!(matches!(error, ConnectError::ClosedEarly { .. } | ConnectError::Protocol { .. }), "{error:?}");
}

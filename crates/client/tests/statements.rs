//! What MQTT 5.0 and 3.1.1 ask of clients, shown on our library by a broker that is a script of bytes on loopback.
//! Run by `cargo nextest`. The scripts speak without TLS: what is looked at are the packets.
#![allow(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use motte_client::{
    Connection, ConnectionLost, Message, MqttConfig, ProtocolVersion, PublishError, Qos, Session, SubscribeError,
    Subscription, Transport, Will, connect, resume,
};

const SOON: Option<Duration> = Some(Duration::from_secs(10));
const V311: ProtocolVersion = ProtocolVersion::V311;
/// CONNACK of 5.0 and of 3.1.1: accepted, nothing else.
const ACCEPTED: [u8; 5] = [0x20, 3, 0, 0, 0];
const ACCEPTED_311: [u8; 4] = [0x20, 2, 0, 0];

/// The broker's side of one connection.
struct Peer {
    stream: TcpStream,
    /// The CONNECT that opened it.
    connect: Vec<u8>,
}

impl Peer {
    fn accept(listener: &TcpListener) -> Self {
        let stream = listener.accept().unwrap().0;
        stream.set_read_timeout(SOON).unwrap();
        let mut peer = Self { stream, connect: Vec::new() };
        peer.connect = peer.packet();
        peer
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// One packet with a remaining length of one byte.
    fn packet(&mut self) -> Vec<u8> {
        let mut packet = vec![0; 2];
        self.stream.read_exact(&mut packet).unwrap();
        assert!(packet[1] < 128);
        packet.resize(2 + usize::from(packet[1]), 0);
        self.stream.read_exact(&mut packet[2..]).unwrap();
        packet
    }

    /// Everything until the client closes.
    fn rest(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).unwrap();
        bytes
    }
}

/// A broker that serves connections one after the other by `script`, which gets the number of each from 0 on.
fn broker<T: Send + 'static>(
    connections: usize,
    script: impl Fn(usize, Peer) -> T + Send + 'static,
) -> (MqttConfig, JoinHandle<Vec<T>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || (0..connections).map(|at| script(at, Peer::accept(&listener))).collect());
    let config = MqttConfig {
        transport: Transport::DangerPlaintext,
        client_id: "c".into(),
        connect_timeout: Duration::from_secs(10),
        response_timeout: Duration::from_secs(10),
        ..MqttConfig::new("127.0.0.1", port, "")
    };
    (config, thread)
}

/// Connects to a broker that answers with `connack` and then only listens; what the client said after its CONNECT.
fn said(connack: &'static [u8], change: impl Fn(&mut MqttConfig), act: impl Fn(&Connection)) -> Vec<u8> {
    let (mut config, broker) = broker(1, move |_, mut peer| {
        peer.send(connack);
        peer.rest()
    });
    change(&mut config);
    let connection = connect(&config).unwrap();
    act(&connection);
    drop(connection.disconnect());
    broker.join().unwrap().remove(0)
}

/// The CONNECT of a client.
fn connect_bytes(change: impl Fn(&mut MqttConfig)) -> Vec<u8> {
    let (mut config, broker) = broker(1, |_, mut peer| {
        peer.send(if peer.connect[8] == 5 { &ACCEPTED } else { &ACCEPTED_311 });
        peer.connect
    });
    change(&mut config);
    drop(connect(&config).unwrap());
    broker.join().unwrap().remove(0)
}

fn message(topic: &str, qos: Qos) -> Message {
    Message::new(topic, "m", qos)
}

fn will(topic: &str) -> Will {
    Will { topic: topic.into(), payload: Default::default(), qos: Qos::AtMostOnce, retain: false, delay_s: 0 }
}

fn lasting(config: &MqttConfig) -> MqttConfig {
    MqttConfig { session_expiry_s: Some(100), clean_start: false, ..config.clone() }
}

#[test]
fn v311_3_1_0_1_connect_comes_first() {
    let bytes = connect_bytes(|config| config.protocol_version = V311);
    assert_eq!(bytes, [&[0x10, 13, 0, 4][..], b"MQTT", &[4, 2, 0, 60, 0, 1, b'c']].concat());
}

#[test]
fn v5_3_1_3_3_the_client_identifier_is_there_and_first() {
    let will = will("w");
    let bytes = connect_bytes(|config| config.will = Some(will.clone()));
    let properties = usize::from(bytes[12]);
    assert_eq!(bytes[13 + properties..][..3], [0, 1, b'c']);
    assert_eq!(&bytes[bytes.len() - 5..], [0, 1, b'w', 0, 0]);
}

#[test]
fn v5_3_1_3_4_11_12_text_that_is_none_is_not_sent_in_connect() {
    let (config, broker) = broker(0, |_, _| ());
    let bad = |change: &dyn Fn(&mut MqttConfig)| {
        let mut config = config.clone();
        change(&mut config);
        let error = connect(&config).expect_err("U+0000 is no text");
        assert!(!error.to_string().contains('\0'), "{error:?}");
    };
    bad(&|config| config.client_id = "a\0b".into());
    bad(&|config| config.user_name = Some("a\0b".into()));
    bad(&|config| config.will = Some(will("a\0b")));
    bad(&|config| config.client_id = "x".repeat(65_536));
    broker.join().unwrap();
}

#[test]
fn v311_3_1_3_7_an_identifier_is_made_where_none_is_given() {
    for clean_start in [true, false] {
        let bytes = connect_bytes(|config| {
            config.client_id = String::new();
            (config.protocol_version, config.clean_start) = (V311, clean_start);
        });
        let length = usize::from(bytes[13]);
        assert!((1..=23).contains(&length), "{bytes:02x?}");
    }
}

#[test]
fn v5_3_1_2_20_a_silent_client_pings() {
    let (config, broker) = broker(1, |_, mut peer| {
        peer.send(&ACCEPTED);
        for _ in 0..2 {
            assert_eq!(peer.packet(), [0xC0, 0]);
            peer.send(&[0xD0, 0]);
        }
    });
    let connection = connect(&MqttConfig { keep_alive_s: 1, ..config }).unwrap();
    broker.join().unwrap();
    drop(connection);
}

#[test]
fn v311_3_1_2_23_something_is_sent_in_each_interval() {
    let (config, broker) = broker(1, |_, mut peer| {
        peer.send(&ACCEPTED_311);
        // What comes from the broker is no reason not to ping.
        peer.stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        for _ in 0..3 {
            assert_eq!(peer.packet(), [0xC0, 0]);
            peer.send(&[0xD0, 0, 0x30, 4, 0, 1, b't', b'm']);
        }
    });
    let connection = connect(&MqttConfig { keep_alive_s: 1, protocol_version: V311, ..config }).unwrap();
    broker.join().unwrap();
    drop(connection);
}

#[test]
fn v5_3_1_2_21_the_brokers_keep_alive_counts() {
    let (config, broker) = broker(1, |_, mut peer| {
        peer.send(&[0x20, 6, 0, 0, 3, 0x13, 0, 1]);
        assert_eq!(peer.packet(), [0xC0, 0]);
    });
    let connection = connect(&MqttConfig { keep_alive_s: 3_600, ..config }).unwrap();
    assert_eq!(connection.facts().keep_alive_s, 1);
    broker.join().unwrap();
}

#[test]
fn v5_3_2_2_11_14_what_the_broker_does_not_offer_is_not_sent() {
    let bytes = said(
        &[0x20, 7, 0, 0, 4, 0x24, 1, 0x25, 0],
        |_| (),
        |connection| {
            let error = connection.publish(message("t", Qos::ExactlyOnce)).unwrap_err();
            assert_eq!(error, PublishError::QosNotSupported { max: 1 });
            let retained = Message { retain: true, ..message("t", Qos::AtMostOnce) };
            assert_eq!(connection.publish(retained).unwrap_err(), PublishError::RetainNotSupported);
        },
    );
    assert_eq!(bytes, [0xE0, 0], "DISCONNECT and nothing else");
}

#[test]
fn v5_3_2_2_15_the_brokers_maximum_packet_size_is_kept() {
    let bytes = said(
        &[0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, 40],
        |_| (),
        |connection| {
            let large = Message::new("t", vec![b'x'; 40], Qos::AtMostOnce);
            assert!(matches!(connection.publish(large), Err(PublishError::TooLarge { packet_bytes_max: 40, .. })));
            connection.publish(Message::new("t", vec![b'x'; 34], Qos::AtMostOnce)).unwrap();
        },
    );
    assert_eq!(bytes.len(), 40 + 2, "the packet of 40 bytes, and DISCONNECT");
}

#[test]
fn v5_3_2_2_17_18_3_3_2_9_no_alias_the_broker_did_not_offer() {
    let without: &[u8] = &ACCEPTED;
    let two: &[u8] = &[0x20, 6, 0, 0, 3, 0x22, 0, 2];
    for connack in [without, two] {
        let bytes = said(
            connack,
            |_| (),
            |connection| {
                for _ in 0..3 {
                    connection.publish(message("t", Qos::AtMostOnce)).unwrap();
                }
            },
        );
        // The topic in full and no property each time.
        assert_eq!(bytes, [[0x30, 5, 0, 1, b't', 0, b'm'].repeat(3), vec![0xE0, 0]].concat());
    }
}

#[test]
fn v5_3_3_2_9_an_offer_of_aliases_is_none_of_more() {
    let bytes = said(
        &[0x20, 6, 0, 0, 3, 0x22, 0, 1],
        |_| (),
        |connection| {
            for topic in ["a", "b", "a"] {
                connection.publish(message(topic, Qos::AtMostOnce)).unwrap();
            }
        },
    );
    let one = |topic| [0x30, 5, 0, 1, topic, 0, b'm'];
    assert_eq!(bytes, [&one(b'a')[..], &one(b'b'), &one(b'a'), &[0xE0, 0]].concat());
}

#[test]
fn v5_3_3_2_10_every_alias_up_to_the_own_maximum_is_taken() {
    let (config, broker) = broker(1, |_, mut peer| {
        peer.send(&ACCEPTED);
        let connect = &peer.connect;
        let at = connect.windows(2).position(|pair| pair == [0x22, 0]).expect("Topic Alias Maximum is told");
        let maximum = connect[at + 2];
        for alias in 1..=maximum {
            peer.send(&[0x30, 8, 0, 1, b'a' + alias, 3, 0x23, 0, alias, b'1']);
        }
        for alias in (1..=maximum).rev() {
            peer.send(&[0x30, 7, 0, 0, 3, 0x23, 0, alias, b'2']);
        }
        peer.send(&[0x30, 8, 0, 1, b'x', 3, 0x23, 0, maximum + 1, b'3']);
        (maximum, peer.rest())
    });
    let connection = connect(&config).unwrap();
    let mut topics = Vec::new();
    let lost = loop {
        match connection.next_message(SOON) {
            Ok(message) => topics.push(message.expect("one more").topic),
            Err(lost) => break lost,
        }
    };
    assert!(matches!(lost, ConnectionLost::Protocol { .. }), "{lost:?}");
    let (maximum, rest) = broker.join().unwrap().remove(0);
    assert_eq!((rest[0], rest[2]), (0xE0, 0x94), "beyond the maximum is DISCONNECT 0x94");
    let name = |alias: u8| char::from(b'a' + alias).to_string();
    let expected: Vec<String> = (1..=maximum).map(name).chain((1..=maximum).rev().map(name)).collect();
    assert_eq!(topics, expected);
}

#[test]
fn v5_3_3_4_8_a_full_window_holds_back_publish_and_nothing_else() {
    let (config, broker) = broker(1, |_, mut peer| {
        // Receive Maximum 1.
        peer.send(&[0x20, 6, 0, 0, 3, 0x21, 0, 1]);
        let first = peer.packet();
        assert_eq!(first[0], 0x32);
        let subscribe = peer.packet();
        assert_eq!(subscribe[0], 0x82, "it overtakes the second PUBLISH: {subscribe:02x?}");
        peer.send(&[0x90, 4, subscribe[2], subscribe[3], 0, 0]);
        peer.send(&[0x40, 2, first[5], first[6]]);
        let second = peer.packet();
        assert_eq!(second[0], 0x32);
        peer.send(&[0x40, 2, second[5], second[6]]);
    });
    let connection = connect(&config).unwrap();
    let pending = [1, 2].map(|_| connection.send(message("t", Qos::AtLeastOnce)).unwrap());
    connection.subscribe(&[Subscription::new("f", Qos::AtMostOnce)]).unwrap();
    for publish in pending {
        publish.wait().unwrap();
    }
    broker.join().unwrap();
}

#[test]
fn v5_3_8_3_1_filters_that_are_no_text_are_not_sent() {
    let bytes = said(
        &ACCEPTED,
        |_| (),
        |connection| {
            for filter in ["a\0b", "", "a#"] {
                let subscribed = connection.subscribe(&[Subscription::new(filter, Qos::AtMostOnce)]);
                assert!(matches!(subscribed, Err(SubscribeError::Filter { .. })));
            }
        },
    );
    assert_eq!(bytes, [0xE0, 0]);
}

#[test]
fn v5_3_10_3_1_filters_to_unsubscribe_are_text() {
    let bytes = said(
        &ACCEPTED,
        |_| (),
        |connection| {
            let unsubscribed = connection.unsubscribe(&["a\0b".to_owned()]);
            assert!(matches!(unsubscribed, Err(SubscribeError::Filter { .. })));
        },
    );
    assert_eq!(bytes, [0xE0, 0]);
}

#[test]
fn v311_3_14_4_1_2_disconnect_is_the_last_word() {
    let bytes = said(
        &ACCEPTED_311,
        |config| config.protocol_version = V311,
        |connection| {
            connection.publish(message("t", Qos::AtMostOnce)).unwrap();
        },
    );
    assert_eq!(bytes, [0x30, 4, 0, 1, b't', b'm', 0xE0, 0], "and then it closes");
}

/// QoS 1 and 2 messages in turn from the broker; the answers of a client that never looks at them.
fn answers(version: ProtocolVersion) -> Vec<Vec<u8>> {
    let (config, broker) = broker(1, move |_, mut peer| {
        let empty: &[u8] = if version == V311 { &[] } else { &[0] };
        peer.send(if version == V311 { &ACCEPTED_311 } else { &ACCEPTED });
        let mut all = Vec::new();
        for id in 1..=6_u8 {
            let first = if id % 2 == 1 { 0x32 } else { 0x34 };
            let body = [&[0, 1, b't', 0, id][..], empty, b"m"].concat();
            all.extend([&[first, u8::try_from(body.len()).unwrap()], &body[..]].concat());
        }
        peer.send(&all);
        let mut answers: Vec<_> = (0..6).map(|_| peer.packet()).collect();
        peer.send(&[0x62, 2, 0, 4, 0x62, 2, 0, 2, 0x62, 2, 0, 6]);
        answers.extend((0..3).map(|_| peer.packet()));
        answers
    });
    let connection = connect(&MqttConfig { protocol_version: version, ..config }).unwrap();
    let answers = broker.join().unwrap().remove(0);
    drop(connection);
    answers
}

/// In the order the messages came, then in the order of the releases.
fn expected_answers() -> Vec<Vec<u8>> {
    let answer = |id: u8| vec![if id % 2 == 1 { 0x40 } else { 0x50 }, 2, 0, id];
    (1..=6).map(answer).chain([4, 2, 6].map(|id| vec![0x70, 2, 0, id])).collect()
}

#[test]
fn v5_4_5_0_2_every_message_is_acknowledged_even_if_nobody_looks_at_it() {
    assert_eq!(answers(ProtocolVersion::V5), expected_answers());
}

#[test]
fn v5_4_6_0_2_3_acknowledgements_keep_the_order_of_the_messages() {
    assert_eq!(answers(ProtocolVersion::V5), expected_answers());
}

#[test]
fn v311_4_5_0_2_every_message_is_acknowledged_in_order() {
    assert_eq!(answers(V311), expected_answers());
}

#[test]
fn v311_4_6_0_2_3_acknowledgements_keep_the_order_of_the_messages() {
    assert_eq!(answers(V311), expected_answers());
}

/// Three QoS 2 messages whose PUBRECs come in another order; the PUBRELs.
fn releases(version: ProtocolVersion) -> Vec<u8> {
    let (config, broker) = broker(1, move |_, mut peer| {
        peer.send(if version == V311 { &ACCEPTED_311 } else { &ACCEPTED });
        let ids = [(); 3].map(|()| peer.packet()[6]);
        let order = [ids[2], ids[0], ids[1]];
        order.iter().for_each(|id| peer.send(&[0x50, 2, 0, *id]));
        let releases = order.map(|id| {
            let release = peer.packet();
            assert_eq!(release[..3], [0x62, 2, 0]);
            peer.send(&[0x70, 2, 0, release[3]]);
            (release[3], id)
        });
        releases.map(|(release, received)| u8::from(release == received)).to_vec()
    });
    let connection = connect(&MqttConfig { protocol_version: version, ..config }).unwrap();
    let pending = [(); 3].map(|()| connection.send(message("t", Qos::ExactlyOnce)).unwrap());
    for publish in pending {
        publish.wait().unwrap();
    }
    broker.join().unwrap().remove(0)
}

#[test]
fn v5_4_6_0_4_pubrels_keep_the_order_of_the_pubrecs() {
    assert_eq!(releases(ProtocolVersion::V5), [1, 1, 1]);
}

#[test]
fn v311_4_6_0_4_pubrels_keep_the_order_of_the_pubrecs() {
    assert_eq!(releases(V311), [1, 1, 1]);
}

#[test]
fn v311_2_3_1_2_identifiers_in_use_are_not_given_again() {
    let (config, broker) = broker(1, |_, mut peer| {
        peer.send(&ACCEPTED_311);
        (0..5).map(|_| peer.packet()[6]).collect::<std::collections::BTreeSet<_>>().len()
    });
    let connection = connect(&MqttConfig { protocol_version: V311, ..config }).unwrap();
    let pending = [(); 5].map(|()| connection.send(message("t", Qos::AtLeastOnce)).unwrap());
    assert_eq!(broker.join().unwrap(), [5]);
    drop((connection, pending));
}

/// Publishes three messages of which the broker receives the second, breaks, and comes back with `connack`. What the
/// client sent on the second connection.
fn resumed(version: ProtocolVersion, connack: &'static [u8]) -> Vec<u8> {
    let (config, broker) = broker(2, move |at, mut peer| {
        if at == 0 {
            peer.send(if version == V311 { &ACCEPTED_311 } else { &ACCEPTED });
            let ids = [(); 3].map(|()| peer.packet()[6]);
            peer.send(&[0x50, 2, 0, ids[1]]);
            assert_eq!(peer.packet(), [0x62, 2, 0, ids[1]]);
            return Vec::new();
        }
        assert_eq!(peer.connect[9] & 2, 0, "no clean start");
        peer.send(connack);
        peer.rest()
    });
    let config = MqttConfig { protocol_version: version, ..lasting(&config) };
    let connection = resume(&config, Session::new()).unwrap();
    let qos = [Qos::AtLeastOnce, Qos::ExactlyOnce, Qos::AtLeastOnce];
    let pending = qos.map(|qos| connection.send(message("t", qos)).unwrap());
    for publish in pending {
        assert!(matches!(publish.wait(), Err(PublishError::Lost(_))));
    }
    let (lost, session) = connection.into_session();
    assert_ne!(lost, ConnectionLost::ClosedHere);
    assert_eq!(session.unacknowledged(), 3);
    let connection = resume(&config, session).unwrap();
    connection.publish(message("new", Qos::AtMostOnce)).unwrap();
    let _ = connection.into_session();
    broker.join().unwrap().remove(1)
}

#[test]
fn v5_4_6_0_1_what_was_not_acknowledged_is_sent_again_in_order() {
    let expected = [
        &[0x3A, 7, 0, 1, b't', 0, 1, 0, b'm'][..],
        &[0x62, 2, 0, 2],
        &[0x3A, 7, 0, 1, b't', 0, 3, 0, b'm'],
        &[0x30, 7, 0, 3, b'n', b'e', b'w', 0, b'm'],
        &[0xE0, 0],
    ];
    assert_eq!(resumed(ProtocolVersion::V5, &[0x20, 3, 1, 0, 0]), expected.concat());
}

/// The same in 3.1.1.
const AGAIN_311: [&[u8]; 5] = [
    &[0x3A, 6, 0, 1, b't', 0, 1, b'm'],
    &[0x62, 2, 0, 2],
    &[0x3A, 6, 0, 1, b't', 0, 3, b'm'],
    &[0x30, 6, 0, 3, b'n', b'e', b'w', b'm'],
    &[0xE0, 0],
];

#[test]
fn v311_2_3_1_3_what_is_sent_again_keeps_its_identifier() {
    assert_eq!(resumed(V311, &[0x20, 2, 1, 0]), AGAIN_311.concat());
}

#[test]
fn v311_4_6_0_1_what_was_not_acknowledged_is_sent_again_in_order() {
    assert_eq!(resumed(V311, &[0x20, 2, 1, 0]), AGAIN_311.concat());
}

#[test]
fn v5_3_2_2_5_without_the_brokers_half_of_the_session_ours_is_dropped() {
    let bytes = resumed(ProtocolVersion::V5, &ACCEPTED);
    assert_eq!(bytes, [0x30, 7, 0, 3, b'n', b'e', b'w', 0, b'm', 0xE0, 0], "only what is new");
}

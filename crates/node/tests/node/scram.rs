//! Authentication by an exchange of AUTH packets before CONNACK, and again on a live connection (MQTT 5.0 §4.12).

#[path = "../../../policy/fixtures/scram_client.rs"]
mod scram_client;

use std::time::Duration;

use motte_mqtt::{Auth, Connect, Packet, ProtocolVersion, ReasonCode, UserProperties};
use motte_policy::scram::METHOD;
use motte_policy::{PasswordFile, PasswordHash, ScramKeys};

use self::scram_client::ScramClient;
use crate::support::{Client, House, Running, connect_as_alice, connect_as_nobody, encode, logged, refused};

const CONTINUE: ReasonCode = ReasonCode::ContinueAuthentication;

/// Alice and Bob can prove `wonder` and `builder`; Alice and Carol have passwords to send.
fn house() -> House {
    let house = House::new();
    write_passwords(&house, "wonder");
    house
}

fn write_passwords(house: &House, of_alice: &str) {
    let mut file = PasswordFile::default();
    for (user, password) in [("alice", "wonder"), ("carol", "carillon")] {
        file.set(user, PasswordHash::new(password.as_bytes(), [7; 16])).unwrap();
    }
    for (user, password) in [("alice", of_alice), ("bob", "builder")] {
        file.set_scram(user, ScramKeys::new(password.as_bytes(), [8; 16]).unwrap()).unwrap();
    }
    house.write("passwords", &file.to_text());
}

/// What a client sees of an answer: packet, reason code, method, data.
#[derive(Debug, PartialEq, Eq)]
struct Heard(&'static str, u8, Option<String>, String);

fn hear(client: &mut Client) -> Heard {
    let text = |data: Option<&[u8]>| String::from_utf8(data.unwrap_or_default().to_vec()).unwrap();
    client.receive(|packet| match packet {
        Packet::Auth(auth) => Heard("auth", auth.reason.as_u8(), auth.method.map(str::to_owned), text(auth.data)),
        Packet::ConnAck(ack) => {
            let found = &ack.properties;
            let method = found.authentication_method.map(str::to_owned);
            Heard("connack", ack.reason.as_u8(), method, text(found.authentication_data))
        }
        Packet::Disconnect(disconnect) => Heard("disconnect", disconnect.reason.as_u8(), None, String::new()),
        Packet::PingResp => Heard("pingresp", 0, None, String::new()),
        packet => panic!("{packet:?}"),
    })
}

fn heard(packet: &'static str, reason: u8, data: &str) -> Heard {
    Heard(packet, reason, Some(METHOD.to_owned()), data.to_owned())
}

/// A refusal in CONNACK, after which nothing comes.
fn assert_refused(mut client: Client, code: u8, what: &str) {
    assert_eq!(hear(&mut client), Heard("connack", code, None, String::new()), "{what}");
    assert_eq!(client.until_closed(), b"", "{what}");
}

fn auth<'a>(reason: ReasonCode, method: &'a str, data: &'a str) -> Packet<'a> {
    let data = Some(data.as_bytes());
    Packet::Auth(Auth { reason, method: Some(method), data, reason_string: None, user: UserProperties::EMPTY })
}

fn connect_with<'a>(client_id: &'a str, method: &'a str, data: Option<&'a str>) -> Connect<'a> {
    let mut connect = connect_as_nobody(client_id);
    connect.properties.authentication_method = Some(method);
    connect.properties.authentication_data = data.map(str::as_bytes);
    connect
}

fn open(house: &House, node: &Running) -> Client {
    house.open(node.address(), None, b"mqtt")
}

/// The client in the middle of an exchange: the server asked for the proof.
fn asked(house: &House, node: &Running, scram: &ScramClient) -> (Client, Vec<u8>) {
    let mut client = open(house, node);
    client.send_packet(&Packet::Connect(connect_with("asked", METHOD, Some(&scram.first()))));
    let Heard("auth", 0x18, Some(method), data) = hear(&mut client) else { panic!() };
    assert_eq!(method, METHOD);
    (client, data.into_bytes())
}

/// The whole exchange up to the CONNACK.
fn log_in(client: &mut Client, connect: &Connect<'_>, scram: &mut ScramClient) -> Heard {
    let first = scram.first();
    let mut connect = *connect;
    connect.properties.authentication_method = Some(METHOD);
    connect.properties.authentication_data = Some(first.as_bytes());
    client.send_packet(&Packet::Connect(connect));
    let Heard("auth", 0x18, Some(_), data) = hear(client) else { panic!("no question") };
    client.send_packet(&auth(CONTINUE, METHOD, &scram.last(data.as_bytes())));
    hear(client)
}

/// The whole exchange as `user`; gives the code of CONNACK.
pub(crate) fn prove(client: &mut Client, connect: &Connect<'_>, user: &str, password: &str) -> u8 {
    log_in(client, connect, &mut ScramClient::new(user, password)).1
}

fn alice() -> ScramClient {
    ScramClient::new("alice", "wonder")
}

#[test]
fn v5_4_12_0_5_the_method_of_connect_is_in_every_auth_and_in_connack() {
    let (house, mut scram) = (house(), alice());
    let node = house.start();
    let mut client = open(&house, &node);
    let end = log_in(&mut client, &connect_as_nobody("by-scram"), &mut scram);
    assert_eq!(end, heard("connack", 0, &scram.expected));
    let line = logged(|line| line["message"] == "admitted" && line["client_id"] == "by-scram");
    assert_eq!(line["user"], "alice");
    client.send(&[0xc0, 0]);
    assert_eq!(hear(&mut client).0, "pingresp");
}

#[test]
fn v5_4_12_0_2_the_server_asks_with_0x18_for_the_first_message_as_well() {
    let (house, mut scram) = (house(), alice());
    let node = house.start();
    let mut client = open(&house, &node);
    client.send_packet(&Packet::Connect(connect_with("late", METHOD, None)));
    assert_eq!(hear(&mut client), heard("auth", 0x18, ""));
    client.send_packet(&auth(CONTINUE, METHOD, &scram.first()));
    let Heard("auth", 0x18, Some(_), data) = hear(&mut client) else { panic!() };
    client.send_packet(&auth(CONTINUE, METHOD, &scram.last(data.as_bytes())));
    assert_eq!(hear(&mut client), heard("connack", 0, &scram.expected));
}

#[test]
fn v5_4_12_0_1_a_method_nobody_offers_is_refused_0x8c() {
    let mut house = house();
    let node = house.start();
    for method in ["SCRAM-SHA-1", "scram-sha-256", "SCRAM-SHA-256-PLUS", "PLAIN", ""] {
        let mut client = open(&house, &node);
        client.send_packet(&Packet::Connect(connect_with("m", method, Some("n,,n=alice,r=x"))));
        assert_refused(client, 0x8c, method);
    }
    // Credentials beside it help nobody.
    let mut client = open(&house, &node);
    let mut connect = connect_as_alice("m");
    connect.properties.authentication_method = Some("PLAIN");
    client.send_packet(&Packet::Connect(connect));
    assert_refused(client, 0x8c, "with a password");
    drop(node);
    house.settings.identity.password_file = None;
    let node = house.start();
    let mut client = open(&house, &node);
    client.send_packet(&Packet::Connect(connect_with("m", METHOD, Some("n,,n=alice,r=x"))));
    assert_refused(client, 0x8c, "without a password file");
    refused("authentication_method");
}

#[test]
fn v5_4_12_0_4_whoever_does_not_prove_to_be_a_user_is_refused_and_all_alike() {
    let house = house();
    let node = house.start();
    for (user, password) in [("alice", "builder"), ("nobody", "wonder"), ("carol", "carillon"), ("ALICE", "wonder")] {
        let mut client = open(&house, &node);
        let end = log_in(&mut client, &connect_as_nobody("no"), &mut ScramClient::new(user, password));
        assert_eq!(end, Heard("connack", 0x86, None, String::new()), "{user}");
        assert_eq!(client.until_closed(), b"", "{user}");
    }
    let line = logged(|line| line["reason"] == "bad_credentials" && line["user"] == "nobody");
    assert_eq!(line["client_id"], "no");
    for data in ["", "n,,n=alice", "p=tls-exporter,,n=alice,r=x", "n,,n=\u{e4},r=x", "n,,m=x,n=alice,r=x"] {
        let mut client = open(&house, &node);
        client.send_packet(&Packet::Connect(connect_with("no", METHOD, Some(data))));
        assert_refused(client, 0x87, data);
    }
    let (mut client, _) = asked(&house, &node, &alice());
    client.send_packet(&auth(CONTINUE, METHOD, "c=biws,r=another,p=AAAA"));
    assert_refused(client, 0x87, "another nonce");
}

#[test]
fn v5_4_12_0_6_without_a_method_connack_has_none_and_no_auth_comes() {
    let house = house();
    let node = house.start();
    let mut client = open(&house, &node);
    client.send_packet(&Packet::Connect(connect_as_alice("plain")));
    assert_eq!(hear(&mut client), Heard("connack", 0, None, String::new()));
    client.send_packet(&auth(ReasonCode::ReAuthenticate, METHOD, &alice().first()));
    assert_eq!(hear(&mut client).1, 0x82);
    assert_eq!(client.until_closed(), b"");
}

#[test]
fn v5_3_1_2_30_nothing_but_auth_goes_on_with_an_exchange() {
    let house = house();
    let node = house.start();
    let v5 = |packet: &Packet<'_>| encode(ProtocolVersion::V5, packet);
    let cases: [(&str, Vec<u8>, u8); 9] = [
        ("PINGREQ", vec![0xc0, 0], 0x82),
        ("PUBLISH", vec![0x30, 4, 0, 1, b't', 0], 0x82),
        ("CONNECT", v5(&Packet::Connect(connect_as_alice("asked"))), 0x82),
        ("AUTH 0x19", v5(&auth(ReasonCode::ReAuthenticate, METHOD, "n,,n=alice,r=x")), 0x82),
        ("AUTH 0x00", vec![0xf0, 0], 0x82),
        ("AUTH without a method", vec![0xf0, 2, 0x18, 0], 0x82),
        ("AUTH with flags", vec![0xf1, 2, 0x18, 0], 0x81),
        ("AUTH of another method", v5(&auth(CONTINUE, "PLAIN", "wonder")), 0x8c),
        ("AUTH of 16 KiB", v5(&auth(CONTINUE, METHOD, &"x".repeat(16 * 1024))), 0x95),
    ];
    for (what, bytes, code) in cases {
        let (mut client, _) = asked(&house, &node, &alice());
        client.send(&bytes);
        assert_refused(client, code, what);
    }
    let (mut client, _) = asked(&house, &node, &alice());
    client.send(&[0xe0, 0]);
    assert_eq!(client.until_closed(), b"", "DISCONNECT ends it without an answer");
    refused("authentication_exchange");
}

#[test]
fn v5_3_1_0_1_an_auth_before_connect_closes_the_connection() {
    let house = house();
    let node = house.start();
    let mut client = open(&house, &node);
    client.send_packet(&auth(CONTINUE, METHOD, &alice().first()));
    assert_eq!(client.until_closed(), b"", "no version is known yet to answer in");
}

#[test]
fn v311_noid_auth_closes_the_connection() {
    let house = house();
    let node = house.start();
    for version in [ProtocolVersion::V311, ProtocolVersion::V31] {
        let mut client = open(&house, &node);
        assert_eq!(client.connect(&Connect { version, ..connect_as_alice("old") }), 0);
        client.send(&encode(ProtocolVersion::V5, &auth(CONTINUE, METHOD, "n,,n=alice,r=x")));
        assert_eq!(client.until_closed(), b"");
    }
}

#[test]
fn k25_every_name_a_client_gives_has_to_be_the_one_it_proves() {
    let house = house();
    let node = house.start();
    let named = |user: &'static str| Connect { user_name: Some(user), ..connect_as_nobody("named") };
    let mut client = open(&house, &node);
    assert_eq!(log_in(&mut client, &named("alice"), &mut alice()).1, 0, "the same user name");
    let mut client = house.open(node.address(), Some("alice"), b"mqtt");
    assert_eq!(log_in(&mut client, &connect_as_nobody("named"), &mut alice()).1, 0, "the same certificate");
    let bob = ScramClient::new("bob", "builder").first();
    let mut client = open(&house, &node);
    let connect = Connect { user_name: Some("alice"), ..connect_with("named", METHOD, Some(&bob)) };
    client.send_packet(&Packet::Connect(connect));
    assert_refused(client, 0x86, "another user name");
    let mut client = house.open(node.address(), Some("alice"), b"mqtt");
    client.send_packet(&Packet::Connect(connect_with("named", METHOD, Some(&bob))));
    assert_refused(client, 0x86, "another's certificate");
    let mut client = open(&house, &node);
    client.send_packet(&Packet::Connect(connect_with("named", METHOD, Some("n,a=bob,n=alice,r=x"))));
    assert_refused(client, 0x86, "on behalf of another");
}

#[test]
fn k06_an_exchange_is_within_the_deadline_of_the_gate() {
    let mut house = house();
    house.settings.gate.admission_deadline = Duration::from_millis(500);
    let node = house.start();
    let (client, _) = asked(&house, &node, &alice());
    assert_eq!(client.until_closed(), b"");
    let line = logged(|line| line["reason"] == "deadline" && line["client_id"] == "asked");
    assert_eq!(line["user"], "alice");
}

#[test]
fn v5_4_12_1_2_a_client_proves_itself_again_or_is_disconnected() {
    let (house, mut scram) = (house(), alice());
    let node = house.start();
    let mut client = open(&house, &node);
    assert_eq!(log_in(&mut client, &connect_as_nobody("again"), &mut scram).1, 0);
    for (mut scram, succeeds) in [(alice(), true), (alice(), true), (ScramClient::new("alice", "builder"), false)] {
        client.send_packet(&auth(ReasonCode::ReAuthenticate, METHOD, &scram.first()));
        let Heard("auth", 0x18, Some(_), data) = hear(&mut client) else { panic!() };
        client.send_packet(&auth(CONTINUE, METHOD, &scram.last(data.as_bytes())));
        let end =
            if succeeds { heard("auth", 0, &scram.expected) } else { Heard("disconnect", 0x87, None, String::new()) };
        assert_eq!(hear(&mut client), end);
    }
    assert_eq!(client.until_closed(), b"");
    logged(|line| line["client_id"] == "again" && line["cause"] == "not_proved");
}

#[test]
fn k24_a_changed_record_ends_the_connections_it_let_in() {
    let house = house();
    let node = house.start();
    let mut client = open(&house, &node);
    assert_eq!(log_in(&mut client, &connect_as_nobody("revoked"), &mut alice()).1, 0);
    let mut other = open(&house, &node);
    let mut bob = ScramClient::new("bob", "builder");
    assert_eq!(log_in(&mut other, &connect_as_nobody("stays"), &mut bob).1, 0);
    write_passwords(&house, "another");
    node.handle.reload().unwrap();
    assert_eq!(hear(&mut client), Heard("disconnect", 0x87, None, String::new()));
    other.send(&[0xc0, 0]);
    assert_eq!(hear(&mut other).0, "pingresp");
    let mut client = open(&house, &node);
    let mut renewed = ScramClient::new("alice", "another");
    assert_eq!(log_in(&mut client, &connect_as_nobody("revoked"), &mut renewed).1, 0);
}

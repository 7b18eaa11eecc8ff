//! Over every carrier and in every version: the topics of the server are nobody's (K19), names that only look alike are
//! different names (K33), and a secret is never told (K39).

use std::io::Write as _;

use motte_mqtt::{Connect, ForwardedProperties, Packet, ProtocolVersion, Qos, Will};
use motte_node::ReloadError;
use motte_policy::scram::ScramKeys;
use motte_policy::{PasswordFile, PasswordHash};

use super::cases::{CARRIERS, VERSIONS};
use super::stage::{Heard, hear, house_with_doors, publish, subscribe, words};
use crate::scram::prove;
use crate::support::{Client, House, Running, connect_as_nobody, encode, log_holds, logged};
use crate::transports::enter;

/// The same word for a reader: its second letter composed, and its second letter followed by an accent.
const ALIKE: [&str; 2] = ["caf\u{e9}", "cafe\u{301}"];

fn open(house: &House, node: &Running, place: usize, version: ProtocolVersion) -> Client {
    Client::over(enter(house, node, (place, CARRIERS[place]), None), version)
}

fn will(topic: &str) -> Will<'_> {
    let (payload, qos, properties) = (b"gone", Qos::AtMostOnce, ForwardedProperties::EMPTY);
    Will { topic, payload, qos, retain: false, delay_s: 0, message_expiry_s: None, properties }
}

#[test]
fn k19_topics_of_the_server_are_nobodys_on_any_path() {
    let house = house_with_doors();
    house.write("acl", "topic readwrite #\ntopic readwrite open/#\n");
    let node = house.start();
    for (place, version) in (0..CARRIERS.len()).flat_map(|place| VERSIONS.map(|version| (place, version))) {
        let at = format!("{:?} {version:?}", CARRIERS[place]);
        let is_v5 = version == ProtocolVersion::V5;
        let id = format!("c{place}-{}", version as u8);
        let connect = Connect { version, ..connect_as_nobody(&id) };
        let mut client = open(&house, &node, place, version);
        assert_eq!(client.connect(&connect), 0, "{at}");
        assert_eq!(subscribe(&mut client, &["#".to_owned(), "+/#".to_owned()]), Some(vec![2, 2]), "{at}");
        for topic in ["$SYS/broker/uptime", "$SYS", "$CONTROL/dynamic-security/v1", "$internal/x", "$share/g/x"] {
            for retain in [false, true] {
                let forged = super::stage::Words { retain, ..words(topic, "forged") };
                let code = publish(&mut client, Qos::AtLeastOnce, &forged);
                assert_eq!(code, if is_v5 { 0x87 } else { 0 }, "{at}: PUBLISH to {topic}");
            }
            let mut dying = open(&house, &node, place, version);
            let code = dying.connect(&Connect { client_id: "dying", will: Some(will(topic)), ..connect });
            assert_eq!(code, if is_v5 { 0x87 } else { 5 }, "{at}: will for {topic}");
        }
        // Whatever was accepted would come before this one.
        client_says(&mut client, "open/end", "end");
        assert_eq!(hear(&mut client), Heard::Message("end".to_owned()), "{at}");
        for filter in ["$SYS/#", "$share/g/$SYS/#", "$CONTROL/#", "$internal/+"] {
            let mut client = open(&house, &node, place, version);
            assert_eq!(client.connect(&Connect { client_id: "reader", ..connect }), 0, "{at}");
            let expected = match version {
                ProtocolVersion::V31 => None,
                ProtocolVersion::V311 => Some(vec![0x80]),
                ProtocolVersion::V5 => Some(vec![0x87]),
            };
            assert_eq!(subscribe(&mut client, &[filter.to_owned()]), expected, "{at}: {filter}");
        }
    }
}

#[test]
fn k33_names_that_only_look_alike_are_different_names() {
    let house = house_with_doors();
    let mut file = PasswordFile::default();
    for (user, password) in ALIKE.into_iter().zip(["one", "two"]) {
        file.set(user, PasswordHash::new(password.as_bytes(), [7; motte_policy::SALT_BYTES])).unwrap();
    }
    house.write("passwords", &file.to_text());
    let rules = ALIKE.map(|user| format!("user {user}\ntopic readwrite {user}\ntopic readwrite end\n"));
    house.write("acl", &rules.concat());
    let node = house.start();
    for (place, version) in [(0, VERSIONS[0]), (1, VERSIONS[1]), (2, VERSIONS[2]), (3, VERSIONS[0]), (4, VERSIONS[2])] {
        let at = format!("{:?} {version:?}", CARRIERS[place]);
        let is_v5 = version == ProtocolVersion::V5;
        let log_in = |user, password: &'static str| {
            let mut client = open(&house, &node, place, version);
            // The client identifiers look alike as well: neither takes the other over.
            let (user_name, password) = (Some(user), Some(password.as_bytes()));
            let code = client.connect(&Connect { version, user_name, password, ..connect_as_nobody(user) });
            (client, code)
        };
        let ((mut composed, first), (mut combined, second)) = (log_in(ALIKE[0], "one"), log_in(ALIKE[1], "two"));
        assert_eq!((first, second), (0, 0), "{at}");
        let refusal = if is_v5 { 0x86 } else { 4 };
        assert_eq!(log_in(ALIKE[0], "two").1, refusal, "{at}: the password of the other");
        assert_eq!(log_in(ALIKE[1], "one").1, refusal, "{at}: the password of the other");
        for (client, own) in [(&mut composed, ALIKE[0]), (&mut combined, ALIKE[1])] {
            assert_eq!(subscribe(client, &[own.to_owned(), "end".to_owned()]), Some(vec![2, 2]), "{at}");
        }
        let denied = publish(&mut composed, Qos::AtLeastOnce, &words(ALIKE[1], "not mine"));
        assert_eq!(denied, if is_v5 { 0x87 } else { 0 }, "{at}");
        // Both hear the end; only the one of the topic heard anything before it.
        client_says(&mut composed, ALIKE[0], "mine");
        client_says(&mut composed, "end", "end");
        let mut heard = Vec::new();
        while heard.last() != Some(&Heard::Message("end".to_owned())) {
            heard.push(hear(&mut composed));
        }
        assert!(heard.contains(&Heard::Message("mine".to_owned())), "{at}: {heard:?}");
        assert_eq!(hear(&mut combined), Heard::Message("end".to_owned()), "{at}");
    }
}

/// Publishes at QoS 0.
fn client_says(client: &mut Client, topic: &str, payload: &str) {
    let bytes = super::stage::publish_bytes(client.version, (Qos::AtMostOnce, 1), &words(topic, payload));
    client.send(&bytes);
}

#[test]
fn k39_no_secret_is_told_in_the_log_or_in_an_error() {
    let house = house_with_doors();
    let secrets = ["canary-right-5b1f", "canary-wrong-77d0", "canary-scram-e21c", "canary-torn-90aa"];
    let [right, wrong, by_scram, torn] = secrets;
    let hash = PasswordHash::new(right.as_bytes(), [7; motte_policy::SALT_BYTES]);
    let mut file = PasswordFile::default();
    file.set("alice", hash.clone()).unwrap();
    file.set_scram("alice", ScramKeys::new(by_scram.as_bytes(), [8; motte_policy::SALT_BYTES]).unwrap()).unwrap();
    house.write("passwords", &file.to_text());
    let node = house.start();
    for (place, version) in [(0, VERSIONS[2]), (1, VERSIONS[1]), (2, VERSIONS[2]), (3, VERSIONS[0]), (4, VERSIONS[2])] {
        let is_v5 = version == ProtocolVersion::V5;
        let id = format!("told-{place}");
        let connect = |user: Option<&'static str>, password: &'static str| Connect {
            version,
            user_name: user,
            password: Some(password.as_bytes()),
            ..connect_as_nobody(&id)
        };
        let ask = |connect: Connect<'_>| open(&house, &node, place, version).connect(&connect);
        assert_eq!(ask(connect(Some("alice"), right)), 0);
        let refusal = if is_v5 { 0x86 } else { 4 };
        assert_eq!(ask(connect(Some("alice"), wrong)), refusal);
        assert_eq!(ask(connect(Some("nobody"), wrong)), refusal);
        // Cut in the middle of the password, and one byte too long.
        let bytes = encode(version, &Packet::Connect(connect(Some("alice"), torn)));
        for (by, length) in [(0, bytes.len() - 3), (1, bytes.len())] {
            let mut client = open(&house, &node, place, version);
            let mut bytes = bytes.clone();
            bytes[1] += by;
            bytes.push(b'!');
            let _ = client.stream.write_all(&bytes[..length + usize::from(by)]).and_then(|()| client.stream.flush());
        }
        if is_v5 {
            for (password, code) in [(by_scram, 0), (wrong, 0x86)] {
                let mut client = open(&house, &node, place, version);
                assert_eq!(prove(&mut client, &connect_as_nobody(&id), "alice", password), code);
            }
            // A password is no message of SCRAM.
            let mut connect = connect_as_nobody(&id);
            connect.properties.authentication_method = Some("SCRAM-SHA-256");
            connect.properties.authentication_data = Some(wrong.as_bytes());
            assert_eq!(ask(connect), 0x87);
        }
    }
    logged(|line| line["message"] == "refused" && line["client_id"] == "told-4");
    // Lines that lost their user names.
    let shown = hash.encode();
    house.write("passwords", &format!("{}\n{shown}\n{wrong}\n", file.to_text()));
    house.write("acl", "user alice\nbananas\n");
    let Err(error) = node.handle.reload() else { panic!("a broken file was taken") };
    let ReloadError::Files(files) = &error else { panic!("{error}") };
    assert!(files.len() >= 2, "{files:?}");
    let told =
        files.iter().map(|error| format!("{error} {error:?}")).collect::<String>() + &format!("{error} {error:?}");
    let of_hash = shown.rsplit('$').next().unwrap();
    for secret in [wrong, of_hash] {
        assert!(!told.contains(secret), "{told}");
    }
    assert!(log_holds("told-4"), "the log is looked at");
    for secret in secrets.into_iter().chain([of_hash]) {
        assert!(!log_holds(secret), "{secret} is in the log");
    }
}

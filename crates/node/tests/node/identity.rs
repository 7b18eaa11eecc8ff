//! The sources of identities: which of them a listener asks, and what they count.

use std::net::SocketAddr;
use std::time::Duration;

use motte_mqtt::{Connect, Packet, ProtocolVersion};
use motte_node::settings::SourceName;
use motte_policy::{Label, PasswordFile, PasswordHash, SALT_BYTES};
use socket2::{Domain, Socket, Type};

use crate::packets::ping;
use crate::support::{House, PATIENCE, Running, connect_as_alice, connect_as_nobody, logged, refused};

fn answer(house: &House, node: &Running, certificate: Option<&str>, connect: &Connect<'_>) -> u8 {
    house.open(node.address(), certificate, b"mqtt").connect(connect)
}

#[test]
fn only_the_sources_a_listener_names_are_asked() {
    let mut house = House::new();
    house.settings.listeners[0].rules.sources = vec![SourceName::Password];
    let node = house.start();
    assert_eq!(answer(&house, &node, Some("alice"), &connect_as_nobody("certificate")), 0x87);
    assert_eq!(answer(&house, &node, Some("alice"), &connect_as_alice("both")), 0);
    assert_eq!(answer(&house, &node, None, &connect_as_alice("password")), 0);
    house.settings.listeners[0].rules.sources = vec![SourceName::Certificate];
    let node = house.start();
    assert_eq!(answer(&house, &node, Some("alice"), &connect_as_nobody("certificate")), 0);
    assert_eq!(answer(&house, &node, None, &connect_as_alice("password")), 0x86);
}

#[test]
fn a_certificate_and_a_password_can_be_needed_both() {
    let mut house = House::new();
    house.settings.listeners[0].rules.certificate_and_password = true;
    house.write_passwords(&[("alice", "wonder"), ("bob", "wonder")]);
    let node = house.start();
    assert_eq!(answer(&house, &node, Some("alice"), &connect_as_alice("both")), 0);
    let v311 = Connect { version: ProtocolVersion::V311, ..connect_as_alice("both-311") };
    assert_eq!(answer(&house, &node, Some("alice"), &v311), 0);
    assert_eq!(answer(&house, &node, Some("alice"), &connect_as_nobody("certificate")), 0x87);
    assert_eq!(answer(&house, &node, None, &connect_as_alice("password")), 0x87);
    let wrong = Connect { password: Some(b"wrong"), ..connect_as_alice("wrong") };
    assert_eq!(answer(&house, &node, Some("alice"), &wrong), 0x86);
    let other = Connect { user_name: Some("bob"), ..connect_as_alice("other") };
    assert_eq!(answer(&house, &node, Some("alice"), &other), 0x86);
}

#[test]
fn sys_tells_what_each_source_said() {
    let mut house = House::new();
    house.settings.sys_interval = Duration::from_millis(200);
    house.write("acl", "user alice\ntopic readwrite #\ntopic read $SYS/#\n");
    let node = house.start();
    let wrong = Connect { password: Some(b"wrong"), ..connect_as_alice("w") };
    assert_eq!(answer(&house, &node, None, &wrong), 0x86);
    assert_eq!(answer(&house, &node, None, &Connect { user_name: Some("eve"), ..wrong }), 0x86);
    refused("bad_credentials");
    let mut client = house.open(node.address(), Some("alice"), b"mqtt");
    assert_eq!(client.connect(&connect_as_nobody("reader")), 0);
    client.send(&subscribe("$SYS/broker/identity/#"));
    let mut missing = vec![
        ("certificate/accepted", "1"),
        ("certificate/deferred", "2"),
        ("password/refused", "1"),
        ("password/deferred", "1"),
        ("unclaimed", "1"),
        ("hashes", "2"),
    ];
    let until = std::time::Instant::now() + PATIENCE;
    while !missing.is_empty() && std::time::Instant::now() < until {
        client.receive(|packet| {
            let Packet::Publish(publish) = packet else { return };
            let value = std::str::from_utf8(publish.payload).unwrap();
            missing.retain(|(name, expected)| !publish.topic.ends_with(name) || *expected != value);
        });
    }
    assert_eq!(missing, []);
}

#[test]
fn each_secret_of_a_user_opens_and_the_log_names_the_one_that_ends() {
    let house = House::new();
    house.write_passwords(&[("alice", "wonder")]);
    let mut file = PasswordFile::parse(&std::fs::read_to_string(house.path("passwords")).unwrap()).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let second = (Label::parse("second").unwrap(), PasswordHash::new(b"cheshire", [9; SALT_BYTES]));
    file.rotate("alice", second, (now, now + 3_600)).unwrap();
    house.write("passwords", &file.to_text());
    let node = house.start();
    let new = Connect { password: Some(b"cheshire"), ..connect_as_alice("new-secret") };
    assert_eq!(answer(&house, &node, None, &new), 0);
    assert_eq!(answer(&house, &node, None, &connect_as_alice("old-secret")), 0);
    let line = logged(|line| line["message"] == "secret used" && line["client_id"] == "new-secret");
    assert_eq!((&line["label"], &line["user"]), (&"second".into(), &"alice".into()));
    let line = logged(|line| line["message"] == "a secret that ends was used" && line["client_id"] == "old-secret");
    assert_eq!((&line["label"], &line["level"]), (&"main".into(), &"WARN".into()));
    assert!(!line.to_string().contains("wonder"), "{line}");
    // One that has ended is as good as a wrong one.
    let third = (Label::parse("third").unwrap(), PasswordHash::new(b"hatter", [8; SALT_BYTES]));
    file.rotate("alice", third, (now, now)).unwrap();
    house.write("passwords", &file.to_text());
    let node = house.start();
    assert_eq!(answer(&house, &node, None, &new), 0x86);
}

#[test]
fn k24_a_session_ends_with_the_secret_it_was_opened_by_and_with_no_other() {
    let house = House::new();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let node = house.start();
    let mut old = house.open(node.address(), None, b"mqtt");
    assert_eq!(old.connect(&connect_as_alice("old")), 0);
    let mut file = PasswordFile::parse(&std::fs::read_to_string(house.path("passwords")).unwrap()).unwrap();
    let second = Label::parse("second").unwrap();
    let hash = PasswordHash::new(b"cheshire", [9; SALT_BYTES]);
    file.rotate("alice", (second, hash), (now, now + 3_600)).unwrap();
    house.write("passwords", &file.to_text());
    node.handle.reload().unwrap();
    let mut new = house.open(node.address(), None, b"mqtt");
    assert_eq!(new.connect(&Connect { password: Some(b"cheshire"), ..connect_as_alice("new") }), 0);
    ping(&mut old);
    assert!(file.remove_secret("alice", &Label::main()));
    house.write("passwords", &file.to_text());
    node.handle.reload().unwrap();
    old.receive(|packet| {
        assert!(matches!(packet, Packet::Disconnect(end) if end.reason.as_u8() == 0x87), "{packet:?}")
    });
    ping(&mut new);
}

#[test]
fn k30_who_guesses_waits_and_nobody_else_does() {
    let house = House::new();
    let node = house.start();
    let wrong = Connect { password: Some(b"wrong"), ..connect_as_alice("guesser") };
    let mut codes: Vec<_> = (0..5).map(|_| answer(&house, &node, None, &wrong)).collect();
    codes.push(answer(&house, &node, None, &connect_as_alice("right-too-early")));
    codes.push(answer(&house, &node, None, &Connect { version: ProtocolVersion::V311, ..wrong }));
    assert_eq!(codes, [0x86, 0x86, 0x86, 0x86, 0x86, 0x9f, 3]);
    let line = refused("guessing");
    assert_eq!(line["user"], "alice");
    // No lock: the certificate counts, and so does the password from elsewhere.
    assert_eq!(answer(&house, &node, Some("alice"), &connect_as_nobody("certificate")), 0);
    let elsewhere = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    elsewhere.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    elsewhere.connect(&node.address().into()).unwrap();
    assert_eq!(house.open_over(elsewhere.into(), b"mqtt").connect(&connect_as_alice("elsewhere")), 0);
    // A name nobody has is treated alike.
    let unknown = Connect { user_name: Some("eve"), ..wrong };
    let codes: Vec<_> = (0..6).map(|_| answer(&house, &node, None, &unknown)).collect();
    assert_eq!(codes, [0x86, 0x86, 0x86, 0x86, 0x86, 0x9f]);
}

/// SUBSCRIBE for one filter at QoS 0.
fn subscribe(filter: &str) -> Vec<u8> {
    let length = u8::try_from(filter.len()).unwrap();
    [&[0x82, length + 6, 0, 1, 0, 0, length], filter.as_bytes(), &[0]].concat()
}

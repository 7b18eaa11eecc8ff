//! The sources of identities: which of them a listener asks, and what they count.

use std::time::Duration;

use motte_mqtt::{Connect, Packet, ProtocolVersion};
use motte_node::settings::SourceName;

use crate::support::{House, PATIENCE, Running, connect_as_alice, connect_as_nobody, refused};

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

/// SUBSCRIBE for one filter at QoS 0.
fn subscribe(filter: &str) -> Vec<u8> {
    let length = u8::try_from(filter.len()).unwrap();
    [&[0x82, length + 6, 0, 1, 0, 0, length], filter.as_bytes(), &[0]].concat()
}

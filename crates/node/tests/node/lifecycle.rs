//! Start and stop.

use motte_mqtt::{Packet, ProtocolVersion, ReasonCode};
use motte_node::settings::{ListenAddress, Transport};
use motte_node::{Control, StartError, serve_with};

use crate::support::{House, connect_as_alice, listener, logged, tcp, websocket};

#[test]
fn all_listeners_are_told_once_they_are_bound() {
    let mut house = House::new();
    house.settings.listeners.push(listener("web", websocket()));
    let node = house.start();
    let told: Vec<_> = node.ready.listeners.iter().map(|l| (l.name.as_str(), l.scheme, l.path.as_str())).collect();
    assert_eq!(told, [("main", "mqtts", ""), ("web", "wss", "/mqtt")]);
    for listening in &node.ready.listeners {
        tcp(listening.address.ip().unwrap());
        logged(|line| line["message"] == "listening" && line["address"] == listening.address.to_string());
    }
    let start = logged(|line| line["message"] == "starting");
    assert_eq!((&start["durability"], &start["shards"]), (&"memory".into(), &2.into()));
}

#[test]
fn what_weakens_security_is_named_at_every_start() {
    let mut house = House::new();
    house.settings.listeners.push(listener("plain", Transport::PLAINTEXT));
    house.settings.dangers = vec!["plaintext"];
    let _node = house.start();
    let line = logged(|line| line["danger"] == "plaintext");
    assert_eq!(line["level"], "WARN");
}

#[test]
fn an_orderly_stop_tells_v5_clients_0x8b_and_returns_ok() {
    let house = House::new();
    let node = house.start();
    let mut five = house.open(node.address(), None, b"mqtt");
    assert_eq!(five.connect(&connect_as_alice("five")), 0);
    let mut three = house.open(node.address(), None, b"mqtt");
    let connect = motte_mqtt::Connect { version: ProtocolVersion::V311, ..connect_as_alice("three") };
    assert_eq!(three.connect(&connect), 0);
    assert!(matches!(node.stop(), Ok(())));
    five.receive(|packet| match packet {
        Packet::Disconnect(disconnect) => assert_eq!(disconnect.reason, ReasonCode::ServerShuttingDown),
        packet => panic!("{packet:?}"),
    });
    assert_eq!(five.until_closed(), b"");
    assert_eq!(three.until_closed(), b"", "3.x has no packet to say it with");
    logged(|line| line["message"] == "stopped");
}

#[test]
fn a_stop_names_the_server_that_is_to_be_used_instead() {
    let mut house = House::new();
    house.settings.hints.server_reference = Some("other.example.org:8883".into());
    let node = house.start();
    let mut client = house.open(node.address(), None, b"mqtt");
    assert_eq!(client.connect(&connect_as_alice("moved")), 0);
    assert!(matches!(node.stop(), Ok(())));
    client.receive(|packet| match packet {
        Packet::Disconnect(disconnect) => {
            let told = (disconnect.reason, disconnect.server_reference);
            assert_eq!(told, (ReasonCode::UseAnotherServer, Some("other.example.org:8883")));
        }
        packet => panic!("{packet:?}"),
    });
    assert_eq!(client.until_closed(), b"");
}

#[test]
fn a_stop_does_not_wait_for_a_client_that_does_not_read() {
    let house = House::new();
    let node = house.start();
    let mut silent = house.open(node.address(), None, b"mqtt");
    assert_eq!(silent.connect(&connect_as_alice("silent")), 0);
    let begun = std::time::Instant::now();
    assert!(matches!(node.stop(), Ok(())));
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    drop(silent);
}

#[test]
fn sighup_reloads_and_sigterm_stops() {
    let house = House::new();
    let node = house.start_with(Control::with_signals());
    let signal = |name: &str| {
        let process = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args([name, &process]).status().unwrap().success());
    };
    let mut client = house.open(node.address(), None, b"mqtt");
    assert_eq!(client.connect(&connect_as_alice("signalled")), 0);
    house.write("acl", "user alice\ntopic read #\n");
    signal("-HUP");
    logged(|line| line["message"].as_str().is_some_and(|text| text.starts_with("reloaded")));
    signal("-TERM");
    client.receive(|packet| assert!(matches!(packet, Packet::Disconnect(_)), "{packet:?}"));
    assert!(matches!(node.wait(), Ok(())));
}

#[test]
fn k27_a_node_does_not_start_without_its_files() {
    for name in ["server.pem", "server.key", "ca.pem", "passwords", "acl"] {
        let house = House::new();
        std::fs::remove_file(house.path(name)).unwrap();
        let (_handle, control) = Control::new();
        let outcome = serve_with(house.settings.clone(), control, |_| panic!("it must not start without {name}"));
        match outcome {
            Err(StartError::Files(errors)) => {
                assert!(errors.iter().any(|e| e.what.contains(name) || e.file.ends_with(name)), "{name}: {errors:?}");
            }
            outcome => panic!("{name}: {outcome:?}"),
        }
    }
}

#[test]
fn an_address_in_use_is_named() {
    let house = House::new();
    let node = house.start();
    let mut second = House::new();
    second.settings.listeners[0].address = ListenAddress::Ip(node.address());
    let (_handle, control) = Control::new();
    match serve_with(second.settings.clone(), control, |_| panic!("the address is taken")) {
        Err(StartError::Bind { name, address, .. }) => {
            assert_eq!((name.as_str(), address), ("main", ListenAddress::Ip(node.address())))
        }
        outcome => panic!("{outcome:?}"),
    }
}

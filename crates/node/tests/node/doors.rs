//! What differs from door to door: unix sockets as files, bounds of one listener.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use motte_mqtt::{Packet, ProtocolVersion};
use motte_node::settings::{ListenAddress, Transport};
use motte_node::{Control, StartError, serve_with};

use crate::support::{
    Client, House, PATIENCE, connect_as_alice, encode, listener, log_holds, logged, read_until_closed, refused, tcp,
};

fn unix_house() -> House {
    let mut house = House::new();
    house.settings.listeners = vec![listener("local", Transport::PLAINTEXT)];
    house.settings.listeners[0].address = ListenAddress::Unix { path: house.path("mqtt.sock"), mode: 0o600 };
    house
}

fn unix_client(house: &House) -> Client {
    let socket = UnixStream::connect(house.path("mqtt.sock")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    Client::over(Box::new(socket), ProtocolVersion::V5)
}

#[test]
fn a_unix_socket_is_its_owners_and_is_gone_after_the_stop() {
    let house = unix_house();
    // What a crash left.
    drop(UnixListener::bind(house.path("mqtt.sock")).unwrap());
    let node = house.start();
    assert_eq!(node.ready.listeners[0].scheme, "unix");
    let mode = std::fs::metadata(house.path("mqtt.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut client = unix_client(&house);
    assert_eq!(client.connect(&connect_as_alice("local")), 0);
    let line = logged(|line| line["message"] == "admitted" && line["client_id"] == "local");
    assert_eq!(line["address"], "unix");
    assert!(!log_holds("without TLS"), "nothing leaves the machine");
    assert!(matches!(node.stop(), Ok(())));
    assert!(!house.path("mqtt.sock").exists());
}

#[test]
fn a_unix_socket_where_somebody_listens_is_not_taken() {
    let house = unix_house();
    let node = house.start();
    let (_handle, control) = Control::new();
    match serve_with(house.settings.clone(), control, |_| panic!("it listens twice")) {
        Err(StartError::Bind { name, source, .. }) => {
            assert_eq!((name.as_str(), source.kind()), ("local", std::io::ErrorKind::AddrInUse));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(unix_client(&house).connect(&connect_as_alice("still-there")), 0);
    drop(node);
}

#[test]
fn connections_of_a_unix_socket_are_not_counted_by_address_but_in_time() {
    let mut house = unix_house();
    house.settings.gate.handshakes_per_address_max = 1;
    house.settings.gate.connections_per_address_max = 1;
    house.settings.gate.admission_deadline = Duration::from_secs(3);
    let node = house.start();
    let silent = [unix_client(&house), unix_client(&house)];
    let mut admitted = Vec::new();
    for id in ["local-1", "local-2"] {
        let mut client = unix_client(&house);
        assert_eq!(client.connect(&connect_as_alice(id)), 0);
        admitted.push(client);
    }
    for client in silent {
        assert_eq!(client.until_closed(), b"");
    }
    let line = refused("deadline");
    assert_eq!(line["address"], "unix");
    drop(node);
}

/// Whether a connection is answered and not closed at once.
fn is_let_in(address: SocketAddr) -> bool {
    let mut socket = tcp(address);
    let connect = encode(ProtocolVersion::V5, &Packet::Connect(connect_as_alice("again")));
    socket.write_all(&connect).is_ok() && socket.read(&mut [0; 64]).is_ok_and(|count| count > 0)
}

#[test]
fn a_listener_has_no_more_connections_than_its_own_bound_and_others_are_not_touched() {
    let mut house = House::new();
    house.settings.listeners = vec![listener("few", Transport::PLAINTEXT), listener("many", Transport::PLAINTEXT)];
    house.settings.listeners[0].connections_max = Some(1);
    let node = house.start();
    let many = node.address_of(1);
    let mut first = Client::over(Box::new(tcp(node.address())), ProtocolVersion::V5);
    assert_eq!(first.connect(&connect_as_alice("first")), 0);
    let mut second = tcp(node.address());
    let mut answer = Vec::new();
    read_until_closed(&mut second, &mut answer);
    assert_eq!(answer, b"");
    let line = refused("too_many_connections");
    assert_eq!(line["listener"], "few");
    let mut other = Client::over(Box::new(tcp(many)), ProtocolVersion::V5);
    assert_eq!(other.connect(&connect_as_alice("other")), 0);
    // The place of a connection that ended is free.
    first.send(&[0xe0, 0]);
    assert_eq!(first.until_closed(), b"");
    let deadline = Instant::now() + PATIENCE;
    while !is_let_in(node.address()) {
        assert!(Instant::now() < deadline, "the place was not given back");
    }
}

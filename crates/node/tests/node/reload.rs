//! Reload: a whole new set, or the old one.

use std::time::SystemTime;

use motte_mqtt::{Connect, Packet, ProtocolVersion, ReasonCode};
use motte_node::ReloadError;
use motte_pki::{Authority, Role};

use crate::packets::{disconnected, ping};
use crate::support::{House, connect_as_alice, connect_as_nobody, logged};

#[test]
fn k27_a_bad_file_keeps_the_old_set_in_force_and_raises_an_alarm() {
    let house = House::new();
    let node = house.start();
    let mut client = house.open(node.address(), None, b"mqtt");
    assert_eq!(client.connect(&connect_as_alice("stays")), 0);
    // The new password file is good and the ACL file is not: neither takes effect.
    house.write_passwords(&[("bob", "builder")]);
    house.write("acl", "user alice\ntopic everything goes # really\nbananas\n");
    let errors = match node.handle.reload() {
        Err(ReloadError::Files(errors)) => errors,
        outcome => panic!("{outcome:?}"),
    };
    assert!(errors.iter().any(|error| error.file.ends_with("acl") && error.line > 0), "{errors:?}");
    let line = logged(|line| line["message"] == "reload failed");
    assert_eq!(line["level"], "ERROR");
    assert!(line["file"].as_str().unwrap().ends_with("acl"), "{line}");
    ping(&mut client);
    let mut again = house.open(node.address(), None, b"mqtt");
    assert_eq!(again.connect(&connect_as_alice("again")), 0, "the old passwords still hold");
}

#[test]
fn a_bad_certificate_keeps_the_old_one() {
    let house = House::new();
    let node = house.start();
    house.write("server.pem", "not a certificate");
    assert!(node.handle.reload().is_err());
    let mut client = house.open(node.address(), None, b"mqtt");
    assert_eq!(client.connect(&connect_as_alice("a")), 0);
}

#[test]
fn k24_removed_users_and_changed_passwords_end_connections_and_others_stay() {
    let house = House::new();
    house.write_passwords(&[("alice", "wonder"), ("bob", "builder"), ("carol", "carillon")]);
    house.write("acl", "user alice\ntopic readwrite #\n");
    let node = house.start();
    let connect = |user, password: &'static str, client_id| Connect {
        user_name: Some(user),
        password: Some(password.as_bytes()),
        ..connect_as_nobody(client_id)
    };
    let mut clients = Vec::new();
    for (user, password) in [("alice", "wonder"), ("bob", "builder"), ("carol", "carillon")] {
        let mut client = house.open(node.address(), None, b"mqtt");
        assert_eq!(client.connect(&connect(user, password, user)), 0);
        clients.push(client);
    }
    let mut by_certificate = house.open(node.address(), Some("alice"), b"mqtt");
    assert_eq!(by_certificate.connect(&connect_as_nobody("certified")), 0);
    // Bob is gone; Carol has another password; Alice's line is the same.
    house.write_passwords(&[("alice", "wonder"), ("carol", "chimes")]);
    node.handle.reload().unwrap();
    let [alice, bob, carol] = &mut clients[..] else { panic!("three clients") };
    for revoked in [bob, carol] {
        let reason = disconnected(revoked);
        assert!(matches!(reason, ReasonCode::NotAuthorized | ReasonCode::AdministrativeAction), "{reason}");
    }
    ping(alice);
    ping(&mut by_certificate);
    let mut back = house.open(node.address(), None, b"mqtt");
    assert_eq!(back.connect(&connect("bob", "builder", "bob")), 0x86);
    let mut back = house.open(node.address(), None, b"mqtt");
    assert_eq!(back.connect(&connect("carol", "chimes", "carol")), 0);
}

#[test]
fn k24_who_is_revoked_on_the_way_in_is_refused_with_a_connack() {
    let house = House::new();
    house.write_passwords(&[("alice", "wonder"), ("bob", "builder")]);
    let node = house.start();
    let bob = Connect { user_name: Some("bob"), password: Some(b"builder"), ..connect_as_nobody("bob") };
    // Each has come to the gate, and is checked against the files as they were then.
    let [mut early, mut early_311] = [(); 2].map(|()| house.open(node.address(), None, b"mqtt"));
    house.write_passwords(&[("alice", "wonder")]);
    node.handle.reload().unwrap();
    assert_eq!(early.connect(&bob), ReasonCode::NotAuthorized.as_u8());
    assert!(early.until_closed().is_empty());
    let bob_311 = Connect { version: ProtocolVersion::V311, ..bob };
    assert_eq!(early_311.connect(&bob_311), 5);
    let line = logged(|line| line["client_id"] == "bob" && line["reason"] == "bad_credentials");
    assert_eq!(line["user"], "bob", "{line}");
    assert!(line["address"].is_string(), "{line}");
}

#[test]
fn k24_certificates_of_a_ca_that_is_trusted_no_more_end_connections() {
    let house = House::new();
    let node = house.start();
    let mut by_certificate = house.open(node.address(), Some("alice"), b"mqtt");
    assert_eq!(by_certificate.connect(&connect_as_nobody("certified")), 0);
    let mut by_password = house.open(node.address(), None, b"mqtt");
    assert_eq!(by_password.connect(&connect_as_alice("with-password")), 0);
    let other = Authority::create("Other CA", SystemTime::now()).unwrap();
    house.write("ca.pem", other.certificate_pem());
    node.handle.reload().unwrap();
    let reason = disconnected(&mut by_certificate);
    assert!(matches!(reason, ReasonCode::NotAuthorized | ReasonCode::AdministrativeAction), "{reason}");
    ping(&mut by_password);
}

/// Writes a list that revokes the certificates of these stems.
pub(crate) fn revoke(house: &House, number: u64, stems: &[&str]) {
    let entry = |stem: &&str| {
        let pem = std::fs::read_to_string(house.path(&format!("{stem}.pem"))).unwrap();
        let serial_hex = motte_pki::CertificateFacts::from_pem(&pem).unwrap()[0].serial_hex.clone();
        motte_pki::Revoked { serial_hex, at: SystemTime::now(), reason: motte_pki::Reason::KeyCompromise }
    };
    let revoked: Vec<_> = stems.iter().map(entry).collect();
    let list = house.authority.revocation_list(&revoked, number, 6, SystemTime::now()).unwrap();
    house.write("crl.pem", &list.pem);
}

#[test]
fn k24_a_revoked_certificate_ends_its_connections_and_opens_no_more() {
    let mut house = House::new();
    house.settings.tls.crls = vec![house.path("crl.pem")];
    house.issue("lost", Role::Client, "alice", SystemTime::now());
    revoke(&house, 1, &[]);
    let node = house.start();
    logged(|line| line["message"] == "a revocation list ends soon; from then on all clients of its CA are refused");
    let mut connected = ["lost", "alice"].map(|name| {
        let mut client = house.open(node.address(), Some(name), b"mqtt");
        assert_eq!(client.connect(&connect_as_nobody(name)), 0);
        client
    });
    revoke(&house, 2, &["lost"]);
    node.handle.reload().unwrap();
    let reason = disconnected(&mut connected[0]);
    assert_eq!(reason, ReasonCode::NotAuthorized);
    ping(&mut connected[1]);
    let why = "the client's certificate is not accepted: it, or a CA in its chain, has been revoked";
    // A client of TLS 1.3 is done before the broker has looked at its certificate.
    if let Ok(client) = house.try_open(node.address(), Some("lost"), b"mqtt") {
        assert!(client.until_closed().is_empty());
    }
    logged(|line| line["message"] == "refused" && line["detail"] == why);
    // A list that is damaged changes nothing.
    house.write("crl.pem", "-----BEGIN X509 CRL-----\nno");
    assert!(node.handle.reload().is_err());
    ping(&mut connected[1]);
    let mut again = house.open(node.address(), Some("alice"), b"mqtt");
    assert_eq!(again.connect(&connect_as_nobody("again")), 0);
}

#[test]
fn a_new_server_certificate_is_shown_to_new_connections_and_old_ones_stay() {
    let house = House::new();
    let node = house.start();
    let mut old = house.open(node.address(), None, b"mqtt");
    assert_eq!(old.connect(&connect_as_alice("old")), 0);
    let before = house.served_certificate(node.address());
    house.issue("server", Role::Server, "localhost", SystemTime::now());
    node.handle.reload().unwrap();
    assert_ne!(house.served_certificate(node.address()), before);
    ping(&mut old);
}

#[test]
fn a_new_acl_holds_for_connected_clients_at_once() {
    let house = House::new();
    let node = house.start();
    let mut client = house.open(node.address(), None, b"mqtt");
    assert_eq!(client.connect(&connect_as_alice("judged")), 0);
    house.write("acl", "user alice\ntopic read #\n");
    node.handle.reload().unwrap();
    // QoS 1, packet identifier 7, topic "t", no properties.
    client.send(b"\x32\x07\x00\x01t\x00\x07\x00x");
    client.receive(|packet| match packet {
        Packet::PubAck(ack) => assert_eq!(ack.reason, ReasonCode::NotAuthorized),
        packet => panic!("{packet:?}"),
    });
}

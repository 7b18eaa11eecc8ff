//! What differs from listener to listener: versions, who may come without proof, and the name a certificate gives.

use std::net::SocketAddr;
use std::time::SystemTime;

use motte_mqtt::{Connect, ForwardedProperties, Packet, ProtocolVersion, Qos, Will};
use motte_node::settings::{CertificateFiles, ClientCertificates, ListenerRules, ProtocolVersions, Transport};
use motte_pki::{Authority, IdentityField, LeafRequest, Role};

use crate::support::{House, Running, connect_as_alice, connect_as_nobody, encode, listener, logged, refused, tcp};

const ALL: [ProtocolVersion; 3] = [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5];

/// The reason code that a CONNECT to one of the listeners gets.
fn answer(house: &House, node: &Running, at: usize, certificate: Option<&str>, connect: &Connect<'_>) -> u8 {
    house.open(node.address_of(at), certificate, b"mqtt").connect(connect)
}

/// A house with a second listener, which has other rules.
fn house_with(rules: ListenerRules) -> House {
    let mut house = House::new();
    house.settings.listeners.push(listener("other", Transport::tls()));
    house.settings.listeners[1].rules = rules;
    house
}

fn will(topic: &str) -> Will<'_> {
    Will {
        topic,
        payload: b"gone",
        qos: Qos::AtMostOnce,
        retain: false,
        delay_s: 0,
        message_expiry_s: None,
        properties: ForwardedProperties::EMPTY,
    }
}

#[test]
fn v5_noid_a_version_the_listener_does_not_speak_is_refused_in_that_version() {
    let spoken = |versions: &[ProtocolVersion]| versions.iter().fold(ProtocolVersions::NONE, |set, v| set.with(*v));
    let only = |versions: &[ProtocolVersion]| {
        house_with(ListenerRules { protocol_versions: spoken(versions), ..ListenerRules::default() })
    };
    for (versions, expected) in
        [(&ALL[2..], [1, 1, 0]), (&ALL[..2], [0, 0, 0x84]), (&ALL[1..2], [1, 0, 0x84]), (&ALL[..], [0, 0, 0])]
    {
        let house = only(versions);
        let node = house.start();
        for (version, code) in ALL.into_iter().zip(expected) {
            let connect = Connect { version, ..connect_as_alice("v") };
            assert_eq!(answer(&house, &node, 1, None, &connect), code, "{version:?} where {versions:?} are spoken");
            assert_eq!(answer(&house, &node, 0, None, &connect), 0, "the first listener speaks all");
        }
    }
    let house = only(&ALL[1..2]);
    let node = house.start();
    let mut client = house.open(node.address_of(1), None, b"mqtt");
    client.send(b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03old");
    assert_eq!(client.until_closed(), [0x20, 3, 0, 0x84, 0], "and the connection ends");
    assert_eq!(refused("protocol_version")["listener"], "other");
}

#[test]
fn anonymous_clients_come_in_through_the_listener_that_allows_it_and_no_other() {
    let house = house_with(ListenerRules { allow_anonymous: true, ..ListenerRules::default() });
    let node = house.start();
    for version in ALL {
        let connect = Connect { version, ..connect_as_nobody("anyone") };
        let refusal = if version == ProtocolVersion::V5 { 0x87 } else { 5 };
        assert_eq!(answer(&house, &node, 0, None, &connect), refusal);
        assert_eq!(answer(&house, &node, 1, None, &connect), 0);
        let wrong = Connect { version, password: Some(b"wrong"), ..connect_as_alice("anyone") };
        assert_ne!(answer(&house, &node, 1, None, &wrong), 0, "wrong credentials are worse than none");
    }
}

#[test]
fn k31_the_identity_is_exactly_the_chosen_field_of_the_certificate() {
    let house = House::new();
    house.certify("many", "/O=Example/OU=Water/CN=pump", "DNS:pump.example.org,URI:urn:dev:1,email:pump@example.org");
    for (field, name) in [
        (IdentityField::CommonName, "pump"),
        (IdentityField::SanDns, "pump.example.org"),
        (IdentityField::SanUri, "urn:dev:1"),
        (IdentityField::SanEmail, "pump@example.org"),
        (IdentityField::Subject, "CN=pump,OU=Water,O=Example"),
    ] {
        let mut settings = house.settings.clone();
        settings.listeners[0].rules.certificate_identity = Some(field);
        let node = house.start_as(&settings);
        let client_id = format!("by-{name}");
        assert_eq!(answer(&house, &node, 0, Some("many"), &connect_as_nobody(&client_id)), 0, "{field:?}");
        let line = logged(|line| line["message"] == "admitted" && line["client_id"] == client_id.as_str());
        assert_eq!(line["user"], name);
        let claim = Connect { user_name: Some("alice"), ..connect_as_nobody("claim") };
        assert_eq!(answer(&house, &node, 0, Some("many"), &claim), 0x86, "no other name beside it");
    }
}

#[test]
fn k31_a_certificate_without_one_clear_name_is_refused_in_every_version() {
    use IdentityField::{CommonName, SanDns, SanEmail, SanUri, Subject};
    let house = House::new();
    let cases = [
        ("no-san", "/CN=alice", "", SanDns),
        ("two-dns", "/CN=alice", "DNS:alice,DNS:bob", SanDns),
        ("wildcard", "/CN=alice", "DNS:*.example.org", SanDns),
        ("two-uris", "/CN=alice", "URI:urn:a,URI:urn:b", SanUri),
        ("plus", "/CN=alice", "email:a+b@example.org", SanEmail),
        ("two-names", "/CN=alice/CN=bob", "", CommonName),
        ("no-name", "/O=alice", "", CommonName),
        ("slash", "/CN=alice\\/bob", "", CommonName),
        ("hash", "/CN=#", "", CommonName),
        ("line", "/CN=alice\nbob", "", CommonName),
        ("line-in-subject", "/O=x\ny/CN=alice", "", Subject),
        ("two-in-one-part", "/CN=alice+OU=x", "", Subject),
    ];
    for (name, subject, names, field) in cases {
        house.certify(name, subject, names);
        let mut settings = house.settings.clone();
        settings.listeners[0].rules.certificate_identity = Some(field);
        let node = house.start_as(&settings);
        for (version, code) in ALL.into_iter().zip([5, 5, 0x87]) {
            let connect = Connect { version, ..connect_as_nobody("x") };
            assert_eq!(answer(&house, &node, 0, Some(name), &connect), code, "{name} {version:?}");
            let beside = Connect { version, ..connect_as_alice("x") };
            assert_eq!(answer(&house, &node, 0, Some(name), &beside), code, "a password does not make up for it");
        }
    }
    refused("certificate_without_identity");
}

#[test]
fn where_certificates_are_no_identity_a_password_is_needed_beside_them() {
    let house = house_with(ListenerRules { certificate_identity: None, ..ListenerRules::default() });
    let node = house.start();
    assert_eq!(answer(&house, &node, 1, Some("alice"), &connect_as_nobody("a")), 0x87);
    assert_eq!(answer(&house, &node, 1, Some("alice"), &connect_as_alice("a")), 0);
}

/// Whether TLS ends before anything said inside it is answered.
fn is_refused(house: &House, address: SocketAddr, certificate: Option<&str>, alpn: &[u8]) -> bool {
    // In TLS 1.3 the client may learn of it only when it reads.
    let Ok(mut client) = house.try_open(address, certificate, alpn) else { return true };
    let bytes = encode(ProtocolVersion::V5, &Packet::Connect(connect_as_alice("x")));
    let _ = client.stream.write_all(&bytes).and_then(|()| client.stream.flush());
    client.until_closed().is_empty()
}

#[test]
fn k31_certificates_that_do_not_count_end_in_the_handshake_whether_asked_for_or_demanded() {
    let mut house = house_with(ListenerRules::default());
    house.settings.listeners[1].client_certificates = ClientCertificates::Required;
    let day = std::time::Duration::from_secs(24 * 3600);
    let now = SystemTime::now();
    house.issue("expired", Role::Client, "alice", now - 60 * day);
    house.issue("not-yet", Role::Client, "alice", now + 10 * day);
    house.issue("a-server", Role::Server, "alice", now);
    let other = Authority::create("Other CA", now).unwrap();
    let twin = Authority::create("Test CA", now).unwrap();
    for (name, authority) in [("stranger", other), ("twin", twin)] {
        let request = LeafRequest { role: Role::Client, common_name: "alice".into(), names: Vec::new(), days: 30 };
        let issued = authority.issue(&request, now).unwrap();
        house.write(&format!("{name}.pem"), &issued.chain_pem);
        house.write(&format!("{name}.key"), &issued.key_pem);
    }
    let ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=alice", "-keyout"];
    let more = ["-addext", "extendedKeyUsage=clientAuth", "-addext", "basicConstraints=critical,CA:FALSE"];
    let own = [&["req", "-x509"], &ec[..], &["own.key", "-out", "own.pem"], &more].concat();
    house.openssl(&own);
    house.certify("sha1", "/CN=alice", "");
    let sign = ["x509", "-req", "-sha1", "-in", "sha1.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "30"];
    house.openssl(&[&sign[..], &["-copy_extensions", "copyall", "-out", "sha1.pem"]].concat());
    let node = house.start();
    for name in ["expired", "not-yet", "a-server", "stranger", "twin", "own", "sha1", "ca"] {
        for (listening, alpn) in node.ready.listeners.iter().flat_map(|l| [(l, &b"mqtt"[..]), (l, b"http/1.1")]) {
            assert!(is_refused(&house, listening.address.ip().unwrap(), Some(name), alpn), "{name} {}", listening.name);
        }
    }
    for at in [0, 1] {
        assert_eq!(answer(&house, &node, at, Some("alice"), &connect_as_nobody("a")), 0);
    }
}

#[test]
fn k25_a_client_identifier_belongs_to_its_user_on_every_listener() {
    let house = house_with(ListenerRules { allow_anonymous: true, ..ListenerRules::default() });
    house.write_passwords(&[("alice", "wonder"), ("bob", "builder")]);
    house.write("acl", "topic readwrite #\nuser alice\ntopic readwrite #\nuser bob\ntopic readwrite #\n");
    let node = house.start();
    let open = |at: usize, certificate, connect: &Connect<'_>| {
        let mut client = house.open(node.address_of(at), certificate, b"mqtt");
        (client.connect(connect), client)
    };
    let bob = Connect { user_name: Some("bob"), password: Some(b"builder"), ..connect_as_nobody("c") };
    let thefts = |at: usize| {
        for version in ALL {
            let refused = if version == ProtocolVersion::V5 { 0x85 } else { 2 };
            for clean_start in [true, false] {
                let theft = Connect { version, clean_start, ..bob };
                assert_eq!(open(at, None, &theft).0, refused);
                let nobody = Connect { version, clean_start, ..connect_as_nobody("c") };
                assert_eq!(open(1, None, &nobody).0, refused);
            }
        }
    };
    let (code, mut owner) = open(0, Some("alice"), &connect_as_nobody("c"));
    assert_eq!(code, 0);
    thefts(0);
    thefts(1);
    owner.send(&[0xc0, 0]);
    owner.receive(|packet| assert!(matches!(packet, Packet::PingResp), "no DISCONNECT came before: {packet:?}"));
    // Alice herself may, whatever she proves it with and wherever she comes in.
    let (code, _again) = open(1, None, &connect_as_alice("c"));
    assert_eq!(code, 0);
    owner.receive(|packet| match packet {
        Packet::Disconnect(disconnect) => assert_eq!(disconnect.reason.as_u8(), 0x8e),
        packet => panic!("{packet:?}"),
    });
    assert_eq!(refused("client_id_owned_by_another")["client_id"], "c");
}

#[test]
fn k16_a_will_is_not_fired_by_another_user_from_another_listener() {
    let house = house_with(ListenerRules { allow_anonymous: true, ..ListenerRules::default() });
    house.write("acl", "topic readwrite #\nuser alice\ntopic readwrite #\n");
    let node = house.start();
    let open = |at: usize, connect: &Connect<'_>| {
        let mut client = house.open(node.address_of(at), None, b"mqtt");
        (client.connect(connect), client)
    };
    let (_, mut watcher) = open(0, &connect_as_alice("watcher"));
    watcher.send(b"\x82\x0a\x00\x01\x00\x00\x04gone\x00");
    watcher.receive(|packet| assert!(matches!(packet, Packet::SubAck(ack) if ack.codes == [0]), "{packet:?}"));
    let (_, mut victim) = open(0, &Connect { will: Some(will("gone")), ..connect_as_alice("victim") });
    assert_eq!(open(1, &connect_as_nobody("victim")).0, 0x85);
    for client in [&mut watcher, &mut victim] {
        client.send(&[0xc0, 0]);
        client.receive(|packet| assert!(matches!(packet, Packet::PingResp), "{packet:?}"));
    }
}

#[test]
fn k31_each_listener_trusts_the_ca_of_its_own() {
    let mut house = house_with(ListenerRules::default());
    let other = House::new();
    house.write("other-ca.pem", other.authority.certificate_pem());
    house.settings.listeners[1].rules.client_ca = Some(house.path("other-ca.pem"));
    house.settings.listeners[1].client_certificates = ClientCertificates::Required;
    std::fs::copy(other.path("alice.pem"), house.path("stranger.pem")).unwrap();
    std::fs::copy(other.path("alice.key"), house.path("stranger.key")).unwrap();
    let node = house.start();
    assert_eq!(answer(&house, &node, 0, Some("alice"), &connect_as_nobody("a")), 0);
    assert_eq!(answer(&house, &node, 1, Some("stranger"), &connect_as_nobody("b")), 0);
    for (at, certificate) in [(0, Some("stranger")), (1, Some("alice")), (1, None)] {
        let address = node.address_of(at);
        assert!(is_refused(&house, address, certificate, b"mqtt"), "{at} {certificate:?}");
    }
    refused("tls_handshake");
    drop(tcp(node.address()));
}

#[test]
fn v5_3_1_3_8_a_client_without_identifier_is_refused_where_none_is_assigned() {
    let house = house_with(ListenerRules { assign_client_ids: false, ..ListenerRules::default() });
    let node = house.start();
    for (version, refused) in ALL.into_iter().zip([2, 2, 0x85]) {
        let nameless = Connect { version, ..connect_as_alice("") };
        assert_eq!(answer(&house, &node, 1, None, &nameless), refused);
        assert_eq!(answer(&house, &node, 1, None, &Connect { version, ..connect_as_alice("named") }), 0);
    }
    assert_eq!(answer(&house, &node, 0, None, &connect_as_alice("")), 0);
}

#[test]
fn v31_noid_a_longer_client_identifier_is_let_in_where_the_limit_says_so() {
    let mut house = House::new();
    let v31 = |client_id| Connect { version: ProtocolVersion::V31, ..connect_as_alice(client_id) };
    let node = house.start();
    assert_eq!(answer(&house, &node, 0, None, &v31("a-client-id-of-24-chars.")), 2);
    house.settings.gate.client_id_31_characters_max = 24;
    let node = house.start();
    assert_eq!(answer(&house, &node, 0, None, &v31("a-client-id-of-24-chars.")), 0);
    assert_eq!(answer(&house, &node, 0, None, &v31("a-client-id-of-25-chars..")), 2);
    assert_eq!(answer(&house, &node, 0, None, &v31("")), 2);
}

#[test]
fn v31_noid_flags_of_credentials_without_the_fields_are_no_credentials() {
    let house = house_with(ListenerRules { allow_anonymous: true, ..ListenerRules::default() });
    let node = house.start();
    let connect = |flags: u8, fields: &[u8]| {
        let body = [b"\x00\x06MQIsdp\x03", &[flags][..], b"\x00\x3c\x00\x01c", fields].concat();
        [&[0x10, u8::try_from(body.len()).unwrap()][..], &body].concat()
    };
    let answer = |at: usize, bytes: &[u8]| {
        let mut client = house.open(node.address_of(at), None, b"mqtt");
        client.version = ProtocolVersion::V31;
        client.send(bytes);
        client.receive(|packet| match packet {
            Packet::ConnAck(ack) => ack.reason.v3_connack().unwrap(),
            packet => panic!("{packet:?}"),
        })
    };
    assert_eq!(answer(0, &connect(0xc2, b"")), 5, "nobody came in");
    assert_eq!(answer(0, &connect(0xc2, b"\x00\x05alice")), 4, "a name without its password");
    assert_eq!(answer(1, &connect(0xc2, b"\x00\x05alice")), 4);
    assert_eq!(answer(1, &connect(0xc2, b"")), 0, "as nobody, where that is allowed");
    assert_eq!(answer(0, &connect(0xc2, b"\x00\x05alice\x00\x06wonder")), 0);
}

#[test]
fn clients_of_one_listener_see_its_mount_point_only() {
    let mount_point = motte_broker::MountPoint::parse("site/").unwrap();
    let house = house_with(ListenerRules { mount_point, ..ListenerRules::default() });
    house.write("acl", "user alice\ntopic readwrite site/mine/#\n");
    let node = house.start();
    let open = |at: usize, connect: &Connect<'_>| {
        let mut client = house.open(node.address_of(at), None, b"mqtt");
        (client.connect(connect), client)
    };
    let with_will = |topic| Connect { will: Some(will(topic)), ..connect_as_alice("willful") };
    assert_eq!(open(1, &with_will("other/x")).0, 0x87);
    assert_eq!(open(1, &with_will("site/mine/x")).0, 0x87, "the rules are about the full name");
    assert_eq!(open(1, &with_will("$SYS/x")).0, 0x87);
    let (_, mut outside) = open(0, &connect_as_alice("outside"));
    outside.send(b"\x82\x11\x00\x01\x00\x00\x0bsite/mine/#\x00");
    outside.receive(|packet| assert!(matches!(packet, Packet::SubAck(ack) if ack.codes == [0])));
    let (code, inside) = open(1, &with_will("mine/x"));
    assert_eq!(code, 0);
    drop(inside);
    outside.receive(|packet| match packet {
        Packet::Publish(publish) => assert_eq!(publish.topic, "site/mine/x"),
        packet => panic!("{packet:?}"),
    });
}

/// The files of a certificate in the house.
fn files(house: &House, name: &str) -> CertificateFiles {
    CertificateFiles { certificate: house.path(&format!("{name}.pem")), key: house.path(&format!("{name}.key")) }
}

fn fingerprint(house: &House, name: &str) -> String {
    let pem = std::fs::read_to_string(house.path(&format!("{name}.pem"))).unwrap();
    motte_pki::CertificateFacts::from_pem(&pem).unwrap().remove(0).sha256
}

#[test]
fn clients_are_shown_the_certificate_for_the_name_they_ask_for() {
    let mut house = house_with(ListenerRules::default());
    for (name, names) in [("north", ["north.example.org"]), ("south", ["*.south.example.org"]), ("own", ["localhost"])]
    {
        house.issue_for_names(name, &names);
    }
    let by_name = vec![files(&house, "north"), files(&house, "south")];
    house.settings.listeners[0].rules.certificates = by_name.clone();
    let certificate = Some(files(&house, "own"));
    let rules = ListenerRules { certificate, certificates: by_name, sni_strict: true, ..ListenerRules::default() };
    house.settings.listeners[1].rules = rules;
    let node = house.start();
    let shown = |at: usize, name: &str| house.certificate_for(node.address_of(at), name);
    for (at, name, certificate) in [
        (0, "localhost", "server"),
        (0, "127.0.0.1", "server"),
        (0, "north.example.org", "north"),
        (0, "a.south.example.org", "south"),
        (1, "localhost", "own"),
        (1, "north.example.org", "north"),
    ] {
        assert_eq!(shown(at, name).unwrap(), fingerprint(&house, certificate), "{at} {name}");
    }
    for name in ["127.0.0.1", "east.example.org"] {
        shown(1, name).unwrap_err();
    }
    let line = refused("tls_handshake");
    assert!(line.to_string().contains("asked for no name"), "{line}");
}

#[test]
fn k27_a_reload_replaces_all_certificates_or_none() {
    let mut house = House::new();
    house.issue_for_names("north", &["north.example.org"]);
    house.issue_for_names("south", &["south.example.org"]);
    house.settings.listeners[0].rules.certificates = vec![files(&house, "north"), files(&house, "south")];
    let node = house.start();
    let names = [("localhost", "server"), ("north.example.org", "north"), ("south.example.org", "south")];
    let shown = || names.map(|(name, _)| house.certificate_for(node.address(), name).unwrap());
    let before = shown();
    house.issue("server", Role::Server, "localhost", SystemTime::now());
    house.issue_for_names("north", &["north.example.org"]);
    let key = std::fs::read_to_string(house.path("south.key")).unwrap();
    house.write("south.key", "not a key");
    node.handle.reload().unwrap_err();
    assert_eq!(shown(), before, "one bad file keeps all the others back");
    house.write("south.key", &key);
    let exposed = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(house.path("south.key"), exposed).unwrap();
    node.handle.reload().unwrap_err();
    assert_eq!(shown(), before, "so does a key that others can read");
    house.write("south.key", &key);
    node.handle.reload().unwrap();
    assert_eq!(shown(), names.map(|(_, file)| fingerprint(&house, file)));
}

#[test]
fn k24_a_client_whose_certificate_names_nobody_any_more_is_disconnected_by_a_reload() {
    let house = House::new();
    house.certify("many", "/CN=alice", "DNS:pump.example.org");
    let text = |field: &str, anonymous: &str| {
        format!(
            "[[listener]]\nname = \"main\"\naddress = \"127.0.0.1:0\"\ncertificate_identity = \"{field}\"\n\
             [[listener]]\nname = \"other\"\naddress = \"127.0.0.1:0\"\n\
             [tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\nclient_ca = \"ca.pem\"\n\
             [identity]\npassword_file = \"passwords\"\n[policy]\nacl_file = \"acl\"\n\
             [danger]\nallow_anonymous = {anonymous}\n"
        )
    };
    house.write("motte.toml", &text("common-name", "[\"main\"]"));
    let node = house.start_as(&motte_node::ConfigFile::load(&house.path("motte.toml")).unwrap());
    let open = |at: usize, certificate, connect: &Connect<'_>| {
        let mut client = house.open(node.address_of(at), certificate, b"mqtt");
        assert_eq!(client.connect(connect), 0);
        client
    };
    let mut anonymous = open(0, None, &connect_as_nobody("anonymous"));
    let mut renamed = open(0, Some("many"), &connect_as_nobody("renamed"));
    let mut elsewhere = open(1, Some("many"), &connect_as_nobody("elsewhere"));
    let mut by_password = open(0, None, &connect_as_alice("by-password"));
    house.write("motte.toml", &text("san-dns", "[\"other\"]"));
    node.handle.reload().unwrap();
    for revoked in [&mut anonymous, &mut renamed] {
        revoked.receive(|packet| assert!(matches!(packet, Packet::Disconnect(_)), "{packet:?}"));
    }
    for staying in [&mut elsewhere, &mut by_password] {
        staying.send(&[0xc0, 0]);
        staying.receive(|packet| assert!(matches!(packet, Packet::PingResp), "{packet:?}"));
    }
    assert_eq!(answer(&house, &node, 0, None, &connect_as_nobody("late")), 0x87);
    assert_eq!(answer(&house, &node, 1, None, &connect_as_nobody("late")), 0);
    open(0, Some("many"), &connect_as_nobody("pump"));
    let line = logged(|line| line["message"] == "admitted" && line["client_id"] == "pump");
    assert_eq!(line["user"], "pump.example.org");
}

//! Issued certificates as OpenSSL sees them, and requests that must be refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene must stop at that line")]

use super::*;
use crate::testing::{Scene, client_request, server_request};

fn text(scene: &Scene, file: &str) -> String {
    scene.openssl(&["x509", "-in", file, "-noout", "-text"])
}

#[test]
fn openssl_verifies_what_is_issued_for_its_purpose_only() {
    let scene = Scene::new();
    scene.server();
    scene.client();
    let verify = ["verify", "-x509_strict", "-CAfile", "ca.pem", "-purpose"];
    scene.openssl(&[&verify[..], &["sslserver", "-verify_hostname", "localhost", "server.pem"]].concat());
    scene.openssl(&[&verify[..], &["sslserver", "-verify_ip", "::1", "server.pem"]].concat());
    scene.openssl(&[&verify[..], &["sslclient", "client.pem"]].concat());
    for (purpose, file) in [("sslclient", "server.pem"), ("sslserver", "client.pem")] {
        let wrong = std::process::Command::new("openssl")
            .args([&verify[..], &[purpose, file]].concat())
            .current_dir(scene.directory.path())
            .output()
            .unwrap();
        assert!(!wrong.status.success(), "{file} passes as {purpose}");
    }
}

#[test]
fn the_ca_may_sign_leaves_and_nothing_else() {
    let scene = Scene::new();
    let text = text(&scene, "ca.pem");
    for line in [
        "X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0",
        "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n",
        "X509v3 Subject Key Identifier:",
        "ASN1 OID: prime256v1",
        "Signature Algorithm: ecdsa-with-SHA256",
        "Subject: CN = Test CA",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
}

#[test]
fn a_leaf_has_one_role_and_no_right_to_sign() {
    let scene = Scene::new();
    scene.server();
    scene.client();
    let (server, client) = (text(&scene, "server.pem"), text(&scene, "client.pem"));
    for text in [&server, &client] {
        assert!(text.contains("CA:FALSE") && text.contains("X509v3 Authority Key Identifier:"), "{text}");
        assert!(text.contains("X509v3 Key Usage: critical\n                Digital Signature\n"), "{text}");
    }
    assert!(
        server.contains("X509v3 Extended Key Usage: \n                TLS Web Server Authentication\n"),
        "{server}"
    );
    assert!(
        client.contains("X509v3 Extended Key Usage: \n                TLS Web Client Authentication\n"),
        "{client}"
    );
    assert!(server.contains("DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1"), "{server}");
}

#[test]
fn serial_numbers_are_long_and_differ() {
    let scene = Scene::new();
    let now = SystemTime::now();
    let serial = || {
        let issued = scene.authority.issue(&client_request("x"), now).unwrap();
        CertificateFacts::from_pem(&issued.chain_pem).unwrap()[0].serial_hex.clone()
    };
    let (one, two) = (serial(), serial());
    assert_eq!((one.len(), two.len()), (32, 32));
    assert_ne!(one, two);
}

#[test]
fn life_begins_five_minutes_ago_and_ends_with_the_ca_at_the_latest() {
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let authority = Authority::create("Test CA", now).unwrap();
    let facts = |now| {
        let issued = authority.issue(&server_request(), now).unwrap();
        CertificateFacts::from_pem(&issued.chain_pem).unwrap()
    };
    let both = facts(now);
    assert_eq!((both[0].not_before, both[0].not_after), (now - SKEW, now + DAY * 90));
    assert_eq!((both[1].not_before, both[1].not_after), (now - SKEW, now + DAY * 3653));
    let late = facts(now + DAY * 3650);
    assert_eq!(late[0].not_after, both[1].not_after);
    let after = authority.issue(&server_request(), now + DAY * 3653);
    assert_eq!(after.unwrap_err(), IssueError::AuthorityNotValid);
    let before = authority.issue(&server_request(), now - DAY);
    assert_eq!(before.unwrap_err(), IssueError::AuthorityNotValid);
}

#[test]
fn what_would_make_a_bad_certificate_is_refused() {
    let now = SystemTime::now();
    let authority = Authority::create("Test CA", now).unwrap();
    let refused = |request: LeafRequest| authority.issue(&request, now).unwrap_err();
    for name in ["", "a\nb", "a\0b", "a\u{202e}b", &"x".repeat(65)] {
        assert_eq!(refused(client_request(name)), IssueError::CommonName, "{name:?}");
    }
    let days = |role, most| IssueError::Days { role, most };
    assert_eq!(refused(LeafRequest { days: 91, ..server_request() }), days(Role::Server, 90));
    assert_eq!(refused(LeafRequest { days: 0, ..server_request() }), days(Role::Server, 90));
    assert_eq!(refused(LeafRequest { days: 399, ..client_request("x") }), days(Role::Client, 398));
    assert_eq!(refused(LeafRequest { names: Vec::new(), ..server_request() }), IssueError::NoNames);
    for bad in ["a b", "", "127.0.0.1", "a\nb"] {
        let names = vec![HostName::Dns(bad.into())];
        assert_eq!(refused(LeafRequest { names, ..server_request() }), IssueError::Name(bad.into()));
    }
    assert_eq!(Authority::create("a\nb", now).unwrap_err(), IssueError::CommonName);
    assert_eq!(Authority::create("a", UNIX_EPOCH - DAY).unwrap_err(), IssueError::Clock);
}

#[test]
fn a_ca_is_loaded_with_its_own_key_only() {
    let scene = Scene::new();
    let other = Scene::new();
    let (certificate, key) = (scene.authority.certificate_pem(), scene.authority.key_pem());
    let again = Authority::from_pem(certificate, &key).unwrap();
    let issued = again.issue(&client_request("x"), SystemTime::now()).unwrap();
    std::fs::write(scene.path("again.pem"), &issued.chain_pem).unwrap();
    scene.openssl(&["verify", "-CAfile", "ca.pem", "again.pem"]);
    let mixed = Authority::from_pem(certificate, &other.authority.key_pem());
    assert_eq!(mixed.unwrap_err(), IssueError::KeyDoesNotMatch);
    let leaf = Authority::from_pem(&issued.chain_pem, &issued.key_pem);
    assert_eq!(leaf.unwrap_err(), IssueError::NotAuthority);
    assert!(matches!(Authority::from_pem("x", &key), Err(IssueError::AuthorityCertificate(_))));
    assert!(matches!(Authority::from_pem(certificate, "x"), Err(IssueError::AuthorityKey(_))));
    assert!(!format!("{again:?} {issued:?}").contains("PRIVATE KEY"), "keys stay out of debug output");
}

#[test]
fn a_ca_made_by_openssl_issues_too() {
    let scene = Scene::new();
    for (kind, option) in [("ec", "ec_paramgen_curve:P-384"), ("rsa", "rsa_keygen_bits:2048"), ("ed25519", "")] {
        let mut request = vec!["req", "-x509", "-nodes", "-newkey", kind, "-subj", "/C=DE/O=A, B/OU=x/CN=Old CA"];
        if !option.is_empty() {
            request.extend(["-pkeyopt", option]);
        }
        scene.openssl(&[&request[..], &["-keyout", "old.key", "-out", "old.pem", "-days", "30"]].concat());
        let read = |name: &str| std::fs::read_to_string(scene.path(name)).unwrap();
        let authority = Authority::from_pem(&read("old.pem"), &read("old.key")).unwrap();
        let issued = authority.issue(&server_request(), SystemTime::now()).unwrap();
        std::fs::write(scene.path("leaf.pem"), &issued.chain_pem).unwrap();
        scene.openssl(&["verify", "-CAfile", "old.pem", "-purpose", "sslserver", "leaf.pem"]);
    }
}

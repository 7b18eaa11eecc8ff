//! Certificates of OpenSSL's making, odd ones among them, read as a user would see them.
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene must stop at that line")]

use super::*;
use crate::testing::{DAY, Scene, client_request, der, openssl};

/// A self-signed certificate with this subject, made by OpenSSL.
fn made(subject: &str, more: &[&str]) -> Vec<u8> {
    let room = tempfile::tempdir().unwrap();
    let request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-utf8"];
    let files = ["-keyout", "k", "-out", "c.pem", "-days", "30", "-subj", subject];
    openssl(room.path(), &[&request[..], &files[..], more].concat());
    der(&room.path().join("c.pem"))
}

/// Writes another character into the name, which its length allows; the signature is not looked at here.
fn patched(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = (0..bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

#[test]
fn a_certificate_is_told_in_full() {
    let facts = CertificateFacts::from_der(&made(
        "/C=DE/O=Motte, Inc./CN=broker",
        &["-addext", "subjectAltName=DNS:a.example.org,IP:192.0.2.7,IP:2001:db8::1,email:a@b.org,URI:urn:x:y"],
    ))
    .unwrap();
    assert_eq!(facts.subject_common_name.as_deref(), Some("broker"));
    assert_eq!(facts.subject, "CN=broker,O=Motte\\, Inc.,C=DE");
    assert_eq!(facts.issuer, facts.subject);
    assert_eq!(facts.names, ["a.example.org", "192.0.2.7", "2001:db8::1", "a@b.org", "urn:x:y"]);
    assert_eq!((facts.key.as_str(), facts.signature_algorithm.as_str()), ("ECDSA P-256", "ECDSA with SHA-256"));
    assert_eq!((facts.role, facts.sha256.len()), (CertificateRole::Authority, 64));
    assert!(facts.not_after.duration_since(facts.not_before).unwrap() == DAY * 30);
}

#[test]
fn fingerprint_and_serial_are_those_of_openssl() {
    let scene = Scene::new();
    let (certificate, _) = scene.client();
    let text = scene.openssl(&["x509", "-in", "client.pem", "-noout", "-serial", "-fingerprint", "-sha256"]);
    let text = text.to_lowercase().replace(':', "");
    let facts = CertificateFacts::from_der(&der(&certificate)).unwrap();
    assert!(text.contains(&format!("serial={}", facts.serial_hex)), "{text} {}", facts.serial_hex);
    assert!(text.contains(&format!("fingerprint={}", facts.sha256)), "{text}");
}

#[test]
fn roles_are_read_from_the_extended_key_usage() {
    let role = |usage: &str| {
        let usage = format!("extendedKeyUsage={usage}");
        let more = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", &usage];
        CertificateFacts::from_der(&made("/CN=x", &more)).unwrap().role.to_string()
    };
    assert_eq!(["serverAuth", "clientAuth", "codeSigning"].map(role), ["server", "client", "other"]);
    assert_eq!(role("serverAuth,clientAuth"), "other");
}

#[test]
fn k31_an_identity_is_the_only_common_name() {
    let identity = |subject: &str| identity(&made(subject, &[]), IdentityField::CommonName);
    assert_eq!(identity("/O=x/CN=sensor-1").as_deref(), Some("sensor-1"));
    assert_eq!(identity("/CN=Fühler").as_deref(), Some("Fühler"));
    assert_eq!(identity("/CN=a/CN=b"), None, "two common names");
    assert_eq!(identity("/CN=a+CN=b"), None, "two in one part");
    assert_eq!(identity("/O=x"), None);
    assert_eq!(identity("/CN=a\nb"), None);
    assert_eq!(identity("/CN=a\u{202e}b"), None);
    assert_eq!(identity("/CN=a\u{1b}b"), None);
    assert_eq!(identity("/CN=a\\/b"), None, "would be two levels of a topic");
    assert_eq!(identity("/CN=a\\+b"), None);
    assert_eq!(identity("/CN=a#"), None);
}

/// The common name as an identity.
fn common(der: &[u8]) -> Option<String> {
    identity(der, IdentityField::CommonName)
}

/// The identity out of a certificate with these alternative names, told of a subject that means nothing.
fn alternative(names: &str, field: IdentityField) -> Option<String> {
    identity(&made("/CN=other", &["-addext", &format!("subjectAltName={names}")]), field)
}

#[test]
fn k31_an_identity_is_the_only_alternative_name_of_its_kind() {
    use IdentityField::{SanDns, SanEmail, SanUri};
    let all = "DNS:a.example.org,IP:192.0.2.7,email:a@b.org,URI:urn:dev:mac:01";
    assert_eq!(alternative(all, SanDns).as_deref(), Some("a.example.org"));
    assert_eq!(alternative(all, SanEmail).as_deref(), Some("a@b.org"));
    assert_eq!(alternative(all, SanUri).as_deref(), Some("urn:dev:mac:01"));
    for (names, field) in [
        ("DNS:a,DNS:b", SanDns),
        ("DNS:a,DNS:a", SanDns),
        ("email:a@b.org,email:c@b.org", SanEmail),
        ("URI:urn:a,URI:urn:b", SanUri),
        ("IP:192.0.2.7", SanDns),
        ("DNS:a", SanUri),
        ("URI:urn:a", SanEmail),
    ] {
        assert_eq!(alternative(names, field), None, "{names}");
    }
    assert_eq!(identity(&made("/CN=a.example.org", &[]), SanDns), None, "the common name does not stand in");
}

#[test]
fn k31_an_alternative_name_with_a_meaning_in_topics_is_no_identity() {
    use IdentityField::{SanDns, SanEmail, SanUri};
    assert_eq!(alternative("URI:spiffe://example.org/pump", SanUri).as_deref(), Some("spiffe://example.org/pump"));
    let fragment = patched(made("/CN=x", &["-addext", "subjectAltName=URI:urn:aXb"]), b"urn:aXb", b"urn:a#b");
    assert_eq!(identity(&fragment, SanUri), None);
    assert_eq!(alternative("URI:urn:a+b", SanUri), None);
    assert_eq!(alternative("email:a+b@example.org", SanEmail), None);
    assert_eq!(alternative("email:a/b@example.org", SanEmail), None);
    assert_eq!(alternative("DNS:*.example.org", SanDns), None, "a wildcard names many");
    let good = made("/CN=x", &["-addext", "subjectAltName=DNS:adminXevil"]);
    assert_eq!(identity(&good, SanDns).as_deref(), Some("adminXevil"));
    for evil in [&b"admin\0evil"[..], b"admin\nevil", b"admin\xffevil", b"admin evil"] {
        assert_eq!(identity(&patched(good.clone(), b"adminXevil", evil), SanDns), None, "{evil:?}");
    }
}

#[test]
fn k31_a_whole_subject_is_an_identity_in_the_order_of_rfc_4514() {
    let subject = |subject: &str| identity(&made(subject, &[]), IdentityField::Subject);
    assert_eq!(subject("/C=DE/O=Motte, Inc./OU=Pumps/CN=p 1").as_deref(), Some("CN=p 1,OU=Pumps,O=Motte\\, Inc.,C=DE"));
    assert_eq!(subject("/O=x/CN=a/CN=b").as_deref(), Some("CN=b,CN=a,O=x"), "nothing is left out");
    assert_eq!(subject("/CN=a+OU=b"), None, "a part of two fields holds a +");
    assert_eq!(subject("/CN=a\\/b"), None);
    assert_eq!(subject("/CN=a\nb"), None);
    assert_eq!(subject("/CN=a\u{202e}b"), None);
    let good = made("/CN=adminXevil", &[]);
    assert_eq!(identity(&patched(good.clone(), b"adminXevil", b"admin\0evil"), IdentityField::Subject), None);
    assert_eq!(identity(&patched(good, b"adminXevil", b"admin\xffevil"), IdentityField::Subject), None);
    assert_eq!(subject("/"), None, "an empty subject names nobody");
}

#[test]
fn k31_bytes_that_openssl_would_not_write_are_no_identity_either() {
    let good = made("/CN=adminXevil", &[]);
    assert_eq!(common(&good).as_deref(), Some("adminXevil"));
    assert_eq!(common(&patched(good.clone(), b"adminXevil", b"admin\0evil")), None, "NUL");
    assert_eq!(common(&patched(good.clone(), b"adminXevil", b"admin\xffevil")), None, "not UTF-8");
    assert_eq!(common(&[&good[..], b"x"].concat()), None, "bytes after the end");
    assert_eq!(common(&good[..good.len() - 1]), None);
    assert_eq!(common(b""), None);
}

#[test]
fn k31_no_change_of_one_byte_makes_the_parser_panic() {
    let good = made("/CN=adminXevil", &["-addext", "subjectAltName=DNS:a.b,URI:urn:x,email:a@b,IP:192.0.2.7"]);
    for at in 0..good.len() {
        for value in [0x00, 0x30, 0x7f, 0x80, 0xff, good[at].wrapping_add(1)] {
            let mut bad = good.clone();
            bad[at] = value;
            for field in IdentityField::ALL {
                let _ = identity(&bad, field);
            }
            let _ = CertificateFacts::from_der(&bad);
        }
        assert!(CertificateFacts::from_der(&good[..at]).is_err());
    }
}

#[test]
fn k34_text_from_inside_a_certificate_is_shown_escaped() {
    let facts = CertificateFacts::from_der(&made("/CN=a\nb\u{1b}[2J/O= #1", &[])).unwrap();
    assert_eq!(facts.subject_common_name.as_deref(), Some(r"a\u{a}b\u{1b}[2J"));
    assert_eq!(facts.subject, r"O=\ #1,CN=a\0Ab\1B[2J");
    let san = CertificateFacts::from_der(&patched(
        made("/CN=x", &["-addext", "subjectAltName=DNS:aXb.example.org"]),
        b"aXb.example.org",
        b"a\nb.example.org",
    ));
    assert_eq!(san.unwrap().names, [r"a\u{a}b.example.org"]);
}

#[test]
fn a_file_of_several_is_read_in_order() {
    let scene = Scene::new();
    let issued = scene.authority.issue(&client_request("sensor-1"), SystemTime::now()).unwrap();
    let all = CertificateFacts::from_pem(&issued.chain_pem).unwrap();
    let roles: Vec<_> = all.iter().map(|facts| facts.role).collect();
    assert_eq!(roles, [CertificateRole::Client, CertificateRole::Authority]);
    assert_eq!(CertificateFacts::from_pem(&issued.key_pem), Err(FactsError::NoCertificate));
    assert_eq!(CertificateFacts::from_pem("hello"), Err(FactsError::NoCertificate));
}

#[test]
fn days_left_are_whole_days_and_negative_after_the_end() {
    let facts = CertificateFacts::from_der(&made("/CN=x", &[])).unwrap();
    let end = facts.not_after;
    let second = Duration::from_secs(1);
    let days = [end - DAY * 2, end - DAY * 2 + second, end - second, end, end + second, end + DAY + second];
    assert_eq!(days.map(|now| facts.days_left(now)), [2, 1, 0, 0, -1, -2]);
    assert!(facts.is_valid_at(end) && !facts.is_valid_at(end + second));
    assert!(!facts.is_valid_at(facts.not_before - second));
}

#[test]
fn renewal_is_due_in_the_last_third() {
    let facts = CertificateFacts::from_der(&made("/CN=x", &[])).unwrap();
    let due = |left: Duration| crate::renewal_due(&facts, facts.not_after - left);
    assert_eq!([DAY * 30, DAY * 11, DAY * 10, Duration::ZERO].map(due), [false, false, true, true]);
    assert!(crate::renewal_due(&facts, facts.not_after + DAY));
}

//! PKCS#12: ours as OpenSSL reads it, and OpenSSL's.
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene must stop at that line")]

use super::*;
use crate::testing::Scene;
use crate::{pem, read_key, write_private};

fn password(text: &str) -> KeyPassword {
    KeyPassword::new(Zeroizing::new(text.as_bytes().to_vec()))
}

#[test]
fn openssl_opens_what_is_packed_and_it_is_modern() {
    let scene = Scene::new();
    let (certificate, key) = scene.client();
    let chain = pem::certificates(&certificate).unwrap();
    let key = read_key(&key, None).unwrap();
    let packed = pack("sensor-1", &chain, &key, &password("pässword")).unwrap();
    write_private(&scene.path("client.p12"), &packed).unwrap();
    let open = ["pkcs12", "-in", "client.p12", "-passin", "pass:pässword"];
    let told = scene.openssl(&[&open[..], &["-info", "-nodes", "-out", "all.pem"]].concat());
    assert!(told.contains("MAC: sha256, Iteration 100000"), "{told}");
    assert_eq!(told.matches("PBES2, PBKDF2, AES-256-CBC").count(), 2, "{told}");
    let text = std::fs::read_to_string(scene.path("all.pem")).unwrap();
    assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(text.contains("friendlyName: sensor-1") && text.contains("BEGIN PRIVATE KEY"));
    let opened = pem::certificates(&scene.path("all.pem")).unwrap();
    assert_eq!(opened, chain);
    assert!(is_pkcs12(&packed) && !is_pkcs12(&chain[0]) && !is_pkcs12(b"") && !is_pkcs12(text.as_bytes()));
    let contents = unpack(&packed, &password("pässword")).unwrap();
    assert_eq!((contents.certificates, contents.keys), (chain, vec![key]));
    assert_eq!(unpack(&packed, &password("wrong")).unwrap_err(), KeyError::Password);
}

#[test]
fn what_openssl_packs_is_read_and_what_is_old_is_named() {
    let scene = Scene::new();
    let (certificate, key) = scene.client();
    let chain = pem::certificates(&certificate).unwrap();
    let key = read_key(&key, None).unwrap();
    let make = ["pkcs12", "-export", "-in", "client.pem", "-inkey", "client.key", "-passout", "pass:x", "-out"];
    for options in [&[][..], &["-macalg", "sha512"], &["-keypbe", "NONE"], &["-certpbe", "NONE"], &["-iter", "1"]] {
        scene.openssl(&[&make[..], &["theirs.p12"], options].concat());
        let bytes = std::fs::read(scene.path("theirs.p12")).unwrap();
        let contents = unpack(&bytes, &password("x")).unwrap();
        assert_eq!((contents.certificates, contents.keys), (chain.clone(), vec![key.clone_key()]), "{options:?}");
    }
    scene.openssl(&[&make[..], &["old.p12", "-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES"]].concat());
    let old = std::fs::read(scene.path("old.p12")).unwrap();
    assert!(matches!(unpack(&old, &password("x")), Err(KeyError::Cipher(_))));
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let scene = Scene::new();
    scene.client();
    let make = ["pkcs12", "-export", "-in", "client.pem", "-inkey", "client.key", "-passout", "pass:x", "-iter", "1"];
    scene.openssl(&[&make[..], &["-out", "theirs.p12"]].concat());
    let bytes = std::fs::read(scene.path("theirs.p12")).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x01;
        let _ = unpack(&changed, &password("x"));
        assert!(unpack(&bytes[..at], &password("x")).is_err(), "cut at {at}");
    }
}

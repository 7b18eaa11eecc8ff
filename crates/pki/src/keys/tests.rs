//! Keys under passwords: ours as OpenSSL reads them, and those of OpenSSL.
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene must stop at that line")]

use super::*;
use crate::testing::{Scene, openssl};
use crate::write_private;

fn password(text: &str) -> KeyPassword {
    KeyPassword::new(Zeroizing::new(text.as_bytes().to_vec()))
}

#[test]
fn what_is_written_under_a_password_is_read_by_openssl_and_by_us() {
    let scene = Scene::new();
    let (_, key) = scene.client();
    let plain = read_key(&key, None).unwrap();
    let secret = password("correct höuse");
    let text = key_pem(&plain, Some(&secret)).unwrap();
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{}", &*text);
    write_private(&scene.path("protected.key"), text.as_bytes()).unwrap();
    scene.openssl(&["pkey", "-in", "protected.key", "-passin", "pass:correct höuse", "-out", "opened.key"]);
    scene.openssl(&["pkey", "-in", "client.key", "-out", "same.key"]);
    assert_eq!(std::fs::read(scene.path("opened.key")).unwrap(), std::fs::read(scene.path("same.key")).unwrap());
    assert_eq!(parse_key(text.as_bytes(), Some(&secret)).unwrap(), plain);
    assert!(is_protected(text.as_bytes()) && !is_protected(&std::fs::read(key).unwrap()));
    assert_eq!(parse_key(text.as_bytes(), None), Err(KeyError::Encrypted));
    assert_eq!(parse_key(text.as_bytes(), Some(&password("wrong"))), Err(KeyError::Password));
    assert_eq!(format!("{secret:?}"), "KeyPassword(…)");
}

#[test]
fn keys_of_openssl_are_read_in_every_form_that_is_safe() {
    let scene = Scene::new();
    let dir = scene.directory.path();
    let run = |arguments: &[&str]| openssl(dir, arguments);
    for (kind, options) in [("EC", "ec_paramgen_curve:P-384"), ("RSA", "rsa_keygen_bits:2048")] {
        run(&["genpkey", "-algorithm", kind, "-pkeyopt", options, "-out", "plain.key"]);
        run(&["pkey", "-in", "plain.key", "-traditional", "-out", "old.key"]);
        run(&["pkey", "-in", "plain.key", "-outform", "DER", "-out", "plain.der"]);
        let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
        let expected = public_key(&parse_key(&read("plain.key"), None).unwrap()).unwrap();
        let same = |bytes: &[u8], secret: Option<&KeyPassword>| {
            let key = parse_key(bytes, secret).unwrap();
            assert_eq!(public_key(&key).unwrap(), expected);
            let again = parse_key(key_pem(&key, None).unwrap().as_bytes(), None).unwrap();
            assert!(matches!(again, PrivateKeyDer::Pkcs8(_)) && public_key(&again).unwrap() == expected);
        };
        same(&read("old.key"), None);
        same(&read("plain.der"), None);
        for cipher in ["aes-128-cbc", "aes-192-cbc", "aes-256-cbc"] {
            for prf in ["hmacWithSHA1", "hmacWithSHA256", "hmacWithSHA512"] {
                let make = ["pkcs8", "-topk8", "-in", "plain.key", "-v2", cipher, "-v2prf", prf, "-passout", "pass:x"];
                run(&[&make[..], &["-out", "sealed.key"]].concat());
                same(&read("sealed.key"), Some(&password("x")));
                run(&[&make[..], &["-outform", "DER", "-out", "sealed.der"]].concat());
                same(&read("sealed.der"), Some(&password("x")));
            }
        }
        run(&["pkcs8", "-topk8", "-in", "plain.key", "-v2", "des3", "-passout", "pass:x", "-out", "des.key"]);
        assert!(matches!(parse_key(&read("des.key"), Some(&password("x"))), Err(KeyError::Cipher(_))));
        run(&["pkcs8", "-topk8", "-in", "plain.key", "-scrypt", "-passout", "pass:x", "-out", "scrypt.key"]);
        assert!(matches!(parse_key(&read("scrypt.key"), Some(&password("x"))), Err(KeyError::Cipher(_))));
        run(&["pkey", "-in", "plain.key", "-traditional", "-aes128", "-passout", "pass:xxxx", "-out", "md5.key"]);
        assert!(matches!(parse_key(&read("md5.key"), Some(&password("xxxx"))), Err(KeyError::Cipher(_))));
    }
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let scene = Scene::new();
    let (_, key) = scene.client();
    let secret = password("secret");
    // Few rounds, because each byte is tried.
    let make = ["pkcs8", "-topk8", "-in", "client.key", "-v2", "aes256", "-iter", "9", "-passout", "pass:secret"];
    scene.openssl(&[&make[..], &["-outform", "DER", "-out", "sealed.der"]].concat());
    let sealed = std::fs::read(scene.path("sealed.der")).unwrap();
    let plain = read_key(&key, None).unwrap();
    assert_eq!(parse_key(&sealed, Some(&secret)).unwrap(), plain);
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        // The highest bit left alone: that would only ask for more rounds than anybody has time for.
        changed[at] ^= 0x01;
        assert!(parse_key(&changed, Some(&secret)) != Ok(plain.clone_key()), "byte {at}");
        assert!(parse_key(&sealed[..at], Some(&secret)).is_err(), "cut at {at}");
    }
}

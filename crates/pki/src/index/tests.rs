//! The index of a CA: what is written comes back, OpenSSL reads it, and nobody's change is lost.
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene must stop at that line")]

use super::*;
use crate::testing::{Scene, client_request, der};

fn facts(scene: &Scene, name: &str) -> CertificateFacts {
    let (certificate, _) = scene.issue_at(name, &client_request(name), SystemTime::now());
    CertificateFacts::from_der(&der(&certificate)).unwrap()
}

#[test]
fn what_is_written_comes_back_and_openssl_makes_a_list_of_it() {
    let scene = Scene::new();
    let path = Index::path_beside(&scene.path("ca.pem"));
    let [lost, kept] = ["lost", "kept"].map(|name| facts(&scene, name));
    let at = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    Index::update(&path, |index| {
        assert!(index.is_new());
        index.record(&lost);
        index.record(&kept);
        index.record(&kept);
        assert!(index.revoke(&lost.serial_hex, at, Reason::KeyCompromise));
        assert!(!index.revoke(&lost.serial_hex, at, Reason::Superseded), "the first word counts");
        assert!(!index.revoke("77", at, Reason::Superseded));
        assert_eq!((index.next_crl_number(0), index.next_crl_number(7)), (1, 8));
        Ok::<_, IndexError>(())
    })
    .unwrap();
    let index = Index::read(&path).unwrap();
    assert_eq!((index.entries().len(), index.crl_number, index.is_new()), (2, 8, false));
    assert_eq!(index.find(&lost.serial_hex).unwrap().revoked, Some((at, Reason::KeyCompromise)));
    assert_eq!(index.find(&kept.serial_hex.to_uppercase()).unwrap().subject, "CN=kept");
    assert_eq!(index.last_to_end(SystemTime::now()).unwrap().subject, "CN=kept");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    fs::write(scene.path("cnf"), "[ca]\ndefault_ca=d\n[d]\ndatabase=ca.index\ncrlnumber=n\ndefault_md=sha256\n")
        .unwrap();
    fs::write(scene.path("n"), "09\n").unwrap();
    fs::write(scene.path("ca.key"), scene.authority.key_pem().as_bytes()).unwrap();
    let make = ["ca", "-config", "cnf", "-gencrl", "-crldays", "9", "-cert", "ca.pem", "-keyfile", "ca.key"];
    scene.openssl(&[&make[..], &["-out", "theirs.pem"]].concat());
    let text = scene.openssl(&["crl", "-in", "theirs.pem", "-noout", "-text"]);
    assert!(text.contains(&lost.serial_hex.to_uppercase()) && text.contains("Key Compromise"), "{text}");
    assert!(!text.contains(&kept.serial_hex.to_uppercase()), "{text}");
}

#[test]
fn a_line_that_is_none_is_told_and_nothing_is_written() {
    let scene = Scene::new();
    let path = scene.path("ca.index");
    for text in
        ["V\t300101000000Z\t\t01\tunknown", "X\t300101000000Z\t\t01\tunknown\t/CN=a", "V\tnever\t\t01\tu\t/CN=a"]
    {
        let text = format!("# crl number 3\n{text}\n");
        fs::write(&path, &text).unwrap();
        let refused = Index::update(&path, |_| Ok::<_, IndexError>(()));
        assert!(matches!(refused, Err(IndexError::Line { line: 2, .. })), "{text}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn changes_of_many_are_all_kept() {
    let scene = Scene::new();
    let path = scene.path("ca.index");
    let one = facts(&scene, "one");
    std::thread::scope(|scope| {
        for number in 0..16_u32 {
            let (path, one) = (&path, &one);
            scope.spawn(move || {
                let facts = CertificateFacts { serial_hex: format!("{:02x}", number + 1), ..one.clone() };
                Index::update(path, |index| {
                    index.record(&facts);
                    Ok::<_, IndexError>(())
                })
                .unwrap();
            });
        }
    });
    assert_eq!(Index::read(&path).unwrap().entries().len(), 16);
}

#[test]
fn times_are_those_of_certificates() {
    for (text, seconds) in [("700101000000Z", 0), ("491231235959Z", 2_524_607_999), ("20500101000000Z", 2_524_608_000)]
    {
        assert_eq!(parse_moment(text), Some(UNIX_EPOCH + Duration::from_secs(seconds)), "{text}");
        assert_eq!(moment(UNIX_EPOCH + Duration::from_secs(seconds)), text);
    }
    for text in ["", "Z", "7001010000Z", "701301000000Z", "700101000000", "70010100000éZ"] {
        assert_eq!(parse_moment(text), None, "{text}");
    }
    assert_eq!((normal("00F0"), normal("0x1"), normal("00")), ("f0".into(), "01".into(), "00".into()));
}

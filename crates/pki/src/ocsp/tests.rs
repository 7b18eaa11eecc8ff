//! Answers of OpenSSL's responder, taken and refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene must stop at that line")]

use super::*;
use crate::testing::{DAY, Scene, server_request};
use crate::{Index, IndexError, Reason, write_private};

/// A CA with an index, a server, and what OpenSSL answers about it.
struct Desk {
    scene: Scene,
    chain: Chain,
}

impl Desk {
    fn new() -> Self {
        let scene = Scene::new();
        let (certificate, _) = scene.issue_at("server", &server_request(), SystemTime::now());
        write_private(&scene.path("ca.key"), scene.authority.key_pem().as_bytes()).unwrap();
        let desk = Self { chain: Chain::read(&certificate).unwrap(), scene };
        desk.change(|index| index.record(&desk.chain.facts()));
        desk
    }

    fn change(&self, change: impl FnOnce(&mut Index)) {
        let path = Index::path_beside(&self.scene.path("ca.pem"));
        Index::update(&path, |index| {
            change(index);
            Ok::<_, IndexError>(())
        })
        .unwrap();
    }

    /// The answer to our own question, by this signer.
    fn answer(&self, signer: &str, options: &[&str]) -> Vec<u8> {
        std::fs::write(self.scene.path("question"), question(&self.chain).unwrap()).unwrap();
        let (certificate, key) = (format!("{signer}.pem"), format!("{signer}.key"));
        let ask = ["ocsp", "-index", "ca.index", "-CA", "ca.pem", "-rsigner", &certificate, "-rkey", &key];
        let files = ["-reqin", "question", "-respout", "answer"];
        self.scene.openssl(&[&ask[..], &files, options].concat());
        std::fs::read(self.scene.path("answer")).unwrap()
    }
}

#[test]
fn a_good_answer_is_shown_until_it_ends() {
    let desk = Desk::new();
    let answer = desk.answer("ca", &["-ndays", "4"]);
    let now = SystemTime::now();
    let staple = Staple::verify(&answer, &desk.chain, now).unwrap();
    assert!(staple.is_about(&desk.chain) && staple.counts_at(now));
    let left = staple.refresh_at().duration_since(now).unwrap();
    assert!(left <= DAY * 2 && left > DAY, "{left:?}");
    assert!(!staple.counts_at(now + DAY * 5));
    assert_eq!(Staple::verify(&answer, &desk.chain, now + DAY * 5), Err(StapleError::Time));
    assert_eq!(Staple::verify(&answer, &desk.chain, now - DAY), Err(StapleError::Time));
    assert_eq!(Staple::verify(&desk.answer("ca", &[]), &desk.chain, now), Err(StapleError::Time), "no end is said");
}

#[test]
fn what_is_not_good_or_not_about_it_is_not_shown() {
    let desk = Desk::new();
    let now = SystemTime::now();
    let days = ["-ndays", "4"];
    let serial = desk.chain.facts().serial_hex;
    let other = Desk::new();
    assert_eq!(Staple::verify(&other.answer("ca", &days), &desk.chain, now), Err(StapleError::Signature));
    let (second, _) = desk.scene.issue_at("second", &server_request(), now);
    let second = Chain::read(&second).unwrap();
    assert_eq!(Staple::verify(&desk.answer("ca", &days), &second, now), Err(StapleError::Other));
    desk.change(|index| assert!(index.revoke(&serial, now, Reason::KeyCompromise)));
    assert_eq!(Staple::verify(&desk.answer("ca", &days), &desk.chain, now), Err(StapleError::Revoked));
    std::fs::write(desk.scene.path("ca.index"), "").unwrap();
    assert_eq!(Staple::verify(&desk.answer("ca", &days), &desk.chain, now), Err(StapleError::Unknown));
    // tryLater
    assert_eq!(Staple::verify(&[0x30, 3, 10, 1, 3], &desk.chain, now), Err(StapleError::Responder("try later")));
    let alone = Chain::parse(&desk.chain.leaf_pem()).unwrap();
    assert_eq!(question(&alone), Err(StapleError::NoIssuer));
}

#[test]
fn only_a_delegate_of_the_issuer_may_answer_for_it() {
    let desk = Desk::new();
    let run = |arguments: &[&str]| desk.scene.openssl(arguments);
    for (name, usage) in [("desk", "OCSPSigning"), ("guest", "clientAuth")] {
        let (key, csr, pem) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        std::fs::write(desk.scene.path("ext"), format!("extendedKeyUsage={usage}\n")).unwrap();
        let make = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"];
        run(&[&make[..], &["-keyout", &key, "-out", &csr]].concat());
        let sign = ["x509", "-req", "-in", &csr, "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "9", "-extfile", "ext"];
        run(&[&sign[..], &["-out", &pem]].concat());
    }
    let verify = |signer: &str| {
        let answer = desk.answer(signer, &["-ndays", "4"]);
        Staple::verify(&answer, &desk.chain, SystemTime::now())
    };
    assert!(verify("desk").is_ok());
    assert_eq!(verify("guest"), Err(StapleError::Signature));
}

#[test]
fn any_damage_is_refused_without_a_panic() {
    let desk = Desk::new();
    let answer = desk.answer("ca", &["-ndays", "4", "-resp_no_certs"]);
    let now = SystemTime::now();
    assert!(Staple::verify(&answer, &desk.chain, now).is_ok());
    for at in 0..answer.len() {
        let mut changed = answer.clone();
        changed[at] ^= 0x01;
        assert!(Staple::verify(&changed, &desk.chain, now).is_err(), "byte {at}");
        assert!(Staple::verify(&answer[..at], &desk.chain, now).is_err(), "cut at {at}");
    }
}

#[test]
fn the_responder_is_where_the_certificate_says() {
    let desk = Desk::new();
    assert_eq!(responder_url(&desk.chain), None);
    let scene = &desk.scene;
    std::fs::write(scene.path("ext"), "authorityInfoAccess=OCSP;URI:http://ocsp.example:8080/x\n").unwrap();
    let make = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"];
    scene.openssl(&[&make[..], &["-keyout", "y.key", "-out", "y.csr"]].concat());
    let sign =
        ["x509", "-req", "-in", "y.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-extfile", "ext", "-out", "y.pem"];
    scene.openssl(&sign);
    let chain = Chain::read(&scene.path("y.pem")).unwrap();
    assert_eq!(responder_url(&chain).as_deref(), Some("http://ocsp.example:8080/x"));
}

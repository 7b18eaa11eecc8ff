//! Tokens as issuers and attackers make them: what counts and what does not.
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene must stop at that line")]

use aws_lc_rs::encoding::{AsBigEndian, EcPublicKeyUncompressedBin};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair, RsaPublicKeyComponents};
use serde_json::json;

use super::*;

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8; 64] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const ALL: [JwtAlgorithm; 12] = {
    let mut all = [JwtAlgorithm::EdDsa; 12];
    let mut at = 0;
    while at < 12 {
        all[at] = JwtAlgorithm::NAMES[at].1;
        at += 1;
    }
    all
};

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An issuer with a key of each kind.
struct Issuer {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

impl Issuer {
    fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            p256: EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            p384: EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            ed25519: Ed25519KeyPair::generate().unwrap(),
        }
    }

    fn set(&self) -> Value {
        let rsa = RsaPublicKeyComponents::<Vec<u8>>::from(self.rsa.public_key());
        let point = |pair: &EcdsaKeyPair| {
            let bytes: EcPublicKeyUncompressedBin<'_> = pair.public_key().as_be_bytes().unwrap();
            let half = (bytes.as_ref().len() - 1) / 2;
            (encode(&bytes.as_ref()[1..=half]), encode(&bytes.as_ref()[half + 1..]))
        };
        let ((x2, y2), (x3, y3)) = (point(&self.p256), point(&self.p384));
        json!({ "keys": [
            { "kty": "RSA", "kid": "rsa", "n": encode(rsa.n), "e": encode(rsa.e) },
            { "kty": "EC", "crv": "P-256", "kid": "p256", "x": x2, "y": y2, "use": "sig" },
            { "kty": "EC", "crv": "P-384", "kid": "p384", "x": x3, "y": y3, "alg": "ES384" },
            { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": encode(self.ed25519.public_key()) },
            { "kty": "OKP", "crv": "X25519", "kid": "of another kind", "x": "AAAA" },
            { "kty": "RSA", "kid": "for encryption", "use": "enc", "n": "AAAA", "e": "AQAB" },
        ]})
    }

    fn keys(&self) -> JwtKeys {
        JwtKeys::from_set(self.set().to_string().as_bytes()).unwrap()
    }

    fn sign(&self, algorithm: JwtAlgorithm, message: &[u8]) -> Vec<u8> {
        use JwtAlgorithm as A;
        let random = SystemRandom::new();
        let rsa = |padding: &'static dyn signature::RsaEncoding| {
            let mut bytes = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(padding, &random, message, &mut bytes).unwrap();
            bytes
        };
        let hash = |algorithm| hmac::sign(&hmac::Key::new(algorithm, SECRET), message).as_ref().to_vec();
        match algorithm {
            A::EdDsa => self.ed25519.sign(message).as_ref().to_vec(),
            A::Es256 => self.p256.sign(&random, message).unwrap().as_ref().to_vec(),
            A::Es384 => self.p384.sign(&random, message).unwrap().as_ref().to_vec(),
            A::Hs256 => hash(hmac::HMAC_SHA256),
            A::Hs384 => hash(hmac::HMAC_SHA384),
            A::Hs512 => hash(hmac::HMAC_SHA512),
            A::Ps256 => rsa(&signature::RSA_PSS_SHA256),
            A::Ps384 => rsa(&signature::RSA_PSS_SHA384),
            A::Ps512 => rsa(&signature::RSA_PSS_SHA512),
            A::Rs256 => rsa(&signature::RSA_PKCS1_SHA256),
            A::Rs384 => rsa(&signature::RSA_PKCS1_SHA384),
            A::Rs512 => rsa(&signature::RSA_PKCS1_SHA512),
        }
    }

    fn token(&self, algorithm: JwtAlgorithm, header: &Value, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims));
        let signature = self.sign(algorithm, signed.as_bytes());
        format!("{signed}.{}", encode(signature))
    }
}

fn claims() -> Value {
    json!({ "iss": "https://issuer", "aud": "motte", "sub": "pump", "exp": NOW + 60, "nbf": NOW - 60 })
}

fn expect(algorithms: &[JwtAlgorithm]) -> JwtExpectations<'_> {
    JwtExpectations { algorithms, issuer: "https://issuer", audience: "motte", leeway_s: 0, now: NOW }
}

#[test]
fn every_algorithm_verifies_what_its_key_signed() {
    let issuer = Issuer::new();
    let secret = JwtKeys::from_secret(SECRET, &ALL).unwrap();
    for (name, algorithm) in JwtAlgorithm::NAMES {
        let token = issuer.token(algorithm, &json!({ "alg": name }), &claims().to_string());
        let keys = if algorithm.secret_bytes_min().is_some() { secret.clone() } else { issuer.keys() };
        let verified = verify_jwt(&token, &keys, &expect(&[algorithm])).unwrap();
        assert_eq!((verified.expires_at, &verified.claims["sub"]), (NOW + 60, &json!("pump")), "{name}");
        assert!(keys.hold(verified.key));
        let others: Vec<_> = ALL.into_iter().filter(|other| *other != algorithm).collect();
        assert_eq!(verify_jwt(&token, &keys, &expect(&others)).unwrap_err(), JwtError::Algorithm, "{name}");
        let signature_at = token.rfind('.').unwrap() + 1;
        let flipped = if token[signature_at..].starts_with('A') { "B" } else { "A" };
        let mut forged = token.clone();
        forged.replace_range(signature_at..=signature_at, flipped);
        assert_eq!(verify_jwt(&forged, &keys, &expect(&ALL)).unwrap_err(), JwtError::Signature, "{name}");
    }
}

/// RFC 8037, appendix A.4, with the key of A.2.
#[test]
fn a_signature_of_the_standard_verifies() {
    let set = json!({ "keys": [
        { "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }
    ]});
    let keys = JwtKeys::from_set(set.to_string().as_bytes()).unwrap();
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert!(keys.verify(JwtAlgorithm::EdDsa, None, message, &signature).is_ok());
    assert_eq!(keys.verify(JwtAlgorithm::EdDsa, None, b"x", &signature), Err(JwtError::Signature));
}

#[test]
fn k28_headers_that_choose_their_own_key_are_refused() {
    let issuer = Issuer::new();
    let keys = issuer.keys();
    let own = &issuer.set()["keys"][3];
    for (header, expected) in [
        (json!({ "alg": "EdDSA", "kid": "ed" }), None),
        (json!({ "alg": "EdDSA", "kid": "ed", "typ": "JWT", "x5t": "a fingerprint is no key" }), None),
        (json!({ "alg": "Ed25519", "kid": "ed", "typ": "application/at+jwt" }), None),
        (json!({ "alg": "EdDSA", "kid": "ed", "typ": "logout+jwt" }), Some(JwtError::Header("typ"))),
        (json!({ "alg": "EdDSA", "kid": "other" }), Some(JwtError::UnknownKey)),
        (json!({ "alg": "EdDSA", "kid": "p256" }), Some(JwtError::UnknownKey)),
        (json!({ "alg": "EdDSA", "kid": "ed", "jwk": own }), Some(JwtError::Header("jwk"))),
        (json!({ "alg": "EdDSA", "kid": "ed", "jku": "https://evil" }), Some(JwtError::Header("jku"))),
        (json!({ "alg": "EdDSA", "kid": "ed", "x5u": "https://evil" }), Some(JwtError::Header("x5u"))),
        (json!({ "alg": "EdDSA", "kid": "ed", "x5c": ["AAAA"] }), Some(JwtError::Header("x5c"))),
        (json!({ "alg": "EdDSA", "kid": "ed", "crit": ["b64"] }), Some(JwtError::Header("crit"))),
        (json!({ "alg": "EdDSA", "kid": "ed", "crit": [] }), Some(JwtError::Header("crit"))),
        (json!({ "alg": "EdDSA", "kid": "ed", "b64": false }), Some(JwtError::Header("b64"))),
        (json!({ "alg": "none", "kid": "ed" }), Some(JwtError::Algorithm)),
        (json!({ "alg": "NONE" }), Some(JwtError::Algorithm)),
        (json!({ "alg": "eddsa" }), Some(JwtError::Algorithm)),
        (json!({ "alg": "ES256K" }), Some(JwtError::Algorithm)),
        (json!({ "alg": "" }), Some(JwtError::Algorithm)),
        (json!({ "kid": "ed" }), Some(JwtError::Malformed)),
        (json!({ "alg": ["EdDSA"] }), Some(JwtError::Malformed)),
    ] {
        let token = issuer.token(JwtAlgorithm::EdDsa, &header, &claims().to_string());
        assert_eq!(verify_jwt(&token, &keys, &expect(&ALL)).err(), expected, "{header}");
    }
}

/// The public key as an HMAC secret, and a signature by one key under the name of another.
#[test]
fn k28_a_public_key_is_never_a_secret() {
    let issuer = Issuer::new();
    let keys = issuer.keys();
    let set = issuer.set();
    for (kid, secret) in [("rsa", &set["keys"][0]["n"]), ("ed", &set["keys"][3]["x"])] {
        let signed =
            format!("{}.{}", encode(json!({ "alg": "HS256", "kid": kid }).to_string()), encode(claims().to_string()));
        for secret in
            [secret.as_str().unwrap().as_bytes().to_vec(), URL_SAFE_NO_PAD.decode(secret.as_str().unwrap()).unwrap()]
        {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
            let token = format!("{signed}.{}", encode(tag));
            assert_eq!(verify_jwt(&token, &keys, &expect(&ALL)).unwrap_err(), JwtError::UnknownKey, "{kid}");
        }
    }
    let shared = JwtKeys::from_secret(SECRET, &ALL).unwrap();
    let token = issuer.token(JwtAlgorithm::Rs256, &json!({ "alg": "RS256" }), &claims().to_string());
    assert_eq!(verify_jwt(&token, &shared, &expect(&ALL)).unwrap_err(), JwtError::UnknownKey);
    let crossed = issuer.token(JwtAlgorithm::Ps256, &json!({ "alg": "RS256", "kid": "rsa" }), &claims().to_string());
    assert_eq!(verify_jwt(&crossed, &keys, &expect(&ALL)).unwrap_err(), JwtError::Signature);
    let unsigned =
        format!("{}.{}.", encode(json!({ "alg": "RS256", "kid": "rsa" }).to_string()), encode(claims().to_string()));
    assert_eq!(verify_jwt(&unsigned, &keys, &expect(&ALL)).unwrap_err(), JwtError::Signature);
}

#[test]
fn k28_every_registered_claim_is_required_and_checked() {
    let issuer = Issuer::new();
    let keys = issuer.keys();
    let with = |name: &str, value: Value| {
        let mut all = claims();
        all[name] = value;
        all
    };
    let without = |name: &str| {
        let mut all = claims();
        all.as_object_mut().unwrap().shift_remove(name);
        all
    };
    for (claims, expected) in [
        (claims(), None),
        (with("aud", json!(["other", "motte"])), None),
        (with("exp", json!(NOW as f64 + 1.5)), None),
        (without("exp"), Some(JwtError::Claim("exp"))),
        (without("nbf"), Some(JwtError::Claim("nbf"))),
        (without("iss"), Some(JwtError::Claim("iss"))),
        (without("aud"), Some(JwtError::Claim("aud"))),
        (with("exp", json!("1900000000")), Some(JwtError::Claim("exp"))),
        (with("exp", json!(null)), Some(JwtError::Claim("exp"))),
        (with("exp", json!(-1)), Some(JwtError::Claim("exp"))),
        (with("exp", json!(1e300)), Some(JwtError::Claim("exp"))),
        (with("nbf", json!(true)), Some(JwtError::Claim("nbf"))),
        (with("exp", json!(NOW)), Some(JwtError::Expired)),
        (with("exp", json!(0)), Some(JwtError::Expired)),
        (with("nbf", json!(NOW + 1)), Some(JwtError::NotYet)),
        (with("iss", json!("https://issuer/")), Some(JwtError::Issuer)),
        (with("iss", json!(["https://issuer"])), Some(JwtError::Claim("iss"))),
        (with("aud", json!("motte2")), Some(JwtError::Audience)),
        (with("aud", json!([])), Some(JwtError::Audience)),
        (with("aud", json!([["motte"]])), Some(JwtError::Audience)),
        (with("aud", json!({ "motte": true })), Some(JwtError::Claim("aud"))),
    ] {
        let token = issuer.token(JwtAlgorithm::Es256, &json!({ "alg": "ES256" }), &claims.to_string());
        assert_eq!(verify_jwt(&token, &keys, &expect(&ALL)).err(), expected, "{claims}");
    }
    let late = issuer.token(JwtAlgorithm::Es256, &json!({ "alg": "ES256" }), &with("exp", json!(NOW - 29)).to_string());
    let lenient = JwtExpectations { leeway_s: 30, ..expect(&ALL) };
    assert!(verify_jwt(&late, &keys, &lenient).is_ok());
    assert_eq!(verify_jwt(&late, &keys, &JwtExpectations { leeway_s: 29, ..lenient }).unwrap_err(), JwtError::Expired);
}

#[test]
fn what_is_no_token_is_malformed() {
    let issuer = Issuer::new();
    let keys = issuer.keys();
    let good = issuer.token(JwtAlgorithm::Es256, &json!({ "alg": "ES256" }), &claims().to_string());
    let header = |text: &str| format!("{}{}", encode(text), &good[good.find('.').unwrap()..]);
    for token in [
        String::new(),
        String::from(".."),
        String::from("a.b"),
        format!("{good}.x"),
        format!("{good}="),
        good.replacen('.', "", 1),
        format!(" {good}"),
        format!("{good}\n"),
        header("null"),
        header("[]"),
        header(r#"{"alg":"ES256","alg":"none"}"#),
        header(r#"{"alg":"ES256""#),
        "x".repeat(TOKEN_BYTES_MAX + 1),
        issuer.token(JwtAlgorithm::Es256, &json!({ "alg": "ES256" }), "[1]"),
    ] {
        assert_eq!(verify_jwt(&token, &keys, &expect(&ALL)).unwrap_err(), JwtError::Malformed, "{token:.80}");
    }
}

#[test]
fn sets_with_secrets_or_without_keys_are_refused() {
    let from = |set: Value| JwtKeys::from_set(set.to_string().as_bytes()).map(|_| ());
    let set = Issuer::new().set();
    assert_eq!(from(set.clone()), Ok(()));
    assert!(matches!(from(json!({})), Err(JwtKeysError::Malformed(_))));
    assert_eq!(from(json!({ "keys": [] })), Err(JwtKeysError::NoKey));
    assert_eq!(from(json!({ "keys": [set["keys"][4], set["keys"][5]] })), Err(JwtKeysError::NoKey));
    let mut private = set["keys"][0].clone();
    private["d"] = json!("canary");
    let refused = from(json!({ "keys": [private] })).unwrap_err();
    assert_eq!(refused, JwtKeysError::NotPublic("rsa".into()));
    let shared = json!({ "keys": [{ "kty": "oct", "kid": "s", "k": "canary" }] });
    assert_eq!(from(shared), Err(JwtKeysError::NotPublic("s".into())));
    let weak = json!({ "keys": [{ "kty": "RSA", "n": encode([0xff; 128]), "e": "AQAB" }] });
    assert_eq!(from(weak), Err(JwtKeysError::NoKey), "1024 bits");
    let off = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "x": encode([1; 32]), "y": encode([1; 32]) }] });
    assert_eq!(from(off), Err(JwtKeysError::NoKey), "not on the curve");
    let many: Vec<_> = std::iter::repeat_n(set["keys"][3].clone(), 129).collect();
    assert_eq!(from(json!({ "keys": many })), Err(JwtKeysError::TooMany));
    for (length, algorithm, expected) in [
        (31, JwtAlgorithm::Hs256, Some(JwtKeysError::ShortSecret(32))),
        (32, JwtAlgorithm::Hs256, None),
        (47, JwtAlgorithm::Hs384, Some(JwtKeysError::ShortSecret(48))),
        (63, JwtAlgorithm::Hs512, Some(JwtKeysError::ShortSecret(64))),
    ] {
        assert_eq!(JwtKeys::from_secret(&SECRET[..length], &[algorithm]).err(), expected);
    }
    let shown = format!("{:?}", JwtKeys::from_secret(SECRET, &ALL).unwrap());
    assert!(!shown.contains("48, 49"), "{shown}");
}

/// A key that is no longer in the set no longer counts; which of them it was is known by its mark.
#[test]
fn a_key_is_known_again_by_its_mark() {
    let (before, after) = (Issuer::new(), Issuer::new());
    let token = before.token(JwtAlgorithm::Es256, &json!({ "alg": "ES256", "kid": "p256" }), &claims().to_string());
    let mark = verify_jwt(&token, &before.keys(), &expect(&ALL)).unwrap().key;
    assert!(before.keys().hold(mark) && !after.keys().hold(mark));
    assert_eq!(verify_jwt(&token, &after.keys(), &expect(&ALL)).unwrap_err(), JwtError::Signature);
    // Without a name there must be no choice of keys.
    let mut both = before.set();
    both["keys"].as_array_mut().unwrap().extend(after.set()["keys"].as_array().unwrap().clone());
    let both = JwtKeys::from_set(both.to_string().as_bytes()).unwrap();
    let nameless = before.token(JwtAlgorithm::EdDsa, &json!({ "alg": "EdDSA" }), &claims().to_string());
    assert_eq!(verify_jwt(&nameless, &both, &expect(&ALL)).unwrap_err(), JwtError::UnknownKey);
    assert!(verify_jwt(&token, &both, &expect(&ALL)).is_ok(), "two keys of one name are both tried");
}

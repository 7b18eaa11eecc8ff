//! The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without input or output: the broker's messages in, the
//! client's out.
//!
//! Called by `connect` and by the protocol of a live connection. Never lets a broker choose how little work protects
//! the password or how much work there is, and never succeeds before the broker has proved to have the user's record.

use std::fmt;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::authentication::AuthenticationError;
use crate::config::{MqttConfig, Password};

/// The Authentication Method.
pub(crate) const METHOD: &str = "SCRAM-SHA-256";
/// RFC 7677 asks for 4,096 at least; the most is a second or so of work.
const ITERATIONS: RangeInclusive<u32> = 4_096..=1_000_000;
/// Random bytes in a nonce: 144 bits.
const NONCE_BYTES: usize = 18;
/// No channel binding, and nobody else's authority.
const GS2_HEADER: &str = "n,,";

type Key = [u8; 32];

/// A nonce for one exchange.
pub(crate) fn nonce() -> Result<String, String> {
    let mut bytes = [0; NONCE_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(STANDARD.encode(bytes))
}

/// A user name and a password that SASLprep (RFC 4013) leaves as they are.
#[derive(Clone)]
pub(crate) struct Credentials {
    /// With `=` and `,` escaped.
    user: String,
    password: Password,
}

impl Credentials {
    /// Those of the configuration.
    pub(crate) fn of(config: &MqttConfig) -> Result<Self, AuthenticationError> {
        let wrong = AuthenticationError::Credentials;
        if config.protocol_version != motte_mqtt::ProtocolVersion::V5 {
            return Err(wrong("only MQTT 5 has it"));
        }
        let user = config.user_name.as_deref().ok_or(wrong("there is no user name"))?;
        let password = config.password.clone().ok_or(wrong("there is no password"))?;
        let is_prepared = |text: &[u8]| !text.is_empty() && text.iter().all(|byte| (b' '..=b'~').contains(byte));
        if !is_prepared(user.as_bytes()) || !is_prepared(password.as_bytes()) {
            return Err(wrong("user name and password are printable ASCII there, and not empty"));
        }
        Ok(Self { user: user.replace('=', "=3D").replace(',', "=2C"), password })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// One exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    credentials: Credentials,
    nonce: String,
    /// What the broker has to prove itself by, once it is known.
    expected: Option<Key>,
}

impl Exchange {
    pub(crate) fn new(credentials: Credentials, nonce: String) -> Self {
        Self { credentials, nonce, expected: None }
    }

    pub(crate) fn into_credentials(self) -> Credentials {
        self.credentials
    }

    fn first_bare(&self) -> String {
        format!("n={},r={}", self.credentials.user, self.nonce)
    }

    /// The first message.
    pub(crate) fn first(&self) -> String {
        format!("{GS2_HEADER}{}", self.first_bare())
    }

    /// The last message, which answers the broker's first.
    pub(crate) fn answer(&mut self, server_first: &[u8]) -> Result<String, &'static str> {
        if self.expected.is_some() {
            return Err("it asks twice");
        }
        let server_first = str::from_utf8(server_first).map_err(|_| "its message is not UTF-8")?;
        let question = Question::parse(server_first)?;
        if question.nonce.strip_prefix(&self.nonce).is_none_or(str::is_empty) {
            return Err("its nonce is not made out of ours");
        }
        let mut salted = Zeroizing::new(Key::default());
        let password = self.credentials.password.as_bytes();
        pbkdf2::pbkdf2::<Hmac<Sha256>>(password, &question.salt, question.iterations, &mut *salted)
            .expect("HMAC takes a key of any length");
        let without_proof = format!("c={},r={}", STANDARD.encode(GS2_HEADER), question.nonce);
        let messages = format!("{},{server_first},{without_proof}", self.first_bare());
        let mut proof = Zeroizing::new(sign(&*salted, "Client Key"));
        let signature = sign(&Sha256::digest(*proof), &messages);
        for (byte, other) in proof.iter_mut().zip(signature) {
            *byte ^= other;
        }
        self.expected = Some(sign(&sign(&*salted, "Server Key"), &messages));
        Ok(format!("{without_proof},p={}", STANDARD.encode(*proof)))
    }

    /// Whether the broker's last message proves that it has the user's record.
    pub(crate) fn check(&self, server_final: Option<&[u8]>) -> Result<(), &'static str> {
        let expected = self.expected.ok_or("it asked for no proof and gave none")?;
        let server_final = server_final.ok_or("it gave no proof")?;
        let signature = server_final.strip_prefix(b"v=").ok_or("its last message is not a proof")?;
        let signature = signature.split(|byte| *byte == b',').next().unwrap_or_default();
        let signature = STANDARD.decode(signature).map_err(|_| "its proof is not base64")?;
        if bool::from(signature.as_slice().ct_eq(&expected)) { Ok(()) } else { Err("its proof is wrong") }
    }
}

/// The broker's first message.
struct Question<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> Question<'a> {
    /// Reads `r=nonce,s=salt,i=iterations`; extensions behind are read over.
    fn parse(text: &'a str) -> Result<Self, &'static str> {
        let mut attributes = text.split(',');
        let mut next = |name| attributes.next().and_then(|field| field.strip_prefix(name));
        let wrong = "its question is not r=NONCE,s=SALT,i=ITERATIONS";
        let (nonce, salt, iterations) = (next("r=").ok_or(wrong)?, next("s=").ok_or(wrong)?, next("i=").ok_or(wrong)?);
        let salt = STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty()).ok_or(wrong)?;
        let iterations = iterations.parse().map_err(|_| wrong)?;
        if !ITERATIONS.contains(&iterations) {
            return Err("it asks for less than 4096 iterations, or for more than 1000000");
        }
        Ok(Self { nonce, salt, iterations })
    }
}

fn sign(key: &[u8], message: &str) -> Key {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.chain_update(message).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::{Credentials, Exchange};
    use crate::{Authentication, AuthenticationError, MqttConfig, ProtocolVersion};

    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn config(user: &str, password: &str) -> MqttConfig {
        MqttConfig {
            user_name: Some(user.into()),
            password: Some(password.into()),
            authentication: Authentication::ScramSha256,
            ..MqttConfig::default()
        }
    }

    /// The exchange of RFC 7677 §3.
    fn vector() -> Exchange {
        Exchange::new(Credentials::of(&config("user", "pencil")).unwrap(), "rOprNGfwEbeRWgbNEkqO".into())
    }

    #[test]
    fn the_vector_of_rfc_7677_byte_for_byte() {
        let mut exchange = vector();
        assert_eq!(exchange.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let last = exchange.answer(SERVER_FIRST.as_bytes()).unwrap();
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(last, expected);
        assert_eq!(exchange.check(Some(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")), Ok(()));
        assert_eq!(
            exchange.check(Some(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=")),
            Err("its proof is not base64")
        );
        assert_eq!(exchange.check(Some(b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")), Err("its proof is wrong"));
        assert_eq!(exchange.check(Some(b"v=")), Err("its proof is wrong"));
        assert_eq!(exchange.check(Some(b"e=other-error")), Err("its last message is not a proof"));
        assert_eq!(exchange.check(None), Err("it gave no proof"));
        assert_eq!(exchange.answer(SERVER_FIRST.as_bytes()), Err("it asks twice"));
        assert_eq!(vector().check(Some(b"v=")), Err("it asked for no proof and gave none"));
    }

    #[test]
    fn k43_a_question_that_is_none_is_not_answered() {
        let with = |from: &str, to: &str| vector().answer(SERVER_FIRST.replace(from, to).as_bytes());
        for iterations in ["i=4095", "i=1", "i=0", "i=1000001", "i=4294967296", "i=-1", "i=", "i=4096x", "x=1"] {
            assert!(with("i=4096", iterations).is_err(), "{iterations}");
        }
        assert!(with("r=rOpr", "r=sOpr").is_err() && with("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "").is_err());
        assert!(with("s=W22ZaJ0SNY7soEsUEjb6gQ==", "s=").is_err() && with("gQ==", "gQ").is_err());
        assert!(with("r=", "m=x,r=").is_err() && vector().answer(b"").is_err() && vector().answer(b"\xff").is_err());
    }

    #[test]
    fn what_cannot_be_proved_is_said_before_anybody_is_asked() {
        let error = |config: MqttConfig| Credentials::of(&config).unwrap_err();
        let wrong = AuthenticationError::Credentials;
        let anna = || config("anna", "secret");
        let old = MqttConfig { protocol_version: ProtocolVersion::V311, ..anna() };
        assert_eq!(error(old), wrong("only MQTT 5 has it"));
        assert_eq!(error(MqttConfig { user_name: None, ..anna() }), wrong("there is no user name"));
        assert_eq!(error(MqttConfig { password: None, ..anna() }), wrong("there is no password"));
        for (user, password) in [("m\u{fc}ller", "secret"), ("anna", "gehe\u{ef}m"), ("", "secret"), ("anna", "")] {
            let what = "user name and password are printable ASCII there, and not empty";
            assert_eq!(error(config(user, password)), wrong(what));
        }
        let escaped = Exchange::new(Credentials::of(&config("a=b,c", "x")).unwrap(), "r".into());
        assert_eq!(escaped.first(), "n,,n=a=3Db=2Cc,r=r");
        assert!(!format!("{:?}", Credentials::of(&anna()).unwrap()).contains("secret"));
    }
}

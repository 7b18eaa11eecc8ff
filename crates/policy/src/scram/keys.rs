//! What is kept of a password: salt, iterations and two keys, from which neither the password nor a proof follows.
//!
//! Called by the password file and the exchange. Parsing is strict, so that each record has one spelling.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::password::{Fingerprint, SALT_BYTES};

/// Iterations of a new record. RFC 7677 asks for 4,096 at least and recommends 15,000 and more. They are the client's
/// work at every connection, which a small device has to do within the gate's deadline; a stolen file is as slow to
/// guess from, so that short passwords are better kept as argon2id only.
pub const ITERATIONS_NEW: u32 = 20_000;
/// The least of RFC 7677 §4.
const ITERATIONS_MIN: u32 = 4_096;
/// What a client can be asked for.
const ITERATIONS_MAX: u32 = 1_000_000;
const KEY_BYTES: usize = 32;

pub(crate) type Key = [u8; KEY_BYTES];

/// The record of one password (RFC 5802 §3): whoever reads it can pose as the server and guess passwords, but cannot
/// log in.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    pub(super) iterations: u32,
    pub(super) salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

impl ScramKeys {
    /// How a record in a password file begins.
    pub(crate) const PREFIX: &str = "$scram-sha-256$";

    /// Derives the record of a password with [`ITERATIONS_NEW`]. The error says why the password cannot be used:
    /// SASLprep (RFC 4013), which leaves printable ASCII as it is, is not implemented for anything else.
    pub fn new(password: &[u8], salt: [u8; SALT_BYTES]) -> Result<Self, &'static str> {
        Self::derive(password, &salt, ITERATIONS_NEW)
    }

    pub(super) fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Result<Self, &'static str> {
        if password.is_empty() || !is_prepared(password) {
            return Err("a password for SCRAM has printable ASCII characters only, and one at least");
        }
        let mut salted = Zeroizing::new([0; KEY_BYTES]);
        pbkdf2::pbkdf2::<Hmac<Sha256>>(password, salt, iterations, &mut *salted)
            .expect("HMAC takes a key of any length");
        let client_key = Zeroizing::new(sign(&*salted, b"Client Key"));
        let stored_key = Sha256::digest(*client_key).into();
        Ok(Self { iterations, salt: salt.to_vec(), stored_key, server_key: sign(&*salted, b"Server Key") })
    }

    /// Whether this is the record of `password`, compared in constant time.
    #[must_use]
    pub fn is_of(&self, password: &[u8]) -> bool {
        Self::derive(password, &self.salt, self.iterations)
            .is_ok_and(|other| bool::from(other.stored_key.ct_eq(&self.stored_key)))
    }

    /// Tells it apart from others.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.stored_key)
    }

    /// A record nobody has a password for.
    pub(super) fn of_nobody(iterations: u32, salt: Vec<u8>) -> Self {
        Self { iterations, salt, stored_key: [0; KEY_BYTES], server_key: [0; KEY_BYTES] }
    }

    /// Parses `$scram-sha-256$iterations$salt$StoredKey$ServerKey`, the last three in padded base64. The error holds
    /// nothing of the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = text.strip_prefix(Self::PREFIX).ok_or("the record is not in the scheme scram-sha-256")?;
        let fields: Vec<&str> = rest.split('$').collect();
        let &[iterations, salt, stored_key, server_key] = fields.as_slice() else {
            return Err("the SCRAM record has too many or too few parts");
        };
        let plain = iterations.bytes().all(|byte| byte.is_ascii_digit()) && !iterations.starts_with('0');
        let iterations = iterations.parse().ok().filter(|_| plain);
        let iterations = iterations
            .filter(|count| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(count))
            .ok_or("the iterations of the SCRAM record are not a number from 4096 to 1000000")?;
        let bytes = |field: &str| STANDARD.decode(field).map_err(|_| "the SCRAM record is not base64");
        let key = |field: &str| Key::try_from(bytes(field)?).map_err(|_| "a key of the SCRAM record has not 32 bytes");
        let salt = bytes(salt)?;
        if !(8..=64).contains(&salt.len()) {
            return Err("the salt of the SCRAM record has not 8 to 64 bytes");
        }
        Ok(Self { iterations, salt, stored_key: key(stored_key)?, server_key: key(server_key)? })
    }

    /// The text that stands in the file and that [`ScramKeys::parse`] reads.
    #[must_use]
    pub fn encode(&self) -> String {
        let [salt, stored_key, server_key] =
            [self.salt.as_slice(), &self.stored_key, &self.server_key].map(|bytes| STANDARD.encode(bytes));
        format!("{}{}${salt}${stored_key}${server_key}", Self::PREFIX, self.iterations)
    }

    /// Whether `proof` is the client's over `auth_message`, compared in constant time (RFC 5802 §3).
    pub(super) fn proves(&self, proof: &Key, auth_message: &[u8]) -> Choice {
        let mut client_key = Zeroizing::new(sign(&self.stored_key, auth_message));
        for (byte, other) in client_key.iter_mut().zip(proof) {
            *byte ^= other;
        }
        Sha256::digest(*client_key).as_slice().ct_eq(&self.stored_key)
    }

    /// What the server proves itself with.
    pub(super) fn server_signature(&self, auth_message: &[u8]) -> Key {
        sign(&self.server_key, auth_message)
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramKeys").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// HMAC-SHA-256.
pub(super) fn sign(key: &[u8], message: &[u8]) -> Key {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.chain_update(message).finalize().into_bytes().into()
}

/// Whether SASLprep (RFC 4013) leaves the text as it is, for certain: printable ASCII.
pub(crate) fn is_prepared(text: &[u8]) -> bool {
    text.iter().all(|byte| (b' '..=b'~').contains(byte))
}

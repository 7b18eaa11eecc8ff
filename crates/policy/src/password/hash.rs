//! One hash of a password: its three encodings, and the work of checking it.
//!
//! Called by `PasswordFile`. Parsing is strict and bounds the work, so that a hostile file cannot make one login take
//! minutes or the memory of the machine.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::Hmac;
use sha2::{Digest, Sha512};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::{Fingerprint, SALT_BYTES};

/// OWASP's and RFC 9106's advice for a server that checks many logins: 19 MiB, two passes, one lane.
const NEW: Scheme = Scheme::Argon2id { m_kib: 19_456, t: 2, p: 1 };
const NEW_DIGEST_BYTES: usize = 32;

const ARGON2_M_KIB_MAX: u32 = 1 << 20;
const ARGON2_T_MAX: u32 = 64;
const ARGON2_P_MAX: u32 = 16;
const PBKDF2_ITERATIONS_MAX: u32 = 10_000_000;
const SHA512_BYTES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scheme {
    /// RFC 9106: memory in KiB, passes, lanes.
    Argon2id { m_kib: u32, t: u32, p: u32 },
    /// Mosquitto's `$7$`: PBKDF2 with HMAC-SHA-512 (RFC 8018).
    Pbkdf2 { iterations: u32 },
    /// Mosquitto's `$6$`: SHA-512 of the password and then the salt, once.
    Sha512,
}

/// One hash, parsed. Two are equal when their scheme, parameters, salt and digest are.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    pub(super) scheme: Scheme,
    salt: Vec<u8>,
    digest: Vec<u8>,
}

impl PasswordHash {
    /// Hashes a password with argon2id (RFC 9106, 19 MiB, two passes, one lane).
    #[must_use]
    pub fn new(password: &[u8], salt: [u8; SALT_BYTES]) -> Self {
        let digest =
            derive(NEW, password, &salt, NEW_DIGEST_BYTES).expect("these parameters are within argon2's limits");
        Self { scheme: NEW, salt: salt.to_vec(), digest: digest.to_vec() }
    }

    /// Parses `$argon2id$v=19$m=…,t=…,p=…$salt$hash`, `$7$iterations$salt$hash` or `$6$salt$hash`. The error says
    /// what is wrong and holds nothing of the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut fields = text.split('$');
        if text.is_empty() {
            return Err("the hash is empty");
        }
        if fields.next() != Some("") {
            return Err("the password is in clear text or in an unknown scheme; set it again");
        }
        let scheme = fields.next();
        let rest: Vec<&str> = fields.collect();
        match (scheme, rest.as_slice()) {
            (Some("argon2id"), &[version, params, salt, digest]) => argon2id(version, params, salt, digest),
            (Some("7"), &[iterations, salt, digest]) => pbkdf2_sha512(iterations, salt, digest),
            (Some("6"), &[salt, digest]) => mosquitto(Scheme::Sha512, salt, digest),
            (Some("argon2id" | "7" | "6"), _) => Err("the hash has too many or too few parts"),
            _ => Err("the hash is in an unknown scheme; argon2id, 7 and 6 are known"),
        }
    }

    /// The text that stands in the file and that [`PasswordHash::parse`] reads.
    #[must_use]
    pub fn encode(&self) -> String {
        match self.scheme {
            Scheme::Argon2id { m_kib, t, p } => {
                let (salt, digest) = (STANDARD_NO_PAD.encode(&self.salt), STANDARD_NO_PAD.encode(&self.digest));
                format!("$argon2id$v=19$m={m_kib},t={t},p={p}${salt}${digest}")
            }
            Scheme::Pbkdf2 { iterations } => {
                format!("$7${iterations}${}${}", STANDARD.encode(&self.salt), STANDARD.encode(&self.digest))
            }
            Scheme::Sha512 => format!("$6${}${}", STANDARD.encode(&self.salt), STANDARD.encode(&self.digest)),
        }
    }

    /// The scheme, for a table: `argon2id`, `sha512-pbkdf2` or `sha512`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match self.scheme {
            Scheme::Argon2id { .. } => "argon2id",
            Scheme::Pbkdf2 { .. } => "sha512-pbkdf2",
            Scheme::Sha512 => "sha512",
        }
    }

    /// Tells it apart from others.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.digest)
    }

    /// Whether it is easier to guess from than a new one would be.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        let Scheme::Argon2id { m_kib: least, t: passes, .. } = NEW else { return true };
        match self.scheme {
            // What a guess costs is the memory it fills, over and over.
            Scheme::Argon2id { m_kib, t, .. } => u64::from(m_kib) * u64::from(t) < u64::from(least) * u64::from(passes),
            Scheme::Pbkdf2 { .. } | Scheme::Sha512 => true,
        }
    }

    /// Whether the password has this hash, compared in constant time.
    pub(crate) fn matches(&self, password: &[u8]) -> Choice {
        match derive(self.scheme, password, &self.salt, self.digest.len()) {
            Some(derived) => derived.ct_eq(self.digest.as_slice()),
            None => Choice::from(0),
        }
    }

    pub(crate) fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// What an unknown user is checked against where nobody is known: the work of a new hash.
    pub(crate) fn nobody() -> Self {
        Self { scheme: NEW, salt: vec![0; SALT_BYTES], digest: vec![0; NEW_DIGEST_BYTES] }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHash").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

/// The digest of a password; nothing where the machine has not the memory for it.
fn derive(scheme: Scheme, password: &[u8], salt: &[u8], digest_bytes: usize) -> Option<Zeroizing<Vec<u8>>> {
    let mut digest = Zeroizing::new(vec![0; digest_bytes]);
    match scheme {
        Scheme::Argon2id { m_kib, t, p } => {
            let params = Params::new(m_kib, t, p, Some(digest_bytes)).ok()?;
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            argon2.hash_password_into(password, salt, &mut digest).ok()?;
        }
        Scheme::Pbkdf2 { iterations } => {
            pbkdf2::pbkdf2::<Hmac<Sha512>>(password, salt, iterations, &mut digest).ok()?
        }
        Scheme::Sha512 => {
            let whole = Sha512::new().chain_update(password).chain_update(salt).finalize();
            digest.copy_from_slice(whole.get(..digest_bytes)?);
        }
    }
    Some(digest)
}

fn argon2id(version: &str, params: &str, salt: &str, digest: &str) -> Result<PasswordHash, &'static str> {
    const UNREADABLE: &str = "the parameters of the argon2id hash are not m=…,t=…,p=…";
    if version != "v=19" {
        return Err("the argon2id hash is not of version 19");
    }
    let mut named = params.split(',');
    let mut next = |name| named.next().and_then(|field| field.strip_prefix(name)).and_then(decimal).ok_or(UNREADABLE);
    let (m_kib, t, p) = (next("m=")?, next("t=")?, next("p=")?);
    if named.next().is_some() {
        return Err(UNREADABLE);
    }
    let bounded = m_kib <= ARGON2_M_KIB_MAX && (1..=ARGON2_T_MAX).contains(&t) && (1..=ARGON2_P_MAX).contains(&p);
    if !bounded || m_kib < 8 * p {
        return Err("the argon2id hash asks for more than 1 GiB, 64 passes or 16 lanes, or for less than can be");
    }
    let salt = STANDARD_NO_PAD.decode(salt).map_err(|_| "the salt of the hash is not base64")?;
    let digest = STANDARD_NO_PAD.decode(digest).map_err(|_| "the hash is not base64")?;
    if !(8..=64).contains(&salt.len()) || !(16..=64).contains(&digest.len()) {
        return Err("the argon2id hash needs a salt of 8 to 64 bytes and a digest of 16 to 64");
    }
    Ok(PasswordHash { scheme: Scheme::Argon2id { m_kib, t, p }, salt, digest })
}

fn pbkdf2_sha512(iterations: &str, salt: &str, digest: &str) -> Result<PasswordHash, &'static str> {
    match decimal(iterations) {
        Some(iterations @ 1..=PBKDF2_ITERATIONS_MAX) => mosquitto(Scheme::Pbkdf2 { iterations }, salt, digest),
        _ => Err("the iterations of the hash are not a number from 1 to 10000000"),
    }
}

/// Both of Mosquitto's own encodings: padded base64, a salt of 12 bytes (to 2.0) or 64 (from 2.1), a digest of 64.
fn mosquitto(scheme: Scheme, salt: &str, digest: &str) -> Result<PasswordHash, &'static str> {
    let salt = STANDARD.decode(salt).map_err(|_| "the salt of the hash is not base64")?;
    let digest = STANDARD.decode(digest).map_err(|_| "the hash is not base64")?;
    if !matches!(salt.len(), 12 | 64) || digest.len() != SHA512_BYTES {
        return Err("the hash needs a salt of 12 or 64 bytes and a digest of 64");
    }
    Ok(PasswordHash { scheme, salt, digest })
}

/// A number in plain digits with no zero before it, so that every hash has one spelling.
fn decimal(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

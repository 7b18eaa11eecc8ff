//! The keys that tokens are checked with: public ones out of a JWK set (RFC 7517), or one shared secret.
//! A set holds one kind or the other, never both: a public key can never be taken for a secret.

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{JwtAlgorithm, JwtError};

/// More than any issuer has in use.
const KEYS_MAX: usize = 128;

/// Which key of a set it was; says nothing of the key to who does not have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyMark([u8; 32]);

impl KeyMark {
    /// The mark as bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// The mark that was these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// Keys of one kind.
#[derive(Clone, Debug)]
pub struct JwtKeys(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Public(Vec<PublicKey>),
    Secret(SharedSecret),
}

#[derive(Clone)]
struct SharedSecret(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedSecret(…)")
    }
}

#[derive(Clone, Debug)]
struct PublicKey {
    id: Option<String>,
    /// The one algorithm it is for, where the set says so.
    algorithm: Option<JwtAlgorithm>,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    Ed25519(Vec<u8>),
    P256(Vec<u8>),
    P384(Vec<u8>),
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
}

/// Why there are no keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtKeysError {
    /// Not JSON with a list `keys`.
    #[error("it is no JWK set: {0}")]
    Malformed(String),
    /// The set holds a private or a shared key.
    #[error("it holds a key that is not public (kid {0:?})")]
    NotPublic(String),
    /// No key of a kind that is understood.
    #[error("it holds no key for signatures that could be used")]
    NoKey,
    /// More keys than any issuer has.
    #[error("it holds more than {KEYS_MAX} keys")]
    TooMany,
    /// A secret that can be guessed.
    #[error("the secret is shorter than the {0} bytes that the algorithm needs")]
    ShortSecret(usize),
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

/// What is looked at in a key. Secret parts are only looked for.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<Value>,
    k: Option<Value>,
}

impl JwtKeys {
    /// The public keys of a JWK set. Keys of other kinds and for other uses are passed over, as the standard asks; a
    /// private or shared key in it was published by mistake and makes the whole set wrong.
    ///
    /// # Errors
    /// It is none, or has no key that could be used.
    pub fn from_set(json: &[u8]) -> Result<Self, JwtKeysError> {
        let set: JwkSet = serde_json::from_slice(json).map_err(|error| {
            // The place only: the text around it could hold a key.
            JwtKeysError::Malformed(format!("line {} column {}", error.line(), error.column()))
        })?;
        if set.keys.len() > KEYS_MAX {
            return Err(JwtKeysError::TooMany);
        }
        if let Some(key) = set.keys.iter().find(|key| key.kty == "oct" || key.d.is_some() || key.k.is_some()) {
            return Err(JwtKeysError::NotPublic(crate::text::printable(key.kid.as_deref().unwrap_or_default())));
        }
        let keys: Vec<_> = set.keys.into_iter().filter_map(Jwk::into_key).collect();
        if keys.is_empty() { Err(JwtKeysError::NoKey) } else { Ok(Self(Kind::Public(keys))) }
    }

    /// One shared secret for these algorithms.
    ///
    /// # Errors
    /// It is too short for one of them.
    pub fn from_secret(secret: &[u8], algorithms: &[JwtAlgorithm]) -> Result<Self, JwtKeysError> {
        let least = algorithms.iter().filter_map(|algorithm| algorithm.secret_bytes_min()).max().unwrap_or(32);
        if secret.len() < least {
            return Err(JwtKeysError::ShortSecret(least));
        }
        Ok(Self(Kind::Secret(SharedSecret(Zeroizing::new(secret.to_vec())))))
    }

    /// Whether a key that verified a token is still here.
    #[must_use]
    pub fn hold(&self, mark: KeyMark) -> bool {
        match &self.0 {
            Kind::Public(keys) => keys.iter().any(|key| key.material.mark() == mark),
            Kind::Secret(secret) => secret.mark() == mark,
        }
    }

    /// Checks a signature with the key that the token names, or with the only one that it could be.
    pub(super) fn verify(
        &self,
        algorithm: JwtAlgorithm,
        id: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<KeyMark, JwtError> {
        let keys = match &self.0 {
            // A shared secret is the only key there is; its name says nothing.
            Kind::Secret(secret) => return secret.verify(algorithm, message, signature),
            Kind::Public(keys) => keys,
        };
        let fits = |key: &&PublicKey| {
            let named = id.is_none_or(|id| key.id.as_deref() == Some(id));
            named && key.algorithm.is_none_or(|only| only == algorithm) && key.material.is_for(algorithm)
        };
        let candidates: Vec<_> = keys.iter().filter(fits).collect();
        if candidates.is_empty() || id.is_none() && candidates.len() > 1 {
            return Err(JwtError::UnknownKey);
        }
        let by = candidates.into_iter().find(|key| key.material.verify(algorithm, message, signature));
        by.map(|key| key.material.mark()).ok_or(JwtError::Signature)
    }
}

impl SharedSecret {
    fn verify(&self, algorithm: JwtAlgorithm, message: &[u8], signature: &[u8]) -> Result<KeyMark, JwtError> {
        let hash = match algorithm {
            JwtAlgorithm::Hs256 => hmac::HMAC_SHA256,
            JwtAlgorithm::Hs384 => hmac::HMAC_SHA384,
            JwtAlgorithm::Hs512 => hmac::HMAC_SHA512,
            _ => return Err(JwtError::UnknownKey),
        };
        let tag = hmac::sign(&hmac::Key::new(hash, &self.0), message);
        constant_time::verify_slices_are_equal(tag.as_ref(), signature).map_err(|_| JwtError::Signature)?;
        Ok(self.mark())
    }

    fn mark(&self) -> KeyMark {
        mark(&[b"secret", &self.0])
    }
}

impl Jwk {
    /// The key, if it is of a kind that is understood and for signatures.
    fn into_key(self) -> Option<PublicKey> {
        let is_for_signatures = self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(|all| all.iter().any(|operation| operation == "verify"));
        let algorithm = self.alg.as_deref().map(JwtAlgorithm::from_name);
        if !is_for_signatures || algorithm == Some(None) {
            return None;
        }
        let part = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        let material = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => Material::Rsa { modulus: part(&self.n)?, exponent: part(&self.e)? },
            ("EC", Some("P-256")) => Material::P256(point(&part(&self.x)?, &part(&self.y)?, 32)?),
            ("EC", Some("P-384")) => Material::P384(point(&part(&self.x)?, &part(&self.y)?, 48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(part(&self.x)?),
            _ => return None,
        };
        material.is_sound().then_some(PublicKey { id: self.kid, algorithm: algorithm.flatten(), material })
    }
}

/// A point on a curve, uncompressed (SEC 1, 2.3.3).
fn point(x: &[u8], y: &[u8], length: usize) -> Option<Vec<u8>> {
    (x.len() == length && y.len() == length).then(|| [&[4], x, y].concat())
}

impl Material {
    /// Whether it is a key that can verify at all: a point on its curve, a modulus of 2048 to 8192 bits.
    fn is_sound(&self) -> bool {
        match self {
            Self::Ed25519(key) => ParsedPublicKey::new(&signature::ED25519, key).is_ok(),
            Self::P256(key) => ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, key).is_ok(),
            Self::P384(key) => ParsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, key).is_ok(),
            Self::Rsa { modulus, .. } => {
                let length = modulus.iter().skip_while(|byte| **byte == 0).count();
                (256..=1024).contains(&length)
            }
        }
    }

    fn is_for(&self, algorithm: JwtAlgorithm) -> bool {
        use JwtAlgorithm::{EdDsa, Es256, Es384};
        match self {
            Self::Ed25519(_) => algorithm == EdDsa,
            Self::P256(_) => algorithm == Es256,
            Self::P384(_) => algorithm == Es384,
            Self::Rsa { .. } => rsa(algorithm).is_some(),
        }
    }

    fn verify(&self, algorithm: JwtAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        let outcome = match self {
            Self::Ed25519(key) => UnparsedPublicKey::new(&signature::ED25519, key).verify(message, signature),
            Self::P256(key) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, key).verify(message, signature)
            }
            Self::P384(key) => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, key).verify(message, signature)
            }
            Self::Rsa { modulus, exponent } => {
                let Some(parameters) = rsa(algorithm) else { return false };
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(parameters, message, signature)
            }
        };
        self.is_for(algorithm) && outcome.is_ok()
    }

    fn mark(&self) -> KeyMark {
        match self {
            Self::Ed25519(key) => mark(&[b"ed25519", key]),
            Self::P256(key) => mark(&[b"p256", key]),
            Self::P384(key) => mark(&[b"p384", key]),
            Self::Rsa { modulus, exponent } => mark(&[b"rsa", modulus, b"/", exponent]),
        }
    }
}

fn rsa(algorithm: JwtAlgorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        JwtAlgorithm::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        JwtAlgorithm::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        JwtAlgorithm::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        JwtAlgorithm::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        JwtAlgorithm::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        JwtAlgorithm::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        _ => None,
    }
}

fn mark(parts: &[&[u8]]) -> KeyMark {
    let mut hash = Context::new(&SHA256);
    parts.iter().for_each(|part| hash.update(part));
    KeyMark(hash.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes"))
}

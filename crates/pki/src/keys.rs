//! Private keys: read in every form, with a password or without, and written under a password (PKCS#8, RFC 5958).
//! Called by whatever reads or writes a key. Keeps keys and passwords in memory that is wiped, and shows neither.

use std::fmt;
use std::path::Path;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::{rsa, signature};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::files;
use crate::pem;
use crate::trouble::TlsFileError;

pub(crate) mod pbes2;

/// What a key is protected by.
#[derive(Clone)]
pub struct KeyPassword(Zeroizing<Vec<u8>>);

impl KeyPassword {
    /// The bytes as they are.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The first line of a file that only its owner can read.
    pub fn from_file(path: &Path) -> Result<Self, TlsFileError> {
        let bytes = files::read_private(path)?;
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Ok(Self(Zeroizing::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec())))
    }

    /// How many bytes it has.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks whether it is empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeyPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPassword(…)")
    }
}

impl PartialEq for KeyPassword {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyPassword {}

/// Why bytes are no key that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There are no PEM markers in it, and it is no key in DER.
    #[error("it is neither PEM nor a key in DER")]
    NotPem,
    /// There is none in it.
    #[error("there is no private key in it")]
    NoKey,
    /// It is protected, and no password is given.
    #[error("it is protected by a password")]
    Encrypted,
    /// The password is another one.
    #[error("the password is wrong")]
    Password,
    /// It is protected in a way that is not read.
    #[error("it is protected by {0}, which is not read")]
    Cipher(String),
    /// The key is that of another certificate.
    #[error("it does not belong to the certificate")]
    Foreign,
    /// Damaged, or of a kind that is not supported.
    #[error("it is damaged, or of a kind that is not supported")]
    Damaged,
}

const PROTECTED: &str = "ENCRYPTED PRIVATE KEY";

/// Reads a key: PKCS#8 with or without a password, SEC1 or PKCS#1; PEM or DER.
pub fn parse_key(bytes: &[u8], password: Option<&KeyPassword>) -> Result<PrivateKeyDer<'static>, KeyError> {
    if !pem::holds_pem(bytes) {
        if let Ok(key) = PrivateKeyDer::try_from(bytes) {
            return Ok(key.clone_key());
        }
        return match pbes2::is_protected(bytes) {
            true => opened(bytes, password),
            false => Err(KeyError::NotPem),
        };
    }
    if let Some(protected) = pem::section(bytes, PROTECTED) {
        return opened(&protected.ok_or(KeyError::Damaged)?, password);
    }
    if pem::contains(bytes, b"Proc-Type: 4,ENCRYPTED") {
        return Err(KeyError::Cipher(String::from("OpenSSL's old form, derived with MD5")));
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|_| KeyError::NoKey)
}

/// Reads the key of a file that only its owner can read.
pub fn read_key(path: &Path, password: Option<&KeyPassword>) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let bytes = files::read_private(path)?;
    parse_key(&bytes, password).map_err(|error| {
        let path = path.to_owned();
        match error {
            KeyError::NotPem => TlsFileError::NotPem { path },
            KeyError::NoKey => TlsFileError::NoKey { path },
            KeyError::Encrypted => TlsFileError::KeyEncrypted { path },
            KeyError::Password => TlsFileError::KeyPassword { path },
            KeyError::Cipher(how) => TlsFileError::KeyCipher { path, how },
            KeyError::Damaged | KeyError::Foreign => TlsFileError::UnsupportedKey { path },
        }
    })
}

/// Whether a key is protected by a password.
pub fn is_protected(bytes: &[u8]) -> bool {
    pem::contains(bytes, PROTECTED.as_bytes()) || !pem::holds_pem(bytes) && pbes2::is_protected(bytes)
}

/// The key in PKCS#8, PEM, protected by the password if there is one.
pub fn key_pem(key: &PrivateKeyDer<'_>, password: Option<&KeyPassword>) -> Result<Zeroizing<String>, KeyError> {
    let plain = pkcs8(key)?;
    Ok(Zeroizing::new(match password {
        Some(password) => pem::encode(PROTECTED, &pbes2::protect(&plain, password.bytes())?),
        None => pem::encode("PRIVATE KEY", &plain),
    }))
}

/// The SubjectPublicKeyInfo of a key, DER.
pub(crate) fn public_key(key: &PrivateKeyDer<'_>) -> Option<Vec<u8>> {
    let pair = rcgen::KeyPair::try_from(key).ok()?;
    Some(rcgen::PublicKeyData::subject_public_key_info(&pair))
}

/// A key in PKCS#8, DER.
pub(crate) fn pkcs8(key: &PrivateKeyDer<'_>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    match key {
        PrivateKeyDer::Pkcs8(key) => Ok(Zeroizing::new(key.secret_pkcs8_der().to_vec())),
        PrivateKeyDer::Sec1(key) => {
            let curves = [
                &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
                &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
                &signature::ECDSA_P521_SHA512_ASN1_SIGNING,
            ];
            let der = key.secret_sec1_der();
            let pair =
                curves.into_iter().find_map(|curve| signature::EcdsaKeyPair::from_private_key_der(curve, der).ok());
            let document = pair.and_then(|pair| pair.to_pkcs8v1().ok()).ok_or(KeyError::Damaged)?;
            Ok(Zeroizing::new(document.as_ref().to_vec()))
        }
        PrivateKeyDer::Pkcs1(key) => {
            let pair = rsa::KeyPair::from_der(key.secret_pkcs1_der()).map_err(|_| KeyError::Damaged)?;
            let document = pair.as_der().map_err(|_| KeyError::Damaged)?;
            Ok(Zeroizing::new(document.as_ref().to_vec()))
        }
        _ => Err(KeyError::Damaged),
    }
}

fn opened(protected: &[u8], password: Option<&KeyPassword>) -> Result<PrivateKeyDer<'static>, KeyError> {
    let password = password.ok_or(KeyError::Encrypted)?;
    let plain = pbes2::open(protected, password.bytes())?;
    // With a wrong password the padding is right by chance once in 256 times.
    PrivateKeyDer::try_from(plain.as_slice()).map(|key| key.clone_key()).map_err(|_| KeyError::Password)
}

/// Decodes base64 that may be broken into lines.
pub(crate) fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let dense: Zeroizing<Vec<u8>> =
        Zeroizing::new(text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect());
    BASE64_STANDARD.decode(&*dense).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests;

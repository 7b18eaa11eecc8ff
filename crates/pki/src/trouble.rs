//! Turns what went wrong with TLS into one sentence on what it is and one on what to do.
//! Called by `client`, `node` and the command line. Never shows peer text unescaped and never suggests to turn
//! verification off.

use std::io;
use std::path::{Path, PathBuf};

use crate::text::printable;

mod handshake;

pub use handshake::{explain_client_refusal, explain_handshake, explain_handshake_io};

/// A problem for a user: `error: {what}` and `hint: {hint}`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Trouble {
    /// What is wrong, one sentence, lower case, no full stop.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl Trouble {
    pub(crate) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

/// Why a TLS configuration could not be built from the files it names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFileError {
    /// The file holds something in PEM markers that is no certificate.
    #[error("{} holds a certificate that is damaged", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A revocation list that cannot be used.
    #[error("{} holds no usable revocation list: {why}", path.display())]
    BadCrl {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A revocation list of a CA that nobody named.
    #[error("{} holds a revocation list of {issuer}, which is none of the CAs that count", path.display())]
    CrlIssuer {
        /// The file.
        path: PathBuf,
        /// Whose list it is.
        issuer: String,
    },
    /// A CA without a revocation list, where lists are in use.
    #[error("no revocation list is of {issuer} in {}, so all its clients would be refused", path.display())]
    CrlMissing {
        /// The file with the CA.
        path: PathBuf,
        /// The CA.
        issuer: String,
    },
    /// A revocation list that is not by whom it says.
    #[error("the revocation list of {issuer} in {} is not signed by that CA", path.display())]
    CrlSignature {
        /// The file.
        path: PathBuf,
        /// Whose list it claims to be.
        issuer: String,
    },
    /// rustls refused the parts for a reason that has no sentence of its own.
    #[error("TLS cannot be set up: {reason}")]
    Configuration {
        /// rustls's own words.
        reason: String,
    },
    /// A key that others can read.
    #[error("{} holds a private key that other users can read (mode {mode:o})", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Key and certificate are of different pairs.
    #[error("the key {} does not belong to the certificate {}", key.display(), certificate.display())]
    KeyDoesNotMatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The key has a passphrase.
    #[error("the key {} is protected by a password", path.display())]
    KeyEncrypted {
        /// The file.
        path: PathBuf,
    },
    /// The password of a key is another one.
    #[error("the password of the key {} is wrong", path.display())]
    KeyPassword {
        /// The file.
        path: PathBuf,
    },
    /// A key is protected in a way that is not read.
    #[error("the key {} is protected by {how}, which is not read", path.display())]
    KeyCipher {
        /// The file.
        path: PathBuf,
        /// In which way.
        how: String,
    },
    /// A PEM file without a certificate.
    #[error("{} holds no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file without a revocation list.
    #[error("{} holds no revocation list", path.display())]
    NoCrl {
        /// The file.
        path: PathBuf,
    },
    /// Client certificates are asked for, and no CA to check them with is named.
    #[error("client certificates are asked for, but no CA is named to check them with")]
    NoClientAuthority,
    /// A PEM file without a private key.
    #[error("{} holds no private key", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The operating system's trust store is empty or missing.
    #[error("this system has no list of trusted CAs")]
    NoSystemRoots,
    /// A certificate that was given as a CA and is none.
    #[error("{} holds a certificate that is not a CA's", path.display())]
    NotAuthority {
        /// The file.
        path: PathBuf,
    },
    /// A directory, a pipe or a device.
    #[error("{} is not a file", path.display())]
    NotFile {
        /// The path.
        path: PathBuf,
    },
    /// There is nothing at the path.
    #[error("{} does not exist", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// No PEM markers in it.
    #[error("{} is not a PEM file", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
    },
    /// Larger than any certificate or key.
    #[error("{} is too large to be a certificate or a key", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The system would not let us read it.
    #[error("{} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// A key of a kind or size that is not supported, or damaged.
    #[error("the key {} is damaged, or of a kind that is not supported", path.display())]
    UnsupportedKey {
        /// The file.
        path: PathBuf,
    },
}

impl TlsFileError {
    pub(crate) fn from_io(path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path },
            _ => Self::Unreadable { path, reason: printable(&error.to_string()) },
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is the shape that map_err asks for")]
    pub(crate) fn from_rustls(error: rustls::Error) -> Self {
        Self::Configuration { reason: error.to_string() }
    }

    /// The file that it is about.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::BadCertificate { path }
            | Self::BadCrl { path, .. }
            | Self::CrlIssuer { path, .. }
            | Self::CrlMissing { path, .. }
            | Self::CrlSignature { path, .. }
            | Self::Exposed { path, .. }
            | Self::KeyDoesNotMatch { key: path, .. }
            | Self::KeyEncrypted { path }
            | Self::KeyPassword { path }
            | Self::KeyCipher { path, .. }
            | Self::NoCertificate { path }
            | Self::NoCrl { path }
            | Self::NoKey { path }
            | Self::NotAuthority { path }
            | Self::NotFile { path }
            | Self::NotFound { path }
            | Self::NotPem { path }
            | Self::TooLarge { path }
            | Self::Unreadable { path, .. }
            | Self::UnsupportedKey { path } => Some(path),
            Self::Configuration { .. } | Self::NoClientAuthority | Self::NoSystemRoots => None,
        }
    }

    /// What the user can do about it, one sentence.
    pub fn hint(&self) -> String {
        match self {
            Self::BadCertificate { .. } => "copy the file again from where it was made, whole and unchanged".into(),
            Self::BadCrl { .. } => "get the list anew from its CA, as version 2 with nextUpdate, not as a delta".into(),
            Self::CrlIssuer { .. } => {
                "name the list of a CA in client_ca; for an intermediate CA put its certificate into the file beside \
                 the list"
                    .into()
            }
            Self::CrlMissing { .. } => {
                "name a list of each CA in crl (`motte cert crl` makes one), also of one that has revoked nothing"
                    .into()
            }
            Self::CrlSignature { .. } => {
                "get the list anew from its CA; if the CA was made anew under its old name, the list is of the old one"
                    .into()
            }
            Self::Configuration { .. } => "check the certificate files and the TLS settings".into(),
            Self::Exposed { path, .. } => {
                format!("run `chmod 600 {}`, and make a new key if others may have read it", path.display())
            }
            Self::KeyDoesNotMatch { .. } => {
                "name the key that was made together with this certificate, and the leaf first in the chain".into()
            }
            Self::KeyEncrypted { .. } => {
                "give its password: key_password in the configuration, --key-password-file on the command line".into()
            }
            Self::KeyPassword { .. } => "give the password that the key was written with".into(),
            Self::KeyCipher { path, .. } => format!(
                "protect it anew, with AES: `openssl pkey -in {} -aes256 -out key.pem && chmod 600 key.pem`",
                path.display()
            ),
            Self::NoCertificate { .. } => {
                "name a file with `-----BEGIN CERTIFICATE-----` in it; are certificate and key swapped?".into()
            }
            Self::NoClientAuthority => "name the CA file that signed the client certificates".into(),
            Self::NoCrl { .. } => {
                "name a file with `-----BEGIN X509 CRL-----` in it, or the list in DER; no list is not an empty one"
                    .into()
            }
            Self::NoKey { .. } => {
                "name a file with `-----BEGIN PRIVATE KEY-----` in it; are certificate and key swapped?".into()
            }
            Self::NoSystemRoots => "install the package ca-certificates, or name a CA file".into(),
            Self::NotAuthority { .. } => {
                "name the CA certificate that signed the other side's certificate, not that certificate itself".into()
            }
            Self::NotFile { .. } => "name a file in PEM form".into(),
            Self::NotFound { .. } => "check the path; relative paths start at the current directory".into(),
            Self::NotPem { path } => format!(
                "convert it; for a certificate in DER: `openssl x509 -inform der -in {} -out certificate.pem`",
                path.display()
            ),
            Self::TooLarge { .. } => "check the path".into(),
            Self::Unreadable { .. } => "check the owner and mode of the file and of its directories".into(),
            Self::UnsupportedKey { .. } => {
                "use an ECDSA P-256 or P-384, Ed25519, or RSA key of 2048 bits or more".into()
            }
        }
    }

    /// Both sentences.
    pub fn trouble(&self) -> Trouble {
        Trouble::new(self.to_string(), self.hint())
    }
}

//! Certificates and keys from elsewhere: taken out of any files in any order, put together, completed and checked.
//! Called by `motte cert import`. Accepts nothing that a listener or its clients would refuse later.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, Error, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use zeroize::Zeroizing;

use crate::facts::{self, CertificateFacts, CertificateRole};
use crate::keys::{self, KeyError, KeyPassword};
use crate::tls::crypto_provider;
use crate::trouble::Trouble;
use crate::{pem, pkcs12};

/// Everything that was found in the files.
#[derive(Debug, Default)]
pub struct Material {
    certificates: Vec<CertificateDer<'static>>,
    keys: Vec<PrivateKeyDer<'static>>,
}

/// A certificate with its chain and its key.
pub struct Assembled {
    /// The leaf and the CAs between it and the root, PEM. A root CA that was imported stands alone.
    pub chain_pem: String,
    /// The key in PKCS#8, PEM.
    pub key_pem: Zeroizing<String>,
    /// What the leaf says.
    pub facts: CertificateFacts,
}

/// Why files do not give a certificate that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// A file with neither certificates nor a key.
    #[error("there is neither a certificate nor a key in it")]
    Nothing,
    /// What is wrong with a key or a PKCS#12 file.
    #[error("the key or the PKCS#12 file cannot be used: {0}")]
    Key(#[from] KeyError),
    /// A certificate that cannot be read.
    #[error("a certificate is damaged")]
    Damaged,
    /// No certificate of any key.
    #[error("no certificate belongs to a key that was given or stands in the directory")]
    NoPair,
    /// Several certificates for the keys.
    #[error("the files hold more than one certificate with its key: {0}")]
    SeveralPairs(String),
    /// The key is too weak, or a signature of the chain is.
    #[error("{subject} uses {what}, which is too weak")]
    Weak {
        /// Whose certificate.
        subject: String,
        /// The key or the signature.
        what: String,
    },
    /// The chain ends before a CA that anybody trusts.
    #[error("the chain is not complete: {0} is missing")]
    Incomplete(String),
    /// A server's certificate without names.
    #[error("the certificate names no host that clients could reach it by")]
    NoNames,
    /// What rustls does not accept.
    #[error("the certificate would not be accepted: {0}")]
    Refused(String),
}

impl ImportError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Nothing | Self::Damaged => "give the files of the CA as they came: PEM, DER or PKCS#12",
            Self::Key(KeyError::Encrypted | KeyError::Password) => "give its password with --key-password-file",
            Self::Key(KeyError::Cipher(_)) => {
                "pack it anew with OpenSSL 3: `openssl pkcs12 -legacy -in OLD -nodes | openssl pkcs12 -export -out NEW`"
            }
            Self::Key(_) => "get the key anew from where it was made",
            Self::NoPair => "give the key too, or the certificate of the key you have",
            Self::SeveralPairs(_) => "give the files of one certificate only",
            Self::Weak { .. } => "ask the CA for one with ECDSA or RSA of 2048 bits or more, and SHA-256",
            Self::Incomplete(_) => {
                "give the file with that CA's certificate too; the CA offers it as its chain or bundle"
            }
            Self::NoNames => "ask the CA for one with subjectAltName",
            Self::Refused(_) => "ask the CA for a certificate for this purpose, or check the clock",
        }
    }

    /// Both sentences.
    pub fn trouble(&self) -> Trouble {
        Trouble::new(self.to_string(), self.hint())
    }
}

impl Material {
    /// Adds what is in a file; its kind is found out.
    pub fn add(&mut self, bytes: &[u8], password: Option<&KeyPassword>) -> Result<(), ImportError> {
        if pkcs12::is_pkcs12(bytes) {
            let contents = pkcs12::unpack(bytes, password.ok_or(KeyError::Encrypted)?)?;
            self.certificates.extend(contents.certificates);
            self.keys.extend(contents.keys);
            return Ok(());
        }
        if !pem::holds_pem(bytes) && facts::public_key_der(bytes).is_some() {
            self.certificates.push(CertificateDer::from(bytes.to_vec()));
            return Ok(());
        }
        let found = pem::all_certificates(bytes).map_err(|_| ImportError::Damaged)?;
        if found.iter().any(|der| facts::public_key_der(der).is_none()) {
            return Err(ImportError::Damaged);
        }
        let none = found.is_empty();
        self.certificates.extend(found);
        match keys::parse_key(bytes, password) {
            Ok(key) => self.keys.push(key),
            Err(KeyError::NoKey | KeyError::NotPem) if none => return Err(ImportError::Nothing),
            Err(KeyError::NoKey | KeyError::NotPem) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Whether there is a key among it.
    pub fn has_key(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether a key in PEM or DER belongs to one of the certificates.
    pub fn wants(&self, key: &[u8], password: Option<&KeyPassword>) -> bool {
        let public = keys::parse_key(key, password).ok().and_then(|key| keys::public_key(&key));
        public.is_some() && self.certificates.iter().any(|der| facts::public_key_der(der) == public)
    }

    /// Puts the certificate, its chain and its key together, and checks them as of `now`. Roots are those among the
    /// files, those of the operating system, and `trusted` in PEM.
    pub fn assemble(mut self, trusted: &str, now: SystemTime) -> Result<Assembled, ImportError> {
        let (leaf, key) = self.pair()?;
        let mut all = self.certificates;
        let trusted = pem::all_certificates(trusted.as_bytes()).map_err(|_| ImportError::Damaged)?;
        all.extend(trusted);
        let mut chain = pem::chain_above(&leaf, &all);
        check_strength(&chain)?;
        let facts = CertificateFacts::from_der(&leaf).map_err(|_| ImportError::Damaged)?;
        if facts.role == CertificateRole::Authority {
            check_dates(&chain, now)?;
        } else {
            let own = all.iter().filter(|der| facts::may_be_root(der) && facts::is_signed_by(der, der));
            verify(&chain, own.cloned().collect(), &facts, now)?;
            if chain.len() > 1 && chain.last().is_some_and(|last| facts::is_signed_by(last, last)) {
                chain.pop();
            }
        }
        let chain_pem = chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
        Ok(Assembled { chain_pem, key_pem: keys::key_pem(&key, None)?, facts })
    }

    /// The one certificate of which the key is there.
    fn pair(&mut self) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), ImportError> {
        let mut pairs: Vec<(CertificateDer<'static>, PrivateKeyDer<'static>)> = Vec::new();
        for key in &self.keys {
            let public = Some(keys::public_key(key).ok_or(KeyError::Damaged)?);
            for der in self.certificates.iter().filter(|der| facts::public_key_der(der) == public) {
                if !pairs.iter().any(|(known, _)| known == der) {
                    pairs.push((der.clone(), key.clone_key()));
                }
            }
        }
        match pairs.len() {
            0 => Err(ImportError::NoPair),
            1 => Ok(pairs.swap_remove(0)),
            _ => {
                let subject = |der: &CertificateDer<'_>| CertificateFacts::from_der(der).map(|facts| facts.subject);
                let subjects = pairs.iter().filter_map(|(der, _)| subject(der).ok()).collect::<Vec<_>>();
                Err(ImportError::SeveralPairs(subjects.join(", ")))
            }
        }
    }
}

fn check_strength(chain: &[CertificateDer<'_>]) -> Result<(), ImportError> {
    for der in chain {
        let facts = CertificateFacts::from_der(der).map_err(|_| ImportError::Damaged)?;
        let weak = |what: String| ImportError::Weak { subject: facts.subject.clone(), what };
        let certificate = facts::parse(der).map_err(|_| ImportError::Damaged)?;
        facts::check_strength(certificate.public_key()).map_err(weak)?;
        // Nobody looks at the signature of a root.
        let is_root = facts::is_issued_by(der, der);
        if !is_root && ["MD5", "SHA-1"].iter().any(|hash| facts.signature_algorithm.ends_with(hash)) {
            return Err(weak(facts.signature_algorithm.clone()));
        }
    }
    Ok(())
}

fn check_dates(chain: &[CertificateDer<'_>], now: SystemTime) -> Result<(), ImportError> {
    for der in chain {
        let facts = CertificateFacts::from_der(der).map_err(|_| ImportError::Damaged)?;
        if !facts.is_valid_at(now) {
            return Err(ImportError::Refused(format!("{} is not in force at this time", facts.subject)));
        }
    }
    Ok(())
}

/// Lets rustls verify the chain, as the peers will.
fn verify(
    chain: &[CertificateDer<'static>],
    own: Vec<CertificateDer<'static>>,
    facts: &CertificateFacts,
    now: SystemTime,
) -> Result<(), ImportError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(own);
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let at = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
    let missing = || {
        let last = chain.last().and_then(|last| CertificateFacts::from_der(last).ok());
        ImportError::Incomplete(last.map_or_else(|| String::from("a CA"), |last| last.issuer))
    };
    if roots.is_empty() {
        return Err(missing());
    }
    let told = |error: Error| match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => missing(),
        other => ImportError::Refused(other.to_string()),
    };
    let refused = |error: &dyn std::fmt::Display| ImportError::Refused(error.to_string());
    let (roots, provider) = (Arc::new(roots), crypto_provider());
    let (leaf, above) = chain.split_first().ok_or(ImportError::NoPair)?;
    if facts.role == CertificateRole::Client {
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
        let verifier = verifier.map_err(|error| refused(&error))?;
        return verifier.verify_client_cert(leaf, above, at).map(|_| ()).map_err(told);
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
    let verifier = verifier.map_err(|error| refused(&error))?;
    let names: Vec<_> = facts.names.iter().filter_map(|name| server_name(name)).collect();
    if names.is_empty() {
        return Err(ImportError::NoNames);
    }
    for name in names {
        verifier.verify_server_cert(leaf, above, &name, &[], at).map_err(told)?;
    }
    Ok(())
}

/// A name as a client would ask for it.
fn server_name(name: &str) -> Option<ServerName<'static>> {
    let asked = name.strip_prefix("*.").map_or_else(|| name.to_owned(), |rest| format!("any.{rest}"));
    asked.try_into().ok()
}

/// Reads a file that may hold a key: when it does, only its owner may be able to.
pub fn read_any(path: &Path) -> Result<Zeroizing<Vec<u8>>, crate::TlsFileError> {
    let bytes = Zeroizing::new(crate::files::read_public(path)?);
    let is_secret = pem::contains(&bytes, b"PRIVATE KEY-----") || keys::is_protected(&bytes);
    let is_secret = is_secret || !pem::holds_pem(&bytes) && PrivateKeyDer::try_from(bytes.as_slice()).is_ok();
    if is_secret || pkcs12::is_pkcs12(&bytes) { crate::files::read_private(path) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests;

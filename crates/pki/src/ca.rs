//! The private CA: making it, loading it, and issuing server and client certificates with it (RFC 5280).
//! Called by quickstart, `motte cert` and the renewal in `node`. Never writes a file and never reads a clock.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::chain::Chain;
use crate::facts::{self, CertificateFacts, CertificateRole};
use crate::keys::{self, KeyPassword};
use crate::name::HostName;
use crate::pem;
use crate::trouble::Trouble;

mod crl;
mod error;
mod profile;
mod request;
mod tree;

pub use crl::{CRL_DAYS_MAX, Crl, NoReason, Reason, Revoked};
pub use error::IssueError;
pub use profile::Profile;
pub(crate) use profile::host_name as alternative_name;
pub use request::{AuthorityRequest, Request};
pub use tree::{AUTHORITY_DAYS, INTERMEDIATE_DAYS};

/// Most days a server certificate is issued for; the broker renews it in the last third.
pub const SERVER_DAYS_MAX: u16 = 90;
/// Most days a client certificate is issued for.
pub const CLIENT_DAYS_MAX: u16 = 398;
/// Clocks of small devices lag; a certificate is valid from this long before it was made.
const SKEW: Duration = Duration::from_secs(5 * 60);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// X.520's upper bound for a common name, in characters.
const COMMON_NAME_CHARS_MAX: usize = 64;

/// What a leaf certificate may be used as: one extended key usage and no other, so that a stolen server key cannot
/// log in as a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `serverAuth`.
    Server,
    /// `clientAuth`.
    Client,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
        })
    }
}

/// What is asked of the CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafRequest {
    /// Server or client.
    pub role: Role,
    /// The subject's one common name: for a client, who it is.
    pub common_name: String,
    /// Names for the subjectAltName extension; a server needs at least one.
    pub names: Vec<HostName>,
    /// Life in days, at most [`SERVER_DAYS_MAX`] or [`CLIENT_DAYS_MAX`], and cut at the end of the CA's own.
    pub days: u16,
}

/// A new certificate and its key.
pub struct Issued {
    /// PEM: the leaf, then the CA.
    pub chain_pem: String,
    /// PKCS#8 PEM of the new key.
    pub key_pem: Zeroizing<String>,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("chain_pem", &self.chain_pem).finish_non_exhaustive()
    }
}

/// A CA's certificate and key.
pub struct Authority {
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    /// What follows a leaf: the CA, and those above an intermediate one as far as they are known.
    chain: Vec<CertificateDer<'static>>,
    issuer: Issuer<'static, KeyPair>,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

impl Authority {
    /// Loads a CA from PEM text. Of several certificates it is the one the key belongs to, which has to be a CA's;
    /// the others may be CAs above it, or CAs that are trusted beside it.
    pub fn from_pem(certificates_pem: &str, key_pem: &str) -> Result<Self, IssueError> {
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|_| IssueError::AuthorityKey("no private key in PEM form in it".into()))?;
        Self::from_key(certificates_pem, &key)
    }

    /// The same with a key in any form.
    pub fn from_key(certificates_pem: &str, key: &PrivateKeyDer<'_>) -> Result<Self, IssueError> {
        let unreadable = |what: &str| IssueError::AuthorityCertificate(what.into());
        let all = CertificateDer::pem_slice_iter(certificates_pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        let all = all.map_err(|_| unreadable("it is damaged"))?;
        if all.is_empty() {
            return Err(unreadable("no certificate in PEM form in it"));
        }
        let key = KeyPair::try_from(key)
            .map_err(|_| IssueError::AuthorityKey("its kind is not supported, or it is damaged".into()))?;
        Self::from_parts(&all, key)
    }

    /// Loads a CA from its files, with what stands beside them during a rotation.
    pub fn load(certificate: &Path, key: &Path, password: Option<&KeyPassword>) -> Result<Self, Trouble> {
        let pem = Chain::read(certificate).map_err(|error| error.trouble())?.pem();
        let key = keys::read_key(key, password).map_err(|error| error.trouble())?;
        let told = |error: IssueError| Trouble::new(error.to_string(), error.hint());
        let authority = Self::from_key(&pem, &key).map_err(told)?;
        match std::fs::read_to_string(Self::voucher_path(certificate)) {
            Ok(voucher) => authority.vouched_by(&voucher).map_err(told),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(authority),
            Err(error) => {
                let path = Self::voucher_path(certificate);
                Err(Trouble::new(format!("cannot read {}: {error}", path.display()), "make it readable, or restore it"))
            }
        }
    }

    fn from_parts(all: &[CertificateDer<'static>], key: KeyPair) -> Result<Self, IssueError> {
        let unreadable = |error: String| IssueError::AuthorityCertificate(error);
        let mut found = None;
        for der in all {
            let facts = CertificateFacts::from_der(der).map_err(|error| unreadable(error.to_string()))?;
            if facts.role != CertificateRole::Authority {
                return Err(IssueError::NotAuthority);
            }
            if found.is_none() && facts::public_key_der(der) == Some(key.subject_public_key_info()) {
                found = Some((der.clone(), facts));
            }
        }
        let (certificate, facts) = found.ok_or(IssueError::KeyDoesNotMatch)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|error| unreadable(error.to_string()))?;
        let chain = pem::chain_above(&certificate, all);
        let certificate_pem = pem::encode("CERTIFICATE", &certificate);
        Ok(Self {
            certificate_pem,
            certificate,
            chain,
            issuer,
            not_before: facts.not_before,
            not_after: facts.not_after,
        })
    }

    /// The same CA for those who know only the one that vouches for it: what it signs is shown with that voucher. One
    /// for another key is that of a CA to come, and says nothing of this one.
    fn vouched_by(mut self, voucher_pem: &str) -> Result<Self, IssueError> {
        let voucher = CertificateDer::from_pem_slice(voucher_pem.as_bytes())
            .map_err(|_| IssueError::AuthorityCertificate("the one by the CA before it is damaged".into()))?;
        if facts::public_key_der(&voucher) == facts::public_key_der(&self.certificate) {
            self.chain = vec![voucher];
        }
        Ok(self)
    }

    /// Where the certificate lies by which the CA before it vouches for a CA.
    pub fn voucher_path(certificate: &Path) -> PathBuf {
        certificate.with_extension("cross.pem")
    }

    /// The CA's certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The CA's certificate and those above it, PEM.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect()
    }

    /// The CA's key, PEM. Write it with [`crate::files::write_private`] only.
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    /// Whether this CA signed the certificate.
    pub fn has_signed(&self, certificate: &[u8]) -> bool {
        facts::is_signed_by(certificate, &self.certificate)
    }

    /// What the CA's certificate says.
    pub fn facts(&self) -> CertificateFacts {
        CertificateFacts::from_der(&self.certificate).expect("it was read when the CA was loaded")
    }

    /// Issues a certificate with a key of its own (P-256), for one role only.
    pub fn issue(&self, request: &LeafRequest, now: SystemTime) -> Result<Issued, IssueError> {
        self.issue_as(&Profile::new(request)?, now)
    }

    /// The same for what a profile says.
    pub fn issue_as(&self, profile: &Profile, now: SystemTime) -> Result<Issued, IssueError> {
        let key = new_key()?;
        let chain_pem = self.certify(profile, &key, now)?;
        Ok(Issued { chain_pem, key_pem: Zeroizing::new(key.serialize_pem()) })
    }

    /// Answers a request: the chain, PEM.
    pub fn sign(&self, request: &Request, now: SystemTime) -> Result<String, IssueError> {
        self.certify(&request.profile, &request.key, now)
    }

    /// Issues what a profile says for the key of another certificate: the chain, PEM.
    pub fn issue_for_key_of(&self, profile: &Profile, other: &[u8], now: SystemTime) -> Result<String, IssueError> {
        let key = facts::public_key_der(other).unwrap_or_default();
        let key = SubjectPublicKeyInfo::from_der(&key).map_err(|error| IssueError::WeakKey(error.to_string()))?;
        self.certify(profile, &key, now)
    }

    fn certify(&self, profile: &Profile, key: &impl PublicKeyData, now: SystemTime) -> Result<String, IssueError> {
        profile.check()?;
        self.check_validity(now)?;
        let not_after = (now + DAY * u32::from(profile.days)).min(self.not_after);
        let mut params = dated(now.max(self.not_before + SKEW), not_after)?;
        profile.fill(&mut params);
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(key, &self.issuer).map_err(crypto)?;
        if !facts::is_issued_by(leaf.der(), &self.certificate) {
            return Err(IssueError::AuthorityName);
        }
        Ok(pem::encode("CERTIFICATE", leaf.der()) + &self.chain_pem())
    }

    fn check_validity(&self, now: SystemTime) -> Result<(), IssueError> {
        if now < self.not_before || now >= self.not_after { Err(IssueError::AuthorityNotValid) } else { Ok(()) }
    }
}

/// The beginning of a certificate with one common name.
pub(crate) fn params(
    common_name: &str,
    now: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateParams, IssueError> {
    let mut params = dated(now, not_after)?;
    params.distinguished_name = profile::named(common_name)?;
    Ok(params)
}

/// What every certificate made here has in common: a random serial number, whole seconds.
fn dated(now: SystemTime, not_after: SystemTime) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.not_before = certificate_time(now.checked_sub(SKEW).ok_or(IssueError::Clock)?)?;
    params.not_after = certificate_time(not_after)?;
    params.serial_number = Some(new_serial()?);
    Ok(params)
}

fn certificate_time(time: SystemTime) -> Result<OffsetDateTime, IssueError> {
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| IssueError::Clock)?;
    let seconds = i64::try_from(since.as_secs()).map_err(|_| IssueError::Clock)?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| IssueError::Clock)
}

pub(crate) fn new_key() -> Result<KeyPair, IssueError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(crypto)
}

/// 128 bits, of which 126 are random: the first bit is clear so that DER reads it as positive (RFC 5280 4.1.2.2), the
/// second is set so that all serial numbers have the same length.
fn new_serial() -> Result<SerialNumber, IssueError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| IssueError::Crypto(error.to_string()))?;
    bytes[0] = (bytes[0] & 0x3f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

#[expect(clippy::needless_pass_by_value, reason = "it is the shape that map_err asks for")]
pub(crate) fn crypto(error: rcgen::Error) -> IssueError {
    IssueError::Crypto(error.to_string())
}

#[cfg(test)]
mod tests;

//! The private CA: making it, loading it, and issuing server and client certificates with it (RFC 5280).
//! Called by quickstart, `motte cert` and the renewal in `node`. Never writes a file and never reads a clock.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::facts::{self, CertificateFacts, CertificateRole};
use crate::name::HostName;
use crate::text::is_unsafe_to_show;

mod crl;

pub use crl::{CRL_DAYS_MAX, Crl, NoReason, Reason, Revoked};

/// Most days a server certificate is issued for; the broker renews it in the last third.
pub const SERVER_DAYS_MAX: u16 = 90;
/// Most days a client certificate is issued for.
pub const CLIENT_DAYS_MAX: u16 = 398;
/// Days a CA made here lasts: ten years with their leap days.
const AUTHORITY_DAYS: u32 = 3653;
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

/// Why a CA could not be made or loaded, or would not issue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The file does not hold one readable certificate.
    #[error("the CA certificate cannot be read: {0}")]
    AuthorityCertificate(String),
    /// The certificate is no CA, so nothing it signed would be accepted.
    #[error("the certificate is not a CA certificate")]
    NotAuthority,
    /// The key cannot be read, or is of a kind that is not supported.
    #[error("the CA key cannot be read: {0}")]
    AuthorityKey(String),
    /// The key is that of another certificate.
    #[error("the CA key does not belong to the CA certificate")]
    KeyDoesNotMatch,
    /// The CA's own certificate has ended, or has not begun.
    #[error("the CA certificate is not valid at this time")]
    AuthorityNotValid,
    /// The CA's subject has a form that issuing cannot repeat exactly, so the chain would not verify.
    #[error("the CA's subject name has a form that cannot be repeated in a certificate")]
    AuthorityName,
    /// Empty, longer than 64 characters, or with control characters.
    #[error("the common name must have 1 to 64 characters and no control characters")]
    CommonName,
    /// A server certificate without names is accepted by no client.
    #[error("a server certificate needs at least one host name or address")]
    NoNames,
    /// A name that is not well-formed.
    #[error("{0:?} is not a host name")]
    Name(String),
    /// Zero days, or more than the role is given.
    #[error("a {role} certificate lasts 1 to {most} days")]
    Days {
        /// The role asked for.
        role: Role,
        /// The most it is given.
        most: u16,
    },
    /// Zero days until the next revocation list, or too many.
    #[error("a revocation list lasts 1 to {CRL_DAYS_MAX} days")]
    ListDays,
    /// The CA's key usage leaves out `cRLSign`.
    #[error("the CA certificate does not allow it to sign revocation lists")]
    NoLists,
    /// No number in hex, or a longer one than there are.
    #[error("{0:?} is not a serial number")]
    Serial(String),
    /// The clock shows a time that certificates cannot express.
    #[error("the clock is set to a time that a certificate cannot hold")]
    Clock,
    /// The system gave no randomness, or the cryptography failed.
    #[error("the certificate could not be made: {0}")]
    Crypto(String),
}

impl IssueError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::AuthorityCertificate(_) | Self::NotAuthority => "give the CA certificate that `motte cert ca` wrote",
            Self::AuthorityKey(_) => "give the CA's own key in PEM form, without a passphrase",
            Self::KeyDoesNotMatch => "give the key that was made together with this CA certificate",
            Self::AuthorityNotValid => "check the clock; if the CA has ended, make a new one with `motte cert ca`",
            Self::AuthorityName => "make a CA with `motte cert ca`, or a subject in which no field occurs twice",
            Self::CommonName => "choose a short name such as `sensor-17`",
            Self::NoNames => "name the host as clients will reach it, such as broker.example.org or 192.0.2.7",
            Self::Name(_) => "use a name such as broker.example.org, or an IP address",
            Self::Days { .. } => "ask for fewer days; certificates are renewed before they end",
            Self::ListDays => "choose a time in which you will surely make the next one, such as 30 days",
            Self::NoLists => "make a CA with the key usage cRLSign, as `motte cert ca` does",
            Self::Serial(_) => "give it in hex, as `motte cert list --json` shows it",
            Self::Clock => "set the system's clock",
            Self::Crypto(_) => "try again; if it happens again, report it",
        }
    }
}

/// A CA's certificate and key.
pub struct Authority {
    certificate_pem: String,
    certificate: CertificateDer<'static>,
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
    /// Makes a CA of its own: P-256, ten years, for signing certificates and CRLs only, path length 0.
    pub fn create(common_name: &str, now: SystemTime) -> Result<Self, IssueError> {
        let key = new_key()?;
        let mut params = params(common_name, now, now + DAY * AUTHORITY_DAYS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(crypto)?;
        Self::from_parts(certificate.pem(), certificate.into(), key)
    }

    /// Loads a CA from PEM text. The certificate must be a CA's and the key must be its own.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, IssueError> {
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_| IssueError::AuthorityCertificate("no certificate in PEM form in it".into()))?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|_| IssueError::AuthorityKey("no private key in PEM form in it".into()))?;
        let key = KeyPair::try_from(&key)
            .map_err(|_| IssueError::AuthorityKey("its kind is not supported, or it is damaged".into()))?;
        Self::from_parts(certificate_pem.to_owned(), certificate.into_owned(), key)
    }

    fn from_parts(
        certificate_pem: String,
        certificate: CertificateDer<'static>,
        key: KeyPair,
    ) -> Result<Self, IssueError> {
        let unreadable = |error: String| IssueError::AuthorityCertificate(error);
        let facts = CertificateFacts::from_der(&certificate).map_err(|error| unreadable(error.to_string()))?;
        if facts.role != CertificateRole::Authority {
            return Err(IssueError::NotAuthority);
        }
        if facts::public_key_der(&certificate) != Some(key.subject_public_key_info()) {
            return Err(IssueError::KeyDoesNotMatch);
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|error| unreadable(error.to_string()))?;
        Ok(Self { certificate_pem, certificate, issuer, not_before: facts.not_before, not_after: facts.not_after })
    }

    /// The CA's certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The CA's key, PEM. Write it with [`crate::files::write_private`] only.
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    /// Issues a certificate with a key of its own (P-256), for one role only.
    pub fn issue(&self, request: &LeafRequest, now: SystemTime) -> Result<Issued, IssueError> {
        let names = checked_names(request)?;
        if now < self.not_before || now >= self.not_after {
            return Err(IssueError::AuthorityNotValid);
        }
        let not_after = (now + DAY * u32::from(request.days)).min(self.not_after);
        let mut params = params(&request.common_name, now.max(self.not_before + SKEW), not_after)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match request.role {
            Role::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Role::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.subject_alt_names = names;
        params.use_authority_key_identifier_extension = true;
        let key = new_key()?;
        let leaf = params.signed_by(&key, &self.issuer).map_err(crypto)?;
        if !facts::is_issued_by(leaf.der(), &self.certificate) {
            return Err(IssueError::AuthorityName);
        }
        let mut chain_pem = leaf.pem();
        chain_pem.push_str(self.certificate_pem.trim_start());
        Ok(Issued { chain_pem, key_pem: Zeroizing::new(key.serialize_pem()) })
    }
}

fn checked_names(request: &LeafRequest) -> Result<Vec<SanType>, IssueError> {
    let most = match request.role {
        Role::Server => SERVER_DAYS_MAX,
        Role::Client => CLIENT_DAYS_MAX,
    };
    if request.days == 0 || request.days > most {
        return Err(IssueError::Days { role: request.role, most });
    }
    if request.role == Role::Server && request.names.is_empty() {
        return Err(IssueError::NoNames);
    }
    request.names.iter().map(alternative_name).collect()
}

/// A `Dns` built by hand may hold anything, so it is parsed again.
pub(crate) fn alternative_name(name: &HostName) -> Result<SanType, IssueError> {
    match name {
        HostName::Ip(address) => Ok(SanType::IpAddress(*address)),
        HostName::Dns(text) => match text.parse::<HostName>() {
            Ok(HostName::Dns(checked)) => {
                checked.try_into().map(SanType::DnsName).map_err(|_| IssueError::Name(text.clone()))
            }
            Ok(HostName::Ip(_)) | Err(_) => Err(IssueError::Name(text.clone())),
        },
    }
}

/// What every certificate made here has in common: one common name, a random serial number, whole seconds.
pub(crate) fn params(
    common_name: &str,
    now: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateParams, IssueError> {
    let length = common_name.chars().count();
    if length == 0 || length > COMMON_NAME_CHARS_MAX || common_name.chars().any(is_unsafe_to_show) {
        return Err(IssueError::CommonName);
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
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

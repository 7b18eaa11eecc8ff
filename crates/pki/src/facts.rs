//! Reads certificates: whose, for what, until when; and the one name a client certificate stands for.
//! Called by every room that shows a certificate and by `node`'s identity. Never verifies a signature: rustls does.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name, X509Version};

use crate::signature::Signed;
use crate::text::printable;

mod attributes;
mod distinguished;
mod identity;

pub use attributes::attributes;
pub use identity::{IdentityField, identity};

/// DER tags of the string types a common name is read from; all are subsets of UTF-8.
const TAG_UTF8: u32 = 12;
const TAG_PRINTABLE: u32 = 19;
const TAG_IA5: u32 = 22;

/// What a certificate may be used as, by its basic constraints and extended key usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateRole {
    /// A CA: it signs others.
    Authority,
    /// `serverAuth` and not `clientAuth`.
    Server,
    /// `clientAuth` and not `serverAuth`.
    Client,
    /// Both, or no restriction at all; or neither.
    Other,
}

impl fmt::Display for CertificateRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Authority => "ca",
            Self::Server => "server",
            Self::Client => "client",
            Self::Other => "other",
        })
    }
}

/// Why bytes are not a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// No `BEGIN CERTIFICATE` in the text, or broken base64.
    #[error("there is no certificate in PEM form in it")]
    NoCertificate,
    /// Not X.509 in DER, or with bytes after its end.
    #[error("the certificate is damaged, or not X.509")]
    Malformed,
}

/// What one certificate says. All text in it is escaped and safe to show; identities come from
/// [`identity`], never from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The one common name, if there is exactly one that is readable.
    pub subject_common_name: Option<String>,
    /// The subject as in RFC 4514 (as OpenSSL's `RFC2253`): most specific first, escaped.
    pub subject: String,
    /// The issuer in the same form.
    pub issuer: String,
    /// DNS names, IP addresses, e-mail addresses and URIs of the subjectAltName extension, in its order.
    pub names: Vec<String>,
    /// Begin of validity.
    pub not_before: SystemTime,
    /// End of validity.
    pub not_after: SystemTime,
    /// What it may be used as.
    pub role: CertificateRole,
    /// Serial number in lower-case hex, two digits a byte.
    pub serial_hex: String,
    /// Kind and size of the key, such as `ECDSA P-256` or `RSA 2048`.
    pub key: String,
    /// The algorithm it is signed with, such as `ECDSA with SHA-256`.
    pub signature_algorithm: String,
    /// SHA-256 of the DER, lower-case hex.
    pub sha256: String,
}

impl CertificateFacts {
    /// Reads one certificate in DER.
    pub fn from_der(der: &[u8]) -> Result<Self, FactsError> {
        let certificate = parse(der)?;
        let validity = certificate.validity();
        Ok(Self {
            subject_common_name: common_name(certificate.subject()).map(|name| printable(&name)),
            subject: distinguished::text(certificate.subject()),
            issuer: distinguished::text(certificate.issuer()),
            names: alternative_names(&certificate),
            not_before: system_time(validity.not_before),
            not_after: system_time(validity.not_after),
            role: role(&certificate),
            serial_hex: hex(certificate.raw_serial()),
            key: key_kind(certificate.public_key()),
            signature_algorithm: signature_kind(&certificate.signature_algorithm.algorithm.to_id_string()),
            sha256: hex(digest::digest(&digest::SHA256, der).as_ref()),
        })
    }

    /// Reads every certificate of a PEM text, in its order; other sections are passed over.
    pub fn from_pem(pem: &str) -> Result<Vec<Self>, FactsError> {
        let mut all = Vec::new();
        for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            all.push(Self::from_der(&der.map_err(|_| FactsError::NoCertificate)?)?);
        }
        if all.is_empty() { Err(FactsError::NoCertificate) } else { Ok(all) }
    }

    /// Whole days until the end, rounded down; negative once it has ended.
    pub fn days_left(&self, now: SystemTime) -> i64 {
        const DAY_SECONDS: i64 = 24 * 60 * 60;
        let seconds = match self.not_after.duration_since(now) {
            Ok(left) => i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            Err(past) => -i64::try_from(past.duration().as_secs().max(1)).unwrap_or(i64::MAX),
        };
        seconds.div_euclid(DAY_SECONDS)
    }

    /// True while `now` is inside the certificate's life.
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// The DNS names among the alternative names of a certificate, for which alone clients believe a server.
pub(crate) fn dns_names(der: &[u8]) -> Vec<String> {
    let Ok(certificate) = parse(der) else { return Vec::new() };
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |general: &GeneralName<'_>| match general {
        GeneralName::DNSName(text) => Some((*text).to_owned()),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

/// The SubjectPublicKeyInfo, DER.
pub(crate) fn public_key_der(der: &[u8]) -> Option<Vec<u8>> {
    parse(der).ok().map(|certificate| certificate.public_key().raw.to_vec())
}

/// The subject key identifier.
pub(crate) fn key_identifier(der: &[u8]) -> Option<Vec<u8>> {
    let certificate = parse(der).ok()?;
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
        _ => None,
    })
}

/// The subject, DER.
pub(crate) fn subject_der(der: &[u8]) -> Option<Vec<u8>> {
    parse(der).ok().map(|certificate| certificate.subject().as_raw().to_vec())
}

/// A name as in [`CertificateFacts::subject`].
pub(crate) fn name_text(name: &X509Name<'_>) -> String {
    distinguished::text(name)
}

/// True when the leaf's issuer is byte for byte the authority's subject, as chain building asks.
pub(crate) fn is_issued_by(leaf: &[u8], authority: &[u8]) -> bool {
    match (parse(leaf), parse(authority)) {
        (Ok(leaf), Ok(authority)) => leaf.issuer().as_raw() == authority.subject().as_raw(),
        _ => false,
    }
}

/// True when the authority's name and key are those that the certificate names and is signed with.
pub(crate) fn is_signed_by(certificate: &[u8], authority: &[u8]) -> bool {
    let (Ok(signed), Ok(by)) = (parse(certificate), parse(authority)) else { return false };
    let signature = Signed {
        message: signed.tbs_certificate.as_ref(),
        algorithm: &signed.signature_algorithm,
        signature: &signed.signature_value.data,
    };
    signed.issuer().as_raw() == by.subject().as_raw() && signature.is_by(by.public_key().raw)
}

/// How many levels of CAs may be below a CA, if that is bounded.
pub(crate) fn path_length(der: &[u8]) -> Option<u32> {
    parse(der).ok()?.basic_constraints().ok()??.value.path_len_constraint
}

/// Whether a public key is strong enough to be certified; an error says what it is.
pub(crate) fn check_strength(key: &SubjectPublicKeyInfo<'_>) -> Result<(), String> {
    const RSA_BITS_MIN: usize = 2048;
    let kind = key_kind(key);
    let strong = match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => rsa.key_size() >= RSA_BITS_MIN,
        Ok(PublicKey::EC(_)) => matches!(kind.as_str(), "ECDSA P-256" | "ECDSA P-384" | "ECDSA P-521"),
        _ => kind == "Ed25519",
    };
    if strong { Ok(()) } else { Err(kind) }
}

/// True for a certificate that may be trusted as a root: it says that it is a CA, or its version cannot say.
pub(crate) fn may_be_root(der: &[u8]) -> bool {
    parse(der).is_ok_and(|certificate| certificate.version() != X509Version::V3 || certificate.is_ca())
}

pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, FactsError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(FactsError::Malformed),
    }
}

pub(crate) fn common_name(subject: &X509Name<'_>) -> Option<String> {
    let mut names = subject.iter_common_name();
    let (only, None) = (names.next()?, names.next()) else { return None };
    let value = only.attr_value();
    let text = std::str::from_utf8(value.data).ok()?;
    let readable = match value.tag().0 {
        TAG_UTF8 => true,
        TAG_PRINTABLE | TAG_IA5 => text.is_ascii(),
        _ => false,
    };
    (readable && !text.is_empty()).then(|| text.to_owned())
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |general: &GeneralName<'_>| match general {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => Some(printable(text)),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

fn role(certificate: &X509Certificate<'_>) -> CertificateRole {
    if certificate.is_ca() {
        return CertificateRole::Authority;
    }
    match certificate.extended_key_usage() {
        Ok(Some(usage)) if usage.value.server_auth && !usage.value.client_auth => CertificateRole::Server,
        Ok(Some(usage)) if usage.value.client_auth && !usage.value.server_auth => CertificateRole::Client,
        _ => CertificateRole::Other,
    }
}

fn key_kind(key: &SubjectPublicKeyInfo<'_>) -> String {
    let oid = key.algorithm.algorithm.to_id_string();
    let curve = || key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok()).map(|oid| oid.to_id_string());
    match oid.as_str() {
        "1.2.840.113549.1.1.1" => match key.parsed() {
            Ok(PublicKey::RSA(rsa)) => format!("RSA {}", rsa.key_size()),
            _ => "RSA".to_owned(),
        },
        "1.2.840.10045.2.1" => match curve().as_deref() {
            Some("1.2.840.10045.3.1.7") => "ECDSA P-256".to_owned(),
            Some("1.3.132.0.34") => "ECDSA P-384".to_owned(),
            Some("1.3.132.0.35") => "ECDSA P-521".to_owned(),
            Some(other) => format!("ECDSA curve {other}"),
            None => "ECDSA".to_owned(),
        },
        "1.3.101.112" => "Ed25519".to_owned(),
        "1.3.101.113" => "Ed448".to_owned(),
        _ => format!("algorithm {oid}"),
    }
}

fn signature_kind(oid: &str) -> String {
    let name = match oid {
        "1.2.840.10045.4.3.2" => "ECDSA with SHA-256",
        "1.2.840.10045.4.3.3" => "ECDSA with SHA-384",
        "1.2.840.10045.4.3.4" => "ECDSA with SHA-512",
        "1.2.840.10045.4.1" => "ECDSA with SHA-1",
        "1.2.840.113549.1.1.4" => "RSA with MD5",
        "1.2.840.113549.1.1.5" => "RSA with SHA-1",
        "1.2.840.113549.1.1.11" => "RSA with SHA-256",
        "1.2.840.113549.1.1.12" => "RSA with SHA-384",
        "1.2.840.113549.1.1.13" => "RSA with SHA-512",
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        _ => return format!("algorithm {oid}"),
    };
    name.to_owned()
}

pub(crate) fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = Duration::from_secs(time.timestamp().unsigned_abs());
    let moment = if time.timestamp() < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
    moment.expect("years 0 to 9999 fit the system's time")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;

//! What a client of ACME (RFC 8555) needs of certificates: a request for the server's, a stand-in until the first one
//! is there, and the certificate that answers a TLS-ALPN-01 challenge (RFC 8737).
//!
//! Called by `node`'s `acme`. Never speaks to anybody, never writes a file, never reads a clock.

use std::sync::Arc;
use std::time::SystemTime;

use rcgen::{CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData as _};
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::ca::{self, DAY, IssueError, Issued};
use crate::facts::{self, CertificateFacts, CertificateRole, FactsError};
use crate::name::HostName;
use crate::tls::crypto_provider;

/// The application protocol of a TLS-ALPN-01 challenge (RFC 8737, section 6.2).
pub const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";
/// Common name of a stand-in, which no CA would sign.
const STAND_IN: &str = "Motte stand-in until ACME issues";

/// A key and the request for a certificate of it, until the CA has answered.
pub struct ServerRequest {
    der: Vec<u8>,
    key: KeyPair,
    names: Vec<HostName>,
}

/// Why what a CA sent is not the certificate that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It cannot be read.
    #[error("the CA's answer cannot be read: {0}")]
    Unreadable(#[from] FactsError),
    /// The key in it is not ours.
    #[error("the certificate is for another key")]
    OtherKey,
    /// A name that was asked for is not in it.
    #[error("the certificate does not hold the name {0}")]
    NameMissing(String),
    /// It may not be used for a server, or not at this time.
    #[error("the certificate is none of a server that is valid now")]
    NotUsable,
}

impl ServerRequest {
    /// A new P-256 key, and a request (PKCS#10) for a server certificate with these names.
    ///
    /// # Errors
    /// A name that is none, or no randomness.
    pub fn new(names: &[HostName]) -> Result<Self, IssueError> {
        if names.is_empty() {
            return Err(IssueError::NoNames);
        }
        let key = ca::new_key()?;
        let mut params = rcgen::CertificateParams::default();
        // CAs take the names out of the extension; a common name is one more thing to disagree about.
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = names.iter().map(ca::alternative_name).collect::<Result<_, _>>()?;
        let der = params.serialize_request(&key).map_err(ca::crypto)?.der().to_vec();
        Ok(Self { der, key, names: names.to_vec() })
    }

    /// The request in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate and its key, once `chain_pem` (leaf first) was seen to be what was asked for.
    ///
    /// # Errors
    /// It is for another key, for other names, or of no use at `now`.
    pub fn answered(self, chain_pem: &str, now: SystemTime) -> Result<Issued, AnswerError> {
        let leaf = CertificateDer::from_pem_slice(chain_pem.as_bytes()).map_err(|_| FactsError::NoCertificate)?;
        if facts::public_key_der(&leaf) != Some(self.key.subject_public_key_info()) {
            return Err(AnswerError::OtherKey);
        }
        let found = CertificateFacts::from_pem(chain_pem)?.remove(0);
        if let Some(missing) = self.names.iter().find(|name| !holds(&found, name)) {
            return Err(AnswerError::NameMissing(missing.to_string()));
        }
        let serves = matches!(found.role, CertificateRole::Server | CertificateRole::Other);
        if !serves || !found.is_valid_at(now) {
            return Err(AnswerError::NotUsable);
        }
        Ok(Issued { chain_pem: chain_pem.to_owned(), key_pem: Zeroizing::new(self.key.serialize_pem()) })
    }
}

/// Whether a certificate holds a name, as its own or, for a name of DNS, in other letter case.
#[must_use]
pub fn holds(certificate: &CertificateFacts, name: &HostName) -> bool {
    let name = name.to_string();
    certificate.names.iter().any(|held| held.eq_ignore_ascii_case(&name))
}

/// A certificate signed by its own key, good for a day, with which a broker can listen until its first real one is
/// there. No client that verifies believes it.
///
/// # Errors
/// A name that is none, or no randomness.
pub fn stand_in(names: &[HostName], now: SystemTime) -> Result<Issued, IssueError> {
    let key = ca::new_key()?;
    let mut params = ca::params(STAND_IN, now, now + DAY)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = names.iter().map(ca::alternative_name).collect::<Result<_, _>>()?;
    let certificate = params.self_signed(&key).map_err(ca::crypto)?;
    Ok(Issued { chain_pem: certificate.pem(), key_pem: Zeroizing::new(key.serialize_pem()) })
}

/// Whether a certificate is a [`stand_in`].
#[must_use]
pub fn is_stand_in(certificate: &CertificateFacts) -> bool {
    certificate.subject == certificate.issuer && certificate.subject_common_name.as_deref() == Some(STAND_IN)
}

/// The configuration that answers a TLS-ALPN-01 challenge for `name`: a certificate signed by its own key that holds
/// the digest (SHA-256 of the key authorization) in a critical extension, and no other protocol.
///
/// # Errors
/// The name is none of DNS, or the certificate cannot be made.
pub fn challenge_config(name: &str, digest: &[u8], now: SystemTime) -> Result<Arc<ServerConfig>, IssueError> {
    let host = name.parse::<HostName>().map_err(|_| IssueError::Name(name.to_owned()))?;
    let key = ca::new_key()?;
    let mut params = ca::params("ACME challenge", now, now + DAY)?;
    params.subject_alt_names = vec![ca::alternative_name(&host)?];
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key).map_err(ca::crypto)?;
    let broken = |error: rustls::Error| IssueError::Crypto(error.to_string());
    let provider = crypto_provider();
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let private = provider.key_provider.load_private_key(der).map_err(broken)?;
    // Not by a resolver that looks into the certificate: the critical extension is one that nobody else understands.
    let own = SingleCertAndKey::from(CertifiedKey::new(vec![certificate.der().clone()], private));
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.map_err(broken)?.with_no_client_auth().with_cert_resolver(Arc::new(own));
    config.alpn_protocols = vec![ACME_TLS_ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::time::Duration;

    use super::*;
    use crate::ca::{Authority, LeafRequest, Role};

    fn names() -> Vec<HostName> {
        vec!["broker.example".parse().unwrap()]
    }

    #[test]
    fn a_stand_in_is_known_as_one_and_ends_within_a_day() {
        let now = SystemTime::now();
        let facts = CertificateFacts::from_pem(&stand_in(&names(), now).unwrap().chain_pem).unwrap().remove(0);
        assert!(is_stand_in(&facts) && holds(&facts, &names()[0]));
        assert!(!facts.is_valid_at(now + Duration::from_secs(25 * 3600)));
    }

    #[test]
    fn a_certificate_for_another_key_is_no_answer() {
        let now = SystemTime::now();
        let authority = Authority::create("Test CA", now).unwrap();
        let request =
            LeafRequest { role: Role::Server, common_name: "broker.example".into(), names: names(), days: 30 };
        let other = authority.issue(&request, now).unwrap().chain_pem;
        let asked = ServerRequest::new(&names()).unwrap();
        assert_eq!(asked.answered(&other, now).unwrap_err(), AnswerError::OtherKey);
        let asked = ServerRequest::new(&names()).unwrap();
        assert_eq!(asked.answered("nothing", now).unwrap_err(), AnswerError::Unreadable(FactsError::NoCertificate));
    }

    #[test]
    fn a_request_without_names_is_refused() {
        assert_eq!(ServerRequest::new(&[]).err(), Some(IssueError::NoNames));
    }
}

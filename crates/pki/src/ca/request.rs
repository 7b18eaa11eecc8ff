//! Certificate requests (PKCS#10, RFC 2986): made, and read with suspicion. Called by `motte cert csr`, `sign` and
//! `ca --csr`. Takes over a common name and alternative names: what a certificate may be used for says its CA.

use rcgen::{CertificateParams, DistinguishedName, IsCa, KeyPair, KeyUsagePurpose, SubjectPublicKeyInfo};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

use super::profile::{Profile, distinguished, general, most_days, named};
use super::{IssueError, Role, crypto, new_key};
use crate::facts;
use crate::signature::Signed;

/// A request for a leaf certificate, of which the signature was verified.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it may ask for.
    pub profile: Profile,
    /// What else stood in it and is not taken over, in words.
    pub left_out: Vec<String>,
    pub(super) key: SubjectPublicKeyInfo,
}

/// A request for the certificate of a CA.
#[derive(Clone, Debug)]
pub struct AuthorityRequest {
    pub(super) subject: DistinguishedName,
    pub(super) key: SubjectPublicKeyInfo,
}

impl Request {
    /// Reads a request in PEM or DER, for a certificate of this role.
    pub fn parse(bytes: &[u8], role: Role) -> Result<Self, IssueError> {
        let der = der(bytes)?;
        let (request, key) = verified(&der)?;
        let subject = &request.certification_request_info.subject;
        let mut left_out = Vec::new();
        let mut names = Vec::new();
        for extension in extensions(&request) {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(found) => {
                    for name in &found.general_names {
                        names.push(general(name, role)?);
                    }
                }
                ParsedExtension::BasicConstraints(found) if found.ca => {
                    return Err(IssueError::Request("it asks for the certificate of a CA".into()));
                }
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    let fits = match role {
                        Role::Server => usage.server_auth || usage.any,
                        Role::Client => usage.client_auth || usage.any,
                    };
                    if !fits {
                        return Err(IssueError::Request(format!("its extended key usage is not that of a {role}")));
                    }
                }
                ParsedExtension::BasicConstraints(_) | ParsedExtension::KeyUsage(_) => {}
                _ => left_out.push(format!("extension {}", extension.oid.to_id_string())),
            }
        }
        let common_name = facts::common_name(subject).or_else(|| first_host(&names));
        let common_name = common_name.ok_or(IssueError::CommonName)?;
        if subject.iter_attributes().count() > 1 {
            left_out.push(String::from("the subject beside its common name"));
        }
        let profile = Profile { role, subject: named(&common_name)?, names, days: most_days(role) };
        profile.check()?;
        Ok(Self { profile, left_out, key })
    }
}

impl AuthorityRequest {
    /// Reads a request in PEM or DER for the certificate of a CA.
    pub fn parse(bytes: &[u8]) -> Result<Self, IssueError> {
        let der = der(bytes)?;
        let (request, key) = verified(&der)?;
        let is_ca = |extension: &X509Extension<'_>| match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(found) => found.ca,
            _ => false,
        };
        if !extensions(&request).any(is_ca) {
            return Err(IssueError::Request("it does not ask for the certificate of a CA".into()));
        }
        let subject = distinguished(&request.certification_request_info.subject)?;
        Ok(Self { subject, key })
    }

    /// Makes the key of a CA and the request for its certificate, both PEM.
    pub fn make(common_name: &str) -> Result<(String, Zeroizing<String>), IssueError> {
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(common_name)?;
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        finished(&params, &key)
    }
}

impl Profile {
    /// Makes a key and the request for a certificate that says this, both PEM.
    pub fn request(&self) -> Result<(String, Zeroizing<String>), IssueError> {
        let mut params = CertificateParams::default();
        self.fill(&mut params);
        finished(&params, &new_key()?)
    }
}

fn finished(params: &CertificateParams, key: &KeyPair) -> Result<(String, Zeroizing<String>), IssueError> {
    let request = params.serialize_request(key).map_err(crypto)?;
    Ok((request.pem().map_err(crypto)?, Zeroizing::new(key.serialize_pem())))
}

fn der(bytes: &[u8]) -> Result<CertificateSigningRequestDer<'static>, IssueError> {
    if !bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        return Ok(CertificateSigningRequestDer::from(bytes.to_vec()));
    }
    CertificateSigningRequestDer::from_pem_slice(bytes)
        .map_err(|_| IssueError::Request("there is no request in PEM form in it".into()))
}

/// The request and its key; who made it owns the key.
fn verified(der: &[u8]) -> Result<(X509CertificationRequest<'_>, SubjectPublicKeyInfo), IssueError> {
    let bad = |why: &str| IssueError::Request(why.to_owned());
    let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
        return Err(bad("it is damaged, or no request"));
    };
    let info = &request.certification_request_info;
    facts::check_strength(&info.subject_pki).map_err(IssueError::WeakKey)?;
    let signed =
        Signed { message: info.raw, algorithm: &request.signature_algorithm, signature: &request.signature_value.data };
    if !signed.is_by(info.subject_pki.raw) {
        return Err(bad("it is not signed with its own key"));
    }
    let key =
        SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(|error| IssueError::WeakKey(error.to_string()))?;
    Ok((request, key))
}

fn extensions<'a>(request: &'a X509CertificationRequest<'a>) -> impl Iterator<Item = &'a X509Extension<'a>> {
    let attributes = request.certification_request_info.iter_attributes();
    let asked = attributes.filter_map(|attribute| match attribute.parsed_attribute() {
        ParsedCriAttribute::ExtensionRequest(asked) => Some(asked.extensions.iter()),
        _ => None,
    });
    asked.flatten()
}

fn first_host(names: &[rcgen::SanType]) -> Option<String> {
    names.iter().find_map(|name| match name {
        rcgen::SanType::DnsName(text) => Some(text.as_str().to_owned()),
        rcgen::SanType::IpAddress(address) => Some(address.to_string()),
        _ => None,
    })
}

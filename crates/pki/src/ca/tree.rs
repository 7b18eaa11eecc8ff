//! How CAs come into being: a root, an intermediate CA below it, and the successor of a root with the certificates by
//! which each vouches for the other (RFC 4210 section 4.4). Called by `motte cert`. Never writes a file.

use std::time::SystemTime;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, IsCa, KeyUsagePurpose, SubjectPublicKeyInfo};
use rustls_pki_types::CertificateDer;

use super::profile::{distinguished, named};
use super::request::AuthorityRequest;
use super::{Authority, DAY, IssueError, SKEW, crypto, dated, new_key};
use crate::facts;
use crate::pem;

/// Days a root made here lasts: ten years with their leap days.
pub const AUTHORITY_DAYS: u16 = 3653;
/// Days an intermediate CA made here lasts, unless its root ends before.
pub const INTERMEDIATE_DAYS: u16 = 1826;

impl Authority {
    /// Makes a CA of its own: P-256, ten years, for signing certificates and CRLs only, path length 0.
    pub fn create(common_name: &str, now: SystemTime) -> Result<Self, IssueError> {
        Self::create_root(common_name, 0, now)
    }

    /// The same with so many levels of CAs allowed below it.
    pub fn create_root(common_name: &str, levels: u8, now: SystemTime) -> Result<Self, IssueError> {
        Self::root(named(common_name)?, Some(levels), now)
    }

    fn root(subject: DistinguishedName, levels: Option<u8>, now: SystemTime) -> Result<Self, IssueError> {
        let key = new_key()?;
        let mut params = dated(now, now + DAY * u32::from(AUTHORITY_DAYS))?;
        authority(&mut params, subject, levels);
        let certificate = params.self_signed(&key).map_err(crypto)?;
        Self::from_parts(&[certificate.into()], key)
    }

    /// A root with the same name and a new key, to take the place of this one: the same name, because then the
    /// certificates by which they vouch for each other do not count as a level.
    pub fn successor(&self, now: SystemTime) -> Result<Self, IssueError> {
        let certificate = facts::parse(&self.certificate).map_err(|_| IssueError::AuthorityName)?;
        if certificate.issuer().as_raw() != certificate.subject().as_raw() {
            return Err(IssueError::NotRoot);
        }
        let levels = facts::path_length(&self.certificate).map(|levels| u8::try_from(levels).unwrap_or(u8::MAX));
        Self::root(distinguished(certificate.subject())?, levels, now)
    }

    /// A certificate of another CA by this one, so that who trusts this one trusts what the other signs. PEM.
    pub fn vouch_for(&self, other: &Self, now: SystemTime) -> Result<String, IssueError> {
        let certificate = facts::parse(&other.certificate).map_err(|_| IssueError::AuthorityName)?;
        let key = key_of(&other.certificate)?;
        let mut params = dated(now.max(self.not_before + SKEW), self.not_after.min(other.not_after))?;
        let levels = facts::path_length(&other.certificate).map(|levels| u8::try_from(levels).unwrap_or(u8::MAX));
        authority(&mut params, distinguished(certificate.subject())?, levels);
        params.use_authority_key_identifier_extension = true;
        let vouched = params.signed_by(&key, &self.issuer).map_err(crypto)?;
        Ok(pem::encode("CERTIFICATE", vouched.der()))
    }

    /// Makes a CA below this one, with a key of its own.
    pub fn create_intermediate(&self, common_name: &str, days: u16, now: SystemTime) -> Result<Self, IssueError> {
        let key = new_key()?;
        let chain = self.certify_as_authority(&key, named(common_name)?, days, now)?;
        Self::from_parts(&chain, key)
    }

    /// Signs the request of a CA below this one; the answer is its chain, PEM.
    pub fn certify_authority(
        &self,
        request: &AuthorityRequest,
        days: u16,
        now: SystemTime,
    ) -> Result<String, IssueError> {
        let chain = self.certify_as_authority(&request.key, request.subject.clone(), days, now)?;
        Ok(chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect())
    }

    /// The certificate of a CA below this one, and the chain above it.
    fn certify_as_authority(
        &self,
        key: &impl rcgen::PublicKeyData,
        subject: DistinguishedName,
        days: u16,
        now: SystemTime,
    ) -> Result<Vec<CertificateDer<'static>>, IssueError> {
        let levels = match facts::path_length(&self.certificate) {
            Some(0) => return Err(IssueError::PathLength),
            Some(levels) => u8::try_from(levels - 1).unwrap_or(u8::MAX),
            None => 0,
        };
        if days == 0 || days > AUTHORITY_DAYS {
            return Err(IssueError::AuthorityDays);
        }
        self.check_validity(now)?;
        let ends = (now + DAY * u32::from(days)).min(self.not_after);
        let mut params = dated(now.max(self.not_before + SKEW), ends)?;
        authority(&mut params, subject, Some(levels));
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &self.issuer).map_err(crypto)?;
        if !facts::is_issued_by(certificate.der(), &self.certificate) {
            return Err(IssueError::AuthorityName);
        }
        let above = self.chain.iter().cloned();
        Ok(std::iter::once(certificate.into()).chain(above).collect())
    }
}

fn authority(params: &mut CertificateParams, subject: DistinguishedName, levels: Option<u8>) {
    params.distinguished_name = subject;
    params.is_ca = IsCa::Ca(levels.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
}

fn key_of(certificate: &[u8]) -> Result<SubjectPublicKeyInfo, IssueError> {
    let key = facts::public_key_der(certificate).unwrap_or_default();
    SubjectPublicKeyInfo::from_der(&key).map_err(crypto)
}

//! The revocation list of a CA (RFC 5280 section 5), signed with its key. Called by `motte cert crl` and `revoke`.
//! Never keeps what was revoked: that is in the index beside the CA.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber,
};

use super::{Authority, DAY, IssueError, SKEW, certificate_time, crypto};
use crate::facts;

/// Most days until the next list is due.
pub const CRL_DAYS_MAX: u16 = 398;

/// Why a certificate is revoked (RFC 5280 section 5.3.1), in OpenSSL's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    /// Not said.
    #[default]
    Unspecified,
    /// Somebody else has the key, or may have.
    KeyCompromise,
    /// Somebody else has the key of the CA, or may have.
    CaCompromise,
    /// The holder belongs elsewhere now.
    AffiliationChanged,
    /// There is a newer one.
    Superseded,
    /// The holder is no more.
    CessationOfOperation,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "CACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
        }
    }

    fn code(self) -> Option<RevocationReason> {
        match self {
            // RFC 5280: the code is left out rather than to say 0.
            Self::Unspecified => None,
            Self::KeyCompromise => Some(RevocationReason::KeyCompromise),
            Self::CaCompromise => Some(RevocationReason::CaCompromise),
            Self::AffiliationChanged => Some(RevocationReason::AffiliationChanged),
            Self::Superseded => Some(RevocationReason::Superseded),
            Self::CessationOfOperation => Some(RevocationReason::CessationOfOperation),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Not the word of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the reason is one of unspecified, keyCompromise, CACompromise, affiliationChanged, superseded, \
     cessationOfOperation"
)]
pub struct NoReason;

impl FromStr for Reason {
    type Err = NoReason;

    fn from_str(text: &str) -> Result<Self, NoReason> {
        Self::ALL.into_iter().find(|reason| reason.word().eq_ignore_ascii_case(text)).ok_or(NoReason)
    }
}

/// A certificate that counts no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Its serial number, two lower-case hex digits a byte.
    pub serial_hex: String,
    /// Since when.
    pub at: SystemTime,
    /// Why.
    pub reason: Reason,
}

/// A revocation list in both forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crl {
    /// PEM.
    pub pem: String,
    /// DER.
    pub der: Vec<u8>,
}

impl Authority {
    /// Signs a list of all that is revoked. `number` has to be higher than that of every list before.
    pub fn revocation_list(
        &self,
        revoked: &[Revoked],
        number: u64,
        days: u16,
        now: SystemTime,
    ) -> Result<Crl, IssueError> {
        if days == 0 || days > CRL_DAYS_MAX {
            return Err(IssueError::ListDays);
        }
        if !self.signs_lists() {
            return Err(IssueError::NoLists);
        }
        let entry = |revoked: &Revoked| {
            Ok(RevokedCertParams {
                serial_number: serial(&revoked.serial_hex)?,
                revocation_time: certificate_time(revoked.at)?,
                reason_code: revoked.reason.code(),
                invalidity_date: None,
            })
        };
        let params = CertificateRevocationListParams {
            this_update: certificate_time(now.checked_sub(SKEW).ok_or(IssueError::Clock)?)?,
            next_update: certificate_time(now + DAY * u32::from(days))?,
            crl_number: SerialNumber::from_slice(&number.to_be_bytes()),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect::<Result<_, IssueError>>()?,
            key_identifier_method: match facts::key_identifier(&self.certificate) {
                Some(identifier) => KeyIdMethod::PreSpecified(identifier),
                None => KeyIdMethod::Sha256,
            },
        };
        let list = params.signed_by(&self.issuer).map_err(crypto)?;
        Ok(Crl { pem: list.pem().map_err(crypto)?, der: list.der().to_vec() })
    }

    /// Whether the CA may sign revocation lists.
    pub fn signs_lists(&self) -> bool {
        let usages = self.issuer.key_usages();
        usages.is_empty() || usages.contains(&KeyUsagePurpose::CrlSign)
    }
}

fn serial(hex: &str) -> Result<SerialNumber, IssueError> {
    let digits = hex.as_bytes();
    let byte = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes = digits.chunks(2).map(|pair| byte(pair).filter(|_| pair.len() == 2)).collect::<Option<Vec<_>>>();
    let bytes = bytes.filter(|bytes| !bytes.is_empty() && bytes.len() <= SERIAL_BYTES_MAX);
    bytes.map(|bytes| SerialNumber::from_slice(&bytes)).ok_or_else(|| IssueError::Serial(hex.to_owned()))
}

/// Bytes of a serial number (RFC 5280 section 4.1.2.2), and one for a leading zero.
const SERIAL_BYTES_MAX: usize = 21;

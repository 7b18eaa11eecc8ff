//! Why a CA does not do what it was asked. Every error has a hint for the user.

use super::{AUTHORITY_DAYS, CRL_DAYS_MAX, Role};

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
    /// An alternative name of a kind that is not issued.
    #[error("the name {0:?} is of a kind that is not issued")]
    NameKind(String),
    /// A subject with a field twice, or with more than one value in a part.
    #[error("the subject {0:?} has a form that cannot be issued")]
    Subject(String),
    /// A certificate that is neither a server's nor a client's alone.
    #[error("the certificate is neither for servers only nor for clients only")]
    NoRole,
    /// A public key that is too weak or of an unknown kind.
    #[error("the public key is not acceptable: {0}")]
    WeakKey(String),
    /// The CA may sign no other CAs.
    #[error("the CA certificate allows no CA below it (path length 0)")]
    PathLength,
    /// A CA that another one signed was to get a successor.
    #[error("the CA is not a root: another CA signed it")]
    NotRoot,
    /// Zero days for a CA, or too many.
    #[error("a CA lasts 1 to {AUTHORITY_DAYS} days")]
    AuthorityDays,
    /// Not a certificate request, or a damaged one.
    #[error("the certificate request cannot be used: {0}")]
    Request(String),
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
            Self::NameKind(_) => "use DNS names and IP addresses, for clients also e-mail addresses and URIs",
            Self::Subject(_) => "make a subject in which no field occurs twice",
            Self::NoRole => "make a new certificate with `motte cert server` or `motte cert client`",
            Self::WeakKey(_) => "use ECDSA P-256, P-384 or P-521, Ed25519, or RSA of 2048 bits or more",
            Self::PathLength => "make a CA with `motte cert ca --intermediates`",
            Self::NotRoot => "make a new intermediate CA with `motte cert intermediate` instead",
            Self::AuthorityDays => "ask for fewer days",
            Self::Request(_) => "make it again, for instance with `motte cert csr`",
            Self::Days { .. } => "ask for fewer days; certificates are renewed before they end",
            Self::ListDays => "choose a time in which you will surely make the next one, such as 30 days",
            Self::NoLists => "make a CA with the key usage cRLSign, as `motte cert ca` does",
            Self::Serial(_) => "give it in hex, as `motte cert list --json` shows it",
            Self::Clock => "set the system's clock",
            Self::Crypto(_) => "try again; if it happens again, report it",
        }
    }
}

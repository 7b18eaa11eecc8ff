//! How the server certificate is got from a CA that speaks ACME (RFC 8555).
//!
//! Made by `config`, read by `acme`, which looks at it anew in every round.

use std::net::SocketAddr;
use std::path::PathBuf;

use motte_pki::HostName;

use crate::secret::SecretRef;

/// An account at a CA, and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSettings {
    /// URL of the CA's directory, `https` always.
    pub directory: String,
    /// PEM certificates that the CA's own server is believed by; `None`: those the system trusts.
    pub ca: Option<PathBuf>,
    /// URLs such as `mailto:ops@example.org`.
    pub contact: Vec<String>,
    /// Names of the certificate; each a name of DNS without a wildcard, at least one.
    pub names: Vec<HostName>,
    /// How the CA is shown that the names are ours.
    pub challenge: AcmeChallenge,
    /// The file of the account and its key, mode 0600.
    pub account: PathBuf,
    /// The account at the CA's operator that a new one is bound to, where the CA asks for it.
    pub binding: Option<ExternalBinding>,
}

/// How a CA is shown that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// A text on a web server that stands at this address while a certificate is asked for, and answers nothing else.
    Http(SocketAddr),
    /// A certificate on the TLS listeners (RFC 8737).
    TlsAlpn,
}

/// External account binding (RFC 8555, section 7.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalBinding {
    /// The key's identifier.
    pub key_id: String,
    /// The key, base64url as the CA gave it.
    pub key: SecretRef,
}

//! Certificates: the private CA, issuing, reading, key files on disk, and every rustls configuration of the workspace.
//!
//! Called by `node` (listeners, renewal), `client` (outgoing TLS), `console` and the command line. Never opens a
//! socket, never logs, never falls back to no verification by itself.

pub mod acme;
pub mod ca;
mod chain;
pub mod facts;
pub mod files;
pub mod import;
pub mod index;
pub mod jwt;
pub mod keys;
mod name;
pub mod ocsp;
mod pem;
pub mod pkcs12;
pub mod renewal;
pub mod revocation;
pub mod session;
mod signature;
mod text;
pub mod tls;
pub mod trouble;

pub use ca::{
    AUTHORITY_DAYS, Authority, AuthorityRequest, CLIENT_DAYS_MAX, CRL_DAYS_MAX, Crl, INTERMEDIATE_DAYS, IssueError,
    Issued, LeafRequest, NoReason, Profile, Reason, Request, Revoked, Role, SERVER_DAYS_MAX,
};
pub use chain::Chain;
pub use facts::{CertificateFacts, CertificateRole, FactsError, IdentityField, attributes, identity};
pub use files::{create_private_dir, read_private, write_private, write_public};
pub use import::{Assembled, ImportError, Material};
pub use index::{Entry, Index, IndexError};
pub use jwt::{
    JwtAlgorithm, JwtError, JwtExpectations, JwtKeys, JwtKeysError, KeyMark, VerifiedJwt, jwt_issuer, verify_jwt,
};
pub use keys::{KeyError, KeyPassword, is_protected, key_pem, parse_key, read_key};
pub use name::{HostName, HostNameError};
pub use renewal::renewal_due;
pub use revocation::{CrlFacts, crl_facts, revoked_serials};
pub use session::{TlsFacts, verified_facts};
pub use text::printable;
pub use tls::{
    ClientCertificates, ClientTlsParams, ClientTrust, Roots, ServerTls, ServerTlsParams, TlsVersion, client_config,
    client_trust, crypto_provider, server_config, server_tls,
};
pub use trouble::{TlsFileError, Trouble, explain_client_refusal, explain_handshake, explain_handshake_io};

#[cfg(test)]
mod testing;

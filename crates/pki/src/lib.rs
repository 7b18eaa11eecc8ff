//! Certificates: the private CA, issuing, reading, key files on disk, and every rustls configuration of the workspace.
//!
//! Called by `node` (listeners, renewal), `client` (outgoing TLS), `console` and the command line. Never opens a
//! socket, never logs, never falls back to no verification by itself.

pub mod ca;
pub mod facts;
pub mod files;
pub mod jwt;
mod name;
mod pem;
pub mod renewal;
pub mod session;
mod text;
pub mod tls;
pub mod trouble;

pub use ca::{Authority, CLIENT_DAYS_MAX, IssueError, Issued, LeafRequest, Role, SERVER_DAYS_MAX};
pub use facts::{CertificateFacts, CertificateRole, FactsError, IdentityField, identity};
pub use files::{create_private_dir, read_private, write_private, write_public};
pub use jwt::{JwtAlgorithm, JwtError, JwtExpectations, JwtKeys, JwtKeysError, KeyMark, VerifiedJwt, verify_jwt};
pub use name::{HostName, HostNameError};
pub use renewal::renewal_due;
pub use session::{TlsFacts, verified_facts};
pub use text::printable;
pub use tls::{
    ClientCertificates, ClientTlsParams, Roots, ServerTls, ServerTlsParams, TlsVersion, client_config, client_verifier,
    crypto_provider, server_config, server_tls,
};
pub use trouble::{TlsFileError, Trouble, explain_handshake, explain_handshake_io};

#[cfg(test)]
mod testing;

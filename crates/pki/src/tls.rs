//! The only builder of rustls configurations. Called by `node` (listeners) and `client` (outgoing connections).
//! Never turns verification off unless asked by name, never allows 0-RTT, and never resumes a session whose client
//! was known by a certificate, because resumption skips the check whether that certificate still counts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CipherSuite, ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::keys::{self, KeyPassword};
use crate::ocsp::Staple;
use crate::pem;
use crate::trouble::TlsFileError;

mod danger;
mod names;
mod trust;

use names::CertificatesByName;
pub use trust::ClientTrust;

/// The lowest version of TLS that is spoken; there is none below 1.2 (RFC 8996).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    V12,
    /// TLS 1.3 only.
    V13,
}

/// Whether a listener asks its clients for certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Not asked for.
    #[default]
    None,
    /// Asked for; a client without one may log in by other means, a bad one is refused.
    Optional,
    /// A client without a good one is refused.
    Required,
}

/// What a listener's TLS is made of. Files are read when [`server_config`] is called, and not again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTlsParams {
    /// PEM: the server's certificate, then those between it and the root.
    pub certificate: PathBuf,
    /// PEM: the key of the first certificate.
    pub key: PathBuf,
    /// More pairs of such files: each is shown to clients that ask for a DNS name in its certificate. The pair above
    /// comes first and is the one for all other clients.
    pub more: Vec<(PathBuf, PathBuf)>,
    /// Whether clients that ask for a name in none of the certificates, or for no name, are refused.
    pub names_strict: bool,
    /// The password of keys that are protected by one.
    pub key_password: Option<KeyPassword>,
    /// PEM: the CAs whose client certificates count. Needed unless `client_certificates` is `None`.
    pub client_ca: Option<PathBuf>,
    /// Whether clients show certificates.
    pub client_certificates: ClientCertificates,
    /// Revocation lists, PEM or DER. When there is one, each CA has to have one, and a certificate of which nothing is
    /// known is refused.
    pub crls: Vec<PathBuf>,
    /// PEM: more CAs whose lists may be among them; their clients do not count.
    pub crl_authorities: Vec<PathBuf>,
    /// Danger: lists count beyond their end.
    pub accept_expired_crls: bool,
    /// The lowest version.
    pub tls_min: TlsVersion,
    /// Application protocols (RFC 7301), best first; empty to not use ALPN.
    pub alpn: Vec<Vec<u8>>,
}

/// Whom a client believes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// The CAs of a PEM file, and no others.
    File(PathBuf),
    /// Those the operating system trusts.
    #[default]
    System,
}

/// What a client's TLS is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTlsParams {
    /// Whom to believe.
    pub roots: Roots,
    /// PEM files of the client's own certificate (with those between it and the root) and its key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// The password of that key, if it is protected by one.
    pub key_password: Option<KeyPassword>,
    /// Application protocols, best first; empty to not use ALPN.
    pub alpn: Vec<Vec<u8>>,
    /// The lowest version.
    pub tls_min: TlsVersion,
    /// Danger: believe any server, so that anyone on the way can read and change everything. For tests by hand only.
    pub insecure: bool,
}

/// The cryptography used everywhere: aws-lc-rs with a hybrid post-quantum exchange first, and only suites with forward
/// secrecy and authenticated encryption.
pub fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
        ..aws_lc_rs::default_provider()
    })
}

/// A listener's configurations: the same but for who chooses the cipher suite.
///
/// AES-128 with SHA-256 is the cheapest suite where both ends have AES in hardware, yet most clients name AES-256 with
/// SHA-384 first, whose handshake takes a fifth longer, so the choice is made here. A client that names ChaCha20 first
/// does so because it has no such hardware; it gets what it asks for.
#[derive(Clone, Debug)]
pub struct ServerTls {
    ours: Arc<ServerConfig>,
    theirs: Arc<ServerConfig>,
    trust: Option<ClientTrust>,
    shown: Arc<CertificatesByName>,
}

impl ServerTls {
    /// Shows an answer about the certificate's status in the handshakes to come, where it is about the certificate that
    /// is shown by default; `None`: no longer.
    pub fn staple(&self, staple: Option<&Staple>) {
        self.shown.staple(staple);
    }

    /// Whose client certificates count; `None` where none are asked for.
    pub fn client_trust(&self) -> Option<&ClientTrust> {
        self.trust.as_ref()
    }

    /// The configuration for whoever says this.
    pub fn config_for(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let first = hello.cipher_suites().iter().find(|suite| {
            let known = &self.ours.crypto_provider().cipher_suites;
            known.iter().any(|known| known.suite() == **suite)
        });
        Arc::clone(if first.is_some_and(|suite| is_chacha20(*suite)) { &self.theirs } else { &self.ours })
    }
}

fn is_chacha20(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

/// Builds a listener's configurations out of the same files, with [`server_config`] and its errors.
pub fn server_tls(params: &ServerTlsParams) -> Result<ServerTls, TlsFileError> {
    let provider = crypto_provider();
    let trust = trust::client_trust(params, &provider)?;
    let (ours, shown) = config_with(params, &provider, trust.as_ref())?;
    let mut theirs = ServerConfig::clone(&ours);
    theirs.ignore_client_order = false;
    Ok(ServerTls { ours, theirs: Arc::new(theirs), trust, shown })
}

/// Builds a listener's configuration for clients that have AES in hardware. Fails closed: any file that is missing,
/// damaged, exposed or does not fit is an error, and so are client certificates without a CA.
pub fn server_config(params: &ServerTlsParams) -> Result<Arc<ServerConfig>, TlsFileError> {
    let provider = crypto_provider();
    let trust = trust::client_trust(params, &provider)?;
    config_with(params, &provider, trust.as_ref()).map(|(config, _)| config)
}

fn config_with(
    params: &ServerTlsParams,
    provider: &Arc<CryptoProvider>,
    trust: Option<&ClientTrust>,
) -> Result<(Arc<ServerConfig>, Arc<CertificatesByName>), TlsFileError> {
    let password = params.key_password.as_ref();
    let mut own = vec![certified_key((&params.certificate, &params.key), password, provider)?];
    for (certificate, key) in &params.more {
        own.push(certified_key((certificate, key), password, provider)?);
    }
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions(params.tls_min))
        .map_err(TlsFileError::from_rustls)?;
    let builder = match trust {
        Some(trust) => builder.with_client_cert_verifier(Arc::clone(&trust.verifier)),
        None => builder.with_no_client_auth(),
    };
    let shown = Arc::new(CertificatesByName::new(own, params.names_strict));
    let mut config = builder.with_cert_resolver(Arc::<CertificatesByName>::clone(&shown));
    config.alpn_protocols.clone_from(&params.alpn);
    config.max_early_data_size = 0;
    config.ignore_client_order = true;
    // A device opens one connection at a time, and gets another ticket each time.
    config.send_tls13_tickets = 1;
    if params.client_certificates == ClientCertificates::None {
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsFileError::from_rustls)?;
    } else {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok((Arc::new(config), shown))
}

/// Builds a client's configuration; the server's name is given when a connection is opened.
pub fn client_config(params: &ClientTlsParams) -> Result<Arc<ClientConfig>, TlsFileError> {
    let provider = crypto_provider();
    let verifier: Arc<dyn ServerCertVerifier> = if params.insecure {
        Arc::new(danger::AnyServer::new(&provider))
    } else {
        let roots = Arc::new(match &params.roots {
            Roots::File(path) => pem::roots(path)?,
            Roots::System => system_roots()?,
        });
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| TlsFileError::Configuration { reason: error.to_string() })?
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(params.tls_min))
        .map_err(TlsFileError::from_rustls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &params.client_certificate {
        Some((certificate, key)) => {
            let own = certified_key((certificate, key), params.key_password.as_ref(), &provider)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols.clone_from(&params.alpn);
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

/// Best first.
static VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

fn versions(least: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match least {
        TlsVersion::V12 => &VERSIONS,
        TlsVersion::V13 => &VERSIONS[..1],
    }
}

/// Reads whose client certificates count for such a listener; `None` where none are asked for. For looking at CAs and
/// revocation lists without the rest.
pub fn client_trust(params: &ServerTlsParams) -> Result<Option<ClientTrust>, TlsFileError> {
    trust::client_trust(params, &crypto_provider())
}

fn certified_key(
    (certificate, key): (&Path, &Path),
    password: Option<&KeyPassword>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsFileError> {
    let chain = pem::certificates(certificate)?;
    let private = provider
        .key_provider
        .load_private_key(keys::read_key(key, password)?)
        .map_err(|_| TlsFileError::UnsupportedKey { path: key.to_owned() })?;
    let own = CertifiedKey::new(chain, private);
    own.keys_match()
        .map_err(|_| TlsFileError::KeyDoesNotMatch { certificate: certificate.to_owned(), key: key.to_owned() })?;
    Ok(own)
}

fn system_roots() -> Result<RootCertStore, TlsFileError> {
    let mut store = RootCertStore::empty();
    // One unreadable file among hundreds is no reason to refuse all; none at all is.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() { Err(TlsFileError::NoSystemRoots) } else { Ok(store) }
}

#[cfg(test)]
mod tests;

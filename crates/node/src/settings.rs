//! The settings of a node, parsed: what cannot be right cannot be expressed.
//!
//! Made by `config`, read by boot, gate, workers and reload. Defaults are the secure ones.

mod acme;
mod address;
mod durability;
mod dynamic;
mod files;
mod identity;
mod remote;
mod rules;
mod tenancy;
mod transport;

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use motte_broker::{Hints, Limits};
use motte_pki::KeyPassword;
use zeroize::Zeroizing;

use crate::secret::{SecretError, SecretRef, process_environment};

use crate::secret::VaultSettings;

pub use acme::{AcmeChallenge, AcmeSettings, ExternalBinding};
pub use address::{ListenAddress, Network, NetworkError};
pub(crate) use durability::CONTROL_SOCKET;
pub use durability::{COMMIT_INTERVAL, DurabilityMode, DurabilitySettings};
pub use dynamic::DynamicSettings;
pub use identity::{IdentitySettings, SourceName};
pub use remote::{
    JwksSettings, JwtKeySource, JwtSettings, LdapProtection, LdapSettings, LdapUrl, RemoteSettings, TokenIn,
    WebhookSettings,
};
pub use rules::{CertificateFiles, ListenerRules, ProtocolVersions};
pub use tenancy::{Candidate, Members, NoTenant, Tenancy, TenantSettings};
pub use transport::{Speech, Transport, WebSocketSettings};

/// Everything a node is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The configuration file these settings come from; reload reads it again.
    pub source: PathBuf,
    /// Number of shards; by default one per core.
    pub shards: NonZeroU16,
    /// How often the `$SYS` tree is brought up to date; zero: never, and there is none.
    pub sys_interval: Duration,
    /// Whether the files are read again as soon as one of them changes.
    pub watch: bool,
    /// Where the owner of the process can ask it something; `None`: nowhere.
    pub control_socket: Option<PathBuf>,
    /// Where clients come in; at least one.
    pub listeners: Vec<ListenerSettings>,
    /// Certificates of the node.
    pub tls: TlsSettings,
    /// How identities are checked.
    pub identity: IdentitySettings,
    /// Where secrets are kept that are not on this machine.
    pub vault: Option<VaultSettings>,
    /// Who belongs to which tenant.
    pub tenancy: Tenancy,
    /// The ACL file (Mosquitto's grammar).
    pub acl_file: Option<PathBuf>,
    /// Motte's own policy file.
    pub policy_file: Option<PathBuf>,
    /// Clients, groups and roles that are changed while the broker runs.
    pub dynamic: Option<DynamicSettings>,
    /// Limits before admission.
    pub gate: GateLimits,
    /// Limits of each shard.
    pub limits: Limits,
    /// Limits of the transport of an admitted connection.
    pub links: LinkLimits,
    /// What survives a restart.
    pub durability: DurabilitySettings,
    /// What clients are told beside the answers to their packets.
    pub hints: Hints,
    /// The log.
    pub log: LogSettings,
    /// What stands under `[danger]`, named at every start.
    pub dangers: Vec<&'static str>,
}

/// How often the `$SYS` tree is brought up to date unless the configuration says otherwise.
pub const SYS_INTERVAL: Duration = Duration::from_secs(10);

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Its name in the configuration and in logs.
    pub name: String,
    /// Where it listens.
    pub address: ListenAddress,
    /// What is spoken.
    pub transport: Transport,
    /// Whether client certificates are asked for.
    pub client_certificates: ClientCertificates,
    /// What it asks of its clients beside that.
    pub rules: ListenerRules,
    /// How many connections it may have, admitted and on their way in together; `None`: as many as the node.
    pub connections_max: Option<usize>,
    /// Proxies that begin each connection with a PROXY header. When there is one, nobody else may connect; empty: no
    /// proxy is expected and a header is not understood.
    pub trusted_proxies: Vec<Network>,
}

impl ListenerSettings {
    /// Whether every connection comes through a proxy that says for whom.
    pub(crate) fn expects_proxy(&self) -> bool {
        !self.trusted_proxies.is_empty()
    }

    /// Whether the listener takes a connection from there; a unix socket has no address.
    pub(crate) fn trusts(&self, peer: Option<SocketAddr>) -> bool {
        let trusted = |peer: SocketAddr| self.trusted_proxies.iter().any(|network| network.contains(peer.ip()));
        !self.expects_proxy() || peer.is_some_and(trusted)
    }
}

/// Whether client certificates are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Not asked for.
    None,
    /// Verified when there is one; a certificate or a password is needed.
    #[default]
    Optional,
    /// Demanded in the handshake.
    Required,
}

/// The node's certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// PEM chain of the server, leaf first.
    pub certificate: PathBuf,
    /// PEM key of the server, mode 0600.
    pub key: PathBuf,
    /// Where the password is of keys that are protected by one.
    pub key_password: Option<SecretRef>,
    /// Where answers about the certificate's status come from, to be stapled to handshakes.
    pub ocsp: Option<OcspSource>,
    /// PEM certificates of the CAs that sign client certificates, where a listener names no others.
    pub client_ca: Option<PathBuf>,
    /// Revocation lists, PEM or DER, for listeners that name none; empty: it is not asked whether certificates have
    /// been revoked.
    pub crls: Vec<PathBuf>,
    /// Whether lists count beyond their end. Only under `[danger]`.
    pub accept_expired_crls: bool,
    /// Whether TLS 1.2 is spoken beside 1.3.
    pub tls12: bool,
    /// Renewal of the server certificate by the node itself.
    pub renewal: Option<RenewalSettings>,
    /// Issue and renewal by a CA that speaks ACME; never beside `renewal`.
    pub acme: Option<AcmeSettings>,
}

/// Where answers about the status of the server certificate come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OcspSource {
    /// The responder that the certificate names.
    Responder,
    /// A file that something else keeps fresh, DER.
    File(PathBuf),
}

impl TlsSettings {
    /// The password of keys that are protected.
    ///
    /// # Errors
    /// It is not where it should be.
    pub(crate) fn password(&self) -> Result<Option<KeyPassword>, SecretError> {
        self.key_password.as_ref().map(resolved).transpose()
    }
}

/// The password that a reference leads to.
pub(crate) fn resolved(reference: &SecretRef) -> Result<KeyPassword, SecretError> {
    let secret = reference.resolve(&process_environment)?;
    Ok(KeyPassword::new(Zeroizing::new(secret.bytes().to_vec())))
}

/// How the node renews its own certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalSettings {
    /// PEM certificate of the private CA.
    pub ca_certificate: PathBuf,
    /// PEM key of the private CA, mode 0600.
    pub ca_key: PathBuf,
    /// Life of a new certificate in days, at most 90.
    pub days: u16,
}

/// Limits that hold before a connection is admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateLimits {
    /// From accept to CONNACK: TCP, TLS, WebSocket, CONNECT and password check together.
    pub admission_deadline: Duration,
    /// Bytes of a CONNECT.
    pub connect_bytes_max: u32,
    /// Characters of a client identifier of MQTT 3.1.
    pub client_id_31_characters_max: usize,
    /// Connections between accept and CONNACK, in all.
    pub handshakes_max: usize,
    /// Connections between accept and CONNACK, from one address.
    pub handshakes_per_address_max: usize,
    /// Connections in all.
    pub connections_max: usize,
    /// Connections from one address (IPv6: one /64).
    pub connections_per_address_max: usize,
    /// Password hashes computed at once.
    pub hashes_at_once_max: usize,
    /// Password checks that may wait.
    pub hashes_waiting_max: usize,
    /// How long a password check may wait for its turn and take.
    pub hash_deadline: Duration,
    /// Passwords that were right a moment ago, which are not hashed again; zero: none.
    pub proofs_max: usize,
    /// How long they are known.
    pub proof_life: Duration,
    /// Wrong proofs before somebody waits.
    pub guesses: GuessLimits,
}

/// Wrong proofs before somebody waits; zero: any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuessLimits {
    /// Of one user from one address.
    pub wrong_max: u32,
    /// From one address (IPv6: one /64).
    pub wrong_per_address_max: u32,
    /// Of one user.
    pub wrong_per_user_max: u32,
}

impl Default for GuessLimits {
    fn default() -> Self {
        Self { wrong_max: 5, wrong_per_address_max: 100, wrong_per_user_max: 50 }
    }
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            admission_deadline: Duration::from_secs(10),
            connect_bytes_max: 16 * 1024,
            client_id_31_characters_max: 23,
            handshakes_max: 512,
            handshakes_per_address_max: 128,
            connections_max: 100_000,
            connections_per_address_max: 10_000,
            hashes_at_once_max: 2,
            hashes_waiting_max: 256,
            hash_deadline: Duration::from_secs(5),
            proofs_max: 65_536,
            proof_life: Duration::from_secs(15 * 60),
            guesses: GuessLimits::default(),
        }
    }
}

/// Limits of the transport of an admitted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkLimits {
    /// From the first byte of a packet to its last, while the connection is read.
    pub packet_deadline: Duration,
    /// How long a client may take no byte of what waits for it.
    pub write_timeout: Duration,
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self { packet_deadline: Duration::from_secs(120), write_timeout: Duration::from_secs(60) }
    }
}

/// The log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Form of the lines.
    pub format: LogFormat,
    /// Least level shown.
    pub level: LogLevel,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Human.
    Human,
    /// One JSON object a line.
    Json,
}

/// Least level shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// Warnings too.
    Warn,
    /// Ordinary life too.
    #[default]
    Info,
    /// Everything.
    Debug,
}

//! What a listener asks of its clients: versions, certificates, identity; and where their topics are mounted.
//!
//! Made by `config`, read by the gate and by reload, which puts new rules in force without touching the socket.

use std::path::PathBuf;

use motte_broker::MountPoint;
use motte_mqtt::ProtocolVersion;
use motte_pki::IdentityField;

use super::identity::SourceName;

/// The rules of one listener. The default is the secure one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerRules {
    /// The versions of MQTT that are spoken.
    pub protocol_versions: ProtocolVersions,
    /// Whether connections without credentials are let in as nobody. Only under `[danger]`.
    pub allow_anonymous: bool,
    /// Who is asked whom a CONNECT comes from, in this order. One that is not configured is passed over.
    pub sources: Vec<SourceName>,
    /// Whether neither a certificate nor a password is proof enough alone: both are needed, of the same user.
    pub certificate_and_password: bool,
    /// The field of a verified client certificate that is the identity; `None` when certificates are no identity.
    pub certificate_identity: Option<IdentityField>,
    /// PEM certificates of the CAs that sign client certificates here; `None` for those of `[tls]`.
    pub client_ca: Option<PathBuf>,
    /// Revocation lists for the clients here; `None` for those of `[tls]`.
    pub crls: Option<Vec<PathBuf>>,
    /// The certificate shown here; `None` for that of `[tls]`.
    pub certificate: Option<CertificateFiles>,
    /// Certificates shown to clients that ask for a DNS name in them.
    pub certificates: Vec<CertificateFiles>,
    /// Whether clients that ask for a name in no certificate, or for none, are refused in the handshake.
    pub sni_strict: bool,
    /// Whether a client without an identifier is given one.
    pub assign_client_ids: bool,
    /// What stands before every topic of the clients here, unseen by them.
    pub mount_point: MountPoint,
}

impl Default for ListenerRules {
    fn default() -> Self {
        Self {
            protocol_versions: ProtocolVersions::default(),
            allow_anonymous: false,
            sources: SourceName::DEFAULT.to_vec(),
            certificate_and_password: false,
            certificate_identity: Some(IdentityField::CommonName),
            client_ca: None,
            crls: None,
            certificate: None,
            certificates: Vec::new(),
            sni_strict: false,
            assign_client_ids: true,
            mount_point: MountPoint::default(),
        }
    }
}

impl ListenerRules {
    /// CAs whose lists may be among those that count here beside those of its own: where a listener has CAs of its
    /// own and the lists of `[tls]`, those are of the CA of `[tls]` as well.
    pub(crate) fn crl_authorities(&self, shared_ca: Option<&PathBuf>) -> Vec<PathBuf> {
        let apart = self.client_ca.is_some() && self.crls.is_none();
        shared_ca.filter(|_| apart).cloned().into_iter().collect()
    }

    /// The field of a certificate that is an identity here, where certificates are asked for one.
    #[must_use]
    pub fn identity_field(&self) -> Option<IdentityField> {
        self.certificate_identity.filter(|_| self.asks(&SourceName::Certificate))
    }

    /// Whether the source is among those that are asked.
    #[must_use]
    pub fn asks(&self, source: &SourceName) -> bool {
        self.sources.contains(source)
    }
}

/// A certificate of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM chain, leaf first.
    pub certificate: PathBuf,
    /// PEM key of the leaf, mode 0600.
    pub key: PathBuf,
}

/// A set of versions of MQTT; all of them by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolVersions {
    /// MQTT 3.1.
    pub v31: bool,
    /// MQTT 3.1.1.
    pub v311: bool,
    /// MQTT 5.0.
    pub v5: bool,
}

impl Default for ProtocolVersions {
    fn default() -> Self {
        Self { v31: true, v311: true, v5: true }
    }
}

impl ProtocolVersions {
    /// No version: the beginning of a list.
    pub const NONE: Self = Self { v31: false, v311: false, v5: false };

    /// Whether `version` is in the set.
    #[must_use]
    pub fn contains(self, version: ProtocolVersion) -> bool {
        match version {
            ProtocolVersion::V31 => self.v31,
            ProtocolVersion::V311 => self.v311,
            ProtocolVersion::V5 => self.v5,
        }
    }

    /// The set with `version` in it.
    #[must_use]
    pub fn with(mut self, version: ProtocolVersion) -> Self {
        match version {
            ProtocolVersion::V31 => self.v31 = true,
            ProtocolVersion::V311 => self.v311 = true,
            ProtocolVersion::V5 => self.v5 = true,
        }
        self
    }
}

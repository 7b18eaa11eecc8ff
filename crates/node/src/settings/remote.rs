//! Sources of identities that are not on this machine: issuers of tokens, webhooks, directories.
//!
//! Made by `config`, turned into sources when a snapshot is built. Secrets are references; none is in here.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use motte_pki::{HostName, JwtAlgorithm};

use super::identity::SourceName;
use crate::outbound::HttpUrl;
use crate::secret::SecretRef;

/// All of them, in the order of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteSettings {
    /// Issuers of tokens.
    pub jwt: Vec<JwtSettings>,
    /// Webhooks.
    pub http: Vec<WebhookSettings>,
    /// Directories.
    pub ldap: Vec<LdapSettings>,
}

impl RemoteSettings {
    /// The names of all of them as they stand in `sources`, with the lines that declare them.
    pub fn names(&self) -> impl Iterator<Item = (SourceName, usize)> {
        let jwt = self.jwt.iter().map(|source| (SourceName::Jwt(source.name.clone()), source.line));
        let http = self.http.iter().map(|source| (SourceName::Http(source.name.clone()), source.line));
        let ldap = self.ldap.iter().map(|source| (SourceName::Ldap(source.name.clone()), source.line));
        jwt.chain(http).chain(ldap)
    }

    /// The files that are read for them.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let jwt = self.jwt.iter().flat_map(|source| match &source.keys {
            JwtKeySource::File(path) => Some(path),
            JwtKeySource::Url(jwks) => jwks.ca.as_ref(),
            JwtKeySource::Secret(secret) => secret.file(),
        });
        let http = self.http.iter().flat_map(|source| {
            let pair = source.client_certificate.iter().flat_map(|(certificate, key)| [certificate, key]);
            pair.chain(&source.ca).chain(source.token.iter().filter_map(SecretRef::file))
        });
        let ldap = self.ldap.iter().flat_map(|source| source.ca.iter().chain(source.bind_password.file()));
        jwt.chain(http).chain(ldap)
    }
}

/// An issuer whose tokens are believed: `[[identity.jwt]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtSettings {
    /// Its name in `sources`.
    pub name: String,
    /// The line that declares it.
    pub line: usize,
    /// The algorithms its tokens may be signed with: those of public keys, or those of a shared secret.
    pub algorithms: Vec<JwtAlgorithm>,
    /// Its `iss`.
    pub issuer: String,
    /// The `aud` this broker is.
    pub audience: String,
    /// Where its keys are.
    pub keys: JwtKeySource,
    /// How far its clock may be off.
    pub leeway: Duration,
    /// The claim that is the user name.
    pub username_claim: String,
    /// The claim that has to be the client identifier.
    pub client_id_claim: Option<String>,
    /// The claim that holds access rules.
    pub acl_claim: Option<String>,
    /// The claim that names the tenant.
    pub tenant_claim: Option<String>,
    /// Where in CONNECT its tokens stand.
    pub token_in: TokenIn,
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtKeySource {
    /// In a file with a JWK set.
    File(PathBuf),
    /// On a server, which is asked again from time to time.
    Url(JwksSettings),
    /// A secret that is shared with the issuer.
    Secret(SecretRef),
}

/// How keys are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksSettings {
    /// Where they are.
    pub url: HttpUrl,
    /// PEM certificates of the CAs that the server is believed by; `None`: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long a set is used before it is fetched again, unless the server says less.
    pub refresh: Duration,
    /// The least time between two fetches, however many unknown keys are named.
    pub refetch_min: Duration,
    /// How long the last good set counts while there is no newer one.
    pub stale_max: Duration,
}

/// Where in CONNECT a token stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenIn {
    /// As the password.
    #[default]
    Password,
    /// As the user name.
    Username,
}

/// A server that is asked about each client: `[[identity.http]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Its name in `sources`.
    pub name: String,
    /// The line that declares it.
    pub line: usize,
    /// Where the question goes.
    pub url: HttpUrl,
    /// PEM certificates of the CAs that it is believed by; `None`: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Certificate and key that the broker shows to it.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// The token that the broker shows to it.
    pub token: Option<SecretRef>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Connections to it at once.
    pub connections_max: usize,
    /// How long a yes counts without asking again; zero: it is always asked.
    pub cache: Duration,
    /// How many such answers are kept.
    pub cache_entries_max: usize,
    /// How long a session may last before it has to prove itself again.
    pub session_max: Duration,
}

/// A directory: `[[identity.ldap]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapSettings {
    /// Its name in `sources`.
    pub name: String,
    /// The line that declares it.
    pub line: usize,
    /// Where it is.
    pub url: LdapUrl,
    /// PEM certificates of the CAs that it is believed by; `None`: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Who searches.
    pub bind_dn: String,
    /// With which password.
    pub bind_password: SecretRef,
    /// Where users are searched.
    pub base_dn: String,
    /// How, with `%u` for the user name.
    pub filter: String,
    /// The attribute of an entry that holds the user name, letter for letter.
    pub username_attribute: String,
    /// What is taken of the entry of a user.
    pub attributes: Vec<String>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Connections to it at once.
    pub connections_max: usize,
    /// How long a session may last before it has to prove itself again.
    pub session_max: Duration,
}

/// Where a directory is, and how it is spoken with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapUrl {
    /// The host.
    pub host: HostName,
    /// The port.
    pub port: u16,
    /// What protects the conversation.
    pub protection: LdapProtection,
}

/// What protects a conversation with a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LdapProtection {
    /// TLS from the first byte: `ldaps://`.
    Tls,
    /// TLS before anything is said: `ldap://` with `starttls = true`.
    StartTls,
    /// Nothing. Only under `[danger]`.
    None,
}

impl fmt::Display for LdapUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.protection == LdapProtection::Tls { "ldaps" } else { "ldap" };
        match &self.host {
            HostName::Ip(IpAddr::V6(address)) => write!(f, "{scheme}://[{address}]:{}", self.port),
            HostName::Ip(IpAddr::V4(address)) => write!(f, "{scheme}://{address}:{}", self.port),
            HostName::Dns(name) => write!(f, "{scheme}://{name}:{}", self.port),
        }
    }
}

//! Where identities come from: the password file, and the names of the sources a listener asks.
//!
//! Made by `config`, read by the gate, which turns names into sources, and by reload.

use std::fmt;
use std::path::PathBuf;

use super::remote::RemoteSettings;

/// How identities are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySettings {
    /// Password file.
    pub password_file: Option<PathBuf>,
    /// Sources that are not on this machine.
    pub remote: RemoteSettings,
}

/// A source of identities, as it stands in `sources`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceName {
    /// The certificate of the client.
    Certificate,
    /// The password file, by a password in CONNECT or by SCRAM.
    Password,
    /// The clients of dynamic security, by a password in CONNECT.
    Dynamic,
    /// Tokens of an issuer, by its name.
    Jwt(String),
    /// A webhook, by its name.
    Http(String),
    /// A directory, by its name.
    Ldap(String),
}

impl SourceName {
    /// What a listener asks unless the configuration says otherwise. One that is not configured is left out.
    pub const DEFAULT: [Self; 3] = [Self::Certificate, Self::Password, Self::Dynamic];

    /// The source of a word in the configuration.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let named = match word.split_once(':') {
            Some(("jwt", name)) => Some(Self::Jwt(name.to_owned())),
            Some(("http", name)) => Some(Self::Http(name.to_owned())),
            Some(("ldap", name)) => Some(Self::Ldap(name.to_owned())),
            _ => None,
        };
        named.or_else(|| Self::DEFAULT.into_iter().find(|source| source.to_string() == word))
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate => f.write_str("certificate"),
            Self::Password => f.write_str("password"),
            Self::Dynamic => f.write_str("dynamic"),
            Self::Jwt(name) => write!(f, "jwt:{name}"),
            Self::Http(name) => write!(f, "http:{name}"),
            Self::Ldap(name) => write!(f, "ldap:{name}"),
        }
    }
}

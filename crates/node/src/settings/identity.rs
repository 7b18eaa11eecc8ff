//! Where identities come from: the password file, and the names of the sources a listener asks.
//!
//! Made by `config`, read by the gate, which turns names into sources, and by reload.

use std::fmt;
use std::path::PathBuf;

/// How identities are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySettings {
    /// Password file.
    pub password_file: Option<PathBuf>,
}

/// A source of identities, as it stands in `sources`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceName {
    /// The certificate of the client.
    Certificate,
    /// The password file, by a password in CONNECT or by SCRAM.
    Password,
}

impl SourceName {
    /// What a listener asks unless the configuration says otherwise. One that is not configured is left out.
    pub const DEFAULT: [Self; 2] = [Self::Certificate, Self::Password];

    /// The source of a word in the configuration.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::DEFAULT.into_iter().find(|source| source.to_string() == word)
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Password => "password",
        })
    }
}

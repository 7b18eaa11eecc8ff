//! Password files: `user:hash` lines with argon2id PHC strings, and Mosquitto's `$6$` and `$7$`.
//!
//! Called by the gate's bounded pool (slow on purpose) and by `motte passwd`. Holds no clear-text password longer than a
//! call.

use thiserror::Error;

use crate::identity::UserName;
use crate::permit::Authenticated;

/// Bytes of salt a new hash takes.
pub const SALT_BYTES: usize = 16;

/// Why a password file or a change to it is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// A line that is no entry.
    #[error("line {line}: {what}")]
    Line {
        /// Line, from 1.
        line: usize,
        /// What is wrong; never holds the hash.
        what: String,
    },
    /// A user name that cannot stand in the file.
    #[error("{0}")]
    UserName(&'static str),
}

/// One hash, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordHash {
    _todo: (),
}

impl PasswordHash {
    /// Hashes a password with argon2id (RFC 9106, 19 MiB, two passes, one lane).
    #[must_use]
    pub fn new(_password: &[u8], _salt: [u8; SALT_BYTES]) -> Self {
        todo!()
    }

    /// The scheme, for a table: `argon2id`, `sha512-pbkdf2` or `sha512`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        todo!()
    }
}

/// A whole file, parsed; order of lines is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PasswordFile {
    _todo: (),
}

impl PasswordFile {
    /// Parses a file, or gives all its errors.
    pub fn parse(_text: &str) -> Result<Self, Vec<PasswordError>> {
        todo!()
    }

    /// The text to write back.
    #[must_use]
    pub fn to_text(&self) -> String {
        todo!()
    }

    /// Adds a user or replaces the hash. Tells whether the user was there.
    pub fn set(&mut self, _user: &str, _hash: PasswordHash) -> Result<bool, PasswordError> {
        todo!()
    }

    /// Removes a user. Tells whether the user was there.
    pub fn remove(&mut self, _user: &str) -> bool {
        todo!()
    }

    /// Users and hashes in file order.
    pub fn users(&self) -> impl Iterator<Item = (&UserName, &PasswordHash)> {
        std::iter::empty()
    }

    /// Checks a password. Takes as long for an unknown user as for a known one (K29), and `None` says no more than no.
    #[must_use]
    pub fn verify(&self, _user: &str, _password: &[u8]) -> Option<Authenticated> {
        todo!()
    }
}

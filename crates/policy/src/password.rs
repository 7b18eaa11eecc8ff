//! Password files: `user:hash` lines with argon2id PHC strings, Mosquitto's `$6$` and `$7$`, and SCRAM records.
//!
//! Called by the gate's bounded pool (slow on purpose) and by `motte passwd`. Holds no clear-text password longer
//! than a call, and shows no hash in an error or in `Debug`.

mod entropy;
mod hash;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha512};
use subtle::Choice;
use thiserror::Error;

use crate::identity::UserName;
use crate::permit::Authenticated;
use crate::scram::{self, Candidate, SEED_BYTES, ScramKeys};

pub use entropy::{ENTROPY_BYTES, from_entropy};
pub use hash::PasswordHash;

/// Bytes of salt a new hash takes.
pub const SALT_BYTES: usize = 16;

/// Mosquitto's limit for a line of the file, and MQTT's for a user name (MQTT-1.5.4).
const LINE_BYTES_MAX: usize = 65_535;

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

#[derive(Clone, PartialEq, Eq)]
enum Line {
    /// A comment or a blank line, kept as it is.
    Text(String),
    Entry(UserName, PasswordHash),
    /// What the user can prove to know the same password with.
    Scram(UserName, ScramKeys),
}

/// A whole file, parsed; order of lines is kept.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PasswordFile {
    lines: Vec<Line>,
    /// Where each user's entry is in `lines`.
    entries: BTreeMap<UserName, usize>,
    /// Where each user's SCRAM record is in `lines`.
    scram: BTreeMap<UserName, usize>,
}

impl PasswordFile {
    /// Parses a file, or gives all its errors in the order of lines.
    ///
    /// A line is blank, a comment with `#` in the first column, or `user:hash`, where the first `:` splits and white
    /// space around both is no part of them. Everything else refuses the file: a line that is skipped in silence is an
    /// account that somebody thinks is protected (CVE-2018-12551).
    pub fn parse(text: &str) -> Result<Self, Vec<PasswordError>> {
        let mut file = Self::default();
        let mut errors = Vec::new();
        for (index, raw) in text.lines().enumerate() {
            if let Err(what) = file.add_line(raw) {
                errors.push(PasswordError::Line { line: index + 1, what: what.into() });
            }
        }
        if errors.is_empty() { Ok(file) } else { Err(errors) }
    }

    fn add_line(&mut self, raw: &str) -> Result<(), &'static str> {
        if raw.starts_with('#') || raw.trim().is_empty() {
            // A carriage return at the end of the text is no part of the line either, although no newline follows it.
            self.lines.push(Line::Text(raw.trim_end_matches('\r').to_owned()));
            return Ok(());
        }
        if raw.len() > LINE_BYTES_MAX {
            return Err("the line is longer than 65535 bytes");
        }
        let (user, hash) = raw.split_once(':').ok_or("there is no `:` between a user name and a hash")?;
        let user = user_name(user.trim())?;
        if hash.trim().starts_with(ScramKeys::PREFIX) {
            let keys = ScramKeys::parse(hash.trim())?;
            if self.scram.contains_key(&user) {
                return Err("the user has a SCRAM record already");
            }
            self.push_scram(user, keys);
            return Ok(());
        }
        let hash = PasswordHash::parse(hash.trim())?;
        if self.entries.contains_key(&user) {
            return Err("the user has an entry already");
        }
        self.push_entry(user, hash);
        Ok(())
    }

    fn push_entry(&mut self, user: UserName, hash: PasswordHash) {
        self.entries.insert(user.clone(), self.lines.len());
        self.lines.push(Line::Entry(user, hash));
    }

    fn push_scram(&mut self, user: UserName, keys: ScramKeys) {
        self.scram.insert(user.clone(), self.lines.len());
        self.lines.push(Line::Scram(user, keys));
    }

    /// The text to write back. Comments and blank lines are where they were.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            match line {
                Line::Text(kept) => text.push_str(kept),
                Line::Entry(user, hash) => {
                    text.push_str(&user.0);
                    text.push(':');
                    text.push_str(&hash.encode());
                }
                Line::Scram(user, keys) => {
                    text.push_str(&user.0);
                    text.push(':');
                    text.push_str(&keys.encode());
                }
            }
            text.push('\n');
        }
        text
    }

    /// Adds a user or replaces the hash. Tells whether the user was there.
    ///
    /// A name is refused when the file could not give it back: empty, with a `:`, a control character, a leading `#` or
    /// white space at an end, or longer than 65,535 bytes.
    pub fn set(&mut self, user: &str, hash: PasswordHash) -> Result<bool, PasswordError> {
        let user = user_name(user).map_err(PasswordError::UserName)?;
        match self.entries.get(&user) {
            Some(&at) => {
                self.lines[at] = Line::Entry(user, hash);
                Ok(true)
            }
            None => {
                self.push_entry(user, hash);
                Ok(false)
            }
        }
    }

    /// Adds the SCRAM record of a user or replaces it. Names are refused as in [`PasswordFile::set`], and when SASLprep
    /// might change them: all but printable ASCII.
    pub fn set_scram(&mut self, user: &str, keys: ScramKeys) -> Result<(), PasswordError> {
        let user = user_name(user).map_err(PasswordError::UserName)?;
        if !scram::is_prepared(user.0.as_bytes()) {
            return Err(PasswordError::UserName("the user name is not printable ASCII, which SCRAM needs here"));
        }
        match self.scram.get(&user) {
            Some(&at) => self.lines[at] = Line::Scram(user, keys),
            None => self.push_scram(user, keys),
        }
        Ok(())
    }

    /// Removes a user with all lines. Tells whether the user was there.
    pub fn remove(&mut self, user: &str) -> bool {
        let user = UserName(user.into());
        let places = [self.entries.remove(&user), self.scram.remove(&user)];
        let mut places: Vec<usize> = places.into_iter().flatten().collect();
        places.sort_unstable();
        for at in places.iter().rev() {
            self.lines.remove(*at);
            for place in self.entries.values_mut().chain(self.scram.values_mut()).filter(|place| **place > *at) {
                *place -= 1;
            }
        }
        !places.is_empty()
    }

    /// Users and hashes in file order; who has a SCRAM record only is not among them.
    pub fn users(&self) -> impl Iterator<Item = (&UserName, &PasswordHash)> {
        self.lines.iter().filter_map(|line| match line {
            Line::Text(_) | Line::Scram(..) => None,
            Line::Entry(user, hash) => Some((user, hash)),
        })
    }

    /// Users and SCRAM records in file order.
    pub fn scram_users(&self) -> impl Iterator<Item = (&UserName, &ScramKeys)> {
        self.lines.iter().filter_map(|line| match line {
            Line::Text(_) | Line::Entry(..) => None,
            Line::Scram(user, keys) => Some((user, keys)),
        })
    }

    /// Users and schemes in file order, an item for each line.
    pub fn schemes(&self) -> impl Iterator<Item = (&UserName, &'static str)> {
        self.lines.iter().filter_map(|line| match line {
            Line::Text(_) => None,
            Line::Entry(user, hash) => Some((user, hash.scheme())),
            Line::Scram(user, _) => Some((user, "scram-sha-256")),
        })
    }

    /// Whether the user has a line of either kind.
    #[must_use]
    pub fn contains(&self, user: &str) -> bool {
        self.hash(user).is_some() || self.scram_keys(user).is_some()
    }

    /// The hash of a user.
    #[must_use]
    pub fn hash(&self, user: &str) -> Option<&PasswordHash> {
        match self.lines.get(*self.entries.get(&UserName(user.into()))?)? {
            Line::Text(_) | Line::Scram(..) => None,
            Line::Entry(_, hash) => Some(hash),
        }
    }

    /// The SCRAM record of a user.
    #[must_use]
    pub fn scram_keys(&self, user: &str) -> Option<&ScramKeys> {
        match self.lines.get(*self.scram.get(&UserName(user.into()))?)? {
            Line::Text(_) | Line::Entry(..) => None,
            Line::Scram(_, keys) => Some(keys),
        }
    }

    /// Whether everything `earlier` has of a user, and that is something, stands here unchanged.
    #[must_use]
    pub fn upholds(&self, earlier: &Self, user: &str) -> bool {
        let (hash, keys) = (earlier.hash(user), earlier.scram_keys(user));
        let kept = (hash.is_none() || hash == self.hash(user)) && (keys.is_none() || keys == self.scram_keys(user));
        kept && (hash.is_some() || keys.is_some())
    }

    /// What to check the proof of a user by. An unknown one is asked for a proof as well, by a question made out of
    /// `secret` that looks like a known one's (K29).
    #[must_use]
    pub fn candidate(&self, user: &str, secret: &[u8; SEED_BYTES]) -> Candidate {
        let draw =
            scram::decoy(secret, b"shape", user).iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let start = usize::try_from(draw % self.lines.len().max(1) as u64).unwrap_or_default();
        let (before, after) = self.lines.split_at(start);
        let shape = after.iter().chain(before).find_map(|line| match line {
            Line::Scram(_, keys) => Some(keys),
            _ => None,
        });
        Candidate::new(user, self.scram_keys(user), shape, secret)
    }

    /// Whether there is no user.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.scram.is_empty()
    }

    /// Checks a password. Takes as long for an unknown user as for a known one (K29), and `None` says no more than no.
    ///
    /// The empty password is a password like any other: it opens where the file holds its hash, as clients and files of
    /// other brokers expect. `motte passwd` sets none.
    #[must_use]
    pub fn verify(&self, user: &str, password: &[u8]) -> Option<Authenticated> {
        let known = self.hash(user);
        let matches = match known.or_else(|| self.decoy(user)) {
            Some(hash) => hash.matches(password),
            None => PasswordHash::nobody().matches(password),
        };
        let admitted = matches & Choice::from(u8::from(known.is_some()));
        bool::from(admitted).then(|| Authenticated::by_password(UserName(user.into())))
    }

    /// The entry whose work an unknown user costs. Each name has its own, so that in a file with several schemes the
    /// times of unknown names are spread as those of known ones are. The salt of the first entry keeps it unguessable.
    fn decoy(&self, user: &str) -> Option<&PasswordHash> {
        let (_, first) = self.users().next()?;
        let digest = Sha512::new().chain_update(first.salt()).chain_update(user).finalize();
        let draw = digest.iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let place = usize::try_from(draw % self.entries.len() as u64).unwrap_or_default();
        self.users().nth(place).map(|(_, hash)| hash)
    }
}

impl fmt::Debug for PasswordFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordFile").field("users", &self.entries.len()).finish_non_exhaustive()
    }
}

/// A user name that the file gives back as it was.
fn user_name(user: &str) -> Result<UserName, &'static str> {
    if user.is_empty() {
        Err("the user name is empty")
    } else if user.starts_with('\u{feff}') {
        Err("the user name begins with a byte-order mark")
    } else if user.starts_with('#') {
        Err("the user name begins with `#`")
    } else if user.contains(':') {
        Err("the user name holds a `:`")
    } else if user.contains(char::is_control) {
        Err("the user name holds a control character")
    } else if user.trim() != user {
        Err("the user name begins or ends with white space")
    } else if user.len() > LINE_BYTES_MAX {
        Err("the user name is longer than 65535 bytes")
    } else {
        Ok(UserName(user.into()))
    }
}

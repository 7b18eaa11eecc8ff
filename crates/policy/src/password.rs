//! Password files: `user:hash` lines with argon2id PHC strings, Mosquitto's `$6$` and `$7$`, and SCRAM records.
//!
//! Called by the gate's bounded pool (slow on purpose) and by `motte passwd`. Holds no clear-text password longer
//! than a call, and shows no hash in an error or in `Debug`.

mod check;
mod entropy;
mod hash;
pub mod moment;
mod rotation;
mod secret;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use thiserror::Error;

use crate::identity::UserName;
use crate::scram::{self, Candidate, SEED_BYTES, ScramKeys};

pub use check::{Checked, Cost, Login};
pub use entropy::{ENTROPY_BYTES, from_entropy};
pub use hash::PasswordHash;
use secret::MARK;
pub use secret::{Fingerprint, Label, SECRETS_MAX, Secret, Term};

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
    /// A secret that does not go with the others of the user.
    #[error("{0}")]
    Secret(&'static str),
}

#[derive(Clone, PartialEq, Eq)]
enum Line {
    /// A comment or a blank line, kept as it is.
    Text(String),
    Entry(UserName, PasswordHash),
    /// The label of the user's entry.
    Name(UserName, Label),
    /// A further secret.
    Further(UserName, Term, PasswordHash),
    /// What the user can prove to know the same password with.
    Scram(UserName, ScramKeys),
}

impl Line {
    fn user(&self) -> Option<&UserName> {
        match self {
            Self::Text(_) => None,
            Self::Entry(user, _) | Self::Name(user, _) | Self::Further(user, ..) | Self::Scram(user, _) => Some(user),
        }
    }

    fn hash(&self) -> Option<&PasswordHash> {
        match self {
            Self::Entry(_, hash) | Self::Further(_, _, hash) => Some(hash),
            Self::Text(_) | Self::Name(..) | Self::Scram(..) => None,
        }
    }

    fn encode(&self) -> String {
        match self {
            Self::Text(kept) => kept.clone(),
            Self::Entry(user, hash) => format!("{}:{}", user.0, hash.encode()),
            Self::Name(user, label) => format!("{MARK}{}:{}", user.0, Term::always(label.clone()).encode()),
            Self::Further(user, term, hash) => format!("{MARK}{}:{}:{}", user.0, term.encode(), hash.encode()),
            Self::Scram(user, keys) => format!("{}:{}", user.0, keys.encode()),
        }
    }
}

/// A whole file, parsed; order of lines is kept.
#[derive(Clone, Default)]
pub struct PasswordFile {
    lines: Vec<Line>,
    /// Where the hashes of each user are in `lines`: the plain line first.
    secrets: BTreeMap<UserName, Vec<usize>>,
    /// Where the label of each user's entry is.
    names: BTreeMap<UserName, usize>,
    /// Where each user's SCRAM record is.
    scram: BTreeMap<UserName, usize>,
    /// Secrets that were hashed anew, and by which fingerprint they were known before.
    replaced: BTreeMap<Fingerprint, Fingerprint>,
}

/// Two files are equal when their lines are.
impl PartialEq for PasswordFile {
    fn eq(&self, other: &Self) -> bool {
        self.lines == other.lines
    }
}

impl Eq for PasswordFile {}

impl PasswordFile {
    /// Parses a file, or gives all its errors in the order of lines.
    ///
    /// A line is blank, a further secret or a label with `#+` before it, another comment with `#` in the first column,
    /// or `user:hash`, where the first `:` splits and white space around both is no part of them. Everything else
    /// refuses the file: a line that is skipped in silence is an account that somebody thinks is protected
    /// (CVE-2018-12551).
    pub fn parse(text: &str) -> Result<Self, Vec<PasswordError>> {
        let mut file = Self::default();
        let mut errors = Vec::new();
        for (index, raw) in text.lines().enumerate() {
            let added = parse_line(raw).and_then(|line| file.push(line));
            if let Err(what) = added {
                errors.push(PasswordError::Line { line: index + 1, what: what.into() });
            }
        }
        if errors.is_empty() { Ok(file) } else { Err(errors) }
    }

    /// Takes a line in at the end, unless it does not go with those before it.
    fn push(&mut self, line: Line) -> Result<(), &'static str> {
        let at = self.lines.len();
        match &line {
            Line::Text(_) => {}
            Line::Entry(user, _) => {
                let places = self.secrets.get(user).map_or(&[][..], Vec::as_slice);
                if places.first().is_some_and(|at| matches!(self.lines[*at], Line::Entry(..))) {
                    return Err("the user has an entry already");
                }
                self.check_secret(user, &self.names.get(user).map_or_else(Label::main, |at| self.label_at(*at)))?;
                self.secrets.entry(user.clone()).or_default().insert(0, at);
            }
            Line::Name(user, label) => {
                if self.names.contains_key(user) {
                    return Err("the entry of the user has a label already");
                }
                let others = self.secrets(&user.0);
                let taken = others.iter().any(|secret| {
                    secret.term.label == *label && self.plain(&user.0).is_none_or(|plain| plain != secret.hash)
                });
                if taken {
                    return Err(LABEL_TAKEN);
                }
                self.names.insert(user.clone(), at);
            }
            Line::Further(user, term, _) => {
                self.check_secret(user, &term.label)?;
                self.secrets.entry(user.clone()).or_default().push(at);
            }
            Line::Scram(user, _) => {
                if self.scram.contains_key(user) {
                    return Err("the user has a SCRAM record already");
                }
                self.scram.insert(user.clone(), at);
            }
        }
        self.lines.push(line);
        Ok(())
    }

    fn check_secret(&self, user: &UserName, label: &Label) -> Result<(), &'static str> {
        let others = self.secrets(&user.0);
        if others.iter().any(|secret| secret.term.label == *label) {
            return Err(LABEL_TAKEN);
        }
        if others.len() >= SECRETS_MAX {
            return Err("the user has four secrets already");
        }
        Ok(())
    }

    fn label_at(&self, at: usize) -> Label {
        match &self.lines[at] {
            Line::Name(_, label) => label.clone(),
            _ => Label::main(),
        }
    }

    fn plain(&self, user: &str) -> Option<&PasswordHash> {
        match self.lines.get(*self.secrets.get(user)?.first()?)? {
            Line::Entry(_, hash) => Some(hash),
            _ => None,
        }
    }

    /// Builds the whole anew out of other lines. They come out of a file that was right.
    fn with_lines(&self, lines: Vec<Line>) -> Result<Self, &'static str> {
        let mut next = Self { replaced: self.replaced.clone(), ..Self::default() };
        lines.into_iter().try_for_each(|line| next.push(line))?;
        Ok(next)
    }

    /// The text to write back. Comments and blank lines are where they were.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.lines.iter().map(|line| line.encode() + "\n").collect()
    }

    /// Adds a user or replaces the hash of the plain line. Tells whether the user had one.
    ///
    /// A name is refused when the file could not give it back: empty, with a `:`, a control character, a leading `#` or
    /// white space at an end, or longer than 65,535 bytes.
    pub fn set(&mut self, user: &str, hash: PasswordHash) -> Result<bool, PasswordError> {
        let user = user_name(user).map_err(PasswordError::UserName)?;
        let at = self.secrets.get(&user).and_then(|places| places.first()).copied();
        match at.filter(|at| matches!(self.lines[*at], Line::Entry(..))) {
            Some(at) => {
                self.lines[at] = Line::Entry(user, hash);
                Ok(true)
            }
            None => self.push(Line::Entry(user, hash)).map(|()| false).map_err(PasswordError::Secret),
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
            None => self.push(Line::Scram(user, keys)).map_err(PasswordError::Secret)?,
        }
        Ok(())
    }

    /// Removes a user with all lines. Tells whether the user was there.
    pub fn remove(&mut self, user: &str) -> bool {
        let there = self.contains(user);
        let kept = self.lines.iter().filter(|line| line.user().is_none_or(|name| &*name.0 != user)).cloned().collect();
        if let Ok(next) = self.with_lines(kept) {
            *self = next;
        }
        there
    }

    /// Users and the hashes of their plain lines, in file order.
    pub fn users(&self) -> impl Iterator<Item = (&UserName, &PasswordHash)> {
        self.lines.iter().filter_map(|line| match line {
            Line::Entry(user, hash) => Some((user, hash)),
            _ => None,
        })
    }

    /// The name of everybody who has a line, in order.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&UserName> {
        self.secrets.keys().chain(self.scram.keys()).collect()
    }

    /// Every secret of a user, the plain line first.
    #[must_use]
    pub fn secrets(&self, user: &str) -> Vec<Secret<'_>> {
        let label = self.names.get(user).map_or_else(Label::main, |at| self.label_at(*at));
        let places = self.secrets.get(user).into_iter().flatten();
        let secret = |at: &usize| match &self.lines[*at] {
            Line::Entry(_, hash) => Some(Secret { term: Term::always(label.clone()), hash }),
            Line::Further(_, term, hash) => Some(Secret { term: term.clone(), hash }),
            _ => None,
        };
        places.filter_map(secret).collect()
    }

    /// Whether the user has a line of any kind.
    #[must_use]
    pub fn contains(&self, user: &str) -> bool {
        self.secrets.contains_key(user) || self.scram.contains_key(user)
    }

    /// The hash of a user's plain line.
    #[must_use]
    pub fn hash(&self, user: &str) -> Option<&PasswordHash> {
        self.plain(user)
    }

    /// The SCRAM record of a user.
    #[must_use]
    pub fn scram_keys(&self, user: &str) -> Option<&ScramKeys> {
        match self.lines.get(*self.scram.get(user)?)? {
            Line::Scram(_, keys) => Some(keys),
            _ => None,
        }
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
        self.secrets.is_empty() && self.scram.is_empty()
    }
}

/// Two secrets of a user under one label.
const LABEL_TAKEN: &str = "the user has a secret with this label already";

fn parse_line(raw: &str) -> Result<Line, &'static str> {
    if raw.len() > LINE_BYTES_MAX {
        return Err("the line is longer than 65535 bytes");
    }
    if let Some(further) = raw.strip_prefix(MARK) {
        let (user, rest) = further.split_once(':').ok_or("there is no `:` behind the user name of a secret")?;
        let user = user_name(user.trim())?;
        return match rest.split_once(":$") {
            Some((term, _)) => {
                let hash = PasswordHash::parse(rest[term.len() + 1..].trim())?;
                Ok(Line::Further(user, Term::parse(term.trim())?, hash))
            }
            None => match Term::parse(rest.trim())? {
                Term { label, not_before: None, expires: None } => Ok(Line::Name(user, label)),
                _ => Err("a plain line has a label and no dates; what ends is a secret of its own"),
            },
        };
    }
    if raw.starts_with('#') || raw.trim().is_empty() {
        // A carriage return at the end of the text is no part of the line either, although no newline follows it.
        return Ok(Line::Text(raw.trim_end_matches('\r').to_owned()));
    }
    let (user, hash) = raw.split_once(':').ok_or("there is no `:` between a user name and a hash")?;
    let user = user_name(user.trim())?;
    if hash.trim().starts_with(ScramKeys::PREFIX) {
        return Ok(Line::Scram(user, ScramKeys::parse(hash.trim())?));
    }
    Ok(Line::Entry(user, PasswordHash::parse(hash.trim())?))
}

impl fmt::Debug for PasswordFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordFile").field("users", &self.names().len()).finish_non_exhaustive()
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

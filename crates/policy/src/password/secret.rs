//! One of several secrets of a user: its label, and from when until when it counts.
//!
//! Called by `PasswordFile`. In the file it is a line that other programs take for a comment:
//! `#+user:label=old,not_before=2026-11-01T00:00:00Z,expires=2026-12-01T00:00:00Z:$hash`. A line without a hash gives
//! the user's plain line its label.

use std::fmt;
use std::sync::Arc;

use super::PasswordHash;
use super::moment;

/// How a line of a further secret begins.
pub(super) const MARK: &str = "#+";
/// Secrets a user may have: each of them is tried by a wrong password.
pub const SECRETS_MAX: usize = 4;
const LABEL_CHARS_MAX: usize = 32;

/// The name of a secret among those of a user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Arc<str>);

impl Label {
    /// The label of a plain line that has been given none.
    #[must_use]
    pub fn main() -> Self {
        Self(Arc::from("main"))
    }

    /// A label out of text: 1 to 32 letters, digits, dots, hyphens and underscores.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        if plain && (1..=LABEL_CHARS_MAX).contains(&text.len()) {
            Ok(Self(Arc::from(text)))
        } else {
            Err("a label has 1 to 32 letters, digits, dots, hyphens and underscores")
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands beside a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Its name.
    pub label: Label,
    /// When it begins to count, in seconds of Unix time.
    pub not_before: Option<u64>,
    /// When it no longer counts.
    pub expires: Option<u64>,
}

impl Term {
    /// A secret that always counts.
    #[must_use]
    pub fn always(label: Label) -> Self {
        Self { label, not_before: None, expires: None }
    }

    /// Whether the secret counts at `now`.
    #[must_use]
    pub fn holds_at(&self, now: u64) -> bool {
        self.not_before.is_none_or(|from| from <= now) && self.expires.is_none_or(|until| now < until)
    }

    /// Parses `label=…,not_before=…,expires=…`; the label is needed, the order is this one.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        const UNREADABLE: &str = "what stands beside the secret is not label=…,not_before=…,expires=…";
        const NO_TIME: &str = "a time of the secret is not written as 2026-11-22T00:00:00Z";
        let mut fields = text.split(',').peekable();
        let label = fields.next().and_then(|field| field.strip_prefix("label=")).ok_or(UNREADABLE)?;
        let label = Label::parse(label)?;
        let mut time = |name: &str| match fields.peek().and_then(|field| field.strip_prefix(name)) {
            Some(text) => {
                fields.next();
                moment::parse(text).ok_or(NO_TIME).map(Some)
            }
            None => Ok(None),
        };
        let (not_before, expires) = (time("not_before=")?, time("expires=")?);
        if fields.next().is_some() {
            return Err(UNREADABLE);
        }
        if not_before.zip(expires).is_some_and(|(from, until)| until <= from) {
            return Err("the secret ends before it begins");
        }
        Ok(Self { label, not_before, expires })
    }

    /// The text that [`Term::parse`] reads.
    pub(super) fn encode(&self) -> String {
        let mut text = format!("label={}", self.label);
        for (name, time) in [("not_before", self.not_before), ("expires", self.expires)] {
            if let Some(time) = time {
                text.push_str(&format!(",{name}={}", moment::format(time)));
            }
        }
        text
    }
}

/// One secret as a reader of the file sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret<'a> {
    /// Label and dates.
    pub term: Term,
    /// The hash.
    pub hash: &'a PasswordHash,
}

/// Tells secrets apart without being one: a part of the salted digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of a digest of 8 bytes at least.
    pub(crate) fn of(digest: &[u8]) -> Self {
        Self(digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}

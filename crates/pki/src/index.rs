//! The book of a CA: every certificate it issued, and which of them it took back. In the format of OpenSSL's
//! `index.txt`, so that `openssl ocsp` and `openssl ca` read it too; the number of the last revocation list stands in
//! a comment. Called by `motte cert` and by what issues inside the broker. Never written but under its lock, and never
//! in part.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::{Date, Month, OffsetDateTime, Time};

use crate::ca::{Reason, Revoked};
use crate::facts::CertificateFacts;
use crate::files;
use crate::text::printable;

/// How long a revoked certificate stays on the lists beyond its end: longer than any list lasts.
const LISTED_AFTER_END: Duration = Duration::from_secs(400 * 24 * 60 * 60);
const NUMBER: &str = "# crl number ";

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its serial number: lower-case hex, without leading zeros.
    pub serial: String,
    /// Its subject, safe to show.
    pub subject: String,
    /// When it ends.
    pub not_after: SystemTime,
    /// Since when and why it counts no longer.
    pub revoked: Option<(SystemTime, Reason)>,
}

/// Why the book of a CA cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It cannot be read or written.
    #[error("{} cannot be read or written: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// A line is not one of OpenSSL's index.
    #[error("{}:{line}: this is not a line of an index of certificates", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

impl IndexError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "check the owner and mode of the file, and that the disk has room",
            Self::Line { .. } => "restore the file; without it nobody knows what the CA has revoked",
        }
    }
}

/// What a CA has issued and revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    entries: Vec<Entry>,
    crl_number: u64,
    is_new: bool,
}

impl Index {
    /// Where the index of a CA is: `ca.index` beside `ca.pem`.
    pub fn path_beside(certificate: &Path) -> PathBuf {
        certificate.with_extension("index")
    }

    /// Reads an index; one that is not there is empty.
    pub fn read(path: &Path) -> Result<Self, IndexError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|line| IndexError::Line { path: path.to_owned(), line }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self { is_new: true, ..Self::default() }),
            Err(error) => Err(IndexError::Io { path: path.to_owned(), error }),
        }
    }

    /// Changes an index while nobody else does. It is written only if the change succeeds, whole or not at all.
    pub fn update<T, E: From<IndexError>>(path: &Path, change: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let failed = |error| E::from(IndexError::Io { path: path.to_owned(), error });
        let _lock = lock(path).map_err(failed)?;
        let mut index = Self::read(path)?;
        let outcome = change(&mut index)?;
        files::write_private(path, index.text().as_bytes()).map_err(failed)?;
        Ok(outcome)
    }

    /// Whether there was no file yet.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Everything that was issued, in its order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The certificate with this serial number, in any form of hex.
    pub fn find(&self, serial_hex: &str) -> Option<&Entry> {
        let serial = normal(serial_hex);
        self.entries.iter().find(|entry| entry.serial == serial)
    }

    /// Adds a certificate, unless it is there.
    pub fn record(&mut self, facts: &CertificateFacts) {
        if self.find(&facts.serial_hex).is_none() {
            self.entries.push(Entry {
                serial: normal(&facts.serial_hex),
                subject: facts.subject.clone(),
                not_after: facts.not_after,
                revoked: None,
            });
        }
    }

    /// Adds all of another book.
    pub fn merge(&mut self, other: &Self) {
        for entry in &other.entries {
            match self.entries.iter_mut().find(|ours| ours.serial == entry.serial) {
                Some(ours) => ours.revoked = ours.revoked.or(entry.revoked),
                None => self.entries.push(entry.clone()),
            }
        }
        self.crl_number = self.crl_number.max(other.crl_number);
    }

    /// Takes a certificate back for good; false when it was before.
    pub fn revoke(&mut self, serial_hex: &str, at: SystemTime, reason: Reason) -> bool {
        let serial = normal(serial_hex);
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.serial == serial && entry.revoked.is_none())
        else {
            return false;
        };
        entry.revoked = Some((at, reason));
        true
    }

    /// What belongs on a list made at `now`.
    pub fn revoked(&self, now: SystemTime) -> Vec<Revoked> {
        let listed = |entry: &&Entry| entry.not_after + LISTED_AFTER_END > now;
        let revoked = |entry: &Entry| {
            let (at, reason) = entry.revoked?;
            Some(Revoked { serial_hex: entry.serial.clone(), at, reason })
        };
        self.entries.iter().filter(listed).filter_map(revoked).collect()
    }

    /// The number of the next revocation list, higher than all before and than `seen`.
    pub fn next_crl_number(&mut self, seen: u64) -> u64 {
        self.crl_number = self.crl_number.max(seen).saturating_add(1);
        self.crl_number
    }

    /// The certificate that ends last of those that count at `now`.
    pub fn last_to_end(&self, now: SystemTime) -> Option<&Entry> {
        let counts = |entry: &&Entry| entry.revoked.is_none() && entry.not_after >= now;
        self.entries.iter().filter(counts).max_by_key(|entry| entry.not_after)
    }

    fn parse(text: &str) -> Result<Self, usize> {
        let mut index = Self::default();
        for (number, line) in (1_usize..).zip(text.lines()) {
            if let Some(crl_number) = line.strip_prefix(NUMBER) {
                index.crl_number = crl_number.trim().parse().map_err(|_| number)?;
            } else if !line.is_empty() && !line.starts_with('#') {
                index.entries.push(entry(line).ok_or(number)?);
            }
        }
        Ok(index)
    }

    fn text(&self) -> String {
        let mut text = format!("{NUMBER}{}\n", self.crl_number);
        for Entry { serial, subject, not_after, revoked } in &self.entries {
            let state = if revoked.is_some() { 'R' } else { 'V' };
            let revoked = revoked.map(|(at, reason)| format!("{},{reason}", moment(at))).unwrap_or_default();
            let (ends, serial) = (moment(*not_after), serial.to_ascii_uppercase());
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{state}\t{ends}\t{revoked}\t{serial}\tunknown\t/{subject}");
        }
        text
    }
}

fn lock(path: &Path) -> io::Result<File> {
    let lock = path.with_extension("index.lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(lock)?;
    file.lock()?;
    Ok(file)
}

fn entry(line: &str) -> Option<Entry> {
    let fields: Vec<_> = line.split('\t').collect();
    let [state, ends, revoked, serial, _file, subject] = fields.as_slice() else { return None };
    let is_hex = !serial.is_empty() && serial.bytes().all(|byte| byte.is_ascii_hexdigit());
    let revoked = match *state {
        "V" | "E" if revoked.is_empty() => None,
        "R" => {
            let (at, reason) = revoked.split_once(',').unwrap_or((revoked, "unspecified"));
            // OpenSSL adds details behind some reasons; a word it knows and we do not is no reason to lose the line.
            let reason = reason.split(',').next().and_then(|word| word.parse().ok()).unwrap_or_default();
            Some((parse_moment(at)?, reason))
        }
        _ => return None,
    };
    let subject = printable(subject.strip_prefix('/').unwrap_or(subject));
    is_hex.then_some(())?;
    Some(Entry { serial: normal(serial), subject, not_after: parse_moment(ends)?, revoked })
}

/// A serial number without leading zeros, in lower case and whole bytes.
pub(crate) fn normal(serial_hex: &str) -> String {
    let digits: String = serial_hex.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_ascii_lowercase();
    let bare = digits.trim_start_matches('0');
    match bare.len() {
        0 => String::from("00"),
        length if length % 2 == 1 => format!("0{bare}"),
        _ => bare.to_owned(),
    }
}

/// As UTCTime until 2049 and as GeneralizedTime from then on.
fn moment(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    let year = if (1950..2050).contains(&year) { format!("{:02}", year % 100) } else { format!("{year:04}") };
    format!("{year}{:02}{day:02}{hour:02}{minute:02}{second:02}Z", u8::from(month))
}

fn parse_moment(text: &str) -> Option<SystemTime> {
    let digits = text.strip_suffix('Z').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let (year, rest) = match digits.len() {
        12 => {
            let short: i32 = digits[..2].parse().ok()?;
            (if short >= 50 { 1900 + short } else { 2000 + short }, &digits[2..])
        }
        14 => (digits[..4].parse().ok()?, &digits[4..]),
        _ => return None,
    };
    let two = |at: usize| rest[at..at + 2].parse::<u8>().ok();
    let date = Date::from_calendar_date(year, Month::try_from(two(0)?).ok()?, two(2)?).ok()?;
    let time = Time::from_hms(two(4)?, two(6)?, two(8)?).ok()?;
    let seconds = OffsetDateTime::new_utc(date, time).unix_timestamp();
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

#[cfg(test)]
mod tests;

//! Points at which the process kills itself, for tests of crashes.
//!
//! Set by `[danger] crash_at`; passed by the disk layer and the keeper. Without a setting a passing does nothing.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

/// A place in the store where a crash is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashName {
    /// Before bytes are written to the file.
    BeforeWrite,
    /// After bytes were written to the file.
    AfterWrite,
    /// Before the file is synced.
    BeforeFsync,
    /// After the file was synced.
    AfterFsync,
    /// After a commit is durable, before any shard can know.
    BeforeAck,
    /// Within a commit that rewrites or deletes blocks.
    Compaction,
}

const NAMES: [(&str, CrashName); 6] = [
    ("before_write", CrashName::BeforeWrite),
    ("after_write", CrashName::AfterWrite),
    ("before_fsync", CrashName::BeforeFsync),
    ("after_fsync", CrashName::AfterFsync),
    ("before_ack", CrashName::BeforeAck),
    ("compaction", CrashName::Compaction),
];

/// Where the process kills itself, and at which passing. Written `NAME` or `NAME:N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashPoint {
    /// The place.
    pub name: CrashName,
    /// The passing, counted from 1.
    pub passing: u32,
}

/// Why a text is no crash point.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrashPointError {
    /// No such place.
    #[error(
        "there is no crash point of this name — hint: before_write, after_write, before_fsync, after_fsync, \
         before_ack or compaction"
    )]
    Name,
    /// The number behind the colon is none from 1 on.
    #[error("the passing of a crash point is no number from 1 on — hint: NAME or NAME:N")]
    Passing,
}

impl FromStr for CrashPoint {
    type Err = CrashPointError;

    fn from_str(text: &str) -> Result<Self, CrashPointError> {
        let (name, passing) = match text.split_once(':') {
            Some((name, passing)) => (name, passing.parse().map_err(|_| CrashPointError::Passing)?),
            None => (text, 1),
        };
        let name = NAMES.iter().find(|(known, _)| *known == name).ok_or(CrashPointError::Name)?.1;
        if passing == 0 {
            return Err(CrashPointError::Passing);
        }
        Ok(Self { name, passing })
    }
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, name)| *name == self.name).map_or("", |(text, _)| text);
        write!(f, "{name}:{}", self.passing)
    }
}

/// Counts passings of the one point that is set.
#[derive(Debug, Default)]
pub(crate) struct Crash {
    point: Option<CrashPoint>,
    passed: AtomicU32,
}

impl Crash {
    pub(crate) fn new(point: Option<CrashPoint>) -> Self {
        Self { point, passed: AtomicU32::new(0) }
    }

    /// Kills the process when this is the passing that was asked for.
    pub(crate) fn pass(&self, name: CrashName) {
        let Some(point) = self.point.filter(|point| point.name == name) else { return };
        if self.passed.fetch_add(1, Ordering::Relaxed) + 1 == point.passing {
            // SIGKILL: nothing is flushed, no destructor runs, as when the kernel ends the process.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crash_points_are_written_with_and_without_a_number() {
        let first = CrashPoint { name: CrashName::BeforeFsync, passing: 1 };
        assert_eq!("before_fsync".parse(), Ok(first));
        assert_eq!("before_fsync:1".parse(), Ok(first));
        assert_eq!("compaction:7".parse::<CrashPoint>().map(|point| point.to_string()), Ok("compaction:7".to_owned()));
    }

    #[test]
    fn other_texts_are_no_crash_points() {
        assert_eq!("fsync".parse::<CrashPoint>(), Err(CrashPointError::Name));
        for text in ["before_ack:0", "before_ack:", "before_ack:x", "before_ack:-1"] {
            assert_eq!(text.parse::<CrashPoint>(), Err(CrashPointError::Passing), "{text}");
        }
    }
}

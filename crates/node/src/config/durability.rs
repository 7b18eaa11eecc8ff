//! `[durability]`: what survives a crash, and where it is kept.
//!
//! Called by `parse`. Looks at no file: the store itself says what is wrong with its directory.

use std::time::Duration;

use motte_store::{CrashPoint, RESERVE_BYTES};

use super::catalogue::known;
use super::reader::{Problems, Section};
use crate::settings::{COMMIT_INTERVAL, DurabilityMode, DurabilitySettings};

/// The directory of the store beside the configuration file.
pub(super) const DIRECTORY: &str = "store";
const MIB: u64 = 1024 * 1024;
/// A smaller store would be full with a few sessions.
const BYTES_MIN: u64 = 16 * MIB;
const PIB: u64 = 1024 * 1024 * 1024 * MIB;

/// A mode before its interval is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Sync,
    Interval,
    Memory,
}

/// Reads the section, and `crash_at` of `[danger]`.
pub(super) fn parse(
    root: &Section<'_>,
    danger: &Section<'_>,
    dangers: &mut Vec<&'static str>,
    problems: &mut Problems,
) -> DurabilitySettings {
    let section = root.section("durability", "[durability]", &known("durability"), problems);
    let words = [("sync", Word::Sync), ("interval", Word::Interval), ("memory", Word::Memory)];
    let word = section.word("mode", &words, problems).unwrap_or(Word::Sync);
    let interval = section.number("interval_ms", 10..=60_000, problems);
    if section.has("interval_ms") && word != Word::Interval {
        let line = section.line_of("interval_ms", problems);
        let hint = "set mode = \"interval\", or remove the line";
        problems.at(line, "interval_ms is only for mode = \"interval\"", hint);
    }
    let directory = section.path("directory", problems);
    DurabilitySettings {
        mode: match word {
            Word::Sync => DurabilityMode::Sync,
            Word::Interval => DurabilityMode::Interval(interval.map_or(COMMIT_INTERVAL, Duration::from_millis)),
            Word::Memory => DurabilityMode::Memory,
        },
        directory: directory.map_or_else(|| problems.beside(DIRECTORY), |path| path.value),
        bytes_max: bytes_max(&section, problems),
        reserve_bytes: section.number("reserve_bytes", MIB..=PIB, problems).unwrap_or(RESERVE_BYTES),
        crash_at: crash_at(danger, dangers, problems),
    }
}

/// Where the broker kills itself.
fn crash_at(danger: &Section<'_>, dangers: &mut Vec<&'static str>, problems: &mut Problems) -> Option<CrashPoint> {
    let text = danger.text("crash_at", problems)?;
    dangers.push("crash_at: the broker kills itself; for tests of crashes and nothing else");
    let error = match text.value.parse() {
        Ok(point) => return Some(point),
        Err(error) => format!("{error}"),
    };
    let (what, hint) = error.split_once(" — hint: ").unwrap_or((&error, "remove the line"));
    problems.at(text.line, what, hint);
    None
}

/// `max_bytes`; none when it is 0 or absent.
fn bytes_max(section: &Section<'_>, problems: &mut Problems) -> Option<u64> {
    let bytes = section.number("max_bytes", 0..=PIB, problems).filter(|bytes| *bytes > 0)?;
    if bytes < BYTES_MIN {
        let line = section.line_of("max_bytes", problems);
        let hint = format!("write {BYTES_MIN} or more, or 0 for no bound");
        problems.at(line, format!("max_bytes is too little for a store: {bytes}"), hint);
    }
    Some(bytes)
}

//! `motte.toml`: read, checked as a whole, turned into [`Settings`].
//!
//! Called by `serve`, `serve --check`, `quickstart` and reload. All errors are reported at once, those of the files it
//! names too; a file with any error gives no settings at all.

mod acme;
mod address;
mod catalogue;
mod certificates;
mod durability;
mod dynamic;
mod files;
mod hints;
mod identity;
mod listener;
mod parse;
mod reader;
mod remote;
mod revocation;
mod rules;
mod sample;
mod tenancy;

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use sample::{SampleListener, sample};

use serde::{Deserialize, Serialize};

use crate::settings::{CONTROL_SOCKET, Settings};
use reader::Problems;

/// One error of a configuration file. Shown as `file:line: what — hint: what to do`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigError {
    /// The file: the configuration itself or one it names.
    pub file: PathBuf,
    /// Line, from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}", self.what)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, " — hint: {}", self.hint) }
    }
}

/// A configuration file.
#[derive(Clone, Copy, Debug)]
pub struct ConfigFile;

impl ConfigFile {
    /// Reads and checks the file, including that the files it names can be read, parsed and trusted. Relative paths
    /// in it are relative to its folder.
    ///
    /// # Errors
    /// All that is wrong, in the order of the lines.
    pub fn load(path: &Path) -> Result<Settings, Vec<ConfigError>> {
        Self::load_at(path, SystemTime::now())
    }

    /// [`Self::load`] as at another time, which decides whether certificates are in force.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_at(path: &Path, now: SystemTime) -> Result<Settings, Vec<ConfigError>> {
        let whole = |line, what: &str, hint: &str| {
            vec![ConfigError { file: path.to_path_buf(), line, what: what.to_owned(), hint: hint.to_owned() }]
        };
        let hint = "name the file with -c; `motte quickstart` makes one in motte-data/motte.toml";
        let bytes = fs::read(path).map_err(|error| whole(0, &format!("cannot be read: {error}"), hint))?;
        let mode = fs::metadata(path).map_or(0, |found| found.permissions().mode());
        let text = text_of(&bytes).map_err(|(line, what, hint)| whole(line, what, hint))?;
        let mut problems = Problems::new(path, text);
        if mode & WRITABLE_BY_OTHERS != 0 {
            let what = format!("other users can change the file (mode {:o})", mode & 0o777);
            problems.at(0, what, format!("run `chmod go-w {}`", path.display()));
        }
        let draft = parse::parse(text, &mut problems);
        if let Some(draft) = &draft {
            files::check(draft, now, &mut problems);
            remote::check(path, draft, &mut problems);
        }
        match draft {
            Some(draft) if problems.is_empty() => Ok(draft.finish(path.to_path_buf())),
            _ => Err(problems.into_errors()),
        }
    }
}

/// Where a broker with this configuration listens for its owner, whatever else may be wrong in the file; `None` when it
/// does not.
#[must_use]
pub fn control_socket(file: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    let key = |section: &str, key: &str| table.get(section)?.get(key)?.as_str();
    let beside = |name: &str| file.parent().unwrap_or(Path::new("")).join(name);
    match (key("node", "control_socket"), key("durability", "mode")) {
        (Some(path), _) => Some(beside(path)),
        (None, Some("memory")) => None,
        (None, _) => Some(beside(key("durability", "directory").unwrap_or(durability::DIRECTORY)).join(CONTROL_SOCKET)),
    }
}

/// Permission bits of a file that its group or all users can change.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The text of a file, or line, sentence and hint of why it is none.
fn text_of(bytes: &[u8]) -> Result<&str, (usize, &'static str, &'static str)> {
    const SAVE: &str = "save it as UTF-8 without a byte order mark";
    if bytes.is_empty() {
        return Err((0, "the file is empty", "was it cut short? restore it, or make it again"));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") || bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err((1, "the file begins with a byte order mark", SAVE));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.iter().take(error.valid_up_to());
        (before.filter(|byte| **byte == b'\n').count() + 1, "the file is not UTF-8 here", SAVE)
    })
}

#[cfg(test)]
pub(crate) mod tests;

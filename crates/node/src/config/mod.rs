//! `motte.toml`: read, checked as a whole, turned into [`Settings`].
//!
//! Called by `serve`, `serve --check`, `quickstart` and reload. All errors are reported at once.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::settings::Settings;

/// One error of a configuration file. Shown as `file:line: what — hint: what to do`.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// A configuration file and where it stands: relative paths in it are relative to its folder.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Its path.
    pub path: PathBuf,
}

impl ConfigFile {
    /// Reads and checks the file, including that the files it names can be read and parsed. Gives all errors.
    pub fn load(path: &Path) -> Result<Settings, Vec<ConfigError>> {
        let _ = path;
        todo!()
    }
}

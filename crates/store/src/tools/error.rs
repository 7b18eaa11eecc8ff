//! Why a tool could not do its work.
//!
//! Shown by the command line: the sentence as the error, [`ToolError::hint`] as the hint.

use std::io;
use std::path::PathBuf;

use motte_broker::Origin;

use super::text::TextError;
use crate::codec::Malformed;

/// Why a tool could not do its work. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// There is none.
    #[error("there is no store in {}", directory.display())]
    Missing {
        /// The directory.
        directory: PathBuf,
    },
    /// Another process has it.
    #[error("a running broker uses the store in {}", directory.display())]
    Locked {
        /// The directory.
        directory: PathBuf,
    },
    /// Not even a part of it can be read.
    #[error("nothing in {} can be read: {what}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It was written by a later version of Motte.
    #[error("the store in {} has format {version}, this motte knows up to {}", directory.display(), crate::FORMAT)]
    TooNew {
        /// The directory.
        directory: PathBuf,
        /// Its format.
        version: u32,
    },
    /// It cannot be exported as it is.
    #[error("the store in {} is damaged (places: {places})", directory.display())]
    Damaged {
        /// The directory.
        directory: PathBuf,
        /// How many places.
        places: usize,
    },
    /// What is there would be overwritten.
    #[error("{} is not empty", directory.display())]
    NotEmpty {
        /// The directory.
        directory: PathBuf,
    },
    /// What is to be imported is wrong.
    #[error("{0}")]
    Text(#[from] TextError),
    /// What was exported cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// A file cannot be used.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The engine failed.
    #[error("{what}: {source}")]
    Engine {
        /// What was tried.
        what: String,
        /// What the engine said.
        source: Box<redb::Error>,
    },
}

impl ToolError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => {
                "name the directory of the store with --directory, or a configuration with -c; the first start of the \
                 broker makes it"
            }
            Self::Locked { .. } => "stop the broker first; only one process may use a store",
            Self::Unreadable { .. } => {
                "if there is a copy of the directory, put it back; otherwise move the directory away, and the broker \
                 starts with an empty store"
            }
            Self::TooNew { .. } => "use the motte that wrote it",
            Self::Damaged { .. } => "`motte store check` names them, `motte store repair` keeps what can be verified",
            Self::NotEmpty { .. } => "name a directory that is empty or not there",
            Self::Text(_) => "export it again",
            Self::Output(_) => "check where the output goes",
            Self::Io { .. } => "the directory must be there and yours, and its disk must work and have room",
            Self::Engine { .. } => "check the disk and the room on it",
        }
    }

    /// A message that was found to be well-formed and then was not.
    pub(crate) fn odd(origin: Origin, why: Malformed) -> Self {
        let what = format!("message {} of shard {}", origin.position.0, origin.shard.0);
        Self::Io { what, source: io::Error::new(io::ErrorKind::InvalidData, why.0) }
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn engine<E: Into<redb::Error>>(what: &str) -> impl FnOnce(E) -> Self + '_ {
        move |source| Self::Engine { what: what.to_owned(), source: Box::new(source.into()) }
    }
}

//! Tools for a store that no broker uses: look after it, mend it, take it along.
//!
//! Called by the command line. Everything is read page by page, without the storage engine, which takes a file as a
//! whole or not at all and writes to it when it opens it. None of the tools changes a byte of a sound store.

mod blocks;
mod bytes;
mod copy;
mod damage;
mod error;
mod export;
mod header;
mod import;
mod pages;
mod repair;
mod rows;
mod scan;
mod source;
mod survey;
#[cfg(test)]
mod tests;
mod text;
mod write;

use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use damage::{Counts, Damage, DamageKind, Repaired, Report};
pub use error::ToolError;
pub use text::{TEXT_FORMAT, TextError};

use crate::file;
use crate::open::OpenError;
use crate::reserve::RESERVE_NAME;
use source::Source;
use survey::Survey;
use write::{StoreWriter, sync_directory};

/// How far a tool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Messages so far.
    pub messages: u64,
    /// Messages in all; `None` where that is not known yet.
    pub of: Option<u64>,
}

/// Whether a repair keeps the store as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backup {
    /// In this directory, which must not be there.
    To(PathBuf),
    /// Not at all.
    None,
}

/// Reads everything and tells what is there and what is damaged. Changes nothing.
///
/// # Errors
/// Nothing can be read, or a broker uses the store.
pub fn check(directory: &Path, progress: &mut dyn FnMut(Step)) -> Result<Report, ToolError> {
    let _lock = lock_to_read(directory)?;
    Ok(survey(&open(directory)?, progress)?.report)
}

/// Keeps everything that can be verified. A sound store is not touched; a damaged one is copied first where that is
/// wanted, and stays as it is until the new one is whole.
///
/// # Errors
/// Nothing can be read, a broker uses the store, or a file cannot be written. The store is as it was then.
pub fn repair(directory: &Path, backup: &Backup, progress: &mut dyn FnMut(Step)) -> Result<Repaired, ToolError> {
    if !directory.join(file::FILE_NAME).exists() {
        return Err(missing(directory));
    }
    let _lock = lock(directory)?;
    let source = open(directory)?;
    let survey = survey(&source, progress)?;
    let before = survey.report.clone();
    if before.is_sound() {
        return Ok(Repaired { after: before.counts.clone(), before, backup: None });
    }
    let backup = match backup {
        Backup::To(to) => {
            copy::directory(directory, to)?;
            Some(to.clone())
        }
        Backup::None => None,
    };
    let (path, partial) = (directory.join(file::FILE_NAME), partial(directory));
    let of = Some(before.counts.messages);
    let written = StoreWriter::create(&partial).and_then(|mut out| {
        repair::write(&source, &survey, &mut out, &mut |messages| progress(Step { messages, of }))?;
        out.finish()?;
        Ok(Survey::read(&Source::open(directory, &partial)?, &mut |_| ())?.report)
    });
    let after = written.and_then(|report| match report.damage.first() {
        None => Ok(report.counts),
        Some(damage) => Err(ToolError::Unreadable { file: partial.clone(), what: damage.what.clone() }),
    });
    let after = after.inspect_err(|_| discard(&partial))?;
    fs::rename(&partial, &path).map_err(ToolError::io(format!("cannot replace {}", path.display())))?;
    sync_directory(&path)?;
    Ok(Repaired { before, after, backup })
}

/// Writes everything in a sound store as text.
///
/// # Errors
/// The store is damaged, a broker uses it, or the text cannot be written.
pub fn export(directory: &Path, out: &mut dyn Write, progress: &mut dyn FnMut(Step)) -> Result<Counts, ToolError> {
    let _lock = lock_to_read(directory)?;
    let source = open(directory)?;
    let survey = survey(&source, &mut |_| ())?;
    if !survey.report.is_sound() {
        return Err(ToolError::Damaged { directory: directory.to_owned(), places: survey.report.damage.len() });
    }
    let of = Some(survey.report.counts.messages);
    export::write(&source, &survey, out, &mut |messages| progress(Step { messages, of }))?;
    Ok(survey.report.counts)
}

/// Makes a store of a text in a directory that is empty or not there.
///
/// # Errors
/// The text is cut, changed or wrong, the directory is not empty, or a file cannot be written. Nothing is left then.
pub fn import(text: &mut dyn BufRead, directory: &Path, progress: &mut dyn FnMut(Step)) -> Result<Counts, ToolError> {
    let is_new = !directory.exists();
    if !is_new {
        for entry in fs::read_dir(directory).map_err(cannot_use(directory))? {
            let name = entry.map_err(cannot_use(directory))?.file_name();
            if name != file::LOCK_NAME && name != RESERVE_NAME {
                return Err(ToolError::NotEmpty { directory: directory.to_owned() });
            }
        }
    }
    let _lock = lock(directory)?;
    let (path, partial) = (directory.join(file::FILE_NAME), partial(directory));
    let made = StoreWriter::create(&partial).and_then(|mut out| {
        import::read(text, &mut out, &mut |messages| progress(Step { messages, of: None }))?;
        out.finish()?;
        Ok(Survey::read(&Source::open(directory, &partial)?, &mut |_| ())?.report)
    });
    let done = made.and_then(|report| {
        if let Some(damage) = report.damage.first() {
            return Err(ToolError::Unreadable { file: partial.clone(), what: damage.what.clone() });
        }
        fs::rename(&partial, &path).map_err(ToolError::io(format!("cannot make {}", path.display())))?;
        sync_directory(&path)?;
        Ok(report.counts)
    });
    done.inspect_err(|_| {
        discard(&partial);
        if is_new {
            // It was made a moment ago and holds nothing else.
            discard(&directory.join(file::LOCK_NAME));
            let _ = fs::remove_dir(directory);
        }
    })
}

fn open(directory: &Path) -> Result<Source, ToolError> {
    Source::open(directory, &directory.join(file::FILE_NAME))
}

fn survey(source: &Source, progress: &mut dyn FnMut(Step)) -> Result<Survey, ToolError> {
    Survey::read(source, &mut |counts| progress(Step { messages: counts.messages, of: None }))
}

fn partial(directory: &Path) -> PathBuf {
    directory.join(format!("{}.partial", file::FILE_NAME))
}

/// Removes what a tool had begun to write; the error that is shown is the first one.
fn discard(partial: &Path) {
    let _ = fs::remove_file(partial);
}

fn cannot_use(directory: &Path) -> impl FnOnce(std::io::Error) -> ToolError {
    ToolError::io(format!("cannot use {}", directory.display()))
}

fn missing(directory: &Path) -> ToolError {
    ToolError::Missing { directory: directory.to_owned() }
}

/// Keeps brokers and other tools out.
fn lock(directory: &Path) -> Result<Arc<File>, ToolError> {
    file::lock(directory).map_err(|error| match error {
        OpenError::Locked { directory } => ToolError::Locked { directory },
        OpenError::Io { what, source } => ToolError::Io { what, source },
        error => ToolError::Io { what: directory.display().to_string(), source: io::Error::other(error) },
    })
}

/// Keeps brokers out, and makes nothing: where there is no lock no broker has been.
fn lock_to_read(directory: &Path) -> Result<Option<File>, ToolError> {
    let path = directory.join(file::LOCK_NAME);
    let locking = || ToolError::io(format!("locking {}", path.display()));
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(locking()(error)),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Err(ToolError::Locked { directory: directory.to_owned() }),
        Err(TryLockError::Error(error)) => Err(locking()(error)),
    }
}

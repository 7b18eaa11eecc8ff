//! Keys and certificates on disk: written whole or not at all, keys for their owner only.
//! Called by quickstart, `motte cert`, `motte passwd` and the renewal. Never leaves a half-written file under its name.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::trouble::TlsFileError;

/// Far more than any chain or key; a wrong path to something huge ends here.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
const OTHERS: u32 = 0o077;

/// Writes a file that only its owner can read (mode 0600), atomically: after a crash there is the old file or the new.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_atomically(path, bytes, 0o600)
}

/// Writes a file that everybody can read (mode 0644), atomically.
pub fn write_public(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_atomically(path, bytes, 0o644)
}

/// Makes a directory that only its owner can enter (mode 0700), with its parents. One that exists keeps its contents:
/// an empty one is closed to others, one with files in it that is open to others is refused, because closing a
/// directory that something else uses would break that.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(path)
        }
        Err(error) => Err(error),
        Ok(found) if !found.is_dir() => Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            format!("{} exists and is not a directory", path.display()),
        )),
        Ok(found) => {
            let mode = found.permissions().mode();
            if mode & OTHERS == 0 {
                return Ok(());
            }
            // The sticky bit marks directories that are shared on purpose, such as /tmp.
            let shared = mode & 0o1000 != 0;
            if shared || fs::read_dir(path)?.next().is_some() {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!(
                        "{0} is open to other users (mode {1:o}): run `chmod 700 {0}`",
                        path.display(),
                        mode & 0o7777
                    ),
                ));
            }
            fs::set_permissions(path, Permissions::from_mode(0o700))
        }
    }
}

/// Reads a key. A key that others can read is refused: it may be known to them already, and whoever made it so should
/// learn of it now.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsFileError> {
    let mut file = open(path)?;
    let mode = file.metadata().map_err(|error| TlsFileError::from_io(path, &error))?.permissions().mode();
    if mode & OTHERS != 0 {
        return Err(TlsFileError::Exposed { path: path.to_owned(), mode: mode & 0o777 });
    }
    read(path, &mut file).map(Zeroizing::new)
}

/// Reads a certificate file, which is no secret.
pub(crate) fn read_public(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    read(path, &mut open(path)?)
}

fn open(path: &Path) -> Result<File, TlsFileError> {
    let unreadable = |error: io::Error| TlsFileError::from_io(path, &error);
    // Looked at before it is opened, because opening a pipe would wait for a writer.
    let found = fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() {
        return Err(TlsFileError::NotFile { path: path.to_owned() });
    }
    if found.len() > FILE_BYTES_MAX {
        return Err(TlsFileError::TooLarge { path: path.to_owned() });
    }
    File::open(path).map_err(unreadable)
}

fn read(path: &Path, file: &mut File) -> Result<Vec<u8>, TlsFileError> {
    // All room is taken at once, so that a growing buffer leaves no copies of a key behind.
    let length = file.metadata().map_or(0, |found| found.len()).min(FILE_BYTES_MAX);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 64);
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| TlsFileError::from_io(path, &error))?;
    Ok(bytes)
}

fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = temporary_path(path)?;
    let outcome = write_new(&temporary, bytes, mode).and_then(|()| fs::rename(&temporary, path));
    if outcome.is_err() {
        // The first failure is the one to report; a temporary file that stays is only untidy.
        let _ = fs::remove_file(&temporary);
        return outcome;
    }
    // The rename is durable only once the directory is.
    File::open(directory(path))?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    // Set on the handle, because the mode given at creation is cut by the process's umask.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A hidden name in the same directory, because a rename is atomic only inside one file system.
fn temporary_path(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{} does not name a file", path.display()))
    })?;
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{:016x}.tmp", u64::from_be_bytes(random)));
    Ok(directory(path).join(hidden))
}

#[cfg(test)]
mod tests;

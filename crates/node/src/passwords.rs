//! The password file on the disk: read and written whole, under a lock, so that no two who change it lose anything.
//!
//! Used by `motte passwd`, and by the broker when it hashes a password anew. The lock is a file beside it, because the
//! file itself is replaced by each change.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use motte_policy::PasswordFile;
use zeroize::Zeroizing;

/// The file, while nobody else who keeps to the lock changes it.
#[derive(Debug)]
pub struct LockedPasswords {
    path: PathBuf,
    _lock: File,
}

impl LockedPasswords {
    /// Waits until nobody else changes the file at `path`, which need not be there.
    ///
    /// # Errors
    /// The lock cannot be made beside it.
    pub fn wait(path: &Path) -> io::Result<Self> {
        let lock = open_lock(path)?;
        lock.lock()?;
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    /// The same without waiting; `None` while somebody else changes the file.
    ///
    /// # Errors
    /// The lock cannot be made beside it.
    pub fn try_now(path: &Path) -> io::Result<Option<Self>> {
        let lock = open_lock(path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { path: path.to_path_buf(), _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The text of the file now.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self) -> io::Result<Zeroizing<String>> {
        std::fs::read_to_string(&self.path).map(Zeroizing::new)
    }

    /// Puts a whole new file in the place of the old one, readable for its owner only.
    ///
    /// # Errors
    /// It cannot be written; then the old one is there.
    pub fn write(&self, file: &PasswordFile) -> io::Result<()> {
        motte_pki::write_private(&self.path, Zeroizing::new(file.to_text()).as_bytes())
    }
}

/// The file beside a password file whose name is longer by `ending`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(beside(path, ".lock"))
}

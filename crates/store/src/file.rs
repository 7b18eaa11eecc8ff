//! The store's file: found or made in its directory, locked, readable by its owner alone.
//!
//! Called by [`crate::Store`]. A file under its own name is always a whole store: it is made under another one.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use redb::StorageBackend;

use crate::engine::{Engine, FreeBytes, Settings, corrupt};
use crate::open::OpenError;

/// The name of the file.
pub(crate) const FILE_NAME: &str = "motte.store";
const NEW_NAME: &str = "motte.store.new";
pub(crate) const LOCK_NAME: &str = "lock";

/// A file as a disk. Holds the lock of its directory.
#[derive(Debug)]
pub(crate) struct FileDisk {
    file: File,
    _lock: Arc<File>,
}

impl StorageBackend for FileDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }
}

fn named(what: &str, path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { what: format!("{what} {}", path.display()), source }
}

/// Makes the directory where there is none, and locks it.
pub(crate) fn lock(directory: &Path) -> Result<Arc<File>, OpenError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| named("making", directory, error))?;
    let path = directory.join(LOCK_NAME);
    let file = open(&path, true).map_err(|error| named("opening", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(Arc::new(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { directory: directory.to_owned() }),
        Err(TryLockError::Error(error)) => Err(named("locking", &path, error)),
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(create).truncate(false).mode(0o600).open(path)
}

/// Opens the file of a locked directory; makes it first where there is none. Tells whether it was made.
pub(crate) fn disk(directory: &Path, lock: &Arc<File>, settings: &Settings) -> Result<(FileDisk, bool), OpenError> {
    let path = directory.join(FILE_NAME);
    let is_new = !fs::exists(&path).map_err(|error| named("opening", &path, error))?;
    if is_new {
        make(directory, lock, settings)?;
    }
    let file = open(&path, false).map_err(|error| named("opening", &path, error))?;
    let disk = FileDisk { file, _lock: Arc::clone(lock) };
    // A store is whole when it gets its name, so an empty one has lost what was in it.
    if disk.len().map_err(|error| named("reading", &path, error))? == 0 {
        return Err(corrupt(&format!("{} is empty", path.display())));
    }
    Ok((disk, is_new))
}

/// Makes an empty store under another name and gives it its own when all of it is on the disk.
fn make(directory: &Path, lock: &Arc<File>, settings: &Settings) -> Result<(), OpenError> {
    let path = directory.join(NEW_NAME);
    let file = open(&path, true).map_err(|error| named("making", &path, error))?;
    file.set_len(0).map_err(|error| named("making", &path, error))?;
    let disk = FileDisk { file, _lock: Arc::clone(lock) };
    // Crashes that are asked for are those of a store that stands.
    let opened = Engine::open(disk, Settings { crash_at: None, ..settings.clone() })?;
    opened.engine.close().map_err(|failed| named("making", &path, io::Error::other(failed)))?;
    let renamed = fs::rename(&path, directory.join(FILE_NAME)).and_then(|()| File::open(directory)?.sync_all());
    renamed.map_err(|error| named("making", &path, error))
}

/// How many bytes are free where the directory is.
pub(crate) fn free_bytes(lock: &Arc<File>) -> FreeBytes {
    let file = Arc::clone(lock);
    FreeBytes(Arc::new(move || {
        let figures = rustix::fs::fstatvfs(&*file).ok()?;
        Some(figures.f_bavail.saturating_mul(figures.f_frsize))
    }))
}

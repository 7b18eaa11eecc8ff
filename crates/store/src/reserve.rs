//! Bytes on the disk that are kept for the time when others took all the rest.
//!
//! Held by the engine of a store in a directory. The file is given up when a commit lacks room, so that what settles,
//! deletes and resumes goes on for a while, and made again when there is plenty. Going without it is no failure: the
//! store then waits for room earlier.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

/// The name of the file.
pub(crate) const RESERVE_NAME: &str = "reserve";

/// The file.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    bytes: u64,
    is_held: bool,
}

impl Reserve {
    /// That of a locked directory; what an earlier run left is taken over. Nothing is made here.
    pub(crate) fn of(directory: &Path, bytes: u64) -> Self {
        let path = directory.join(RESERVE_NAME);
        let is_held = bytes > 0 && fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() >= bytes);
        Self { path, bytes, is_held }
    }

    /// Makes the file when so many bytes are free that as much as twice of it is left besides.
    pub(crate) fn make(&mut self, free: Option<u64>) {
        let is_plenty = self.bytes > 0 && free.is_some_and(|free| free / 3 >= self.bytes);
        if self.is_held || !is_plenty {
            return;
        }
        self.is_held = self.allocate().is_ok();
        if !self.is_held {
            // A file system that cannot allocate, or somebody was faster: half a file is of no use.
            let _ = fs::remove_file(&self.path);
        }
    }

    fn allocate(&self) -> io::Result<()> {
        let options = &mut OpenOptions::new();
        let file: File = options.write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        fallocate(&file, FallocateFlags::empty(), 0, self.bytes)?;
        file.sync_all()
    }

    /// Removes the file. Tells whether that made room.
    pub(crate) fn give_up(&mut self) -> bool {
        std::mem::take(&mut self.is_held) && fs::remove_file(&self.path).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_when_there_is_plenty_taken_over_and_given_up_once() {
        let directory = tempfile::tempdir().expect("a place for files");
        let file = directory.path().join(RESERVE_NAME);
        let mut reserve = Reserve::of(directory.path(), 8_192);
        for free in [None, Some(0), Some(3 * 8_192 - 1)] {
            reserve.make(free);
            assert!(!file.exists(), "{free:?}");
        }
        reserve.make(Some(3 * 8_192));
        assert_eq!(fs::metadata(&file).expect("it is made").len(), 8_192);
        let mut reserve = Reserve::of(directory.path(), 8_192);
        assert!(reserve.give_up() && !file.exists());
        assert!(!reserve.give_up());
    }
}

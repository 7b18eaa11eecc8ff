//! Several files take the place of others, all of them or none, whatever happens in between.
//!
//! Used by `rotate`. What is replaced is kept beside it until the end; a journal names the files, so that a rotation
//! that a crash cut short is taken back by the next. Knows nothing of what is in the files.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use motte_pki::{write_private, write_public};
use zeroize::Zeroizing;

/// Appended to the name of what was in place before.
const BEFORE: &str = ".before-rotate";
/// Appended to the name of what is to take its place.
const AFTER: &str = ".after-rotate";
/// The journal, in the folder of the configuration.
const JOURNAL: &str = ".motte-rotate.journal";
/// Held by the one rotation that is under way.
const LOCK: &str = ".motte-rotate.lock";

/// A file and what is to be in it.
pub(super) struct Change {
    pub(super) target: PathBuf,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

/// The right to rotate the files of one configuration; nobody else has it at the same time.
pub(super) struct Turn {
    folder: PathBuf,
    _lock: File,
}

/// Files that were replaced and can be put back.
pub(super) struct Applied {
    turn: Turn,
    targets: Vec<PathBuf>,
}

impl Turn {
    /// Takes the turn, and takes back what a crash left half done; tells whether there was such a thing.
    pub(super) fn take(folder: &Path) -> io::Result<(Self, bool)> {
        let lock = File::options().create(true).append(true).open(folder.join(LOCK))?;
        lock.try_lock().map_err(|_| io::Error::new(io::ErrorKind::WouldBlock, "another rotation is under way"))?;
        let turn = Self { folder: folder.to_path_buf(), _lock: lock };
        let journal = match fs::read_to_string(turn.journal()) {
            Ok(journal) => journal,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((turn, false)),
            Err(error) => return Err(error),
        };
        let targets = journal.lines().map(PathBuf::from).collect();
        Applied { turn, targets }.roll_back().map(|turn| (turn, true))
    }

    /// Replaces all of the files. After an error nothing is replaced.
    pub(super) fn apply(self, changes: &[Change]) -> io::Result<Applied> {
        let targets: Vec<PathBuf> = changes.iter().map(|change| change.target.clone()).collect();
        if targets.iter().any(|target| target.to_string_lossy().contains('\n')) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a path holds a line break"));
        }
        for Change { target, bytes } in changes {
            let mode = fs::metadata(target)?.permissions().mode();
            let write = if mode & 0o077 == 0 { write_private } else { write_public };
            write(&beside(target, BEFORE), &Zeroizing::new(fs::read(target)?))?;
            write(&beside(target, AFTER), bytes)?;
        }
        let journal: String = targets.iter().map(|target| format!("{}\n", target.display())).collect();
        write_private(&self.journal(), journal.as_bytes())?;
        let applied = Applied { turn: self, targets };
        for target in &applied.targets {
            if let Err(error) = fs::rename(beside(target, AFTER), target) {
                applied.roll_back()?;
                return Err(error);
            }
        }
        Ok(applied)
    }

    fn journal(&self) -> PathBuf {
        self.folder.join(JOURNAL)
    }
}

impl Applied {
    /// Puts everything back.
    pub(super) fn roll_back(self) -> io::Result<Turn> {
        for target in &self.targets {
            match fs::rename(beside(target, BEFORE), target) {
                // It was put back by the rotation that was cut short itself.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => outcome?,
            }
            remove(&beside(target, AFTER))?;
        }
        remove(&self.turn.journal())?;
        Ok(self.turn)
    }

    /// The new files stay.
    pub(super) fn commit(self) -> io::Result<()> {
        // From here on a crash leaves the new files in place, and what they replaced beside them.
        remove(&self.turn.journal())?;
        self.targets.iter().try_for_each(|target| remove(&beside(target, BEFORE)))
    }
}

fn beside(target: &Path, end: &str) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::fs;
    use std::path::{Path, PathBuf};

    use zeroize::Zeroizing;

    use super::{AFTER, Change, JOURNAL, Turn, beside};

    fn folder() -> (tempfile::TempDir, [PathBuf; 2]) {
        let folder = tempfile::tempdir().unwrap();
        let files = ["server.pem", "server.key"].map(|name| folder.path().join(name));
        files.iter().for_each(|file| fs::write(file, "old").unwrap());
        (folder, files)
    }

    fn changes(files: &[PathBuf]) -> Vec<Change> {
        let change = |target: &PathBuf| Change { target: target.clone(), bytes: Zeroizing::new(b"new".to_vec()) };
        files.iter().map(change).collect()
    }

    fn content(files: &[PathBuf]) -> Vec<String> {
        files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
    }

    fn names(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn all_files_are_replaced_or_none_and_nothing_is_left_beside_them() {
        let (folder, files) = folder();
        let (turn, _) = Turn::take(folder.path()).unwrap();
        let applied = turn.apply(&changes(&files)).unwrap();
        assert_eq!(content(&files), ["new", "new"]);
        assert!(Turn::take(folder.path()).is_err(), "one at a time");
        let turn = applied.roll_back().unwrap();
        assert_eq!(content(&files), ["old", "old"]);
        turn.apply(&changes(&files)).unwrap().commit().unwrap();
        assert_eq!((content(&files), names(folder.path())), (vec!["new".to_owned(); 2], 3), "and the lock");
        // One of them is not there: the other is not touched.
        let gone = [files[0].clone(), folder.path().join("gone")];
        assert!(Turn::take(folder.path()).unwrap().0.apply(&changes(&gone)).is_err());
        assert_eq!(content(&files), ["new", "new"]);
    }

    #[test]
    fn a_rotation_that_a_crash_cut_short_at_any_point_is_taken_back() {
        // As it would be left with so many of the files in place.
        for done in 0..=2 {
            let (folder, files) = folder();
            let (turn, _) = Turn::take(folder.path()).unwrap();
            std::mem::forget(turn.apply(&changes(&files)).map(|applied| applied.targets).ok());
            for file in &files[done..] {
                fs::write(file, "old").unwrap();
                fs::write(beside(file, AFTER), "new").unwrap();
            }
            assert!(folder.path().join(JOURNAL).exists());
            let (_turn, was_cut_short) = Turn::take(folder.path()).unwrap();
            assert!(was_cut_short);
            assert_eq!((content(&files), names(folder.path())), (vec!["old".to_owned(); 2], 3));
        }
    }
}

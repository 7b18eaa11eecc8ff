//! What the files of a configuration look like from outside, and what is in them: how a change is noticed, and how it
//! is known that nothing changed while they were read.
//!
//! Used by the snapshot, by reload and by the watch. Never keeps a file's bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// What the system tells of a file without reading it. A change of the content changes it, and so does one of the
/// owner or the mode, which decide whether the file may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The stamps of some files; `None` for one that is not there or cannot be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamps(BTreeMap<PathBuf, Option<Stamp>>);

impl Stamps {
    /// Looks at each of the files, at what it points to when it is a link.
    pub(crate) fn of(files: &BTreeSet<PathBuf>) -> Self {
        Self(files.iter().map(|file| (file.clone(), Stamp::of(file))).collect())
    }

    /// The files they are of.
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        self.0.keys().cloned().collect()
    }

    /// Whether they are of all of these files.
    pub(crate) fn cover(&self, files: &BTreeSet<PathBuf>) -> bool {
        files.iter().all(|file| self.0.contains_key(file))
    }
}

impl Stamp {
    fn of(file: &Path) -> Option<Self> {
        let found = fs::metadata(file).ok()?;
        Some(Self {
            file: (found.dev(), found.ino()),
            bytes: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// What is in some files, as hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents(BTreeMap<PathBuf, Option<[u8; 32]>>);

impl Contents {
    /// Reads each of the files.
    pub(crate) fn of(files: &BTreeSet<PathBuf>) -> Self {
        let hash = |file: &PathBuf| fs::read(file).ok().map(|bytes| Sha256::digest(bytes).into());
        Self(files.iter().map(|file| (file.clone(), hash(file))).collect())
    }

    /// A file holds these bytes now, because they were written into it.
    pub(crate) fn were_written(&mut self, file: &Path, bytes: &[u8]) {
        self.0.insert(file.to_path_buf(), Some(Sha256::digest(bytes).into()));
    }

    /// Whether this file held these bytes.
    pub(crate) fn holds(&self, file: &Path, bytes: &[u8]) -> bool {
        let hash: [u8; 32] = Sha256::digest(bytes).into();
        self.0.get(file) == Some(&Some(hash))
    }

    /// The files that are new here, gone, or hold something else than in `earlier`.
    pub(crate) fn changed_since(&self, earlier: &Self) -> Vec<PathBuf> {
        let all: BTreeSet<&PathBuf> = self.0.keys().chain(earlier.0.keys()).collect();
        all.into_iter().filter(|file| self.0.get(*file) != earlier.0.get(*file)).cloned().collect()
    }

    /// Whether this file holds the same here and in `earlier`.
    pub(crate) fn agree_on(&self, earlier: &Self, file: &Path) -> bool {
        let (here, there) = (self.0.get(file), earlier.0.get(file));
        here.is_some() && here == there
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::{Contents, Stamps};

    #[test]
    fn what_changes_a_file_changes_its_stamp_and_what_is_in_it_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        fs::write(&one, "a").unwrap();
        let files = BTreeSet::from([one.clone(), other.clone()]);
        let look = || (Stamps::of(&files), Contents::of(&files));
        let (stamps, contents) = look();
        assert_eq!(look(), (stamps.clone(), contents.clone()));
        fs::set_permissions(&one, fs::Permissions::from_mode(0o640)).unwrap();
        let (open, same) = look();
        assert!(open != stamps && same == contents, "the mode is not in the content");
        fs::write(&other, "b").unwrap();
        let (both, now) = look();
        assert!(both != open);
        assert_eq!(now.changed_since(&contents), std::slice::from_ref(&other));
        assert!(now.agree_on(&contents, &one) && !now.agree_on(&contents, &other));
        // Another file under the same name, as an editor leaves it.
        fs::write(folder.path().join("new"), "a").unwrap();
        fs::rename(folder.path().join("new"), &one).unwrap();
        assert!(look().0 != both && look().1 == now);
        fs::remove_file(&one).unwrap();
        assert_eq!(look().1.changed_since(&now), [one]);
    }
}

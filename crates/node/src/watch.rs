//! The watch over every file of the configuration: tells when something changed and has come to rest.
//!
//! Run by the control loop. The system says that something happened in a folder (`hints`); what it was is found out by
//! looking at the files themselves, and they are looked at now and then even when nothing was said. Never reads a file
//! and never decides what a change means.

mod hints;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::hints::Hints;
use crate::sources::Stamps;

/// How long the files have to be as they are before they are read: whoever replaces a certificate and its key, or ten
/// files, means one change.
const SETTLE: Duration = Duration::from_millis(150);
/// After so much time they are read however busy somebody is with them.
const SETTLE_MAX: Duration = Duration::from_millis(600);
/// How often the files are looked at though nothing was said: on some file systems nobody says anything, and a folder
/// that was replaced as a whole says nothing either.
const ROUND: Duration = Duration::from_secs(10);
/// The same where the system has no hints to give.
const ROUND_WITHOUT_HINTS: Duration = Duration::from_secs(1);

/// The watch.
#[derive(Debug)]
pub(crate) struct Watch {
    /// As they were when they were last read.
    seen: Stamps,
    hints: Option<Arc<Hints>>,
    /// Whether they have to be read again even if nothing changes.
    retry: bool,
    /// When it is time to look though nothing was said. Outlives a wait that is dropped.
    round: Instant,
}

impl Watch {
    /// A watch over files that were last read when they looked like `seen`. Without hints of the system it looks more
    /// often, which the log says once.
    pub(crate) fn over(seen: Stamps) -> Self {
        let hints = Hints::new().map_err(|error| {
            let every_s = ROUND_WITHOUT_HINTS.as_secs();
            tracing::warn!(%error, every_s, "the system tells of no changed file; the files are looked at instead");
        });
        Self { seen, hints: hints.ok().map(Arc::new), retry: false, round: Instant::now() }
    }

    /// The files have been read as they looked then. With `retry` the outcome may be another though nothing changes: it
    /// hung on the time or on what the system had left.
    pub(crate) fn were_read(&mut self, seen: Stamps, retry: bool) {
        self.seen = seen;
        self.retry = retry;
        self.round = Instant::now() + if self.hints.is_some() { ROUND } else { ROUND_WITHOUT_HINTS };
    }

    /// Waits until the files are to be read again. May be dropped at any time: what it waited for is found by the next
    /// call.
    pub(crate) async fn change(&mut self) {
        loop {
            let mut now = self.look().await;
            if now != self.seen {
                let since = Instant::now();
                loop {
                    tokio::time::sleep(SETTLE).await;
                    let next = self.look().await;
                    if next == now || since.elapsed() > SETTLE_MAX {
                        break;
                    }
                    now = next;
                }
                if now != self.seen {
                    return;
                }
            }
            if self.is_round().await && self.retry {
                return;
            }
        }
    }

    /// Waits for a word of the system, or until it is time to look anyway; tells whether it is that.
    async fn is_round(&mut self) -> bool {
        let (word, every) = match &self.hints {
            Some(hints) => (tokio::time::timeout_at(self.round, hints.next()).await, ROUND),
            None => (tokio::time::timeout_at(self.round, std::future::pending()).await, ROUND_WITHOUT_HINTS),
        };
        if word.is_err() {
            self.round = Instant::now() + every;
        }
        word.is_err()
    }

    /// The files as they look now; the folders they are found through are the ones to hear of. They are asked for
    /// first, so that nothing that happens after the look goes unheard.
    async fn look(&self) -> Stamps {
        let files: BTreeSet<PathBuf> = self.seen.files();
        let hints = self.hints.clone();
        let work = tokio::task::spawn_blocking(move || {
            hints.iter().for_each(|hints| hints.follow(&files));
            Stamps::of(&files)
        });
        match work.await {
            Ok(stamps) => stamps,
            // The runtime ends, and the watch with it.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use super::{SETTLE, Watch};
    use crate::sources::Stamps;

    fn over(files: &[&Path]) -> (BTreeSet<PathBuf>, Watch) {
        let files = files.iter().map(|file| file.to_path_buf()).collect();
        let watch = Watch::over(Stamps::of(&files));
        (files, watch)
    }

    /// Whether a change is told of sooner than the files would be looked at without hints.
    async fn tells(watch: &mut Watch) -> bool {
        tokio::time::timeout(Duration::from_secs(8), watch.change()).await.is_ok()
    }

    /// Lets the watch come to rest, so that what happens next is heard and not found by its first look.
    async fn rests(watch: &mut Watch) {
        assert!(tokio::time::timeout(2 * SETTLE, watch.change()).await.is_err(), "nothing has changed");
    }

    #[tokio::test]
    async fn a_write_a_rename_over_and_a_removal_are_told_and_neighbours_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("acl");
        fs::write(&file, "one").unwrap();
        let (files, mut watch) = over(&[&file]);
        let changes: [&dyn Fn(); 3] = [
            &|| fs::write(&file, "three").unwrap(),
            &|| {
                fs::write(folder.path().join("acl~"), "four").unwrap();
                fs::rename(folder.path().join("acl~"), &file).unwrap();
            },
            &|| fs::remove_file(&file).unwrap(),
        ];
        for change in changes {
            rests(&mut watch).await;
            fs::write(folder.path().join("neighbour"), "x").unwrap();
            rests(&mut watch).await;
            change();
            assert!(tells(&mut watch).await);
            watch.were_read(Stamps::of(&files), false);
        }
    }

    #[tokio::test]
    async fn kubernetes_swaps_a_link_and_every_file_behind_it_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("acl"), text).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/acl", at("acl")).unwrap();
        // A folder that is a link somewhere else, as a deployment has it.
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(folder.path(), elsewhere.path().join("current")).unwrap();
        let file = elsewhere.path().join("current/acl");
        let (files, mut watch) = over(&[&file]);
        rests(&mut watch).await;
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(tells(&mut watch).await);
        watch.were_read(Stamps::of(&files), false);
        rests(&mut watch).await;
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("acl"), "three").unwrap();
        symlink(other.path(), elsewhere.path().join("next")).unwrap();
        fs::rename(elsewhere.path().join("next"), elsewhere.path().join("current")).unwrap();
        assert!(tells(&mut watch).await);
    }

    #[tokio::test]
    async fn files_that_change_one_after_the_other_are_one_change() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("server.pem"), folder.path().join("server.key"));
        fs::write(&one, "1").unwrap();
        fs::write(&other, "1").unwrap();
        let (_, mut watch) = over(&[&one, &other]);
        rests(&mut watch).await;
        fs::write(&one, "22").unwrap();
        let writer = {
            let other = other.clone();
            tokio::spawn(async move {
                tokio::time::sleep(SETTLE / 2).await;
                fs::write(&other, "22").unwrap();
            })
        };
        assert!(tells(&mut watch).await);
        writer.await.unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"22", "it was told when both had come to rest");
    }
}

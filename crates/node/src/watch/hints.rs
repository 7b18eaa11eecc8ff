//! What the system says of folders: that something happened there (inotify).
//!
//! Used by the watch. Tells nothing of what it was: a queue that ran over, a link that was swapped and a plain write
//! are the same word.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

/// Links that are followed from one file; more are a ring.
const LINKS_MAX: usize = 40;
/// Bytes of news that are thrown away at once.
const NEWS_BYTES: usize = 4096;

/// News of folders.
#[derive(Debug)]
pub(super) struct Hints {
    news: AsyncFd<OwnedFd>,
    /// The folders asked for last, by the numbers the system gave them.
    followed: Mutex<BTreeSet<i32>>,
}

impl Hints {
    /// News of no folder so far. Called on a runtime.
    #[allow(
        deprecated,
        reason = "what stands in its place is unsafe; a descriptor that is owned is closed by nobody else"
    )]
    pub(super) fn new() -> io::Result<Self> {
        let news = AsyncFd::new(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?)?;
        Ok(Self { news, followed: Mutex::default() })
    }

    /// Asks for news of every folder through which one of these files is found, and of no other. To ask again costs
    /// little.
    pub(super) fn follow(&self, files: &BTreeSet<PathBuf>) {
        let what = WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let folders: BTreeSet<PathBuf> = files.iter().flat_map(|file| folders_of(file)).collect();
        // A folder that is gone, or one too many for the system, is looked at now and then all the same.
        let ask = |folder: PathBuf| inotify::add_watch(self.news.get_ref(), &folder, what).ok();
        let now: BTreeSet<i32> = folders.into_iter().filter_map(ask).collect();
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        for folder in followed.difference(&now) {
            // One that is gone was forgotten by the system as well.
            let _ = inotify::remove_watch(self.news.get_ref(), *folder);
        }
        *followed = now;
    }

    /// Waits for the next word, and takes all others that came with it.
    pub(super) async fn next(&self) {
        let Ok(mut ready) = self.news.readable().await else { return std::future::pending().await };
        let mut news = [0; NEWS_BYTES];
        while rustix::io::read(self.news.get_ref(), &mut news).is_ok_and(|bytes| bytes > 0) {}
        ready.clear_ready();
    }
}

/// The folders in which a change makes `file` another one: its own, and that of every link on the way to it.
fn folders_of(file: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut whole = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
    'links: for _ in 0..LINKS_MAX {
        let mut so_far = PathBuf::new();
        let mut parts = whole.components();
        while let Some(part) = parts.next() {
            let folder = so_far.clone();
            so_far.push(part);
            if let Ok(target) = std::fs::read_link(&so_far) {
                let next = folder.join(target).join(parts.as_path());
                folders.insert(folder);
                whole = next;
                continue 'links;
            }
        }
        break;
    }
    folders.extend(whole.parent().map(Path::to_path_buf));
    folders
}

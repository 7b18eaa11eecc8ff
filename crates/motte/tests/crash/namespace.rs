//! Small disks and shifted clocks out of the kernel's namespaces, gone with the test.
//!
//! As root with loop devices a disk is an ext4 file system in a file; elsewhere it is a tmpfs in a user namespace, and
//! the test says so. Where neither is possible the test fails: a full disk is not something to skip.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child::Child;

/// Words that let a command see the machine as booted that much earlier.
pub(crate) fn time_words(since_boot_s: i64) -> Vec<String> {
    if since_boot_s == 0 {
        return Vec::new();
    }
    let mut words = unshare();
    words.extend(["--time".to_owned(), "--boottime".to_owned(), since_boot_s.to_string(), "--".to_owned()]);
    words
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.trim_ascii() == b"0"
}

fn unshare() -> Vec<String> {
    let mut words = vec!["unshare".to_owned()];
    if !is_root() {
        words.extend(["--user".to_owned(), "--map-root-user".to_owned()]);
    }
    words
}

/// Kinds of small disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ext4,
    Tmpfs,
}

/// A file system of its own in a mount namespace, mounted on a folder of the test. Ends with the value.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    holder: Child,
    folder: PathBuf,
}

impl SmallDisk {
    /// Of so many MiB, mounted on `folder`, which is made.
    pub(crate) fn new(kind: Kind, folder: &Path, mib: u64) -> Self {
        fs::create_dir(folder).unwrap();
        let target = folder.display();
        if kind == Kind::Ext4 && is_root() {
            let image = folder.with_extension("image");
            let made = Command::new("truncate").args(["-s", &format!("{mib}M")]).arg(&image).status().unwrap();
            assert!(made.success());
            let made = Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image).status();
            assert!(made.is_ok_and(|status| status.success()), "mkfs.ext4 failed; run `cargo xtask setup`");
            let mount = format!("mount -o loop '{}' '{target}'", image.display());
            match Self::hold(&mount) {
                Some(holder) => return Self { holder, folder: folder.to_owned() },
                None => eprintln!("NO LOOP DEVICE can be mounted here: the full disk is a tmpfs, not ext4"),
            }
        } else if kind == Kind::Ext4 {
            eprintln!("NOT ROOT, so no file system can be mounted from a file: the full disk is a tmpfs, not ext4");
        }
        let holder = Self::hold(&format!("mount -t tmpfs -o size={mib}m none '{target}'"));
        let holder = holder.expect("a tmpfs can be mounted in a namespace; without one a full disk cannot be tested");
        Self { holder, folder: folder.to_owned() }
    }

    /// A process that keeps the namespace with its mount as long as its standard input is open.
    fn hold(mount: &str) -> Option<Child> {
        let words = unshare();
        let script = format!("{mount} && echo mounted && read line");
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["--mount", "--propagation", "private", "--", "sh", "-c", &script]);
        let mut holder = Child::start(&mut command);
        holder.take_unless_ended("the mount", |line| line == "mounted")?;
        Some(holder)
    }

    /// Words that run a command where the disk is mounted.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = vec!["nsenter".to_owned(), "--mount".to_owned()];
        if !is_root() {
            words.extend(["--user".to_owned(), "--preserve-credentials".to_owned()]);
        }
        words.extend(["--target".to_owned(), self.holder.id().to_string(), "--".to_owned()]);
        words
    }

    /// Runs a shell script where the disk is mounted, in its folder. What it wrote.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> String {
        let words = self.words();
        let script = format!("cd '{}' && {script}", self.folder.display());
        let output = Command::new(&words[0]).args(&words[1..]).args(["sh", "-c", &script]).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Bytes that are free on it.
    #[track_caller]
    pub(crate) fn free_bytes(&self) -> u64 {
        let said = self.run("stat -f -c '%a %S' .");
        said.split_whitespace().map(|word| word.parse::<u64>().unwrap()).product()
    }
}

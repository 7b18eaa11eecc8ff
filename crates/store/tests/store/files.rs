//! The store in a directory: its files, its lock, and what is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::channel;
use std::time::Duration;

use motte_broker::journal::DurableTargets;
use motte_broker::{Journal, Millis, Record};
use motte_store::{Away, Notice, OpenError, Options, Store};

use crate::kit::{message, session, subject, target};

#[test]
fn a_store_is_made_kept_and_opened_again() {
    let directory = tempfile::tempdir().expect("a place for files");
    let options = Options::new(directory.path().join("data"));
    let opened = Store::open(&options).expect("it is made");
    assert_eq!((opened.report.away, opened.report.is_new), (Away::Never, true));
    let start = opened.clock;
    let (tell, told) = channel();
    let notify = Box::new(move |notice| drop(tell.send(notice)));
    let (keeper, mut journals) = opened.store.start(1, notify).expect("a thread starts");
    let opened = Record::SessionOpened { owner: &subject("c"), expiry_s: 60, mount_point: "" };
    journals[0].append(&opened);
    let (message, targets) = (message("t", b"payload", Millis(0)), [target("c")]);
    journals[0].append(&Record::Published { message: &message, targets: DurableTargets::listed(&targets) });
    journals[0].hand_over(start.plus_ms(7));
    let notice = told.recv_timeout(Duration::from_secs(20)).expect("the keeper tells in time");
    assert!(matches!(notice, Notice::Durable(_)));
    keeper.stop().expect("it closes in order");

    let opened = Store::open(&options).expect("it opens again");
    assert_eq!(session(&opened.restored, "c").queue.len(), 1);
    assert!(opened.clock > start.plus_ms(7) && !opened.report.was_unclean && !opened.report.is_new);
    assert!(matches!(opened.report.away, Away::SameBoot(_)));
    assert_eq!((opened.report.sessions, opened.report.owed), (1, 1));
}

#[test]
fn only_the_owner_may_read_the_files() {
    let directory = tempfile::tempdir().expect("a place for files");
    let options = Options::new(directory.path().join("data"));
    drop(Store::open(&options).expect("it is made"));
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&options.directory), 0o700);
    let files: Vec<_> =
        fs::read_dir(&options.directory).expect("it is there").map(|file| file.expect("a file")).collect();
    // The store, its lock and, where there is room for it, its reserve.
    assert!((2..=3).contains(&files.len()), "{files:?}");
    for file in files {
        assert_eq!(mode(&file.path()), 0o600, "{file:?}");
    }
}

#[test]
fn a_directory_that_is_in_use_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("a place for files");
    let options = Options::new(directory.path().to_owned());
    let first = Store::open(&options).expect("it is made");
    let second = Store::open(&options).expect_err("the first has it");
    assert!(matches!(&second, OpenError::Locked { directory: named } if named == directory.path()));
    assert!(
        second.to_string().contains(&format!("{} is in use by another process — hint: ", directory.path().display()))
    );
    drop(first);
    Store::open(&options).expect("it is free again");
}

#[test]
fn a_making_that_was_cut_off_leaves_nothing_that_is_taken_for_a_store() {
    let directory = tempfile::tempdir().expect("a place for files");
    let options = Options::new(directory.path().to_owned());
    fs::write(directory.path().join("motte.store.new"), b"the first bytes of what was to be a store")
        .expect("it is written");
    assert!(Store::open(&options).expect("it is made anew").report.is_new);
}

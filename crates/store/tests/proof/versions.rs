//! Two versions (R18): a store of each format that was ever written opens with everything, one of a later format is
//! refused and not touched.

use std::fs;
use std::path::Path;

use motte_store::disk::SimDisk;
use motte_store::{FORMAT, OpenError, Options, Store};

use crate::engine::{Unusable, open};
use crate::workload::Workload;

/// Every format that was ever written: the file and what is in it. Made by `examples/fixture.rs`.
const FORMATS: [(&[u8], &str); FORMAT as usize] = [
    (include_bytes!("../fixtures/format-1.store"), include_str!("../fixtures/format-1.txt")),
    (include_bytes!("../fixtures/format-2.store"), include_str!("../fixtures/format-2.txt")),
];

/// A store as a later version writes it, as far as this one can tell.
fn of_later_format() -> Vec<u8> {
    let mut image = FORMATS[0].0.to_vec();
    let version = (FORMAT + 1).to_le_bytes();
    let crc = crc32fast::hash(&[&image[..12], &version].concat()).to_le_bytes();
    image[12..20].copy_from_slice(&[version, crc].concat());
    image
}

/// Names and contents of the files of a directory; the lock has none, and the reserve nothing that counts.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(directory).expect("it is there").map(|entry| entry.expect("it can be read"));
    let named = entries.map(|entry| {
        (entry.file_name().into_string().expect("UTF-8"), fs::read(entry.path()).expect("it can be read"))
    });
    let mut named: Vec<_> = named.filter(|(name, _)| name != "lock" && name != "reserve").collect();
    named.sort();
    named
}

#[test]
fn r18_a_store_of_every_format_opens_with_everything_and_goes_on() {
    for (at, (image, lines)) in FORMATS.iter().enumerate() {
        let (mut running, model) = open(SimDisk::from_image(image.to_vec())).expect("it is sound");
        assert_eq!(model.lines(), *lines, "format {}", at + 1);
        let mut workload = Workload::new(99);
        workload.model = model;
        let mut workload = workload.restarted(running.now());
        workload.turns(&mut running);
        running.commit().expect("the disk is sound");
        let (_, after) = open(SimDisk::from_image(running.kill())).expect("it is sound");
        assert!(workload.model.is(&after), "format {}: {}", at + 1, workload.model.difference(&after));
    }
}

#[test]
fn r18_a_store_of_a_later_format_is_refused_and_not_touched() {
    let disk = SimDisk::from_image(of_later_format()).recorded();
    match open(disk.clone()) {
        Err(Unusable::Refused(OpenError::TooNew { version })) => assert_eq!(version, FORMAT + 1),
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(disk.recorded_count(), 0);

    let directory = tempfile::tempdir().expect("there is room");
    fs::write(directory.path().join("motte.store"), of_later_format()).expect("there is room");
    let before = files(directory.path());
    let refused = Store::open(&Options::new(directory.path().to_owned()));
    assert!(matches!(refused, Err(OpenError::TooNew { version }) if version == FORMAT + 1), "{refused:?}");
    assert!(files(directory.path()) == before);
}

#[test]
fn r20_an_empty_file_is_not_a_new_store() {
    let directory = tempfile::tempdir().expect("there is room");
    fs::write(directory.path().join("motte.store"), b"").expect("there is room");
    let refused = Store::open(&Options::new(directory.path().to_owned()));
    assert!(matches!(refused, Err(OpenError::Corrupt { .. })), "{refused:?}");
}

#[test]
fn r02_what_a_cut_left_of_a_store_being_made_is_made_anew() {
    let directory = tempfile::tempdir().expect("there is room");
    fs::write(directory.path().join("motte.store.new"), [7; 10_000]).expect("there is room");
    let opened = Store::open(&Options::new(directory.path().to_owned())).expect("nothing was kept yet");
    assert!(opened.report.is_new && opened.restored.sessions.is_empty());
    drop(opened);
    let names: Vec<String> = files(directory.path()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["motte.store"]);
}

#[test]
fn a_store_that_is_open_cannot_be_opened_again() {
    let directory = tempfile::tempdir().expect("there is room");
    let options = Options::new(directory.path().to_owned());
    let first = Store::open(&options).expect("an empty directory");
    let second = Store::open(&options);
    assert!(matches!(second, Err(OpenError::Locked { .. })), "{second:?}");
    drop(first);
    Store::open(&options).expect("nobody has it any more");
}

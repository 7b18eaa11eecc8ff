//! Modes, and that a failed write leaves what was there.
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene must stop at that line")]

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(directory: &Path) -> Vec<OsString> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn keys_are_for_their_owner_and_certificates_for_all() {
    let room = tempfile::tempdir().unwrap();
    let (key, certificate) = (room.path().join("a.key"), room.path().join("a.pem"));
    // An older file that was open to others does not lend its mode to the new one.
    fs::write(&key, "old").unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    write_private(&key, b"new").unwrap();
    write_public(&certificate, b"c").unwrap();
    assert_eq!((mode(&key), mode(&certificate)), (0o600, 0o644));
    assert_eq!(read_private(&key).unwrap().as_slice(), b"new");
    assert_eq!(names(room.path()).len(), 2, "no temporary file stays");
}

#[test]
fn a_write_that_fails_leaves_the_old_file_and_nothing_else() {
    let room = tempfile::tempdir().unwrap();
    // A directory with something in it cannot be replaced by a file, whoever asks.
    let path = room.path().join("taken");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("old"), "old").unwrap();
    assert!(write_private(&path, b"new").is_err());
    assert_eq!(fs::read_to_string(path.join("old")).unwrap(), "old");
    assert_eq!(names(room.path()), ["taken"]);
    assert!(write_private(&room.path().join("missing/x"), b"new").is_err());
    assert!(write_private(Path::new("/"), b"new").is_err());
}

#[test]
fn a_link_is_replaced_and_its_target_is_left_alone() {
    let room = tempfile::tempdir().unwrap();
    let (target, link) = (room.path().join("target"), room.path().join("link"));
    fs::write(&target, "theirs").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    write_private(&link, b"ours").unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "theirs");
    assert!(!fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn private_directories_are_made_and_closed() {
    let room = tempfile::tempdir().unwrap();
    let (new, empty) = (room.path().join("a/b"), room.path().join("empty"));
    create_private_dir(&new).unwrap();
    create_private_dir(&new).unwrap();
    assert_eq!((mode(&new), mode(&room.path().join("a"))), (0o700, 0o700));
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, Permissions::from_mode(0o755)).unwrap();
    create_private_dir(&empty).unwrap();
    assert_eq!(mode(&empty), 0o700);
}

#[test]
fn directories_that_others_use_are_refused_and_not_changed() {
    let room = tempfile::tempdir().unwrap();
    let (used, shared, file) = (room.path().join("used"), room.path().join("shared"), room.path().join("file"));
    fs::create_dir(&used).unwrap();
    fs::write(used.join("x"), "x").unwrap();
    fs::set_permissions(&used, Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o1777)).unwrap();
    fs::write(&file, "x").unwrap();
    let error = create_private_dir(&used).unwrap_err();
    assert!(error.to_string().contains("chmod 700"), "{error}");
    assert!(create_private_dir(&shared).is_err());
    assert!(create_private_dir(&file).is_err());
    assert_eq!((mode(&used), mode(&shared)), (0o755, 0o1777));
}

#[test]
fn what_is_no_small_file_is_not_read() {
    let room = tempfile::tempdir().unwrap();
    let huge = room.path().join("huge");
    File::create(&huge).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
    fs::set_permissions(&huge, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(read_private(&huge), Err(TlsFileError::TooLarge { path: huge.clone() }));
    assert_eq!(read_private(Path::new("/dev/zero")), Err(TlsFileError::NotFile { path: "/dev/zero".into() }));
}

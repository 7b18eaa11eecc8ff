//! Where secrets come from, and that nothing but the secret itself shows them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

const CANARY: &str = "canary-7f3a";

fn nothing(_: &str) -> Option<OsString> {
    None
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn parse(text: &str) -> Result<SecretRef, SecretError> {
    SecretRef::parse(text, Path::new("/etc/motte"))
}

#[test]
fn references_are_told_from_literals() {
    assert_eq!(parse("env:TOKEN").unwrap(), SecretRef::Env("TOKEN".into()));
    assert_eq!(parse("file:secrets/token").unwrap(), SecretRef::File("/etc/motte/secrets/token".into()));
    assert_eq!(parse("file:/run/token").unwrap(), SecretRef::File("/run/token".into()));
    assert_eq!(parse("credential:token").unwrap(), SecretRef::Credential("token".into()));
    for (text, shown) in [("vault:kv/motte/jwt#key", "kv/motte/jwt#key"), ("vault:kv/a#b#c", "kv/a#b#c")] {
        assert!(matches!(parse(text).unwrap(), SecretRef::Vault(path) if path.to_string() == shown));
    }
    assert!(matches!(parse(CANARY).unwrap(), SecretRef::Literal(_)));
    for (text, prefix) in [
        ("env:", "env:"),
        ("env:A=B", "env:"),
        ("env:A\nB", "env:"),
        ("file:", "file:"),
        ("credential:", "credential:"),
        ("credential:../shadow", "credential:"),
        ("credential:..", "credential:"),
        ("credential:a/b", "credential:"),
        ("vault:", "vault:"),
        ("vault:kv#key", "vault:"),
        ("vault:kv/path", "vault:"),
        ("vault:kv/path#", "vault:"),
        ("vault:/path#key", "vault:"),
        ("vault:kv/../sys/raw#key", "vault:"),
        ("vault:kv//a#key", "vault:"),
    ] {
        assert_eq!(parse(text), Err(SecretError::Name(prefix)), "{text:?}");
    }
    assert_eq!(parse(""), Err(SecretError::Empty));
}

#[test]
fn variables_and_credentials_are_found() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("token"), "from systemd\n", 0o400);
    let environment = |name: &str| match name {
        "TOKEN" => Some(OsString::from("from the environment")),
        "CREDENTIALS_DIRECTORY" => Some(folder.path().as_os_str().to_owned()),
        _ => None,
    };
    let resolve = |text: &str| parse(text).unwrap().resolve(&environment);
    assert_eq!(resolve("env:TOKEN").unwrap().bytes(), b"from the environment");
    assert_eq!(resolve("env:OTHER"), Err(SecretError::NoVariable("OTHER".into())));
    assert_eq!(resolve("credential:token").unwrap().bytes(), b"from systemd");
    assert_eq!(resolve("credential:other"), Err(SecretError::NotFound(folder.path().join("other"))));
    assert_eq!(parse("credential:token").unwrap().resolve(&nothing), Err(SecretError::NoCredentials));
}

/// One newline is cut and nothing else: a space may be part of a secret.
#[test]
fn only_a_last_newline_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    for (text, expected) in [
        ("s", Ok("s")),
        ("s\n", Ok("s")),
        ("s\r\n", Ok("s")),
        ("s\n\n", Ok("s\n")),
        (" s ", Ok(" s ")),
        ("", Err(SecretError::Empty)),
        ("\n", Err(SecretError::Empty)),
    ] {
        write(&path, text, 0o600);
        let found = SecretRef::File(path.clone()).resolve(&nothing);
        assert_eq!(found.as_ref().map(|secret| secret.text().unwrap()), expected.as_ref().copied(), "{text:?}");
    }
    write(&path, &"x".repeat(SECRET_BYTES_MAX), 0o600);
    assert!(SecretRef::File(path.clone()).resolve(&nothing).is_ok());
    write(&path, &"x".repeat(SECRET_BYTES_MAX + 5), 0o600);
    assert_eq!(SecretRef::File(path).resolve(&nothing), Err(SecretError::TooLong));
}

/// Kubernetes mounts a secret as `token -> ..data/token` and `..data -> ..2026_…/`, and swaps the second link.
#[test]
fn a_swapped_link_leads_to_the_new_secret() {
    let mount = tempfile::tempdir().unwrap();
    for (version, text) in [("..2026_01", "old"), ("..2026_02", "new")] {
        fs::create_dir(mount.path().join(version)).unwrap();
        write(&mount.path().join(version).join("token"), text, 0o400);
    }
    symlink("..2026_01", mount.path().join("..data")).unwrap();
    symlink("..data/token", mount.path().join("token")).unwrap();
    let secret = SecretRef::File(mount.path().join("token"));
    assert_eq!(secret.resolve(&nothing).unwrap().bytes(), b"old");
    symlink("..2026_02", mount.path().join("..data_tmp")).unwrap();
    fs::rename(mount.path().join("..data_tmp"), mount.path().join("..data")).unwrap();
    assert_eq!(secret.resolve(&nothing).unwrap().bytes(), b"new");
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    for mode in [0o604, 0o644, 0o602] {
        write(&path, CANARY, mode);
        let found = SecretRef::File(path.clone()).resolve(&nothing);
        assert_eq!(found, Err(SecretError::Exposed { path: path.clone(), mode }));
    }
    let directory = SecretRef::File(folder.path().to_owned()).resolve(&nothing);
    assert_eq!(directory, Err(SecretError::NotFile(folder.path().to_owned())));
}

#[test]
fn a_group_may_read_what_root_gives_to_a_service() {
    for (mode, owner, broker, exposed) in [
        (0o100_600, 1000, 1000, false),
        (0o100_400, 0, 0, false),
        (0o100_640, 1000, 1000, true),
        (0o100_640, 0, 0, true),
        (0o100_440, 0, 1000, false),
        (0o100_460, 0, 1000, true),
        (0o100_444, 0, 1000, true),
    ] {
        assert_eq!(is_exposed(mode, owner, broker), exposed, "{mode:o} of {owner} for {broker}");
    }
}

#[test]
fn k39_a_secret_is_never_shown() {
    let secret = Secret::new(Zeroizing::new(CANARY.as_bytes().to_vec())).unwrap();
    let literal = parse(CANARY).unwrap();
    for shown in [format!("{secret:?}"), format!("{literal:?}"), format!("{literal}")] {
        assert!(!shown.contains(CANARY), "{shown}");
        assert!(!shown.contains(&format!("{:?}", CANARY.as_bytes())), "{shown}");
    }
    let not_text = Secret::new(Zeroizing::new(vec![0xff, 0xfe])).unwrap();
    assert_eq!(not_text.text().unwrap_err().to_string(), "the secret is not text in UTF-8");
}

//! `motte dynsec`: what a user sees, and what stands in the file.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::process::Command;

use support::{mode, motte};

#[test]
fn a_file_is_made_with_one_administrator_and_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let made = motte(dir.path(), &["dynsec", "init", "dynamic.json", "root"]);
    assert_eq!(made.code, 0, "{made:?}");
    let password = made.out.trim_end();
    assert_eq!(password.len(), 32, "{made:?}");
    let path = dir.path().join("dynamic.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("\"username\": \"root\"") && text.contains("$argon2id$") && !text.contains(password),
        "{text}"
    );
    assert_eq!(mode(&path), 0o600);
    let again = motte(dir.path(), &["dynsec", "init", "dynamic.json", "root"]);
    assert!(again.code == 1 && again.err.starts_with("error: dynamic.json is there already\nhint: "), "{again:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    let listed = motte(dir.path(), &["dynsec", "list", "dynamic.json"]);
    let expected = "USER  STATE    SCHEME    ROLES                                  GROUPS\n\
                    root  enabled  argon2id  super-admin,sys-observe,topic-observe  -\n";
    assert_eq!((listed.code, listed.out.as_str()), (0, expected));
    let bad = motte(dir.path(), &["dynsec", "init", "other.json", ""]);
    assert!(bad.code == 1 && bad.err.contains("cannot be a user name") && !dir.path().join("other.json").exists());
}

#[test]
fn a_password_comes_from_a_file_and_never_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), "two words\nnot this\n").unwrap();
    let made = motte(dir.path(), &["dynsec", "init", "d.json", "admin", "--password-file", "secret"]);
    assert_eq!((made.code, made.out.as_str()), (0, ""), "{made:?}");
    let text = fs::read_to_string(dir.path().join("d.json")).unwrap();
    let model = motte_policy::DynamicSecurity::parse(&text).unwrap();
    let check = model.verify("admin", "any", b"two words");
    assert!(matches!(check, motte_policy::dynamic::Check::Accepted(_)));
    assert_eq!(motte(dir.path(), &["dynsec", "init", "e.json", "admin", "secret"]).code, 2);
}

#[test]
fn a_file_made_by_mosquitto_ctrl_is_listed_and_a_broken_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new("mosquitto_ctrl")
        .args(["dynsec", "init", "dyn.json", "boss", "a long secret"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let listed = motte(dir.path(), &["dynsec", "list", "dyn.json", "--json"]);
    assert_eq!(
        listed.out,
        "[{\"user\":\"boss\",\"disabled\":false,\"client_id\":null,\"scheme\":\"sha512-pbkdf2\",\
         \"roles\":[\"admin\"],\"groups\":[]}]\n"
    );
    fs::write(dir.path().join("dyn.json"), "{\"clients\": [{\"username\": \"a\", \"rolls\": []}]}").unwrap();
    let broken = motte(dir.path(), &["dynsec", "list", "dyn.json"]);
    assert!(broken.code == 1 && broken.err.contains("client \"a\" has a member \"rolls\""), "{broken:?}");
    assert!(motte(dir.path(), &["dynsec", "list", "none.json"]).err.contains("motte dynsec init"));
}

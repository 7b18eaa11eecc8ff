//! `motte passwd`: what a user sees, and what stands in the file.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::process::Command;

use support::{MOTTE, mode, motte, motte_with_input};

/// Written by `mosquitto_passwd` 2.0 for `secret`.
const BOB: &str = "bob:$7$101$xeR/ttQGZzDdT8Xl$\
    57rlM2cUvNZd6PZQtQ47bxzplp5D2rrO9ZAQWT0B9M5QYy59L6e1ri2MvrYSZZJBsVSe5vzqbaLlhPrCm/oL2Q==\n";
/// Mosquitto's older form, for `geheim`.
const CARL: &str = "carl:$6$aIVxmAxLVlYkMPsg$\
    vftoqazHtMMV3+/CuB2o/86b3ldh7jQzB5h34J8nnx8ObFeGa3VUY9b2MeIflnz/BpWWHRX58d8sFBM+2RuXyA==\n";

#[test]
fn a_password_is_made_shown_once_and_stored_as_argon2id() {
    let dir = tempfile::tempdir().unwrap();
    let added = motte(dir.path(), &["passwd", "-f", "passwords", "add", "anna"]);
    assert_eq!(added.code, 0, "{added:?}");
    let password = added.out.trim_end();
    assert_eq!(password.len(), 32, "{added:?}");
    let file = fs::read_to_string(dir.path().join("passwords")).unwrap();
    assert!(file.starts_with("anna:$argon2id$v=19$m=19456,t=2,p=1$") && !file.contains(password), "{file}");
    assert_eq!(mode(&dir.path().join("passwords")), 0o600);
    let check = |password: &str| {
        motte_with_input(dir.path(), &["passwd", "-f", "passwords", "check", "anna", "--password-file", "-"], password)
    };
    assert_eq!(check(password).code, 0);
    assert_eq!(check("something else").code, 1);
}

#[test]
fn users_are_added_changed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| motte(dir.path(), &[&["passwd", "-f", "passwords"], args].concat());
    assert_eq!(run(&["add", "anna"]).code, 0);
    let again = run(&["add", "anna"]);
    assert_eq!((again.code, again.out.as_str()), (1, ""));
    assert!(again.err.starts_with("error: anna is already in passwords\nhint: "), "{}", again.err);
    let unknown = run(&["set", "berta"]);
    assert!(unknown.code == 1 && unknown.err.contains("error: berta is not in passwords"), "{unknown:?}");
    assert_eq!(run(&["set", "anna"]).code, 0);
    assert_eq!(run(&["add", "berta"]).code, 0);
    assert_eq!(run(&["list"]).out, "USER   SCHEME\nanna   argon2id\nberta  argon2id\n");
    assert_eq!(run(&["remove", "anna"]).code, 0);
    assert_eq!(run(&["remove", "anna"]).code, 1);
    assert_eq!(run(&["list", "--json"]).out, "[{\"user\":\"berta\",\"scheme\":\"argon2id\"}]\n");
    let bad = run(&["add", "a:b"]);
    assert!(bad.code == 1 && bad.err.contains("cannot be a user name"), "{bad:?}");
    assert_eq!(run(&["add", "dora", "secret"]).code, 2, "a password on the command line is refused");
}

#[test]
fn passwords_come_from_a_file_or_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), "two words\r\nnot this\n").unwrap();
    let added = motte(dir.path(), &["passwd", "-f", "passwords", "add", "anna", "--password-file", "secret"]);
    assert_eq!((added.code, added.out.as_str()), (0, ""), "a password that was given is not shown");
    let check = |password: &str| {
        let mut command = Command::new(MOTTE);
        command.args(["passwd", "-f", "passwords", "check", "anna"]).current_dir(dir.path());
        command.env("MOTTE_PASSWORD", password).output().unwrap().status.code().unwrap()
    };
    assert_eq!((check("two words"), check("two words\r"), check("not this")), (0, 1, 1));
    let nothing = motte(dir.path(), &["passwd", "-f", "passwords", "check", "anna"]);
    assert!(nothing.code == 2 && nothing.err.contains("no password was given"), "{nothing:?}");
    let empty = motte_with_input(dir.path(), &["passwd", "-f", "p", "add", "x", "--password-file", "-"], "\n");
    assert!(empty.code == 1 && !dir.path().join("p").exists(), "{empty:?}");
}

#[test]
fn mosquittos_hashes_are_read_verified_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("passwords"), format!("# from Mosquitto\n{BOB}{CARL}")).unwrap();
    let run = |args: &[&str], input| {
        motte_with_input(dir.path(), &[&["passwd", "-f", "passwords"], args].concat(), input).code
    };
    assert_eq!(run(&["check", "bob", "--password-file", "-"], "secret\n"), 0);
    assert_eq!(run(&["check", "carl", "--password-file", "-"], "geheim\n"), 0);
    assert_eq!(run(&["check", "carl", "--password-file", "-"], "secret\n"), 1);
    let list = motte(dir.path(), &["passwd", "-f", "passwords", "list"]);
    assert_eq!(list.out, "USER  SCHEME\nbob   sha512-pbkdf2\ncarl  sha512\n");
    assert_eq!(run(&["add", "anna"], ""), 0);
    let file = fs::read_to_string(dir.path().join("passwords")).unwrap();
    assert!(file.starts_with(&format!("# from Mosquitto\n{BOB}{CARL}anna:$argon2id$")), "{file}");
    assert_eq!(mode(&dir.path().join("passwords")), 0o600, "a file that was open to others is closed");
}

#[test]
fn a_broken_file_is_told_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let broken = "anna:secret\n";
    fs::write(dir.path().join("passwords"), broken).unwrap();
    let added = motte(dir.path(), &["passwd", "-f", "passwords", "add", "berta"]);
    assert!(added.code == 1 && added.err.contains("line 1") && !added.err.contains("secret"), "{added:?}");
    assert_eq!(fs::read_to_string(dir.path().join("passwords")).unwrap(), broken);
    let missing = motte(dir.path(), &["passwd", "-f", "none", "list"]);
    assert!(missing.code == 1 && missing.err.contains("cannot read none"), "{missing:?}");
}

#[test]
fn scram_is_a_second_line_that_follows_every_change() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| motte(dir.path(), &[&["passwd", "-f", "passwords"], args].concat());
    let file = || fs::read_to_string(dir.path().join("passwords")).unwrap();
    let scram = || file().lines().find(|line| line.contains("$scram-sha-256$")).map(str::to_owned);
    assert_eq!(run(&["add", "anna"]).code, 0);
    assert_eq!(scram(), None, "only for whom it is asked");
    let set = run(&["set", "anna", "--scram"]);
    assert_eq!(set.code, 0, "{set:?}");
    let first = scram().unwrap();
    assert!(first.starts_with("anna:$scram-sha-256$20000$") && !file().contains(set.out.trim_end()), "{first}");
    let list = "USER  SCHEME\nanna  argon2id\nanna  scram-sha-256\n";
    assert_eq!(run(&["list"]).out, list);
    // The old password must not go on to open the other way in.
    let again = run(&["set", "anna"]);
    assert_eq!(again.code, 0);
    assert_ne!(scram().unwrap(), first);
    assert_eq!(run(&["list"]).out, list);
    // Who never sends the password goes on so.
    let only = file().lines().filter(|line| line.contains("$scram")).collect::<String>();
    fs::write(dir.path().join("passwords"), only).unwrap();
    let check = |password: &str| {
        motte_with_input(dir.path(), &["passwd", "-f", "passwords", "check", "anna", "--password-file", "-"], password)
    };
    assert_eq!((check(again.out.trim_end()).code, check(set.out.trim_end()).code), (0, 1));
    assert_eq!(run(&["set", "anna"]).code, 0);
    assert_eq!(run(&["list", "--json"]).out, "[{\"user\":\"anna\",\"scheme\":\"scram-sha-256\"}]\n");
    assert_eq!((run(&["remove", "anna"]).code, file()), (0, String::new()));
}

#[test]
fn scram_takes_ascii_only() {
    let dir = tempfile::tempdir().unwrap();
    let add = |user: &str, password: &str| {
        let args = ["passwd", "-f", "passwords", "add", user, "--scram", "--password-file", "-"];
        motte_with_input(dir.path(), &args, password)
    };
    let refused = add("anna", "geh\u{e4}im");
    assert!(refused.code == 1 && refused.err.contains("printable ASCII"), "{refused:?}");
    assert!(refused.err.contains("hint: give a password in ASCII, or leave --scram out"), "{refused:?}");
    let refused = add("m\u{fc}ller", "secret");
    assert!(refused.code == 1 && refused.err.contains("cannot be a user name"), "{refused:?}");
    assert!(!dir.path().join("passwords").exists(), "nothing is written");
    assert_eq!(add("anna", "secret").code, 0);
}

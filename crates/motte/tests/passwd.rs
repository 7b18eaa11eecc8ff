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
    let list = "\
USER   LABEL  SCHEME    FROM  UNTIL  STATE
anna   main   argon2id  -     -      counts
berta  main   argon2id  -     -      counts
";
    assert_eq!(run(&["list"]).out, list);
    assert_eq!(run(&["remove", "anna"]).code, 0);
    assert_eq!(run(&["remove", "anna"]).code, 1);
    let berta = "[{\"user\":\"berta\",\"label\":\"main\",\"scheme\":\"argon2id\",\"not_before\":null,\"expires\":null,\
                 \"state\":\"counts\"}]\n";
    assert_eq!(run(&["list", "--json"]).out, berta);
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
    let schemes: Vec<_> = list.out.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(schemes, ["SCHEME", "sha512-pbkdf2", "sha512"]);
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
    let schemes = || -> Vec<String> {
        let list = run(&["list"]).out;
        list.lines().filter_map(|line| Some(line.split_whitespace().nth(2)?.to_owned())).collect()
    };
    assert_eq!(schemes(), ["SCHEME", "argon2id", "scram-sha-256"]);
    // The old password must not go on to open the other way in.
    let again = run(&["set", "anna"]);
    assert_eq!(again.code, 0);
    assert_ne!(scram().unwrap(), first);
    assert_eq!(schemes(), ["SCHEME", "argon2id", "scram-sha-256"]);
    // Who never sends the password goes on so.
    let only = file().lines().filter(|line| line.contains("$scram")).collect::<String>();
    fs::write(dir.path().join("passwords"), only).unwrap();
    let check = |password: &str| {
        motte_with_input(dir.path(), &["passwd", "-f", "passwords", "check", "anna", "--password-file", "-"], password)
    };
    assert_eq!((check(again.out.trim_end()).code, check(set.out.trim_end()).code), (0, 1));
    assert_eq!(run(&["set", "anna"]).code, 0);
    assert_eq!(schemes(), ["SCHEME", "scram-sha-256"]);
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

#[test]
fn a_rotation_adds_a_secret_and_the_old_one_ends_later() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| motte(dir.path(), &[&["passwd", "-f", "passwords"], args].concat());
    let right = |password: &str| {
        let args = ["passwd", "-f", "passwords", "check", "anna", "--password-file", "-"];
        motte_with_input(dir.path(), &args, password).code == 0
    };
    let first = run(&["add", "anna"]).out;
    let rotated = run(&["rotate", "anna", "--overlap", "7d", "--label", "second"]);
    assert_eq!(rotated.code, 0, "{rotated:?}");
    assert!(rotated.err.contains("anna has the secret second in passwords; the others end at 20"), "{rotated:?}");
    assert!(right(&first) && right(&rotated.out) && !right("neither"));
    let list = run(&["list", "--json"]).out;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!((&list[0]["label"], &list[0]["expires"]), (&"second".into(), &serde_json::Value::Null));
    assert_eq!((&list[1]["label"], &list[1]["state"]), (&"main".into(), &"counts".into()));
    assert!(list[1]["expires"].as_str().unwrap().ends_with('Z'));
    // The default label is the date; an overlap of nothing ends the others at once.
    let third = run(&["rotate", "anna", "--overlap", "0s"]);
    assert!(third.code == 0 && right(&third.out) && !right(&first) && !right(&rotated.out), "{third:?}");
    assert_eq!(run(&["remove", "anna", "--label", "nothing"]).code, 1);
    assert_eq!(run(&["remove", "anna", "--label", "second"]).code, 0);
    // Another password ends them all.
    let set = run(&["set", "anna"]);
    assert!(right(&set.out) && !right(&third.out) && !right(&first));
    assert_eq!(fs::read_to_string(dir.path().join("passwords")).unwrap().lines().count(), 1);
    for wrong in [&["rotate", "nobody"][..], &["rotate", "anna", "--label", "main"]] {
        assert_eq!(run(wrong).code, 1, "{wrong:?}");
    }
    assert_eq!(run(&["rotate", "anna", "--overlap", "soon"]).code, 2);
    assert_eq!(run(&["set", "anna", "--scram"]).code, 0);
    let scram = run(&["rotate", "anna"]);
    assert!(scram.code == 1 && scram.err.contains("SCRAM record, of which there is one at a time"), "{scram:?}");
}

#[test]
fn two_who_change_the_file_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let users: Vec<_> = (0..8).map(|number| format!("user-{number}")).collect();
    std::thread::scope(|scope| {
        for user in &users {
            scope.spawn(|| assert_eq!(motte(dir.path(), &["passwd", "-f", "passwords", "add", user]).code, 0));
        }
    });
    let file = fs::read_to_string(dir.path().join("passwords")).unwrap();
    let mut there: Vec<_> = file.lines().filter_map(|line| line.split(':').next()).collect();
    there.sort_unstable();
    assert_eq!(there, users);
    assert_eq!(mode(&dir.path().join("passwords.lock")), 0o600);
}

#[test]
fn files_of_mosquitto_passwd_work_here_and_it_goes_on_with_ours() {
    let dir = tempfile::tempdir().unwrap();
    let theirs = |args: &[&str]| {
        let output = Command::new("mosquitto_passwd").args(args).current_dir(dir.path()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let check = |user: &str, password: &str| {
        let args = ["passwd", "-f", "passwords", "check", user, "--password-file", "-"];
        motte_with_input(dir.path(), &args, password).code
    };
    theirs(&["-b", "-c", "passwords", "seven", "tr0ub4dor"]);
    theirs(&["-b", "-H", "sha512", "passwords", "six", "geheim"]);
    fs::write(dir.path().join("clear"), "eve:open sesame\n").unwrap();
    theirs(&["-U", "clear"]);
    let mut text = fs::read_to_string(dir.path().join("passwords")).unwrap();
    assert!(text.contains("seven:$7$") && text.contains("six:$6$"), "{text}");
    text.push_str(&fs::read_to_string(dir.path().join("clear")).unwrap());
    fs::write(dir.path().join("passwords"), text).unwrap();
    assert_eq!((check("seven", "tr0ub4dor"), check("six", "geheim"), check("eve", "open sesame")), (0, 0, 0));
    assert_eq!((check("seven", "geheim"), check("six", "tr0ub4dor"), check("eve", "")), (1, 1, 1));
    // Ours go through its hands: further secrets are comments to it.
    let rotated = motte(dir.path(), &["passwd", "-f", "passwords", "rotate", "seven"]);
    assert_eq!(rotated.code, 0, "{rotated:?}");
    theirs(&["-b", "passwords", "six", "another"]);
    theirs(&["-D", "passwords", "eve"]);
    assert_eq!((check("six", "another"), check("six", "geheim"), check("eve", "open sesame")), (0, 1, 1));
    assert_eq!((check("seven", rotated.out.trim_end()), check("seven", "tr0ub4dor")), (0, 0));
}

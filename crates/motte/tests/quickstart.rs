//! `motte quickstart`: what it makes, that a later start reuses it, and that no crash leaves it half made.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use support::{Quickstart, mode, motte, motte_with_input};

/// Every file below a directory with its contents, but those of the store, which a broker changes whenever it runs.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("motte-data/store") {
            continue;
        }
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

fn server_names(dir: &Path) -> Vec<String> {
    let shown = motte(dir, &["cert", "show", "motte-data/pki/server.pem", "--json"]);
    let chain: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    serde_json::from_value(chain[0]["names"].clone()).unwrap()
}

#[test]
fn the_first_start_makes_everything_closed_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Quickstart::start(dir.path(), &[]);
    let data = dir.path().join("motte-data");
    assert_eq!((mode(&data), mode(&data.join("pki"))), (0o700, 0o700));
    for file in ["motte.toml", "acl", "passwords", "passwords.txt"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    for name in ["ca", "server", "operator", "device-1", "device-2"] {
        assert_eq!(mode(&data.join(format!("pki/{name}.key"))), 0o600, "{name}");
        assert!(data.join(format!("pki/{name}.pem")).exists(), "{name}");
    }
    let names = server_names(dir.path());
    assert!(["localhost", "127.0.0.1", "::1"].iter().all(|name| names.contains(&(*name).to_owned())), "{names:?}");
    let entries: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(entries.len(), 2, "nothing but the directory and this test's log: {entries:?}");
    assert!(broker.stop().success());
}

#[test]
fn passwords_are_shown_once_and_are_right() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Quickstart::start(dir.path(), &[]);
    let clear = fs::read_to_string(dir.path().join("motte-data/passwords.txt")).unwrap();
    let logins: Vec<(&str, &str)> =
        clear.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once(' ').unwrap()).collect();
    assert_eq!(logins.iter().map(|(user, _)| *user).collect::<Vec<_>>(), ["device-1", "device-2", "operator"]);
    for (user, password) in &logins {
        assert!(password.len() >= 26, "128 bits take 26 characters of five bits each");
        assert!(broker.banner.contains(password));
        let check = motte_with_input(dir.path(), &["passwd", "check", user, "--password-file", "-"], password);
        assert_eq!(check.code, 0, "{user}");
    }
    assert!(broker.stop().success());
    let again = Quickstart::start(dir.path(), &[]);
    assert!(logins.iter().all(|(_, password)| !again.banner.contains(password)), "{}", again.banner);
    assert!(again.banner.contains("Passwords: motte-data/passwords.txt"), "where they are: {}", again.banner);
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(logins.iter().all(|(_, password)| !log.contains(password)), "never in the log");
}

#[test]
fn a_first_start_that_finds_its_port_taken_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = motte(dir.path(), &["quickstart", "--port", &port, "--wss-port", "0"]);
    assert!(refused.code == 1 && refused.err.contains("hint: another program uses port"), "{refused:?}");
    let before = contents(&dir.path().join("motte-data"));
    assert!(Quickstart::start(dir.path(), &[]).stop().success());
    assert_eq!(contents(&dir.path().join("motte-data")), before);
}

#[test]
fn a_later_start_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Quickstart::start(dir.path(), &[]).stop().success());
    let before = contents(&dir.path().join("motte-data"));
    assert!(Quickstart::start(dir.path(), &[]).stop().success());
    assert_eq!(contents(&dir.path().join("motte-data")), before);
    assert_eq!(motte(dir.path(), &["serve", "-c", "motte-data/motte.toml", "--check"]).code, 0);
}

#[test]
fn new_hosts_are_added_to_the_certificate_and_open_the_network() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Quickstart::start(dir.path(), &[]);
    assert!(broker.banner.contains("this machine only") && !broker.banner.contains("all networks"));
    assert!(broker.stop().success());
    let before = server_names(dir.path());
    let broker = Quickstart::start(dir.path(), &["--host", "broker.example.org", "--host", "localhost"]);
    assert!(broker.banner.contains("mqtts://broker.example.org:"), "{}", broker.banner);
    assert!(broker.banner.contains("all networks") && !broker.banner.contains("this machine only"));
    assert!(broker.stop().success());
    let mut expected = before;
    expected.push(String::from("broker.example.org"));
    assert_eq!(server_names(dir.path()), expected);
    assert_eq!(motte(dir.path(), &["quickstart", "--host", "a..b"]).code, 2);
}

#[test]
fn what_a_crash_left_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join(".motte-data.first-start");
    fs::create_dir_all(left.join("pki")).unwrap();
    fs::set_permissions(&left, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    fs::write(left.join("pki/ca.key"), "half a key").unwrap();
    fs::write(left.join("passwords"), "").unwrap();
    let broker = Quickstart::start(dir.path(), &[]);
    assert!(!left.exists());
    assert!(broker.stop().success());
    assert_eq!(motte(dir.path(), &["serve", "-c", "motte-data/motte.toml", "--check"]).code, 0);
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("motte-data")).unwrap();
    fs::write(dir.path().join("motte-data/diary"), "mine").unwrap();
    let refused = motte(dir.path(), &["quickstart", "--port", "0", "--wss-port", "0"]);
    assert!(refused.code == 1 && refused.err.contains("has files in it, but no motte.toml"), "{refused:?}");
    assert_eq!(contents(dir.path()).len(), 1);
}

#[test]
fn a_plaintext_connect_gets_no_answer_of_mqtt() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Quickstart::start(dir.path(), &[]);
    for scheme in ["mqtts", "wss"] {
        let mut socket = TcpStream::connect(("127.0.0.1", broker.port(scheme))).unwrap();
        socket.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a").unwrap();
        let mut answer = Vec::new();
        // Whether it is closed or reset, what counts is what came.
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.first() != Some(&0x20), "{scheme} answered {answer:x?}");
    }
    assert!(broker.stop().success());
}

#[test]
fn the_demonstration_device_is_admitted_by_its_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Quickstart::start(dir.path(), &["--demo"]);
    let log = dir.path().join("log");
    let admitted = || fs::read_to_string(&log).unwrap().contains("publishes to sensors/device-1/");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !admitted() {
        assert!(std::time::Instant::now() < deadline, "{}", fs::read_to_string(&log).unwrap());
        std::thread::yield_now();
    }
    assert!(broker.stop().success());
}

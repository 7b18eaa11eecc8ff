//! `motte cert`: what is made, and what is said about it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::Path;

use support::{Outcome, mode, motte};

fn cert(dir: &Path, args: &[&str]) -> Outcome {
    motte(dir, &[&["cert", "--dir", "pki"], args].concat())
}

/// A CA, a server and a client.
fn made() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["ca"][..], &["server", "broker.example.org", "192.0.2.7"], &["client", "sensor-1", "--days", "9"]] {
        let outcome = cert(dir.path(), args);
        assert_eq!((outcome.code, outcome.out.as_str()), (0, ""), "{outcome:?}");
    }
    dir
}

#[test]
fn keys_are_closed_and_certificates_open() {
    let dir = made();
    let pki = dir.path().join("pki");
    assert_eq!(mode(&pki), 0o700);
    for name in ["ca", "server", "sensor-1"] {
        assert_eq!(mode(&pki.join(format!("{name}.key"))), 0o600, "{name}");
        assert_eq!(mode(&pki.join(format!("{name}.pem"))), 0o644, "{name}");
    }
}

#[test]
fn list_tells_what_for_whom_and_days_left() {
    let dir = made();
    let list = cert(dir.path(), &["list"]);
    assert_eq!(list.code, 0);
    assert!(!list.out.contains('\u{1b}'), "no colour in a pipe: {}", list.out);
    let words: Vec<Vec<&str>> = list.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["FILE", "WHAT", "FOR", "ENDS", "DAYS", "LEFT", "STATE"]);
    assert_eq!(words[1][..5], ["ca.pem", "ca", "Motte", "private", "CA"]);
    assert_eq!((words[2][0], words[2][1], words[2][2]), ("sensor-1.pem", "client", "sensor-1"));
    assert_eq!(words[3][..4], ["server.pem", "server", "broker.example.org,", "192.0.2.7"]);
    let tail = |line: &[&str]| line[line.len() - 2..].join(" ");
    assert_eq!((tail(&words[1]), tail(&words[3])), ("3652 good".into(), "89 good".into()));
    assert!(list.out.lines().nth(2).unwrap().ends_with(" 8          good"), "{}", list.out);
    assert!(list.err.contains("warning: pki/sensor-1.pem ends in 8 days"), "{}", list.err);
    assert!(!list.err.contains("server.pem"), "{}", list.err);
}

#[test]
fn list_and_show_speak_json() {
    let dir = made();
    let list = cert(dir.path(), &["list", "--json"]);
    let entries: serde_json::Value = serde_json::from_str(&list.out).unwrap();
    assert_eq!(entries[2]["what"], "server");
    assert_eq!(entries[2]["names"], serde_json::json!(["broker.example.org", "192.0.2.7"]));
    assert_eq!(entries[2]["days_left"], 89);
    assert_eq!(entries[2]["key"], "ECDSA P-256");
    let show = cert(dir.path(), &["show", "pki/server.pem", "--json"]);
    let chain: serde_json::Value = serde_json::from_str(&show.out).unwrap();
    assert_eq!((&chain[0]["what"], &chain[1]["what"]), (&"server".into(), &"ca".into()));
    let show = cert(dir.path(), &["show", "pki/sensor-1.pem"]);
    assert!(show.out.contains("subject      CN=sensor-1\n"), "{}", show.out);
    let key = cert(dir.path(), &["show", "pki/server.key"]);
    assert!(key.code == 1 && key.err.contains("no certificate") && !key.err.contains("BEGIN"), "{key:?}");
}

#[test]
fn nothing_is_overwritten_unasked() {
    let dir = made();
    let pki = dir.path().join("pki");
    let before = fs::read(pki.join("server.pem")).unwrap();
    for args in [&["ca"][..], &["server", "other.example.org"], &["client", "new", "sensor-1"]] {
        let refused = cert(dir.path(), args);
        assert!(refused.code == 1 && refused.err.contains("exists\nhint: use --force"), "{refused:?}");
    }
    assert!(!pki.join("new.pem").exists(), "all names are looked at before the first is made");
    assert_eq!(fs::read(pki.join("server.pem")).unwrap(), before);
    assert_eq!(cert(dir.path(), &["server", "other.example.org", "--force"]).code, 0);
    assert_ne!(fs::read(pki.join("server.pem")).unwrap(), before);
}

#[test]
fn what_cannot_be_made_is_refused() {
    let dir = made();
    for args in [
        &["server"][..],
        &["server", "a..b"],
        &["server", "x", "--days", "91"],
        &["client", "x", "--days", "0"],
        &["client", "a/b"],
        &["client", "#"],
        &["client", "../x"],
        &["client", "ca"],
    ] {
        let refused = cert(dir.path(), args);
        assert_eq!(refused.code, 2, "{args:?}: {refused:?}");
    }
    let none = motte(dir.path(), &["cert", "--dir", "elsewhere", "client", "x"]);
    assert!(
        none.code == 1 && none.err.contains("elsewhere/ca.pem") && none.err.contains("hint: make a CA"),
        "{none:?}"
    );
}

//! `motte reload` against a real broker: what changed, who was ended, all that is wrong, and nobody there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use serde_json::{Value, json};

use crate::common::broker::motte;
use crate::common::{Broker, DEVICE, OPERATOR, Puppet};

fn reload(broker: &Broker, flags: &[&str]) -> Output {
    motte().args(["reload", "-c"]).arg(broker.file("motte.toml")).args(flags).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A broker that leaves its files alone until it is asked.
fn unwatched() -> Broker {
    let broker = Broker::quickstart();
    let settings = fs::read_to_string(broker.file("motte.toml")).unwrap();
    assert!(settings.contains("\n#watch = true\n"));
    fs::write(broker.file("motte.toml"), settings.replace("\n#watch = true\n", "\nwatch = false\n")).unwrap();
    broker.restart()
}

#[test]
fn a_reload_says_what_changed_and_whom_it_ended() {
    let broker = unwatched();
    let mode = fs::metadata(broker.file("store/control.sock")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let mut device = Puppet::paho(&broker, "5", &broker.password(DEVICE), &json!({"id": "d"})).connected();
    let lines = fs::read_to_string(broker.file("passwords")).unwrap();
    let others: Vec<&str> = lines.lines().filter(|line| !line.starts_with(DEVICE)).collect();
    fs::write(broker.file("passwords"), others.join("\n") + "\n").unwrap();
    let output = reload(&broker, &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["outcome"], "reloaded");
    assert!(told["changed"][0].as_str().unwrap().ends_with("passwords"), "{told}");
    assert_eq!(told["ended"], json!([{"client_id": "d", "user": DEVICE, "cause": "removed"}]));
    device.event("disconnected");
    let output = reload(&broker, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output.stdout), "in force; no file has changed since they were read last\n");
}

#[test]
fn k27_a_reload_that_is_refused_tells_every_error_and_the_old_set_stays() {
    let broker = unwatched();
    let mut operator = Puppet::paho(&broker, "5", &broker.password(OPERATOR), &json!({"id": "o"})).connected();
    let settings = fs::read_to_string(broker.file("motte.toml")).unwrap();
    fs::write(broker.file("acl"), "topic readwrite a\nthis is no rule\n").unwrap();
    fs::write(broker.file("motte.toml"), settings.replace("[log]", "[log]\ncolor = true")).unwrap();
    let output = reload(&broker, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let errors = text(&output.stderr);
    for part in ["acl:2: ", "motte.toml:", "color", "hint: "] {
        assert!(errors.contains(part), "{part} is not in {errors}");
    }
    assert_eq!(operator.subscribe("sensors/#", 0), json!([0]), "the old rules hold");
    let output = reload(&broker, &["--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &told["outcome"]), (Some(1), &json!("refused")));
    assert!(told["errors"].as_array().unwrap().iter().any(|error| error["line"] == 2), "{told}");
}

#[test]
fn k27_no_broken_file_takes_effect_and_a_good_one_does_again() {
    let broker = unwatched();
    let mut operator = Puppet::paho(&broker, "5", &broker.password(OPERATOR), &json!({"id": "o"})).connected();
    let [pem, key, passwords] =
        ["pki/server.pem", "pki/server.key", "passwords"].map(|name| fs::read(broker.file(name)).unwrap());
    let twice = [&passwords[..], &passwords[..]].concat();
    let broken: [(&str, Option<&[u8]>); 11] = [
        ("acl", Some(b"")),
        ("acl", Some(b"# nothing but words\n")),
        ("acl", Some(b"\xef\xbb\xbftopic readwrite #\n")),
        ("acl", Some(b"topic readwrite #\nuser \xff\n")),
        ("acl", None),
        ("passwords", Some(b"")),
        ("passwords", Some(&passwords[..passwords.len() / 2])),
        ("passwords", Some(&twice)),
        ("pki/server.pem", Some(&pem[..pem.len() / 2])),
        ("pki/server.key", Some(&key[..key.len() / 2])),
        ("pki/ca.pem", Some(b"")),
    ];
    for (name, content) in broken {
        let path = broker.file(name);
        let good = fs::read(&path).unwrap();
        match content {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::rename(&path, path.with_extension("gone")).unwrap(),
        }
        let output = reload(&broker, &[]);
        assert_eq!(output.status.code(), Some(1), "{name} with {content:?}: {output:?}");
        assert_eq!(operator.subscribe("sensors/#", 0), json!([0]), "the old set holds");
        match content {
            Some(_) => fs::write(&path, &good).unwrap(),
            None => fs::rename(path.with_extension("gone"), &path).unwrap(),
        }
        assert_eq!(reload(&broker, &[]).status.code(), Some(0), "{name}");
    }
    for name in ["acl", "passwords", "pki/server.key", "motte.toml"] {
        let path = broker.file(name);
        let mode = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let output = reload(&broker, &[]);
        assert_eq!(output.status.code(), Some(1), "{name} that everybody can write: {output:?}");
        fs::set_permissions(&path, mode).unwrap();
    }
    assert_eq!(reload(&broker, &[]).status.code(), Some(0));
    assert!(!operator.has_event("disconnected"));
}

#[test]
fn k27_a_broker_out_of_descriptors_keeps_the_old_set_and_tries_again() {
    let mut broker = Broker::quickstart();
    let mut operator = Puppet::paho(&broker, "5", &broker.password(OPERATOR), &json!({"id": "o"})).connected();
    let process = broker.id().to_string();
    let descriptors = |limit: &str| {
        let limit = format!("--nofile={limit}:");
        let status = std::process::Command::new("prlimit").args(["--pid", &process, &limit]).status();
        assert!(status.unwrap().success());
    };
    // Fewer than it has: it cannot open a file.
    descriptors("4");
    let rules = fs::read_to_string(broker.file("acl")).unwrap();
    fs::write(broker.file("acl"), format!("{rules}\nuser {OPERATOR}\ntopic write late/#\n")).unwrap();
    broker.logged("reload failed");
    assert_eq!(operator.publish("late/t", "x", 1, false), 135, "the old rules hold");
    descriptors("1024");
    broker.logged("what was wrong with the files is mended; they are in force");
    assert_ne!(operator.publish("late/t", "x", 1, false), 135);
    assert!(!operator.has_event("disconnected"));
}

#[test]
fn a_reload_without_a_broker_says_so() {
    let broker = unwatched();
    let folder = broker.file("motte.toml");
    let output = motte().args(["reload", "--socket", "/nowhere/control.sock", "-c"]).arg(&folder).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("no broker listens at /nowhere/control.sock"), "{output:?}");
    // The socket goes with its broker.
    let socket = broker.file("store/control.sock");
    let broker = broker.restart();
    assert!(socket.exists());
    broker.terminate();
    let (status, said) = broker.finish();
    assert!(status.success() && !socket.exists(), "{said}");
}

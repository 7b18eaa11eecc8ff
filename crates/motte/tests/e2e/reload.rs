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

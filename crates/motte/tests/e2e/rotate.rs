//! `motte rotate` against a real broker: a new certificate is shown, a wrong one is put back, an old CA is not lost.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::common::broker::motte;
use crate::common::{Broker, Child, Credentials, DEVICE, Puppet};

fn rotate(broker: &Broker, flags: &[&str]) -> Output {
    let mut command = motte();
    command.args(["rotate", "--json", "--at", &format!("127.0.0.1:{}", broker.mqtts()), "-c"]);
    command.arg(broker.file("motte.toml")).args(["--cafile", broker.ca().to_str().unwrap()]).args(flags);
    command.output().unwrap()
}

/// A server certificate of the broker's CA, in a folder of its own.
fn issued(broker: &Broker) -> (String, String) {
    let folder = broker.scratch("issued");
    fs::create_dir_all(&folder).unwrap();
    for name in ["ca.pem", "ca.key"] {
        fs::copy(broker.file("pki").join(name), folder.join(name)).unwrap();
    }
    let mut command = motte();
    command.args(["cert", "--dir"]).arg(&folder).args(["server", "--force", "localhost", "127.0.0.1"]);
    let (status, said) = Child::start(&mut command).finish();
    assert!(status.success(), "{said}");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    (path("server.pem"), path("server.key"))
}

fn told(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn pem(broker: &Broker) -> String {
    fs::read_to_string(broker.file("pki/server.pem")).unwrap()
}

#[test]
fn a_new_certificate_is_shown_and_everybody_stays() {
    let broker = Broker::quickstart();
    let mut device = Puppet::paho(&broker, "5", &Credentials::Certificate(DEVICE), &json!({"id": "d"})).connected();
    let (certificate, key) = issued(&broker);
    let flags = ["--certificate", &certificate, "--key", &key];
    let before = pem(&broker);
    let output = rotate(&broker, &[&flags[..], &["--dry-run"]].concat());
    assert_eq!((output.status.code(), &told(&output)["outcome"]), (Some(0), &json!("checked")), "{output:?}");
    assert_eq!(pem(&broker), before);
    let output = rotate(&broker, &flags);
    assert_eq!((output.status.code(), &told(&output)["outcome"]), (Some(0), &json!("rotated")), "{output:?}");
    let issuers = told(&output)["connected"]["issuers"].clone();
    let group = issuers.as_object().unwrap().values().next().unwrap();
    assert_eq!(group, &json!({"connections": 1, "users": [DEVICE]}), "{issuers}");
    assert_eq!(pem(&broker), fs::read_to_string(&certificate).unwrap());
    assert_ne!(device.publish("sensors/device-1/t", "x", 1, false), 135);
    assert!(!device.has_event("disconnected"));
}

#[test]
fn what_is_wrong_is_refused_or_put_back_and_nobody_notices() {
    let broker = Broker::quickstart();
    let mut device = Puppet::paho(&broker, "5", &Credentials::Certificate(DEVICE), &json!({"id": "d"})).connected();
    let (certificate, _) = issued(&broker);
    let before = pem(&broker);
    let old_key = broker.file("pki/server.key");
    let output = rotate(&broker, &["--certificate", &certificate, "--key", old_key.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "a key of another certificate: {output:?}");
    // Passwords that are none: they are found to be wrong once they are in place.
    let passwords = broker.scratch("passwords-new");
    fs::write(&passwords, "no line of a password file\n").unwrap();
    let good = fs::read_to_string(broker.file("passwords")).unwrap();
    let output = rotate(&broker, &["--passwords", passwords.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(fs::read_to_string(broker.file("passwords")).unwrap(), good, "put back");
    // A CA file without the CA that is in use.
    let other = broker.scratch("other");
    let status = Command::new(env!("CARGO_BIN_EXE_motte"))
        .args(["cert", "--dir"])
        .arg(&other)
        .args(["ca", "--name", "Other"])
        .status();
    assert!(status.unwrap().success());
    let ca = other.join("ca.pem");
    let output = rotate(&broker, &["--client-ca", ca.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("does not hold every CA"), "{output:?}");
    assert_eq!(pem(&broker), before);
    assert_ne!(device.publish("sensors/device-1/t", "x", 1, false), 135);
    assert!(!device.has_event("disconnected"));
    let left: Vec<_> = fs::read_dir(broker.file("pki")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("rotate")), "{left:?}");
}

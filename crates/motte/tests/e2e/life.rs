//! Start, reload and stop of the broker as clients and operators live through them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::json;

use crate::common::broker::motte;
use crate::common::{Broker, Child, Credentials, DEVICE, OPERATOR, Puppet, mosquitto};

#[test]
fn stopping_tells_every_v5_client_and_ends_well() {
    let broker = Broker::quickstart();
    let device = Credentials::Certificate(DEVICE);
    let mut new = Puppet::paho(&broker, "5", &device, &json!({"id": "new"})).connected();
    let mut browser = Puppet::mqttjs(&broker, "wss", "5", &device, &json!({})).connected();
    let mut old = Puppet::paho(&broker, "3.1.1", &device, &json!({"id": "old"})).connected();
    broker.terminate();
    // Paho sees the packet but reads its reason only when properties follow.
    assert_eq!(new.event("disconnected")["by_server"], true);
    assert_eq!(browser.event("disconnected")["reason"], 0x8B);
    old.event("disconnected");
    let (status, said) = broker.finish();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[test]
fn a_second_start_reuses_everything() {
    let broker = Broker::quickstart();
    let names = ["pki/ca.pem", "pki/server.pem", "passwords", "acl", "motte.toml"];
    let read = |broker: &Broker| names.map(|name| fs::read(broker.file(name)).unwrap());
    let (before, password) = (read(&broker), broker.password(DEVICE));
    let broker = broker.restart();
    assert_eq!(read(&broker), before);
    Puppet::paho(&broker, "5", &password, &json!({"id": "d"})).connected();
}

#[test]
fn what_is_secret_is_readable_by_its_owner_only() {
    let broker = Broker::quickstart();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for name in ["", "store"] {
        assert_eq!(mode(broker.file(name)), 0o700, "{name:?}");
    }
    for name in ["pki/ca.key", "pki/server.key", "passwords", "passwords.txt"] {
        assert_eq!(mode(broker.file(name)), 0o600, "{name}");
    }
    assert_eq!(mode(broker.key(DEVICE)), 0o600);
}

#[test]
fn a_reload_gives_and_takes_rights_without_dropping_anybody() {
    let mut broker = Broker::quickstart();
    let mut device = Puppet::paho(&broker, "5", &Credentials::Certificate(DEVICE), &json!({"id": "d"})).connected();
    assert_eq!(device.publish("weather/t", "x", 1, false), 135);
    let rules = fs::read_to_string(broker.file("acl")).unwrap();
    broker.reload_with("acl", &format!("{rules}\npattern write weather/#\n"));
    broker.logged("reloaded: certificates, passwords and access rules");
    assert_ne!(device.publish("weather/t", "x", 1, false), 135, "the new right holds for a connected client");
    broker.reload_with("acl", &rules);
    broker.logged("reloaded: certificates, passwords and access rules");
    assert_eq!(device.publish("weather/t", "x", 1, false), 135, "and is taken from it");
    assert!(!device.has_event("disconnected"));
}

/// SHA-256 of the certificate that the broker shows, as openssl tells it.
fn fingerprint(broker: &Broker) -> String {
    let shell =
        "openssl s_client -connect 127.0.0.1:$0 </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256";
    let (status, said) = Child::start(Command::new("sh").args(["-c", shell, &broker.mqtts().to_string()])).finish();
    assert!(status.success() && said.contains("Fingerprint="), "{said}");
    said
}

#[test]
fn a_new_server_certificate_is_shown_without_being_asked_for_and_nobody_is_dropped() {
    let mut broker = Broker::quickstart();
    let mut device = Puppet::paho(&broker, "5", &Credentials::Certificate(DEVICE), &json!({"id": "d"})).connected();
    let before = fingerprint(&broker);
    let mut renew = motte();
    renew.args(["cert", "--dir"]).arg(broker.file("pki")).args(["server", "--force", "localhost", "127.0.0.1"]);
    let (status, said) = Child::start(&mut renew).finish();
    assert!(status.success(), "{said}");
    // Nobody asks: the broker sees that its files changed, and reads both of them when they have come to rest.
    broker.logged("reloaded: certificates, passwords and access rules");
    assert_ne!(fingerprint(&broker), before);
    assert_ne!(device.publish("sensors/device-1/t", "x", 1, false), 135);
    assert!(!device.has_event("disconnected"));
    Puppet::paho(&broker, "5", &broker.password(OPERATOR), &json!({"id": "o"})).connected();
}

#[test]
fn a_bad_acl_keeps_the_old_one_in_force_and_says_where_it_is_bad() {
    let mut broker = Broker::quickstart();
    let mut device = Puppet::paho(&broker, "5", &Credentials::Certificate(DEVICE), &json!({"id": "d"})).connected();
    broker.reload_with("acl", "topic readwrite sensors/#\nthis is no rule\n");
    let line = broker.logged("reload failed");
    assert_eq!(line["line"], 2, "{line}");
    assert!(line["file"].as_str().is_some_and(|file| file.ends_with("acl")), "{line}");
    broker.logged("the old settings and files stay in force");
    assert_eq!(device.publish("sensors/device-2/t", "x", 1, false), 135);
    assert_ne!(device.publish("sensors/device-1/t", "x", 1, false), 135);
    assert!(!device.has_event("disconnected"));
    Puppet::paho(&broker, "5", &broker.password(OPERATOR), &json!({"id": "o"})).connected();
}

#[test]
fn a_removed_user_is_disconnected_by_the_reload() {
    let mut broker = Broker::quickstart();
    let password = broker.password(DEVICE);
    let mut device = Puppet::paho(&broker, "5", &password, &json!({"id": "d"})).connected();
    let mut operator = Puppet::paho(&broker, "5", &broker.password(OPERATOR), &json!({"id": "o"})).connected();
    let lines = fs::read_to_string(broker.file("passwords")).unwrap();
    let others: Vec<&str> = lines.lines().filter(|line| !line.starts_with(DEVICE)).collect();
    broker.reload_with("passwords", &(others.join("\n") + "\n"));
    broker.logged("reloaded: certificates, passwords and access rules");
    device.event("disconnected");
    Puppet::paho(&broker, "5", &password, &json!({"id": "d"})).event("refused");
    assert_eq!(operator.subscribe("sensors/#", 0), json!([0]));
}

#[test]
fn the_demo_publishes_real_readings() {
    let broker = Broker::quickstart_with(&["--demo"]);
    let mut command =
        mosquitto("mosquitto_sub", &broker, &Credentials::Certificate(OPERATOR), &["-t", "sensors/#", "-v"]);
    let mut subscriber = Child::start(&mut command);
    let line = subscriber.take("a reading of memory", |line| line.contains("/memory"));
    assert!(line.starts_with("sensors/") && line.chars().any(|c| c.is_ascii_digit()), "{line}");
    let again = line.split_whitespace().next().unwrap().to_owned() + " ";
    subscriber.take("the same reading a second later", |line| line.starts_with(&again));
}

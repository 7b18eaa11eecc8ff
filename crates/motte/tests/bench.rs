//! `motte bench` against a real broker over TLS: what it counts is what was sent, and what is refused is said.
//!
//! Run by `cargo nextest`; what is asserted is what a user, or a program that reads the line of JSON, sees.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the foreign clients are for the end-to-end tests")]
mod common;

use std::process::{Command, Output};

use serde_json::Value;

use common::broker::motte;
use common::{Broker, Child, DEVICE, OPERATOR};

/// `motte bench WHAT` as the operator, who may write and read `commands/#`.
fn bench(what: &str, broker: &Broker, name: &str, more: &[&str]) -> Command {
    let mut command = motte();
    command.args(["bench", what, "-h", "localhost", "-p", &broker.mqtts().to_string(), "--cafile"]).arg(broker.ca());
    command.arg("--cert").arg(broker.certificate(name)).arg("--key").arg(broker.key(name)).args(more);
    command
}

/// Its exit code, its line of JSON if there is one, and what it said on standard error.
fn outcome(output: &Output) -> (i32, Value, String) {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next_back().unwrap_or_default();
    assert!(text.lines().count() <= 1, "{text}");
    let json = serde_json::from_str(line).unwrap_or(Value::Null);
    (output.status.code().unwrap(), json, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn ran(what: &str, broker: &Broker, more: &[&str]) -> (i32, Value, String) {
    let mut command = bench(what, broker, OPERATOR, more);
    outcome(&command.arg("--json").output().unwrap())
}

/// A flow in which everything has to arrive.
#[track_caller]
fn flows(broker: &Broker, delivered: u64, more: &[&str]) -> Value {
    let arguments = [&["-t", "commands/bench"], more].concat();
    let (code, json, error) = ran("flow", broker, &arguments);
    assert_eq!((code, &*error), (0, ""), "{more:?}: {json}");
    assert_eq!(json["delivered"], delivered, "{more:?}: {json}");
    assert_eq!((json["lost"].as_u64(), json["duplicated"].as_u64()), (Some(0), Some(0)), "{json}");
    json
}

#[test]
fn a_flow_delivers_everything_at_each_qos_and_with_each_kind_of_topics() {
    let broker = Broker::quickstart();
    for (qos, version) in [("0", "5"), ("1", "5"), ("2", "5"), ("0", "3.1.1"), ("1", "3.1.1"), ("2", "3.1.1")] {
        let options = ["-q", qos, "--protocol", version, "--count", "2000", "--publishers", "2", "--window", "50"];
        let shared = flows(&broker, 6000, &[&options[..], &["--subscribers", "3"]].concat());
        assert_eq!((shared["publishers"].as_u64(), shared["subscribers"].as_u64()), (Some(2), Some(3)));
        assert_eq!((shared["qos"].to_string(), shared["size"].as_u64()), (qos.to_owned(), Some(64)));
        flows(&broker, 2000, &[&options[..], &["--subscribers", "2", "--topics", "own"]].concat());
        flows(&broker, 2000, &[&options[..], &["--subscribers", "1", "--topics", "own"]].concat());
    }
}

#[test]
fn a_flow_says_latency_and_what_the_broker_spent() {
    let broker = Broker::quickstart();
    let pid = broker.id().to_string();
    let json = flows(&broker, 300, &["--count", "300", "--rate", "2000", "-q", "1", "--broker-pid", &pid]);
    let at = |name: &str| json["latency_us"][name].as_f64().unwrap();
    assert_eq!(json["latency_us"]["samples"], 300);
    assert!(0.0 < at("p50") && at("p50") <= at("p90") && at("p90") <= at("p99"), "{json}");
    assert!(at("p99") <= at("p999") && at("p999") <= at("max"), "{json}");
    assert!(json["broker"]["rss_bytes"].as_u64() > Some(1 << 20), "{json}");
    assert!(json["broker"]["cpu_s"].is_number() && json["broker"]["cpu_us_per_message"].is_number(), "{json}");
    let large = flows(&broker, 4, &["--count", "4", "--size", "200000", "--window", "2"]);
    assert_eq!((large["size"].as_u64(), large["broker"].is_null()), (Some(200_000), true));
}

#[test]
fn a_measured_time_is_as_long_as_asked_and_nothing_is_lost_after_it() {
    let broker = Broker::quickstart();
    let arguments = ["-t", "commands/bench", "--seconds", "0.3", "--warm-up", "0.1", "-q", "1"];
    let (code, json, error) = ran("flow", &broker, &arguments);
    assert_eq!((code, &*error, json["lost"].as_u64()), (0, "", Some(0)), "{json}");
    let (seconds, delivered) = (json["seconds"].as_f64().unwrap(), json["delivered"].as_u64().unwrap());
    assert!(seconds >= 0.3 && delivered > 0, "{json}");
    let rate = json["delivered_per_s"].as_f64().unwrap();
    assert!((rate - delivered as f64 / seconds).abs() <= 0.1 + rate / 1000.0, "{json}");
}

#[test]
fn publish_counts_what_was_acknowledged() {
    let broker = Broker::quickstart();
    for qos in ["0", "1", "2"] {
        let arguments = ["-t", "commands/x", "-q", qos, "--count", "1000", "--publishers", "3", "--size", "5"];
        let (code, json, error) = ran("publish", &broker, &arguments);
        assert_eq!((code, &*error), (0, ""), "{json}");
        assert_eq!((json["published"].as_u64(), json["unacknowledged"].as_u64()), (Some(1000), Some(0)), "{json}");
        let samples = json["latency_us"]["samples"].as_u64();
        assert_eq!(samples, (qos != "0").then_some(1000), "{json}");
    }
}

#[test]
fn subscribe_counts_what_others_publish() {
    let broker = Broker::quickstart();
    let arguments = ["-t", "sensors/#", "--subscribers", "2", "--seconds", "1.5", "-q", "1", "--json", "-d"];
    let mut listener = Child::start(&mut bench("subscribe", &broker, OPERATOR, &arguments));
    listener.take("its connections", |line| line.contains("connections are open"));
    let mut device = bench("publish", &broker, DEVICE, &["-t", "sensors/device-1/x", "--count", "100", "-q", "1"]);
    assert!(device.output().unwrap().status.success());
    let (status, said) = listener.finish();
    let line = said.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{said}"));
    let json: Value = serde_json::from_str(line).unwrap();
    assert_eq!((status.code(), json["delivered"].as_u64()), (Some(0), Some(200)), "{said}");
}

#[test]
fn connect_counts_connections_and_those_that_resume() {
    let broker = Broker::quickstart();
    let pid = broker.id().to_string();
    let arguments = ["--connections", "12", "--width", "2", "--broker-pid", &pid];
    let (code, json, error) = ran("connect", &broker, &arguments);
    assert_eq!((code, &*error), (0, ""), "{json}");
    assert_eq!((json["connections"].as_u64(), json["resumed"].as_u64()), (Some(12), Some(0)), "{json}");
    assert_eq!(json["latency_us"]["samples"], 12, "{json}");
    assert!(json["broker"]["cpu_s"].is_number() && json["broker"]["rss_bytes_per_connection"].is_null(), "{json}");
    let (code, json, error) = ran("connect", &broker, &[&arguments[..], &["--hold", "0.1"]].concat());
    assert_eq!((code, &*error), (0, ""), "{json}");
    assert!(json["broker"]["rss_bytes_per_connection"].is_number(), "{json}");
}

#[test]
fn what_the_broker_denies_is_an_error_with_its_code() {
    let broker = Broker::quickstart();
    let (code, json, error) = ran("flow", &broker, &["-t", "elsewhere/x", "--count", "5", "-q", "1"]);
    assert_eq!((code, json), (12, Value::Null), "{error}");
    assert!(error.starts_with("error: the broker refused a message: ") && error.contains("\nhint: "), "{error}");
    // A device may not read what the operator writes.
    let denied = ["-t", "sensors/device-2/x", "--count", "5", "--json"];
    let (code, json, error) = outcome(&bench("flow", &broker, DEVICE, &denied).output().unwrap());
    assert_eq!((code, json), (12, Value::Null), "{error}");
    assert!(error.starts_with("error: the broker refused the subscription to `sensors/device-2/x`"), "{error}");
    // Nobody says no to a publish at QoS 0: it is lost, and that is told.
    let (code, json, error) = ran("flow", &broker, &["-t", "elsewhere/x", "--count", "5"]);
    assert_eq!((code, json["delivered"].as_u64(), json["lost"].as_u64()), (30, Some(0), Some(5)), "{error}");
    assert!(error.starts_with("error: 5 messages were lost, 0 came twice\nhint: "), "{error}");
}

#[test]
fn no_connection_is_an_error_with_its_code() {
    let broker = Broker::quickstart();
    let mut nobody = motte();
    nobody.args(["bench", "connect", "-h", "127.0.0.1", "-p", &broker.mqtts().to_string(), "--cafile"]);
    let (code, _, error) = outcome(&nobody.arg(broker.ca()).output().unwrap());
    assert!(code == 134 || code == 135, "{code}: {error}");
    assert!(error.starts_with("error: the broker refused the connection: "), "{error}");
    let mut unverified = motte();
    unverified.args(["bench", "flow", "-h", "localhost", "-p", &broker.mqtts().to_string(), "--count", "1"]);
    let (code, _, error) = outcome(&unverified.output().unwrap());
    assert_eq!(code, 8, "{error}");
    let (code, _, error) = ran("connect", &broker, &["--broker-pid", "4294967295"]);
    assert_eq!(code, 2, "{error}");
    let (code, _, error) = ran("flow", &broker, &["--count", "1", "--size", "3"]);
    assert_eq!(code, 2, "{error}");
}

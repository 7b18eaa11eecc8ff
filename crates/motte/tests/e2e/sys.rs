//! The `$SYS` tree of a real broker, read by `mosquitto_sub`.

use std::fs;

use crate::common::{Broker, Child, Credentials, DEVICE, OPERATOR, mosquitto};

fn subscriber(broker: &Broker, credentials: &Credentials, args: &[&str]) -> Child {
    Child::start(mosquitto("mosquitto_sub", broker, credentials, &["-d", "-F", "got %t|%r|%p"]).args(args))
}

/// The next value of a topic, with whether it was a retained one.
#[track_caller]
fn value(subscriber: &mut Child, topic: &str) -> (bool, String) {
    let start = format!("got $SYS/broker/{topic}|");
    let line = subscriber.take(topic, |line| line.starts_with(&start));
    let (retain, value) = line[start.len()..].split_once('|').expect("three parts");
    (retain == "1", value.to_owned())
}

#[test]
fn the_operator_reads_figures_of_the_broker_and_devices_do_not() {
    let mut broker = Broker::quickstart();
    let text = fs::read_to_string(broker.file("motte.toml")).unwrap();
    let faster = text.replace("#sys_interval_s = 10", "sys_interval_s = 1");
    assert_ne!(text, faster);
    fs::write(broker.file("motte.toml"), faster).unwrap();
    broker = broker.restart();
    let mut device = subscriber(
        &broker,
        &Credentials::Certificate(DEVICE),
        &["-q", "1", "-t", "$SYS/#", "-t", "commands/device-1/#"],
    );
    device.take("the refusal", |line| line.contains("Subscribed (mid: 1): 128, 1"));
    let mut operator = subscriber(&broker, &Credentials::Certificate(OPERATOR), &["-t", "$SYS/#"]);
    assert_eq!(value(&mut operator, "version"), (true, format!("motte version {}", env!("CARGO_PKG_VERSION"))));
    assert_eq!(value(&mut operator, "durability/mode"), (true, "sync".to_owned()));
    assert_eq!(value(&mut operator, "durability/state"), (true, "ready".to_owned()));
    for name in ["bytes", "file/bytes", "messages", "commits", "commit_us/last", "commit_us/maximum", "written/bytes"] {
        let (is_retained, figure) = value(&mut operator, &format!("durability/{name}"));
        assert!(is_retained && figure.parse::<u64>().is_ok(), "{name}: {figure}");
    }
    assert_eq!(value(&mut operator, "retained messages/count"), (true, "0".to_owned()));
    assert!(value(&mut operator, "uptime").0);
    let (_, memory) = value(&mut operator, "heap/current");
    assert!(memory.parse::<u64>().unwrap() > 1024 * 1024, "{memory}");
    // What comes later is no retained message, and counts both clients on whichever shards they live.
    let mut connected = (true, String::new());
    while connected != (false, "2".to_owned()) {
        connected = value(&mut operator, "clients/connected");
    }
    let (is_retained, uptime) = value(&mut operator, "uptime");
    assert!(!is_retained && uptime.ends_with(" seconds"), "{uptime}");
    assert!(!device.has_said(|line| line.starts_with("got $SYS")));
}

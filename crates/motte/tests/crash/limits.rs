//! Poor surroundings: few descriptors, a directory that cannot be written, one that another broker has.

use std::fs;
use std::process::Command;
use std::time::Instant;

use motte_mqtt::{ProtocolVersion, Qos};

use crate::client::{Client, Heard, Hello, Outgoing};
use crate::daemon::{Config, Home, Starting};
use crate::namespace::{Kind, SmallDisk};
use crate::peer::PATIENCE;

/// What a broker that does not start says, and that it says it as an error with a hint.
#[track_caller]
fn refusal(home: &Home, before: &[&str]) -> String {
    let Err((status, said)) = Starting::new(&mut home.command(before)).listening() else {
        panic!("it started");
    };
    assert!(status.code().is_some_and(|code| code == 1 || code == 2), "{status}: {said}");
    assert!(said.contains("error: ") && said.contains("hint: ") && !said.contains("panicked"), "{said}");
    said
}

/// A client that is refused as long as the broker has not seen yet that the crowd has gone.
fn admitted_after_the_crowd(port: u16) -> Client {
    let start = Instant::now();
    loop {
        match Client::connect(port, &Hello::clean("writer", ProtocolVersion::V5)) {
            Ok(client) => return client,
            Err(why) => assert!(start.elapsed() < PATIENCE, "still not admitted: {why:?}"),
        }
    }
}

#[test]
fn r23_it_starts_and_keeps_messages_with_256_descriptors() {
    let home = Home::new();
    let few = ["sh", "-c", "ulimit -n 256 && exec \"$@\"", "sh"];
    let daemon = home.start_behind(&few);
    let mut subscriber = Client::admitted(daemon.port, &Hello::durable("keeper", ProtocolVersion::V5));
    assert_eq!(subscriber.subscribe("t", Qos::AtLeastOnce, None), Some(1));
    subscriber.disconnect();
    // More connections than there are descriptors; those that do not fit wait or are refused.
    let crowd: Vec<_> = (0..300).map(|_| crate::peer::Peer::try_open(daemon.port)).collect();
    drop(crowd);
    let mut publisher = admitted_after_the_crowd(daemon.port);
    publisher.publish(&Outgoing::new("t", b"kept", 1));
    assert!(matches!(publisher.hear(PATIENCE), Heard::PubAck(1, 0)));
    daemon.kill();
    let daemon = home.start_behind(&few);
    let mut subscriber = Client::admitted(daemon.port, &Hello::durable("keeper", ProtocolVersion::V5));
    assert!(matches!(subscriber.hear(PATIENCE), Heard::Publish(message) if message.payload == b"kept"));
    daemon.stop();
}

#[test]
fn r23_a_directory_on_a_read_only_disk_is_refused_by_name() {
    let home = Home::new();
    let disk = SmallDisk::new(Kind::Tmpfs, &home.path("disk"), 16);
    home.configure(&Config { durability: "directory = \"disk/store\"\n".to_owned(), ..Config::default() });
    disk.run("mount -o remount,ro .");
    let words = disk.words();
    let said = refusal(&home, &words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("disk/store"), "{said}");
}

#[test]
fn r23_a_store_that_became_read_only_is_refused_and_not_changed() {
    let home = Home::new();
    let disk = SmallDisk::new(Kind::Tmpfs, &home.path("disk"), 64);
    home.configure(&Config { durability: "directory = \"disk/store\"\n".to_owned(), ..Config::default() });
    let words = disk.words();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    home.start_behind(&words).stop();
    disk.run("mount -o remount,ro .");
    let said = refusal(&home, &words);
    assert!(said.contains("disk/store"), "{said}");
    disk.run("mount -o remount,rw .");
    home.start_behind(&words).stop();
}

#[test]
fn r23_a_directory_in_a_file_or_with_a_file_in_its_way_is_refused_by_name() {
    let home = Home::new();
    fs::write(home.path("file"), "").unwrap();
    for directory in ["file", "file/store"] {
        home.configure(&Config { durability: format!("directory = \"{directory}\"\n"), ..Config::default() });
        let said = refusal(&home, &[]);
        assert!(said.contains(directory), "{said}");
    }
}

#[test]
fn r23_a_directory_without_a_parent_is_made_or_refused_by_name() {
    let home = Home::new();
    let directory = "not/there/store";
    home.configure(&Config { durability: format!("directory = \"{directory}\"\n"), ..Config::default() });
    match Starting::new(&mut home.command(&[])).listening() {
        Ok(daemon) => {
            assert!(home.path(directory).is_dir());
            daemon.stop();
        }
        Err((status, said)) => {
            assert_eq!(status.code(), Some(1), "{said}");
            assert!(said.contains(directory) && said.contains("hint: "), "{said}");
        }
    }
}

#[test]
fn r23_a_second_broker_on_the_same_directory_is_refused() {
    let home = Home::new();
    let daemon = home.start();
    let said = refusal(&home, &[]);
    assert!(said.contains("store") && said.contains("in use by another process"), "{said}");
    let still = Client::connect(daemon.port, &Hello::durable("first", ProtocolVersion::V5));
    assert!(still.is_ok(), "the first goes on");
    daemon.kill();
    // The lock went with the process that was killed.
    home.start().stop();
}

#[test]
fn r23_a_directory_of_another_user_is_refused_by_name() {
    let home = Home::new();
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout.trim_ascii() == b"0";
    // Root may write everywhere; the one who may not is nobody in particular.
    let before: &[&str] =
        if is_root { &["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"] } else { &[] };
    if is_root {
        let status = Command::new("chown").args(["-R", "65534:65534"]).arg(home.path("")).status().unwrap();
        assert!(status.success());
    }
    fs::create_dir(home.path("closed")).unwrap();
    let status = Command::new("chmod").arg("555").arg(home.path("closed")).status().unwrap();
    assert!(status.success());
    home.configure(&Config { durability: "directory = \"closed/store\"\n".to_owned(), ..Config::default() });
    if is_root {
        let status = Command::new("chown").arg("65534:65534").arg(home.path("motte.toml")).status().unwrap();
        assert!(status.success());
    }
    let said = refusal(&home, before);
    assert!(said.contains("closed"), "{said}");
}

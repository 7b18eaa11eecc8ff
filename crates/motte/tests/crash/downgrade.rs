//! A store of a later version: this one says so and writes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use motte_mqtt::{ProtocolVersion, Qos};

use crate::client::{Client, Heard, Hello, Outgoing};
use crate::daemon::{Home, Starting};
use crate::peer::PATIENCE;

/// What the file of a store begins with; the version stands behind it, then the checksum of both.
const MAGIC: &[u8] = b"motte store\n";

/// CRC-32 as in zlib, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    };
    !bytes.iter().fold(u32::MAX, step)
}

/// Every file of the store; the control socket that stands beside them has no content.
fn files(home: &Home) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(home.path("store")).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn r18_a_store_of_a_later_version_is_refused_and_not_a_byte_of_it_changes() {
    let home = Home::new();
    let daemon = home.start();
    let keeper = Hello::durable("keeper", ProtocolVersion::V5);
    assert_eq!(Client::admitted(daemon.port, &keeper).subscribe("t", Qos::AtLeastOnce, None), Some(1));
    let mut writer = Client::admitted(daemon.port, &Hello::clean("writer", ProtocolVersion::V5));
    writer.publish(&Outgoing::new("t", b"kept", 1));
    assert!(matches!(writer.hear(PATIENCE), Heard::PubAck(1, 0)));
    // Not closed in order, so that there would be something to repair.
    daemon.kill();

    let store = files(&home).into_iter().find(|(_, bytes)| bytes.starts_with(MAGIC));
    let (path, written) = store.expect("a file says that it is a store");
    let mut later = written.clone();
    let head = [MAGIC, &7_u32.to_le_bytes()].concat();
    later[..head.len()].copy_from_slice(&head);
    later[head.len()..head.len() + 4].copy_from_slice(&checksum(&head).to_le_bytes());
    fs::write(&path, &later).unwrap();

    let before = files(&home);
    let Err((status, said)) = Starting::new(&mut home.command(&[])).listening() else { panic!("it started") };
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("format 7") && said.contains("hint: "), "{said}");
    assert_eq!(files(&home), before);

    fs::write(&path, written).unwrap();
    let daemon = home.start();
    let mut client = Client::admitted(daemon.port, &keeper);
    assert!(matches!(client.hear(PATIENCE), Heard::Publish(message) if message.payload == b"kept"));
    daemon.stop();
}

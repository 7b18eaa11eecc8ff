//! Disks that fail: what was acknowledged stays, and nothing is acknowledged that does not.

use std::process::Command;

use crate::common::broker::motte;
use crate::kit::{Peer, Victim, connect_with, expiry, packet, publish};

/// A session that outlives its connection by an hour; tells whether it was there before.
fn come(victim: &Victim, client_id: &str) -> (Peer, bool) {
    let mut peer = victim.open();
    peer.send(&connect_with(client_id, 0, 60, &expiry(3_600)));
    let present = peer.expect_connack(0)[0] == 1;
    (peer, present)
}

#[test]
fn r04_after_a_write_has_failed_nothing_is_acknowledged_and_nothing_that_was_is_lost() {
    // With the signal ignored a file that may not grow is an error of the write, as from a broken disk.
    let mut command = Command::new("env");
    command.arg("--ignore-signal=XFSZ").arg(env!("CARGO_BIN_EXE_motte"));
    let mut victim = Victim::of(Victim::with("").broker.restart_by(command));
    let (mut reader, _) = come(&victim, "reader");
    assert_eq!(reader.subscribe(&["t"], 1), [1]);
    reader.send_well(&packet(0xe0, &[]));
    reader.until_end();
    let (mut writer, _) = come(&victim, "writer");
    for number in 1..=20_u8 {
        writer.send_well(&publish("t", (1, 1), false, &[number]));
        assert_eq!(writer.packet().expect("a PUBACK").0, 0x40);
    }
    let mut bystander = victim.client("bystander");

    // From now on no byte of any file can be written.
    let process = victim.broker.id().to_string();
    assert!(Command::new("prlimit").args(["--pid", &process, "--fsize=0:"]).status().unwrap().success());
    writer.send_well(&publish("t", (1, 1), false, &[99]));
    for peer in [&mut writer, &mut bystander] {
        let (first, body) = peer.packet().expect("a word before the end");
        assert_eq!((first, body[0]), (0xe0, 0x89), "no PUBACK, and DISCONNECT with server busy");
        assert_eq!(peer.packet(), None);
    }
    let told = victim.broker.logged("the store failed: nothing is acknowledged any more and nobody is let in");
    assert_eq!(told["level"], "ERROR");
    for (client_id, flags) in [("writer", 0), ("reader", 0), ("new", 2)] {
        let mut peer = victim.open();
        peer.send(&connect_with(client_id, flags, 60, &[]));
        peer.expect_connack(0x88);
        assert_eq!(peer.packet(), None);
    }
    victim.broker.terminate();
    let victim = Victim::of(victim.broker.restart_after(motte(), |status, said| {
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains("error: the store could not be written") && said.contains("hint: "), "{said}");
    }));
    let (mut reader, present) = come(&victim, "reader");
    assert!(present);
    for number in 1..=20_u8 {
        let (first, body) = reader.packet().expect("what was acknowledged");
        assert_eq!((first & 0xf0, body.last()), (0x30, Some(&number)));
    }
    let (_, present) = come(&victim, "writer");
    assert!(present);
}

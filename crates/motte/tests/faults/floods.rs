//! Floods, and readers that do not read: what is bounded, and that others go on.

use std::time::{Duration, Instant};

use crate::kit::{PATIENCE, Peer, Victim, connect, publish};

#[test]
fn k05_readers_that_do_not_read_are_bounded_and_hold_nobody_up() {
    let limits = "queue_bytes_max = 1048576\noutbox_bytes_max = 262144\n";
    let victim = Victim::with(limits);
    let bystanders = victim.bystanders();
    let before = victim.memory_bytes();
    let mut deaf: Vec<_> = (0..4).map(|n| victim.client(&format!("deaf-{n}"))).collect();
    for (n, peer) in deaf.iter_mut().enumerate() {
        assert_eq!(peer.subscribe(&["noise"], u8::from(n % 2 == 1)), [u8::from(n % 2 == 1)]);
    }
    // 64 MiB for four readers who take none of it, from one publisher who waits for every sixteenth answer.
    let mut loud = victim.client("loud");
    let start = Instant::now();
    for round in 0..1_024_u16 {
        loud.send_well(&publish("noise", (1, round + 1), false, &[0; 64 * 1024]));
        if round % 16 == 15 {
            for _ in 0..16 {
                assert_eq!(loud.packet().expect("a PUBACK").0, 0x40);
            }
        }
    }
    assert!(start.elapsed() < PATIENCE, "the publisher was held up: {:?}", start.elapsed());
    let grown = victim.memory_bytes().saturating_sub(before);
    // A queue, an outbox and what the system's own buffers hand back for each of four.
    assert!(grown < 4 * 4 * 1024 * 1024, "memory grew by {grown} bytes");
    drop(deaf);
    bystanders.assert_unharmed();
}

#[test]
fn k13_floods_of_every_kind_end_and_nothing_of_them_stays() {
    let victim = Victim::with("");
    let bystanders = victim.bystanders();
    // How full the bounded outboxes of four clients become is another at each time, and the allocator keeps the most.
    let outboxes_bytes = 4 * 3 * 1024 * 1024;
    victim.assert_no_growth_beyond(outboxes_bytes, || {
        // Connections: each begins, and most are left in the middle.
        let mut peers = Vec::new();
        for n in 0..100 {
            let mut peer = victim.open();
            peer.send(&connect(&format!("flood-{n}"), &[])[..if n % 4 == 0 { 17 } else { 5 }]);
            peers.push(peer);
        }
        drop(peers);
        std::thread::scope(|scope| {
            for n in 0..4 {
                let port = victim.port;
                scope.spawn(move || {
                    let mut peer = Peer::admitted(port, &format!("flooding-{n}"));
                    let until = Instant::now() + Duration::from_millis(150);
                    let bytes = match n {
                        0 => [0xc0, 0].repeat(500),
                        1 => publish("flood/t", (0, 0), false, &[0; 100]).repeat(200),
                        2 => crate::kit::subscribe(&["flood/+"], 0).repeat(100),
                        _ => publish("flood/t", (1, 9), false, &[0; 100]).repeat(50),
                    };
                    peer.stream.set_nonblocking(true).unwrap();
                    while Instant::now() < until {
                        peer.send(&bytes);
                        // Answers are read now and then, so that no bound on unread ones ends the flood.
                        let _ = std::io::Read::read(&mut peer.stream, &mut [0; 64 * 1024]);
                    }
                });
            }
        });
        let start = Instant::now();
        victim.client("after-the-flood").expect_alive();
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    });
    bystanders.assert_unharmed();
}

//! Attacks of peers that nobody has vouched for: declared lengths, silence, dripping, bombs in a CONNECT.

use std::time::{Duration, Instant};

use crate::kit::{PATIENCE, Peer, SLACK_BYTES, Victim, connect, field, packet, varint};

/// A deadline of two seconds for everything before CONNACK.
const QUICK: &str = "admission_deadline_s = 2\n";

#[test]
fn k01_declared_lengths_take_no_memory_and_end_at_the_deadline() {
    let victim = Victim::with(QUICK);
    let bystanders = victim.bystanders();
    let sockets = victim.sockets();
    let before = victim.memory_bytes();
    // Whatever is no CONNECT, and every CONNECT above the bound, ends on its header.
    for round in 0..10 {
        for kind in 1..16_u8 {
            let mut peer = victim.open();
            peer.send(&[&[kind << 4, 0xff, 0xff, 0xff, 0x7f][..], &[round; 100]].concat());
            let answers = peer.until_end();
            assert!(answers.is_empty(), "type {kind}: {answers:?}");
        }
    }
    // Below the bound no more is kept than came, and the deadline ends it.
    let start = Instant::now();
    let mut stalled: Vec<Peer> = (0..100).map(|_| victim.open()).collect();
    for peer in &mut stalled {
        peer.send(&[&[0x10][..], &varint(16_000), &field(b"MQTT"), &[5, 2, 0, 60], &[0; 90]].concat());
    }
    let grown = victim.memory_bytes().saturating_sub(before);
    assert!(grown < SLACK_BYTES + 100 * 16 * 1024, "memory grew by {grown} bytes");
    for peer in &mut stalled {
        assert!(peer.packet().is_none_or(|(first, _)| first == 0x20));
    }
    assert!(start.elapsed() >= Duration::from_millis(1_900), "the deadline is two seconds");
    victim.wait_for_sockets(sockets);
    bystanders.assert_unharmed();
}

#[test]
fn k03_malformed_packets_end_their_own_connection_and_leave_nothing_behind() {
    let victim = Victim::with("");
    let bystanders = victim.bystanders();
    let bodies: [&[u8]; 4] = [&[], &[0], &[0, 0, 0, 0], &[0xff, 0xff, 0x00, 0x01, 0xc3, 0x28]];
    victim.assert_no_growth(|| {
        for first in 0..=255_u8 {
            let body = bodies[usize::from(first) % bodies.len()];
            let mut peer = victim.open();
            peer.send(&packet(first, body));
            peer.stream.shutdown(std::net::Shutdown::Write).unwrap();
            peer.until_end();
        }
        for first in (0..=255_u8).step_by(3) {
            let mut peer = victim.client("malformed");
            for body in bodies {
                peer.send(&packet(first, body));
            }
            peer.stream.shutdown(std::net::Shutdown::Write).unwrap();
            peer.until_end();
        }
    });
    bystanders.assert_unharmed();
}

#[test]
fn k06_silent_and_dripping_connections_end_at_the_deadline_and_keep_nobody_out() {
    let victim = Victim::with(QUICK);
    let bystanders = victim.bystanders();
    let sockets = victim.sockets();
    let silent: Vec<Peer> = (0..80).map(|_| victim.open()).collect();
    let mut dripping: Vec<(Peer, Instant)> = (0..20).map(|_| (victim.open(), Instant::now())).collect();
    let slow = connect("slow", &[]);
    for at in 0..8 {
        for (peer, _) in &mut dripping {
            peer.send(&slow[at..=at]);
        }
        let asked = Instant::now();
        victim.client("in-a-hurry").expect_alive();
        assert!(asked.elapsed() < PATIENCE / 3, "a legal client waited for {:?}", asked.elapsed());
        std::thread::sleep(Duration::from_millis(100));
    }
    for (peer, opened) in &mut dripping {
        assert_eq!(peer.packet(), None);
        let lived = opened.elapsed();
        assert!(lived >= Duration::from_millis(1_900), "{lived:?}");
    }
    for mut peer in silent {
        assert_eq!(peer.packet(), None);
    }
    victim.wait_for_sockets(sockets);
    bystanders.assert_unharmed();
}

#[test]
fn k11_property_bombs_are_refused_before_they_are_whole() {
    let victim = Victim::with("");
    let bystanders = victim.bystanders();
    let property = [&[0x26][..], &field(b"k"), &field(b"v")].concat();
    let many = property.repeat(60_000);
    let bomb = connect("bomb", &many);
    victim.assert_no_growth(|| {
        for _ in 0..20 {
            let mut peer = victim.open();
            peer.send(&bomb[..20_000]);
            peer.expect_connack(0x95);
            assert_eq!(peer.packet(), None);
        }
    });
    // In a PUBLISH they are bytes like others, under the bound of a packet, and cost nobody else anything.
    victim.assert_no_growth(|| {
        let mut peer = victim.client("bomb");
        for _ in 0..5 {
            let body = [&field(b"t")[..], &varint(many.len()), &many].concat();
            peer.send(&packet(0x30, &body));
        }
        peer.send(&[0xe0, 0]);
        peer.until_end();
    });
    bystanders.assert_unharmed();
}

#[test]
fn k45_before_authentication_little_is_answered_and_never_more_than_came() {
    let victim = Victim::with("");
    let mut other_version = connect("c", &[]);
    other_version[8] = 6;
    let with_method = [&[0x15][..], &field(b"UNKNOWN")].concat();
    let attempts: [Vec<u8>; 9] = [
        vec![0x10],
        vec![0x10, 0xff, 0xff, 0xff, 0x7f],
        vec![0xc0, 0],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        connect("c", &[0x11]),
        connect("c\u{1}", &[]),
        connect("c", &with_method),
        other_version,
        [0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0].to_vec(),
    ];
    for attempt in attempts {
        let mut peer = victim.open();
        peer.send(&attempt);
        peer.stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answers = peer.until_end();
        assert!(answers.len() <= 1, "{attempt:02x?}: {answers:02x?}");
        assert!(
            answers.iter().all(|(first, body)| *first == 0x20 && body[1] >= 0x80),
            "{attempt:02x?}: {answers:02x?}"
        );
        assert!(peer.taken_bytes <= 3 * attempt.len(), "{} bytes for {attempt:02x?}", peer.taken_bytes);
    }
}

//! Attacks of admitted clients on what is kept for them: QoS 2, subscriptions, retained messages, sessions, keep alive.

use std::time::{Duration, Instant};

use crate::kit::{Peer, Victim, connect_with, expiry, packet, publish, subscribe, unsubscribe, wait_until};

const CLEAN: u8 = 0x02;

#[test]
fn k04_qos_2_that_is_never_released_is_bounded_and_forgotten_with_its_session() {
    let victim = Victim::with("receive_maximum = 200\n");
    let bystanders = victim.bystanders();
    victim.assert_no_growth(|| {
        for client in 0..20 {
            let client_id = format!("never-{client}");
            let mut accepted = 0;
            for round in 0..3_u16 {
                let flags = if round == 0 { CLEAN } else { 0 };
                let mut peer = victim.open();
                peer.send(&connect_with(&client_id, flags, 60, &expiry(60)));
                peer.expect_connack(0);
                // The same identifier again is the same message.
                let mut answers = Vec::new();
                for id in [1; 50].into_iter().chain(round * 300 + 2..round * 300 + 302) {
                    peer.send(&publish("t", (2, id), false, &[0; 100]));
                    // Answers wait for the disk, and the end does not wait for them.
                    while id == 200 && answers.last().is_none_or(|(_, body): &(u8, Vec<u8>)| body[..2] != [0, 200]) {
                        answers.extend(peer.packet());
                    }
                }
                answers.extend(peer.until_end());
                accepted += answers.iter().filter(|(first, body)| *first == 0x50 && body[..2] != [0, 1]).count();
                let (first, body) = answers.last().unwrap();
                assert_eq!((*first, body[0]), (0xe0, 0x93), "{body:?}");
            }
            assert_eq!(accepted, 199, "identifiers of earlier connections count");
            let mut peer = victim.client(&client_id);
            peer.send(&[0xe0, 0]);
            peer.until_end();
        }
    });
    bystanders.assert_unharmed();
}

#[test]
fn k07_keep_alive_of_nothing_and_of_everything_is_that_of_the_broker() {
    let victim = Victim::with("keep_alive_s_max = 5\n");
    let start = Instant::now();
    let mut silent: Vec<_> = [0, u16::MAX]
        .into_iter()
        .map(|keep_alive_s| {
            let mut peer = victim.open();
            peer.send(&connect_with(&format!("silent-{keep_alive_s}"), CLEAN, keep_alive_s, &[]));
            let connack = peer.expect_connack(0);
            assert!(connack.windows(3).any(|bytes| bytes == [0x13, 0, 5]), "Server Keep Alive: {connack:02x?}");
            peer
        })
        .collect();
    let mut brief = victim.open();
    brief.send(&connect_with("brief", CLEAN, 1, &[]));
    brief.expect_connack(0);
    let ended = |peer: &mut Peer| {
        let answers = peer.until_end();
        assert_eq!(answers.first().map(|(first, body)| (*first, body[0])), Some((0xe0, 0x8d)), "{answers:?}");
        start.elapsed()
    };
    assert!(ended(&mut brief) >= Duration::from_millis(1_400));
    for peer in &mut silent {
        let lived = ended(peer);
        assert!(lived >= Duration::from_millis(7_400), "{lived:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn k08_deep_topics_cost_no_stack_and_nobody_else() {
    let victim = Victim::with("");
    let bystanders = victim.bystanders();
    let bombs = ["/".repeat(65_535), "+/".repeat(32_767), format!("{}#", "a/".repeat(10_000))];
    let deepest = "/".repeat(200);
    victim.assert_no_growth(|| {
        let mut peer = victim.client("deep");
        for bomb in &bombs {
            assert_eq!(peer.subscribe(&[bomb], 0), [0x8f]);
        }
        assert_eq!(peer.subscribe(&[&deepest, &"+/".repeat(200)], 0), [0, 0]);
        peer.send(&publish(&deepest, (1, 1), true, b"x"));
        peer.expect_alive();
        assert_eq!(peer.subscribe(&["#"], 0), [0]);
        peer.send(&publish(&"/".repeat(65_535), (0, 0), false, b"x"));
        let answers = peer.until_end();
        assert_eq!(answers.last().map(|(first, body)| (*first, body[0])), Some((0xe0, 0x90)));
    });
    bystanders.assert_unharmed();
}

#[test]
fn k09_subscription_bombs_and_churn_leave_nothing_behind() {
    let victim = Victim::with("subscriptions_max = 500\n");
    let bystanders = victim.bystanders();
    let names: Vec<String> = (0..2_000).map(|n| format!("churn/{n}/+/#")).collect();
    let filters: Vec<&str> = names.iter().map(String::as_str).collect();
    victim.assert_no_growth(|| {
        let mut peer = victim.client("bomb");
        let codes = peer.subscribe(&filters, 1);
        assert_eq!(codes.iter().filter(|code| **code == 1).count(), 500);
        assert_eq!(codes.iter().filter(|code| **code == 0x97).count(), 1_500);
        for round in filters[..500].chunks(100) {
            peer.send_well(&unsubscribe(round));
            peer.send_well(&subscribe(round, 0));
        }
        peer.expect_alive();
        peer.send(&[0xe0, 0]);
        peer.until_end();
    });
    bystanders.assert_unharmed();
}

#[test]
fn k10_retained_bombs_are_bounded_and_replays_wait_for_their_reader() {
    let victim = Victim::with("retained_messages_max = 1000\noutbox_bytes_max = 65536\n");
    let bystanders = victim.bystanders();
    let mut bomber = victim.client("bomber");
    let mut full = 0;
    for n in 0..2_000_u32 {
        bomber.send_well(&publish(&format!("bomb/{n}"), (1, 1), true, &[0; 1_000]));
        let (first, body) = bomber.packet().expect("a PUBACK");
        assert_eq!(first, 0x40);
        full += u32::from(body.get(2) == Some(&0x97));
    }
    assert_eq!(full, 1_000);
    // One megabyte waits to be replayed, and forty times more is asked for by those who read nothing.
    victim.assert_no_growth(|| {
        let mut deaf: Vec<_> = (0..4).map(|n| victim.client(&format!("deaf-{n}"))).collect();
        for _ in 0..10 {
            deaf.iter_mut().for_each(|peer| peer.send(&subscribe(&["bomb/#"], 0)));
        }
        victim.client("in-between").expect_alive();
    });
    bystanders.assert_unharmed();
}

#[test]
fn k12_sessions_are_counted_capped_and_freed_when_their_time_is_over() {
    let victim = Victim::with("session_expiry_s_max = 1\nsessions_max = 60\n");
    let bystanders = victim.bystanders();
    let mut filler = victim.client("filler");
    victim.assert_no_growth(|| {
        let mut refused = 0;
        // Their time begins when all are there, however long that takes.
        let mut peers = Vec::new();
        for n in 0..180 {
            let mut peer = victim.open();
            peer.send(&connect_with(&format!("session-{n}"), CLEAN, 60, &expiry(u32::MAX)));
            let (_, body) = peer.packet().expect("a CONNACK");
            if body[1] == 0x97 {
                refused += 1;
                continue;
            }
            assert_eq!(body[1], 0);
            assert!(body.windows(5).any(|bytes| bytes == expiry(1)), "told what it got: {body:02x?}");
            peer.subscribe(&["fill"], 1);
            peers.push(peer);
        }
        drop(peers);
        assert!(refused >= 50, "there is room for 60 on each shard; {refused} were refused");
        for id in 1..=20 {
            filler.send_well(&publish("fill", (1, id), false, &[0; 1_000]));
        }
        filler.expect_alive();
        // Room comes back when the sessions have expired.
        wait_until("sessions expire", || {
            let mut peer = victim.open();
            peer.send(&connect_with("room-again", CLEAN, 60, &[]));
            let code = peer.packet().map(|(_, body)| body[1]);
            let mut other = victim.open();
            other.send(&connect_with("room-again-elsewhere", CLEAN, 60, &[]));
            code == Some(0) && other.packet().map(|(_, body)| body[1]) == Some(0)
        });
    });
    bystanders.assert_unharmed();
}

#[test]
fn k41_storms_around_one_client_id_leave_one_owner() {
    let victim = Victim::with("session_expiry_s_max = 2\n");
    let bystanders = victim.bystanders();
    let mut watcher = victim.client("watcher");
    assert_eq!(watcher.subscribe(&["will/#"], 0), [0]);
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let port = victim.port;
            scope.spawn(move || {
                for round in 0..40_u8 {
                    // Each with a will whose delay is longer or shorter than the session's life.
                    let mut peer = Peer::open(port);
                    let will_delay_s = u32::from(round % 4);
                    let mut body = crate::kit::field(b"MQTT");
                    body.extend([5, 0x04 | if round % 3 == 0 { CLEAN } else { 0 }, 0, 60]);
                    body.push(5);
                    body.extend(expiry(u32::from(round % 3)));
                    body.extend(crate::kit::field(b"contested"));
                    body.extend([&[5, 0x18][..], &will_delay_s.to_be_bytes()].concat());
                    body.extend(crate::kit::field(b"will/contested"));
                    body.extend(crate::kit::field(&[thread, round]));
                    peer.send(&packet(0x10, &body));
                    peer.send(&subscribe(&["storm/#"], 1));
                    peer.send(&publish("storm/t", (1, 7), false, &[round; 50]));
                    if round % 2 == 0 {
                        peer.send(&unsubscribe(&["storm/#"]));
                    }
                    let connack = peer.packet();
                    assert!(connack.is_none_or(|(first, body)| first == 0x20 && body[1] == 0));
                }
            });
        }
    });
    let mut owner = victim.client("contested");
    owner.expect_alive();
    let mut last = victim.client("contested");
    last.expect_alive();
    let told = owner.until_end();
    assert_eq!(told.last().map(|(first, body)| (*first, body[0])), Some((0xe0, 0x8e)), "taken over: {told:?}");
    watcher.expect_alive();
    bystanders.assert_unharmed();
}

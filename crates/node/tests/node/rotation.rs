//! Reloads under load (R16, R17): certificates, CA, revocation list and rules change again and again, some of them
//! broken on purpose, while clients come, stay and ask.
#![allow(clippy::print_stderr, reason = "figures are shown with the test")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use motte_mqtt::{Packet, ReasonCode};
use motte_node::ReloadError;
use motte_node::settings::ClientCertificates;
use motte_pki::Role;

use crate::reload::revoke;
use crate::support::{Client, House, Running, connect_as_alice, connect_as_nobody};

/// Reloads of R17.
const RELOADS: usize = 200;

/// The answer to a PUBLISH of QoS 1 to `topic`.
fn publish(client: &mut Client, topic: &str) -> ReasonCode {
    let length = u8::try_from(2 + topic.len() + 2 + 1 + 1).unwrap();
    let mut bytes = vec![0x32, length, 0, u8::try_from(topic.len()).unwrap()];
    bytes.extend_from_slice(topic.as_bytes());
    bytes.extend_from_slice(&[0, 7, 0, b'x']);
    client.send(&bytes);
    client.receive(|packet| match packet {
        Packet::PubAck(ack) => ack.reason,
        packet => panic!("{packet:?}"),
    })
}

/// The rules of a set: `always` is allowed in each, `never` in none, `even` and `odd` in every other one.
fn rules(number: usize) -> String {
    let turn = if number.is_multiple_of(2) { "even" } else { "odd" };
    // As many rules as a real file has, so that a set that was half read would show.
    let fill: String = (0..500).map(|at| format!("topic write filler/{at}\n")).collect();
    format!("user alice\ntopic write always\n{fill}topic write {turn}\ntopic write {turn}-too\n")
}

/// What was seen of a set: which of its two rules were there.
#[derive(Default)]
struct Seen {
    probes: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

fn probe(house: &House, node: &Running, over: &AtomicBool, seen: &Seen, number: usize) {
    let mut client = house.open(node.address(), None, b"mqtt");
    assert_eq!(client.connect(&connect_as_alice(&format!("probe-{number}"))), 0);
    let complain = |what: &str| seen.wrong.lock().unwrap().push(what.to_owned());
    while !over.load(Ordering::Relaxed) {
        if publish(&mut client, "always").is_error() {
            complain("what every set allows was denied");
        }
        if !publish(&mut client, "never").is_error() {
            complain("what no set allows was allowed");
        }
        seen.probes.fetch_add(2, Ordering::Relaxed);
        // Two processors carry the broker, the reloads and the probes.
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn r17_under_reloads_nobody_is_wrongly_allowed_or_denied_and_no_set_is_a_mix() {
    let house = House::new();
    house.write("acl", &rules(0));
    let node = house.start();
    let (over, seen) = (AtomicBool::new(false), Seen::default());
    let mut witness = house.open(node.address(), None, b"mqtt");
    assert_eq!(witness.connect(&connect_as_alice("witness")), 0);
    let mut longest = Duration::ZERO;
    let passwords = std::fs::read_to_string(house.path("passwords")).unwrap();
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (house, node, over, seen) = (&house, &node, &over, &seen);
            scope.spawn(move || probe(house, node, over, seen, number));
        }
        for number in 1..=RELOADS {
            let broken = number.is_multiple_of(5);
            if broken {
                // One of the files is new and good, the other is not.
                house.write("acl", &rules(number));
                house.write("passwords", "alice\n");
            } else {
                house.write("acl", &rules(number));
            }
            let begun = Instant::now();
            let outcome = node.handle.reload();
            longest = longest.max(begun.elapsed());
            assert_eq!(broken, matches!(outcome, Err(ReloadError::Files(_))), "{outcome:?}");
            let in_force = if broken { number - 1 } else { number };
            let (on, off) = if in_force.is_multiple_of(2) { ("even", "odd") } else { ("odd", "even") };
            // The set that was reloaded is in force as a whole, and nothing of the one before.
            for (topic, allowed) in [(on, true), (off, false)] {
                for topic in [topic.to_owned(), format!("{topic}-too")] {
                    let reason = publish(&mut witness, &topic);
                    assert_eq!(!reason.is_error(), allowed, "{topic} after reload {number}: {reason}");
                }
            }
            if broken {
                house.write("passwords", &passwords);
                house.write("acl", &rules(in_force));
                node.handle.reload().unwrap();
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    let wrong = seen.wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {:?} probes: {wrong:?}", wrong.len(), seen.probes);
    eprintln!("{RELOADS} reloads, {} probes, the longest reload {longest:?}", seen.probes.load(Ordering::Relaxed));
}

/// TLS sessions with traffic in the test command.
const SESSIONS: usize = 150;
const CHANGES: usize = 50;

/// A session that publishes to itself now and then, until it is over.
fn live(client: &mut Client, rounds: usize) -> bool {
    (0..rounds).all(|_| {
        client.send(&[0xc0, 0]);
        client.receive_or_end(|packet| matches!(packet, Packet::PingResp)).unwrap_or(false)
    })
}

#[test]
fn r16_sessions_live_through_fifty_changes_of_certificate_ca_and_revocation_list() {
    // The size of the reference is run by hand; its figures stand in docs/live.md.
    let sessions = std::env::var("MOTTE_R16_SESSIONS").ok().map_or(SESSIONS, |number| number.parse().unwrap());
    rotate(sessions, CHANGES);
}

/// Sessions that stand; half of them prove who they are by certificate.
fn sessions_of_both_kinds(house: &House, node: &Running, sessions: usize) -> Vec<Mutex<Client>> {
    let open = |number: usize| {
        let certified = number.is_multiple_of(2);
        let mut client = house.open(node.address(), certified.then_some("alice"), b"mqtt");
        let id = format!("session-{number}");
        let connect = if certified { connect_as_nobody(&id) } else { connect_as_alice(&id) };
        assert_eq!(client.connect(&connect), 0);
        Mutex::new(client)
    };
    (0..sessions).map(open).collect()
}

fn rotate(sessions: usize, changes: usize) {
    let mut house = House::new();
    house.settings.listeners[0].client_certificates = ClientCertificates::Optional;
    house.settings.watch = true;
    house.settings.tls.crls = vec![house.path("crl.pem")];
    revoke(&house, 1, &[]);
    let doomed: Vec<String> = (0..changes / 10).map(|number| format!("doomed-{number}")).collect();
    doomed.iter().for_each(|stem| house.issue(stem, Role::Client, "alice", SystemTime::now()));
    house.settings.gate.connections_per_address_max = sessions * 2;
    let node = house.start();
    let clients = sessions_of_both_kinds(&house, &node, sessions);
    let come = |stem: &String| {
        let mut client = house.open(node.address(), Some(stem), b"mqtt");
        assert_eq!(client.connect(&connect_as_nobody(stem)), 0);
        client
    };
    let mut last: Vec<Client> = doomed.iter().rev().map(come).collect();
    let over = AtomicBool::new(false);
    let mut slowest_end = Duration::ZERO;
    let (dropped, handshakes, failed) = (AtomicU64::new(0), AtomicU64::new(0), Arc::new(Mutex::new(Vec::new())));
    let mut latest = Duration::ZERO;
    std::thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for client in &clients {
                    if !live(&mut client.lock().unwrap(), 1) {
                        dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        let coming = scope.spawn(|| {
            let mut number = 0;
            while !over.load(Ordering::Relaxed) {
                number += 1;
                let certificate = (number % 2 == 0).then_some("alice");
                match house.try_open(node.address(), certificate, b"mqtt") {
                    Ok(mut client) => {
                        let id = format!("guest-{number}");
                        let connect = if number % 2 == 0 { connect_as_nobody(&id) } else { connect_as_alice(&id) };
                        let code = client.connect(&connect);
                        if code != 0 {
                            failed.lock().unwrap().push(format!("guest {number}: {code:#x}"));
                        }
                    }
                    Err(error) => failed.lock().unwrap().push(format!("guest {number}: {error}")),
                }
                handshakes.fetch_add(1, Ordering::Relaxed);
            }
        });
        for change in 0..changes {
            let before = house.served_certificate(node.address());
            match change % 10 {
                // Another certificate is revoked: its session ends, and it opens no other.
                9 => {
                    let known: Vec<&str> = doomed.iter().take(change / 10 + 1).map(String::as_str).collect();
                    revoke(&house, 2 + u64::try_from(change).unwrap(), &known);
                    let written = Instant::now();
                    let reason = last.pop().unwrap().receive(|packet| match packet {
                        Packet::Disconnect(disconnect) => disconnect.reason,
                        packet => panic!("{packet:?}"),
                    });
                    assert_eq!(reason, ReasonCode::NotAuthorized);
                    slowest_end = slowest_end.max(written.elapsed());
                    // In TLS 1.3 a client hears of a refusal when it reads.
                    if let Ok(client) = house.try_open(node.address(), known.last().copied(), b"mqtt") {
                        assert!(client.until_closed().is_empty(), "a revoked certificate opened a session");
                    }
                }
                // A certificate without the end of its text, and one of another key.
                3 | 8 => {
                    let good = std::fs::read_to_string(house.path("server.pem")).unwrap();
                    house.write("server.pem", &good[..good.len() / 2]);
                    std::thread::sleep(Duration::from_millis(300));
                    assert_eq!(house.served_certificate(node.address()), before, "the old one stays");
                    house.write("server.pem", &good);
                }
                // The CA file is another one with the same CA in it, and the list is a later one.
                2 | 7 => {
                    house.write("ca.pem", &format!("# {change}\n{}", house.authority.certificate_pem()));
                    let known: Vec<&str> = doomed.iter().take(change / 10).map(String::as_str).collect();
                    revoke(&house, 2 + u64::try_from(change).unwrap(), &known);
                }
                _ => {
                    let written = Instant::now();
                    house.issue("server", Role::Server, "localhost", SystemTime::now());
                    while house.served_certificate(node.address()) == before {
                        assert!(written.elapsed() < Duration::from_secs(5), "change {change} was not taken up");
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    latest = latest.max(written.elapsed());
                }
            }
        }
        over.store(true, Ordering::Relaxed);
        traffic.join().unwrap();
        coming.join().unwrap();
    });
    let (dropped, handshakes) = (dropped.into_inner(), handshakes.into_inner());
    let failed = failed.lock().unwrap();
    eprintln!("{sessions} sessions, {changes} changes, {handshakes} handshakes");
    eprintln!("a new certificate was shown after {latest:?}, a revoked one was out after {slowest_end:?}");
    assert!(slowest_end < Duration::from_secs(5), "{slowest_end:?}");
    assert_eq!(dropped, 0, "sessions were dropped");
    assert!(failed.is_empty(), "{failed:?}");
}

//! A disk that fails or stalls under the real binary: a failed write or sync is final, a slow one holds only what waits
//! for it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use motte_mqtt::{ProtocolVersion, Qos};

use crate::client::{Client, Heard, Hello, NotAdmitted, Outgoing};
use crate::daemon::{Daemon, Home, Starting};
use crate::peer::PATIENCE;
use crate::preload::Preload;

const V5: ProtocolVersion = ProtocolVersion::V5;
const V311: ProtocolVersion = ProtocolVersion::V311;
const UNAVAILABLE: u8 = 0x88;
const SHUTTING_DOWN_OR_BUSY: u8 = 0x89;
const MESSAGES: u16 = 30;

/// What was acknowledged.
#[derive(Debug, Default)]
struct Promised {
    session: bool,
    subscription: bool,
    messages: Vec<u16>,
}

#[test]
fn r04_a_failed_write_or_sync_is_final_and_nothing_is_acknowledged_after_it() {
    let home = Home::new();
    let log = home.path("calls");
    let preload = Preload::in_folder(&home.path(""))
        .with("FAULT_BELOW", home.path("store").display())
        .with("FAULT_CALLS", "wsl")
        .with("FAULT_LOG", log.display());
    let calls = {
        let daemon = start(&home, &preload).expect("no call fails");
        assert_eq!(work(&daemon).messages.len(), usize::from(MESSAGES));
        daemon.kill();
        lines(&log).len()
    };
    assert!(calls > 20, "the library does not see the calls: {calls}");
    for round in 0..18 {
        // All of the first ones, then some of the rest.
        let at = if round < 6 { round + 1 } else { 6 + (round - 5) * (calls - 6) / 14 };
        let (code, name) = [(5, "EIO"), (28, "ENOSPC"), (122, "EDQUOT")][round % 3];
        fs::remove_dir_all(home.path("store")).unwrap();
        fs::remove_file(&log).unwrap();
        let what = format!("call {at} of {calls} with {name}");
        one_failure(&home, &preload.clone().with("FAULT_AT", at).with("FAULT_ERRNO", code), &log, &what);
    }
}

fn one_failure(home: &Home, preload: &Preload, log: &Path, what: &str) {
    let promised = match start(home, preload) {
        Err(said) => {
            assert!(said.contains("error: ") && !said.contains("panicked"), "{what}: {said}");
            Promised::default()
        }
        Ok(mut daemon) => {
            let watchers = [V5, V311].map(|version| {
                Client::connect(daemon.port, &Hello::clean(&format!("watcher-{version:?}"), version)).ok()
            });
            let promised = work(&daemon);
            daemon.logged("the store failed");
            for (version, code) in [(V5, UNAVAILABLE), (V311, 3)] {
                let late = Client::connect(daemon.port, &Hello::clean("late", version)).map(|_| ());
                assert_eq!(late, Err(NotAdmitted::Refused(code)), "{what}");
            }
            let [newer, older] = watchers;
            if let Some(mut watcher) = newer {
                let heard = watcher.hear(PATIENCE);
                assert!(matches!(heard, Heard::Disconnect(SHUTTING_DOWN_OR_BUSY)), "{what}: {heard:?}");
            }
            if let Some(mut watcher) = older {
                let heard = watcher.hear(PATIENCE);
                assert!(matches!(heard, Heard::End), "{what}: {heard:?}");
            }
            let said = daemon.kill();
            assert!(!said.contains("panicked"), "{what}: {said}");
            promised
        }
    };
    let calls = lines(log);
    assert!(calls.last().is_some_and(|line| line.ends_with("failed")), "{what}: written to after it failed: {calls:?}");
    let daemon = home.start();
    is_kept(&daemon, &promised, what);
    daemon.stop();
}

fn start(home: &Home, preload: &Preload) -> Result<Daemon, String> {
    let words = preload.words();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Starting::new(&mut home.command(&words)).listening().map_err(|(_, said)| said)
}

fn lines(log: &Path) -> Vec<String> {
    fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// A session with a subscription, and messages for it one after the other, as far as they are acknowledged.
fn work(daemon: &Daemon) -> Promised {
    let mut promised = Promised::default();
    let Ok(mut subscriber) = Client::connect(daemon.port, &Hello::durable("keeper", V5)) else { return promised };
    promised.session = true;
    promised.subscription = subscriber.subscribe("t/#", Qos::AtLeastOnce, None) == Some(1);
    if !promised.subscription {
        return promised;
    }
    subscriber.disconnect();
    let Ok(mut publisher) = Client::connect(daemon.port, &Hello::clean("writer", V5)) else { return promised };
    for number in 1..=MESSAGES {
        publisher.publish(&Outgoing::new("t/1", &number.to_be_bytes(), number));
        match publisher.hear(PATIENCE) {
            Heard::PubAck(id, 0) if id == number => promised.messages.push(number),
            Heard::Disconnect(SHUTTING_DOWN_OR_BUSY) | Heard::End => break,
            other => panic!("{number}: {other:?}"),
        }
    }
    promised
}

#[track_caller]
fn is_kept(daemon: &Daemon, promised: &Promised, what: &str) {
    let mut subscriber = Client::admitted(daemon.port, &Hello::durable("keeper", V5));
    assert!(subscriber.present || !promised.session, "{what}: the session is lost");
    subscriber.ping();
    let mut came = Vec::new();
    loop {
        match subscriber.hear(PATIENCE) {
            Heard::Publish(message) => {
                subscriber.write_puback(message.id);
                subscriber.flush();
                came.push(u16::from_be_bytes(message.payload.try_into().expect("a number")));
                if came.len() >= promised.messages.len() {
                    break;
                }
            }
            Heard::Pong if promised.messages.is_empty() => break,
            Heard::Pong => {}
            other => panic!("{what}: {other:?} after {came:?}, promised were {:?}", promised.messages),
        }
    }
    // One more may have been written without an answer.
    assert!(came.starts_with(&promised.messages), "{what}: {came:?} of {:?}", promised.messages);
    let mut publisher = Client::admitted(daemon.port, &Hello::clean("writer", V5));
    publisher.publish(&Outgoing::new("t/1", &0_u16.to_be_bytes(), 1));
    assert!(matches!(publisher.hear(PATIENCE), Heard::PubAck(1, _)), "{what}: it goes on after a restart");
}

#[test]
fn r04_a_disk_that_stalls_holds_acknowledgements_and_nothing_else() {
    let home = Home::new();
    let stall = home.path("stall");
    let preload = Preload::in_folder(&home.path(""))
        .with("FAULT_BELOW", home.path("store").display())
        .with("FAULT_STALL", stall.display());
    let daemon = start(&home, &preload).unwrap();
    let mut subscriber = Client::admitted(daemon.port, &Hello::durable("keeper", V5));
    assert_eq!(subscriber.subscribe("t/#", Qos::AtLeastOnce, None), Some(1));
    let mut publisher = Client::admitted(daemon.port, &Hello::clean("writer", V5));
    let mut listener = Client::admitted(daemon.port, &Hello::clean("listener", V311));
    assert_eq!(listener.subscribe("live/#", Qos::AtMostOnce, None), Some(0));

    fs::write(&stall, "").unwrap();
    publisher.publish(&Outgoing::new("t/1", b"slow", 1));
    let since = Instant::now();
    let mut pings = 0;
    while since.elapsed() < Duration::from_secs(5) {
        publisher.publish(&Outgoing { qos: Qos::AtMostOnce, ..Outgoing::new("live/1", b"quick", 1) });
        publisher.ping();
        let heard = publisher.hear(Duration::from_secs(1));
        assert!(matches!(heard, Heard::Pong), "no PUBACK and a quick PINGRESP: {heard:?}");
        let heard = listener.hear(Duration::from_secs(1));
        assert!(matches!(heard, Heard::Publish(_)), "{heard:?}");
        let visitor = Client::admitted(daemon.port, &Hello::clean("visitor", V5));
        visitor.disconnect();
        pings += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(pings > 20, "{pings} rounds in five seconds");
    fs::remove_file(&stall).unwrap();
    let heard = publisher.hear(PATIENCE);
    assert!(matches!(heard, Heard::PubAck(1, 0)), "{heard:?}");
    daemon.kill();
}

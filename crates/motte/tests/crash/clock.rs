//! Time across restarts of the real binary: the wall clock may be set to anything, and time that has passed has passed.
//!
//! The wall clock and the boot id are changed by `preload.c`, the time since the boot by a time namespace.

use std::fs;
use std::time::Duration;

use motte_mqtt::{ProtocolVersion, Qos};

use crate::client::{Client, Heard, Hello, Outgoing, Testament};
use crate::daemon::{Daemon, Home};
use crate::namespace::time_words;
use crate::peer::PATIENCE;
use crate::preload::Preload;

const V5: ProtocolVersion = ProtocolVersion::V5;
const HOUR_S: i64 = 3_600;
const YEAR_S: i64 = 365 * 24 * HOUR_S;

/// Everything that can expire.
const SESSION_S: u32 = 1_200;
const MESSAGE_S: u32 = 1_800;
const WILL_DELAY_S: u32 = 900;

struct Scene {
    home: Home,
    preload: Preload,
}

impl Scene {
    fn new() -> Self {
        let home = Home::new();
        fs::write(home.path("boot-1"), "11111111-2222-3333-4444-555555555555\n").unwrap();
        fs::write(home.path("boot-2"), "66666666-7777-8888-9999-aaaaaaaaaaaa\n").unwrap();
        let preload = Preload::in_folder(&home.path(""));
        Self { home, preload }
    }

    /// With the wall clock wrong by that, so long after the machine's boot, and with this boot id.
    #[track_caller]
    fn start(&self, wall_s: i64, since_boot_s: i64, boot: &str) -> Daemon {
        let boot = self.home.path(boot);
        let preload = self.preload.clone().with("WALL_SHIFT_S", wall_s).with("BOOT_ID", boot.display());
        let words: Vec<String> = time_words(since_boot_s).into_iter().chain(preload.words()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // A certificate of another time would be refused, as it should be.
        self.home.make_certificates(&words);
        self.home.start_behind(&words)
    }

    /// A session with a queued message that expires, one that is for ever with the same message and one that does not
    /// expire, a retained message that expires, and a will that is due later. Then the broker is killed.
    fn set(&self) {
        let mut daemon = self.start(0, 0, "boot-1");
        let (topic, payload) = ("w/1".to_owned(), b"will".to_vec());
        let will = Testament { topic, payload, qos: Qos::AtLeastOnce, delay_s: WILL_DELAY_S };
        drop(Client::admitted(daemon.port, &Hello { will: Some(will), ..Hello::durable("dying", V5) }));
        daemon.closed("dying");
        for (client_id, expiry_s) in [("mortal", SESSION_S), ("immortal", u32::MAX), ("reader", u32::MAX)] {
            let mut client = Client::admitted(daemon.port, &Hello { expiry_s, ..Hello::durable(client_id, V5) });
            let filter = if client_id == "reader" { "w/#" } else { "t/#" };
            assert_eq!(client.subscribe(filter, Qos::AtLeastOnce, None), Some(1));
            client.disconnect();
        }
        let mut publisher = Client::admitted(daemon.port, &Hello::clean("writer", V5));
        let lasting = Outgoing::new("t/1", b"lasting", 1);
        let passing = Outgoing { expiry_s: Some(MESSAGE_S), ..Outgoing::new("t/1", b"passing", 2) };
        let retained = Outgoing { retain: true, expiry_s: Some(MESSAGE_S), ..Outgoing::new("r/1", b"retained", 3) };
        for message in [lasting, passing, retained] {
            publisher.publish(&message);
            assert!(matches!(publisher.hear(PATIENCE), Heard::PubAck(_, 0 | 0x10)));
        }
        daemon.kill();
    }
}

/// What a session gets until the answer to its ping, acknowledged or not.
#[track_caller]
fn hear_all(daemon: &Daemon, hello: &Hello, least: usize, acknowledges: bool) -> (bool, Vec<(String, Option<u32>)>) {
    let mut client = Client::admitted(daemon.port, hello);
    let mut came = Vec::new();
    client.ping();
    let mut ponged = false;
    while !ponged || came.len() < least {
        match client.hear(PATIENCE) {
            Heard::Pong => ponged = true,
            Heard::Publish(message) => {
                if acknowledges {
                    client.write_puback(message.id);
                    client.flush();
                }
                came.push((String::from_utf8(message.payload).unwrap(), message.expiry_s));
            }
            other => panic!("{other:?} after {came:?}"),
        }
    }
    (client.present, came)
}

/// Nothing has expired, and no will has come.
#[track_caller]
fn all_is_there(daemon: &Daemon) {
    let mortal = Hello { expiry_s: SESSION_S, ..Hello::durable("mortal", V5) };
    let (present, came) = hear_all(daemon, &mortal, 2, false);
    assert!(present, "the session did not expire");
    let [(lasting, None), (passing, Some(left_s))] = &came[..] else { panic!("{came:?}") };
    assert_eq!((lasting.as_str(), passing.as_str()), ("lasting", "passing"));
    assert!((MESSAGE_S - 120..=MESSAGE_S).contains(left_s), "{left_s} s are left of {MESSAGE_S}");
    let (_, retained) = retained(daemon, 1);
    assert!((MESSAGE_S - 120..=MESSAGE_S).contains(&retained[0].1.unwrap()), "{retained:?}");
    let (present, wills) = hear_all(daemon, &Hello::durable("reader", V5), 0, false);
    assert!(present && wills.is_empty(), "{wills:?}");
}

fn retained(daemon: &Daemon, least: usize) -> (bool, Vec<(String, Option<u32>)>) {
    let mut client = Client::admitted(daemon.port, &Hello::clean("retained-reader", V5));
    client.write_subscribe(1, "r/#", Qos::AtMostOnce, None);
    client.ping();
    let mut came = Vec::new();
    loop {
        match client.hear(PATIENCE) {
            Heard::Pong => break,
            Heard::Publish(message) => came.push((String::from_utf8(message.payload).unwrap(), message.expiry_s)),
            Heard::SubAck(..) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(came.len() >= least, "{came:?}");
    (true, came)
}

#[test]
fn r15_a_wall_clock_that_jumps_between_restarts_expires_nothing() {
    let scene = Scene::new();
    scene.set();
    for wall_s in [HOUR_S, -HOUR_S, 10 * YEAR_S, -10 * YEAR_S, 0] {
        let daemon = scene.start(wall_s, 0, "boot-1");
        all_is_there(&daemon);
        daemon.kill();
    }
}

#[test]
fn r15_after_another_boot_a_jump_that_nobody_can_believe_expires_nothing() {
    let scene = Scene::new();
    scene.set();
    for (wall_s, boot) in [(10 * YEAR_S, "boot-2"), (-10 * YEAR_S, "boot-1"), (-10 * YEAR_S - HOUR_S, "boot-2")] {
        let mut daemon = scene.start(wall_s, 0, boot);
        daemon.logged("not believed");
        all_is_there(&daemon);
        daemon.kill();
    }
}

#[test]
fn r15_time_that_passed_while_it_was_down_counts() {
    let hour_later: [(&str, i64, i64, &str); 2] =
        [("the same boot", 0, HOUR_S, "boot-1"), ("another boot", HOUR_S, 0, "boot-2")];
    for (what, wall_s, since_boot_s, boot) in hour_later {
        let scene = Scene::new();
        scene.set();
        let daemon = scene.start(wall_s, since_boot_s, boot);
        let mortal = Hello { expiry_s: SESSION_S, ..Hello::durable("mortal", V5) };
        assert_eq!(hear_all(&daemon, &mortal, 0, true), (false, vec![]), "{what}: the session expired");
        let (present, came) = hear_all(&daemon, &Hello::durable("immortal", V5), 1, true);
        assert!(present, "{what}");
        assert_eq!(came, [("lasting".to_owned(), None)], "{what}: only what expires has expired");
        assert_eq!(retained(&daemon, 0).1, [], "{what}: the retained message expired");
        let (_, wills) = hear_all(&daemon, &Hello::durable("reader", V5), 1, true);
        assert_eq!(wills, [("will".to_owned(), None)], "{what}: the will was due");
        daemon.kill();
    }
}

#[test]
fn r15_delays_that_are_not_over_go_on_after_a_restart() {
    let scene = Scene::new();
    scene.set();
    // Ten seconds are left of the will's delay.
    let daemon = scene.start(0, i64::from(WILL_DELAY_S) - 10, "boot-1");
    let mut reader = Client::admitted(daemon.port, &Hello::durable("reader", V5));
    assert!(matches!(reader.hear(Duration::from_secs(2)), Heard::Silence), "not yet");
    let heard = reader.hear(PATIENCE);
    assert!(matches!(&heard, Heard::Publish(will) if will.payload == b"will"), "{heard:?}");
    daemon.kill();
}

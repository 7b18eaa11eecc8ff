//! A full disk under the real binary: what would need room is refused, what makes room goes on, nothing is lost.
//!
//! `MOTTE_FULL_ROUNDS=100 cargo test -p motte --test crash -- r03` fills and drains a hundred times.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use motte_mqtt::{ProtocolVersion, Qos};

use crate::client::{Client, Heard, Hello, NotAdmitted, Outgoing};
use crate::daemon::{Config, Daemon, Home};
use crate::namespace::{Kind, SmallDisk};
use crate::peer::PATIENCE;

const V5: ProtocolVersion = ProtocolVersion::V5;
const V311: ProtocolVersion = ProtocolVersion::V311;
const QUOTA_EXCEEDED: u8 = 0x97;
const RECOVERY: Duration = Duration::from_secs(5);
const PAYLOAD_BYTES: usize = 60_000;

/// A broker whose store is on a small disk.
struct Scene {
    home: Home,
    disk: SmallDisk,
    /// Messages of the queue that were acknowledged and not drained.
    queued: Vec<u32>,
    /// Retained messages that were acknowledged, by number of the topic.
    retained: BTreeMap<u32, u32>,
    last: u32,
}

impl Scene {
    fn new(kind: Kind) -> Self {
        let home = Home::new();
        let disk = SmallDisk::new(kind, &home.path("disk"), 64);
        home.configure(&Config { durability: "directory = \"disk/store\"\n".to_owned(), ..Config::default() });
        Self { home, disk, queued: Vec::new(), retained: BTreeMap::new(), last: 0 }
    }

    #[track_caller]
    fn start(&self) -> Daemon {
        let words = self.disk.words();
        self.home.start_behind(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Publishes until the broker says that it is full, no more than the disk could ever take.
    #[track_caller]
    fn fill(&mut self, daemon: &Daemon, retain: bool) {
        let mut publisher = Client::admitted(daemon.port, &Hello::clean("writer", V5));
        for _ in 0..2_000 {
            self.last += 1;
            let code = self.publish(&mut publisher, self.last, retain);
            if code == QUOTA_EXCEEDED {
                return;
            }
            // 0x10: nobody subscribes to it.
            assert!(matches!(code, 0 | 0x10), "{code:#x}");
            if retain {
                self.retained.insert(self.last, self.last).map_or((), drop)
            } else {
                self.queued.push(self.last)
            }
        }
        panic!("the disk is never full: {} bytes are free", self.disk.free_bytes());
    }

    /// The reason code of its PUBACK.
    #[track_caller]
    fn publish(&self, publisher: &mut Client, number: u32, retain: bool) -> u8 {
        let mut payload = vec![0x5a; PAYLOAD_BYTES];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        let topic = if retain { format!("r/{number}") } else { "q/1".to_owned() };
        publisher.publish(&Outgoing { retain, ..Outgoing::new(&topic, &payload, 1) });
        match publisher.hear(PATIENCE) {
            Heard::PubAck(1, code) => code,
            other => panic!("{other:?}"),
        }
    }

    /// The session takes everything that it was promised.
    #[track_caller]
    fn drain(&mut self, daemon: &Daemon) {
        let mut client = Client::admitted(daemon.port, &Hello::durable("keeper", V5));
        assert!(client.present, "the session is kept");
        let mut came = Vec::new();
        while came.len() < self.queued.len() {
            match client.hear(PATIENCE) {
                Heard::Publish(message) => {
                    client.write_puback(message.id);
                    client.flush();
                    came.push(u32::from_be_bytes(message.payload[..4].try_into().unwrap()));
                }
                other => panic!("{other:?} after {} of {}", came.len(), self.queued.len()),
            }
        }
        assert_eq!(came, self.queued, "all that was acknowledged, in order, and nothing that was refused");
        self.queued.clear();
        client.disconnect();
    }

    #[track_caller]
    fn check_retained(&self, daemon: &Daemon) {
        let mut client = Client::admitted(daemon.port, &Hello::clean("reader", V5));
        client.write_subscribe(1, "r/#", Qos::AtLeastOnce, None);
        client.flush();
        let mut came = BTreeMap::new();
        let mut answered = false;
        while !answered || came.len() < self.retained.len() {
            match client.hear(PATIENCE) {
                Heard::Publish(message) => {
                    client.write_puback(message.id);
                    client.flush();
                    let topic = message.topic.strip_prefix("r/").unwrap().parse().unwrap();
                    came.insert(topic, u32::from_be_bytes(message.payload[..4].try_into().unwrap()));
                }
                Heard::SubAck(..) => answered = true,
                other => panic!("{other:?} after {} of {}", came.len(), self.retained.len()),
            }
        }
        assert_eq!(came, self.retained);
        client.disconnect();
    }

    #[track_caller]
    fn clear_retained(&mut self, daemon: &Daemon) {
        let mut client = Client::admitted(daemon.port, &Hello::clean("cleaner", V5));
        for topic in std::mem::take(&mut self.retained).into_keys() {
            client.publish(&Outgoing { retain: true, ..Outgoing::new(&format!("r/{topic}"), b"", 1) });
            let heard = client.hear(PATIENCE);
            // 0x10: nobody subscribes to it.
            assert!(matches!(heard, Heard::PubAck(1, 0 | 0x10)), "{heard:?}");
        }
    }

    /// New messages are accepted soon.
    #[track_caller]
    fn recovers(&mut self, daemon: &Daemon) {
        let since = Instant::now();
        let mut publisher = Client::admitted(daemon.port, &Hello::clean("writer", V5));
        loop {
            self.last += 1;
            if self.publish(&mut publisher, self.last, false) == 0 {
                self.queued.push(self.last);
                return;
            }
            assert!(since.elapsed() < RECOVERY, "still full; {} bytes are free", self.disk.free_bytes());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What is refused and what goes on while the disk is full.
#[track_caller]
fn check_full(daemon: &Daemon) {
    let durable = Client::connect(daemon.port, &Hello::durable("newcomer", V5)).map(|_| ());
    assert_eq!(durable, Err(NotAdmitted::Refused(QUOTA_EXCEEDED)), "a new durable session");
    let mut older = Client::admitted(daemon.port, &Hello::clean("older", V311));
    older.publish(&Outgoing::new("q/1", &[0; PAYLOAD_BYTES], 7));
    older.ping();
    let heard = older.hear(PATIENCE);
    assert!(matches!(heard, Heard::Pong | Heard::End), "3.1.1 gets no PUBACK: {heard:?}");

    let mut live = Client::admitted(daemon.port, &Hello::clean("live", V5));
    assert_eq!(live.subscribe("live/#", Qos::AtLeastOnce, None), Some(1));
    live.publish(&Outgoing { qos: Qos::AtMostOnce, ..Outgoing::new("live/0", b"0", 1) });
    let heard = live.hear(PATIENCE);
    assert!(matches!(&heard, Heard::Publish(message) if message.payload == b"0"), "QoS 0 goes on: {heard:?}");

    let mut keeper = Client::admitted(daemon.port, &Hello::durable("other", V5));
    assert!(keeper.present, "sessions that are kept are resumed");
    assert_eq!(keeper.subscribe("new/#", Qos::AtLeastOnce, None), Some(QUOTA_EXCEEDED), "a new subscription");
    keeper.write_unsubscribe(9, "old/#");
    keeper.flush();
    let heard = keeper.hear(PATIENCE);
    assert!(matches!(heard, Heard::UnsubAck(9)), "{heard:?}");
    keeper.disconnect();
}

fn rounds() -> u32 {
    std::env::var("MOTTE_FULL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

fn fill_and_drain(kind: Kind) {
    let mut scene = Scene::new(kind);
    let mut daemon = scene.start();
    let mut keeper = Client::admitted(daemon.port, &Hello::durable("keeper", V5));
    assert_eq!(keeper.subscribe("q/#", Qos::AtLeastOnce, None), Some(1));
    keeper.disconnect();
    for round in 0..rounds() {
        let mut other = Client::admitted(daemon.port, &Hello { clean: true, ..Hello::durable("other", V5) });
        assert_eq!(other.subscribe("old/#", Qos::AtLeastOnce, None), Some(1));
        other.disconnect();
        let retain = round % 2 == 1;
        scene.fill(&daemon, retain);
        daemon.logged("the store is full");
        check_full(&daemon);
        scene.check_retained(&daemon);
        daemon.kill();
        daemon = scene.start();
        scene.check_retained(&daemon);
        check_full_after_restart(&scene, &daemon);
        if retain {
            scene.clear_retained(&daemon)
        } else {
            scene.drain(&daemon)
        }
        scene.recovers(&daemon);
        daemon.kill();
        daemon = scene.start();
        scene.drain(&daemon);
    }
    daemon.stop();
}

#[track_caller]
fn check_full_after_restart(scene: &Scene, daemon: &Daemon) {
    let mut publisher = Client::admitted(daemon.port, &Hello::clean("writer", V5));
    assert_eq!(scene.publish(&mut publisher, 0, false), QUOTA_EXCEEDED, "it is still full");
}

#[test]
fn r03_a_full_disk_refuses_what_needs_room_and_loses_nothing() {
    fill_and_drain(Kind::Ext4);
}

#[test]
fn r03_a_full_disk_in_memory_does_the_same() {
    fill_and_drain(Kind::Tmpfs);
}

#[test]
fn r03_messages_are_accepted_again_once_others_make_room() {
    let mut scene = Scene::new(Kind::Ext4);
    let mut daemon = scene.start();
    let mut keeper = Client::admitted(daemon.port, &Hello::durable("keeper", V5));
    assert_eq!(keeper.subscribe("q/#", Qos::AtLeastOnce, None), Some(1));
    keeper.disconnect();
    scene.recovers(&daemon);
    // Somebody else takes all but a little of the disk.
    let bytes = scene.disk.free_bytes() - 4 * 1024 * 1024;
    scene.disk.run(&format!("fallocate -l {bytes} filler"));
    scene.fill(&daemon, false);
    daemon.logged("the store is full");
    scene.disk.run("rm filler");
    scene.recovers(&daemon);
    daemon.logged("has room again");
    scene.drain(&daemon);
    daemon.stop();
}

//! A broker to be attacked, a peer that sends whatever bytes it likes, and a pair of bystanders.
//!
//! The peer itself is `common/peer`.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::common::Broker;
pub(crate) use crate::peer::{
    PATIENCE, Peer, connect, connect_with, expiry, field, packet, publish, subscribe, unsubscribe, varint, wait_until,
};

/// Memory that may come and go without being a leak: what the allocator keeps for the next time.
pub(crate) const SLACK_BYTES: u64 = 2 * 1024 * 1024;

/// A broker with a plain listener on loopback on which everybody may do everything but read `$SYS`.
pub(crate) struct Victim {
    pub(crate) broker: Broker,
    pub(crate) port: u16,
}

impl Victim {
    /// With these lines under `[limits]`.
    pub(crate) fn with(limits: &str) -> Self {
        let broker = Broker::quickstart();
        let text = fs::read_to_string(broker.file("motte.toml")).unwrap();
        let text = text.replace("[limits]\n", &format!("[limits]\n{limits}"));
        let text =
            text.replace("[danger]\n", "[danger]\nallow_anonymous = true\nplaintext_listeners = [\"127.0.0.1:0\"]\n");
        let text = text.replace("#sys_interval_s = 10", "sys_interval_s = 1");
        let text = text.replace("#shards = 1", "shards = 2");
        fs::write(broker.file("motte.toml"), text).unwrap();
        fs::write(broker.file("acl"), "topic readwrite #\nuser operator\ntopic read $SYS/#\n").unwrap();
        Self::of(broker.restart())
    }

    /// One that was started again.
    pub(crate) fn of(mut broker: Broker) -> Self {
        // The two TLS listeners were read by `Broker` itself.
        let line = broker.logged("listening");
        assert_eq!(line["scheme"], "mqtt", "{line}");
        let address: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
        Self { broker, port: address.port() }
    }

    /// Resident bytes of the broker's process.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.broker.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Sockets the broker has open, its listeners included.
    pub(crate) fn sockets(&self) -> usize {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.broker.id())).unwrap();
        let links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    }

    /// Makes the attack once so that buffers have grown, and then twice more: memory and sockets have to be what
    /// they were.
    #[track_caller]
    pub(crate) fn assert_no_growth(&self, attack: impl FnMut()) {
        self.assert_no_growth_beyond(SLACK_BYTES, attack);
    }

    /// The same where more than usual may come and go.
    #[track_caller]
    pub(crate) fn assert_no_growth_beyond(&self, slack_bytes: u64, mut attack: impl FnMut()) {
        let sockets = self.sockets();
        attack();
        self.wait_for_sockets(sockets);
        let before = self.memory_bytes();
        for _ in 0..2 {
            attack();
        }
        self.wait_for_sockets(sockets);
        let most = before + before / 50 + slack_bytes;
        wait_until("memory is given back", || self.memory_bytes() <= most);
    }

    /// Waits until the broker has no more sockets open than that.
    #[track_caller]
    pub(crate) fn wait_for_sockets(&self, sockets: usize) {
        wait_until("the sockets are closed", || self.sockets() <= sockets);
    }

    pub(crate) fn open(&self) -> Peer {
        Peer::open(self.port)
    }

    /// An admitted client of 5.0 with a clean start.
    pub(crate) fn client(&self, client_id: &str) -> Peer {
        Peer::admitted(self.port, client_id)
    }

    /// Somebody who publishes and somebody who listens, all the while.
    pub(crate) fn bystanders(&self) -> Bystanders {
        Bystanders::start(self)
    }
}

/// A pair that goes on with its life: a message of QoS 1 every ten milliseconds, each of which has to arrive.
pub(crate) struct Bystanders {
    over: Arc<AtomicBool>,
    life: JoinHandle<u64>,
}

impl Bystanders {
    fn start(victim: &Victim) -> Self {
        let mut listener = victim.client("bystander-listener");
        assert_eq!(listener.subscribe(&["bystander/t"], 1), [1]);
        let mut publisher = victim.client("bystander-publisher");
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let life = std::thread::spawn(move || {
            let mut number = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                publisher.send_well(&publish("bystander/t", (1, 1), false, &number.to_be_bytes()));
                assert_eq!(publisher.packet().expect("a PUBACK").0, 0x40);
                let (first, body) = listener.packet().expect("the message");
                assert_eq!((first, &body[body.len() - 8..]), (0x32, &number.to_be_bytes()[..]), "in order, none lost");
                let id = body[13..15].to_vec();
                listener.send_well(&packet(0x40, &id));
                number += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            number
        });
        Self { over, life }
    }

    /// They noticed nothing: every message arrived, in order and within [`PATIENCE`].
    #[track_caller]
    pub(crate) fn assert_unharmed(self) {
        self.over.store(true, Ordering::Relaxed);
        let messages = self.life.join().expect("the bystanders were disturbed");
        assert!(messages > 0);
    }
}

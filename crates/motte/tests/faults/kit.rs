//! A broker to be attacked, a peer that sends whatever bytes it likes, and a pair of bystanders.
//!
//! Packets are written by hand: an attacker does not use a library that would refuse.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::Broker;

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
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

/// Looks again and again until it is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A connection that sends bytes and takes packets apart.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
    /// Bytes that came in all.
    pub(crate) taken_bytes: usize,
}

impl Peer {
    pub(crate) fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, unread: Vec::new(), taken_bytes: 0 }
    }

    /// An admitted client of 5.0 with a clean start.
    #[track_caller]
    pub(crate) fn admitted(port: u16, client_id: &str) -> Self {
        let mut peer = Self::open(port);
        peer.send(&connect(client_id, &[]));
        peer.expect_connack(0);
        peer
    }

    /// Sends; the other side may have closed, which is what many attacks are about.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends what has to be taken.
    #[track_caller]
    pub(crate) fn send_well(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker reads");
    }

    /// The next packet: its first byte and its body. `None` when the connection ended.
    #[track_caller]
    pub(crate) fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((first, start, end)) = whole(&self.unread) {
                let body = self.unread[start..end].to_vec();
                self.unread.drain(..end);
                return Some((first, body));
            }
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => {
                    self.taken_bytes += count;
                    self.unread.extend_from_slice(&buffer[..count]);
                }
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return None;
                }
                Err(error) => panic!("neither an answer nor an end: {error}"),
            }
        }
    }

    /// Everything that comes until the end, as first byte and second byte of the body's front: enough to tell answers
    /// apart.
    #[track_caller]
    pub(crate) fn until_end(&mut self) -> Vec<(u8, Vec<u8>)> {
        std::iter::from_fn(|| self.packet()).collect()
    }

    #[track_caller]
    pub(crate) fn expect_connack(&mut self, code: u8) -> Vec<u8> {
        let (first, body) = self.packet().expect("a CONNACK");
        assert_eq!((first, body[1]), (0x20, code), "{body:?}");
        body
    }

    /// Asks for a sign of life; what else comes before it is dropped.
    #[track_caller]
    pub(crate) fn expect_alive(&mut self) {
        self.send_well(&[0xc0, 0]);
        while self.packet().expect("the connection lives").0 != 0xd0 {}
    }

    #[track_caller]
    pub(crate) fn subscribe(&mut self, filters: &[&str], qos: u8) -> Vec<u8> {
        self.send_well(&subscribe(filters, qos));
        loop {
            let (first, body) = self.packet().expect("a SUBACK");
            if first == 0x90 {
                return body[body.len() - filters.len()..].to_vec();
            }
        }
    }
}

/// The first packet in `bytes`, if it is whole: its first byte, and where its body begins and ends.
fn whole(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (mut length, mut at) = (0, 1);
    loop {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (bytes.len() >= at + length).then_some((bytes[0], at, at + length))
}

/// A packet of these bytes.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend(varint(body.len()));
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

/// A text or binary field: length and bytes.
pub(crate) fn field(bytes: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

/// A CONNECT of 5.0 with a clean start, keep alive 60 and these properties.
pub(crate) fn connect(client_id: &str, properties: &[u8]) -> Vec<u8> {
    connect_with(client_id, 0x02, 60, properties)
}

/// A CONNECT of 5.0.
pub(crate) fn connect_with(client_id: &str, flags: u8, keep_alive_s: u16, properties: &[u8]) -> Vec<u8> {
    let mut body = field(b"MQTT");
    body.extend([5, flags]);
    body.extend(keep_alive_s.to_be_bytes());
    body.extend(varint(properties.len()));
    body.extend_from_slice(properties);
    body.extend(field(client_id.as_bytes()));
    packet(0x10, &body)
}

/// The Session Expiry Interval property.
pub(crate) fn expiry(seconds: u32) -> Vec<u8> {
    [&[0x11][..], &seconds.to_be_bytes()].concat()
}

pub(crate) fn subscribe(filters: &[&str], qos: u8) -> Vec<u8> {
    let mut body = vec![0, 1, 0];
    for filter in filters {
        body.extend(field(filter.as_bytes()));
        body.push(qos);
    }
    packet(0x82, &body)
}

pub(crate) fn unsubscribe(filters: &[&str]) -> Vec<u8> {
    let mut body = vec![0, 2, 0];
    for filter in filters {
        body.extend(field(filter.as_bytes()));
    }
    packet(0xa2, &body)
}

/// A PUBLISH of 5.0; an identifier of 0 is for QoS 0.
pub(crate) fn publish(topic: &str, (qos, id): (u8, u16), retain: bool, payload: &[u8]) -> Vec<u8> {
    let mut body = field(topic.as_bytes());
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    body.push(0);
    body.extend_from_slice(payload);
    packet(0x30 | qos << 1 | u8::from(retain), &body)
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

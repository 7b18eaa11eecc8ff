//! A peer that sends whatever bytes it likes and takes packets apart, and packets of 5.0 written by hand.
//!
//! Used by the tests of faults and crashes: an attacker does not use a library that would refuse.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Looks again and again until it is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What came.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A whole packet.
    Packet(Vec<u8>),
    /// Nothing in time.
    Silence,
    /// The end of the connection.
    End,
}

/// A connection that sends bytes and takes packets apart.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
    /// How much of `unread` was taken apart.
    read: usize,
    /// Bytes that came in all.
    pub(crate) taken_bytes: usize,
}

impl Peer {
    #[track_caller]
    pub(crate) fn open(port: u16) -> Self {
        Self::try_open(port).expect("the broker listens")
    }

    /// A connection to a broker that may be gone.
    pub(crate) fn try_open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, unread: Vec::new(), read: 0, taken_bytes: 0 })
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
        match self.hear(PATIENCE) {
            Heard::Packet(bytes) => {
                let (first, start, end) = whole(&bytes).expect("it is whole");
                Some((first, bytes[start..end].to_vec()))
            }
            Heard::End => None,
            Heard::Silence => panic!("neither an answer nor an end in {PATIENCE:?}"),
        }
    }

    /// The next packet as it came, the end of the connection, or nothing for that long.
    pub(crate) fn hear(&mut self, patience: Duration) -> Heard {
        loop {
            if let Some((_, _, end)) = whole(&self.unread[self.read..]) {
                let bytes = self.unread[self.read..self.read + end].to_vec();
                self.read += end;
                return Heard::Packet(bytes);
            }
            self.unread.drain(..self.read);
            self.read = 0;
            self.stream.set_read_timeout(Some(patience)).unwrap();
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Heard::End,
                Ok(count) => {
                    self.taken_bytes += count;
                    self.unread.extend_from_slice(&buffer[..count]);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Heard::Silence;
                }
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return Heard::End;
                }
                Err(error) => panic!("the connection is broken: {error}"),
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

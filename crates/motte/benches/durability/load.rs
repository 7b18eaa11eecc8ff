//! Connections that cost the machine as little as they can, so that the broker has the rest of it.
//!
//! Called by the measurements. Packets are templates; an acknowledgement is looked at for its identifier only.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use motte_mqtt::{
    Connect, ConnectProperties, Delivery, Encoder, ForwardedPropertiesBuf, Packet, PacketId, ProtocolVersion, Publish,
    Qos, Subscribe, SubscribeFilters, SubscriptionIds, SubscriptionOptions, UserProperties,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const DAY_S: u32 = 24 * 3_600;
/// Steps of the latency histogram are this much, in microseconds.
const STEP_US: u64 = 20;
const STEPS: usize = 100_000;

/// An open connection and what was read of it.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

/// Bytes of a packet.
fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::new(ProtocolVersion::V5, 1 << 20).encode(packet, &mut bytes).unwrap();
    bytes
}

/// A PUBLISH, and where its identifier stands.
pub(crate) fn template(topic: &str, qos: u64, size: usize) -> (Vec<u8>, usize) {
    let id = PacketId::new(1).unwrap();
    let delivery = match qos {
        1 => Delivery::AtLeastOnce { id, dup: false },
        _ => Delivery::ExactlyOnce { id, dup: false },
    };
    let bytes = encoded(&Packet::Publish(Publish {
        delivery,
        retain: false,
        topic,
        topic_alias: None,
        message_expiry_s: None,
        subscription_ids: SubscriptionIds::EMPTY,
        properties: ForwardedPropertiesBuf::default().as_ref(),
        payload: &vec![0x6d; size],
    }));
    let at = bytes.len() - size - 3;
    (bytes, at)
}

impl Wire {
    /// An admitted client.
    pub(crate) async fn connect(port: u16, client_id: &str, is_durable: bool) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut wire = Self { stream, buffer: vec![0; 256 * 1024], filled: 0 };
        let session_expiry_s = is_durable.then_some(DAY_S);
        wire.send(&encoded(&Packet::Connect(Connect {
            version: ProtocolVersion::V5,
            clean_start: !is_durable,
            keep_alive_s: 0,
            client_id,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties { session_expiry_s, ..ConnectProperties::default() },
        })))
        .await;
        let answer = wire.packet().await;
        assert_eq!((answer[0], answer[3]), (0x20, 0), "CONNACK: {answer:?}");
        wire
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: Qos) {
        self.send(&encoded(&Packet::Subscribe(Subscribe {
            id: PacketId::new(1).unwrap(),
            subscription_id: None,
            user: UserProperties::EMPTY,
            filters: SubscribeFilters::from_slice(&[(
                filter,
                SubscriptionOptions { qos, ..SubscriptionOptions::default() },
            )]),
        })))
        .await;
        let answer = self.packet().await;
        assert_eq!((answer[0], answer.last()), (0x90, Some(&qos.as_u8())), "SUBACK: {answer:?}");
    }

    pub(crate) async fn disconnect(mut self) {
        self.send(&[0xe0, 0]).await;
        while self.fill().await > 0 {
            self.filled = 0;
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn fill(&mut self) -> usize {
        let count = self.stream.read(&mut self.buffer[self.filled..]).await.unwrap_or(0);
        self.filled += count;
        count
    }

    async fn packet(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = whole(&self.buffer[..self.filled]) {
                let packet = self.buffer[..end].to_vec();
                self.buffer.copy_within(end..self.filled, 0);
                self.filled -= end;
                return packet;
            }
            assert!(self.fill().await > 0, "the broker closed");
        }
    }

    /// Waits for bytes, unless a packet is there, and shows every whole packet. False when the broker closed.
    async fn each(&mut self, mut on: impl FnMut(&[u8])) -> bool {
        if whole(&self.buffer[..self.filled]).is_none() && self.fill().await == 0 {
            return false;
        }
        let mut at = 0;
        while let Some(length) = whole(&self.buffer[at..self.filled]) {
            on(&self.buffer[at..at + length]);
            at += length;
        }
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        true
    }
}

/// Length of the first packet when it is whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let (mut length, mut at, mut shift) = (0, 1, 0);
    loop {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 0x7f) << shift;
        at += 1;
        shift += 7;
        if byte & 0x80 == 0 {
            return (bytes.len() >= at + length).then_some(at + length);
        }
    }
}

/// What publishers have seen together.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) acknowledged: Cell<u64>,
    pub(crate) over: Cell<bool>,
    /// How many acknowledgements took how many steps.
    latencies: Vec<Cell<u32>>,
}

impl Seen {
    pub(crate) fn new() -> Rc<Self> {
        let latencies = vec![Cell::new(0); STEPS];
        Rc::new(Self { acknowledged: Cell::new(0), over: Cell::new(false), latencies })
    }

    fn took(&self, since: Instant, now: Instant) {
        let steps = now.duration_since(since).as_micros() / u128::from(STEP_US);
        let cell = &self.latencies[usize::try_from(steps).unwrap().min(STEPS - 1)];
        cell.set(cell.get() + 1);
        self.acknowledged.set(self.acknowledged.get() + 1);
    }

    /// Forgets the latencies so far.
    pub(crate) fn reset(&self) {
        self.latencies.iter().for_each(|cell| cell.set(0));
    }

    /// The latency that this part of a thousand did not exceed.
    pub(crate) fn quantile(&self, per_mille: u64) -> Duration {
        let all: u64 = self.latencies.iter().map(|cell| u64::from(cell.get())).sum();
        let mut left = all * per_mille / 1_000;
        for (step, cell) in self.latencies.iter().enumerate() {
            left = left.saturating_sub(u64::from(cell.get()));
            if left == 0 {
                return Duration::from_micros((step as u64 + 1) * STEP_US);
            }
        }
        Duration::MAX
    }
}

/// Publishes with `window` messages under way, until it is over or `most` were acknowledged. Topics take turns.
pub(crate) async fn publish(mut wire: Wire, topics: Vec<(Vec<u8>, usize)>, window: u16, most: u64, seen: Rc<Seen>) {
    let mut sent_at = vec![Instant::now(); usize::from(window) + 1];
    let (mut next, mut sent, mut acknowledged) = (1_u16, 0_u64, 0_u64);
    let mut out = Vec::new();
    let mut free = window;
    while acknowledged < most && !(seen.over.get() && acknowledged == sent) {
        let now = Instant::now();
        while free > 0 && sent < most && !seen.over.get() {
            let (bytes, at) = &topics[usize::try_from(sent % topics.len() as u64).unwrap()];
            let start = out.len();
            out.extend_from_slice(bytes);
            out[start + at..start + at + 2].copy_from_slice(&next.to_be_bytes());
            sent_at[usize::from(next)] = now;
            next = if next == window { 1 } else { next + 1 };
            sent += 1;
            free -= 1;
        }
        wire.send(&out).await;
        out.clear();
        let mut came = None;
        let is_open = wire
            .each(|packet| match packet[0] {
                0x40 | 0x70 => {
                    assert!(packet.len() < 5 || packet[4] < 0x80, "refused: {packet:02x?}");
                    let id = u16::from_be_bytes([packet[2], packet[3]]);
                    seen.took(sent_at[usize::from(id)], *came.get_or_insert_with(Instant::now));
                    free += 1;
                    acknowledged += 1;
                }
                0x50 => {
                    assert!(packet.len() < 5 || packet[4] < 0x80, "refused: {packet:02x?}");
                    out.extend_from_slice(&[0x62, 2, packet[2], packet[3]]);
                }
                other => panic!("{other:#x}: {packet:02x?}"),
            })
            .await;
        assert!(is_open, "the broker closed");
    }
    wire.disconnect().await;
}

/// Takes and acknowledges messages until the connection ends; counts them.
pub(crate) async fn listen(mut wire: Wire, taken: Rc<Cell<u64>>) {
    let mut out = Vec::new();
    loop {
        let is_open = wire
            .each(|packet| match packet[0] & 0xf6 {
                0x32 | 0x34 => {
                    let length = if packet[1] & 0x80 == 0 { 2 } else { 3 };
                    let topic = usize::from(u16::from_be_bytes([packet[length], packet[length + 1]]));
                    let at = length + 2 + topic;
                    let kind = if packet[0] & 0x06 == 2 { 0x40 } else { 0x50 };
                    out.extend_from_slice(&[kind, 2, packet[at], packet[at + 1]]);
                    taken.set(taken.get() + 1);
                }
                _ if packet[0] == 0x62 => out.extend_from_slice(&[0x70, 2, packet[2], packet[3]]),
                _ => {}
            })
            .await;
        if !is_open || wire.stream.write_all(&out).await.is_err() {
            return;
        }
        out.clear();
    }
}

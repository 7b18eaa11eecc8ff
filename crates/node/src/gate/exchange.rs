//! What the gate exchanges with clients in MQTT packets: a CONNECT from each, a CONNACK to those it refuses.
//!
//! Counted here because no shard sees them; read for the `$SYS` tree.

use std::sync::atomic::{AtomicU64, Ordering};

use motte_broker::Traffic;

/// First bytes of the two packets.
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;

/// The counts. Each is right by itself; they are not read at one moment.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    connects: AtomicU64,
    connect_bytes: AtomicU64,
    refusals: AtomicU64,
    refusal_bytes: AtomicU64,
}

impl Exchange {
    /// A whole CONNECT of so many bytes came.
    pub(super) fn on_connect(&self, bytes: usize) {
        self.connects.fetch_add(1, Ordering::Relaxed);
        self.connect_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A CONNACK of so many bytes says no.
    pub(super) fn on_refusal(&self, bytes: usize) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
        self.refusal_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Packets from clients.
    pub(crate) fn incoming(&self) -> Traffic {
        traffic(CONNECT, &self.connects, &self.connect_bytes)
    }

    /// Packets to clients.
    pub(crate) fn outgoing(&self) -> Traffic {
        traffic(CONNACK, &self.refusals, &self.refusal_bytes)
    }
}

fn traffic(first: u8, packets: &AtomicU64, bytes: &AtomicU64) -> Traffic {
    let mut traffic = Traffic::default();
    traffic.packets[usize::from(first >> 4)] = packets.load(Ordering::Relaxed);
    traffic.bytes = bytes.load(Ordering::Relaxed);
    traffic
}

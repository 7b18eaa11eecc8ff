//! How many connections may be there: in all and from one address, on their way in and admitted.
//!
//! Asked by the listener for each accepted socket. A place is given back when its guard is dropped, wherever that
//! happens; no list of addresses outlives its connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::settings::GateLimits;

/// An address as it is counted: one IPv4 address, or one IPv6 /64, which is what one household or host is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Origin {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Origin {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let mut prefix = [0; 8];
                prefix.copy_from_slice(&v6.octets()[..8]);
                Self::V6(prefix)
            }
        }
    }
}

/// Two counts: on the way in, and all connections.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    handshakes: usize,
    connections: usize,
}

#[derive(Debug, Default)]
struct Table {
    all: Counts,
    origins: HashMap<Origin, Counts>,
}

/// The door's count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    table: Arc<Mutex<Table>>,
}

/// A place among all connections; given back on drop.
#[derive(Debug)]
pub(crate) struct ConnectionPlace {
    places: Places,
    origin: Origin,
}

/// A place among the connections on their way in; given back on drop.
#[derive(Debug)]
pub(crate) struct HandshakePlace {
    places: Places,
    origin: Origin,
}

impl Places {
    /// Takes both places for a socket from `address`, or `None` when a limit is reached.
    pub(crate) fn take(&self, address: IpAddr, limits: &GateLimits) -> Option<(HandshakePlace, ConnectionPlace)> {
        let origin = Origin::of(address);
        let mut table = self.lock();
        let here = table.origins.get(&origin).copied().unwrap_or_default();
        let full = table.all.handshakes >= limits.handshakes_max
            || table.all.connections >= limits.connections_max
            || here.handshakes >= limits.handshakes_per_address_max
            || here.connections >= limits.connections_per_address_max;
        if full {
            return None;
        }
        table.all.handshakes += 1;
        table.all.connections += 1;
        let here = table.origins.entry(origin).or_default();
        here.handshakes += 1;
        here.connections += 1;
        drop(table);
        let handshake = HandshakePlace { places: self.clone(), origin };
        Some((handshake, ConnectionPlace { places: self.clone(), origin }))
    }

    fn give_back(&self, origin: Origin, change: impl Fn(&mut Counts)) {
        let mut table = self.lock();
        change(&mut table.all);
        if let Some(here) = table.origins.get_mut(&origin) {
            change(here);
            if here.connections == 0 && here.handshakes == 0 {
                table.origins.remove(&origin);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Counting cannot panic between its steps, so a poisoned table is still right.
        self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.places.give_back(self.origin, |counts| counts.connections -= 1);
    }
}

impl Drop for HandshakePlace {
    fn drop(&mut self) {
        self.places.give_back(self.origin, |counts| counts.handshakes -= 1);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::{GateLimits, Places};

    fn limits() -> GateLimits {
        GateLimits {
            handshakes_max: 4,
            handshakes_per_address_max: 2,
            connections_max: 6,
            connections_per_address_max: 3,
            ..GateLimits::default()
        }
    }

    #[test]
    fn handshakes_are_limited_by_address_and_in_all() {
        let places = Places::default();
        let take = |address: &str| places.take(address.parse().unwrap(), &limits());
        let first = take("192.0.2.1").unwrap();
        let _second = take("::ffff:192.0.2.1").unwrap();
        assert!(take("192.0.2.1").is_none(), "a mapped address is the same address");
        let _others = (take("192.0.2.2").unwrap(), take("192.0.2.3").unwrap());
        assert!(take("192.0.2.4").is_none());
        drop(first);
        assert!(take("192.0.2.4").is_some());
    }

    #[test]
    fn connections_outlive_handshakes_and_one_slash_64_counts_as_one_address() {
        let places = Places::default();
        let mut kept = Vec::new();
        for host in 1..=3 {
            let address = format!("2001:db8::{host}").parse().unwrap();
            kept.push(places.take(address, &limits()).unwrap().1);
        }
        let same_net = "2001:db8::ffff:1".parse().unwrap();
        assert!(places.take(same_net, &limits()).is_none());
        assert!(places.take("2001:db8:0:1::1".parse().unwrap(), &limits()).is_some());
        kept.pop();
        assert!(places.take(same_net, &limits()).is_some());
        drop(kept);
        assert!(places.lock().origins.is_empty(), "nothing is remembered of addresses that left");
    }
}

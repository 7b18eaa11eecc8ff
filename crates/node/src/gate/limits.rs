//! How many connections may be there: in all and from one address, on their way in and admitted.
//!
//! Asked by the listener for each accepted socket. A place is given back when its guard is dropped, wherever that
//! happens; no list of addresses outlives its connections. When all places on the way in are taken, the newcomer gets
//! that of whoever holds one the longest: silent connections cannot keep everybody else out (K06).

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::task::AbortHandle;

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
    /// Who is on the way in, by number: the oldest first.
    visits: BTreeMap<u64, Visit>,
    visits_begun: u64,
}

/// One connection on its way in.
#[derive(Debug)]
struct Visit {
    peer: SocketAddr,
    /// Ends it; absent until its task has started.
    task: Option<AbortHandle>,
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
    /// Names the visit.
    pub(crate) visit: u64,
}

/// What a newcomer is given.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) handshake: HandshakePlace,
    pub(crate) connection: ConnectionPlace,
    /// Who had to go to make room.
    pub(crate) displaced: Option<SocketAddr>,
}

impl Places {
    /// Takes both places for a socket from `peer`, or `None` when a limit is reached that others do not make room for.
    pub(crate) fn take(&self, peer: SocketAddr, limits: &GateLimits) -> Option<Taken> {
        let origin = Origin::of(peer.ip());
        let mut table = self.lock();
        let here = table.origins.get(&origin).copied().unwrap_or_default();
        let full = table.all.connections >= limits.connections_max
            || here.handshakes >= limits.handshakes_per_address_max
            || here.connections >= limits.connections_per_address_max;
        if full {
            return None;
        }
        let displaced = if table.all.handshakes >= limits.handshakes_max { Some(table.displace()?) } else { None };
        let visit = table.visits_begun;
        table.visits_begun += 1;
        table.visits.insert(visit, Visit { peer, task: None });
        table.all.handshakes += 1;
        table.all.connections += 1;
        let here = table.origins.entry(origin).or_default();
        here.handshakes += 1;
        here.connections += 1;
        drop(table);
        let handshake = HandshakePlace { places: self.clone(), origin, visit };
        let connection = ConnectionPlace { places: self.clone(), origin };
        Some(Taken { handshake, connection, displaced })
    }

    /// Sockets let in since the start, and those open now.
    pub(crate) fn sockets(&self) -> (u64, usize) {
        let table = self.lock();
        (table.visits_begun, table.all.connections)
    }

    /// The task of a visit has started; it is ended at once if the visit had to make room already.
    pub(crate) fn on_started(&self, visit: u64, task: AbortHandle) {
        match self.lock().visits.get_mut(&visit) {
            Some(visit) => visit.task = Some(task),
            None => task.abort(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Counting cannot panic between its steps, so a poisoned table is still right.
        self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Table {
    /// Ends the visit that began first and gives its place free; `None` when nobody is on the way in.
    fn displace(&mut self) -> Option<SocketAddr> {
        let (_, Visit { peer, task }) = self.visits.pop_first()?;
        self.give_back(Origin::of(peer.ip()), |counts| counts.handshakes -= 1);
        if let Some(task) = task {
            task.abort();
        }
        Some(peer)
    }

    fn give_back(&mut self, origin: Origin, change: impl Fn(&mut Counts)) {
        change(&mut self.all);
        if let Some(here) = self.origins.get_mut(&origin) {
            change(here);
            if here.connections == 0 && here.handshakes == 0 {
                self.origins.remove(&origin);
            }
        }
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.places.lock().give_back(self.origin, |counts| counts.connections -= 1);
    }
}

impl Drop for HandshakePlace {
    fn drop(&mut self) {
        let mut table = self.places.lock();
        // The place of a visit that had to make room is somebody else's already.
        if table.visits.remove(&self.visit).is_some() {
            table.give_back(self.origin, |counts| counts.handshakes -= 1);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::net::SocketAddr;

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

    fn peer(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 40_000)
    }

    #[test]
    fn handshakes_are_limited_by_address_and_in_all() {
        let places = Places::default();
        let take = |address: &str| places.take(peer(address), &limits());
        let first = take("192.0.2.1").unwrap();
        let second = take("::ffff:192.0.2.1").unwrap();
        assert!(take("192.0.2.1").is_none(), "a mapped address is the same address");
        let _others = (take("192.0.2.2").unwrap(), take("192.0.2.3").unwrap());
        let newcomer = take("192.0.2.4").unwrap();
        assert_eq!(newcomer.displaced, Some(peer("192.0.2.1")), "the oldest makes room");
        assert_eq!(places.lock().all.handshakes, 4);
        drop(first);
        assert_eq!(places.lock().all.handshakes, 4, "a place is given back once");
        drop(second);
        assert_eq!(take("192.0.2.5").unwrap().displaced, None);
    }

    #[tokio::test]
    async fn k06_who_has_to_make_room_is_ended_whether_its_task_was_known_or_not() {
        let places = Places::default();
        let limits = GateLimits { handshakes_max: 1, ..GateLimits::default() };
        let start = || tokio::spawn(std::future::pending::<()>());
        let first = places.take(peer("192.0.2.1"), &limits).unwrap();
        let early = start();
        places.on_started(first.handshake.visit, early.abort_handle());
        let second = places.take(peer("192.0.2.2"), &limits).unwrap();
        assert!(early.await.unwrap_err().is_cancelled());
        let _third = places.take(peer("192.0.2.3"), &limits).unwrap();
        let late = start();
        places.on_started(second.handshake.visit, late.abort_handle());
        assert!(late.await.unwrap_err().is_cancelled());
    }

    #[test]
    fn connections_outlive_handshakes_and_one_slash_64_counts_as_one_address() {
        let places = Places::default();
        let mut kept = Vec::new();
        for host in 1..=3 {
            kept.push(places.take(peer(&format!("2001:db8::{host}")), &limits()).unwrap().connection);
        }
        let same_net = peer("2001:db8::ffff:1");
        assert!(places.take(same_net, &limits()).is_none());
        assert!(places.take(peer("2001:db8:0:1::1"), &limits()).is_some());
        kept.pop();
        assert!(places.take(same_net, &limits()).is_some());
        drop(kept);
        assert!(places.lock().origins.is_empty(), "nothing is remembered of addresses that left");
    }
}

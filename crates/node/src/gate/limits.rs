//! How many connections may be there: in all, through one listener and from one address, on their way in and admitted.
//!
//! Asked by the listener for each accepted socket. A place is given back when its guard is dropped, wherever that
//! happens; no list of addresses outlives its connections. When all places on the way in are taken, the newcomer gets
//! that of whoever holds one the longest: silent connections cannot keep everybody else out (K06).

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::task::AbortHandle;

use crate::settings::{GateLimits, ListenerSettings};
use crate::socket::Peer;

/// An address as it is counted: one IPv4 address, or one IPv6 /64, which is what one household or host is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Origin {
    /// `None` for a unix socket, which has no address to count by.
    pub(super) fn of(peer: Peer) -> Option<Self> {
        Some(match peer.client()?.ip().to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let mut prefix = [0; 8];
                prefix.copy_from_slice(&v6.octets()[..8]);
                Self::V6(prefix)
            }
        })
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
    /// Connections of each listener, by its place in the settings.
    listeners: HashMap<usize, usize>,
    /// Who is on the way in, by number: the oldest first.
    visits: BTreeMap<u64, Visit>,
    visits_begun: u64,
}

/// One connection on its way in.
#[derive(Debug)]
struct Visit {
    peer: Peer,
    /// Whom it is counted for; nobody as long as a proxy has not said it.
    origin: Option<Origin>,
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
    origin: Option<Origin>,
    listener: usize,
}

/// A place among the connections on their way in; given back on drop.
#[derive(Debug)]
pub(crate) struct HandshakePlace {
    places: Places,
    origin: Option<Origin>,
    /// Names the visit.
    pub(crate) visit: u64,
}

/// The places a connection holds while it is on its way in.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) handshake: HandshakePlace,
    pub(crate) connection: ConnectionPlace,
}

/// What a newcomer is given.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) pass: Pass,
    /// Who had to go to make room.
    pub(crate) displaced: Option<Peer>,
}

impl Places {
    /// Takes both places for a socket from `peer`, or `None` when a limit is reached that others do not make room for.
    /// Behind a proxy the address is counted by [`Places::attribute`], once the proxy has told it.
    pub(crate) fn take(
        &self,
        peer: Peer,
        (listener, settings): (usize, &ListenerSettings),
        limits: &GateLimits,
    ) -> Option<Taken> {
        let origin = if settings.expects_proxy() { None } else { Origin::of(peer) };
        let mut table = self.lock();
        let through = table.listeners.get(&listener).copied().unwrap_or_default();
        let full = table.all.connections >= limits.connections_max
            || settings.connections_max.is_some_and(|most| through >= most)
            || origin.is_some_and(|origin| table.is_full(origin, limits));
        if full {
            return None;
        }
        let displaced = if table.all.handshakes >= limits.handshakes_max { Some(table.displace()?) } else { None };
        let visit = table.visits_begun;
        table.visits_begun += 1;
        table.visits.insert(visit, Visit { peer, origin, task: None });
        *table.listeners.entry(listener).or_default() += 1;
        table.all.handshakes += 1;
        table.all.connections += 1;
        table.count(origin);
        drop(table);
        let handshake = HandshakePlace { places: self.clone(), origin, visit };
        let connection = ConnectionPlace { places: self.clone(), origin, listener };
        Some(Taken { pass: Pass { handshake, connection }, displaced })
    }

    /// Counts a connection for the client that its proxy has told; `false` when a limit of that address is reached.
    pub(crate) fn attribute(&self, pass: &mut Pass, peer: Peer, limits: &GateLimits) -> bool {
        let Some(origin) = Origin::of(peer) else { return true };
        let mut table = self.lock();
        if table.is_full(origin, limits) {
            return false;
        }
        // One that had to make room meanwhile is as good as ended, and is counted nowhere any more.
        let Some(visit) = table.visits.get_mut(&pass.handshake.visit) else { return false };
        (visit.peer, visit.origin) = (peer, Some(origin));
        table.count(Some(origin));
        drop(table);
        (pass.handshake.origin, pass.connection.origin) = (Some(origin), Some(origin));
        true
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
    /// Whether an address has all the connections it may have.
    fn is_full(&self, origin: Origin, limits: &GateLimits) -> bool {
        self.origins.get(&origin).is_some_and(|here| {
            here.handshakes >= limits.handshakes_per_address_max
                || here.connections >= limits.connections_per_address_max
        })
    }

    /// Counts a newcomer for its address.
    fn count(&mut self, origin: Option<Origin>) {
        let Some(origin) = origin else { return };
        let here = self.origins.entry(origin).or_default();
        here.handshakes += 1;
        here.connections += 1;
    }

    /// Ends the visit that began first and gives its place free; `None` when nobody is on the way in.
    fn displace(&mut self) -> Option<Peer> {
        let (_, Visit { peer, origin, task }) = self.visits.pop_first()?;
        self.give_back(origin, |counts| counts.handshakes -= 1);
        if let Some(task) = task {
            task.abort();
        }
        Some(peer)
    }

    fn give_back(&mut self, origin: Option<Origin>, change: impl Fn(&mut Counts)) {
        change(&mut self.all);
        let Some(origin) = origin else { return };
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
        let mut table = self.places.lock();
        table.give_back(self.origin, |counts| counts.connections -= 1);
        if let Some(through) = table.listeners.get_mut(&self.listener) {
            *through -= 1;
        }
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
    use std::sync::LazyLock;

    use super::{GateLimits, ListenerSettings, Pass, Peer, Places, Taken};
    use crate::settings::{ClientCertificates, ListenAddress, ListenerRules, Transport};

    /// A listener of which nothing is said.
    static PLAIN: LazyLock<ListenerSettings> = LazyLock::new(|| ListenerSettings {
        name: String::from("test"),
        address: ListenAddress::Ip("127.0.0.1:0".parse().unwrap()),
        transport: Transport::PLAINTEXT,
        client_certificates: ClientCertificates::None,
        rules: ListenerRules::default(),
        connections_max: None,
        trusted_proxies: Vec::new(),
    });

    fn limits() -> GateLimits {
        GateLimits {
            handshakes_max: 4,
            handshakes_per_address_max: 2,
            connections_max: 6,
            connections_per_address_max: 3,
            ..GateLimits::default()
        }
    }

    fn peer(address: &str) -> Peer {
        Peer::Address(SocketAddr::new(address.parse().unwrap(), 40_000))
    }

    #[test]
    fn handshakes_are_limited_by_address_and_in_all() {
        let places = Places::default();
        let take = |address: &str| places.take(peer(address), (0, &PLAIN), &limits());
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
        let first = places.take(peer("192.0.2.1"), (0, &PLAIN), &limits).unwrap();
        let early = start();
        places.on_started(first.pass.handshake.visit, early.abort_handle());
        let second = places.take(peer("192.0.2.2"), (0, &PLAIN), &limits).unwrap();
        assert!(early.await.unwrap_err().is_cancelled());
        let _third = places.take(peer("192.0.2.3"), (0, &PLAIN), &limits).unwrap();
        let late = start();
        places.on_started(second.pass.handshake.visit, late.abort_handle());
        assert!(late.await.unwrap_err().is_cancelled());
    }

    #[test]
    fn connections_outlive_handshakes_and_one_slash_64_counts_as_one_address() {
        let places = Places::default();
        let mut kept = Vec::new();
        for host in 1..=3 {
            kept.push(places.take(peer(&format!("2001:db8::{host}")), (0, &PLAIN), &limits()).unwrap().pass.connection);
        }
        let same_net = peer("2001:db8::ffff:1");
        assert!(places.take(same_net, (0, &PLAIN), &limits()).is_none());
        assert!(places.take(peer("2001:db8:0:1::1"), (0, &PLAIN), &limits()).is_some());
        kept.pop();
        assert!(places.take(same_net, (0, &PLAIN), &limits()).is_some());
        drop(kept);
        assert!(places.lock().origins.is_empty(), "nothing is remembered of addresses that left");
    }

    #[test]
    fn a_listener_has_a_bound_of_its_own() {
        let places = Places::default();
        let few = ListenerSettings { connections_max: Some(2), ..PLAIN.clone() };
        let limits = GateLimits::default();
        let Taken { pass: Pass { handshake, connection }, .. } =
            places.take(peer("192.0.2.1"), (0, &few), &limits).unwrap();
        let _second = places.take(peer("192.0.2.2"), (0, &few), &limits).unwrap();
        drop(handshake);
        assert!(places.take(peer("192.0.2.3"), (0, &few), &limits).is_none(), "an admitted connection counts as well");
        assert!(places.take(peer("192.0.2.3"), (1, &PLAIN), &limits).is_some(), "other listeners are not touched");
        drop(connection);
        assert!(places.take(Peer::Unix, (0, &few), &limits).is_some());
    }

    #[test]
    fn a_unix_socket_has_no_address_to_count_by() {
        let places = Places::default();
        let all: Vec<_> = (0..6).map(|_| places.take(Peer::Unix, (0, &PLAIN), &limits()).unwrap()).collect();
        assert_eq!(all.iter().filter(|taken| taken.displaced.is_some()).count(), 2, "handshakes in all are bounded");
        assert!(places.take(Peer::Unix, (0, &PLAIN), &limits()).is_none(), "connections in all are bounded");
    }

    #[test]
    fn k38_behind_a_proxy_the_client_is_counted_and_not_the_proxy() {
        let places = Places::default();
        let behind = ListenerSettings { trusted_proxies: vec!["10.0.0.5".parse().unwrap()], ..PLAIN.clone() };
        let proxy = SocketAddr::new("10.0.0.5".parse().unwrap(), 1);
        let client = |address: &str| Peer::Behind { client: SocketAddr::new(address.parse().unwrap(), 1), proxy };
        let take = || places.take(Peer::Address(proxy), (0, &behind), &limits()).unwrap().pass;
        let mut passes = [take(), take(), take(), take()];
        for (number, pass) in passes.iter_mut().enumerate() {
            let address = if number < 3 { "192.0.2.1" } else { "192.0.2.2" };
            let expected = number != 2;
            assert_eq!(places.attribute(pass, client(address), &limits()), expected, "two handshakes for each address");
        }
        assert!(places.take(client("192.0.2.1"), (1, &PLAIN), &limits()).is_none(), "on every listener alike");
        drop(passes);
        assert!(places.lock().origins.is_empty() && places.lock().all.connections == 0);
    }
}

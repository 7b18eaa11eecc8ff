//! Listening sockets: bound before anything starts, accepted from under the limits.
//!
//! Called by boot. Running out of file descriptors makes it wait, not spin; a connection beyond a limit is closed
//! before a byte of it is read.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use motte_audit::RefusalReason;
use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};
use tokio::net::{TcpListener, UnixListener};

use super::limits::Taken;
use super::unix_socket::{self, SocketFile};
use super::visitor::Visitor;
use super::{Claim, Entrance, Gate};
use crate::settings::ListenAddress;
use crate::socket::{Peer, Socket};

/// Connections the operating system holds until they are accepted.
const BACKLOG: i32 = 1024;
/// Wait after the system had no resources for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// Silence after which the operating system asks a peer whether it is there, and how often it asks in vain.
const PROBE_AFTER: Duration = Duration::from_secs(120);
const PROBE_INTERVAL: Duration = Duration::from_secs(20);
const PROBES: u32 = 6;
/// Of failures in a row the first is told, and then each that completes this many: one line a minute.
const FAILURES_TOLD: u32 = 600;

/// A listening socket before a runtime has it.
#[derive(Debug)]
pub(crate) enum Bound {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A unix socket and its file, which goes with it.
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

/// A listening socket on the runtime of the gate.
#[derive(Debug)]
pub(crate) enum Door {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket.
    Unix {
        listener: UnixListener,
        /// Goes with it.
        _file: SocketFile,
    },
}

/// Binds a listening socket. An IPv6 address takes IPv6 only, so that an IPv4 address has to be asked for.
pub(crate) fn bind(address: &ListenAddress) -> io::Result<Bound> {
    let address = match address {
        ListenAddress::Ip(address) => *address,
        ListenAddress::Unix { path, mode } => {
            let (listener, file) = unix_socket::bind(path, *mode, BACKLOG)?;
            return Ok(Bound::Unix(listener, file));
        }
    };
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    prepare(&socket);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(Bound::Tcp(socket.into()))
}

impl Bound {
    /// The address with the port that was really given.
    pub(crate) fn address(&self, asked: &ListenAddress) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(ListenAddress::Ip),
            Self::Unix(..) => Ok(asked.clone()),
        }
    }

    /// Puts it on the runtime of the caller.
    pub(crate) fn open(self) -> io::Result<Door> {
        match self {
            Self::Tcp(socket) => TcpListener::from_std(socket).map(Door::Tcp),
            Self::Unix(socket, file) => {
                UnixListener::from_std(socket).map(|listener| Door::Unix { listener, _file: file })
            }
        }
    }
}

impl Door {
    async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                if !cfg!(any(target_os = "linux", target_os = "android")) {
                    prepare(&SockRef::from(&socket));
                }
                Ok((Socket::Tcp(socket), Peer::Address(peer)))
            }
            Self::Unix { listener, .. } => {
                listener.accept().await.map(|(socket, _)| (Socket::Unix(socket), Peer::Unix))
            }
        }
    }
}

/// Accepts connections for ever; each goes through the gate in a task of its own.
pub(crate) async fn accept_all(gate: Arc<Gate>, entrance: Arc<Entrance>, door: Door) {
    let mut failures: u32 = 0;
    loop {
        match door.accept().await {
            Ok((socket, peer)) => {
                failures = 0;
                open(&gate, &entrance, socket, peer);
            }
            Err(error) if is_about_one_connection(&error) => tokio::task::yield_now().await,
            Err(error) => {
                if failures.is_multiple_of(FAILURES_TOLD) {
                    tracing::error!(listener = &*entrance.name, %error, "cannot accept; trying again shortly");
                }
                failures = failures.wrapping_add(1);
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

fn open(gate: &Arc<Gate>, entrance: &Arc<Entrance>, socket: Socket, peer: Peer) {
    let snapshot = gate.snapshot.load_full();
    let (settings, limits) = (&snapshot.settings.listeners[entrance.index], &snapshot.settings.gate);
    if !settings.trusts(peer.client()) {
        let detail = String::from("the connection comes from none of the trusted_proxies");
        return gate.report(entrance, &Claim::of(peer), RefusalReason::ProxyHeader, Some(detail));
    }
    let refused = |peer| gate.report(entrance, &Claim::of(peer), RefusalReason::TooManyConnections, None);
    let Some(Taken { pass, displaced }) = gate.places.take(peer, (entrance.index, settings), limits) else {
        return refused(peer);
    };
    if let Some(oldest) = displaced {
        refused(oldest);
    }
    let visit = pass.handshake.visit;
    let (host, entrance) = (Arc::clone(gate), Arc::clone(entrance));
    let visitor = Visitor::new(socket, peer);
    // A runtime moves a task it takes in or lets go of several times, and this one is kilobytes large.
    let way = Box::pin(async move { host.welcome(&entrance, snapshot, visitor, pass).await });
    let task = tokio::spawn(way);
    gate.places.on_started(visit, task.abort_handle());
}

/// Has small packets sent at once instead of waiting for an acknowledgement, and lets the operating system find out
/// that a peer is gone which may be silent for as long as it likes. On Linux a connection has these from its listener,
/// which saves five system calls for each. Connections work all the same without: a peer that vanished is then noticed
/// by its MQTT keep alive, if it has one.
fn prepare(socket: &socket2::Socket) {
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_INTERVAL).with_retries(PROBES);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&probes);
}

/// Whether only the connection that was about to be accepted failed.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, PermissionDenied};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | PermissionDenied)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn k07_a_peer_that_vanished_is_noticed_without_a_keep_alive_of_its_own() {
        let address = ListenAddress::Ip("127.0.0.1:0".parse().unwrap());
        let bound = bind(&address).unwrap();
        let address = bound.address(&address).unwrap().ip().unwrap();
        let door = bound.open().unwrap();
        let (_client, accepted) = tokio::join!(TcpStream::connect(address), door.accept());
        let (Socket::Tcp(socket), _) = accepted.unwrap() else { panic!("a TCP listener accepts TCP") };
        let options = SockRef::from(&socket);
        assert!(options.keepalive().unwrap() && options.tcp_nodelay().unwrap());
        assert_eq!(options.tcp_keepalive_time().unwrap(), PROBE_AFTER);
        assert_eq!(options.tcp_keepalive_interval().unwrap(), PROBE_INTERVAL);
        assert_eq!(options.tcp_keepalive_retries().unwrap(), PROBES);
    }
}

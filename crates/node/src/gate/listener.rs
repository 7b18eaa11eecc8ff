//! Listening sockets: bound before anything starts, accepted from under the limits.
//!
//! Called by boot. Running out of file descriptors makes it wait, not spin; a connection beyond a limit is closed
//! before a byte of it is read.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use motte_audit::RefusalReason;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

use super::limits::Taken;
use super::{Claim, Entrance, Gate, Pass};

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

/// Binds a listening socket. An IPv6 address takes IPv6 only, so that an IPv4 address has to be asked for.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Accepts connections for ever; each goes through the gate in a task of its own.
pub(crate) async fn accept_all(gate: Arc<Gate>, entrance: Arc<Entrance>, listener: tokio::net::TcpListener) {
    let mut failures: u32 = 0;
    loop {
        match listener.accept().await {
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

fn open(gate: &Arc<Gate>, entrance: &Arc<Entrance>, socket: TcpStream, peer: SocketAddr) {
    let snapshot = gate.snapshot.load();
    let refused = |peer| gate.report(entrance, peer, &Claim::default(), RefusalReason::TooManyConnections, None);
    let Some(Taken { handshake, connection, displaced }) = gate.places.take(peer, &snapshot.settings.gate) else {
        return refused(peer);
    };
    if let Some(oldest) = displaced {
        refused(oldest);
    }
    // Without it a small packet may wait for an acknowledgement; the connection works all the same.
    let _ = socket.set_nodelay(true);
    // Without it a peer that vanished is noticed by its MQTT keep alive, if it has one.
    let _ = probe_when_silent(&socket);
    let visit = handshake.visit;
    let (host, entrance) = (Arc::clone(gate), Arc::clone(entrance));
    let pass = Pass { handshake, connection };
    let task = tokio::spawn(async move { host.welcome(&entrance, socket, peer, pass).await });
    gate.places.on_started(visit, task.abort_handle());
}

/// Lets the operating system find out that a peer is gone which may be silent for as long as it likes.
fn probe_when_silent(socket: &TcpStream) -> io::Result<()> {
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_INTERVAL).with_retries(PROBES);
    SockRef::from(socket).set_tcp_keepalive(&probes)
}

/// Whether only the connection that was about to be accepted failed.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, PermissionDenied};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | PermissionDenied)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[tokio::test]
    async fn k07_a_peer_that_vanished_is_noticed_without_a_keep_alive_of_its_own() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (socket, _) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let socket = socket.unwrap();
        assert!(!SockRef::from(&socket).keepalive().unwrap());
        probe_when_silent(&socket).unwrap();
        assert!(SockRef::from(&socket).keepalive().unwrap());
        assert_eq!(SockRef::from(&socket).tcp_keepalive_time().unwrap(), PROBE_AFTER);
    }
}

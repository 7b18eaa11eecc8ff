//! A connected socket of either kind, and where it comes from.
//!
//! Used by the gate, which has a runtime; a shard takes the socket off it. Owns no layer and no bytes.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};

/// A connection as a runtime has it.
#[derive(Debug)]
pub(crate) enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A unix stream.
    Unix(UnixStream),
}

/// A connection on its way from the gate's runtime to its shard.
#[derive(Debug)]
pub(crate) enum MovedSocket {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// A unix stream.
    Unix(std::os::unix::net::UnixStream),
}

impl Socket {
    /// Waits until there is something to read.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.readable().await,
            Self::Unix(socket) => socket.readable().await,
        }
    }

    /// Waits until there is room to write.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.writable().await,
            Self::Unix(socket) => socket.writable().await,
        }
    }

    /// Reads what is there; `WouldBlock` when nothing is.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_read(buffer),
            Self::Unix(socket) => socket.try_read(buffer),
        }
    }

    /// Tells the peer that nothing more will come.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.shutdown().await,
            Self::Unix(socket) => socket.shutdown().await,
        }
    }

    /// Takes it off its runtime.
    pub(crate) fn leave(self) -> io::Result<MovedSocket> {
        match self {
            Self::Tcp(socket) => socket.into_std().map(MovedSocket::Tcp),
            Self::Unix(socket) => socket.into_std().map(MovedSocket::Unix),
        }
    }

    /// Acknowledges what has come so far without delay.
    pub(crate) fn acknowledge_at_once(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Self::Tcp(socket) = self {
            // Without it the connection is merely slower.
            let _ = socket2::SockRef::from(socket).set_tcp_quickack(true);
        }
    }
}

/// The socket as a writer that would rather fail than wait.
impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.try_write(bytes),
            Socket::Unix(socket) => socket.try_write(bytes),
        }
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.try_write_vectored(pieces),
            Socket::Unix(socket) => socket.try_write_vectored(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// From this address.
    Address(SocketAddr),
    /// From `client`, in the words of a proxy that is trusted.
    Behind {
        /// The client of the proxy.
        client: SocketAddr,
        /// The proxy.
        proxy: SocketAddr,
    },
    /// From this machine, by a unix socket.
    Unix,
}

impl Peer {
    /// The client's address; a unix socket has none.
    pub(crate) fn client(self) -> Option<SocketAddr> {
        match self {
            Self::Address(client) | Self::Behind { client, .. } => Some(client),
            Self::Unix => None,
        }
    }

    /// The proxy between.
    pub(crate) fn proxy(self) -> Option<SocketAddr> {
        match self {
            Self::Behind { proxy, .. } => Some(proxy),
            Self::Address(_) | Self::Unix => None,
        }
    }
}

/// The client's address, or `unix`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.client() {
            Some(client) => client.fmt(f),
            None => f.write_str("unix"),
        }
    }
}

//! A connection's socket as a shard has it: read and written when the shard's poll says so, never waited for.
//!
//! Made out of what the gate hands over; used by the links. Owns no layer and no bytes.

use std::cell::Cell;
use std::io::{self, IoSlice, Read as _, Write};
use std::net::Shutdown;

use mio::event::Event;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use crate::socket::MovedSocket;

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket that is polled. It is told of each change once, so it remembers what it was told.
#[derive(Debug)]
pub(super) struct LinkSocket {
    stream: Stream,
    /// Whether there may be something to read.
    readable: Cell<bool>,
    /// Whether the peer's side is closed: there is an end to be read.
    ended: Cell<bool>,
    /// Whether there may be room to write.
    writable: Cell<bool>,
}

impl LinkSocket {
    /// Puts a socket under the poll of `registry`, to be told of by `token`.
    ///
    /// # Errors
    /// The system is out of resources.
    pub(super) fn arrive(socket: MovedSocket, registry: &Registry, token: Token) -> io::Result<Self> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let stream = match socket {
            MovedSocket::Tcp(socket) => {
                let mut stream = TcpStream::from_std(socket);
                registry.register(&mut stream, token, interest)?;
                Stream::Tcp(stream)
            }
            MovedSocket::Unix(socket) => {
                let mut stream = UnixStream::from_std(socket);
                registry.register(&mut stream, token, interest)?;
                Stream::Unix(stream)
            }
        };
        // What is ready already is told of by the next poll.
        Ok(Self { stream, readable: Cell::new(false), ended: Cell::new(false), writable: Cell::new(true) })
    }

    /// What the poll told of it.
    pub(super) fn on_event(&self, event: &Event) {
        let ended = event.is_read_closed() || event.is_error();
        if ended {
            self.ended.set(true);
        }
        if ended || event.is_readable() {
            self.readable.set(true);
        }
        if event.is_writable() || event.is_write_closed() || event.is_error() {
            self.writable.set(true);
        }
    }

    /// Whether there may be something to read.
    pub(super) fn is_readable(&self) -> bool {
        self.readable.get()
    }

    /// Whether there may be room to write.
    pub(super) fn is_writable(&self) -> bool {
        self.writable.get()
    }

    /// Reads what is there; `WouldBlock` when nothing is, or a signal came between.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let outcome = match &self.stream {
            Stream::Tcp(socket) => (&mut &*socket).read(buffer),
            Stream::Unix(socket) => (&mut &*socket).read(buffer),
        };
        match &outcome {
            // Less than was asked for is all there is; whatever comes later is told of, but an end is told of once.
            Ok(count) if *count < buffer.len() && !self.ended.get() => self.readable.set(false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable.set(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(io::ErrorKind::WouldBlock.into()),
            Ok(_) | Err(_) => {}
        }
        outcome
    }

    /// Tells the peer that nothing more will come.
    pub(super) fn shutdown(&self) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Stream::Unix(socket) => socket.shutdown(Shutdown::Write),
        }
    }

    /// Remembers that there is no more room when less than `length` bytes were taken.
    fn wrote(&self, length: usize, outcome: io::Result<usize>) -> io::Result<usize> {
        let is_full = match &outcome {
            Ok(count) => *count < length,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        if is_full {
            self.writable.set(false);
        }
        outcome
    }
}

/// The socket as a writer that would rather fail than wait.
impl Write for &LinkSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.writable.get() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let outcome = match &self.stream {
            Stream::Tcp(socket) => (&mut &*socket).write(bytes),
            Stream::Unix(socket) => (&mut &*socket).write(bytes),
        };
        self.wrote(bytes.len(), outcome)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.writable.get() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let outcome = match &self.stream {
            Stream::Tcp(socket) => (&mut &*socket).write_vectored(pieces),
            Stream::Unix(socket) => (&mut &*socket).write_vectored(pieces),
        };
        self.wrote(pieces.iter().map(|piece| piece.len()).sum(), outcome)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

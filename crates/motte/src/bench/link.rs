//! One connection of a load: a socket, TLS where it is asked for, and the bytes that wait on both sides.
//!
//! Called by `dial` and by the loads. Reads as much at once as there is and hands on whole packets; never copies a
//! packet that came whole, never blocks, and knows nothing of what the packets mean.

use std::io::{self, Read as _, Write as _};

use rustls::ClientConnection;

use super::scan;
use super::socket::Socket;
use crate::ui::Failure;

/// Most reads of one connection in a turn, so that the others have theirs.
const READS_PER_TURN: usize = 4;
/// Most plaintext that TLS takes before its records are on their way, in bytes.
const TLS_BUFFER_BYTES: usize = 256 * 1024;

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The broker closed it.
    Closed,
    /// The system, or TLS, said no.
    Io(io::Error),
    /// What came makes it pointless to go on.
    Failed(Failure),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The memory all connections read into, one after the other.
#[derive(Debug)]
pub(crate) struct Buffers {
    wire: Vec<u8>,
    plain: Vec<u8>,
}

impl Buffers {
    /// Room for packets of `packet_bytes` and for many small ones at once.
    pub(crate) fn new(packet_bytes: usize) -> Self {
        let bytes = (256 * 1024).max(packet_bytes + 64 * 1024);
        Self { wire: vec![0; 256 * 1024], plain: vec![0; bytes] }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) socket: Socket,
    pub(crate) tls: Option<Box<ClientConnection>>,
    /// What is to be sent; callers add to it and call [`Link::flush`].
    pub(crate) out: Vec<u8>,
    sent: usize,
    /// The beginning of a packet whose rest has not come yet.
    partial: Vec<u8>,
    /// Whether the socket takes bytes, as far as is known.
    pub(crate) writable: bool,
    /// Whether there may be something to read.
    pub(crate) readable: bool,
    /// Whether the broker has closed its side; what it sent before is still there to be read.
    pub(crate) is_ending: bool,
}

impl Link {
    /// A connection that is not open yet.
    pub(crate) fn new(socket: Socket, tls: Option<ClientConnection>) -> Self {
        let tls = tls.map(|mut tls| {
            tls.set_buffer_limit(Some(TLS_BUFFER_BYTES));
            Box::new(tls)
        });
        Self {
            socket,
            tls,
            out: Vec::new(),
            sent: 0,
            partial: Vec::new(),
            writable: false,
            readable: false,
            is_ending: false,
        }
    }

    /// Sends what waits, as far as the socket takes it. Plaintext waits for the end of the handshake.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.writable {
            let done = match &mut self.tls {
                None => self.sent == self.out.len(),
                Some(tls) => !tls.wants_write() && (self.sent == self.out.len() || tls.is_handshaking()),
            };
            if done {
                break;
            }
            let written = match &mut self.tls {
                None => self.socket.write(&self.out[self.sent..]).map(|count| self.sent += count),
                Some(tls) if tls.wants_write() => tls.write_tls(&mut self.socket).map(drop),
                Some(tls) => tls.writer().write(&self.out[self.sent..]).map(|count| self.sent += count),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => other?,
            }
        }
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
        Ok(())
    }

    /// Reads what has come and gives whole packets to `take`, which says how many of the bytes it used.
    pub(crate) fn read(
        &mut self,
        buffers: &mut Buffers,
        take: &mut dyn FnMut(&[u8]) -> Result<usize, Ended>,
    ) -> Result<(), Ended> {
        for _ in 0..READS_PER_TURN {
            if !self.readable {
                break;
            }
            let kept = self.partial.len();
            buffers.plain[..kept].copy_from_slice(&self.partial);
            self.partial.clear();
            let outcome = if self.tls.is_some() {
                self.read_tls(buffers, kept, take)
            } else {
                self.read_plain(buffers, kept, take)
            };
            outcome?;
        }
        Ok(())
    }

    fn read_plain(
        &mut self,
        buffers: &mut Buffers,
        kept: usize,
        take: &mut dyn FnMut(&[u8]) -> Result<usize, Ended>,
    ) -> Result<(), Ended> {
        let count = self.receive(&mut buffers.plain[kept..])?;
        let end = kept + count.unwrap_or(0);
        let used = take(&buffers.plain[..end])?;
        self.keep(&buffers.plain[used..end], buffers.plain.len())?;
        if count == Some(0) { Err(Ended::Closed) } else { Ok(()) }
    }

    fn read_tls(
        &mut self,
        buffers: &mut Buffers,
        kept: usize,
        take: &mut dyn FnMut(&[u8]) -> Result<usize, Ended>,
    ) -> Result<(), Ended> {
        let count = self.receive(&mut buffers.wire)?;
        let tls = self.tls.as_mut().expect("asked for on a connection with TLS");
        let mut cipher = &buffers.wire[..count.unwrap_or(0)];
        let (mut end, mut is_closed) = (kept, count == Some(0));
        while !cipher.is_empty() && !is_closed {
            tls.read_tls(&mut cipher)?;
            if let Err(error) = tls.process_new_packets() {
                // The alert tells the broker why; if it cannot be sent, the error is the same.
                let _ = tls.write_tls(&mut self.socket);
                return Err(Ended::Io(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
            loop {
                if end == buffers.plain.len() {
                    let used = take(&buffers.plain)?;
                    scan::check_room(used)?;
                    buffers.plain.copy_within(used.., 0);
                    end -= used;
                }
                match tls.reader().read(&mut buffers.plain[end..]) {
                    // The broker has closed TLS; what it said before is still to be heard.
                    Ok(0) => {
                        is_closed = true;
                        break;
                    }
                    Ok(count) => end += count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let used = take(&buffers.plain[..end])?;
        self.keep(&buffers.plain[used..end], buffers.plain.len())?;
        if is_closed { Err(Ended::Closed) } else { Ok(()) }
    }

    /// One read; `None` when there is nothing. A read that fills less than its room was the last for now.
    fn receive(&mut self, room: &mut [u8]) -> Result<Option<usize>, Ended> {
        loop {
            match self.socket.read(room) {
                Ok(count) => {
                    self.readable = self.is_ending || count == room.len();
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn keep(&mut self, rest: &[u8], room: usize) -> Result<(), Ended> {
        scan::check_room(room - rest.len())?;
        self.partial.extend_from_slice(rest);
        Ok(())
    }
}

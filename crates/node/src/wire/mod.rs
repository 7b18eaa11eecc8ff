//! What lies between a socket and MQTT bytes: TLS, WebSocket, WebSocket over TLS, or nothing.
//!
//! Used by the gate before admission and by the shard after it, so that a connection moves between their runtimes as
//! one plain value. Owns no socket, reads no clock and never waits: bytes go in, bytes come out.

mod websocket;

use std::io::{self, BufRead as _, Read, Write};

use rustls::ServerConnection;
use thiserror::Error;

pub(crate) use websocket::WebSocket;

/// Bytes turned into one piece of the layer below at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// Why no more bytes come out of a connection.
#[derive(Debug, Error)]
pub(crate) enum WireError {
    /// The TLS layer failed; an alert may wait to be written.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The peer broke the WebSocket protocol or a limit of it.
    #[error("WebSocket: {0}")]
    WebSocket(&'static str),
    /// The peer announced a longer WebSocket message or frame than it may send.
    #[error("WebSocket: a message longer than allowed")]
    MessageTooLong,
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What became of bytes to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// All are with the operating system.
    All,
    /// The socket takes no more at present.
    Blocked,
}

/// The layers of one connection.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    tls: Option<Box<ServerConnection>>,
    websocket: Option<Box<WebSocket>>,
    peer_finished: bool,
}

impl Wire {
    /// No layer: MQTT bytes on the socket itself.
    pub(crate) fn plaintext() -> Self {
        Self::default()
    }

    /// A TLS layer whose handshake has still to be done.
    pub(crate) fn tls(connection: ServerConnection) -> Self {
        Self { tls: Some(Box::new(connection)), websocket: None, peer_finished: false }
    }

    /// Puts a WebSocket layer on top.
    pub(crate) fn upgrade(&mut self, websocket: WebSocket) {
        self.websocket = Some(Box::new(websocket));
    }

    /// Whether there is no layer.
    pub(crate) fn is_plaintext(&self) -> bool {
        self.tls.is_none() && self.websocket.is_none()
    }

    /// The TLS layer.
    pub(crate) fn connection(&self) -> Option<&ServerConnection> {
        self.tls.as_deref()
    }

    /// The WebSocket layer.
    pub(crate) fn websocket_mut(&mut self) -> Option<&mut WebSocket> {
        self.websocket.as_deref_mut()
    }

    /// Whether the TLS handshake is still going on.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Whether the peer said that nothing more will come: a TLS close_notify or a WebSocket close frame.
    pub(crate) fn peer_finished(&self) -> bool {
        self.peer_finished
    }

    /// Whether a layer holds bytes for the socket, beside what waits in the outbox.
    pub(crate) fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
            || self.websocket.as_ref().is_some_and(|ws| !ws.outgoing().is_empty())
    }

    /// Bytes a layer answered by itself, to pings, and the socket has not taken.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.websocket.as_ref().map_or(0, |ws| ws.outgoing().len())
    }

    /// Takes bytes from the network and appends what they carry to `plain`.
    pub(crate) fn open(&mut self, network: &[u8], plain: &mut Vec<u8>) -> Result<(), WireError> {
        let Some(websocket) = self.websocket.as_deref_mut() else {
            match self.tls.as_deref_mut() {
                Some(tls) => self.peer_finished |= open_tls(tls, network, plain)?,
                None => plain.extend_from_slice(network),
            }
            return Ok(());
        };
        match self.tls.as_deref_mut() {
            Some(tls) => self.peer_finished |= open_tls(tls, network, websocket.incoming())?,
            None => websocket.incoming().extend_from_slice(network),
        }
        self.peer_finished |= websocket.unframe(plain)?;
        Ok(())
    }

    /// Wraps bytes that were already taken from the layer below before the WebSocket layer stood: what came behind the
    /// upgrade request.
    pub(crate) fn reopen(&mut self, early: &[u8], plain: &mut Vec<u8>) -> Result<(), WireError> {
        if let Some(websocket) = self.websocket.as_deref_mut() {
            websocket.incoming().extend_from_slice(early);
            self.peer_finished |= websocket.unframe(plain)?;
        }
        Ok(())
    }

    /// Writes `outbox` through the layers into `socket` as far as it takes it, and removes what was taken.
    pub(crate) fn flush(&mut self, socket: &mut impl Write, outbox: &mut Vec<u8>) -> io::Result<Flushed> {
        let mut taken = 0;
        let outcome = self.flush_from(socket, outbox, &mut taken);
        outbox.drain(..taken);
        outcome
    }

    fn flush_from(&mut self, socket: &mut impl Write, outbox: &[u8], taken: &mut usize) -> io::Result<Flushed> {
        loop {
            let rest = &outbox[*taken..];
            // What a layer has waiting, such as a session ticket, leaves in one write with what is behind it.
            if !rest.is_empty() || self.websocket.as_ref().is_some_and(|ws| !ws.outgoing().is_empty()) {
                let piece = &rest[..rest.len().min(PIECE_BYTES)];
                match self.seal(socket, piece) {
                    Ok(count) => *taken += count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flushed::Blocked),
                    Err(error) => return Err(error),
                }
            }
            if let Some(tls) = self.tls.as_deref_mut() {
                while tls.wants_write() {
                    match tls.write_tls(socket) {
                        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                        Ok(_) => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flushed::Blocked),
                        Err(error) => return Err(error),
                    }
                }
            }
            if *taken == outbox.len() && self.websocket.as_ref().is_none_or(|ws| ws.outgoing().is_empty()) {
                return Ok(Flushed::All);
            }
        }
    }

    /// Moves one piece a layer down and tells how much of it was taken.
    fn seal(&mut self, socket: &mut impl Write, piece: &[u8]) -> io::Result<usize> {
        let Some(websocket) = self.websocket.as_deref_mut() else {
            return below(self.tls.as_deref_mut(), socket, piece);
        };
        let mut framed = 0;
        if websocket.outgoing().is_empty() {
            websocket.frame(piece);
            framed = piece.len();
        }
        match below(self.tls.as_deref_mut(), socket, websocket.outgoing()) {
            Ok(count) => websocket.sent(count),
            // A piece that is framed is taken: the frame waits here as a whole, and is told of as unsent.
            Err(error) if framed > 0 && error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(framed)
    }

    /// Says goodbye in each layer; [`Wire::flush`] then writes it. Nothing may be written afterwards.
    pub(crate) fn finish(&mut self) {
        if let Some(websocket) = self.websocket.as_deref_mut() {
            websocket.close();
            // A close frame has a few bytes: with a full TLS buffer the peer is not reading and would not see it.
            if let Some(tls) = self.tls.as_deref_mut()
                && let Ok(sealed) = tls.writer().write(websocket.outgoing())
            {
                websocket.sent(sealed);
            }
        }
        if let Some(tls) = self.tls.as_deref_mut() {
            tls.send_close_notify();
        }
    }
}

/// Gives bytes to the layer below WebSocket: TLS, or else the socket.
fn below(tls: Option<&mut ServerConnection>, socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    match tls {
        Some(tls) => tls.writer().write(bytes),
        None => match socket.write(bytes)? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            count => Ok(count),
        },
    }
}

/// Bytes rustls reads at once, and keeps room for.
const TLS_READ_BYTES: usize = 4096;

/// A network with nothing to be read.
struct Silence;

impl Read for Silence {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Opens TLS records; tells whether the peer sent close_notify.
fn open_tls(tls: &mut ServerConnection, mut network: &[u8], plain: &mut Vec<u8>) -> Result<bool, WireError> {
    let has_grown = network.len() > TLS_READ_BYTES;
    while !network.is_empty() {
        if tls.read_tls(&mut network)? == 0 {
            return Ok(true);
        }
        let state = tls.process_new_packets()?;
        let mut left = state.plaintext_bytes_to_read();
        plain.reserve(left);
        while left > 0 {
            // Record by record as it lies there: one copy, and nothing is cleared before.
            let mut reader = tls.reader();
            let piece = reader.fill_buf()?;
            let count = piece.len();
            if count == 0 {
                break;
            }
            plain.extend_from_slice(piece);
            reader.consume(count);
            left = left.saturating_sub(count);
        }
        if state.peer_has_closed() {
            return Ok(true);
        }
    }
    if has_grown {
        // The room for a long record is given back before the next read, which an idle connection would never see.
        let _ = tls.read_tls(&mut Silence);
    }
    Ok(false)
}

#[cfg(test)]
mod tests;

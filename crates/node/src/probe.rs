//! A door for the fuzz targets to the pieces of the gate that read bytes of strangers and need no socket.
//!
//! Called by `fuzz/` only; the product has no use for it.

use crate::gate;
use crate::settings::WebSocketSettings;
use crate::wire::WebSocket;

/// What WebSocket frames of a client came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unframed {
    /// Payload of the whole binary messages.
    pub payload: Vec<u8>,
    /// Whether the client closed.
    pub closed: bool,
    /// Whether the frames broke the protocol or a bound.
    pub refused: bool,
    /// Bytes of answers: pongs and close frames.
    pub answered: usize,
}

/// Reads frames that arrive `piece` bytes at a time (at least 1), with the bound for messages that the gate sets.
#[must_use]
pub fn unframe(bytes: &[u8], piece: usize, message_bytes_max: usize) -> Unframed {
    let mut socket = WebSocket::new(message_bytes_max);
    let mut found = Unframed { payload: Vec::new(), closed: false, refused: false, answered: 0 };
    for part in bytes.chunks(piece.max(1)) {
        socket.incoming().extend_from_slice(part);
        match socket.unframe(&mut found.payload) {
            Ok(closed) => found.closed = closed,
            Err(_) => found.refused = true,
        }
        found.answered = socket.outgoing().len();
        if found.closed || found.refused {
            break;
        }
    }
    found
}

/// The HTTP status a request head is answered with on a secure WebSocket listener, 101 for an upgrade; `None` when the
/// head is incomplete or no HTTP.
#[must_use]
pub fn upgrade_status(head: &[u8], settings: &WebSocketSettings) -> Option<u16> {
    gate::upgrade_status(head, settings)
}

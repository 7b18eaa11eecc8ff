//! WebSocket framing (RFC 6455) as a byte stream: binary messages in, one binary frame for each piece out.
//!
//! Called by [`super::Wire`]. Buffers only what arrived, answers pings and close frames into its own buffer, and treats
//! a text frame as an error (MQTT-6.0.0-1).

use std::io::{self, Read, Write};

use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, FrameHeader};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes, error::CapacityError};

use super::WireError;

/// Size of the frame reader's own buffer; larger messages grow it as they are allowed to.
const READ_BUFFER_BYTES: usize = 2048;

/// The framing state of one connection.
pub(crate) struct WebSocket {
    context: WebSocketContext,
    pipe: Pipe,
    /// What the close frame says.
    verdict: CloseCode,
}

/// Bytes from and to the layer below.
#[derive(Default)]
struct Pipe {
    incoming: Vec<u8>,
    read: usize,
    outgoing: Vec<u8>,
}

impl WebSocket {
    /// Framing behind a finished upgrade. No message and no frame may be longer than `message_bytes_max`.
    pub(crate) fn new(message_bytes_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max))
            .accept_unmasked_frames(false);
        Self {
            context: WebSocketContext::new(Role::Server, Some(config)),
            pipe: Pipe::default(),
            verdict: CloseCode::Normal,
        }
    }

    /// Sets another bound for messages and frames.
    pub(crate) fn allow(&mut self, message_bytes_max: usize) {
        self.context.set_config(|config| {
            config.max_message_size = Some(message_bytes_max);
            config.max_frame_size = Some(message_bytes_max);
        });
    }

    /// Where bytes of the layer below are put before [`WebSocket::unframe`].
    pub(crate) fn incoming(&mut self) -> &mut Vec<u8> {
        &mut self.pipe.incoming
    }

    /// Frames that wait for the layer below.
    pub(crate) fn outgoing(&self) -> &[u8] {
        &self.pipe.outgoing
    }

    /// The layer below took `count` bytes of [`WebSocket::outgoing`].
    pub(crate) fn sent(&mut self, count: usize) {
        self.pipe.outgoing.drain(..count);
    }

    /// Appends the payload of all whole messages to `plain`; tells whether the peer closed.
    pub(crate) fn unframe(&mut self, plain: &mut Vec<u8>) -> Result<bool, WireError> {
        loop {
            match self.context.read(&mut self.pipe) {
                Ok(Message::Binary(payload)) => plain.extend_from_slice(&payload),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Ok(Message::Text(_)) => return Err(self.refuse(CloseCode::Unsupported, "a text frame")),
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(true),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(Error::Capacity(CapacityError::MessageTooLong { .. })) => {
                    self.verdict = CloseCode::Size;
                    return Err(WireError::MessageTooLong);
                }
                Err(_) => return Err(self.refuse(CloseCode::Protocol, "a frame against the protocol")),
            }
        }
    }

    /// Appends one binary frame with `payload` to what waits for the layer below.
    pub(crate) fn frame(&mut self, payload: &[u8]) {
        let header = FrameHeader { opcode: OpCode::Data(Data::Binary), ..FrameHeader::default() };
        let length = u64::try_from(payload.len()).expect("a length in memory fits 64 bits");
        header.format(length, &mut self.pipe.outgoing).expect("a vector takes every write");
        self.pipe.outgoing.extend_from_slice(payload);
    }

    /// Queues a close frame, unless one was sent.
    pub(crate) fn close(&mut self) {
        let frame = CloseFrame { code: self.verdict, reason: Utf8Bytes::from_static("") };
        // The pipe takes every write; an error only says that the closing handshake is over.
        let _ = self.context.close(&mut self.pipe, Some(frame));
    }

    /// The close frame is to say why, behind whatever MQTT still has to say.
    fn refuse(&mut self, verdict: CloseCode, what: &'static str) -> WireError {
        self.verdict = verdict;
        WireError::WebSocket(what)
    }
}

impl std::fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocket").finish_non_exhaustive()
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.incoming[self.read..];
        if rest.is_empty() {
            self.incoming = Vec::new();
            self.read = 0;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

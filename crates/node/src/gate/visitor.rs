//! A connection that nobody has vouched for: its socket, its layers and what it sent so far.
//!
//! Used by the steps of the gate. Holds no more than one CONNECT and one read; every wait is under the gate's deadline.

use std::io;

use motte_console::Response;
use motte_mqtt::{ConnAck, ConnAckProperties, Encoder, Packet, ProtocolVersion, ReasonCode};
use rustls_pki_types::CertificateDer;

use super::exchange::Exchange;
use crate::socket::{MovedSocket, Peer, Socket};
use crate::wire::{Wire, WireError};
use crate::worker::{say_goodbye, write_out};

/// Bytes read from the socket at once.
const READ_BYTES: usize = 4096;

/// An unauthenticated connection.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) socket: Socket,
    pub(super) wire: Wire,
    pub(super) peer: Peer,
    /// Bytes as they came, which no layer has opened.
    pub(super) network: Vec<u8>,
    /// Opened bytes that no step has taken.
    pub(super) plain: Vec<u8>,
    /// Maximum Packet Size of the peer's CONNECT: a longer CONNACK is not sent (MQTT-3.1.2-24).
    pub(super) answer_bytes_max: u32,
    answered_in_http: bool,
    closed: bool,
}

impl Visitor {
    pub(super) fn new(socket: Socket, peer: Peer) -> Self {
        Self {
            socket,
            wire: Wire::plaintext(),
            peer,
            network: Vec::new(),
            plain: Vec::new(),
            answer_bytes_max: u32::MAX,
            answered_in_http: false,
            closed: false,
        }
    }

    /// Waits for more bytes and opens them into `plain`; an end of the stream is an error. What the layers have to say
    /// is written before: who does not read is not read from (K14). What they answer waits for the next call or for the
    /// first bytes of the shard: a session ticket and the CONNACK leave in one packet.
    pub(super) async fn read_more(&mut self) -> Result<(), WireError> {
        if self.wire.peer_finished() {
            return Err(WireError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        if self.network.is_empty() {
            write_out(&self.socket, &mut self.wire, &mut Vec::new()).await?;
            self.read_unopened().await?;
        }
        let network = std::mem::take(&mut self.network);
        self.wire.open(&network, &mut self.plain)
    }

    /// Waits for more bytes and appends them to `network` as they are; an end of the stream is an error.
    pub(super) async fn read_unopened(&mut self) -> io::Result<()> {
        loop {
            self.socket.readable().await?;
            let mut buffer = [0; READ_BYTES];
            match self.socket.try_read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.network.extend_from_slice(&buffer[..count]);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes bytes through the layers, and whatever the layers have to say themselves.
    pub(super) async fn write(&mut self, mut bytes: Vec<u8>) -> io::Result<()> {
        write_out(&self.socket, &mut self.wire, &mut bytes).await
    }

    /// Answers a plain HTTP request and is done with it.
    pub(super) async fn answer_in_http(&mut self, bytes: Vec<u8>) {
        self.answered_in_http = true;
        self.goodbye(bytes).await;
        self.closed = true;
    }

    /// Answers an upgrade that is refused.
    pub(super) async fn answer_and_close(&mut self, response: &Response) {
        self.goodbye(response.to_bytes()).await;
        self.closed = true;
    }

    /// Whether the connection was an HTTP request that got its answer, which is no refusal.
    pub(super) fn was_answered_in_http(&self) -> bool {
        self.answered_in_http
    }

    /// The chain that the TLS handshake verified, leaf first.
    pub(super) fn certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.wire.connection()?.peer_certificates()
    }

    /// Says no: a CONNACK if there is one to give, then the end.
    pub(super) async fn refuse(&mut self, answer: Option<(ProtocolVersion, ReasonCode)>, exchange: &Exchange) {
        if self.closed {
            return;
        }
        let mut bytes = Vec::new();
        if let Some((version, reason)) = answer {
            let refusal = ConnAck { session_present: false, reason, properties: ConnAckProperties::default() };
            // MQTT 3.x has no code for some refusals and closes without one (MQTT-3.2.2-6 of 3.1.1). What cannot be
            // encoded leaves the buffer empty.
            if Encoder::new(version, self.answer_bytes_max).encode(&Packet::ConnAck(refusal), &mut bytes).is_ok() {
                exchange.on_refusal(bytes.len());
            }
        }
        self.goodbye(bytes).await;
    }

    /// Takes the socket off this runtime, with its layers.
    pub(super) fn leave(self) -> io::Result<(MovedSocket, Wire)> {
        Ok((self.socket.leave()?, self.wire))
    }

    async fn goodbye(&mut self, mut bytes: Vec<u8>) {
        say_goodbye(&mut self.socket, &mut self.wire, &mut bytes).await;
    }
}

//! The event loop of one established connection: moves bytes, keeps the connection alive, hands messages over.
//! Called by `connection` on its own thread. Never takes in more than the application reads: a full inbox or a broker
//! that does not read stops the reading.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use motte_mqtt::{Decoder, ReasonCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until, timeout};

use crate::error::ConnectionLost;
use crate::mailbox::Mailbox;
use crate::message::Message;
use crate::protocol::{Event, Protocol, Request, Violation};
use crate::session::Session;

/// Bytes read at once.
const READ_CHUNK: usize = 16 * 1024;
/// Unsent bytes above which no more packets and requests are taken in.
const UNSENT_BYTES_MAX: usize = 256 * 1024;
/// Time to hand over a last DISCONNECT to a broker that may not read any more.
const FAREWELL: Duration = Duration::from_secs(5);

/// A byte stream to the broker: TCP, TLS or WebSocket.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// An established MQTT connection.
pub(crate) struct Established {
    pub(crate) wire: Box<dyn Wire>,
    pub(crate) decoder: Decoder,
    /// Bytes that came after the CONNACK.
    pub(crate) input: BytesMut,
    pub(crate) protocol: Protocol,
    /// The broker's, when it set one; zero turns pings off.
    pub(crate) keep_alive: Duration,
    /// What the session at the end belongs to.
    pub(crate) client_id: String,
    pub(crate) response_timeout: Duration,
}

/// The two queues between the loop and the blocking side.
#[derive(Debug)]
pub(crate) struct Mailboxes {
    pub(crate) requests: Mailbox<Request>,
    pub(crate) inbox: Mailbox<Message>,
}

/// Runs the connection until it ends, and tells why, and what of its session is left. An orderly end asked for by this
/// side is [`ConnectionLost::ClosedHere`].
pub(crate) async fn run(established: Established, mailboxes: &Arc<Mailboxes>) -> (ConnectionLost, Session) {
    let (reader, writer) = tokio::io::split(established.wire);
    let now = Instant::now();
    let mut driver = Driver {
        reader,
        writer,
        decoder: established.decoder,
        input: established.input,
        protocol: established.protocol,
        mailboxes,
        keep_alive: established.keep_alive,
        response_timeout: established.response_timeout,
        heard: now,
        spoke: now,
        ping_sent: None,
        unflushed: false,
        paused: false,
    };
    let end = loop {
        if let Err(end) = driver.turn().await {
            break end;
        }
    };
    let lost = match end {
        End::Lost(lost) => lost,
        End::Asked => {
            driver.farewell(ReasonCode::Success).await.map_or_else(|lost| lost, |()| ConnectionLost::ClosedHere)
        }
        End::Violation(violation) => {
            // What the broker makes of it does not matter any more.
            let _ = driver.farewell(violation.reason).await;
            ConnectionLost::Protocol { what: violation.what.to_owned() }
        }
        End::Malformed(error) => {
            let _ = driver.farewell(error.reason()).await;
            ConnectionLost::Protocol { what: error.to_string() }
        }
        End::Silent => {
            let _ = driver.farewell(ReasonCode::KeepAliveTimeout).await;
            ConnectionLost::KeepAlive
        }
    };
    (lost, driver.protocol.into_session(established.client_id))
}

enum End {
    Asked,
    Lost(ConnectionLost),
    Malformed(motte_mqtt::DecodeError),
    Silent,
    Violation(Violation),
}

struct Driver<'a> {
    reader: ReadHalf<Box<dyn Wire>>,
    writer: WriteHalf<Box<dyn Wire>>,
    decoder: Decoder,
    input: BytesMut,
    protocol: Protocol,
    mailboxes: &'a Mailboxes,
    keep_alive: Duration,
    response_timeout: Duration,
    heard: Instant,
    spoke: Instant,
    ping_sent: Option<Instant>,
    unflushed: bool,
    /// Nothing was read in the last turn, because there was no room for it.
    paused: bool,
}

/// What one step of sending did.
enum Sent {
    Written(usize),
    Flushed,
}

/// One step of sending that may be cancelled at any await without losing or repeating a byte.
async fn send(writer: &mut WriteHalf<Box<dyn Wire>>, bytes: &[u8]) -> std::io::Result<Sent> {
    if bytes.is_empty() {
        writer.flush().await.map(|()| Sent::Flushed)
    } else {
        writer.write(bytes).await.map(Sent::Written)
    }
}

impl Driver<'_> {
    /// Handles what is there, then waits for one thing to happen.
    async fn turn(&mut self) -> Result<(), End> {
        self.take_packets()?;
        let has_room = self.mailboxes.inbox.has_room();
        let takes_requests = self.protocol.out.len() < UNSENT_BYTES_MAX;
        let reads = has_room && self.protocol.answers_unsent() < UNSENT_BYTES_MAX;
        let sends = self.unflushed || !self.protocol.out.is_empty();
        if self.paused && reads {
            // What the broker said in the meantime is still unread.
            self.heard = Instant::now();
        }
        self.paused = !reads;
        let wake = self.next_wake();
        self.input.reserve(READ_CHUNK);
        tokio::select! {
            read = self.reader.read_buf(&mut self.input), if reads => self.on_read(read),
            sent = send(&mut self.writer, &self.protocol.out), if sends => self.on_sent(sent),
            () = self.mailboxes.inbox.room(), if !has_room => Ok(()),
            request = self.mailboxes.requests.pop_wanted(|request| self.protocol.takes(request)), if takes_requests => {
                self.on_request(request)
            }
            () = self.mailboxes.requests.closed(), if !takes_requests => Err(End::Asked),
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => self.on_time(),
        }
    }

    /// Takes whole packets off the input while the application has room for them.
    fn take_packets(&mut self) -> Result<(), End> {
        while self.mailboxes.inbox.has_room() && self.protocol.answers_unsent() < UNSENT_BYTES_MAX {
            let Some((packet, length)) = self.decoder.decode(&self.input).map_err(End::Malformed)? else { break };
            let event = self.protocol.on_packet(&packet).map_err(End::Violation)?;
            self.input.advance(length);
            match event {
                Event::Nothing => {}
                Event::Pong => self.ping_sent = None,
                Event::Message(message) => {
                    let weight = message.weight();
                    self.mailboxes.inbox.push(message, weight);
                }
                Event::Ended(lost) => return Err(End::Lost(lost)),
            }
        }
        Ok(())
    }

    fn on_read(&mut self, read: std::io::Result<usize>) -> Result<(), End> {
        match read {
            Ok(0) => Err(End::Lost(ConnectionLost::ClosedByBroker)),
            Ok(_) => {
                self.heard = Instant::now();
                Ok(())
            }
            Err(error) => Err(lost(&error)),
        }
    }

    fn on_sent(&mut self, sent: std::io::Result<Sent>) -> Result<(), End> {
        match sent.map_err(|error| lost(&error))? {
            Sent::Written(0) => return Err(End::Lost(ConnectionLost::ClosedByBroker)),
            Sent::Written(count) => {
                self.protocol.on_sent(count);
                self.unflushed = true;
                self.spoke = Instant::now();
            }
            Sent::Flushed => self.unflushed = false,
        }
        Ok(())
    }

    fn on_request(&mut self, request: Option<Request>) -> Result<(), End> {
        self.protocol.on_request(request.ok_or(End::Asked)?);
        Ok(())
    }

    /// When the next ping is due, or the answer to the last one overdue. While nothing is read, an answer cannot be
    /// seen, so its absence proves nothing.
    fn next_wake(&self) -> Option<Instant> {
        if self.keep_alive.is_zero() {
            return None;
        }
        Some(match self.ping_sent {
            Some(sent) if !self.paused => sent.max(self.heard) + self.response_timeout,
            _ if self.paused => self.spoke + self.keep_alive.mul_f32(0.75),
            _ => self.heard.min(self.spoke) + self.keep_alive.mul_f32(0.75),
        })
    }

    fn on_time(&mut self) -> Result<(), End> {
        if self.ping_sent.is_some() && !self.paused {
            return Err(End::Silent);
        }
        self.protocol.ping();
        let now = Instant::now();
        self.ping_sent = Some(now);
        self.spoke = now;
        Ok(())
    }

    /// Sends what is left and a DISCONNECT, and closes. The error is why that was not possible.
    async fn farewell(&mut self, reason: ReasonCode) -> Result<(), ConnectionLost> {
        self.protocol.disconnect(reason);
        let close = async {
            self.writer.write_all(&self.protocol.out).await?;
            self.writer.flush().await?;
            self.writer.shutdown().await
        };
        match timeout(FAREWELL, close).await {
            Ok(Ok(())) => Ok(()),
            // The broker may close first: it has nothing more to read after DISCONNECT.
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotConnected => Ok(()),
            Ok(Err(error)) => Err(network(&error)),
            Err(_) => Err(ConnectionLost::KeepAlive),
        }
    }
}

fn lost(error: &std::io::Error) -> End {
    End::Lost(match error.kind() {
        // rustls reports a close without close_notify as an unexpected end; brokers close so too.
        std::io::ErrorKind::UnexpectedEof => ConnectionLost::ClosedByBroker,
        _ => network(error),
    })
}

fn network(error: &std::io::Error) -> ConnectionLost {
    ConnectionLost::Network { reason: motte_pki::printable(&error.to_string()) }
}

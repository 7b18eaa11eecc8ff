//! The task of one admitted connection: reads within a budget, lets the shard work, writes its outbox.
//!
//! Started by the worker when a connection moves in; it alone touches the socket. Waits only for its own socket and
//! outbox, so a client that does not read holds up nobody else.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use motte_audit::CloseCause;
use motte_broker::{LinkId, Millis, Shard};
use motte_mqtt::ReasonCode;
use motte_store::ShardJournal;
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep};

use super::outbox::Outlets;
use super::{READ_BUDGET_BYTES, Worker};
use crate::settings::LinkLimits;
use crate::socket::Socket;
use crate::wire::{Flushed, Wire, WireError};

/// Time for a closed link to take its last bytes.
const FAREWELL_MAX: Duration = Duration::from_secs(5);
/// Time a closed socket stays open for reading, so that the last packet is not lost to a reset.
const LINGER_MAX: Duration = Duration::from_millis(500);
/// Bytes thrown away while lingering.
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// What a link's task was woken for.
enum Wake {
    /// Its slot was stirred: bytes in the outbox, or closed.
    Stirred,
    /// That many bytes were read into the worker's buffer.
    Read(usize),
    /// The socket takes bytes again.
    Writable,
    /// It took none for too long.
    Stalled,
    /// A packet has been coming in for too long.
    Dripped,
    /// It failed or ended.
    Lost,
}

/// One connection.
pub(super) struct Link {
    worker: Rc<RefCell<Worker>>,
    id: LinkId,
    socket: Socket,
    wire: Wire,
    /// The beginning of a packet whose end has not come.
    rest: Vec<u8>,
    /// Runs while the socket takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
    /// Runs while there is a rest and the socket is read.
    drip: Option<Pin<Box<Sleep>>>,
    /// Runs while the shard wants nothing read.
    pause: Option<Pin<Box<Sleep>>>,
    limits: LinkLimits,
}

impl Link {
    pub(super) fn new(worker: Rc<RefCell<Worker>>, id: LinkId, socket: Socket, mut wire: Wire) -> Self {
        if let Some(websocket) = wire.websocket_mut() {
            websocket.allow(worker.borrow().message_bytes_max);
        }
        let limits = worker.borrow().links;
        Self { worker, id, socket, wire, rest: Vec::new(), stall: None, drip: None, pause: None, limits }
    }

    /// Lives until the connection is over. `early` came behind the CONNECT.
    pub(super) async fn run(mut self, early: Vec<u8>) {
        match self.serve(early).await {
            Ok(()) => self.farewell().await,
            Err(cause) => {
                self.tell_lost(cause);
                if cause == CloseCause::Protocol || self.wire.peer_finished() {
                    // An alert or a close frame tells the peer what it did wrong, or that its own was seen.
                    self.farewell().await;
                } else {
                    let _ = self.wire.flush(&mut &self.socket, &mut Vec::new());
                }
            }
        }
        let mut worker = self.worker.borrow_mut();
        worker.outlets.remove(self.id);
        worker.left.notify_one();
    }

    /// Tells the shard that the transport is gone, unless the shard closed the link itself.
    fn tell_lost(&self, cause: CloseCause) {
        let id = self.id;
        let mut worker = self.worker.borrow_mut();
        if worker.outlets.slot(id).is_some_and(|slot| !slot.closing) {
            worker.guarded(Some(id), |shard, now, outlets| shard.on_lost(id, cause, now, outlets));
        }
    }

    /// Turns until the shard closes the link (`Ok`) or the transport ends.
    async fn serve(&mut self, mut early: Vec<u8>) -> Result<(), CloseCause> {
        if !early.is_empty() {
            self.deliver(&mut early);
        }
        loop {
            if self.is_closing() {
                return Ok(());
            }
            if self.wire.peer_finished() {
                return Err(CloseCause::ConnectionLost);
            }
            match poll_fn(|cx| self.poll_wake(cx)).await {
                Wake::Stirred => self.flush_unless_stalled()?,
                Wake::Writable => {
                    self.stall = None;
                    self.flush_unless_stalled()?;
                }
                Wake::Read(count) => {
                    self.read(count)?;
                    if count == READ_BUDGET_BYTES {
                        tokio::task::yield_now().await;
                    }
                }
                Wake::Stalled => self.give_up(Shard::on_stalled),
                Wake::Dripped => self.give_up(Shard::on_dripped),
                Wake::Lost => return Err(CloseCause::ConnectionLost),
            }
        }
    }

    /// Lets the shard end the link, for the reason it is told of.
    fn give_up(&self, fact: impl FnOnce(&mut Shard<ShardJournal>, LinkId, Millis, &mut Outlets)) {
        let id = self.id;
        self.worker.borrow_mut().guarded(Some(id), |shard, now, outlets| fact(shard, id, now, outlets));
    }

    /// Waits for whatever comes first. A link with a full outbox is not read from: who sends without reading has to
    /// wait for itself.
    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        let mut worker = self.worker.borrow_mut();
        let worker = &mut *worker;
        let Some(slot) = worker.outlets.slot(self.id) else { return Poll::Ready(Wake::Lost) };
        if std::mem::take(&mut slot.stirred) {
            return Poll::Ready(Wake::Stirred);
        }
        if !slot.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            slot.waker = Some(cx.waker().clone());
        }
        let (feeds, paused_until) = (slot.feeds, slot.paused_until.take());
        let full = slot.outbox.len() + self.wire.unsent_bytes() > worker.outbox_bytes_max;
        if let Some(stall) = &mut self.stall {
            if self.socket.poll_write_ready(cx).is_ready() {
                return Poll::Ready(Wake::Writable);
            }
            if stall.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::Stalled);
            }
        }
        if let Some(until) = paused_until.and_then(|until| worker.clock.instant(until)) {
            self.pause = Some(Box::pin(tokio::time::sleep_until(until.into())));
        }
        if self.pause.as_mut().is_some_and(|pause| pause.as_mut().poll(cx).is_ready()) {
            self.pause = None;
        }
        let is_held = if full && self.stall.is_some() || self.pause.is_some() {
            true
        } else {
            let is_held = worker.outlets.pressure.holds_up(feeds);
            if let Some(slot) = worker.outlets.slot(self.id).filter(|_| is_held) {
                slot.held = true;
            }
            is_held
        };
        if let Some(drip) = &mut self.drip {
            if is_held {
                // A packet that is not read cannot become whole: its time begins anew.
                drip.as_mut().reset(Instant::now() + self.limits.packet_deadline);
            } else if drip.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::Dripped);
            }
        }
        if is_held {
            worker.outlets.heard(self.id);
            return Poll::Pending;
        }
        let mut buffer = ReadBuf::new(&mut worker.network);
        match self.socket.poll_read(cx, &mut buffer) {
            Poll::Pending => {
                worker.outlets.heard(self.id);
                Poll::Pending
            }
            Poll::Ready(Err(_)) => Poll::Ready(Wake::Lost),
            Poll::Ready(Ok(())) => Poll::Ready(match buffer.filled().len() {
                0 => Wake::Lost,
                count => Wake::Read(count),
            }),
        }
    }

    /// Opens what was read into the worker's buffer and lets the shard have it.
    fn read(&mut self, count: usize) -> Result<(), CloseCause> {
        let mut worker = self.worker.borrow_mut();
        let mut plain = std::mem::take(&mut worker.plain);
        let opened = self.wire.open(&worker.network[..count], &mut plain);
        drop(worker);
        self.deliver(&mut plain);
        plain.clear();
        plain.shrink_to(2 * READ_BUDGET_BYTES);
        self.worker.borrow_mut().plain = plain;
        match opened {
            Ok(()) => {}
            // Where only the frames are wrong the client can still be told in MQTT.
            Err(WireError::WebSocket(what)) => self.give_up(|shard, id, now, outlets| {
                shard.on_misframed(id, (ReasonCode::MalformedPacket, what), now, outlets);
            }),
            Err(WireError::MessageTooLong) => self.give_up(|shard, id, now, outlets| {
                let what = "a WebSocket message longer than allowed";
                shard.on_misframed(id, (ReasonCode::PacketTooLarge, what), now, outlets);
            }),
            Err(WireError::Tls(_) | WireError::Io(_)) => return Err(CloseCause::Protocol),
        }
        // Pongs, key updates and session tickets have no outbox to stir.
        if self.stall.is_none() && self.wire.has_unsent() { self.flush() } else { Ok(()) }
    }

    /// Gives the shard all whole packets and keeps the rest.
    fn deliver(&mut self, plain: &mut Vec<u8>) {
        if plain.is_empty() {
            return;
        }
        let id = self.id;
        let mut worker = self.worker.borrow_mut();
        if worker.outlets.slot(id).is_none_or(|slot| slot.closing) {
            return;
        }
        let whole = if self.rest.is_empty() {
            &mut *plain
        } else {
            self.rest.append(plain);
            &mut self.rest
        };
        let taken = worker.guarded(Some(id), |shard, now, outlets| shard.on_bytes(id, whole, now, outlets));
        let fed = worker.outlets.pressure.fed();
        if let Some(slot) = worker.outlets.slot(id).filter(|_| !fed.is_empty()) {
            slot.feeds = fed;
        }
        if self.rest.is_empty() {
            self.rest.extend_from_slice(&plain[taken..]);
        } else if taken == self.rest.len() {
            self.rest = Vec::new();
        } else {
            self.rest.drain(..taken);
        }
        // Each packet has its own time, from its first byte on.
        if self.rest.is_empty() {
            self.drip = None;
        } else if taken > 0 || self.drip.is_none() {
            self.drip = Some(Box::pin(tokio::time::sleep(self.limits.packet_deadline)));
        }
    }

    fn is_closing(&self) -> bool {
        self.worker.borrow_mut().outlets.slot(self.id).is_none_or(|slot| slot.closing)
    }

    fn flush_unless_stalled(&mut self) -> Result<(), CloseCause> {
        if self.stall.is_some() { Ok(()) } else { self.flush() }
    }

    /// Writes the outbox as far as the socket takes it.
    fn flush(&mut self) -> Result<(), CloseCause> {
        let id = self.id;
        let mut worker = self.worker.borrow_mut();
        let Some(slot) = worker.outlets.slot(id) else { return Err(CloseCause::ConnectionLost) };
        let had_bytes = !slot.outbox.is_empty();
        let flushed = self.wire.flush(&mut &self.socket, &mut slot.outbox);
        let closing = slot.closing;
        worker.outlets.reclaim(id);
        match flushed.map_err(|_| CloseCause::ConnectionLost)? {
            Flushed::Blocked => self.stall = Some(Box::pin(tokio::time::sleep(self.limits.write_timeout))),
            Flushed::All if had_bytes && !closing => {
                worker.guarded(Some(id), |shard, now, outlets| shard.on_drained(id, now, outlets));
            }
            Flushed::All => {}
        }
        Ok(())
    }

    /// Writes the last bytes, says goodbye in each layer and keeps the socket open until the peer has read it.
    async fn farewell(&mut self) {
        let mut outbox = match self.worker.borrow_mut().outlets.slot(self.id) {
            Some(slot) => std::mem::take(&mut slot.outbox),
            None => return,
        };
        say_goodbye(&mut self.socket, &mut self.wire, &mut outbox).await;
    }
}

/// Writes `outbox`, closes each layer, and lingers for a moment. Used for admitted and refused connections alike.
pub(crate) async fn say_goodbye(socket: &mut Socket, wire: &mut Wire, outbox: &mut Vec<u8>) {
    let last_bytes = async {
        write_out(socket, wire, outbox).await?;
        wire.finish();
        write_out(socket, wire, outbox).await?;
        socket.shutdown().await
    };
    if !matches!(tokio::time::timeout(FAREWELL_MAX, last_bytes).await, Ok(Ok(()))) {
        return;
    }
    let deadline = Instant::now() + LINGER_MAX;
    let mut thrown_away = 0;
    let mut buffer = [0; 1024];
    while thrown_away < LINGER_BYTES_MAX {
        if !matches!(tokio::time::timeout_at(deadline, socket.readable()).await, Ok(Ok(()))) {
            return;
        }
        match socket.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => thrown_away += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// Writes all of `outbox` and whatever the layers hold.
pub(crate) async fn write_out(socket: &Socket, wire: &mut Wire, outbox: &mut Vec<u8>) -> io::Result<()> {
    while wire.flush(&mut &*socket, outbox)? == Flushed::Blocked {
        socket.writable().await?;
    }
    Ok(())
}

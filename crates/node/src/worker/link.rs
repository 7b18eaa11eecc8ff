//! One admitted connection: reads within a budget, lets the shard work, writes its outbox.
//!
//! Moved on by [`super::links::Links`]; it alone touches the socket. Never waits, so a client that does not read holds
//! up nobody else.

use std::io;

use motte_audit::CloseCause;
use motte_broker::{LinkId, Millis, Shard};
use motte_mqtt::ReasonCode;
use motte_store::ShardJournal;

use super::goodbye::{Goodbye, after};
use super::link_socket::LinkSocket;
use super::outbox::Outlets;
use super::{READ_BUDGET_BYTES, REST_BYTES_MAX, Worker};
use crate::gate::limits::ConnectionPlace;
use crate::wire::{Flushed, Wire, WireError};

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) socket: LinkSocket,
    wire: Wire,
    /// The beginning of a packet whose end has not come.
    rest: Vec<u8>,
    /// When a socket that takes nothing has done so for too long.
    stall: Option<Millis>,
    /// When the rest has been waiting for too long; there while there is a rest and the socket is read.
    drip: Option<Millis>,
    /// Until when the shard wants nothing read.
    pause: Option<Millis>,
    /// When the links look after it at the latest; kept by them.
    pub(super) alarm: Option<Millis>,
    /// Whether it stands in line to be served; kept by the links.
    pub(super) is_queued: bool,
    /// There when it ends.
    goodbye: Option<Box<Goodbye>>,
    /// Its place among all connections, given back with it.
    _place: ConnectionPlace,
}

impl Link {
    pub(super) fn new(
        id: LinkId,
        socket: LinkSocket,
        mut wire: Wire,
        message_bytes_max: usize,
        place: ConnectionPlace,
    ) -> Self {
        if let Some(websocket) = wire.websocket_mut() {
            websocket.allow(message_bytes_max);
        }
        Self {
            id,
            socket,
            wire,
            rest: Vec::new(),
            stall: None,
            drip: None,
            pause: None,
            alarm: None,
            is_queued: false,
            goodbye: None,
            _place: place,
        }
    }

    /// When something is due for it, if nothing happens before.
    pub(super) fn due(&self) -> Option<Millis> {
        match &self.goodbye {
            Some(goodbye) => Some(goodbye.until),
            None => [self.stall, self.drip, self.pause].into_iter().flatten().min(),
        }
    }

    /// Whether it may be read and there may be something to read.
    pub(super) fn has_more(&mut self, worker: &mut Worker) -> bool {
        if self.goodbye.is_some() || self.rest.is_empty() && !self.socket.is_readable() {
            return false;
        }
        let is_held = self.is_held(worker);
        if is_held {
            // A packet that is not read cannot become whole: its time begins anew.
            self.drip = None;
        } else if !self.rest.is_empty() && self.drip.is_none() {
            self.drip = Some(after(worker.now, worker.links.packet_deadline));
        }
        !is_held && self.socket.is_readable()
    }

    /// Whether it is not read for now. A link with a full outbox is not read from: who sends without reading has to
    /// wait for itself.
    fn is_held(&self, worker: &mut Worker) -> bool {
        let Some(slot) = worker.outlets.slot(self.id) else { return true };
        let is_full = || slot.outbox.len() + self.wire.unsent_bytes() > worker.outbox_bytes_max;
        if self.pause.is_some() || self.stall.is_some() && is_full() {
            return true;
        }
        let feeds = slot.feeds;
        let is_held = worker.outlets.pressure.holds_up(feeds);
        if is_held && let Some(slot) = worker.outlets.slot(self.id) {
            slot.held = true;
        }
        is_held
    }

    /// Takes what came behind the CONNECT. Tells whether it is over.
    pub(super) fn begin(&mut self, early: &[u8], worker: &mut Worker) -> bool {
        if !early.is_empty() {
            self.deliver(early, worker);
        }
        self.settle(Ok(()), worker)
    }

    /// Moves it on: reads once, or goes on with its end. Tells whether it is over.
    pub(super) fn serve(&mut self, worker: &mut Worker) -> bool {
        if self.goodbye.is_some() {
            return self.go_on_leaving(worker);
        }
        let outcome = if self.stall.is_some() && self.socket.is_writable() {
            self.stall = None;
            self.flush(worker)
        } else {
            Ok(())
        };
        let outcome = outcome.and_then(|()| self.read_once(worker));
        self.settle(outcome, worker)
    }

    /// Writes what the shard wrote for it. Tells whether it is over.
    pub(super) fn tend(&mut self, worker: &mut Worker) -> bool {
        if self.goodbye.is_some() {
            return false;
        }
        let outcome = if self.stall.is_some() { Ok(()) } else { self.flush(worker) };
        self.settle(outcome, worker)
    }

    /// Looks what of its times is over. Tells whether it is over itself.
    pub(super) fn on_alarm(&mut self, worker: &mut Worker) -> bool {
        let now = worker.now;
        let is_due = |at: Option<Millis>| at.is_some_and(|at| at <= now);
        if let Some(goodbye) = &self.goodbye {
            return goodbye.until <= now;
        }
        self.pause = self.pause.filter(|&until| until > now);
        // A time that is over is not looked at again: that would never end.
        if is_due(self.stall) {
            self.stall = Some(after(now, worker.links.write_timeout));
            self.give_up(worker, Shard::on_stalled);
        } else if is_due(self.drip) {
            self.drip = None;
            if !self.is_held(worker) {
                self.give_up(worker, Shard::on_dripped);
            }
        }
        self.settle(Ok(()), worker)
    }

    /// Ends it when the shard closed it or its transport is gone. Tells whether it is over.
    fn settle(&mut self, outcome: Result<(), CloseCause>, worker: &mut Worker) -> bool {
        let outcome = outcome.and_then(|()| match worker.outlets.slot(self.id) {
            Some(slot) if slot.closing => Ok(true),
            _ if self.wire.peer_finished() => Err(CloseCause::ConnectionLost),
            _ => Ok(false),
        });
        match outcome {
            Ok(false) => false,
            Ok(true) => self.leave(worker),
            Err(cause) => {
                self.tell_lost(cause, worker);
                if cause == CloseCause::Protocol || self.wire.peer_finished() {
                    // An alert or a close frame tells the peer what it did wrong, or that its own was seen.
                    return self.leave(worker);
                }
                let _ = self.wire.flush(&mut &self.socket, &mut Vec::new());
                true
            }
        }
    }

    /// Tells the shard that the transport is gone, unless the shard closed the link itself.
    pub(super) fn tell_lost(&self, cause: CloseCause, worker: &mut Worker) {
        let id = self.id;
        if worker.outlets.slot(id).is_some_and(|slot| !slot.closing) {
            worker.guarded(Some(id), |shard, now, outlets| shard.on_lost(id, cause, now, outlets));
        }
    }

    fn leave(&mut self, worker: &mut Worker) -> bool {
        let outbox = worker.outlets.slot(self.id).map(|slot| std::mem::take(&mut slot.outbox)).unwrap_or_default();
        self.rest = Vec::new();
        self.goodbye = Some(Box::new(Goodbye::new(outbox, worker.now)));
        self.go_on_leaving(worker)
    }

    fn go_on_leaving(&mut self, worker: &mut Worker) -> bool {
        let Some(goodbye) = &mut self.goodbye else { return false };
        goodbye.go_on(&self.socket, &mut self.wire, worker.now, &mut worker.network)
    }

    /// Lets the shard end the link, for the reason it is told of.
    fn give_up(&self, worker: &mut Worker, fact: impl FnOnce(&mut Shard<ShardJournal>, LinkId, Millis, &mut Outlets)) {
        let id = self.id;
        worker.guarded(Some(id), |shard, now, outlets| fact(shard, id, now, outlets));
    }

    /// Reads once, if it may be read, and lets the shard have what came.
    fn read_once(&mut self, worker: &mut Worker) -> Result<(), CloseCause> {
        if !self.has_more(worker) {
            return Ok(());
        }
        let is_short = self.rest.len() <= REST_BYTES_MAX;
        let is_direct = is_short && self.wire.is_plaintext();
        let start = if is_direct { self.rest.len() } else { 0 };
        let count = match self.socket.read(&mut worker.network[start..start + READ_BUDGET_BYTES]) {
            Ok(0) => return Err(CloseCause::ConnectionLost),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return Err(CloseCause::ConnectionLost),
        };
        worker.bytes_read += count;
        if !is_direct {
            return self.read_layers(count, is_short, worker);
        }
        let mut network = std::mem::take(&mut worker.network);
        network[..start].copy_from_slice(&self.rest);
        self.deliver(&network[..start + count], worker);
        worker.network = network;
        Ok(())
    }

    /// Opens the `count` bytes in the worker's buffer behind the rest, and lets the shard have what they carry.
    fn read_layers(&mut self, count: usize, is_short: bool, worker: &mut Worker) -> Result<(), CloseCause> {
        // A long rest grows where it is, so that no packet is copied with each of its pieces.
        let mut plain = std::mem::take(if is_short { &mut worker.plain } else { &mut self.rest });
        plain.extend_from_slice(&self.rest);
        let before = plain.len();
        let opened = self.wire.open(&worker.network[..count], &mut plain);
        if is_short {
            if plain.len() > before {
                self.deliver(&plain, worker);
            }
            plain.clear();
            plain.shrink_to(2 * READ_BUDGET_BYTES);
            worker.plain = plain;
        } else {
            self.deliver_long(plain, worker);
        }
        match opened {
            Ok(()) => {}
            // Where only the frames are wrong the client can still be told in MQTT.
            Err(WireError::WebSocket(what)) => self.give_up(worker, |shard, id, now, outlets| {
                shard.on_misframed(id, (ReasonCode::MalformedPacket, what), now, outlets);
            }),
            Err(WireError::MessageTooLong) => self.give_up(worker, |shard, id, now, outlets| {
                let what = "a WebSocket message longer than allowed";
                shard.on_misframed(id, (ReasonCode::PacketTooLarge, what), now, outlets);
            }),
            Err(WireError::Tls(_) | WireError::Io(_)) => return Err(CloseCause::Protocol),
        }
        // Pongs, key updates and session tickets have no outbox to stir.
        if self.stall.is_none() && self.wire.has_unsent() { self.flush(worker) } else { Ok(()) }
    }

    /// Gives the shard all whole packets in `bytes`, which begin with the rest, and keeps what is left.
    fn deliver(&mut self, bytes: &[u8], worker: &mut Worker) {
        let Some(taken) = self.hand_over(bytes, worker) else { return };
        let left = &bytes[taken..];
        if left.is_empty() {
            // An idle connection keeps no buffer.
            self.rest = Vec::new();
        } else {
            self.rest.clear();
            self.rest.extend_from_slice(left);
        }
        self.time_rest(taken, worker);
    }

    /// The same with a long rest, which is kept where it is.
    fn deliver_long(&mut self, mut bytes: Vec<u8>, worker: &mut Worker) {
        let Some(taken) = self.hand_over(&bytes, worker) else { return };
        if taken > 0 {
            bytes = bytes[taken..].to_vec();
        }
        self.rest = bytes;
        self.time_rest(taken, worker);
    }

    /// Gives the shard bytes and tells how many it took; `None` when it takes none any more.
    fn hand_over(&self, bytes: &[u8], worker: &mut Worker) -> Option<usize> {
        let id = self.id;
        worker.outlets.slot(id).filter(|slot| !slot.closing)?;
        let taken = worker.guarded(Some(id), |shard, now, outlets| shard.on_bytes(id, bytes, now, outlets));
        let fed = worker.outlets.pressure.fed();
        if !fed.is_empty()
            && let Some(slot) = worker.outlets.slot(id)
        {
            slot.feeds = fed;
        }
        Some(taken)
    }

    /// Each packet has its own time, from its first byte on.
    fn time_rest(&mut self, taken: usize, worker: &mut Worker) {
        if self.rest.is_empty() {
            self.drip = None;
        } else if taken > 0 || self.drip.is_none() {
            self.drip = Some(after(worker.now, worker.links.packet_deadline));
        }
        if let Some(until) = worker.outlets.slot(self.id).and_then(|slot| slot.paused_until.take()) {
            self.pause = Some(until).filter(|&until| until > worker.now);
        }
    }

    /// Writes the outbox as far as the socket takes it.
    fn flush(&mut self, worker: &mut Worker) -> Result<(), CloseCause> {
        let id = self.id;
        let Some(slot) = worker.outlets.slot(id) else { return Err(CloseCause::ConnectionLost) };
        let had_bytes = !slot.outbox.is_empty();
        if !had_bytes && !self.wire.has_unsent() {
            worker.outlets.reclaim(id);
            return Ok(());
        }
        let flushed = self.wire.flush(&mut &self.socket, &mut slot.outbox);
        let closing = slot.closing;
        worker.outlets.reclaim(id);
        match flushed.map_err(|_| CloseCause::ConnectionLost)? {
            Flushed::Blocked => self.stall = Some(after(worker.now, worker.links.write_timeout)),
            Flushed::All if had_bytes && !closing => {
                worker.guarded(Some(id), |shard, now, outlets| shard.on_drained(id, now, outlets));
            }
            Flushed::All => {}
        }
        Ok(())
    }
}

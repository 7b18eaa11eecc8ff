//! All connections of a load on one thread: which of them can be read or written.
//!
//! Called by `dial` and by the loads, a turn at a time. Never reads or writes by itself.

use std::io;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

use super::link::{Buffers, Link};

/// Most events of one turn.
const EVENTS_PER_TURN: usize = 1024;

/// The place of a connection; places are used again.
pub(crate) type Slot = usize;

/// The connections and what is known of them.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) poll: Poll,
    events: Events,
    pub(crate) links: Vec<Option<Link>>,
    free: Vec<Slot>,
    /// Connections that something can be done for.
    ready: Vec<Slot>,
    is_ready: Vec<bool>,
    pub(crate) buffers: Buffers,
}

impl Net {
    /// No connections yet; packets have at most `packet_bytes`.
    pub(crate) fn new(packet_bytes: usize) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_PER_TURN),
            links: Vec::new(),
            free: Vec::new(),
            ready: Vec::new(),
            is_ready: Vec::new(),
            buffers: Buffers::new(packet_bytes),
        })
    }

    /// Takes a connection in.
    pub(crate) fn add(&mut self, mut link: Link) -> io::Result<Slot> {
        let slot = self.free.pop().unwrap_or(self.links.len());
        self.poll.registry().register(&mut link.socket, Token(slot), Interest::READABLE | Interest::WRITABLE)?;
        if slot == self.links.len() {
            self.links.push(None);
            self.is_ready.push(false);
        }
        self.links[slot] = Some(link);
        Ok(slot)
    }

    /// Lets a connection go, and gives it to the caller.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Link> {
        let mut link = self.links.get_mut(slot)?.take()?;
        // A socket that is dropped leaves the list by itself, too.
        let _ = self.poll.registry().deregister(&mut link.socket);
        self.free.push(slot);
        Some(link)
    }

    /// Has this connection looked at in the next turn, which then waits for nothing.
    pub(crate) fn wake(&mut self, slot: Slot) {
        if !self.is_ready[slot] {
            self.is_ready[slot] = true;
            self.ready.push(slot);
        }
    }

    /// Waits until something can be done, at most so long, and puts the connections concerned into `ready`.
    pub(crate) fn turn(&mut self, timeout: Option<Duration>, ready: &mut Vec<Slot>) -> io::Result<()> {
        let timeout = if self.ready.is_empty() { timeout } else { Some(Duration::ZERO) };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &self.events {
            let slot = event.token().0;
            let Some(Some(link)) = self.links.get_mut(slot) else { continue };
            link.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
            link.is_ending |= event.is_read_closed() || event.is_error();
            link.writable |= event.is_writable();
            if !self.is_ready[slot] {
                self.is_ready[slot] = true;
                self.ready.push(slot);
            }
        }
        ready.clear();
        std::mem::swap(ready, &mut self.ready);
        for slot in ready.iter() {
            self.is_ready[*slot] = false;
        }
        Ok(())
    }
}

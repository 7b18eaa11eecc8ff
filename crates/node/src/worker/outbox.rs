//! The outlets of a shard: outboxes of its links, letters for other shards, events.
//!
//! The shard writes into them during a turn; at the end of the turn the link tasks with something to write are woken,
//! each once, and the letters are posted, one parcel for each shard. Writes no socket itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;

use motte_audit::{Event, EventKind};
use motte_broker::{Effects, Letter, LinkId, ShardId};
use slab::Slab;

use super::mailbox::{Mailbox, Proof};
use crate::log::{Entry, Reporter};

/// What a shard thread keeps of one connection, beside its task.
#[derive(Debug)]
pub(crate) struct Slot {
    link: LinkId,
    /// Bytes for the client.
    pub(crate) outbox: Vec<u8>,
    /// The link's task, when it sleeps.
    pub(crate) waker: Option<Waker>,
    /// Whether something happened that the link's task has not seen.
    pub(crate) stirred: bool,
    /// Whether the shard has closed the link.
    pub(crate) closing: bool,
    /// How the identity was proved.
    pub(crate) proof: Proof,
}

/// The outlets.
#[derive(Debug)]
pub(crate) struct Outlets {
    slots: Slab<Slot>,
    generation: u32,
    stirred: Vec<LinkId>,
    /// Empty buffers that the next outboxes with something in them are made of.
    spare: Vec<Vec<u8>>,
    letters: Vec<Vec<Letter>>,
    mailboxes: Arc<[Mailbox]>,
    reporter: Reporter,
    /// Address of the client that the present turn is about.
    pub(crate) peer: Option<SocketAddr>,
    /// Bytes of a client that the present turn is made of.
    pub(crate) turn_bytes: usize,
    /// Whether another shard has fallen behind with what this one wrote: clients here are not read until it caught up.
    congested: bool,
}

/// Bytes of clients that may wait at another shard before their senders are not read any more.
const PARCEL_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Empty buffers kept, and the greatest capacity of one that is kept.
const SPARE_MAX: usize = 64;
const SPARE_CAPACITY_BYTES_MAX: usize = 64 * 1024;

impl Outlets {
    /// Outlets of a shard among those with `mailboxes`.
    pub(crate) fn new(mailboxes: Arc<[Mailbox]>, reporter: Reporter) -> Self {
        let letters = mailboxes.iter().map(|_| Vec::new()).collect();
        Self {
            slots: Slab::new(),
            generation: 0,
            stirred: Vec::new(),
            spare: Vec::new(),
            letters,
            mailboxes,
            reporter,
            peer: None,
            turn_bytes: 0,
            congested: false,
        }
    }

    /// Makes room for a link and names it: a number that was never used before, whose lower half finds the slot.
    pub(crate) fn open(&mut self, proof: Proof) -> LinkId {
        self.generation = self.generation.wrapping_add(1);
        let entry = self.slots.vacant_entry();
        let index = u64::try_from(entry.key()).expect("an index in memory fits 64 bits");
        let link = LinkId(u64::from(self.generation) << 32 | index);
        let outbox = Vec::new();
        entry.insert(Slot { link, outbox, waker: None, stirred: false, closing: false, proof });
        link
    }

    /// The slot of a link that has not been removed.
    pub(crate) fn slot(&mut self, link: LinkId) -> Option<&mut Slot> {
        let index = usize::try_from(link.0 & u64::from(u32::MAX)).ok()?;
        self.slots.get_mut(index).filter(|slot| slot.link == link)
    }

    /// Forgets a link whose task is over.
    pub(crate) fn remove(&mut self, link: LinkId) {
        if let Some(slot) = self.slot(link) {
            slot.stirred = true;
            let index = usize::try_from(link.0 & u64::from(u32::MAX)).expect("the slot was just found by it");
            self.slots.remove(index);
        }
    }

    /// Takes back the buffer of an outbox that has been written, so that an idle connection holds none.
    pub(crate) fn reclaim(&mut self, link: LinkId) {
        let Some(slot) = self.slot(link).filter(|slot| slot.outbox.is_empty()) else { return };
        let buffer = std::mem::take(&mut slot.outbox);
        if (1..=SPARE_CAPACITY_BYTES_MAX).contains(&buffer.capacity()) && self.spare.len() < SPARE_MAX {
            self.spare.push(buffer);
        }
    }

    /// Links whose slots pass `test`, in the order of their slots.
    pub(crate) fn links(&self, test: impl Fn(&Slot) -> bool) -> Vec<LinkId> {
        self.slots.iter().filter(|(_, slot)| test(slot)).map(|(_, slot)| slot.link).collect()
    }

    /// Connections on this thread, the closing ones included.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Wakes the tasks of all links that were written to or closed, and posts the letters.
    pub(crate) fn end_turn(&mut self) {
        self.peer = None;
        let mut stirred = std::mem::take(&mut self.stirred);
        for link in stirred.drain(..) {
            if let Some(waker) = self.slot(link).and_then(|slot| slot.waker.take()) {
                waker.wake();
            }
        }
        self.stirred = stirred;
        let bytes = std::mem::take(&mut self.turn_bytes);
        for (letters, mailbox) in self.letters.iter_mut().zip(self.mailboxes.iter()) {
            if !letters.is_empty() {
                self.congested |= mailbox.post_letters(std::mem::take(letters), bytes) > PARCEL_BYTES_MAX;
            }
        }
    }

    /// Whether clients may be read.
    pub(crate) fn is_congested(&self) -> bool {
        self.congested
    }

    /// Looks whether the other shards caught up; tells whether clients may be read again that could not be before.
    pub(crate) fn relieve(&mut self) -> bool {
        let was_congested = self.congested;
        self.congested &= self.mailboxes.iter().any(|mailbox| mailbox.parcel_bytes() > PARCEL_BYTES_MAX / 2);
        was_congested && !self.congested
    }

    /// Closes a link that the shard can no longer speak for.
    pub(crate) fn abandon(&mut self, link: LinkId) {
        self.close(link);
        self.end_turn();
    }

    fn stir(&mut self, link: LinkId) -> Option<&mut Slot> {
        let slot = self.slot(link).filter(|slot| !slot.closing)?;
        if !slot.stirred {
            slot.stirred = true;
            self.stirred.push(link);
        }
        self.slot(link)
    }
}

impl Effects for Outlets {
    fn outbox(&mut self, link: LinkId) -> Option<&mut Vec<u8>> {
        if self.stir(link)?.outbox.capacity() == 0
            && let Some(buffer) = self.spare.pop()
        {
            self.slot(link)?.outbox = buffer;
        }
        self.slot(link).map(|slot| &mut slot.outbox)
    }

    fn close(&mut self, link: LinkId) {
        if let Some(slot) = self.stir(link) {
            slot.closing = true;
        }
    }

    fn event(&mut self, event: Event) {
        let about_peer = matches!(event.kind, EventKind::Admitted { .. } | EventKind::Refused { .. });
        let peer = self.peer.filter(|_| about_peer);
        self.reporter.report(Entry::of(event, peer));
    }

    fn post(&mut self, to: ShardId, letter: Letter) {
        // A letter to a shard that is not there has no reader; the broker addresses only shards it was told of.
        if let Some(letters) = self.letters.get_mut(usize::from(to.0)) {
            letters.push(letter);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::Arc;

    use motte_broker::Effects as _;

    use super::{Outlets, PARCEL_BYTES_MAX};
    use crate::log::Reporter;
    use crate::worker::mailbox::{Mailbox, Proof};

    fn outlets() -> Outlets {
        let (reporter, _scribe) = Reporter::start().unwrap();
        Outlets::new(Arc::from([Mailbox::default(), Mailbox::default()]), reporter)
    }

    #[test]
    fn a_link_id_is_never_used_again_and_an_old_one_finds_nothing() {
        let mut outlets = outlets();
        let first = outlets.open(Proof::Nothing { listener: 0 });
        outlets.remove(first);
        let second = outlets.open(Proof::Nothing { listener: 0 });
        assert_ne!(first, second);
        assert!(outlets.outbox(first).is_none() && outlets.outbox(second).is_some());
        assert_eq!(outlets.links(|_| true), [second]);
    }

    #[test]
    fn a_closed_link_takes_no_more_bytes_and_keeps_those_it_has() {
        let mut outlets = outlets();
        let link = outlets.open(Proof::Nothing { listener: 0 });
        outlets.outbox(link).unwrap().extend_from_slice(b"last");
        outlets.close(link);
        assert!(outlets.outbox(link).is_none());
        let slot = outlets.slot(link).unwrap();
        assert!(slot.closing && slot.stirred && slot.outbox == b"last");
    }

    #[test]
    fn clients_wait_while_another_shard_is_behind() {
        let mut outlets = outlets();
        let mailboxes = Arc::clone(&outlets.mailboxes);
        assert!(mailboxes[1].post_letters(Vec::new(), PARCEL_BYTES_MAX + 1) > PARCEL_BYTES_MAX);
        outlets.congested = true;
        assert!(!outlets.relieve() && outlets.is_congested());
        let emptied = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(mailboxes[1].collect());
        assert_eq!((emptied.len(), mailboxes[1].parcel_bytes()), (1, 0));
        assert!(outlets.relieve() && !outlets.is_congested());
    }
}

//! The outlets of a shard: outboxes of its links, letters for other shards, events.
//!
//! The shard writes into them during a turn; at the end of the turn the link tasks with something to write are woken, each
//! once, and the letters are posted, one parcel for each shard. Writes no socket itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;

use motte_audit::{Event, EventKind};
use motte_broker::{Effects, Letter, LinkId, ShardId};
use slab::Slab;

use super::mailbox::{Mail, Mailbox, Proof};
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
    letters: Vec<Vec<Letter>>,
    mailboxes: Arc<[Mailbox]>,
    reporter: Reporter,
    /// Address of the client that the present turn is about.
    pub(crate) peer: Option<SocketAddr>,
}

impl Outlets {
    /// Outlets of a shard among those with `mailboxes`.
    pub(crate) fn new(mailboxes: Arc<[Mailbox]>, reporter: Reporter) -> Self {
        let letters = mailboxes.iter().map(|_| Vec::new()).collect();
        Self { slots: Slab::new(), generation: 0, stirred: Vec::new(), letters, mailboxes, reporter, peer: None }
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
        for (letters, mailbox) in self.letters.iter_mut().zip(self.mailboxes.iter()) {
            if !letters.is_empty() {
                mailbox.post(Mail::Letters(std::mem::take(letters)));
            }
        }
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
        self.stir(link).map(|slot| &mut slot.outbox)
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

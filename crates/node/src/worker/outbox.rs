//! The outlets of a shard: outboxes of its links, letters for other shards, events.
//!
//! The shard writes into them during a turn; at the end of the turn the link tasks with something to write are woken,
//! each once, and the letters are posted, one parcel for each shard. Writes no socket itself.

use std::sync::Arc;
use std::task::Waker;

use motte_audit::{Event, EventKind};
use motte_broker::{Effects, Letter, LinkId, Millis, ShardId};
use slab::Slab;

use super::mailbox::{Mailbox, Parcel, Proof};
use super::pressure::{Feeds, Pressure};
use crate::log::{Entry, Reporter};
use crate::socket::Peer;

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
    /// Whether somebody waits until the link's task has read all that came in.
    pub(crate) hearing: bool,
    /// Until when the shard wants nothing read; taken by the link's task.
    pub(crate) paused_until: Option<Millis>,
    /// How the identity was proved.
    pub(crate) proof: Proof,
    /// What its client last made work for.
    pub(crate) feeds: Feeds,
    /// Whether it is not read because that is behind.
    pub(crate) held: bool,
}

/// The outlets.
#[derive(Debug)]
pub(crate) struct Outlets {
    slots: Slab<Slot>,
    generation: u32,
    stirred: Vec<LinkId>,
    /// Empty buffers that the next outboxes with something in them are made of.
    spare: Vec<Vec<u8>>,
    /// What the present turn writes to each shard.
    parcels: Vec<Parcel>,
    mailboxes: Arc<[Mailbox]>,
    reporter: Reporter,
    /// Address of the client that the present turn is about.
    pub(crate) peer: Option<Peer>,
    /// Which shards are behind.
    pub(crate) pressure: Pressure,
}

/// Empty buffers kept, and the greatest capacity of one that is kept.
const SPARE_MAX: usize = 64;
const SPARE_CAPACITY_BYTES_MAX: usize = 64 * 1024;

impl Outlets {
    /// Outlets of a shard among those with `mailboxes`, for each of which so many bytes of letters may wait.
    pub(crate) fn new(mailboxes: Arc<[Mailbox]>, letter_bytes_max: usize, reporter: Reporter) -> Self {
        let parcels = mailboxes.iter().map(|_| Parcel::default()).collect();
        Self {
            slots: Slab::new(),
            generation: 0,
            stirred: Vec::new(),
            spare: Vec::new(),
            parcels,
            mailboxes,
            reporter,
            peer: None,
            pressure: Pressure::new(letter_bytes_max),
        }
    }

    /// Makes room for a link and names it: a number that was never used before, whose lower half finds the slot.
    pub(crate) fn open(&mut self, proof: Proof) -> LinkId {
        self.generation = self.generation.wrapping_add(1);
        let entry = self.slots.vacant_entry();
        let index = u64::try_from(entry.key()).expect("an index in memory fits 64 bits");
        let link = LinkId(u64::from(self.generation) << 32 | index);
        entry.insert(Slot {
            link,
            outbox: Vec::new(),
            waker: None,
            stirred: false,
            closing: false,
            hearing: false,
            paused_until: None,
            proof,
            feeds: Feeds::default(),
            held: false,
        });
        link
    }

    /// The slot of a link that has not been removed.
    pub(crate) fn slot(&mut self, link: LinkId) -> Option<&mut Slot> {
        let index = usize::try_from(link.0 & u64::from(u32::MAX)).ok()?;
        self.slots.get_mut(index).filter(|slot| slot.link == link)
    }

    /// Asks the task of a link to read what came in.
    pub(crate) fn hear(&mut self, link: LinkId) {
        if let Some(slot) = self.slot(link) {
            slot.hearing = true;
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }

    /// Whether the task of a link that was asked to has more to read.
    pub(crate) fn hears(&mut self, link: LinkId) -> bool {
        self.slot(link).is_some_and(|slot| slot.hearing && !slot.closing)
    }

    /// Nothing more is to be read from a link for now.
    pub(crate) fn heard(&mut self, link: LinkId) {
        if let Some(slot) = self.slot(link) {
            slot.hearing = false;
        }
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

    /// Wakes the tasks of all links that were written to or closed, and posts the letters. `journal` are the bytes that
    /// wait for the disk, if the turn wrote some of them.
    pub(crate) fn end_turn(&mut self, journal: Option<usize>) {
        self.peer = None;
        let mut stirred = std::mem::take(&mut self.stirred);
        for link in stirred.drain(..) {
            if let Some(waker) = self.slot(link).and_then(|slot| slot.waker.take()) {
                waker.wake();
            }
        }
        self.stirred = stirred;
        self.pressure.on_turn();
        if let Some(waiting) = journal {
            self.pressure.on_journal(waiting);
        }
        for (shard, (parcel, mailbox)) in self.parcels.iter_mut().zip(self.mailboxes.iter()).enumerate() {
            if !parcel.letters.is_empty() {
                self.pressure.on_posted(shard, mailbox.post_parcel(std::mem::take(parcel)));
            }
        }
    }

    /// Looks whether the other shards and the journal, where so many bytes wait for the disk, caught up, and lets
    /// clients be read again that had to wait.
    pub(crate) fn relieve(&mut self, journal: usize) {
        let mailboxes = &self.mailboxes;
        if self.pressure.relieve(journal, mailboxes.len(), |shard| mailboxes[shard].parcel_bytes()) {
            for (_, slot) in self.slots.iter_mut().filter(|(_, slot)| slot.held) {
                slot.held = false;
                slot.waker.take().into_iter().for_each(Waker::wake);
            }
        }
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

    fn pause(&mut self, link: LinkId, until: Millis) {
        // The client's own task is the one that works now, so it sees this before it reads again.
        if let Some(slot) = self.slot(link) {
            slot.paused_until = Some(until);
        }
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
        if let Some(parcel) = self.parcels.get_mut(usize::from(to.0)) {
            parcel.bytes += letter.weight_bytes();
            parcel.letters.push(letter);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::Arc;

    use motte_broker::Effects as _;

    use super::Outlets;
    use crate::log::Reporter;
    use crate::worker::mailbox::{Mailbox, Parcel, Proof};

    const BYTES_MAX: usize = 1_000;

    fn outlets() -> Outlets {
        let (reporter, _scribe) = Reporter::start().unwrap();
        Outlets::new(Arc::from([Mailbox::default(), Mailbox::default()]), BYTES_MAX, reporter)
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
    fn clients_wait_until_the_letters_of_a_shard_were_read() {
        let mut outlets = outlets();
        let mailboxes = Arc::clone(&outlets.mailboxes);
        outlets.pressure.on_posted(1, mailboxes[1].post_parcel(Parcel { letters: Vec::new(), bytes: BYTES_MAX + 1 }));
        let link = outlets.open(Proof::Nothing { listener: 0 });
        outlets.slot(link).unwrap().held = true;
        outlets.relieve(0);
        assert!(outlets.slot(link).unwrap().held && outlets.pressure.is_on());
        let emptied = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(mailboxes[1].collect());
        assert_eq!((emptied.len(), mailboxes[1].parcel_bytes()), (1, BYTES_MAX + 1));
        outlets.relieve(0);
        assert!(outlets.slot(link).unwrap().held, "taken out of the box is not read");
        mailboxes[1].on_read(BYTES_MAX + 1);
        outlets.relieve(0);
        assert!(!outlets.slot(link).unwrap().held && !outlets.pressure.is_on());
    }
}

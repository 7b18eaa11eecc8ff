//! The outlets of a shard: outboxes of its links, letters for other shards, events.
//!
//! The shard writes into them during a turn. Which links have something to write is remembered, each once, and letters
//! are gathered into one parcel for each shard, until the worker has them written and posted. Writes no socket itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use motte_audit::{Event, EventKind};
use motte_broker::{ControlRequest, Effects, Letter, LinkId, Millis, ShardId};
use motte_mqtt::ReasonCode;
use slab::Slab;

use super::mailbox::{Mailbox, Parcel, Proof};
use super::pressure::{Feeds, Pressure};
use crate::log::{Entry, Reporter};
use crate::porter::Porter;
use crate::socket::Peer;

/// What the outlets keep of one connection.
#[derive(Debug)]
pub(crate) struct Slot {
    link: LinkId,
    /// Bytes for the client.
    pub(crate) outbox: Vec<u8>,
    /// Whether something happened that the link has not seen.
    pub(crate) stirred: bool,
    /// Whether the shard has closed the link.
    pub(crate) closing: bool,
    /// Until when the shard wants nothing read; taken by the link.
    pub(crate) paused_until: Option<Millis>,
    /// How the identity was proved.
    pub(crate) proof: Arc<Proof>,
    /// The time of day at which that ends.
    until: Option<Duration>,
    /// What its client last made work for.
    pub(crate) feeds: Feeds,
    /// Whether it is not read because that is behind.
    pub(crate) held: bool,
}

/// The outlets.
#[derive(Debug)]
pub(crate) struct Outlets {
    slots: Slab<Slot>,
    /// The times of day at which the proofs of links end.
    lifetimes: BTreeSet<(Duration, LinkId)>,
    generation: u32,
    stirred: Vec<LinkId>,
    /// What the next outboxes with something in them are made of.
    spare: Spare,
    /// What was written for each shard and is not posted.
    parcels: Vec<Parcel>,
    /// What all of that weighs.
    letter_bytes: usize,
    mailboxes: Arc<[Mailbox]>,
    reporter: Reporter,
    /// Address of the client that the present turn is about.
    pub(crate) peer: Option<Peer>,
    /// Which shards are behind.
    pub(crate) pressure: Pressure,
    /// Who takes what clients ask of the broker.
    pub(crate) porter: Option<Porter>,
}

/// Bytes that all empty buffers which are kept may hold, and the greatest capacity of one that is kept.
const SPARE_BYTES_MAX: usize = 4 * 1024 * 1024;
const SPARE_CAPACITY_BYTES_MAX: usize = 64 * 1024;

/// Bytes of letters that are gathered before they are posted.
const PARCEL_BYTES_MAX: usize = 64 * 1024;

/// The place of a link: the lower half of its number.
pub(crate) fn index_of(link: LinkId) -> usize {
    usize::try_from(link.0 & u64::from(u32::MAX)).expect("an index in memory")
}

/// Empty buffers.
#[derive(Debug, Default)]
struct Spare {
    buffers: Vec<Vec<u8>>,
    /// Their capacities together.
    bytes: usize,
}

impl Spare {
    fn take(&mut self) -> Vec<u8> {
        let buffer = self.buffers.pop().unwrap_or_default();
        self.bytes -= buffer.capacity();
        buffer
    }

    /// Keeps an empty buffer, if it is neither great nor one too many.
    fn keep(&mut self, buffer: Vec<u8>) {
        let bytes = self.bytes + buffer.capacity();
        if (1..=SPARE_CAPACITY_BYTES_MAX).contains(&buffer.capacity()) && bytes <= SPARE_BYTES_MAX {
            self.bytes = bytes;
            self.buffers.push(buffer);
        }
    }
}

impl Outlets {
    /// Outlets of a shard among those with `mailboxes`, for each of which so many bytes of letters may wait.
    pub(crate) fn new(mailboxes: Arc<[Mailbox]>, letter_bytes_max: usize, reporter: Reporter) -> Self {
        let parcels = mailboxes.iter().map(|_| Parcel::default()).collect();
        Self {
            slots: Slab::new(),
            lifetimes: BTreeSet::new(),
            generation: 0,
            stirred: Vec::new(),
            spare: Spare::default(),
            parcels,
            letter_bytes: 0,
            mailboxes,
            reporter,
            peer: None,
            pressure: Pressure::new(letter_bytes_max),
            porter: None,
        }
    }

    /// Makes room for a link and names it: a number that was never used before, whose lower half finds the slot.
    pub(crate) fn open(&mut self, proof: Arc<Proof>, until: Option<Duration>) -> LinkId {
        self.generation = self.generation.wrapping_add(1);
        let entry = self.slots.vacant_entry();
        let index = u64::try_from(entry.key()).expect("an index in memory fits 64 bits");
        let link = LinkId(u64::from(self.generation) << 32 | index);
        entry.insert(Slot {
            link,
            outbox: Vec::new(),
            stirred: false,
            closing: false,
            paused_until: None,
            proof,
            until,
            feeds: Feeds::default(),
            held: false,
        });
        self.lifetimes.extend(until.map(|until| (until, link)));
        link
    }

    /// The slot of a link that has not been removed.
    pub(crate) fn slot(&mut self, link: LinkId) -> Option<&mut Slot> {
        self.slots.get_mut(index_of(link)).filter(|slot| slot.link == link)
    }

    /// Forgets a link that is over.
    pub(crate) fn remove(&mut self, link: LinkId) {
        if self.slot(link).is_some()
            && let Some(until) = self.slots.remove(index_of(link)).until
        {
            self.lifetimes.remove(&(until, link));
        }
    }

    /// The time of day at which the next proof ends.
    pub(crate) fn next_end(&self) -> Option<Duration> {
        self.lifetimes.first().map(|(until, _)| *until)
    }

    /// Takes out the links whose proofs have ended by that time of day.
    pub(crate) fn take_ended(&mut self, now: Duration) -> Vec<LinkId> {
        let later = self.lifetimes.split_off(&(now + Duration::from_nanos(1), LinkId(0)));
        let ended = std::mem::replace(&mut self.lifetimes, later);
        ended.into_iter().map(|(_, link)| link).collect()
    }

    /// Everybody who is connected, with what proved who they are.
    pub(crate) fn roll(&self) -> Vec<(LinkId, Arc<Proof>)> {
        self.slots
            .iter()
            .filter(|(_, slot)| !slot.closing)
            .map(|(_, slot)| (slot.link, Arc::clone(&slot.proof)))
            .collect()
    }

    /// Takes back the buffer of an outbox that has been written, so that an idle connection holds none.
    pub(crate) fn reclaim(&mut self, link: LinkId) {
        let Some(slot) = self.slot(link).filter(|slot| slot.outbox.is_empty()) else { return };
        let buffer = std::mem::take(&mut slot.outbox);
        self.spare.keep(buffer);
    }

    /// Links whose slots pass `test`, in the order of their slots.
    pub(crate) fn links(&self, test: impl Fn(&Slot) -> bool) -> Vec<LinkId> {
        self.slots.iter().filter(|(_, slot)| test(slot)).map(|(_, slot)| slot.link).collect()
    }

    /// Connections on this thread, the closing ones included.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// A turn begins.
    pub(crate) fn begin_turn(&mut self) {
        self.pressure.on_turn();
    }

    /// A turn is over. `journal` are the bytes that wait for the disk, if the turn wrote some of them.
    pub(crate) fn end_turn(&mut self, journal: Option<usize>) {
        self.peer = None;
        if let Some(waiting) = journal {
            self.pressure.on_journal(waiting);
        }
        if self.letter_bytes > PARCEL_BYTES_MAX {
            self.post_letters();
        }
    }

    /// Posts the letters, one parcel for each shard.
    pub(crate) fn post_letters(&mut self) {
        if std::mem::take(&mut self.letter_bytes) == 0 {
            return;
        }
        for (shard, (parcel, mailbox)) in self.parcels.iter_mut().zip(self.mailboxes.iter()).enumerate() {
            if !parcel.letters.is_empty() {
                self.pressure.on_posted(shard, mailbox.post_parcel(std::mem::take(parcel)));
            }
        }
    }

    /// Whether a link was written to or closed since they were last taken.
    pub(crate) fn has_stirred(&self) -> bool {
        !self.stirred.is_empty()
    }

    /// Moves the links that were written to or closed into `links`, which is empty.
    pub(crate) fn take_stirred(&mut self, links: &mut Vec<LinkId>) {
        std::mem::swap(&mut self.stirred, links);
    }

    /// A link that was stirred is looked at; tells whether there is something to be done: bytes to write, or its end.
    pub(crate) fn settle(&mut self, link: LinkId) -> bool {
        let Some(slot) = self.slot(link) else { return false };
        slot.stirred = false;
        let has_to_act = slot.closing || !slot.outbox.is_empty();
        if !has_to_act {
            // The shard only looked how full it is.
            self.reclaim(link);
        }
        has_to_act
    }

    /// Looks whether the other shards and the journal, where so many bytes wait for the disk, caught up; names the
    /// links that may be read again and had to wait.
    pub(crate) fn relieve(&mut self, journal: usize) -> Vec<LinkId> {
        let mailboxes = &self.mailboxes;
        if !self.pressure.relieve(journal, mailboxes.len(), |shard| mailboxes[shard].parcel_bytes()) {
            return Vec::new();
        }
        self.slots.iter_mut().filter_map(|(_, slot)| std::mem::take(&mut slot.held).then_some(slot.link)).collect()
    }

    /// The slot of a link that is not closed, remembered as one that something happened to.
    fn stir(&mut self, link: LinkId) -> Option<(&mut Slot, &mut Spare)> {
        let slot = self.slots.get_mut(index_of(link)).filter(|slot| slot.link == link && !slot.closing)?;
        if !std::mem::replace(&mut slot.stirred, true) {
            self.stirred.push(link);
        }
        Some((slot, &mut self.spare))
    }
}

impl Effects for Outlets {
    fn outbox(&mut self, link: LinkId) -> Option<&mut Vec<u8>> {
        let (slot, spare) = self.stir(link)?;
        if slot.outbox.capacity() == 0 {
            slot.outbox = spare.take();
        }
        Some(&mut slot.outbox)
    }

    fn pause(&mut self, link: LinkId, until: Millis) {
        // It is the client's own link that is read now, so it sees this before it is read again.
        if let Some(slot) = self.slot(link) {
            slot.paused_until = Some(until);
        }
    }

    fn close(&mut self, link: LinkId) {
        if let Some((slot, _)) = self.stir(link) {
            slot.closing = true;
        }
    }

    fn control(&mut self, link: LinkId, request: ControlRequest) -> Result<(), ReasonCode> {
        self.porter.as_ref().ok_or(ReasonCode::NotAuthorized)?.take(link, request)
    }

    fn event(&mut self, event: Event) {
        let about_peer = matches!(event.kind, EventKind::Admitted { .. } | EventKind::Refused { .. });
        let peer = self.peer.filter(|_| about_peer);
        self.reporter.report(Entry::of(event, peer));
    }

    fn post(&mut self, to: ShardId, letter: Letter) {
        // A letter to a shard that is not there has no reader; the broker addresses only shards it was told of.
        if let Some(parcel) = self.parcels.get_mut(usize::from(to.0)) {
            let bytes = letter.weight_bytes();
            parcel.bytes += bytes;
            parcel.letters.push(letter);
            self.letter_bytes += bytes;
            self.pressure.on_letter(usize::from(to.0));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::VecDeque;
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
        let first = outlets.open(Arc::new(Proof::Nothing { listener: 0 }), None);
        outlets.remove(first);
        let second = outlets.open(Arc::new(Proof::Nothing { listener: 0 }), None);
        assert_ne!(first, second);
        assert!(outlets.outbox(first).is_none() && outlets.outbox(second).is_some());
        assert_eq!(outlets.links(|_| true), [second]);
    }

    #[test]
    fn a_closed_link_takes_no_more_bytes_and_keeps_those_it_has() {
        let mut outlets = outlets();
        let link = outlets.open(Arc::new(Proof::Nothing { listener: 0 }), None);
        outlets.outbox(link).unwrap().extend_from_slice(b"last");
        outlets.close(link);
        assert!(outlets.outbox(link).is_none());
        let slot = outlets.slot(link).unwrap();
        assert!(slot.closing && slot.stirred && slot.outbox == b"last");
    }

    #[test]
    fn a_link_that_was_only_looked_at_has_nothing_to_write() {
        let mut outlets = outlets();
        let links = [(); 2].map(|()| outlets.open(Arc::new(Proof::Nothing { listener: 0 }), None));
        for link in links {
            assert!(outlets.outbox(link).unwrap().is_empty());
        }
        outlets.outbox(links[1]).unwrap().push(0);
        let mut stirred = Vec::new();
        outlets.take_stirred(&mut stirred);
        assert_eq!(stirred, links, "each is named once");
        assert_eq!(links.map(|link| outlets.settle(link)), [false, true]);
        assert!(!outlets.has_stirred());
    }

    #[test]
    fn clients_wait_until_the_letters_of_a_shard_were_read() {
        let mut outlets = outlets();
        let mailboxes = Arc::clone(&outlets.mailboxes);
        outlets.pressure.on_posted(1, mailboxes[1].post_parcel(Parcel { letters: Vec::new(), bytes: BYTES_MAX + 1 }));
        let link = outlets.open(Arc::new(Proof::Nothing { listener: 0 }), None);
        outlets.slot(link).unwrap().held = true;
        assert!(outlets.relieve(0).is_empty() && outlets.pressure.is_on());
        let mut mail = VecDeque::new();
        assert!(!mailboxes[1].may_sleep() && !mailboxes[1].collect(&mut mail) && mailboxes[1].may_sleep());
        assert_eq!((mail.len(), mailboxes[1].parcel_bytes()), (1, BYTES_MAX + 1));
        assert!(outlets.relieve(0).is_empty(), "taken out of the box is not read");
        mailboxes[1].on_read(BYTES_MAX + 1);
        assert_eq!(outlets.relieve(0), [link]);
        assert!(!outlets.slot(link).unwrap().held && !outlets.pressure.is_on());
    }
}

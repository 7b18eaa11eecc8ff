//! A subscriber of a load: what came, what came twice, and how far it is with each publisher.
//!
//! Called by `flow` with what was read. Never keeps a message.

use super::link::Ended;
use super::measure::Latencies;
use super::net::Slot;
use super::publisher::{Publisher, next_of_exchange};
use super::scan::{self, Frame};
use super::template::Mark;

/// What all together have sent and got.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Messages sent.
    pub(crate) sent: u64,
    /// Messages acknowledged, at QoS 1 and 2.
    pub(crate) acknowledged: u64,
    /// Answers to pings.
    pub(crate) pongs: usize,
    /// Messages of this run, each counted once for each subscriber.
    pub(crate) delivered: u64,
    /// Messages that came again, or after later ones.
    pub(crate) duplicated: u64,
    /// Messages of somebody else.
    pub(crate) foreign: u64,
    /// From due to delivered, or to acknowledged where nobody subscribes.
    pub(crate) latencies: Latencies,
    /// Whether latencies are taken at this time.
    pub(crate) is_measuring: bool,
    /// Which messages' latencies are taken: those whose sequence has none of these bits.
    pub(crate) sample_mask: u64,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new(sample_mask: u64) -> Self {
        let latencies = Latencies::new();
        Self {
            sent: 0,
            acknowledged: 0,
            pongs: 0,
            delivered: 0,
            duplicated: 0,
            foreign: 0,
            latencies,
            is_measuring: false,
            sample_mask,
        }
    }
}

impl Tally {
    /// A number that grows with all that comes from the broker.
    pub(crate) fn progress(&self) -> u64 {
        self.delivered + self.duplicated + self.foreign + self.acknowledged + self.pongs as u64
    }
}

/// What of a publisher a subscriber has seen.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    next: u64,
    /// The multiple of the publisher's step that is told next.
    multiple: u64,
    /// The sequence at which it is.
    told_at: u64,
}

/// A subscriber.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) slot: Slot,
    seen: Vec<Seen>,
    /// Publisher `i` is at `i / stride` of `seen`.
    stride: usize,
}

/// What a batch is judged by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub(crate) is_v5: bool,
    /// `None` where any message counts.
    pub(crate) run: Option<u16>,
    pub(crate) now_ns: u64,
}

impl Subscriber {
    /// A subscriber to the topics of every publisher (`stride` 1), or of one in `stride`.
    pub(crate) fn new(slot: Slot, publishers: &[Publisher], stride: usize) -> Self {
        let step = publishers.first().and_then(Publisher::step).unwrap_or(u64::MAX);
        let fresh = Seen { next: 0, multiple: 1, told_at: step };
        Self { slot, seen: vec![fresh; publishers.len().div_ceil(stride)], stride }
    }

    /// A PUBLISH came: counts it and answers it into `replies`. Gives the publisher that may send more now.
    #[inline]
    pub(crate) fn on_publish(
        &mut self,
        frame: &Frame<'_>,
        batch: Batch,
        publishers: &mut [Publisher],
        tally: &mut Tally,
        replies: &mut Vec<u8>,
    ) -> Result<Option<usize>, Ended> {
        let publish = scan::published(frame, batch.is_v5)?;
        match publish.qos {
            0 => {}
            1 => next_of_exchange(scan::PUBACK, u16::from_be_bytes(publish.id), replies),
            _ => next_of_exchange(scan::PUBREC, u16::from_be_bytes(publish.id), replies),
        }
        let Some(run) = batch.run else {
            tally.delivered += 1;
            return Ok(None);
        };
        let Some(mark) = Mark::of(publish.payload).filter(|mark| mark.run == run) else {
            tally.foreign += 1;
            return Ok(None);
        };
        let owner = usize::from(mark.publisher);
        let (Some(seen), Some(publisher)) = (self.seen.get_mut(owner / self.stride), publishers.get_mut(owner)) else {
            tally.foreign += 1;
            return Ok(None);
        };
        if mark.sequence < seen.next {
            tally.duplicated += 1;
            return Ok(None);
        }
        seen.next = mark.sequence + 1;
        tally.delivered += 1;
        if tally.is_measuring && mark.sequence & tally.sample_mask == 0 {
            tally.latencies.record(batch.now_ns.saturating_sub(mark.due_ns));
        }
        if seen.next < seen.told_at {
            return Ok(None);
        }
        Ok(seen.tell(publisher).then_some(owner))
    }
}

impl Seen {
    /// Tells the publisher of each multiple of its step that was reached. Whether it may send more now.
    fn tell(&mut self, publisher: &mut Publisher) -> bool {
        let Some(step) = publisher.step() else { return false };
        let mut is_open = false;
        while self.next >= self.told_at {
            is_open |= publisher.on_reached(self.multiple);
            self.multiple += 1;
            self.told_at += step;
        }
        is_open
    }
}

//! A publisher of a load: what it may send now, and what came of it.
//!
//! Called by `flow` for every turn. Never has more on its way than its window and the broker allow.

use super::link::Link;
use super::measure::whole;
use super::net::Slot;
use super::scan;
use super::template::{Mark, Template};

/// Most bytes encoded before the socket is asked to take them.
const CHUNK_BYTES: usize = 64 * 1024;

/// Identifiers of QoS 1 and 2 that are on their way, and since when.
#[derive(Debug)]
struct InFlight {
    /// For each identifier when its message was due, in nanoseconds of the run and never 0; 0 is free.
    since_ns: Vec<u64>,
    used: usize,
    next: usize,
}

impl InFlight {
    fn free(&self) -> u64 {
        (self.since_ns.len() - self.used) as u64
    }

    /// The next free identifier; there is one.
    fn take(&mut self, due_ns: u64) -> u16 {
        while self.since_ns[self.next] != 0 {
            self.next = (self.next + 1) % self.since_ns.len();
        }
        let at = self.next;
        self.since_ns[at] = due_ns.max(1);
        self.used += 1;
        self.next = (at + 1) % self.since_ns.len();
        u16::try_from(at + 1).expect("there are at most 65,535")
    }

    /// Gives an identifier back: since when it was used.
    fn give(&mut self, id: u16) -> Option<u64> {
        let place = self.since_ns.get_mut(usize::from(id).checked_sub(1)?)?;
        let since = std::mem::take(place);
        (since != 0).then(|| {
            self.used -= 1;
            since
        })
    }
}

/// When the messages of an open loop are due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Nanoseconds between two messages of all publishers together.
    pub(crate) interval_ns: f64,
    /// The number of publishers.
    pub(crate) publishers: u64,
}

/// A publisher.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) slot: Slot,
    number: u16,
    run: u16,
    template: Template,
    in_flight: Option<InFlight>,
    pace: Option<Pace>,
    /// How many messages are due so far, in an open loop.
    pub(crate) due: u64,
    /// Messages sent; the sequence of the next.
    pub(crate) sent: u64,
    /// Messages it is to send in all.
    pub(crate) end: u64,
    window: Option<Window>,
}

/// What of a publisher's messages all its subscribers have.
#[derive(Debug)]
struct Window {
    size: u64,
    step: u64,
    fanout: usize,
    cleared: u64,
    /// The next multiple of `step` that all are to reach.
    next: u64,
    /// How many have reached it and the three after it; nobody can be further ahead.
    reached: [usize; 4],
}

impl Publisher {
    /// A publisher that has sent nothing; `in_flight_max` is what QoS 1 and 2 may have on their way.
    pub(crate) fn new(slot: Slot, (run, number): (u16, u16), template: Template, in_flight_max: Option<usize>) -> Self {
        let in_flight = in_flight_max.map(|max| InFlight { since_ns: vec![0; max.max(1)], used: 0, next: 0 });
        Self { slot, number, run, template, in_flight, pace: None, due: 0, sent: 0, end: u64::MAX, window: None }
    }

    /// Sends at a pace, whatever becomes of it.
    pub(crate) fn paced(mut self, pace: Pace) -> Self {
        self.pace = Some(pace);
        self
    }

    /// Lets at most `size` messages be between it and its subscribers.
    pub(crate) fn windowed(mut self, size: u64, fanout: usize) -> Self {
        let step = (size / 2).max(1);
        self.window = Some(Window { size, step, fanout, cleared: 0, next: 1, reached: [0; 4] });
        self
    }

    /// How many messages may be sent now.
    pub(crate) fn allowance(&self) -> u64 {
        let to_end = self.end.saturating_sub(self.sent);
        let by_pace = if self.pace.is_some() { self.due.saturating_sub(self.sent) } else { u64::MAX };
        let by_window =
            self.window.as_ref().map_or(u64::MAX, |window| (window.cleared + window.size).saturating_sub(self.sent));
        let by_broker = self.in_flight.as_ref().map_or(u64::MAX, InFlight::free);
        to_end.min(by_pace).min(by_window).min(by_broker)
    }

    /// Encodes what may be sent, a chunk at most; gives how many messages.
    pub(crate) fn fill(&mut self, link: &mut Link, now_ns: u64) -> u64 {
        if !link.out.is_empty() || !link.writable {
            return 0;
        }
        let chunk = (CHUNK_BYTES / self.template.len()).max(1) as u64;
        let count = self.allowance().min(chunk);
        for _ in 0..count {
            let due_ns = self.pace.map_or(now_ns, |pace| pace.due_ns(self.sent, self.number));
            let id = self.in_flight.as_mut().map_or(0, |in_flight| in_flight.take(due_ns));
            let mark = Mark { run: self.run, publisher: self.number, sequence: self.sent, due_ns };
            self.template.put(&mut link.out, id, mark);
            self.sent += 1;
        }
        count
    }

    /// A message is acknowledged for good; when it was due. `None` when the broker acknowledges what was not sent.
    pub(crate) fn on_acknowledged(&mut self, id: u16) -> Option<u64> {
        self.in_flight.as_mut()?.give(id)
    }

    /// How far apart the marks are that subscribers report; `None` when nobody asks.
    pub(crate) fn step(&self) -> Option<u64> {
        self.window.as_ref().map(|window| window.step)
    }

    /// A subscriber has all up to this multiple of the step. Says whether more may be sent now.
    pub(crate) fn on_reached(&mut self, multiple: u64) -> bool {
        let Some(window) = &mut self.window else { return false };
        let Some(ahead) = multiple.checked_sub(window.next).filter(|ahead| *ahead < 4) else { return false };
        window.reached[((window.next + ahead) % 4) as usize] += 1;
        let mut is_open = false;
        while window.reached[(window.next % 4) as usize] >= window.fanout {
            window.reached[(window.next % 4) as usize] = 0;
            window.cleared = window.cleared.max(window.next * window.step);
            window.next += 1;
            is_open = true;
        }
        is_open
    }

    /// What has not come by now never will: the window opens again.
    pub(crate) fn forget_missing(&mut self) {
        if let Some(window) = &mut self.window {
            window.cleared = self.sent;
            window.next = self.sent / window.step + 1;
            window.reached = [0; 4];
        }
    }

    /// Whether the broker owes nothing more to this publisher.
    pub(crate) fn is_settled(&self) -> bool {
        self.in_flight.as_ref().is_none_or(|in_flight| in_flight.used == 0)
    }
}

impl Pace {
    fn due_ns(self, sequence: u64, publisher: u16) -> u64 {
        whole((sequence * self.publishers + u64::from(publisher)) as f64 * self.interval_ns)
    }
}

/// The answer to PUBREC and to PUBREL: the next packet of the exchange, without reason, which all versions understand.
pub(crate) fn next_of_exchange(kind: u8, id: u16, out: &mut Vec<u8>) {
    let flags = if kind == scan::PUBREL { 0b0010 } else { 0 };
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[kind << 4 | flags, 2, high, low]);
}

#[cfg(test)]
mod tests {
    use motte_mqtt::{ProtocolVersion, Qos};

    use super::{Pace, Publisher};
    use crate::bench::template::Template;

    fn publisher(qos: Qos, in_flight: Option<usize>) -> Publisher {
        let template = Template::new(ProtocolVersion::V5, "t", qos, 16).expect("it can be encoded");
        Publisher::new(0, (0, 0), template, in_flight)
    }

    #[test]
    fn a_window_opens_by_halves_when_all_have_them() {
        let mut one = publisher(Qos::AtMostOnce, None).windowed(10, 2);
        assert_eq!((one.allowance(), one.step()), (10, Some(5)));
        one.sent = 10;
        assert!(!one.on_reached(1) && !one.on_reached(2));
        assert_eq!(one.allowance(), 0);
        assert!(one.on_reached(1));
        assert_eq!(one.allowance(), 5);
        assert!(one.on_reached(2));
        assert_eq!(one.allowance(), 10);
    }

    #[test]
    fn a_window_of_three_never_stops_for_good() {
        let mut one = publisher(Qos::AtMostOnce, None).windowed(3, 1);
        let mut got = 0;
        while one.sent < 100 {
            assert_ne!(one.allowance(), 0, "after {got}");
            one.sent += one.allowance();
            while got < one.sent {
                got += 1;
                one.on_reached(got);
            }
        }
    }

    #[test]
    fn what_is_missing_can_be_given_up() {
        let mut one = publisher(Qos::AtMostOnce, None).windowed(8, 1);
        one.sent = 7;
        one.forget_missing();
        assert_eq!(one.allowance(), 8);
        one.sent = 15;
        assert!(one.on_reached(2));
        assert!(one.on_reached(3));
        assert_eq!(one.allowance(), 5);
    }

    #[test]
    fn identifiers_are_used_once_at_a_time() {
        let mut one = publisher(Qos::AtLeastOnce, Some(3));
        let in_flight = one.in_flight.as_mut().expect("it has QoS 1");
        assert_eq!([in_flight.take(5), in_flight.take(6), in_flight.take(0)], [1, 2, 3]);
        assert_eq!(one.allowance(), 0);
        assert_eq!(one.on_acknowledged(2), Some(6));
        assert_eq!(one.on_acknowledged(2), None);
        assert_eq!(one.on_acknowledged(0), None);
        assert_eq!(one.on_acknowledged(9), None);
        assert_eq!(one.in_flight.as_mut().map(|in_flight| in_flight.take(7)), Some(2));
    }

    #[test]
    fn messages_of_a_pace_are_due_in_turn() {
        let pace = Pace { interval_ns: 1000.0, publishers: 2 };
        assert_eq!([pace.due_ns(0, 0), pace.due_ns(0, 1), pace.due_ns(1, 0)], [0, 1000, 2000]);
        let mut one = publisher(Qos::AtMostOnce, None).paced(pace);
        assert_eq!(one.allowance(), 0);
        one.due = 4;
        assert_eq!(one.allowance(), 4);
    }
}

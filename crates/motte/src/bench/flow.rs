//! Publishers and subscribers on one thread: sends what may be sent, counts what comes, and says what it cost.
//!
//! Called by `motte bench flow`, `publish` and `subscribe`. Never leaves the loop to wait for one connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use motte_client::Qos;

use super::clock::Schedule;
use super::crew::Crew;
use super::dial::system;
use super::link::Ended;
use super::measure::{BrokerProcess, Latencies, Usage, own_cpu_s};
use super::net::Slot;
use super::peer;
use super::publisher::next_of_exchange;
use super::scan;
use super::subscriber::Batch;
use crate::ui::Failure;

/// How long nothing has to come before what is missing at QoS 0 counts as lost.
const SILENCE_QOS0: Duration = Duration::from_secs(2);
/// The same where the broker owes it.
const SILENCE: Duration = Duration::from_secs(10);
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// How much is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    /// For so long, after a time that does not count.
    Time { warm_up: Duration, measured: Duration },
    /// So many messages of all publishers together.
    Count(u64),
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) publishers: usize,
    pub(crate) subscribers: usize,
    /// Whether publishers have topics of their own.
    pub(crate) own_topics: bool,
    pub(crate) qos: Qos,
    /// Bytes of a payload.
    pub(crate) size: usize,
    /// Most messages of a publisher between it and its subscribers, in a closed loop.
    pub(crate) window: u64,
    /// Messages of all publishers in a second, in an open loop.
    pub(crate) rate: Option<f64>,
    pub(crate) length: Length,
    /// Topics begin with it.
    pub(crate) topic: String,
    pub(crate) broker: Option<BrokerProcess>,
    /// Whether to look for work without ever sleeping.
    pub(crate) spin: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The measured time, in seconds.
    pub(crate) seconds: f64,
    /// Deliveries in it.
    pub(crate) delivered: u64,
    /// Messages sent in it; acknowledged, at QoS 1 and 2.
    pub(crate) published: u64,
    /// Of everything that was sent, before and after it too.
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    /// Messages on the same topics that are not of this run.
    pub(crate) foreign: u64,
    pub(crate) latencies: Latencies,
    /// Use of the broker's process at both edges of the measured time.
    pub(crate) broker: Option<(Usage, Usage)>,
    /// Our own processor time in it, in seconds.
    pub(crate) load_cpu_s: f64,
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// Of 1; `None` while connections are opened or the rest is waited for.
    pub(crate) part: Option<f64>,
    /// Messages so far.
    pub(crate) messages: u64,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measured,
    Draining,
    Done,
}

/// What is known at an edge of the measured time.
#[derive(Clone, Copy, Debug)]
struct Edge {
    at: Instant,
    delivered: u64,
    published: u64,
    broker: Option<Usage>,
    own_cpu_s: f64,
}

/// A run.
struct Run<'a> {
    load: &'a Load,
    crew: Crew,
    schedule: Schedule,
    phase: Phase,
    first: Option<Edge>,
    last: Option<Edge>,
    /// When something last came, and how much there was then.
    progress_at: Instant,
    progress: u64,
    replies: Vec<u8>,
}

/// Runs a load with connections that are open.
pub(crate) fn run(
    load: &Load,
    crew: Crew,
    is_stopped: &AtomicBool,
    tell: &mut dyn FnMut(Progress),
) -> Result<Outcome, Failure> {
    let schedule = Schedule::new(load, &crew.net).map_err(|error| system(&error))?;
    let mut run = Run {
        load,
        crew,
        schedule,
        phase: Phase::WarmUp,
        first: None,
        last: None,
        progress_at: Instant::now(),
        progress: 0,
        replies: Vec::new(),
    };
    run.share_out();
    let mut ready = Vec::new();
    let mut tell_at = Instant::now();
    loop {
        let now = Instant::now();
        run.on_time(now, is_stopped.load(Ordering::Relaxed))?;
        if run.phase == Phase::Done {
            break;
        }
        if now >= tell_at {
            tell(run.how_far(now));
            tell_at = now + TELL_EVERY;
        }
        run.turn(now, &mut ready)?;
    }
    run.crew.farewell();
    run.outcome()
}

impl Run<'_> {
    /// Gives each publisher its part of the messages and wakes them all.
    fn share_out(&mut self) {
        let publishers = self.crew.publishers.len() as u64;
        for (number, publisher) in self.crew.publishers.iter_mut().enumerate() {
            if let Length::Count(count) = self.load.length {
                publisher.end = count / publishers + u64::from((number as u64) < count % publishers);
            }
            self.crew.net.wake(publisher.slot);
        }
    }

    fn turn(&mut self, now: Instant, ready: &mut Vec<Slot>) -> Result<(), Failure> {
        if self.phase != Phase::Draining {
            self.schedule.release(now, &mut self.crew);
        }
        let timeout = self.schedule.timeout(now, self.load.spin);
        self.crew.net.turn(Some(timeout), ready).map_err(|error| system(&error))?;
        for &slot in ready.iter() {
            self.serve(slot).map_err(peer::lost)?;
        }
        Ok(())
    }

    /// Reads, answers and sends for one connection.
    fn serve(&mut self, slot: Slot) -> Result<(), Ended> {
        let Some(role) = self.crew.roles.get(slot).copied() else { return Ok(()) };
        let crew = &mut self.crew;
        let Some(link) = &mut crew.net.links[slot] else { return Ok(()) };
        link.flush()?;
        let batch_of = |now_ns| Batch { is_v5: crew.is_v5, run: crew.run, now_ns };
        let mut woken = Vec::new();
        if link.readable {
            let (buffers, replies) = (&mut crew.net.buffers, &mut self.replies);
            let (publishers, subscribers, tally) = (&mut crew.publishers, &mut crew.subscribers, &mut crew.tally);
            let decoder = crew.decoder;
            let schedule = &self.schedule;
            let is_ack_latency = self.load.subscribers == 0;
            link.read(buffers, &mut |bytes| {
                let batch = batch_of(schedule.now_ns());
                let mut at = 0;
                while let Some(frame) = scan::frame(&bytes[at..])? {
                    match (frame.kind(), role) {
                        (scan::PUBLISH, peer::Role::Subscriber(number)) => {
                            let subscriber = &mut subscribers[number];
                            woken.extend(subscriber.on_publish(&frame, batch, publishers, tally, replies)?);
                        }
                        (scan::PUBACK | scan::PUBREC | scan::PUBCOMP, peer::Role::Publisher(number)) => {
                            let since = peer::on_ack(&frame, &mut publishers[number], replies)?;
                            tally.acknowledged += u64::from(since.is_some());
                            if let Some(since) = since.filter(|_| is_ack_latency && tally.is_measuring) {
                                tally.latencies.record(batch.now_ns.saturating_sub(since));
                            }
                        }
                        (scan::PUBREL, peer::Role::Subscriber(_)) => {
                            next_of_exchange(scan::PUBCOMP, scan::ack(&frame)?.0, replies);
                        }
                        (scan::PINGRESP, _) => tally.pongs += 1,
                        _ => peer::unexpected(&decoder, &bytes[at..at + frame.len])?,
                    }
                    at += frame.len;
                }
                Ok(at)
            })?;
            link.out.extend_from_slice(&self.replies);
            self.replies.clear();
        }
        link.flush()?;
        if let (peer::Role::Publisher(number), true) = (role, matches!(self.phase, Phase::WarmUp | Phase::Measured)) {
            let publisher = &mut crew.publishers[number];
            let count = publisher.fill(link, self.schedule.now_ns());
            if count > 0 {
                crew.tally.sent += count;
                link.flush()?;
            }
            if link.writable && publisher.allowance() > 0 {
                woken.push(number);
            }
        }
        if link.readable {
            crew.net.wake(slot);
        }
        for number in woken {
            crew.net.wake(crew.publishers[number].slot);
        }
        Ok(())
    }

    /// Moves on to the next phase when it is time.
    fn on_time(&mut self, now: Instant, is_stopped: bool) -> Result<(), Failure> {
        let progress = self.crew.tally.progress();
        if progress != self.progress {
            (self.progress, self.progress_at) = (progress, now);
        }
        self.crew.keep_alive(now).map_err(peer::lost)?;
        let since = now.duration_since(self.schedule.began);
        match (self.phase, self.load.length) {
            (Phase::WarmUp, Length::Time { warm_up, .. }) if since < warm_up && !is_stopped => {}
            (Phase::WarmUp, _) => {
                self.first = Some(self.edge(now)?);
                self.crew.tally.is_measuring = true;
                self.phase = Phase::Measured;
            }
            (Phase::Measured, Length::Time { measured, .. }) => {
                let is_long_enough = |first: &Edge| now.duration_since(first.at) >= measured;
                if self.first.as_ref().is_none_or(is_long_enough) || is_stopped {
                    self.end_measuring(now)?;
                    self.phase = Phase::Draining;
                    self.progress_at = now;
                }
            }
            (Phase::Measured, Length::Count(count)) => {
                if is_stopped || self.is_complete(count)? || self.is_silent(now) {
                    self.end_measuring(now)?;
                    self.phase = Phase::Draining;
                }
            }
            (Phase::Draining, _) => {
                // Nothing new is sent any more, though it might be.
                if self.crew.has_everything().map_err(peer::lost)? || self.has_been_silent(now) {
                    self.phase = Phase::Done;
                }
            }
            (Phase::Done, _) => {}
        }
        if self.phase != Phase::Draining && self.load.qos == Qos::AtMostOnce && self.is_silent(now) {
            self.crew.forget_missing();
            self.progress_at = now;
        }
        Ok(())
    }

    /// Whether every message that was to be sent was, and has arrived.
    fn is_complete(&mut self, count: u64) -> Result<bool, Failure> {
        Ok(self.crew.tally.sent >= count && self.crew.has_everything().map_err(peer::lost)?)
    }

    /// Whether nothing has come for so long that nothing will, although something is owed.
    fn is_silent(&self, now: Instant) -> bool {
        self.has_been_silent(now) && !self.crew.may_send()
    }

    fn has_been_silent(&self, now: Instant) -> bool {
        let limit = if self.load.qos == Qos::AtMostOnce { SILENCE_QOS0 } else { SILENCE };
        now.duration_since(self.progress_at) > limit
    }

    fn end_measuring(&mut self, now: Instant) -> Result<(), Failure> {
        self.last = Some(self.edge(now)?);
        self.crew.tally.is_measuring = false;
        Ok(())
    }

    fn edge(&self, at: Instant) -> Result<Edge, Failure> {
        Ok(Edge {
            at,
            delivered: self.crew.tally.delivered,
            published: self.crew.published(),
            broker: self.load.broker.map(BrokerProcess::usage).transpose()?,
            own_cpu_s: own_cpu_s(),
        })
    }

    fn how_far(&self, now: Instant) -> Progress {
        let messages = if self.load.subscribers > 0 { self.crew.tally.delivered } else { self.crew.published() };
        let part = match (self.phase, self.load.length) {
            (Phase::WarmUp | Phase::Measured, Length::Time { warm_up, measured }) => {
                Some(now.duration_since(self.schedule.began).as_secs_f64() / (warm_up + measured).as_secs_f64())
            }
            (Phase::WarmUp | Phase::Measured, Length::Count(count)) => {
                Some(self.crew.published() as f64 / count.max(1) as f64)
            }
            _ => None,
        };
        Progress { part, messages }
    }

    fn outcome(self) -> Result<Outcome, Failure> {
        let nothing = || Failure::new("it was stopped before anything was measured", "let it run longer");
        let (first, last) = self.first.zip(self.last).ok_or_else(nothing)?;
        let expected = self.crew.expected();
        let tally = self.crew.tally;
        let got = if self.load.subscribers == 0 { tally.acknowledged } else { tally.delivered };
        Ok(Outcome {
            seconds: last.at.duration_since(first.at).as_secs_f64(),
            delivered: last.delivered - first.delivered,
            published: last.published - first.published,
            lost: expected.map_or(0, |expected| expected.saturating_sub(got)),
            duplicated: tally.duplicated,
            foreign: tally.foreign,
            latencies: tally.latencies,
            broker: first.broker.zip(last.broker),
            load_cpu_s: last.own_cpu_s - first.own_cpu_s,
        })
    }
}

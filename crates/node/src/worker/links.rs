//! All connections of a shard thread, and its loop: sockets and mail say what happened, each connection with something
//! to read is read once, then whatever was written is written out.
//!
//! Run by the worker. Sleeps in one place, and only when nobody has anything left to do.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll, Token};
use motte_audit::CloseCause;
use motte_broker::{LinkId, Millis};

use super::goodbye::after;
use super::link::Link;
use super::link_socket::LinkSocket;
use super::mailbox::{Arrival, Mail, Mailbox};
use super::outbox::index_of;
use super::{STOP_DEADLINE, Worker};

/// What the poll calls the mailbox.
pub(crate) const MAILBOX: Token = Token(usize::MAX);

/// News of sockets taken from the system at once.
const EVENTS_MAX: usize = 1024;

/// Connections that are read before what they caused is written out.
const READS_MAX: usize = 64;

/// Rounds for which a connection is heard out before another takes its place.
const HEARING_ROUNDS_MAX: usize = 64;

/// The connections of a shard.
pub(super) struct Links {
    worker: Worker,
    poll: Poll,
    links: Vec<Option<Box<Link>>>,
    /// Places of those that are to be moved on.
    queue: VecDeque<usize>,
    /// When which of them want to be looked after; one entry for each at most.
    alarms: BTreeSet<(Millis, usize)>,
    mail: VecDeque<Mail>,
    /// Those who came and whose clients' last connections are heard out, in the order in which they came.
    parked: VecDeque<Parked>,
    /// Lent to one round.
    stirred: Vec<LinkId>,
    /// When whoever is left is cut off.
    stopping: Option<Millis>,
}

/// An arrival that waits until the last connection of its client has been heard out.
struct Parked {
    arrival: Box<Arrival>,
    /// The connection that is heard out; none while another arrival of the client is before this one.
    hearing: Option<LinkId>,
    rounds: usize,
}

impl Links {
    pub(super) fn new(worker: Worker, poll: Poll) -> Self {
        Self {
            worker,
            poll,
            links: Vec::new(),
            queue: VecDeque::new(),
            alarms: BTreeSet::new(),
            mail: VecDeque::new(),
            parked: VecDeque::new(),
            stirred: Vec::new(),
            stopping: None,
        }
    }

    /// Goes round until the node stops and everybody has left. `mailbox` is that of the shard.
    ///
    /// # Errors
    /// The poll failed.
    pub(super) fn run(mut self, mailbox: &Mailbox) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            let sleep = self.sleep(mailbox);
            match self.poll.poll(&mut events, sleep) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            self.worker.read_clock();
            // Whoever posts to a shard that sleeps wakes it.
            let mut has_mail = sleep == Some(Duration::ZERO);
            for event in &events {
                has_mail |= event.token() == MAILBOX;
                if let Some(Some(link)) = self.links.get_mut(event.token().0) {
                    link.socket.on_event(event);
                    enqueue(&mut self.queue, link, event.token().0);
                }
            }
            if let Some(until) = self.stopping {
                if self.worker.outlets.len() == 0 || until <= self.worker.now {
                    return Ok(());
                }
            } else {
                if has_mail {
                    self.read_mail(mailbox);
                }
                self.worker.on_time();
                self.worker.see_out();
            }
            self.ring_alarms();
            self.serve();
            self.worker.outlets.post_letters();
            self.tend();
            self.worker.outlets.post_letters();
            self.relieve();
        }
    }

    /// How long to sleep: not at all while there is something to do, for ever when nothing is due.
    fn sleep(&mut self, mailbox: &Mailbox) -> Option<Duration> {
        let is_busy = !self.queue.is_empty() || self.worker.outlets.has_stirred() || !self.parked.is_empty();
        let is_busy = is_busy || self.stopping.is_none() && self.worker.departures.has_some();
        if is_busy || self.stopping.is_none() && !mailbox.may_sleep() {
            return Some(Duration::ZERO);
        }
        let alarm = self.alarms.first().map(|&(due, _)| due);
        let worker = if self.stopping.is_none() { self.worker.due() } else { None };
        let due = [alarm, worker, self.stopping].into_iter().flatten().min()?;
        // Never less than a millisecond, so that a late alarm cannot spin.
        Some(Duration::from_millis(due.0.saturating_sub(self.worker.now.0).max(1)))
    }

    /// Handles what was posted, and lets those in whose clients have been heard out. An arrival that has to wait holds
    /// nobody up but later ones of the same client: neither what others write nor a change of policy.
    fn read_mail(&mut self, mailbox: &Mailbox) {
        if mailbox.collect(&mut self.mail) {
            self.worker.guarded(None, |shard, now, outlets| shard.on_durable(now, outlets));
        }
        self.let_in();
        while let Some(mail) = self.mail.pop_front() {
            match mail {
                Mail::Arrival(arrival) => self.receive(arrival),
                Mail::Stop => return self.stop(),
                mail => self.worker.take(mailbox, mail),
            }
        }
    }

    /// Lets somebody in, or has it wait until the last connection of its client has been heard out.
    fn receive(&mut self, arrival: Box<Arrival>) {
        let session = arrival.admission.session_name();
        let is_parked = |parked: &Parked| parked.arrival.admission.session_name() == session;
        if self.worker.shard.link_of(session).is_none() && !self.parked.iter().any(is_parked) {
            self.move_in(*arrival);
        } else {
            self.parked.push_back(Parked { arrival, hearing: None, rounds: 0 });
        }
    }

    /// Lets those in who need not wait any longer, each client in the order in which it came.
    fn let_in(&mut self) {
        let mut waiting = BTreeSet::new();
        for mut parked in std::mem::take(&mut self.parked) {
            let session = Arc::clone(parked.arrival.admission.session_name());
            if !waiting.contains(&session) && self.has_heard_out(&mut parked, &session) {
                self.move_in(*parked.arrival);
            } else {
                waiting.insert(session);
                self.parked.push_back(parked);
            }
        }
    }

    /// Whether the connection of a client that comes again has been read: what the client sent on it, it sent before,
    /// and a DISCONNECT among that keeps the will from being published (MQTT-3.14.4-3). A client that never stops
    /// sending is cut off where it stands.
    fn has_heard_out(&mut self, parked: &mut Parked, session: &str) -> bool {
        let Some(link) = self.worker.shard.link_of(session) else { return true };
        if parked.hearing != Some(link) {
            // Only the next poll knows what came in by now.
            (parked.hearing, parked.rounds) = (Some(link), 0);
            return false;
        }
        parked.rounds += 1;
        let has_more = |link: &mut Box<Link>| link.has_more(&mut self.worker);
        parked.rounds > HEARING_ROUNDS_MAX || !self.links[index_of(link)].as_mut().is_some_and(has_more)
    }

    /// Admits a connection.
    fn move_in(&mut self, arrival: Arrival) {
        let Arrival { socket, wire, early, admission, proof, until, snapshot, peer, place } = arrival;
        let still_holds = self.worker.upholds(&snapshot, &proof, admission.subject());
        let id = self.worker.outlets.open(proof, until);
        let index = index_of(id);
        // The poll refuses a socket only when the system is out of resources: the client sees its connection close.
        let Ok(socket) = LinkSocket::arrive(socket, self.poll.registry(), Token(index)) else {
            self.worker.outlets.remove(id);
            return;
        };
        self.worker.guarded(Some(id), |shard, now, outlets| {
            outlets.peer = Some(peer);
            match still_holds {
                true => shard.admit(id, admission, now, outlets),
                false => shard.turn_away(id, &admission, outlets),
            }
        });
        if self.links.len() <= index {
            self.links.resize_with(index + 1, || None);
        }
        self.links[index] = Some(Box::new(Link::new(id, socket, wire, self.worker.message_bytes_max, place)));
        self.with(index, |link, worker| link.begin(&early, worker));
    }

    /// Ends all links orderly; they have a short while for their last bytes to leave.
    fn stop(&mut self) {
        self.worker.guarded(None, |shard, now, outlets| shard.stop(now, outlets));
        // Who is not in by now stays outside.
        self.parked.clear();
        self.stopping = Some(after(self.worker.now, STOP_DEADLINE));
    }

    /// Looks after those whose time has come.
    fn ring_alarms(&mut self) {
        while let Some(&(due, index)) = self.alarms.first() {
            if due > self.worker.now {
                return;
            }
            self.alarms.pop_first();
            self.with(index, |link, worker| {
                link.alarm = None;
                link.on_alarm(worker)
            });
        }
    }

    /// Moves on those who stand in line, each once. Ends early when what was read could fill the outbox of one client,
    /// so that one that reads as fast as it can is written to before there is no more room.
    fn serve(&mut self) {
        self.worker.bytes_read = 0;
        for _ in 0..self.queue.len().min(READS_MAX) {
            if self.worker.bytes_read > self.worker.outbox_bytes_max / 2 {
                return;
            }
            let Some(index) = self.queue.pop_front() else { return };
            self.with(index, |link, worker| {
                link.is_queued = false;
                link.serve(worker)
            });
        }
    }

    /// Writes out what was written for each link.
    fn tend(&mut self) {
        let mut stirred = std::mem::take(&mut self.stirred);
        self.worker.outlets.take_stirred(&mut stirred);
        for link in stirred.drain(..) {
            if self.worker.outlets.settle(link) {
                self.with(index_of(link), Link::tend);
            }
        }
        self.stirred = stirred;
    }

    /// Reads the links again that had to wait, once the journal and the other shards caught up.
    fn relieve(&mut self) {
        for link in self.worker.relieve() {
            self.with(index_of(link), |_, _| false);
        }
    }

    /// Lets something happen to a link. What happens tells whether the link is over. A defect in its layers ends the
    /// link, the others go on.
    fn with(&mut self, index: usize, happens: impl FnOnce(&mut Link, &mut Worker) -> bool) {
        let Some(mut link) = self.links.get_mut(index).and_then(Option::take) else { return };
        let is_over = catch_unwind(AssertUnwindSafe(|| happens(&mut link, &mut self.worker))).unwrap_or_else(|_| {
            tracing::error!(link = link.id.0, "a defect in a connection was caught; it is closed");
            self.worker.mend();
            link.tell_lost(CloseCause::Protocol, &mut self.worker);
            true
        });
        if is_over {
            self.worker.outlets.remove(link.id);
            if let Some(alarm) = link.alarm {
                self.alarms.remove(&(alarm, index));
            }
        } else {
            self.put_back(index, link);
        }
    }

    /// Sees to it that a link is moved on when it has something to do, and looked after when something is due.
    fn put_back(&mut self, index: usize, mut link: Box<Link>) {
        if !link.is_queued && link.has_more(&mut self.worker) {
            enqueue(&mut self.queue, &mut link, index);
        }
        if let Some(due) = link.due()
            && link.alarm.is_none_or(|alarm| due < alarm)
        {
            if let Some(alarm) = link.alarm.replace(due) {
                self.alarms.remove(&(alarm, index));
            }
            self.alarms.insert((due, index));
        }
        self.links[index] = Some(link);
    }
}

fn enqueue(queue: &mut VecDeque<usize>, link: &mut Link, index: usize) {
    if !std::mem::replace(&mut link.is_queued, true) {
        queue.push_back(index);
    }
}

//! A shard on its thread: the broker's shard, its outlets, and its connections.
//!
//! Started by boot; fed through its mailbox by the gate, other shards and the control task. Never blocks: no file, no
//! password hash, no lock but mailboxes and the broker's shared map.

mod departures;
mod goodbye;
mod link;
mod link_socket;
mod links;
pub(crate) mod mailbox;
mod outbox;
mod pressure;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use arc_swap::ArcSwap;
use mio::Poll;
use motte_audit::CloseCause;
use motte_broker::restore::RestoredSession;
use motte_broker::{Effects as _, Hints, Limits, LinkId, Millis, Shard, ShardId, Shared};
use motte_policy::Subject;
use motte_store::ShardJournal;
use rustls_pki_types::UnixTime;
use tokio::sync::oneshot::Receiver;

use self::departures::Departing;
pub(crate) use self::goodbye::{say_goodbye, write_out};
use self::links::Links;
pub(crate) use self::links::MAILBOX;
use self::mailbox::{Mail, Mailbox, Parcel, Proof};
use self::outbox::Outlets;
use crate::clock::Clock;
use crate::log::Reporter;
use crate::porter::Porter;
use crate::review::Roll;
use crate::settings::LinkLimits;
use crate::snapshot::Snapshot;

/// Time for connections to take their last bytes when the node stops.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// Bytes read from one socket in one turn.
const READ_BUDGET_BYTES: usize = 64 * 1024;

/// Bytes of the beginning of a packet that are moved in front of what is read next; longer ones grow where they are.
const REST_BYTES_MAX: usize = 16 * 1024;

/// What a shard thread is started with.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Which shard.
    pub(crate) id: ShardId,
    /// State shared with the other shards.
    pub(crate) shared: Arc<Shared>,
    /// The shard's limits.
    pub(crate) limits: Limits,
    /// The limits of its connections' transports.
    pub(crate) links: LinkLimits,
    /// What its clients are told.
    pub(crate) hints: Hints,
    /// The boxes of all shards, this one's included.
    pub(crate) mailboxes: Arc<[Mailbox]>,
    /// Settings and files in force.
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    /// The node's clock.
    pub(crate) clock: Clock,
    /// Who takes what clients ask of the broker.
    pub(crate) porter: Porter,
    /// The log.
    pub(crate) reporter: Reporter,
    /// Where the shard's records go.
    pub(crate) journal: ShardJournal,
    /// The sessions that live here since before the start.
    pub(crate) sessions: Vec<RestoredSession>,
}

/// The state of a shard thread beside its connections.
#[derive(Debug)]
struct Worker {
    /// Its place among the mailboxes.
    place: usize,
    shard: Shard<ShardJournal>,
    outlets: Outlets,
    clock: Clock,
    snapshot: Arc<ArcSwap<Snapshot>>,
    outbox_bytes_max: usize,
    message_bytes_max: usize,
    links: LinkLimits,
    /// The time, as it was read last.
    now: Millis,
    /// Who is to leave.
    departures: Departing,
    /// Bytes read from sockets in this round.
    bytes_read: usize,
    /// Bytes from a socket, lent to one link for one turn.
    network: Box<[u8]>,
    /// What they carry, lent likewise.
    plain: Vec<u8>,
}

fn network_buffer() -> Box<[u8]> {
    vec![0; REST_BYTES_MAX + READ_BUDGET_BYTES].into_boxed_slice()
}

/// How the shards begin together: what is due when one begins may be for a session of another.
#[derive(Debug)]
pub(crate) struct Beginning {
    /// Told when the sessions of this shard are back.
    pub(crate) restored: Sender<ShardId>,
    /// Tells when those of all shards are; dropped when there is no beginning.
    pub(crate) all_restored: Receiver<()>,
}

/// Runs a shard until the node stops. `poll` wakes when its mailbox says so.
///
/// # Errors
/// The poll failed.
pub(crate) fn run(mut seat: Seat, poll: Poll, beginning: Beginning) -> io::Result<()> {
    let mailboxes = Arc::clone(&seat.mailboxes);
    let (id, sessions) = (seat.id, std::mem::take(&mut seat.sessions));
    let mailbox = &mailboxes[usize::from(id.0)];
    let mut worker = Worker::new(seat);
    for session in sessions {
        worker.turn(|shard, now, outlets| shard.restore(session, now, outlets));
        worker.outlets.post_letters();
    }
    if !beginning.joined_by(id) {
        return Ok(());
    }
    // What became due while the node was away is over before anybody can ask for it.
    worker.read_clock();
    worker.on_time();
    worker.outlets.post_letters();
    Links::new(worker, poll).run(mailbox)
}

impl Beginning {
    /// Waits for the others; false when there is no beginning.
    fn joined_by(self, shard: ShardId) -> bool {
        let Self { restored, all_restored } = self;
        // Whoever does not wait to hear it has given up the start, which the other end says as well.
        let _ = restored.send(shard);
        drop(restored);
        all_restored.blocking_recv().is_ok()
    }
}

impl Worker {
    fn new(seat: Seat) -> Self {
        let (outbox_bytes_max, letter_bytes_max) = (seat.limits.outbox_bytes_max, seat.limits.letter_bytes_max);
        let packet_bytes_max = usize::try_from(seat.limits.packet_size_bytes_max).unwrap_or(usize::MAX);
        let mut shard = Shard::new(seat.id, seat.shared, seat.limits, seat.journal);
        shard.set_hints(seat.hints);
        let mut outlets = Outlets::new(seat.mailboxes, letter_bytes_max, seat.reporter);
        outlets.porter = Some(seat.porter);
        Self {
            place: usize::from(seat.id.0),
            shard,
            outlets,
            now: seat.clock.now(),
            clock: seat.clock,
            snapshot: seat.snapshot,
            outbox_bytes_max,
            departures: Departing::default(),
            bytes_read: 0,
            links: seat.links,
            message_bytes_max: packet_bytes_max.saturating_add(READ_BUDGET_BYTES),
            network: network_buffer(),
            plain: Vec::new(),
        }
    }

    /// Replaces what a defect may have lost.
    fn mend(&mut self) {
        self.network = network_buffer();
    }

    /// Looks at the clock; all turns until the next look are at that time.
    fn read_clock(&mut self) {
        self.now = self.clock.now();
    }

    /// Lets the shard work and hands over what it wrote to the journal. `f` must not panic.
    fn turn<R>(&mut self, f: impl FnOnce(&mut Shard<ShardJournal>, Millis, &mut Outlets) -> R) -> R {
        self.outlets.begin_turn();
        let result = f(&mut self.shard, self.now, &mut self.outlets);
        self.end_turn();
        result
    }

    /// Hands the records of the turn over before its letters are posted: what another shard writes because of a letter
    /// is never durable without them.
    fn end_turn(&mut self) {
        let journal = self.shard.journal_mut();
        let waiting_before = journal.backlog_bytes();
        journal.hand_over(self.now);
        let waiting = journal.backlog_bytes();
        self.outlets.end_turn((waiting > waiting_before).then_some(waiting));
    }

    /// Handles one piece of mail out of `mailbox` that is not about the coming and going of connections.
    fn take(&mut self, mailbox: &Mailbox, mail: Mail) {
        match mail {
            Mail::Letters(Parcel { letters, bytes }) => {
                self.guarded(None, |shard, now, outlets| {
                    for letter in letters {
                        shard.on_letter(letter, now, outlets);
                    }
                });
                mailbox.on_read(bytes);
            }
            Mail::PolicyChanged => self.guarded(None, |shard, now, outlets| shard.on_policy_changed(now, outlets)),
            Mail::CallRoll { revoked, roll } => {
                let shard = self.place;
                // Whoever asked has given up when nobody takes it.
                let _ = roll.send(Roll { shard, links: self.outlets.roll(), strays: self.strays() });
                drop(roll);
                self.guarded(None, |shard, _, outlets| {
                    shard.on_users_revoked(|user| revoked.contains_key(user), outlets)
                });
            }
            Mail::Depart(departures) => self.departures.take(departures),
            Mail::SysDue(figures) => self.guarded(None, |shard, now, outlets| shard.on_sys_due(*figures, now, outlets)),
            Mail::Fetched(fetched) => self.guarded(None, |shard, now, outlets| shard.on_fetched(fetched, now, outlets)),
            Mail::ControlAnswered { link, answer } => {
                self.guarded(Some(link), |shard, now, outlets| shard.on_control_answer(link, *answer, now, outlets));
            }
            Mail::JournalFailed => self.guarded(None, |shard, _, outlets| shard.on_journal_failed(outlets)),
            Mail::Arrival(_) | Mail::Stop => {}
        }
    }

    /// Lets the shard do what is due.
    fn on_time(&mut self) {
        if self.shard.next_timer().is_none_or(|due| due > self.now) {
            return;
        }
        self.guarded(None, |shard, now, outlets| {
            if outlets.pressure.is_on() {
                shard.on_unread(outlets.links(|slot| slot.held), now);
            }
            shard.on_timer(now, outlets);
        });
    }

    /// A turn that survives a defect in the broker: the link it was about is closed, the others go on.
    fn guarded<R: Default>(
        &mut self,
        link: Option<LinkId>,
        f: impl FnOnce(&mut Shard<ShardJournal>, Millis, &mut Outlets) -> R,
    ) -> R {
        // The shard may be left between two steps; going on with it is better than ending every session on it.
        if let Ok(result) = catch_unwind(AssertUnwindSafe(|| self.turn(f))) {
            return result;
        }
        tracing::error!(link = link.map(|link| link.0), "a defect in the broker was caught; the connection is closed");
        if let Some(link) = link {
            let disconnect = AssertUnwindSafe(|| {
                self.turn(|shard, now, outlets| shard.disconnect(link, CloseCause::Protocol, now, outlets));
            });
            let _ = catch_unwind(disconnect);
            self.outlets.close(link);
            self.end_turn();
        }
        R::default()
    }

    /// When there is something to do though nothing happens.
    fn due(&self) -> Option<Millis> {
        // Nobody says when another shard or the journal has caught up.
        let next = if self.outlets.pressure.is_on() { Some(self.now.plus_ms(1)) } else { self.shard.next_timer() };
        next.into_iter().chain(self.next_end()).min()
    }

    /// The links that may be read again, once the journal and the other shards caught up.
    fn relieve(&mut self) -> Vec<LinkId> {
        if !self.outlets.pressure.is_on() {
            return Vec::new();
        }
        self.outlets.relieve(self.shard.journal().backlog_bytes())
    }

    /// Whether what was proved against `snapshot` holds in the one in force.
    fn upholds(&self, snapshot: &Arc<Snapshot>, proof: &Proof, subject: &Subject) -> bool {
        let current = self.snapshot.load_full();
        Arc::ptr_eq(&current, snapshot)
            || current.upholds(snapshot, proof, UnixTime::now()) && current.keeps_tenant(proof.listener(), subject)
    }

    /// The links of clients that do not belong to the tenant any more that they were let into.
    fn strays(&self) -> Vec<LinkId> {
        let current = self.snapshot.load_full();
        let is_stray = |link: LinkId, proof: &Proof| {
            let subject = self.shard.subject_of(link);
            subject.is_some_and(|subject| !current.keeps_tenant(proof.listener(), subject))
        };
        let links = self.outlets.roll().into_iter();
        links.filter(|(link, proof)| is_stray(*link, proof)).map(|(link, _)| link).collect()
    }
}

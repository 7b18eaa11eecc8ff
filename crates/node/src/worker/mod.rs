//! A shard on its thread: the broker's shard, its outlets, and one task for each connection.
//!
//! Started by boot; fed through its mailbox by the gate, other shards and the control task. Never blocks: no file, no
//! password hash, no lock but mailboxes and the broker's shared map.

mod link;
pub(crate) mod mailbox;
mod outbox;
mod pressure;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use motte_audit::CloseCause;
use motte_broker::restore::RestoredSession;
use motte_broker::{Effects as _, Hints, Limits, LinkId, Millis, Shard, ShardId, Shared};
use motte_policy::UserName;
use motte_store::ShardJournal;
use rustls_pki_types::UnixTime;
use tokio::sync::Notify;
use tokio::sync::oneshot::Receiver;

use self::link::Link;
pub(crate) use self::link::{say_goodbye, write_out};
use self::mailbox::{Arrival, Mail, Mailbox, Parcel, Proof};
use self::outbox::Outlets;
use crate::clock::Clock;
use crate::log::Reporter;
use crate::settings::LinkLimits;
use crate::snapshot::Snapshot;
use crate::socket::Socket;

/// Time for connections to take their last bytes when the node stops.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// Bytes read from one socket in one turn.
const READ_BUDGET_BYTES: usize = 64 * 1024;

/// Turns of the runtime for which a connection is heard out before another takes its place.
const HEARING_TURNS_MAX: usize = 64;

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
    /// The log.
    pub(crate) reporter: Reporter,
    /// Where the shard's records go.
    pub(crate) journal: ShardJournal,
    /// The sessions that live here since before the start.
    pub(crate) sessions: Vec<RestoredSession>,
}

/// The state of a shard thread, touched by its tasks one at a time and never across a wait.
#[derive(Debug)]
struct Worker {
    shard: Shard<ShardJournal>,
    outlets: Outlets,
    clock: Clock,
    snapshot: Arc<ArcSwap<Snapshot>>,
    outbox_bytes_max: usize,
    message_bytes_max: usize,
    links: LinkLimits,
    /// When the timer task wakes; a turn that needs it sooner rings `rearm`.
    armed: Option<Millis>,
    /// Whether the timer task knows that another shard is behind.
    watching: bool,
    rearm: Rc<Notify>,
    /// A link task ended.
    left: Rc<Notify>,
    /// Bytes from a socket, lent to one link for one turn.
    network: Box<[u8]>,
    /// What they carry, lent likewise.
    plain: Vec<u8>,
}

/// How the shards begin together: what is due when one begins may be for a session of another.
#[derive(Debug)]
pub(crate) struct Beginning {
    /// Told when the sessions of this shard are back.
    pub(crate) restored: Sender<ShardId>,
    /// Tells when those of all shards are; dropped when there is no beginning.
    pub(crate) all_restored: Receiver<()>,
}

/// Runs a shard until the node stops. Must run in a `LocalSet`.
pub(crate) async fn run(mut seat: Seat, beginning: Beginning) {
    let mailboxes = Arc::clone(&seat.mailboxes);
    let (id, sessions) = (seat.id, std::mem::take(&mut seat.sessions));
    let mailbox = &mailboxes[usize::from(id.0)];
    let mut worker = Worker::new(seat);
    for session in sessions {
        worker.turn(|shard, now, outlets| shard.restore(session, now, outlets));
    }
    if !beginning.joined_by(id).await {
        return;
    }
    // What became due while the node was away is over before anybody can ask for it.
    worker.on_time();
    let rearm = Rc::clone(&worker.rearm);
    let worker = Rc::new(RefCell::new(worker));
    loop {
        let due = worker.borrow_mut().arm();
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            mails = mailbox.collect() => {
                if mailbox.take_durable() {
                    worker.borrow_mut().guarded(None, |shard, now, outlets| shard.on_durable(now, outlets));
                }
                for mail in mails {
                    if matches!(mail, Mail::Stop) {
                        return stop(&worker).await;
                    }
                    take(&worker, mailbox, mail).await;
                }
            }
            () = timer => worker.borrow_mut().on_time(),
            () = rearm.notified() => {}
        }
        worker.borrow_mut().relieve();
    }
}

impl Beginning {
    /// Waits for the others; false when there is no beginning.
    async fn joined_by(self, shard: ShardId) -> bool {
        let Self { restored, all_restored } = self;
        // Whoever does not wait to hear it has given up the start, which the other end says as well.
        let _ = restored.send(shard);
        drop(restored);
        all_restored.await.is_ok()
    }
}

/// Handles one piece of mail out of `mailbox`.
async fn take(worker: &Rc<RefCell<Worker>>, mailbox: &Mailbox, mail: Mail) {
    match mail {
        Mail::Arrival(arrival) => {
            hear_out(worker, &arrival.admission.subject().client_id.0).await;
            move_in(worker, *arrival);
        }
        Mail::Letters(Parcel { letters, bytes }) => {
            worker.borrow_mut().guarded(None, |shard, now, outlets| {
                for letter in letters {
                    shard.on_letter(letter, now, outlets);
                }
            });
            mailbox.on_read(bytes);
        }
        Mail::PolicyChanged => {
            worker.borrow_mut().guarded(None, |shard, now, outlets| shard.on_policy_changed(now, outlets));
        }
        Mail::Reloaded(revoked) => worker.borrow_mut().ask_again(&revoked),
        Mail::SysDue(figures) => {
            worker.borrow_mut().guarded(None, |shard, now, outlets| shard.on_sys_due(*figures, now, outlets));
        }
        Mail::Fetched(fetched) => {
            worker.borrow_mut().guarded(None, |shard, now, outlets| shard.on_fetched(fetched, now, outlets));
        }
        Mail::JournalFailed => {
            worker.borrow_mut().guarded(None, |shard, _, outlets| shard.on_journal_failed(outlets));
        }
        Mail::Stop => {}
    }
}

/// Lets the connection of a client that comes again be read first: what the client sent on it, it sent before, and a
/// DISCONNECT among that keeps the will from being published (MQTT-3.14.4-3). A client that never stops sending is cut
/// off where it stands.
async fn hear_out(worker: &Rc<RefCell<Worker>>, client_id: &str) {
    if worker.borrow().shard.link_of(client_id).is_none() {
        return;
    }
    // While a task yields, the runtime asks the sockets what came in; only then can the link's task know.
    tokio::task::yield_now().await;
    let Some(link) = worker.borrow().shard.link_of(client_id) else { return };
    worker.borrow_mut().outlets.hear(link);
    for _ in 0..HEARING_TURNS_MAX {
        if !worker.borrow_mut().outlets.hears(link) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Admits a connection and starts its task.
fn move_in(worker: &Rc<RefCell<Worker>>, arrival: Arrival) {
    let Arrival { socket, wire, early, admission, proof, snapshot, peer, place } = arrival;
    let mut state = worker.borrow_mut();
    let current = state.snapshot.load_full();
    let still_holds = Arc::ptr_eq(&current, &snapshot) || current.upholds(&snapshot, &proof, UnixTime::now());
    // The runtime refuses a socket only when it is out of resources: the client sees its connection close.
    let Ok(socket) = Socket::arrive(socket) else { return };
    let id = state.outlets.open(proof);
    state.guarded(Some(id), |shard, now, outlets| {
        outlets.peer = Some(peer);
        match still_holds {
            true => shard.admit(id, admission, now, outlets),
            false => shard.turn_away(id, &admission, outlets),
        }
    });
    drop(state);
    let link = Link::new(Rc::clone(worker), id, socket, wire);
    tokio::task::spawn_local(async move {
        link.run(early).await;
        drop(place);
    });
}

/// Ends all links orderly and waits a short while for their last bytes to leave.
async fn stop(worker: &Rc<RefCell<Worker>>) {
    let left = {
        let mut state = worker.borrow_mut();
        state.guarded(None, |shard, now, outlets| shard.stop(now, outlets));
        Rc::clone(&state.left)
    };
    let emptied = async {
        while worker.borrow().outlets.len() > 0 {
            left.notified().await;
        }
    };
    // Whoever has not taken the last bytes by then is cut off.
    let _ = tokio::time::timeout(STOP_DEADLINE, emptied).await;
}

impl Worker {
    fn new(seat: Seat) -> Self {
        let (outbox_bytes_max, letter_bytes_max) = (seat.limits.outbox_bytes_max, seat.limits.letter_bytes_max);
        let packet_bytes_max = usize::try_from(seat.limits.packet_size_bytes_max).unwrap_or(usize::MAX);
        let mut shard = Shard::new(seat.id, seat.shared, seat.limits, seat.journal);
        shard.set_hints(seat.hints);
        Self {
            shard,
            outlets: Outlets::new(seat.mailboxes, letter_bytes_max, seat.reporter),
            clock: seat.clock,
            snapshot: seat.snapshot,
            outbox_bytes_max,
            links: seat.links,
            message_bytes_max: packet_bytes_max.saturating_add(READ_BUDGET_BYTES),
            armed: None,
            watching: false,
            rearm: Rc::default(),
            left: Rc::default(),
            network: vec![0; READ_BUDGET_BYTES].into_boxed_slice(),
            plain: Vec::new(),
        }
    }

    /// Lets the shard work, hands over what it wrote to the journal, then wakes who was written to. `f` must not panic.
    fn turn<R>(&mut self, f: impl FnOnce(&mut Shard<ShardJournal>, Millis, &mut Outlets) -> R) -> R {
        let now = self.clock.now();
        let result = f(&mut self.shard, now, &mut self.outlets);
        self.end_turn(now);
        if self.outlets.pressure.is_on() && !self.watching {
            self.watching = true;
            self.rearm.notify_one();
        }
        if let Some(due) = self.shard.next_timer()
            && self.armed.is_none_or(|armed| due < armed)
        {
            self.armed = Some(due);
            self.rearm.notify_one();
        }
        result
    }

    /// Hands the records of the turn over before its letters are posted: what another shard writes because of a letter
    /// is never durable without them.
    fn end_turn(&mut self, now: Millis) {
        let journal = self.shard.journal_mut();
        let waiting_before = journal.backlog_bytes();
        journal.hand_over(now);
        let waiting = journal.backlog_bytes();
        self.outlets.end_turn((waiting > waiting_before).then_some(waiting));
    }

    /// Lets the shard do what is due.
    fn on_time(&mut self) {
        self.guarded(None, |shard, now, outlets| {
            if outlets.pressure.is_on() && shard.next_timer().is_some_and(|due| due <= now) {
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
            self.end_turn(self.clock.now());
        }
        R::default()
    }

    /// When the timer is due next, never less than a millisecond ahead so that a late timer cannot spin.
    fn arm(&mut self) -> Option<Instant> {
        let soonest = Millis(self.clock.now().0.saturating_add(1));
        self.watching = self.outlets.pressure.is_on();
        self.armed = if self.watching { Some(soonest) } else { self.shard.next_timer() };
        self.armed.and_then(|due| self.clock.instant(due.max(soonest)))
    }

    /// Reads the links again that had to wait, once the journal and the other shards caught up.
    fn relieve(&mut self) {
        self.outlets.relieve(self.shard.journal().backlog_bytes());
    }

    /// Ends the links whose proof of identity does not hold any more.
    fn ask_again(&mut self, revoked: &BTreeSet<UserName>) {
        let current = self.snapshot.load_full();
        let links = self.outlets.links(|slot| match &slot.proof {
            Proof::Password(name) => revoked.contains(name),
            Proof::Certificate { .. } | Proof::Nothing { .. } => !current.still_accepts(&slot.proof, UnixTime::now()),
        });
        for link in links {
            self.guarded(Some(link), |shard, now, outlets| shard.disconnect(link, CloseCause::Revoked, now, outlets));
        }
        self.guarded(None, |shard, _, outlets| shard.on_users_revoked(revoked, outlets));
    }
}

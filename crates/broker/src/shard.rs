//! One shard: all sessions whose client ids live here, single-threaded.
//!
//! Called by `node/worker` with facts (bytes came, a link is gone, time passed); answers into [`Effects`]. Never
//! blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use motte_audit::{CloseCause, RefusalReason};
use motte_mqtt::ReasonCode;
use motte_policy::{Identity, Policy, Subject, UserName};
use slab::Slab;

use crate::admission::Admission;
use crate::bans::Bans;
use crate::counters::Counters;
use crate::effects::{Effects, Letter, LetterContent};
use crate::handle::{Ending, Passing, Stop};
use crate::hints::Hints;
use crate::journal::{Journal, Record};
use crate::limits::Limits;
use crate::recorder::Recorder;
use crate::restore::{Fetched, RestoredSession};
use crate::routes::{SessionKey, SessionRef};
use crate::session::Session;
use crate::session::copies::Copies;
use crate::session::deliver::Turn;
use crate::session::handover::Estate;
use crate::shared::{Removals, Shared};
use crate::spare::Spare;
use crate::sys::{Board, NodeFigures};
use crate::timer::Timers;

/// Milliseconds on a monotonic clock that starts with the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// This much later.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// This many seconds later.
    #[must_use]
    pub const fn plus_s(self, seconds: u32) -> Self {
        self.plus_ms(seconds as u64 * 1_000)
    }
}

/// A shard of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// An online connection; unique within its shard for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// The shard where the session of this name lives, of `shards` in all. Stable over restarts; not chosen by peers to
/// hurt one shard more than counting already allows, because admission is by identity. The hash is FNV-1a with 64 bits
/// and a final mixing step; the remainder by `shards` chooses.
#[must_use]
pub fn home(session_name: &str, shards: u16) -> ShardId {
    let hash = fnv1a(session_name.as_bytes()) % u64::from(shards.max(1));
    ShardId(u16::try_from(hash).expect("less than the number of shards"))
}

/// FNV-1a, 64 bits, its high half folded into the low one so that a remainder depends on all bits.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
}

/// A shard.
#[derive(Debug)]
pub struct Shard<J> {
    pub(crate) journal: Recorder<J>,
    pub(crate) core: Core,
    pub(crate) sessions: Slab<Session>,
    /// Slot of each session by its name. Ordered: the keys are chosen by peers.
    pub(crate) clients: BTreeMap<Arc<str>, usize>,
    /// What sessions that ended leave to their groups, by the keys of the sessions.
    pub(crate) estates: BTreeMap<SessionKey, Estate>,
    /// Slot of each link's session.
    pub(crate) links: BTreeMap<LinkId, usize>,
    /// Slots whose links have acknowledgements waiting for the journal.
    pub(crate) unacknowledged: BTreeSet<usize>,
    /// The `$SYS` tree, on the shard that publishes it.
    pub(crate) board: Board,
}

/// What every step of a shard needs beside the session it is about.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) id: ShardId,
    pub(crate) shared: Arc<Shared>,
    pub(crate) limits: Limits,
    pub(crate) hints: Hints,
    pub(crate) policy: Arc<Policy>,
    pub(crate) removals: Arc<Removals>,
    /// As last heard of.
    pub(crate) bans: Arc<Bans>,
    pub(crate) epoch: u64,
    pub(crate) counters: Counters,
    pub(crate) timers: Timers,
    pub(crate) next_serial: u64,
    pub(crate) copies: Copies,
    pub(crate) spare: Spare,
    /// What the present call passes on to other shards and has not posted.
    pub(crate) passing: Vec<(ShardId, Passing)>,
    /// When expired retained messages were looked for last.
    pub(crate) retained_swept: Option<Millis>,
}

impl Core {
    /// What a session is given for one step.
    pub(crate) fn turn<'a>(&'a mut self, journal: &'a mut dyn Journal, now: Millis) -> Turn<'a> {
        Turn {
            shard: self.id,
            now,
            limits: &self.limits,
            policy: &self.policy,
            removals: &self.removals,
            epoch: self.epoch,
            retained: &self.shared.retained,
            fullness: &self.shared.fullness,
            timers: &mut self.timers,
            counters: &mut self.counters,
            copies: &mut self.copies,
            spare: &mut self.spare,
            journal,
        }
    }
}

impl<J: Journal> Shard<J> {
    /// An empty shard.
    #[must_use]
    pub fn new(id: ShardId, shared: Arc<Shared>, limits: Limits, journal: J) -> Self {
        let (policy, removals, epoch) = shared.policy();
        let bans = Arc::clone(&shared.bans.read());
        let core = Core {
            id,
            shared,
            bans,
            limits,
            hints: Hints::default(),
            policy,
            removals,
            epoch,
            counters: Counters::default(),
            timers: Timers::default(),
            next_serial: 0,
            copies: Copies::default(),
            spare: Spare::default(),
            passing: Vec::new(),
            retained_swept: None,
        };
        Self {
            journal: Recorder::new(journal),
            core,
            sessions: Slab::new(),
            clients: BTreeMap::new(),
            estates: BTreeMap::new(),
            links: BTreeMap::new(),
            unacknowledged: BTreeSet::new(),
            board: Board::default(),
        }
    }

    /// Sets what clients are told from now on.
    pub fn set_hints(&mut self, hints: Hints) {
        self.core.hints = hints;
    }

    /// Takes a session back that outlived the last run of the node; it belongs to the shard of its client identifier.
    /// Called for all sessions of all shards before anything else, and then [`Shard::on_timer`] on each: sessions whose
    /// time is over end there, and wills that are due are published once everybody who is to get them is back.
    pub fn restore(&mut self, session: RestoredSession, now: Millis, fx: &mut impl Effects) {
        self.begin();
        self.take_back(session, now, fx);
    }

    /// Takes an admitted connection in: takeover, clean start, CONNACK, redelivery. If the session belongs to another
    /// identity the link is answered 0x85, closed and forgotten (K25).
    pub fn admit(&mut self, link: LinkId, admission: Admission, now: Millis, fx: &mut impl Effects) {
        self.begin();
        self.on_admission(link, admission, now, fx);
    }

    /// Refuses a connection that was admitted, because what proved its client's identity has ceased to hold on the way
    /// here: CONNACK 0x87, and the link is closed and forgotten.
    pub fn turn_away(&mut self, link: LinkId, admission: &Admission, fx: &mut impl Effects) {
        self.begin();
        self.refuse_admission(link, admission, (ReasonCode::NotAuthorized, RefusalReason::BadCredentials), fx);
    }

    /// Handles all whole packets at the front of `bytes` and tells how many bytes they took; the caller keeps the rest
    /// and comes back with more behind it. After a protocol error the link is closed through `fx` and all bytes count
    /// as taken.
    pub fn on_bytes(&mut self, link: LinkId, bytes: &[u8], now: Millis, fx: &mut impl Effects) -> usize {
        self.begin();
        let taken = self.on_packets(link, bytes, now, fx);
        self.post_all_passing(fx);
        taken
    }

    /// The outbox of a link has been written: what waited for room goes out.
    pub fn on_drained(&mut self, link: LinkId, now: Millis, fx: &mut impl Effects) {
        self.begin();
        if let Some(&slot) = self.links.get(&link) {
            self.sessions[slot].on_room(fx);
            self.pump(slot, now, fx);
        }
    }

    /// The transport of a link ended without a DISCONNECT. The will is due.
    pub fn on_lost(&mut self, link: LinkId, cause: CloseCause, now: Millis, fx: &mut impl Effects) {
        self.begin();
        if let Some(&slot) = self.links.get(&link) {
            self.end_link(slot, Ending::lost(cause), now, fx);
        }
    }

    /// A letter from another shard.
    pub fn on_letter(&mut self, letter: Letter, now: Millis, fx: &mut impl Effects) {
        self.begin();
        match letter.content {
            LetterContent::Deliver { message, targets, epoch } => self.deliver(&message, &targets, epoch, now, fx),
            LetterContent::Passed(passed) => self.take_passed(&passed, now, fx),
            LetterContent::PassOn(passed) => self.give(passed, now, fx),
            LetterContent::Ask { asking } => self.report_counters(asking, fx),
            LetterContent::Report { from, counters } => self.on_report(from, &counters, now, fx),
        }
    }

    /// The `$SYS` tree is to be brought up to date, with what the node knows beside the shards. Always called on the
    /// same shard; it asks the others for their counts and publishes what changed once they have answered.
    pub fn on_sys_due(&mut self, node: NodeFigures, now: Millis, fx: &mut impl Effects) {
        self.begin();
        self.ask_for_reports(node, now, fx);
    }

    /// The journal got further: acknowledgements that waited leave.
    pub fn on_durable(&mut self, now: Millis, fx: &mut impl Effects) {
        self.begin();
        let slots: Vec<usize> = self.unacknowledged.iter().copied().collect();
        for slot in slots {
            self.acknowledge(slot, now, fx);
        }
    }

    /// The journal gives back messages that were asked for. What the session no longer waits for is forgotten.
    pub fn on_fetched(&mut self, fetched: Fetched, now: Millis, fx: &mut impl Effects) {
        self.begin();
        if let Some(slot) = self.slot(fetched.session) {
            self.take_fetched(slot, fetched.messages, now, fx);
        } else {
            self.settle_estate(fetched.session, fetched.messages, now, fx);
        }
    }

    /// The journal has failed: what was not durable will never be, so nothing is acknowledged any more. All links end,
    /// 5.0 clients with DISCONNECT 0x89, and sessions and wills stay as they were written down. Whoever comes later is
    /// refused.
    pub fn on_journal_failed(&mut self, fx: &mut impl Effects) {
        let slots: Vec<usize> = self.sessions.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.abandon(slot, fx);
        }
    }

    /// When [`Shard::on_timer`] wants to be called next; `None` when nothing waits for time.
    #[must_use]
    pub fn next_timer(&self) -> Option<Millis> {
        let (session, retained) = (self.core.timers.next(), self.retained_due());
        session.into_iter().chain(retained).min()
    }

    /// Time passed: keep alive, will delay, session and message expiry.
    pub fn on_timer(&mut self, now: Millis, fx: &mut impl Effects) {
        self.begin();
        for (key, kind) in self.core.timers.take_due(now) {
            self.on_due(key, kind, now, fx);
        }
        if self.retained_due().is_some_and(|due| due <= now) {
            self.sweep_retained(now);
        }
    }

    /// A new policy is in force: live links, subscriptions, queues and wills are judged again.
    pub fn on_policy_changed(&mut self, now: Millis, fx: &mut impl Effects) {
        self.begin();
        let slots: Vec<usize> = self.sessions.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.judge_again(slot, now, fx);
        }
    }

    /// The client has taken none of the bytes that wait for it for as long as it may: DISCONNECT 0x97 for 5.0, behind
    /// what waits.
    pub fn on_stalled(&mut self, link: LinkId, now: Millis, fx: &mut impl Effects) {
        self.give_up(link, Stop::slow_reader("the client does not read what it is sent"), now, fx);
    }

    /// A packet of the client has been coming in for longer than it may: DISCONNECT 0x97 for 5.0.
    pub fn on_dripped(&mut self, link: LinkId, now: Millis, fx: &mut impl Effects) {
        let stop = Stop::limit(ReasonCode::QuotaExceeded, "a packet did not arrive in the time it has");
        self.give_up(link, stop, now, fx);
    }

    /// What carries the packets of the client is broken in a way that leaves the other direction whole, such as a text
    /// frame of WebSocket (MQTT-6.0.0-1): DISCONNECT with this reason for 5.0.
    pub fn on_misframed(
        &mut self,
        link: LinkId,
        (reason, detail): (ReasonCode, &'static str),
        now: Millis,
        fx: &mut impl Effects,
    ) {
        self.give_up(link, Stop::protocol(reason, detail), now, fx);
    }

    fn give_up(&mut self, link: LinkId, stop: Stop, now: Millis, fx: &mut impl Effects) {
        self.begin();
        if let Some(&slot) = self.links.get(&link) {
            self.end_link(slot, stop.into(), now, fx);
        }
    }

    /// What these users proved who they are with holds no more: the wills of those without a connection are withheld.
    /// Connections are ended by [`Shard::disconnect`].
    pub fn on_users_revoked(&mut self, revoked: impl Fn(&UserName) -> bool, fx: &mut impl Effects) {
        self.begin();
        let is_meant = |session: &Session| {
            let owner = &session.facts.subject.identity;
            session.link.is_none() && matches!(owner, Identity::User(name) if revoked(name))
        };
        let meant = self.sessions.iter().filter(|(_, session)| is_meant(session));
        let slots: Vec<usize> = meant.map(|(slot, _)| slot).collect();
        for slot in slots {
            self.withhold_will(slot, fx);
        }
    }

    /// Ends a link on somebody's order: DISCONNECT with 0x87 for 5.0 when the proof of identity does not hold any more,
    /// 0xA0 when its time is over, 0x98 when an operator wants it so (a user was removed), or 0x80 when it is for a
    /// defect of ours. A will is withheld in the first three cases.
    pub fn disconnect(&mut self, link: LinkId, cause: CloseCause, now: Millis, fx: &mut impl Effects) {
        self.begin();
        if let Some(&slot) = self.links.get(&link) {
            let reason = match cause {
                CloseCause::Revoked => ReasonCode::NotAuthorized,
                CloseCause::Expired => ReasonCode::MaximumConnectTime,
                CloseCause::ShuttingDown => ReasonCode::ServerShuttingDown,
                CloseCause::Protocol => ReasonCode::UnspecifiedError,
                _ => ReasonCode::AdministrativeAction,
            };
            self.end_link(slot, Ending::told(reason, cause), now, fx);
        }
    }

    /// The node stops: 5.0 clients get DISCONNECT 0x8B, or 0x9C with the Server Reference when there is one. All links
    /// are closed; wills of those sessions are not lost: they fire as for a lost connection.
    pub fn stop(&mut self, now: Millis, fx: &mut impl Effects) {
        self.begin();
        let has_other = self.core.hints.server_reference.is_some();
        let reason = if has_other { ReasonCode::UseAnotherServer } else { ReasonCode::ServerShuttingDown };
        let slots: Vec<usize> = self.links.values().copied().collect();
        for slot in slots {
            let ending = Ending::told(reason, CloseCause::ShuttingDown);
            self.end_link(slot, ending, now, fx);
        }
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &J {
        &self.journal.journal
    }

    /// The journal, to commit what was appended; call [`Shard::on_durable`] when it got further.
    pub fn journal_mut(&mut self) -> &mut J {
        &mut self.journal.journal
    }

    /// Counts.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.core.counters
    }

    /// The connection that stands for the session of this name. A caller that reads it to the end of what has
    /// come in before it admits another under the same identifier keeps the order in which the client sent.
    #[must_use]
    pub fn link_of(&self, session_name: &str) -> Option<LinkId> {
        let slot = self.clients.get(session_name)?;
        self.sessions[*slot].link.as_ref().map(|link| link.id)
    }

    /// Who is at the other end of a connection.
    #[must_use]
    pub fn subject_of(&self, link: LinkId) -> Option<&Subject> {
        self.links.get(&link).map(|slot| &*self.sessions[*slot].facts.subject)
    }

    /// The slot of a session, if it still is the one that is meant.
    pub(crate) fn slot(&self, key: SessionKey) -> Option<usize> {
        self.sessions.get(key.slot).filter(|session| session.key == key).map(|_| key.slot)
    }

    /// This session as the route map names it.
    pub(crate) fn session_ref(&self, slot: usize) -> SessionRef {
        SessionRef { shard: self.core.id, key: self.sessions[slot].key }
    }

    /// One shard writes down for all who was removed.
    fn record_removals(&mut self, known: &Removals) {
        if self.core.id != ShardId(0) || *known == *self.core.removals {
            return;
        }
        for (user, &at) in self.core.removals.iter().filter(|(user, at)| known.get(*user) != Some(at)) {
            self.journal.append(&Record::UserRemoved { user, at });
        }
    }

    pub(crate) fn begin(&mut self) {
        self.journal.begin();
        // A call that a defect broke off may have left them switched on for a message that is gone.
        self.core.copies.end();
        if self.core.shared.epoch() != self.core.epoch {
            let known = Arc::clone(&self.core.removals);
            (self.core.policy, self.core.removals, self.core.epoch) = self.core.shared.policy();
            self.record_removals(&known);
        }
    }
}

//! The review after a reload: whoever is connected is asked again whether what proved who they are still holds, and
//! shown out if it does not.
//!
//! Begun by reload, run on a thread where work may take long: a shard only tells who is connected and ends whom it is
//! told to, a few in each round. Never touches a session itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use motte_audit::CloseCause;
use motte_broker::LinkId;
use motte_pki::CertificateFacts;
use motte_policy::UserName;
use rustls_pki_types::UnixTime;
use serde::{Deserialize, Serialize};

use crate::reload::EndedSession;
use crate::snapshot::Snapshot;
use crate::worker::mailbox::{Mail, Mailbox, Proof};

/// How long it may take until everybody who has to leave has left; whoever asked for the reload is answered then at the
/// latest.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections judged before a shard hears of those that are to be ended.
const JUDGED_AT_ONCE: usize = 128;

/// Who is connected to a shard, and what proved it.
#[derive(Debug)]
pub(crate) struct Roll {
    /// The shard, as a place among the mailboxes.
    pub(crate) shard: usize,
    /// The connections.
    pub(crate) links: Vec<(LinkId, Arc<Proof>)>,
    /// Those whose clients belong to another tenant by now, or to one that is suspended.
    pub(crate) strays: Vec<LinkId>,
}

/// Connections that a shard is to end.
#[derive(Debug)]
pub(crate) struct Departures {
    /// Which, and why.
    pub(crate) links: Vec<(LinkId, CloseCause)>,
    /// Told of each that was ended.
    pub(crate) told: Sender<EndedSession>,
}

/// Who is connected, by what proved who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// By client certificate, for each issuer.
    pub issuers: BTreeMap<String, Group>,
    /// By password.
    pub passwords: Group,
    /// By the word of a source outside the broker, for each source.
    pub sources: BTreeMap<String, Group>,
    /// By nothing, where that is enough.
    pub anonymous: u64,
}

/// Connections that have something in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// How many.
    pub connections: u64,
    /// Whose. Peer text.
    pub users: BTreeSet<String>,
}

impl Group {
    fn add(&mut self, user: &UserName) {
        self.connections += 1;
        self.users.insert(user.0.to_string());
    }
}

/// Asks every shard who is connected, and waits for the answers.
pub(crate) fn count(mailboxes: &[Mailbox]) -> Census {
    let mut census = Census::default();
    let rolls = call_roll(mailboxes, &Arc::default());
    while let Ok(roll) = rolls.recv_timeout(PATIENCE) {
        for (_, proof) in roll.links {
            match &*proof {
                Proof::Certificate { chain, name, .. } => {
                    let facts = chain.first().and_then(|leaf| CertificateFacts::from_der(leaf).ok());
                    let issuer = facts.map(|facts| facts.issuer).unwrap_or_default();
                    census.issuers.entry(issuer).or_default().add(name);
                }
                Proof::Password { name, .. } => census.passwords.add(name),
                Proof::Vouched { vouch, name, .. } => {
                    census.sources.entry(vouch.source.to_string()).or_default().add(name);
                }
                Proof::Nothing { .. } => census.anonymous += 1,
            }
        }
    }
    census
}

/// Asks every shard who is connected.
fn call_roll(mailboxes: &[Mailbox], revoked: &Arc<BTreeMap<UserName, CloseCause>>) -> Receiver<Roll> {
    let (roll, rolls) = channel();
    for mailbox in mailboxes {
        mailbox.post(Mail::CallRoll { revoked: Arc::clone(revoked), roll: roll.clone() });
    }
    rolls
}

/// A review that has begun.
#[derive(Debug)]
pub(crate) struct Review {
    judge: Judge,
    rolls: Receiver<Roll>,
}

/// What is judged by, and who is told.
#[derive(Debug)]
struct Judge {
    snapshot: Arc<Snapshot>,
    /// Users of whose passwords something is gone that held before, and why.
    causes: Arc<BTreeMap<UserName, CloseCause>>,
    mailboxes: Arc<[Mailbox]>,
}

impl Review {
    /// Asks every shard who is connected, to judge them by `snapshot`, which is in force already.
    pub(crate) fn begin(
        snapshot: Arc<Snapshot>,
        causes: BTreeMap<UserName, CloseCause>,
        mailboxes: &Arc<[Mailbox]>,
    ) -> Self {
        let causes = Arc::new(causes);
        let rolls = call_roll(mailboxes, &causes);
        Self { judge: Judge { snapshot, causes, mailboxes: Arc::clone(mailboxes) }, rolls }
    }

    /// Judges everybody and has those ended who are not known any more. Gives them in order. Blocks for as long as it
    /// takes, but not for longer than somebody would wait.
    pub(crate) fn run(self) -> Vec<EndedSession> {
        let deadline = Instant::now() + PATIENCE;
        let left = || deadline.saturating_duration_since(Instant::now());
        let (told, ended) = channel();
        // Ends when each shard has answered, or is gone.
        while let Ok(roll) = self.rolls.recv_timeout(left()) {
            self.judge.judge(&roll, &told);
        }
        drop(told);
        let mut all = Vec::new();
        while let Ok(session) = ended.recv_timeout(left()) {
            all.push(session);
        }
        all.sort();
        all
    }
}

impl Judge {
    /// Judges the connections of a shard on all processors: a chain takes a good part of a handshake.
    fn judge(&self, roll: &Roll, told: &Sender<EndedSession>) {
        if !roll.strays.is_empty() {
            let links = roll.strays.iter().map(|link| (*link, CloseCause::OtherTenant)).collect();
            self.mailboxes[roll.shard].post(Mail::Depart(Departures { links, told: told.clone() }));
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = roll.links.len().div_ceil(threads).max(JUDGED_AT_ONCE);
        std::thread::scope(|scope| {
            for links in roll.links.chunks(share) {
                let told = told.clone();
                scope.spawn(move || {
                    for links in links.chunks(JUDGED_AT_ONCE) {
                        self.judge_some(roll.shard, links, &told);
                    }
                });
            }
        });
    }

    fn judge_some(&self, shard: usize, links: &[(LinkId, Arc<Proof>)], told: &Sender<EndedSession>) {
        let now = UnixTime::now();
        // Of a user's secrets one may be gone: those who came in by another stay.
        let cause = |proof: &Proof| {
            let known = proof.password_of().and_then(|name| self.causes.get(name)).copied();
            let is_over = known.is_some() && proof.entry_of().is_some() || !self.snapshot.still_accepts(proof, now);
            is_over.then(|| known.unwrap_or(CloseCause::Revoked))
        };
        let links: Vec<_> = links.iter().filter_map(|(link, proof)| Some((*link, cause(proof)?))).collect();
        if !links.is_empty() {
            self.mailboxes[shard].post(Mail::Depart(Departures { links, told: told.clone() }));
        }
    }
}

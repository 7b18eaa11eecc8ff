//! The books of the world: sessions, subscriptions, retained messages and what is owed, by the standard alone.
//!
//! Told by the world which packets a shard took and which events it reported; never asks the broker anything. Calls are
//! made one after the other, so there is one order in which everything happened.

mod crash;
mod publish;
mod session;
mod written;

use std::collections::BTreeMap;

use motte_broker::mqtt::{ProtocolVersion, Qos, SubscriptionOptions};
use motte_broker::{Limits, LinkId, Millis};

use crate::history::{History, Membership, MessageNo, SessionNo, Tally, What};
use crate::rights::Rights;

pub(crate) use crash::Snapshot;
pub(crate) use publish::Verdict;
pub(crate) use session::Coming;

/// One subscription.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sub {
    pub(crate) options: SubscriptionOptions,
    pub(crate) id: Option<u32>,
}

/// A session that lives.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) no: SessionNo,
    pub(crate) user: usize,
    pub(crate) shard: usize,
    pub(crate) link: Option<LinkId>,
    pub(crate) expiry_s: u32,
    pub(crate) subscriptions: BTreeMap<String, Sub>,
    /// QoS 2 identifiers taken and not released, with the turn that took each.
    pub(crate) received: BTreeMap<u16, u64>,
    pub(crate) will: Option<Will>,
    /// When the will is to be published.
    pub(crate) will_due: Option<Due>,
    /// When the session ends.
    pub(crate) ends: Option<Due>,
    /// It ends as soon as its will has been published.
    pub(crate) is_ending: bool,
    /// It was to outlive a connection of it, and so it is kept over a crash.
    pub(crate) is_kept: bool,
    /// Its connection ended with the broker, and the journal was not told since.
    pub(crate) has_left_unsaid: bool,
}

/// Something is due: not before the first and not after the second. They differ where a connection ended with the
/// broker, which cannot know when that was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due(pub(crate) Millis, pub(crate) Millis);

impl Due {
    /// Due so many seconds after this moment.
    pub(crate) fn after(now: Millis, seconds: u32) -> Self {
        Self(now.plus_s(seconds), now.plus_s(seconds))
    }
}

/// A will: a message, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Will {
    pub(crate) message: MessageNo,
    pub(crate) delay_s: u32,
}

/// The ledger.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) history: History,
    /// By client: there is one for each client identifier.
    pub(crate) sessions: BTreeMap<usize, Session>,
    pub(crate) rights: Rights,
    pub(crate) limits: Limits,
    /// Last retained message of each topic.
    retained: BTreeMap<&'static str, MessageNo>,
    /// What was written to sessions under which identifier, and where in the log it was acknowledged.
    written: BTreeMap<(SessionNo, MessageNo, Option<u16>), Option<usize>>,
    pub(crate) now: Millis,
}

impl Ledger {
    pub(crate) fn new(limits: Limits, rights: Rights, shards: u16) -> Self {
        let history = History {
            policies: vec![rights.clone()],
            tallies: vec![Tally::default(); usize::from(shards)],
            ..History::default()
        };
        Self {
            history,
            sessions: BTreeMap::new(),
            rights,
            limits,
            retained: BTreeMap::new(),
            written: BTreeMap::new(),
            now: Millis(0),
        }
    }

    pub(crate) fn note(&mut self, what: What) -> usize {
        self.history.note(self.now, what)
    }

    /// Other rights are in force; what is subscribed stays until the shard is told.
    pub(crate) fn on_policy(&mut self, rights: Rights) {
        self.history.policies.push(rights.clone());
        self.rights = rights;
        let epoch = self.history.policies.len() - 1;
        self.note(What::Policy { epoch });
    }

    /// A shard was told of the policy: subscriptions that can be given nothing are gone.
    pub(crate) fn on_judged_again(&mut self, shard: usize) {
        let (rights, history) = (&self.rights, &mut self.history);
        for session in self.sessions.values_mut().filter(|session| session.shard == shard) {
            session.subscriptions.retain(|filter, _| {
                let stays = rights.may_subscribe(session.user, filter);
                if !stays {
                    leave(history, session.no, filter);
                }
                stays
            });
        }
    }

    /// A SUBSCRIBE was taken: its codes.
    pub(crate) fn on_subscribe(
        &mut self,
        client: usize,
        filters: &[(String, SubscriptionOptions)],
        subscription_id: Option<u32>,
        version: ProtocolVersion,
    ) -> Vec<u8> {
        let mut codes = Vec::new();
        for (filter, options) in filters {
            let Some(session) = self.sessions.get_mut(&client) else { break };
            let is_new = !session.subscriptions.contains_key(filter);
            let code = if !self.rights.may_subscribe(session.user, filter) {
                0x87
            } else if is_new && session.subscriptions.len() >= self.limits.subscriptions_max {
                0x97
            } else {
                let is_v5 = version == ProtocolVersion::V5;
                let options =
                    if is_v5 { *options } else { SubscriptionOptions { qos: options.qos, ..Default::default() } };
                session.subscriptions.insert(filter.clone(), Sub { options, id: subscription_id });
                let no = session.no;
                leave(&mut self.history, no, filter);
                let membership = Membership { filter: filter.clone(), qos: options.qos, until: None };
                self.history.sessions[no].memberships.push(membership);
                options.qos.as_u8()
            };
            let what = What::Subscribed { session: session.no, filter: filter.clone(), code };
            self.note(what);
            codes.push(if code >= 0x80 && version != ProtocolVersion::V5 { 0x80 } else { code });
            if code >= 0x80 && version == ProtocolVersion::V31 {
                break;
            }
        }
        codes
    }

    /// An UNSUBSCRIBE was taken: its codes, and whether anything was there.
    pub(crate) fn on_unsubscribe(
        &mut self,
        client: usize,
        filters: &[String],
        version: ProtocolVersion,
    ) -> (Vec<u8>, bool) {
        let mut codes = Vec::new();
        for filter in filters {
            let Some(session) = self.sessions.get_mut(&client) else { break };
            let was_there = session.subscriptions.remove(filter).is_some();
            leave(&mut self.history, session.no, filter);
            let what = What::Unsubscribed { session: session.no, filter: filter.clone() };
            self.note(what);
            codes.push(if was_there { 0 } else { 0x11 });
        }
        let is_changed = codes.contains(&0);
        (if version == ProtocolVersion::V5 { codes } else { Vec::new() }, is_changed)
    }

    /// What should be found retained by somebody who may receive everything.
    pub(crate) fn finish_retained(&mut self) {
        let due: Vec<_> = self.retained.iter().map(|(topic, no)| (*topic, *no)).collect();
        for (topic, no) in due {
            let message = &self.history.messages[no];
            let is_over = message.expires.last().is_some_and(|at| *at <= self.now);
            if !is_over && self.rights.may_publish(message.user, topic) {
                self.history.retained_due.insert(topic.into(), no);
            }
        }
    }

    fn effective(qos: Qos, sub: &Sub) -> Qos {
        qos.min(sub.options.qos)
    }
}

/// A session is a member of a group no longer, if it was one.
fn leave(history: &mut History, session: SessionNo, filter: &str) {
    let now = history.facts.len();
    let open = history.sessions[session].memberships.iter_mut();
    for membership in open.filter(|one| one.filter == filter && one.until.is_none()) {
        membership.until = Some(now + 1);
    }
}

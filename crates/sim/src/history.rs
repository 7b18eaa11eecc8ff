//! What happened in a run, as far as the checkers need it: a log of facts and the books about messages and sessions.
//!
//! Written by the world and the ledger, read by the checkers. A fact is what was seen at the border of the broker, or
//! what follows from that by the standard.

use std::collections::BTreeMap;
use std::fmt;

use motte_broker::audit::CloseCause;
use motte_broker::mqtt::{ProtocolVersion, Qos};
use motte_broker::{Counters, LinkId, Millis};

use crate::rights::Rights;

/// Number of a session, counted over the run: a client that loses its session gets a new number.
pub(crate) type SessionNo = usize;
/// Number of a message, counted over the run; its payload says it.
pub(crate) type MessageNo = usize;

/// One fact and when it was seen.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) now: Millis,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
#[expect(dead_code, reason = "some fields are there to be shown in the log")]
pub(crate) enum What {
    /// CONNACK with success.
    Opened {
        client: usize,
        link: LinkId,
        session: SessionNo,
        is_resumed: bool,
    },
    /// An identity that does not own the session was refused.
    Refused {
        client: usize,
    },
    /// A connection ended. `told` is the reason code of a DISCONNECT that was written; `can_tell` whether one could be.
    Closed {
        client: usize,
        link: LinkId,
        cause: CloseCause,
        told: Option<u8>,
        can_tell: bool,
    },
    /// The client went away without a word; the broker hears of it later.
    Vanished {
        client: usize,
        link: LinkId,
    },
    SessionEnded {
        session: SessionNo,
    },
    Subscribed {
        session: SessionNo,
        filter: String,
        code: u8,
    },
    Unsubscribed {
        session: SessionNo,
        filter: String,
    },
    /// By the rules, the broker has to take this message.
    Accepted {
        message: MessageNo,
    },
    /// By the rules, it has to refuse it.
    Denied {
        message: MessageNo,
    },
    /// PUBACK or PUBREC was written.
    Acknowledged {
        message: MessageNo,
        code: u8,
    },
    /// A PUBLISH was written to a link.
    Wrote {
        session: SessionNo,
        link: LinkId,
        copy: Delivered,
    },
    /// A client read a PUBLISH that is new to it.
    Given {
        session: SessionNo,
        copy: Delivered,
    },
    /// A session has a will from here on.
    WillSet {
        message: MessageNo,
        session: SessionNo,
    },
    /// A will is not to be published any more.
    WillWithdrawn {
        message: MessageNo,
    },
    /// The broker died. What it did from a place in the log on has left no trace in the journal.
    Crashed {
        from: usize,
    },
    /// It is there again, with so many shards.
    Restarted {
        shards: u16,
    },
    /// The journal gave back something else than it was given.
    Lied,
    /// Other rights are in force from here on.
    Policy {
        epoch: usize,
    },
}

/// A PUBLISH from the broker. `message` is `None` for an empty payload, which cannot say its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) message: Option<MessageNo>,
    pub(crate) topic: String,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) id: Option<u16>,
    pub(crate) subscription_ids: Vec<u32>,
    pub(crate) expiry_s: Option<u32>,
}

/// A message somebody publishes.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) publisher: usize,
    pub(crate) user: usize,
    pub(crate) topic: &'static str,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) payload: String,
    pub(crate) expiry_s: Option<u32>,
    /// When it expires, by when it was accepted: one for each time, or none.
    pub(crate) expires: Vec<Millis>,
    /// Where in the log it was accepted: more than once when it was repeated at QoS 1.
    pub(crate) accepted: Vec<usize>,
    pub(crate) is_acknowledged: bool,
}

/// A session.
#[derive(Clone, Debug)]
pub(crate) struct SessionBook {
    pub(crate) client: usize,
    pub(crate) user: usize,
    pub(crate) shard: usize,
    /// Where in the log it ended.
    pub(crate) ended: Option<usize>,
    /// Smallest Maximum Packet Size of its connections.
    pub(crate) packet_size_min: u32,
    pub(crate) memberships: Vec<Membership>,
}

/// A session was a member of a group, until a place in the log.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) filter: String,
    pub(crate) qos: Qos,
    pub(crate) until: Option<usize>,
}

impl SessionBook {
    /// Whether it was a member of the group at some time since a place in the log, so that a copy might have gone to it
    /// or been passed on to it; at which QoS.
    pub(crate) fn member_since(&self, filter: &str, since: usize) -> impl Iterator<Item = Qos> {
        let of_group = self.memberships.iter().filter(move |one| one.filter == filter);
        of_group.filter(move |one| one.until.is_none_or(|until| until > since)).map(|one| one.qos)
    }
}

/// What one session is owed because of its own subscriptions.
#[derive(Clone, Debug)]
pub(crate) struct Owed {
    pub(crate) message: MessageNo,
    pub(crate) session: SessionNo,
    /// Where in the log it became owed.
    pub(crate) since: usize,
    pub(crate) qos: Qos,
    pub(crate) keeps_retain: bool,
    pub(crate) subscription_ids: Vec<u32>,
    pub(crate) expires: Option<Millis>,
    /// The session's shard has it.
    pub(crate) is_handed: bool,
    /// That shard counted something as dropped when it took this message.
    pub(crate) maybe_dropped: bool,
    pub(crate) is_written: bool,
    /// The identifier it was written under.
    pub(crate) id: Option<u16>,
    /// Where in the log the client's acknowledgement was taken.
    pub(crate) settled: Option<usize>,
    /// Where in the log it was written last.
    pub(crate) written: Option<usize>,
    /// It was written, and the journal lost under which identifier: when it comes again it says that it does.
    pub(crate) must_repeat: bool,
    /// The broker forgot it in a crash, and did not have to know it.
    pub(crate) is_void: bool,
}

/// What one group of a shared subscription is owed: one copy.
#[derive(Clone, Debug)]
pub(crate) struct GroupOwed {
    pub(crate) message: MessageNo,
    pub(crate) filter: String,
    pub(crate) since: usize,
    /// Who could have been chosen at first.
    pub(crate) members: Vec<SessionNo>,
    /// The lowest QoS of a member.
    pub(crate) qos_min: Qos,
    pub(crate) expires: Option<Millis>,
    /// Who was given the copy, as far as it can be told apart from those of other groups.
    pub(crate) winner: Option<(SessionNo, Qos)>,
    /// As with [`Owed`].
    pub(crate) settled: Option<usize>,
    pub(crate) is_void: bool,
}

/// What one shard is expected to have counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) received: u64,
    /// PUBLISH packets that may or may not have been counted before they ended their link.
    pub(crate) received_maybe: u64,
    /// Deliveries owed to its sessions, with those a publisher on it was not let make.
    pub(crate) owed: u64,
    /// First copies written.
    pub(crate) wrote: u64,
    /// Among them, copies that can only come from the retained store.
    pub(crate) replayed: u64,
    /// Copies that may come from there.
    pub(crate) replayed_maybe: u64,
}

/// The whole history.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) facts: Vec<Fact>,
    pub(crate) messages: Vec<Message>,
    pub(crate) sessions: Vec<SessionBook>,
    pub(crate) owed: Vec<Owed>,
    pub(crate) groups: Vec<GroupOwed>,
    /// Rights by epoch.
    pub(crate) policies: Vec<Rights>,
    pub(crate) versions: Vec<ProtocolVersion>,
    pub(crate) tallies: Vec<Tally>,
    /// Places in the log at which some shard had counted something as dropped.
    pub(crate) drops: Vec<usize>,
    /// Copies of groups that went to a session that ended before it acknowledged them: they may be counted again.
    pub(crate) regiven: u64,
    /// Counters in the end.
    pub(crate) counters: Vec<Counters>,
    /// Whether the broker died once or more: its counters begin anew then.
    pub(crate) has_crashed: bool,
    /// Whether messages wait for their records before they are written.
    pub(crate) has_waits: bool,
    /// Whether some client accepted packets up to some size only.
    pub(crate) has_size_limits: bool,
    /// What should be retained in the end and may be seen, and what was found, by topic.
    pub(crate) retained_due: BTreeMap<String, MessageNo>,
    pub(crate) retained_found: BTreeMap<String, Vec<Option<MessageNo>>>,
    pub(crate) end: Millis,
}

impl History {
    /// Writes a fact down and tells where it stands.
    pub(crate) fn note(&mut self, now: Millis, what: What) -> usize {
        self.facts.push(Fact { now, what });
        self.facts.len() - 1
    }

    /// The latest policy at a place in the log, as its epoch.
    pub(crate) fn epoch_at(&self, at: usize) -> usize {
        let before = self.facts[..at].iter().rev();
        before
            .into_iter()
            .find_map(|f| if let What::Policy { epoch } = f.what { Some(epoch) } else { None })
            .unwrap_or(0)
    }
}

/// Which promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Every acknowledged message of QoS 1 or 2 reaches each matching session that lasts.
    I1,
    /// QoS 2 at most once.
    I2,
    /// Order.
    I3,
    /// One live owner for each client identifier.
    I4,
    /// Nothing the rights in force forbid.
    I5,
    /// The retained message is the last one.
    I6,
    /// Each will is published once, or not at all once it was withdrawn.
    I7,
    /// Counts add up.
    I8,
    /// What the standard says of single packets and connections.
    Protocol,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: Invariant,
    pub(crate) what: String,
    pub(crate) message: Option<MessageNo>,
    pub(crate) client: Option<usize>,
}

impl Violation {
    pub(crate) fn new(invariant: Invariant, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into(), message: None, client: None }
    }

    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::new(Invariant::Protocol, what)
    }

    pub(crate) fn of_message(self, message: Option<MessageNo>) -> Self {
        Self { message, ..self }
    }

    pub(crate) fn of_client(self, client: usize) -> Self {
        Self { client: Some(client), ..self }
    }

    /// Whether a fact has to do with it: with its message and its client, or with the life of its client.
    pub(crate) fn is_about(&self, what: &What, history: &History) -> bool {
        let (message, session, client) = match what {
            What::Opened { client, .. }
            | What::Refused { client }
            | What::Closed { client, .. }
            | What::Vanished { client, .. } => (None, None, Some(*client)),
            What::WillSet { message, session } => (Some(*message), Some(*session), None),
            What::SessionEnded { session } | What::Subscribed { session, .. } | What::Unsubscribed { session, .. } => {
                (None, Some(*session), None)
            }
            What::Accepted { message }
            | What::Denied { message }
            | What::WillWithdrawn { message }
            | What::Acknowledged { message, .. } => {
                let publisher = history.messages[*message].publisher;
                return self.message.map_or(self.client == Some(publisher), |about| about == *message);
            }
            What::Wrote { session, copy, .. } | What::Given { session, copy } => (copy.message, Some(*session), None),
            What::Policy { .. } | What::Crashed { .. } | What::Restarted { .. } | What::Lied => return true,
        };
        let client = client.or(session.map(|session| history.sessions[session].client));
        let fits_message = message.is_none() || self.message.is_none() || message == self.message;
        fits_message && (self.client.is_none() || client == self.client)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.what)
    }
}

//! One session: subscriptions, what is owed to the client and what it has sent, online or not.
//!
//! Held by the shard its client id lives on, driven by `handle`. Bound to its owner for life (K25). Never touches
//! another session.

pub(crate) mod copies;
pub(crate) mod deliver;
pub(crate) mod flight;
pub(crate) mod handover;
pub(crate) mod ids;
mod owed;
pub(crate) mod queue;
mod refs;
pub(crate) mod replay;
pub(crate) mod restored;
mod waiting;
pub(crate) mod will;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use motte_audit::{Event, EventKind};
use motte_mqtt::{SubscriptionId, SubscriptionOptions};
use motte_policy::Subject;

use crate::link::Link;
use crate::mount::MountPoint;
use crate::restore::StoredWill;
use crate::routes::{Facts, Fullness, Room, SessionKey};
use crate::shard::Millis;
use crate::tenant::{self, session_name};
use crate::timer::Armed;
use flight::InFlight;
use ids::IdSet;
use queue::Queue;
use replay::Replay;

/// A subscription as its session keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscribed {
    pub(crate) options: SubscriptionOptions,
    pub(crate) id: Option<SubscriptionId>,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) key: SessionKey,
    pub(crate) facts: Arc<Facts>,
    /// Seconds it outlives its connection; `u32::MAX` is for ever.
    pub(crate) expiry_s: u32,
    pub(crate) link: Option<Link>,
    /// By filter with any mount point, and any `$share/NAME/` in front.
    pub(crate) subscriptions: BTreeMap<Box<str>, Subscribed>,
    /// How many of them are shared: only then others ask for its room.
    pub(crate) shares: usize,
    /// QoS 2 identifiers received and not released: what makes them exactly once (MQTT-4.3.3-10).
    pub(crate) received: IdSet,
    pub(crate) will: Option<StoredWill>,
    pub(crate) armed: Armed,
    /// Whether the journal knows the session.
    pub(crate) is_recorded: bool,
    /// Sent and not finished, in the order of first sending; the first `sent` of them went out on this connection.
    in_flight: VecDeque<InFlight>,
    sent: usize,
    /// Bytes of the messages in `in_flight` that have not arrived for all we know.
    in_flight_bytes: usize,
    /// Identifiers of `in_flight`.
    ids_used: IdSet,
    last_id: u16,
    /// What was accepted until then may have been sent by an earlier run of the node.
    unsure_until: Option<Millis>,
    queue: Queue,
    /// Whether messages were asked back from the journal and have not come.
    is_fetching: bool,
    /// How many references are still to be looked at for messages that other members of its groups can take.
    handover: Option<usize>,
    /// Filters of groups it has left and whose messages may be among the references that wait.
    pub(crate) left_groups: BTreeSet<Box<str>>,
    /// Whether there may be others: what it had left before the node was started is not written down.
    is_unsure_of_groups: bool,
    replays: VecDeque<Replay>,
    missed: Missed,
}

/// Messages dropped and not yet reported.
#[derive(Debug, Default)]
struct Missed {
    /// Whether the burst was reported at its beginning.
    in_burst: bool,
    messages: u64,
}

impl Session {
    /// A new session of `owner`, of whose topics the client does not see the mount point.
    pub(crate) fn new(key: SessionKey, owner: Subject, mount_point: MountPoint) -> Self {
        let name = session_name(&owner).into();
        let (room, durable, full) = (Room::default(), AtomicBool::new(false), AtomicBool::new(false));
        Self {
            key,
            facts: Arc::new(Facts { subject: Arc::new(owner), name, mount_point, room, durable, full }),
            expiry_s: 0,
            link: None,
            subscriptions: BTreeMap::new(),
            shares: 0,
            received: IdSet::default(),
            will: None,
            armed: Armed::default(),
            is_recorded: false,
            in_flight: VecDeque::new(),
            sent: 0,
            in_flight_bytes: 0,
            ids_used: IdSet::default(),
            last_id: 0,
            unsure_until: None,
            queue: Queue::default(),
            is_fetching: false,
            handover: None,
            left_groups: BTreeSet::new(),
            is_unsure_of_groups: false,
            replays: VecDeque::new(),
            missed: Missed::default(),
        }
    }

    /// Changes how long the session outlives its connection; told to those who publish to it if that matters to them.
    pub(crate) fn set_expiry(&mut self, expiry_s: u32, fullness: &Fullness) {
        self.expiry_s = expiry_s;
        let was_durable = self.facts.durable.swap(expiry_s > 0, Ordering::AcqRel);
        if was_durable != self.is_durable() && !self.subscriptions.is_empty() {
            fullness.on_change();
        }
    }

    /// Whether the session outlives its connection.
    pub(crate) fn is_durable(&self) -> bool {
        self.expiry_s > 0
    }

    /// The name it is kept under: what the journal calls its client identifier.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.facts.name
    }

    /// A connection stands for this session: everything unfinished will be sent again on it.
    pub(crate) fn attach(&mut self, link: Link) {
        self.sent = 0;
        self.facts.room.tell_packet_size(link.packet_size_max);
        self.link = Some(link);
        self.end_handover();
    }

    /// The connection is gone.
    pub(crate) fn detach(&mut self) -> Option<Link> {
        self.sent = 0;
        self.facts.room.tell_packet_size(u32::MAX);
        self.link.take()
    }

    /// An event about this session's client.
    pub(crate) fn event(&self, kind: EventKind) -> Event {
        event_about(&self.facts.subject, kind)
    }
}

/// An event about a subject.
pub(crate) fn event_about(subject: &Subject, kind: EventKind) -> Event {
    let kind = match kind {
        EventKind::Denied { what, topic } => EventKind::Denied { what, topic: tenant::shown(subject, &topic) },
        EventKind::WillPublished { topic } => EventKind::WillPublished { topic: tenant::shown(subject, &topic) },
        kind => kind,
    };
    Event {
        client_id: Some(Arc::clone(&subject.client_id.0)),
        tenant: subject.tenant.as_ref().map(|tenant| tenant.as_str().into()),
        user_name: match &subject.identity {
            motte_policy::Identity::User(name) => Some(Arc::clone(&name.0)),
            motte_policy::Identity::Anonymous => None,
        },
        kind,
    }
}

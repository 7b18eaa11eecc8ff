//! What the durable records come to: a small reading of their own descriptions, independent of the real store.
//!
//! Held by the keeper, read when the broker starts again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use motte_broker::mqtt::{PacketId, Qos, SubscriptionId, SubscriptionOptions};
use motte_broker::policy::{Subject, UserName};
use motte_broker::restore::{FetchedMessage, FoundMessage, RestoredFlight, StoredMessage, StoredRef, StoredWill};
use motte_broker::tenant::{session_name, subject_of};
use motte_broker::{Fetch, Fetched, Message, Millis, Origin, Position, Restored, RestoredSession, ShardId};

use super::Entry;
use super::entry::Aim;

/// A message and its place among all messages.
#[derive(Clone, Debug)]
pub(crate) struct KeptMessage {
    pub(crate) stored: StoredMessage,
    weight_bytes: u32,
    place: u64,
}

/// A message owed to a session.
#[derive(Clone, Debug)]
pub(crate) struct Debt {
    pub(crate) origin: Origin,
    pub(crate) aim: Aim,
    place: u64,
}

/// Something sent and not finished; `None` once it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) id: PacketId,
    pub(crate) debt: Option<Debt>,
}

/// A session.
#[derive(Clone, Debug)]
pub(crate) struct KeptSession {
    owner: Subject,
    expiry_s: u32,
    mount_point: String,
    pub(super) left_at: Option<Millis>,
    subscriptions: BTreeMap<String, (SubscriptionOptions, Option<SubscriptionId>)>,
    pub(crate) will: Option<StoredWill>,
    received: BTreeSet<PacketId>,
    pub(crate) in_flight: Vec<Flight>,
    /// In the order of acceptance.
    pub(crate) queue: Vec<Debt>,
}

/// Everything that survives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    pub(crate) messages: BTreeMap<Origin, KeptMessage>,
    pub(crate) sessions: BTreeMap<String, KeptSession>,
    pub(crate) retained: BTreeMap<String, (Option<Origin>, u64)>,
    removals: BTreeMap<UserName, Millis>,
    places: u64,
    pub(super) past: Past,
    /// The first thing it was told that does not fit what it was told before.
    complaint: Option<String>,
}

/// What holds no longer: a journal that lies gives it back.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// QoS 2 messages that have arrived, by client.
    pub(super) arrived: Vec<(String, Debt)>,
    pub(super) retained: BTreeMap<String, Origin>,
    pub(super) wills: BTreeMap<String, StoredWill>,
    owed: BTreeSet<(String, Origin)>,
}

impl Kept {
    /// Takes the records of one turn.
    pub(crate) fn take(&mut self, shard: ShardId, entries: Vec<(Position, Entry)>) {
        for (position, entry) in entries {
            self.take_one(Origin { shard, position }, entry);
        }
    }

    fn take_one(&mut self, at: Origin, entry: Entry) {
        match entry {
            Entry::Published(message, aims) => self.on_published(at, *message, aims),
            Entry::Retained(topic, origin, serial) => {
                let newest = self.retained.get(&topic).map_or(0, |(_, serial)| *serial);
                if serial >= newest {
                    let old = self.retained.insert(topic.clone(), (origin, serial)).and_then(|(origin, _)| origin);
                    self.past.retained.extend(old.map(|old| (topic, old)));
                }
            }
            Entry::SessionOpened(owner, expiry_s, mount_point) => self.on_opened(owner, expiry_s, mount_point),
            Entry::SessionEnded(client, estate) => self.on_ended(&client, &estate),
            Entry::SessionClosed(client) => drop(self.sessions.remove(&client)),
            Entry::Moved(origin, from, to) => {
                self.settle(&from, origin);
                self.owe(origin, to);
            }
            Entry::UserRemoved(user, at) => self.removals.extend([(user, at)]),
            Entry::Received(client, id) => self.with(&client, |session| session.received.extend([id])),
            Entry::Released(client, id) => self.with(&client, |session| session.received.retain(|held| *held != id)),
            Entry::Sent(client, origin, id) => self.on_sent(&client, origin, id),
            Entry::Arrived(client, origin, id) => {
                let session = self.sessions.get_mut(&client);
                let arrived = session.and_then(|session| session.on_arrived(origin, id));
                self.past.arrived.extend(arrived.map(|debt| (client, debt)));
            }
            Entry::Completed(client, id) => {
                self.with(&client, |session| session.in_flight.retain(|flight| flight.id != id));
            }
            Entry::Settled(client, origin) => self.settle(&client, origin),
            Entry::SessionLeft(client, at) => self.with(&client, |session| session.left_at = Some(at)),
            Entry::Subscribed(client, filter, options, id) => {
                self.with(&client, |session| session.subscriptions.extend([(filter, (options, id))]));
            }
            Entry::Unsubscribed(client, filter) => {
                self.with(&client, |session| session.subscriptions.retain(|held, _| *held != filter));
            }
            Entry::WillSet(client, will) => self.with(&client, |session| session.will = Some(*will)),
            Entry::WillCleared(client) => {
                let will = self.sessions.get_mut(&client).and_then(|session| session.will.take());
                self.past.wills.extend(will.map(|will| (client, will)));
            }
        }
    }

    fn with(&mut self, client: &str, act: impl FnOnce(&mut KeptSession)) {
        match self.sessions.get_mut(client) {
            Some(session) => act(session),
            None => self.complain(format!("a record is about {client}, which has no session")),
        }
    }

    fn complain(&mut self, what: String) {
        self.complaint.get_or_insert(what);
    }

    /// What does not fit, once.
    pub(crate) fn take_complaint(&mut self) -> Option<String> {
        self.complaint.take()
    }

    fn on_published(&mut self, at: Origin, (stored, weight_bytes): (StoredMessage, u32), aims: Vec<Aim>) {
        self.places += 1;
        let stored = StoredMessage { origin: at, ..stored };
        self.messages.insert(at, KeptMessage { stored, weight_bytes, place: self.places });
        for aim in aims {
            self.owe(at, aim);
        }
    }

    fn owe(&mut self, origin: Origin, aim: Aim) {
        let Some(message) = self.messages.get(&origin) else {
            return self.complain(format!("{origin:?} is owed and was never published"));
        };
        let Some(session) = self.sessions.get_mut(&aim.client_id) else {
            return self.complain(format!("{origin:?} is owed to {}, which has no session", aim.client_id));
        };
        // Everything that is said of it later names the session and the message alone.
        if session.owes(origin) {
            return self.complain(format!("{origin:?} is owed to {} twice", aim.client_id));
        }
        let place = message.place;
        self.past.owed.insert((aim.client_id.clone(), origin));
        let at = session.queue.partition_point(|debt| debt.place <= place);
        session.queue.insert(at, Debt { origin, aim, place });
    }

    fn on_opened(&mut self, owner: Subject, expiry_s: u32, mount_point: String) {
        let client = session_name(&owner).into_owned();
        let session = self.sessions.entry(client).or_insert_with(|| KeptSession {
            owner,
            expiry_s,
            mount_point,
            left_at: None,
            subscriptions: BTreeMap::new(),
            will: None,
            received: BTreeSet::new(),
            in_flight: Vec::new(),
            queue: Vec::new(),
        });
        session.expiry_s = expiry_s;
        session.left_at = None;
    }

    /// What a session leaves is owed under another name.
    fn on_ended(&mut self, client: &str, estate: &str) {
        let Some(mut session) = self.sessions.remove(client) else {
            return self.complain(format!("{client} ends, which has no session"));
        };
        session.expiry_s = 0;
        session.owner = subject_of(session.owner.identity.clone(), estate);
        let in_flight = session.in_flight.iter().filter_map(|flight| flight.debt.as_ref());
        let debts = in_flight.chain(&session.queue).map(|debt| (estate.to_owned(), debt.origin));
        self.past.owed.extend(debts);
        if self.sessions.insert(estate.to_owned(), session).is_some() {
            self.complain(format!("{estate:?} is the name of something else"));
        }
    }

    fn settle(&mut self, client: &str, origin: Origin) {
        match self.sessions.get_mut(client) {
            Some(session) if session.owes(origin) => session.settle(origin),
            // It may have been on its way to the session before.
            _ if client.starts_with('\0') => {}
            // It was on its way to a session that has ended since.
            _ if self.past.owed.contains(&(client.into(), origin)) => {}
            _ => self.complain(format!("{client} is done with {origin:?}, which it was not owed")),
        }
    }

    fn on_sent(&mut self, client: &str, origin: Origin, id: PacketId) {
        let Some(session) = self.sessions.get_mut(client) else { return };
        let Some(at) = session.queue.iter().position(|debt| debt.origin == origin) else {
            return self.complain(format!("{origin:?} is sent to {client} as {id:?}, and does not wait for it"));
        };
        let debt = session.queue.remove(at);
        session.in_flight.retain(|flight| flight.id != id);
        session.in_flight.push(Flight { id, debt: Some(debt) });
    }

    /// The sessions, retained messages and removals, as the broker is given them at its start.
    pub(crate) fn restored(&self) -> Restored {
        let retained = self.retained.values().filter_map(|(origin, serial)| {
            let message = self.messages.get(&(*origin)?)?;
            Some((Arc::new(Message::restored(message.stored.clone())), *serial))
        });
        Restored {
            sessions: self.sessions.values().map(|session| self.restored_session(session)).collect(),
            retained: retained.collect(),
            removals: self.removals.iter().map(|(user, at)| (user.clone(), *at)).collect(),
            ..Restored::default()
        }
    }

    fn restored_session(&self, session: &KeptSession) -> RestoredSession {
        let subscriptions = session.subscriptions.iter();
        let in_flight = session.in_flight.iter().map(|flight| RestoredFlight {
            id: flight.id,
            message: flight.debt.as_ref().and_then(|debt| self.reference(debt)),
        });
        RestoredSession {
            owner: session.owner.clone(),
            expiry_s: session.expiry_s,
            mount_point: session.mount_point.as_str().into(),
            left_at: session.left_at,
            subscriptions: subscriptions
                .map(|(filter, (options, id))| (filter.as_str().into(), *options, *id))
                .collect(),
            will: session.will.clone(),
            received: session.received.iter().copied().collect(),
            in_flight: in_flight.collect(),
            queue: session.queue.iter().filter_map(|debt| self.reference(debt)).collect(),
        }
    }

    fn reference(&self, debt: &Debt) -> Option<StoredRef> {
        let message = self.messages.get(&debt.origin)?;
        Some(StoredRef {
            origin: debt.origin,
            qos: debt.aim.qos,
            is_shared: debt.aim.share.is_some(),
            weight_bytes: message.weight_bytes,
            accepted: message.stored.accepted,
            expires: message.stored.expires,
        })
    }

    /// Reads messages back for a session.
    pub(crate) fn fetch(&self, fetch: &Fetch) -> Fetched {
        let session = self.sessions.get(&*fetch.client_id);
        let found = |origin: &Origin| {
            let session = session?;
            let mut debts = session.in_flight.iter().filter_map(|flight| flight.debt.as_ref()).chain(&session.queue);
            let aim = &debts.find(|debt| debt.origin == *origin)?.aim;
            let message = self.messages.get(origin)?;
            let share = aim.share.as_ref().map(|(name, filter)| (name.as_str().into(), filter.as_str().into()));
            Some(FoundMessage {
                message: Arc::new(Message::restored(message.stored.clone())),
                qos: aim.qos,
                retain: aim.retain,
                ids: aim.ids.as_slice().into(),
                share,
            })
        };
        let messages = fetch.origins.iter().map(|origin| FetchedMessage { origin: *origin, found: found(origin) });
        Fetched { session: fetch.session, messages: messages.collect() }
    }

    /// Whether a QoS 2 message is known to be on its way to a session under this identifier.
    pub(crate) fn knows_sent(&self, client: &str, id: PacketId) -> bool {
        let flights = self.sessions.get(client).map(|session| session.in_flight.as_slice()).unwrap_or_default();
        let is_exact = |debt: &Debt| debt.aim.qos == Qos::ExactlyOnce;
        flights.iter().any(|flight| flight.id == id && flight.debt.as_ref().is_some_and(is_exact))
    }
}

impl KeptSession {
    fn owes(&self, origin: Origin) -> bool {
        let mut debts = self.in_flight.iter().filter_map(|flight| flight.debt.as_ref()).chain(&self.queue);
        debts.any(|debt| debt.origin == origin)
    }

    fn settle(&mut self, origin: Origin) {
        let is_it = |debt: &Debt| debt.origin == origin;
        if let Some(at) = self.in_flight.iter().position(|flight| flight.debt.as_ref().is_some_and(is_it)) {
            self.in_flight.remove(at);
        } else if let Some(at) = self.queue.iter().position(is_it) {
            self.queue.remove(at);
        }
    }

    fn on_arrived(&mut self, origin: Option<Origin>, id: PacketId) -> Option<Debt> {
        if let Some(flight) = self.in_flight.iter_mut().find(|flight| flight.id == id) {
            return flight.debt.take();
        }
        if let Some(origin) = origin {
            self.settle(origin);
        }
        self.in_flight.push(Flight { id, debt: None });
        None
    }
}

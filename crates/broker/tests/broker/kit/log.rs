//! What the journals of all shards were told, in one order, and what it means: sessions and messages as a store gives
//! them back. As plain as it can be, so that other stores can be held against it.
//!
//! Used by the journal of the tests. A node that crashes is left with a part of the log from its beginning that ends
//! between two calls into shards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use motte_broker::mqtt::{PacketId, SubscriptionId, SubscriptionOptions};
use motte_broker::policy::{Subject, UserName};
use motte_broker::restore::{RestoredFlight, StoredRef, StoredWill};
use motte_broker::tenant::{session_name, subject_of};
use motte_broker::{Banned, Message, Millis, Origin, Record, Restored, RestoredSession};

use super::journal::{KeptTarget, copy};

/// Everything that was appended.
#[derive(Debug, Default)]
pub struct Log {
    /// Of the call into a shard that is under way.
    pub turn: usize,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    turn: usize,
    at: Origin,
    fact: Fact,
}

/// A record that outlives its call.
#[derive(Clone, Debug)]
enum Fact {
    Published(Arc<Message>, Vec<KeptTarget>),
    Retained(String, Option<Origin>, u64),
    UserRemoved(UserName, Millis),
    Opened(Subject, u32, Box<str>),
    Banned(Banned, Option<Millis>),
    Unbanned(Banned),
    Of(String, Change),
}

/// What changes of one session.
#[derive(Clone, Debug)]
enum Change {
    Received(PacketId),
    Released(PacketId),
    Sent(Origin, PacketId),
    Arrived(Option<Origin>, PacketId),
    Completed(PacketId),
    Settled(Origin),
    MovedTo(Origin, KeptTarget),
    Left(Millis),
    Ended(String),
    Closed,
    Subscribed(Box<str>, SubscriptionOptions, Option<SubscriptionId>),
    Unsubscribed(Box<str>),
    Will(Option<StoredWill>),
}

impl Log {
    pub fn on_record(&mut self, record: &Record<'_>, at: Origin) {
        let fact = fact(record, at);
        self.entries.push(Entry { turn: self.turn, at, fact });
    }

    /// The ends of all calls that wrote something, and the beginning.
    pub fn cuts(&self) -> Vec<usize> {
        let turns: BTreeSet<usize> = self.entries.iter().map(|entry| entry.turn).collect();
        std::iter::once(0).chain(turns.into_iter().map(|turn| turn + 1)).collect()
    }

    /// The last positions of each shard before a cut.
    pub fn ends(&self, cut: usize) -> BTreeMap<u16, motte_broker::Position> {
        let before = self.entries.iter().filter(|entry| entry.turn < cut);
        before.map(|entry| (entry.at.shard.0, entry.at.position)).collect()
    }

    /// What is left of it after a crash, to go on with.
    pub fn before(mut self, cut: usize) -> Self {
        self.entries.retain(|entry| entry.turn < cut);
        Self { turn: cut, ..self }
    }

    /// What there is after a crash that left everything before a cut.
    pub fn recover(&self, cut: usize) -> Recovered {
        let mut recovered = Recovered::default();
        for entry in self.entries.iter().filter(|entry| entry.turn < cut) {
            recovered.apply(&entry.fact, entry.at);
        }
        recovered
    }
}

fn fact(record: &Record<'_>, at: Origin) -> Fact {
    let (client_id, change) = match record {
        Record::Published { message, targets } => {
            return Fact::Published(Arc::new(copy(message, at)), targets.iter().map(KeptTarget::from).collect());
        }
        Record::Retained { topic, origin, serial } => return Fact::Retained((*topic).into(), *origin, *serial),
        Record::UserRemoved { user, at } => return Fact::UserRemoved((*user).clone(), *at),
        Record::SessionOpened { owner, expiry_s, mount_point } => {
            return Fact::Opened((*owner).clone(), *expiry_s, (*mount_point).into());
        }
        Record::Banned { who, until } => return Fact::Banned((*who).clone(), *until),
        Record::Unbanned { who } => return Fact::Unbanned((*who).clone()),
        Record::Moved { origin, from, to } => (from, Change::MovedTo(*origin, (*to).into())),
        Record::Received { client_id, id } => (client_id, Change::Received(*id)),
        Record::Released { client_id, id } => (client_id, Change::Released(*id)),
        Record::Sent { client_id, origin, id } => (client_id, Change::Sent(*origin, *id)),
        Record::Arrived { client_id, origin, id } => (client_id, Change::Arrived(*origin, *id)),
        Record::Completed { client_id, id } => (client_id, Change::Completed(*id)),
        Record::Settled { client_id, origin } => (client_id, Change::Settled(*origin)),
        Record::SessionLeft { client_id, at } => (client_id, Change::Left(*at)),
        Record::SessionEnded { client_id, estate } => (client_id, Change::Ended((*estate).into())),
        Record::SessionClosed { client_id } => (client_id, Change::Closed),
        Record::Subscribed { client_id, filter, options, id } => {
            (client_id, Change::Subscribed((*filter).into(), *options, *id))
        }
        Record::Unsubscribed { client_id, filter } => (client_id, Change::Unsubscribed((*filter).into())),
        Record::WillSet { client_id, will } => (client_id, Change::Will(Some(will.into()))),
        Record::WillCleared { client_id } => (client_id, Change::Will(None)),
        other => panic!("{other:?} means nothing here"),
    };
    Fact::Of((*client_id).into(), change)
}

/// What a part of the log means.
#[derive(Debug, Default)]
pub struct Recovered {
    pub messages: BTreeMap<Origin, (Arc<Message>, Vec<KeptTarget>)>,
    sessions: BTreeMap<String, Kept>,
    retained: BTreeMap<String, (Option<Origin>, u64)>,
    removals: Vec<(UserName, Millis)>,
    bans: BTreeMap<Banned, Option<Millis>>,
}

/// A session.
#[derive(Debug)]
struct Kept {
    owner: Subject,
    expiry_s: u32,
    mount_point: Box<str>,
    left_at: Option<Millis>,
    subscriptions: BTreeMap<Box<str>, (SubscriptionOptions, Option<SubscriptionId>)>,
    will: Option<StoredWill>,
    received: BTreeSet<PacketId>,
    in_flight: Vec<(PacketId, Option<Origin>)>,
    queue: Vec<Origin>,
}

impl Recovered {
    fn apply(&mut self, fact: &Fact, at: Origin) {
        match fact {
            Fact::Published(message, targets) => {
                let targets: Vec<_> = targets.iter().filter(|t| self.sessions.contains_key(&t.client_id)).collect();
                for target in &targets {
                    self.sessions.get_mut(&target.client_id).unwrap().queue.push(at);
                }
                self.messages.insert(at, (Arc::clone(message), targets.into_iter().cloned().collect()));
            }
            Fact::Retained(topic, origin, serial) => {
                let entry = self.retained.entry(topic.clone()).or_default();
                assert_ne!(entry.1, *serial, "a serial number of {topic} stands for one change");
                if entry.1 < *serial {
                    *entry = (*origin, *serial);
                }
            }
            Fact::UserRemoved(user, at) => self.removals.push((user.clone(), *at)),
            Fact::Banned(who, until) => drop(self.bans.insert(who.clone(), *until)),
            Fact::Unbanned(who) => drop(self.bans.remove(who).expect("who is let in was kept out")),
            Fact::Opened(owner, expiry_s, mount_point) => self.open(owner, *expiry_s, mount_point),
            Fact::Of(client_id, change) => self.change(client_id, change),
        }
    }

    fn open(&mut self, owner: &Subject, expiry_s: u32, mount_point: &str) {
        let new = Kept {
            owner: owner.clone(),
            expiry_s,
            mount_point: mount_point.into(),
            left_at: None,
            subscriptions: BTreeMap::new(),
            will: None,
            received: BTreeSet::new(),
            in_flight: Vec::new(),
            queue: Vec::new(),
        };
        let session = self.sessions.entry(session_name(owner).into_owned()).or_insert(new);
        (session.expiry_s, session.left_at) = (expiry_s, None);
    }

    fn change(&mut self, client_id: &str, change: &Change) {
        if let Change::MovedTo(origin, to) = change {
            self.settle(client_id, *origin);
            self.messages.get_mut(origin).expect("what moves is kept").1.push(to.clone());
            self.sessions.get_mut(&to.client_id).expect("it moves to a session").queue.push(*origin);
            return;
        }
        let session = self.sessions.get_mut(client_id).unwrap_or_else(|| panic!("{change:?} of nobody: {client_id}"));
        match change.clone() {
            Change::Received(id) => assert!(session.received.insert(id), "{client_id} has {id:?} already"),
            Change::Released(id) => assert!(session.received.remove(&id), "{client_id} does not have {id:?}"),
            Change::Sent(origin, id) => {
                let at = session.queue.iter().position(|waiting| *waiting == origin);
                session.queue.remove(at.expect("what is sent waits"));
                assert!(session.in_flight.iter().all(|(used, _)| *used != id), "{client_id} uses {id:?} already");
                session.in_flight.push((id, Some(origin)));
            }
            Change::Arrived(origin, id) => {
                match session.in_flight.iter_mut().find(|(used, _)| *used == id) {
                    Some((_, sent)) => assert_eq!(sent.take(), origin),
                    None => session.in_flight.push((id, None)),
                }
                if let Some(origin) = origin {
                    self.release(client_id, origin);
                }
            }
            Change::Completed(id) => session.in_flight.retain(|(used, _)| *used != id),
            Change::Settled(origin) => self.settle(client_id, origin),
            Change::Left(at) => session.left_at = Some(at),
            Change::Ended(estate) => {
                let mut session = self.sessions.remove(client_id).expect("it was found");
                session.owner = subject_of(session.owner.identity.clone(), &estate);
                session.expiry_s = 0;
                assert!(self.sessions.insert(estate.clone(), session).is_none(), "{estate:?} is there already");
                let targets = self.messages.values_mut().flat_map(|(_, targets)| targets);
                let left = targets.filter(|target| target.client_id == client_id);
                left.for_each(|target| target.client_id.clone_from(&estate));
            }
            Change::Closed => {
                self.sessions.remove(client_id);
                for (_, targets) in self.messages.values_mut() {
                    targets.retain(|target| target.client_id != client_id);
                }
            }
            Change::Subscribed(filter, options, id) => drop(session.subscriptions.insert(filter, (options, id))),
            Change::Unsubscribed(filter) => drop(session.subscriptions.remove(&filter).expect("it was there")),
            Change::Will(will) => session.will = will,
            Change::MovedTo(..) => unreachable!("it was done"),
        }
    }

    fn settle(&mut self, client_id: &str, origin: Origin) {
        let Some(session) = self.sessions.get_mut(client_id) else { return };
        session.queue.retain(|waiting| *waiting != origin);
        session.in_flight.retain(|(_, sent)| *sent != Some(origin));
        self.release(client_id, origin);
    }

    fn release(&mut self, client_id: &str, origin: Origin) {
        if let Some((_, targets)) = self.messages.get_mut(&origin) {
            targets.retain(|target| target.client_id != client_id);
        }
    }

    fn reference(&self, client_id: &str, origin: Origin) -> StoredRef {
        let (message, targets) = &self.messages[&origin];
        let target = targets.iter().find(|target| target.client_id == client_id).expect("it is owed");
        StoredRef {
            origin,
            qos: target.qos,
            is_shared: target.share.is_some(),
            weight_bytes: u32::try_from(message.weight_bytes()).unwrap(),
            accepted: message.accepted(),
            expires: message.expires(),
        }
    }

    /// As a store gives it back.
    pub fn restored(&self) -> Restored {
        let sessions = self.sessions.iter().map(|(client_id, kept)| RestoredSession {
            owner: kept.owner.clone(),
            expiry_s: kept.expiry_s,
            mount_point: kept.mount_point.clone(),
            left_at: kept.left_at,
            subscriptions: kept
                .subscriptions
                .iter()
                .map(|(text, &(options, id))| (text.clone(), options, id))
                .collect(),
            will: kept.will.clone(),
            received: kept.received.iter().copied().collect(),
            in_flight: (kept.in_flight.iter())
                .map(|&(id, sent)| RestoredFlight { id, message: sent.map(|origin| self.reference(client_id, origin)) })
                .collect(),
            queue: kept.queue.iter().map(|&origin| self.reference(client_id, origin)).collect(),
        });
        let retained = self.retained.values().filter_map(|&(origin, serial)| {
            let (message, _) = &self.messages[&origin?];
            Some((Arc::clone(message), serial))
        });
        Restored {
            sessions: sessions.collect(),
            retained: retained.collect(),
            removals: self.removals.clone(),
            bans: self.bans.clone().into_iter().collect(),
        }
    }
}

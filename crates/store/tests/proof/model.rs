//! What has to be kept, written from the contract of the journal and not from the store: plain maps.

use std::collections::{BTreeMap, BTreeSet};

use motte_broker::journal::{DurableTarget, Position, Record};
use motte_broker::mqtt::{Qos, SubscriptionId};
use motte_broker::policy::Subject;
use motte_broker::restore::{FoundMessage, StoredRef, StoredWill};
use motte_broker::tenant::{session_name, subject_of};
use motte_broker::{Message, Origin, Restored, ShardId};

/// Everything that is kept, in a form that can be compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    pub(crate) sessions: BTreeMap<String, Session>,
    /// The text of each message and its serial number, by topic.
    pub(crate) retained: BTreeMap<String, (String, u64)>,
    pub(crate) removals: BTreeMap<String, u64>,
    /// Messages that are to be retained, until a record says so.
    candidates: BTreeMap<Origin, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Session {
    pub(crate) owner: Subject,
    pub(crate) expiry_s: u32,
    pub(crate) mount_point: String,
    pub(crate) left_at: Option<u64>,
    pub(crate) subscriptions: BTreeMap<String, String>,
    pub(crate) will: Option<String>,
    pub(crate) received: BTreeSet<u16>,
    /// In the order of sending; without a message once only PUBREL is owed.
    pub(crate) in_flight: Vec<(u16, Option<Owed>)>,
    /// In the order of acceptance of each shard.
    pub(crate) queue: BTreeMap<Origin, Owed>,
}

/// A message that is owed to a session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Owed {
    pub(crate) reference: StoredRef,
    /// What reading it back gives; `None` when it cannot be read.
    pub(crate) message: Option<Kept>,
}

/// A message and how a session is owed it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    qos: Qos,
    retain: bool,
    ids: Vec<SubscriptionId>,
    share: Option<(String, String)>,
    text: String,
}

/// All of a message that anybody can see.
pub(crate) fn text(message: &Message) -> String {
    let stamp = (message.qos(), message.retain(), message.accepted(), message.expires());
    format!("{} {stamp:?} {:?} {:?} {}", message.topic(), message.publisher(), message.properties(), hash(message))
}

fn hash(message: &Message) -> String {
    format!("{} bytes {:08x}", message.payload().len(), crc32fast::hash(message.payload()))
}

fn owed(message: &Message, origin: Origin, target: &DurableTarget<'_>) -> Owed {
    let reference = StoredRef {
        origin,
        qos: target.qos,
        is_shared: target.share.is_some(),
        weight_bytes: u32::try_from(message.weight_bytes()).expect("small"),
        accepted: message.accepted(),
        expires: message.expires(),
    };
    Owed { reference, message: Some(kept(target, text(message))) }
}

fn kept(target: &DurableTarget<'_>, text: String) -> Kept {
    let share = target.share.map(|(name, filter)| (name.to_owned(), filter.to_owned()));
    Kept { qos: target.qos, retain: target.retain, ids: target.ids.to_vec(), share, text }
}

/// A message that was read back.
fn found(found: FoundMessage) -> Kept {
    let share = found.share.map(|(name, filter)| (name.into(), filter.into()));
    let FoundMessage { message, qos, retain, ids, .. } = found;
    Kept { qos, retain, ids: ids.into(), share, text: text(&message) }
}

fn owed_line(owed: Option<&Owed>) -> String {
    let Some(Owed { reference, message: Some(message) }) = owed else { return "nothing".to_owned() };
    let Origin { shard, position } = reference.origin;
    format!("{}/{} {} bytes {message:?}", shard.0, position.0, reference.weight_bytes)
}

/// Reads messages of a session back.
pub(crate) type Fetch<'a, E> = dyn FnMut(&str, &[Origin]) -> Result<Vec<Option<FoundMessage>>, E> + 'a;

impl Model {
    /// Takes a record of a shard in that the journal gave this position.
    pub(crate) fn apply(&mut self, shard: ShardId, position: Position, record: &Record<'_>) {
        let origin = Origin { shard, position };
        match *record {
            Record::Published { message, targets } => {
                for target in targets.iter() {
                    let owed = owed(message, origin, &target);
                    self.session(target.client_id).queue.insert(origin, owed);
                }
                if message.retain() {
                    self.candidates.insert(origin, text(message));
                }
            }
            Record::Retained { topic, origin: Some(origin), serial } => {
                let text = self.candidates.remove(&origin).expect("was published in this turn");
                if self.retained.get(topic).is_none_or(|(_, before)| *before < serial) {
                    self.retained.insert(topic.to_owned(), (text, serial));
                }
            }
            Record::Retained { topic, origin: None, serial } => {
                if self.retained.get(topic).is_some_and(|(_, before)| *before < serial) {
                    self.retained.remove(topic);
                }
            }
            Record::Moved { origin, from, ref to } => {
                let mut owed = self.session(from).take(origin).expect("was owed it");
                owed.reference.qos = to.qos;
                owed.reference.is_shared = to.share.is_some();
                owed.message = owed.message.map(|was| kept(to, was.text));
                self.session(to.client_id).queue.insert(origin, owed);
            }
            Record::UserRemoved { user, at } => {
                self.removals.insert(user.0.to_string(), at.0);
            }
            _ => self.apply_to_session(record),
        }
    }

    fn apply_to_session(&mut self, record: &Record<'_>) {
        match *record {
            Record::SessionOpened { owner, expiry_s, mount_point } => {
                let id = session_name(owner).into_owned();
                let session = self.sessions.entry(id).or_insert_with(|| Session::new(owner));
                session.owner = owner.clone();
                session.expiry_s = expiry_s;
                session.mount_point = mount_point.to_owned();
                session.left_at = None;
            }
            Record::SessionEnded { client_id, estate } => {
                let mut session = self.sessions.remove(client_id).expect("it is there");
                let named = subject_of(session.owner.identity.clone(), estate);
                session.owner = Subject { attributes: session.owner.attributes.clone(), ..named };
                session.expiry_s = 0;
                self.sessions.insert(estate.to_owned(), session);
            }
            Record::SessionClosed { client_id } => {
                self.sessions.remove(client_id);
            }
            Record::SessionLeft { client_id, at } => self.session(client_id).left_at = Some(at.0),
            Record::Subscribed { client_id, filter, options, id } => {
                let how = format!("{options:?} {:?}", id.map(|id| id.value()));
                self.session(client_id).subscriptions.insert(filter.to_owned(), how);
            }
            Record::Unsubscribed { client_id, filter } => {
                self.session(client_id).subscriptions.remove(filter);
            }
            Record::WillSet { client_id, ref will } => {
                let stored = StoredWill::from(will);
                self.session(client_id).will = Some(format!("{stored:?}"));
            }
            Record::WillCleared { client_id } => self.session(client_id).will = None,
            _ => self.apply_to_flow(record),
        }
    }

    fn apply_to_flow(&mut self, record: &Record<'_>) {
        match *record {
            Record::Received { client_id, id } => {
                self.session(client_id).received.insert(id.0.get());
            }
            Record::Released { client_id, id } => {
                self.session(client_id).received.remove(&id.0.get());
            }
            Record::Sent { client_id, origin, id } => {
                let session = self.session(client_id);
                let owed = session.take(origin).expect("is owed it");
                session.in_flight.push((id.0.get(), Some(owed)));
            }
            Record::Arrived { client_id, id, .. } => {
                let session = self.session(client_id);
                match session.in_flight.iter_mut().find(|(sent, _)| *sent == id.0.get()) {
                    Some((_, owed)) => *owed = None,
                    None => session.in_flight.push((id.0.get(), None)),
                }
            }
            Record::Completed { client_id, id } => {
                self.session(client_id).in_flight.retain(|(sent, _)| *sent != id.0.get());
            }
            Record::Settled { client_id, origin } => {
                self.session(client_id).take(origin).expect("is owed it");
            }
            ref other => panic!("the model knows no {other:?}"),
        }
    }

    fn session(&mut self, client_id: &str) -> &mut Session {
        self.sessions.get_mut(client_id).unwrap_or_else(|| panic!("{client_id} has a session"))
    }

    /// What a store gave back. `fetch` reads messages of a session back.
    pub(crate) fn of<E>(restored: Restored, fetch: &mut Fetch<'_, E>) -> Result<Self, E> {
        let mut model = Self::default();
        for session in restored.sessions {
            let client_id = session_name(&session.owner).into_owned();
            let flights = session.in_flight.iter().filter_map(|flight| flight.message);
            let references: Vec<StoredRef> = flights.chain(session.queue.iter().copied()).collect();
            let origins: Vec<Origin> = references.iter().map(|reference| reference.origin).collect();
            let mut owed = BTreeMap::new();
            for (reference, back) in references.iter().zip(fetch(&client_id, &origins)?) {
                let message = back.map(found);
                let other = owed.insert(reference.origin, Owed { reference: *reference, message });
                assert_eq!(other, None, "{client_id} is owed a message twice");
            }
            let order = |a: &StoredRef, b: &StoredRef| {
                a.accepted <= b.accepted && (a.origin.shard != b.origin.shard || a.origin < b.origin)
            };
            assert!(
                session.queue.is_sorted_by(order),
                "{client_id} has its queue in another order: {:?}",
                session.queue
            );
            let mut kept = Session::new(&session.owner);
            kept.expiry_s = session.expiry_s;
            kept.mount_point = session.mount_point.into();
            kept.left_at = session.left_at.map(|at| at.0);
            for (filter, options, id) in session.subscriptions {
                let how = format!("{options:?} {:?}", id.map(|id| id.value()));
                kept.subscriptions.insert(filter.into(), how);
            }
            kept.will = session.will.map(|will| format!("{will:?}"));
            kept.received = session.received.iter().map(|id| id.0.get()).collect();
            for flight in session.in_flight {
                let message = flight.message.map(|message| owed.remove(&message.origin).expect("asked above"));
                kept.in_flight.push((flight.id.0.get(), message));
            }
            kept.queue = owed;
            assert_eq!(model.sessions.insert(client_id, kept), None, "a session came back twice");
        }
        for (message, serial) in restored.retained {
            let topic = message.topic().to_owned();
            assert_eq!(model.retained.insert(topic, (text(&message), serial)), None, "a topic came back twice");
        }
        for (user, at) in restored.removals {
            model.removals.insert(user.0.to_string(), at.0);
        }
        Ok(model)
    }

    /// Everything as lines, one for each fact.
    pub(crate) fn lines(&self) -> String {
        let mut lines = Vec::new();
        for (id, session) in &self.sessions {
            let Session { owner, expiry_s, mount_point, left_at, subscriptions, will, received, in_flight, queue } =
                session;
            lines.push(format!("{id}: {:?} {expiry_s} s {mount_point:?} left {left_at:?}", owner.identity.user_name()));
            lines.push(format!("{id}: received {received:?}"));
            lines.extend(will.iter().map(|will| format!("{id}: {will}")));
            lines.extend(subscriptions.iter().map(|(filter, how)| format!("{id}: {filter} {how}")));
            lines.extend(
                in_flight.iter().map(|(sent, owed)| format!("{id}: sent as {sent} {}", owed_line(owed.as_ref()))),
            );
            lines.extend(queue.values().map(|owed| format!("{id}: waits {}", owed_line(Some(owed)))));
        }
        lines.extend(self.retained.iter().map(|(topic, (text, serial))| format!("{topic}: {serial} {text}")));
        lines.extend(self.removals.iter().map(|(user, at)| format!("{user}: removed until {at}")));
        lines.join("\n") + "\n"
    }

    /// Whether a store that gave back `found` kept exactly this.
    pub(crate) fn is(&self, found: &Self) -> bool {
        (&self.sessions, &self.retained, &self.removals) == (&found.sessions, &found.retained, &found.removals)
    }

    /// The first thing in which what a store gave back differs from this.
    pub(crate) fn difference(&self, found: &Self) -> String {
        let mut lines = Vec::new();
        for id in self.sessions.keys().chain(found.sessions.keys()) {
            let (kept, back) = (self.sessions.get(id), found.sessions.get(id));
            if kept != back {
                lines.push(format!("session {id}\n   kept {kept:?}\n  found {back:?}"));
                break;
            }
        }
        if self.retained != found.retained {
            lines.push(format!("retained\n   kept {:?}\n  found {:?}", self.retained, found.retained));
        }
        if self.removals != found.removals {
            lines.push(format!("removals\n   kept {:?}\n  found {:?}", self.removals, found.removals));
        }
        lines.join("\n")
    }
}

impl Session {
    fn new(owner: &Subject) -> Self {
        Self {
            owner: owner.clone(),
            expiry_s: 0,
            mount_point: String::new(),
            left_at: None,
            subscriptions: BTreeMap::new(),
            will: None,
            received: BTreeSet::new(),
            in_flight: Vec::new(),
            queue: BTreeMap::new(),
        }
    }

    /// Whether the session is owed this message.
    pub(crate) fn owes(&self, origin: Origin) -> bool {
        let is_it = |(_, owed): &(u16, Option<Owed>)| owed.as_ref().is_some_and(|owed| owed.reference.origin == origin);
        self.queue.contains_key(&origin) || self.in_flight.iter().any(is_it)
    }

    /// Takes a message out of queue or flight.
    fn take(&mut self, origin: Origin) -> Option<Owed> {
        let sent = self
            .in_flight
            .iter()
            .position(|(_, owed)| owed.as_ref().is_some_and(|owed| owed.reference.origin == origin));
        match sent {
            Some(at) => self.in_flight.remove(at).1,
            None => self.queue.remove(&origin),
        }
    }
}

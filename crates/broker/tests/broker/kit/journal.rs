//! The journal of the tests: it can be held back, keeps its records as text, lets something happen in between, and
//! gives messages back when the test wants that.
//!
//! Used by the world of the kit. Writes nothing anywhere.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use motte_broker::journal::DurableTarget;
use motte_broker::mqtt::{Qos, SubscriptionId};
use motte_broker::restore::{Fetch, Fetched, FetchedMessage, FoundMessage, StoredMessage};
use motte_broker::{Journal, JournalState, Message, Origin, Position, Publisher, Record, ShardId};

use super::log::Log;
use super::show;

/// A journal that a test may hold back.
#[derive(Debug, Default)]
pub struct TestJournal {
    pub shard: u16,
    pub end: Position,
    pub held_at: Option<Position>,
    pub state: JournalState,
    pub records: Vec<String>,
    pub meanwhile: Meanwhile,
    /// What the journals of all shards keep together; `None` where messages are not read back.
    pub kept: Option<Rc<RefCell<Kept>>>,
    /// What was asked for and not answered.
    pub fetches: VecDeque<Fetch>,
}

/// What another thread does at the moment of the next record.
#[derive(Default)]
pub struct Meanwhile(pub Option<Box<dyn FnOnce()>>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Meanwhile").field(&self.0.is_some()).finish()
    }
}

/// Messages and who is owed them, and how that came about.
#[derive(Debug, Default)]
pub struct Kept {
    pub messages: BTreeMap<Origin, (Arc<Message>, Vec<KeptTarget>)>,
    pub log: Log,
    /// What cannot be read back any more.
    pub unreadable: BTreeSet<Origin>,
}

/// One session that is owed a message.
#[derive(Clone, Debug)]
pub struct KeptTarget {
    pub client_id: String,
    pub qos: Qos,
    pub retain: bool,
    pub ids: Vec<SubscriptionId>,
    pub share: Option<(String, String)>,
}

impl From<DurableTarget<'_>> for KeptTarget {
    fn from(target: DurableTarget<'_>) -> Self {
        Self {
            client_id: target.client_id.into(),
            qos: target.qos,
            retain: target.retain,
            ids: target.ids.into(),
            share: target.share.map(|(name, filter)| (name.into(), filter.into())),
        }
    }
}

impl Kept {
    fn on_record(&mut self, record: &Record<'_>, at: Origin) {
        self.log.on_record(record, at);
        match record {
            Record::Published { message, targets } => {
                let targets = targets.iter().map(KeptTarget::from).collect();
                self.messages.insert(at, (Arc::new(copy(message, at)), targets));
            }
            Record::Settled { client_id, origin } => self.settle(client_id, *origin),
            Record::Arrived { client_id, origin: Some(origin), .. } => self.settle(client_id, *origin),
            Record::Moved { origin, from, to } => {
                self.settle(from, *origin);
                self.messages.get_mut(origin).expect("what moves is kept").1.push((*to).into());
            }
            Record::SessionEnded { client_id, estate } => {
                let targets = self.messages.values_mut().flat_map(|(_, targets)| targets);
                let left = targets.filter(|target| target.client_id == *client_id);
                left.for_each(|target| target.client_id = (*estate).into());
            }
            Record::SessionClosed { client_id } => {
                self.messages
                    .values_mut()
                    .for_each(|(_, targets)| targets.retain(|target| target.client_id != *client_id));
            }
            _ => {}
        }
    }

    fn settle(&mut self, client_id: &str, origin: Origin) {
        let (_, targets) = self.messages.get_mut(&origin).expect("what is settled is kept");
        let at = targets.iter().position(|target| target.client_id == client_id);
        targets.remove(at.unwrap_or_else(|| panic!("{origin:?} is kept for {client_id} no longer")));
    }

    /// What is owed to a session.
    pub fn owed_to(&self, client_id: &str) -> usize {
        self.messages.values().flat_map(|(_, targets)| targets).filter(|target| target.client_id == client_id).count()
    }

    /// The answer to a question.
    pub fn answer(&self, fetch: &Fetch) -> Fetched {
        let find = |&origin: &Origin| {
            if self.unreadable.contains(&origin) {
                return None;
            }
            let (message, targets) = self.messages.get(&origin)?;
            let target = targets.iter().find(|target| *target.client_id == *fetch.client_id)?.clone();
            let share = target.share.map(|(name, filter)| (name.into(), filter.into()));
            let (qos, retain, ids) = (target.qos, target.retain, target.ids.into());
            Some(FoundMessage { message: Arc::clone(message), qos, retain, ids, share })
        };
        let messages = fetch.origins.iter().map(|origin| FetchedMessage { origin: *origin, found: find(origin) });
        Fetched { session: fetch.session, messages: messages.collect() }
    }
}

/// A message as it comes out of a store.
pub fn copy(message: &Message, origin: Origin) -> Message {
    let Publisher::Client(publisher) = message.publisher() else { panic!("nothing of the broker is kept") };
    Message::restored(StoredMessage {
        topic: message.topic().into(),
        payload: message.payload().into(),
        qos: message.qos(),
        retain: message.retain(),
        publisher: motte_policy::Subject::clone(publisher),
        properties: message.properties().to_owned(),
        accepted: message.accepted(),
        expires: message.expires(),
        origin,
    })
}

impl Journal for TestJournal {
    fn append(&mut self, record: &Record<'_>) -> Position {
        self.end.0 += 1;
        self.records.push(show::record(record));
        if let Some(kept) = &self.kept {
            kept.borrow_mut().on_record(record, Origin { shard: ShardId(self.shard), position: self.end });
        }
        if let Some(act) = self.meanwhile.0.take() {
            act();
        }
        self.end
    }

    fn durable(&self) -> Position {
        self.held_at.unwrap_or(self.end)
    }

    fn state(&self) -> JournalState {
        self.state
    }

    fn reads_back(&self) -> bool {
        self.kept.is_some()
    }

    fn fetch(&mut self, fetch: Fetch) {
        assert!(self.fetches.iter().all(|waiting| waiting.session != fetch.session), "one question at a time");
        self.fetches.push_back(fetch);
    }
}

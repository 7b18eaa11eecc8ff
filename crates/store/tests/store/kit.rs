//! A store on a disk in memory, driven by hand.
//!
//! Used by all tests here. What is restored is shown as lines, one for each fact.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use motte_broker::journal::{DurableTarget, DurableTargets};
use motte_broker::mqtt::{ForwardedPropertiesBuf, PacketId, Qos};
use motte_broker::policy::{ClientId, Identity, Subject, UserName};
use motte_broker::restore::{Fetch, Fetched, RestoredSession, StoredMessage, StoredRef};
use motte_broker::{Journal, Message, Millis, Origin, Position, Record, Restored, ShardId};
use motte_store::disk::SimDisk;
use motte_store::{Clock, Engine, Failed, Notice, OpenError, OpenedEngine, Reading, Settings, ShardJournal};

/// A store of some shards.
pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) engine: Option<Engine>,
    pub(crate) journals: Vec<ShardJournal>,
    pub(crate) restored: Restored,
    pub(crate) now: Millis,
    pub(crate) settings: Settings,
    wall_ms: Arc<AtomicU64>,
}

impl World {
    pub(crate) fn new(shards: u16) -> Self {
        Self::on(SimDisk::new(), shards).expect("an empty disk takes a store")
    }

    /// The store on this disk.
    pub(crate) fn on(disk: SimDisk, shards: u16) -> Result<Self, OpenError> {
        let wall_ms = Arc::new(AtomicU64::new(1_000_000));
        let read = Arc::clone(&wall_ms);
        let settings = Settings::new(Clock::new(move || {
            let wall_ms = read.load(Ordering::Relaxed);
            Reading { wall_ms, since_boot_ms: wall_ms, boot_id: 1 }
        }));
        Self::with(disk, shards, settings, wall_ms)
    }

    pub(crate) fn with(
        disk: SimDisk,
        shards: u16,
        settings: Settings,
        wall_ms: Arc<AtomicU64>,
    ) -> Result<Self, OpenError> {
        let OpenedEngine { mut engine, restored, clock, .. } = Engine::open(disk.clone(), settings.clone())?;
        let journals = engine.journals(shards);
        Ok(Self { disk, engine: Some(engine), journals, restored, now: clock, settings, wall_ms })
    }

    pub(crate) fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().expect("it is open")
    }

    pub(crate) fn pass_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.wall_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub(crate) fn append(&mut self, shard: u16, record: &Record<'_>) -> Origin {
        let position = self.journals[usize::from(shard)].append(record);
        Origin { shard: ShardId(shard), position }
    }

    pub(crate) fn hand_over(&mut self) {
        let now = self.now;
        self.journals.iter_mut().for_each(|journal| journal.hand_over(now));
    }

    pub(crate) fn commit(&mut self) -> Vec<Notice> {
        self.try_commit().expect("the disk works")
    }

    pub(crate) fn try_commit(&mut self) -> Result<Vec<Notice>, Failed> {
        self.hand_over();
        self.engine().commit(usize::MAX)
    }

    /// Closes in order and opens again.
    pub(crate) fn reopen(mut self, shards: u16) -> Self {
        self.hand_over();
        self.engine.take().expect("it is open").close().expect("the disk works");
        self.again(self.disk.image(), shards)
    }

    /// The process is killed: what was asked of the disk is there.
    pub(crate) fn kill(mut self, shards: u16) -> Self {
        let image = self.disk.image();
        self.engine = None;
        self.again(image, shards)
    }

    /// The power is cut: what was synced is there.
    pub(crate) fn cut(mut self, shards: u16) -> Self {
        let image = self.disk.power_cut(&motte_store::disk::Cut::Nothing, &mut || 0);
        self.engine = None;
        self.again(image, shards)
    }

    fn again(&self, image: Vec<u8>, shards: u16) -> Self {
        let disk = SimDisk::from_image(image);
        Self::with(disk, shards, self.settings.clone(), Arc::clone(&self.wall_ms)).expect("it opens again")
    }

    pub(crate) fn open_session(&mut self, shard: u16, client_id: &str) {
        self.append(shard, &Record::SessionOpened { owner: &subject(client_id), expiry_s: 3_600, mount_point: "" });
    }

    pub(crate) fn publish(&mut self, shard: u16, text: &str, targets: &[&str]) -> Origin {
        let targets: Vec<_> = targets.iter().map(|client_id| target(client_id)).collect();
        self.publish_to(shard, text, &targets)
    }

    pub(crate) fn publish_to(&mut self, shard: u16, text: &str, targets: &[DurableTarget<'_>]) -> Origin {
        let message = message(text, text.as_bytes(), self.now);
        self.append(shard, &Record::Published { message: &message, targets: DurableTargets::listed(targets) })
    }

    pub(crate) fn settle(&mut self, shard: u16, client_id: &str, origin: Origin) {
        self.append(shard, &Record::Settled { client_id, origin });
    }

    pub(crate) fn send(&mut self, shard: u16, client_id: &str, origin: Origin, number: u16) {
        self.append(shard, &Record::Sent { client_id, origin, id: id(number) });
    }

    /// Payloads that wait for a client, in order.
    pub(crate) fn queue(&mut self, client_id: &str) -> Vec<String> {
        let origins: Vec<_> = session(&self.restored, client_id).queue.iter().map(|found| found.origin).collect();
        self.payloads(client_id, &origins)
    }

    pub(crate) fn payloads(&mut self, client_id: &str, origins: &[Origin]) -> Vec<String> {
        let fetched = self.fetch(client_id, origins);
        let text =
            |found: &motte_broker::restore::FoundMessage| String::from_utf8_lossy(found.message.payload()).into();
        fetched.messages.iter().map(|message| message.found.as_ref().map_or("-".to_owned(), text)).collect()
    }

    pub(crate) fn fetch(&mut self, client_id: &str, origins: &[Origin]) -> Fetched {
        let fetch = Fetch { session: Default::default(), client_id: client_id.into(), origins: origins.to_vec() };
        self.journals[0].fetch(fetch);
        let mut notices = self.commit();
        match notices.pop() {
            Some(Notice::Fetched(_, fetched)) => fetched,
            other => panic!("no answer but {other:?}"),
        }
    }
}

pub(crate) fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not 0")
}

pub(crate) fn subject(client_id: &str) -> Subject {
    Subject::new(Identity::User(UserName("owner".into())), ClientId(client_id.into()))
}

pub(crate) fn target(client_id: &str) -> DurableTarget<'_> {
    DurableTarget { client_id, qos: Qos::AtLeastOnce, retain: false, ids: &[], share: None }
}

pub(crate) fn message(topic: &str, payload: &[u8], accepted: Millis) -> Message {
    Message::restored(StoredMessage {
        topic: topic.into(),
        payload: payload.into(),
        qos: Qos::ExactlyOnce,
        retain: false,
        publisher: subject("publisher"),
        properties: ForwardedPropertiesBuf::new(),
        accepted,
        expires: None,
        origin: Origin { shard: ShardId(0), position: Position(0) },
    })
}

pub(crate) fn session<'a>(restored: &'a Restored, client_id: &str) -> &'a RestoredSession {
    let found = restored.sessions.iter().find(|session| *session.owner.client_id.0 == *client_id);
    found.unwrap_or_else(|| panic!("{client_id} is not among {:?}", clients(restored)))
}

pub(crate) fn clients(restored: &Restored) -> Vec<&str> {
    restored.sessions.iter().map(|session| &*session.owner.client_id.0).collect()
}

pub(crate) fn origins(refs: &[StoredRef]) -> Vec<Origin> {
    refs.iter().map(|found| found.origin).collect()
}

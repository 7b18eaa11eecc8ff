//! A run of a broker as its shards tell it their journals: sessions come, are owed messages, settle them, leave, end.
//!
//! Every record is one that a shard could write in that state, so nothing is asked of the store that it need not keep.

use std::num::NonZeroU16;
use std::sync::Arc;

use motte_broker::journal::{DurableTarget, DurableTargets, Position, Record, WillRecord};
use motte_broker::mqtt::{ForwardedPropertiesBuf, PacketId, Qos, RetainHandling, SubscriptionId, SubscriptionOptions};
use motte_broker::policy::{Attributes, Facts, Identity, Subject, UserName};
use motte_broker::restore::StoredMessage;
use motte_broker::tenant::subject_of;
use motte_broker::{Message, Millis, Origin, ShardId};

use crate::model::Model;
use crate::random::Random;

pub(crate) const SHARDS: u16 = 3;
const CLIENTS: usize = 14;
const TOPICS: usize = 12;

/// Takes what shards write.
pub(crate) trait Sink {
    /// Appends a record to the journal of a shard.
    fn append(&mut self, shard: ShardId, record: &Record<'_>) -> Position;
    /// The turn of a shard is over.
    fn hand_over(&mut self, shard: ShardId, now: Millis);
}

/// The broker: what it must find again, and what it needs to go on.
#[derive(Clone)]
pub(crate) struct Workload {
    pub(crate) model: Model,
    pub(crate) now: Millis,
    random: Random,
    serial: u64,
    /// The last position each shard was given.
    ends: [u64; SHARDS as usize],
    /// Whether a shard was not given a position since the process began.
    is_new: [bool; SHARDS as usize],
}

impl Workload {
    pub(crate) fn new(seed: u64) -> Self {
        let now = Millis(0);
        let (ends, is_new) = ([0; SHARDS as usize], [true; SHARDS as usize]);
        Self { model: Model::default(), now, random: Random(seed), serial: 0, ends, is_new }
    }

    /// Goes on in another process, whose clock is later. Positions go on from where they were or further.
    pub(crate) fn restarted(mut self, now: Millis) -> Self {
        assert!(now > self.now, "the clock went back: {now:?} after {:?}", self.now);
        self.now = now;
        self.is_new = [true; SHARDS as usize];
        self
    }

    /// Some turns of some shards.
    pub(crate) fn turns(&mut self, sink: &mut dyn Sink) {
        for _ in 0..=self.random.below(4) {
            let shard = ShardId(u16::try_from(self.random.below(SHARDS.into())).expect("few"));
            // Now and then long enough for blocks to be looked at that are mostly dead.
            let pause = if self.random.once_in(12) { 11_000 } else { 40 };
            self.now = Millis(self.now.0 + self.random.next() % pause);
            for _ in 0..=self.random.below(6) {
                self.step(shard, sink);
            }
            sink.hand_over(shard, self.now);
        }
    }

    /// One thing that happens to a shard, if it can.
    fn step(&mut self, shard: ShardId, sink: &mut dyn Sink) {
        let client = self.client_of(shard);
        let exists = self.model.sessions.contains_key(&client);
        match self.random.below(100) {
            _ if !exists => self.open(shard, &client, sink),
            0..4 => self.open(shard, &client, sink),
            4..44 => self.publish(shard, sink),
            44..52 => self.subscribe(shard, &client, sink),
            52..56 => self.will(shard, &client, sink),
            56..84 => self.flow(shard, &client, sink),
            84..91 => self.receive(shard, &client, sink),
            91..94 => self.moved(shard, sink),
            94..97 => {
                let at = self.now;
                self.write(shard, &Record::SessionLeft { client_id: &client, at }, sink);
            }
            97 => self.end(shard, &client, sink),
            98 => {
                let user = UserName(format!("user-{}", self.random.below(4)).into());
                self.write(shard, &Record::UserRemoved { user: &user, at: self.now }, sink);
            }
            _ => self.settle_much(shard, &client, sink),
        }
    }

    fn write(&mut self, shard: ShardId, record: &Record<'_>, sink: &mut dyn Sink) {
        let position = self.append(shard, record, sink);
        self.model.apply(shard, position, record);
    }

    fn append(&mut self, shard: ShardId, record: &Record<'_>, sink: &mut dyn Sink) -> Position {
        let position = sink.append(shard, record);
        let (end, is_new) = (&mut self.ends[usize::from(shard.0)], &mut self.is_new[usize::from(shard.0)]);
        assert!(position.0 == *end + 1 || (*is_new && position.0 > *end), "{position:?} after {end} of {shard:?}");
        (*end, *is_new) = (position.0, false);
        position
    }

    fn open(&mut self, shard: ShardId, client: &str, sink: &mut dyn Sink) {
        let owner = subject(client, &mut self.random);
        let expiry_s = *self.random.pick(&[60, 3_600, u32::MAX, 0]);
        let mount_point = *self.random.pick(&["", "", "tenants/a/"]);
        self.write(shard, &Record::SessionOpened { owner: &owner, expiry_s, mount_point }, sink);
    }

    /// A session ends, or leaves something; what others have left is done with sooner or later.
    fn end(&mut self, shard: ShardId, client_id: &str, sink: &mut dyn Sink) {
        let of_shard = format!("\0{}/", shard.0);
        let left = self.model.sessions.keys().find(|name| name.starts_with(&of_shard)).cloned();
        let record = match &left {
            Some(client_id) if self.random.once_in(2) => Record::SessionClosed { client_id },
            _ if self.random.once_in(2) => {
                let estate = format!("{of_shard}{}", self.ends[usize::from(shard.0)]);
                return self.write(shard, &Record::SessionEnded { client_id, estate: &estate }, sink);
            }
            _ => Record::SessionClosed { client_id },
        };
        self.write(shard, &record, sink);
    }

    fn publish(&mut self, shard: ShardId, sink: &mut dyn Sink) {
        let mut message = self.message();
        let retain = self.random.once_in(4);
        let topic = format!("plant/{}", self.random.below(TOPICS));
        if retain && self.random.once_in(4) {
            self.serial += 1;
            self.write(shard, &Record::Retained { topic: &topic, origin: None, serial: self.serial }, sink);
            return;
        }
        let clients: Vec<String> = self.model.sessions.keys().cloned().collect();
        let ids = [SubscriptionId::new(7), SubscriptionId::new(70_000)].map(|id| id.expect("fits"));
        let mut targets = Vec::new();
        if message.qos > Qos::AtMostOnce {
            for client_id in &clients {
                if self.random.once_in(3) {
                    targets.push(DurableTarget {
                        client_id,
                        qos: *self.random.pick(&[Qos::AtLeastOnce, message.qos]),
                        retain: self.random.once_in(5),
                        ids: &ids[..self.random.below(3)],
                        share: self.random.once_in(5).then_some(("group", "plant/+")),
                    });
                }
            }
        }
        message.topic = topic.as_str().into();
        message.retain = retain;
        if targets.is_empty() && !retain {
            return;
        }
        let message = Message::restored(message);
        let targets = DurableTargets::listed(&targets);
        let record = Record::Published { message: &message, targets };
        let position = self.append(shard, &record, sink);
        self.model.apply(shard, position, &record);
        if retain {
            self.serial += 1;
            let origin = Some(Origin { shard, position });
            self.write(shard, &Record::Retained { topic: &topic, origin, serial: self.serial }, sink);
        }
    }

    fn message(&mut self) -> StoredMessage {
        let random = &mut self.random;
        let size = match random.below(40) {
            0 => 20_000 + random.below(60_000),
            1..8 => random.below(8_000),
            _ => random.below(300),
        };
        let first = random.byte();
        let mut properties = ForwardedPropertiesBuf::new();
        if random.once_in(3) {
            properties = properties.payload_utf8().user("k", "v").expect("short");
        }
        let qos = *random.pick(&[Qos::AtLeastOnce, Qos::AtLeastOnce, Qos::ExactlyOnce, Qos::AtMostOnce]);
        StoredMessage {
            topic: "".into(),
            payload: (0..size).zip((0..=250_u8).cycle()).map(|(_, step)| first.wrapping_add(step)).collect(),
            qos,
            retain: false,
            publisher: subject(&format!("device-{}", random.below(5)), random),
            properties,
            accepted: self.now,
            expires: random.once_in(4).then(|| Millis(self.now.0 + 60_000)),
            origin: Origin { shard: ShardId(0), position: Position(0) },
        }
    }

    fn subscribe(&mut self, shard: ShardId, client_id: &str, sink: &mut dyn Sink) {
        let filter = *self.random.pick(&["plant/+", "#", "$share/group/plant/+", "plant/1", "plant/2/#"]);
        let record = if self.random.once_in(4) {
            Record::Unsubscribed { client_id, filter }
        } else {
            let options = SubscriptionOptions {
                qos: *self.random.pick(&[Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce]),
                no_local: self.random.once_in(3),
                retain_as_published: self.random.once_in(2),
                retain_handling: *self.random.pick(&[RetainHandling::Always, RetainHandling::Never]),
            };
            let id = SubscriptionId::new(u32::try_from(self.random.below(3)).expect("few") * 1_000);
            Record::Subscribed { client_id, filter, options, id }
        };
        self.write(shard, &record, sink);
    }

    fn will(&mut self, shard: ShardId, client_id: &str, sink: &mut dyn Sink) {
        if self.random.once_in(3) {
            return self.write(shard, &Record::WillCleared { client_id }, sink);
        }
        let properties = ForwardedPropertiesBuf::new().content_type("text/plain").expect("short");
        let payload = vec![b'w'; self.random.below(500)];
        let will = WillRecord {
            topic: "gone",
            payload: &payload,
            qos: Qos::AtLeastOnce,
            retain: self.random.once_in(2),
            delay_s: 5,
            message_expiry_s: self.random.once_in(2).then_some(9),
            properties: properties.as_ref(),
        };
        self.write(shard, &Record::WillSet { client_id, will }, sink);
    }

    /// The next step of the flow of a message to a client.
    fn flow(&mut self, shard: ShardId, client_id: &str, sink: &mut dyn Sink) {
        let session = &self.model.sessions[client_id];
        let sent = session.in_flight.first().map(|(id, owed)| (packet_id(*id), owed.as_ref().map(origin_of)));
        let next = session.queue.keys().next().copied();
        let free = (1..).find(|id| session.in_flight.iter().all(|(used, _)| used != id)).expect("few are used");
        let is_second = self.random.once_in(2);
        let record = match (sent, next) {
            (Some((id, None)), _) if is_second => Record::Completed { client_id, id },
            (Some((id, origin @ Some(_))), _) if is_second => Record::Arrived { client_id, origin, id },
            (Some((_, Some(origin))), _) if self.random.once_in(2) => Record::Settled { client_id, origin },
            (_, Some(origin)) if self.random.once_in(4) => Record::Settled { client_id, origin },
            (_, Some(origin)) => Record::Sent { client_id, origin, id: packet_id(free) },
            // The message was sent before its session was durable.
            (None, None) => Record::Arrived { client_id, origin: None, id: packet_id(free) },
            _ => return,
        };
        self.write(shard, &record, sink);
    }

    fn receive(&mut self, shard: ShardId, client_id: &str, sink: &mut dyn Sink) {
        let id = self.model.sessions[client_id].received.first().copied();
        let record = match id.filter(|_| self.random.once_in(2)) {
            Some(id) => Record::Released { client_id, id: packet_id(id) },
            None => {
                let id = packet_id(u16::try_from(1 + self.random.below(65_535)).expect("fits"));
                Record::Received { client_id, id }
            }
        };
        self.write(shard, &record, sink);
    }

    /// A message of a group goes to another session, of any shard.
    fn moved(&mut self, shard: ShardId, sink: &mut dyn Sink) {
        let from = self.client_of(shard);
        let to = format!("client-{}", self.random.below(CLIENTS));
        let Some(session) = self.model.sessions.get(&from) else { return };
        let shared = session.queue.values().find(|owed| owed.reference.is_shared).map(|owed| owed.reference.origin);
        let (Some(origin), Some(other)) = (shared, self.model.sessions.get(&to)) else { return };
        if other.owes(origin) {
            return;
        }
        let share = Some(("group", "plant/+"));
        let to = DurableTarget { client_id: &to, qos: Qos::AtLeastOnce, retain: false, ids: &[], share };
        self.write(shard, &Record::Moved { origin, from: &from, to }, sink);
    }

    /// A client catches up, so that blocks die.
    fn settle_much(&mut self, shard: ShardId, client_id: &str, sink: &mut dyn Sink) {
        let origins: Vec<Origin> = self.model.sessions[client_id].queue.keys().copied().collect();
        for origin in origins {
            if !self.random.once_in(8) {
                self.write(shard, &Record::Settled { client_id, origin }, sink);
            }
        }
    }

    /// The name of a session that lives on this shard; every other client is one of a tenant.
    fn client_of(&mut self, shard: ShardId) -> String {
        let count = CLIENTS / usize::from(SHARDS);
        let number = self.random.below(count);
        let tenant = if number.is_multiple_of(2) { "" } else { "acme\0" };
        format!("{tenant}client-{}", number * usize::from(SHARDS) + usize::from(shard.0))
    }
}

fn origin_of(owed: &crate::model::Owed) -> Origin {
    owed.reference.origin
}

fn packet_id(id: u16) -> PacketId {
    PacketId(NonZeroU16::new(id).expect("from 1 on"))
}

fn subject(name: &str, random: &mut Random) -> Subject {
    let identity = match random.below(5) {
        0 => Identity::Anonymous,
        user => Identity::User(UserName(Arc::from(format!("user-{user}")))),
    };
    let subject = subject_of(identity, name);
    // Whoever belongs to a tenant is known by more than a name.
    if subject.tenant.is_none() {
        return subject;
    }
    let mut attributes = Attributes::default();
    attributes.add("cert.ou", &subject.client_id.0).expect("one is not too many");
    let tenant = subject.tenant.clone();
    let facts = Facts { attributes: Arc::new(attributes), tenant, address: None, ..Facts::default() };
    subject.with_facts(facts)
}

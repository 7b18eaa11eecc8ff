//! One shard and the clients on it, in memory: what the benches run and what the test of allocations counts.
//!
//! Used by `benches/shard.rs` and `tests/allocations.rs`. It allocates nothing itself once every outbox has grown.

use std::sync::Arc;

use motte_audit::Event;
use motte_broker::mqtt::{
    Connect, ConnectProperties, Delivery, Encoder, ForwardedProperties, Packet, PacketId, ProtocolVersion, Publish,
    Qos, ReasonCode, Subscribe, SubscribeFilters, SubscriptionIds, SubscriptionOptions, UserProperties,
};
use motte_broker::restore::Fetch;
use motte_broker::{
    Admission, ControlRequest, Effects, Journal, Letter, Limits, LinkId, Millis, Position, Record, Shard, ShardId,
    Shared,
};
use motte_policy::{Authenticated, ClientId, Policy, UserName};

/// Length of the payload of every message.
pub const PAYLOAD_BYTES: usize = 64;

/// A journal that says it keeps everything and keeps nothing.
#[derive(Debug, Default)]
pub struct Nothing(Position);

impl Journal for Nothing {
    fn append(&mut self, _record: &Record<'_>) -> Position {
        self.0.0 += 1;
        self.0
    }

    fn durable(&self) -> Position {
        self.0
    }

    fn reads_back(&self) -> bool {
        true
    }

    fn fetch(&mut self, _fetch: Fetch) {}
}

/// Outboxes, found by the number of their link.
#[derive(Default)]
struct Outboxes(Vec<Vec<u8>>);

impl Effects for Outboxes {
    fn outbox(&mut self, link: LinkId) -> Option<&mut Vec<u8>> {
        self.0.get_mut(index(link))
    }

    fn pause(&mut self, _link: LinkId, _until: Millis) {}

    fn close(&mut self, link: LinkId) {
        panic!("{link:?} was closed");
    }

    fn control(&mut self, _link: LinkId, _request: ControlRequest) -> Result<(), ReasonCode> {
        Err(ReasonCode::NotAuthorized)
    }

    fn event(&mut self, _event: Event) {}

    fn post(&mut self, _to: ShardId, _letter: Letter) {}
}

fn index(link: LinkId) -> usize {
    usize::try_from(link.0).expect("links are numbered from 0")
}

/// A shard with its clients.
pub struct World {
    shard: Shard<Nothing>,
    outboxes: Outboxes,
    policy: Arc<Policy>,
}

impl World {
    /// A shard on which everybody may do everything.
    pub fn new() -> Self {
        let policy = Arc::new(Policy::parse("pattern readwrite #\n").unwrap());
        let shared = Shared::new(1, Arc::clone(&policy));
        let shard = Shard::new(ShardId(0), shared, Limits::default(), Nothing::default());
        Self { shard, outboxes: Outboxes::default(), policy }
    }

    /// A client with a fresh session that does not outlive it.
    pub fn connect(&mut self, name: &str) -> LinkId {
        let link = LinkId(self.outboxes.0.len() as u64);
        let who = Authenticated::by_certificate(UserName(name.into()));
        let permit = self.policy.admit(who, ClientId(name.into()), None).unwrap();
        let connect = Connect {
            version: ProtocolVersion::V5,
            clean_start: true,
            keep_alive_s: 0,
            client_id: name,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties::default(),
        };
        self.outboxes.0.push(Vec::new());
        self.shard.admit(link, Admission::new(permit, &connect, false), Millis(1), &mut self.outboxes);
        self.clear(link);
        link
    }

    /// A client that subscribes to one filter.
    pub fn subscriber(&mut self, name: &str, filter: &str, qos: Qos) -> LinkId {
        let link = self.connect(name);
        self.subscribe(link, filter, qos);
        link
    }

    /// Adds a subscription.
    pub fn subscribe(&mut self, link: LinkId, filter: &str, qos: Qos) {
        let filters = [(filter, SubscriptionOptions { qos, ..SubscriptionOptions::default() })];
        let filters = SubscribeFilters::from_slice(&filters);
        let subscribe = Subscribe { id: id(1), subscription_id: None, user: UserProperties::EMPTY, filters };
        self.send(link, &encoded(&Packet::Subscribe(subscribe)));
        self.clear(link);
    }

    /// Bytes of a client, all of which are taken.
    pub fn send(&mut self, link: LinkId, bytes: &[u8]) {
        let taken = self.shard.on_bytes(link, bytes, Millis(1), &mut self.outboxes);
        assert_eq!(taken, bytes.len(), "the shard takes all of it");
    }

    /// What waits in the outbox of a client.
    pub fn outbox(&self, link: LinkId) -> &[u8] {
        &self.outboxes.0[index(link)]
    }

    /// What waits in the outbox was written.
    pub fn clear(&mut self, link: LinkId) {
        self.outboxes.0[index(link)].clear();
    }
}

/// One publisher, its subscribers, and one message that goes all its way again and again.
pub struct Way {
    world: World,
    publisher: LinkId,
    subscribers: Vec<LinkId>,
    qos: Qos,
    message: Vec<u8>,
    answer: Vec<u8>,
}

impl Way {
    /// So many subscribers of one topic.
    pub fn new(qos: Qos, subscribers: usize) -> Self {
        let mut world = World::new();
        let topic = "site/7/line/3";
        let subscribers = (0..subscribers).map(|n| world.subscriber(&format!("to-{n}"), topic, qos)).collect();
        let publisher = world.connect("from");
        Self { world, publisher, subscribers, qos, message: publish(topic, qos), answer: Vec::with_capacity(8) }
    }

    /// From the bytes of the PUBLISH to the last acknowledgement of the last subscriber.
    pub fn travel(&mut self) {
        self.world.send(self.publisher, &self.message);
        if self.qos == Qos::ExactlyOnce {
            self.world.send(self.publisher, &[0x62, 2, 0, 1]);
        }
        assert_eq!(self.world.outbox(self.publisher).is_empty(), self.qos == Qos::AtMostOnce);
        self.world.clear(self.publisher);
        for n in 0..self.subscribers.len() {
            let subscriber = self.subscribers[n];
            let came = self.world.outbox(subscriber);
            assert!(came.len() > PAYLOAD_BYTES, "the message has come");
            if self.qos == Qos::AtMostOnce {
                self.world.clear(subscriber);
                continue;
            }
            // Behind the fixed header and the topic stands the identifier.
            let at = 4 + usize::from(came[3]);
            let id = [came[at], came[at + 1]];
            self.world.clear(subscriber);
            let kinds: &[u8] = if self.qos == Qos::AtLeastOnce { &[0x40] } else { &[0x50, 0x70] };
            for kind in kinds {
                self.answer.clear();
                self.answer.extend([*kind, 2, id[0], id[1]]);
                self.world.send(subscriber, &self.answer);
                self.world.clear(subscriber);
            }
        }
    }
}

/// A message with identifier 1.
pub fn publish(topic: &str, qos: Qos) -> Vec<u8> {
    encoded(&Packet::Publish(Publish {
        delivery: match qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            Qos::AtLeastOnce => Delivery::AtLeastOnce { id: id(1), dup: false },
            Qos::ExactlyOnce => Delivery::ExactlyOnce { id: id(1), dup: false },
        },
        retain: false,
        topic,
        topic_alias: None,
        message_expiry_s: None,
        subscription_ids: SubscriptionIds::EMPTY,
        properties: ForwardedProperties::EMPTY,
        payload: &[b'p'; PAYLOAD_BYTES],
    }))
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("identifiers begin at 1")
}

fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::new(ProtocolVersion::V5, u32::MAX).encode(packet, &mut bytes).unwrap();
    bytes
}

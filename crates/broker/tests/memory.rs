//! How much memory sessions without a connection take for what waits for them, where the journal gives messages back.
//!
//! A program of its own with one test, so that what the process holds is what the shard holds.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::collections::BTreeMap;
use std::sync::Arc;

use motte_audit::{CloseCause, Event};
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

/// Sessions and messages for each of them.
const MANY: (usize, usize) = (1_000, 100);
/// Messages for one session.
const LONG: usize = 200_000;

/// A journal that says it keeps everything and keeps nothing.
#[derive(Debug, Default)]
struct Nothing(Position);

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

#[derive(Default)]
struct Sink(BTreeMap<LinkId, Vec<u8>>);

impl Effects for Sink {
    fn outbox(&mut self, link: LinkId) -> Option<&mut Vec<u8>> {
        self.0.get_mut(&link)
    }

    fn pause(&mut self, _link: LinkId, _until: Millis) {}

    fn close(&mut self, link: LinkId) {
        self.0.remove(&link);
    }

    fn control(&mut self, _link: LinkId, _request: ControlRequest) -> Result<(), ReasonCode> {
        Err(ReasonCode::NotAuthorized)
    }

    fn event(&mut self, _event: Event) {}

    fn post(&mut self, _to: ShardId, _letter: Letter) {}
}

struct World {
    shard: Shard<Nothing>,
    sink: Sink,
    policy: Arc<Policy>,
    next_link: u64,
}

impl World {
    fn new() -> Self {
        let policy = Arc::new(Policy::parse("pattern readwrite #\n").unwrap());
        let shared = Shared::new(1, Arc::clone(&policy));
        let limits = Limits { queue_messages_max: usize::MAX, ..Limits::default() };
        let shard = Shard::new(ShardId(0), shared, limits, Nothing::default());
        Self { shard, sink: Sink::default(), policy, next_link: 0 }
    }

    fn connect(&mut self, name: &str) -> LinkId {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        let who = Authenticated::by_certificate(UserName(name.into()));
        let permit = self.policy.admit(who, ClientId(name.into()), None).unwrap();
        let connect = Connect {
            version: ProtocolVersion::V5,
            clean_start: false,
            keep_alive_s: 0,
            client_id: name,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties { session_expiry_s: Some(1_000), ..ConnectProperties::default() },
        };
        self.sink.0.insert(link, Vec::new());
        self.shard.admit(link, Admission::new(permit, &connect, false), Millis(1), &mut self.sink);
        link
    }

    fn send(&mut self, link: LinkId, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        Encoder::new(ProtocolVersion::V5, u32::MAX).encode(packet, &mut bytes).unwrap();
        assert_eq!(self.shard.on_bytes(link, &bytes, Millis(1), &mut self.sink), bytes.len());
        self.sink.0.get_mut(&link).unwrap().clear();
    }

    fn subscribe(&mut self, link: LinkId) {
        let options = SubscriptionOptions { qos: Qos::AtLeastOnce, ..SubscriptionOptions::default() };
        let filters = [("x", options)];
        let filters = SubscribeFilters::from_slice(&filters);
        let id = PacketId::new(1).unwrap();
        let subscribe = Subscribe { id, subscription_id: None, user: UserProperties::EMPTY, filters };
        self.send(link, &Packet::Subscribe(subscribe));
    }

    fn publish(&mut self, link: LinkId, count: usize) {
        for _ in 0..count {
            let packet = Publish {
                delivery: Delivery::AtLeastOnce { id: PacketId::new(1).unwrap(), dup: false },
                retain: false,
                topic: "x",
                topic_alias: None,
                message_expiry_s: Some(1_000),
                subscription_ids: SubscriptionIds::EMPTY,
                properties: ForwardedProperties::EMPTY,
                payload: &[b'p'; 256],
            };
            self.send(link, &Packet::Publish(packet));
        }
    }

    fn lose(&mut self, link: LinkId) {
        self.sink.0.remove(&link);
        self.shard.on_lost(link, CloseCause::ConnectionLost, Millis(1), &mut self.sink);
    }
}

/// Bytes of memory the process holds.
#[expect(clippy::disallowed_methods, reason = "it is the test that looks, not the broker")]
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

#[test]
fn k04_what_waits_for_absent_sessions_takes_at_most_32_bytes_a_message() {
    let mut world = World::new();
    let from = world.connect("from");
    // The way of a message is in memory before anything is measured.
    let to = world.connect("to");
    world.subscribe(to);
    world.publish(from, 100);
    world.lose(to);
    world.publish(from, 100);
    let before = resident_bytes();
    world.publish(from, LONG);
    let bytes = resident_bytes() - before;
    assert_eq!(world.shard.counters().queued, (LONG + 100) as u64);
    assert!(bytes <= 32 * LONG, "{LONG} messages in one session take {bytes} bytes");

    let mut world = World::new();
    let from = world.connect("from");
    let before = resident_bytes();
    let (sessions, messages) = MANY;
    for n in 0..sessions {
        let to = world.connect(&format!("to{n}"));
        world.subscribe(to);
        // Some of it is sent and never acknowledged.
        world.lose(to);
    }
    let empty = resident_bytes() - before;
    world.publish(from, messages);
    let bytes = resident_bytes() - before;
    assert_eq!(world.shard.counters().queued, (sessions * messages) as u64);
    let each = (bytes - empty) / sessions;
    assert!(each <= 32 * messages + 1_024, "{messages} messages in each of {sessions} take {each} bytes a session");
    assert!(empty <= 8_192 * sessions, "{sessions} sessions that nothing waits for take {empty} bytes");
}

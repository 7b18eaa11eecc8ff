//! Clients, two shards, letters under way and time, all moved by one seed.
//!
//! Called by tests through [`run`]. Checks after each step what must always hold, and at the end what must hold when
//! everything has come to rest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use motte_broker::audit::{CloseCause, Event};
use motte_broker::mqtt::{
    Connect, ConnectProperties, Disconnect, Packet, PacketId, ProtocolVersion, Qos, ReasonCode, Subscribe,
    SubscribeFilters, SubscriptionOptions, Unsubscribe, UnsubscribeFilters, UserProperties,
};
use motte_broker::policy::{Authenticated, ClientId, Policy, UserName};
use motte_broker::{Admission, Counters, Effects, Letter, Limits, LinkId, Millis, Shard, ShardId, Shared};
use motte_store::MemoryJournal;

use crate::client::SimClient;
use crate::random::Random;

const SHARDS: u16 = 2;
const CLIENTS: usize = 8;
const STEPS: usize = 2_000;
/// Seconds a lasting session waits for its client.
const EXPIRY_S: u32 = 600;
/// Everybody may do everything.
const ACL: &str = "pattern readwrite #\n";

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Messages the clients published.
    pub published: u64,
    /// Messages the clients were given, without repetitions they knew.
    pub given: u64,
    /// Counts of all shards together.
    pub counters: Counters,
}

#[derive(Debug, Default)]
struct Sink {
    outboxes: BTreeMap<LinkId, Vec<u8>>,
    closed: BTreeSet<LinkId>,
    letters: VecDeque<(ShardId, Letter)>,
}

impl Effects for Sink {
    fn outbox(&mut self, link: LinkId) -> Option<&mut Vec<u8>> {
        self.outboxes.get_mut(&link)
    }

    fn close(&mut self, link: LinkId) {
        self.closed.insert(link);
    }

    fn event(&mut self, _event: Event) {}

    fn post(&mut self, to: ShardId, letter: Letter) {
        self.letters.push_back((to, letter));
    }
}

/// Runs the simulation of one seed.
///
/// # Panics
///
/// When the broker breaks a promise: order, exactly once, valid packets, counts that add up.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
        world.check_counts();
    }
    world.come_to_rest();
    world.outcome()
}

struct World {
    random: Random,
    policy: Policy,
    shared: Arc<Shared>,
    shards: Vec<Shard<MemoryJournal>>,
    sinks: Vec<Sink>,
    clients: Vec<SimClient>,
    now: Millis,
    next_link: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let parse = || Policy::parse(ACL).expect("the rule is valid");
        let shared = Shared::new(SHARDS, Arc::new(parse()));
        let limits = Limits {
            outbox_bytes_max: 100,
            queue_messages_max: 20,
            inflight_max: 5,
            keep_alive_s_max: 0,
            ..Limits::default()
        };
        let shard = |at| Shard::new(ShardId(at), Arc::clone(&shared), limits.clone(), MemoryJournal::default());
        Self {
            random: Random::new(seed),
            policy: parse(),
            shards: (0..SHARDS).map(shard).collect(),
            sinks: (0..SHARDS).map(|_| Sink::default()).collect(),
            clients: (0..CLIENTS).map(|n| SimClient::new(format!("client-{n}"))).collect(),
            shared,
            now: Millis(0),
            next_link: 1,
        }
    }

    /// Every other client has a session that lasts.
    fn lasts(at: usize) -> bool {
        at.is_multiple_of(2)
    }

    fn shard_of(&self, at: usize) -> usize {
        usize::from(self.shared.home(&self.clients[at].name).0)
    }

    fn step(&mut self) {
        let at = self.random.below(CLIENTS);
        match self.random.below(20) {
            0 if self.clients[at].link.is_some() => self.end(at),
            1..=7 if self.clients[at].is_ready => self.act(at),
            0..=7 if self.clients[at].link.is_none() => self.connect(at),
            8..=11 => self.hand_over(at),
            12..=15 => {
                let is_whole = self.random.below(2) == 0;
                self.read(at, is_whole);
            }
            16..=18 => {
                let from = self.random.below(usize::from(SHARDS));
                self.carry_letter(from);
            }
            _ => {
                let ms = self.random.below(2_000) as u64;
                self.pass_ms(ms);
            }
        }
    }

    fn connect(&mut self, at: usize) {
        let shard = self.shard_of(at);
        let link = LinkId(self.next_link);
        self.next_link += 1;
        let lasts = Self::lasts(at);
        let name = self.clients[at].name.clone();
        let connect = Connect {
            version: ProtocolVersion::V5,
            clean_start: !lasts,
            keep_alive_s: 0,
            client_id: &name,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties { session_expiry_s: lasts.then_some(EXPIRY_S), ..Default::default() },
        };
        let who = Authenticated::by_certificate(UserName(name.as_str().into()));
        let permit = self.policy.admit(who, ClientId(name.as_str().into()), None).expect("everybody is admitted");
        let sink = &mut self.sinks[shard];
        sink.outboxes.insert(link, Vec::new());
        self.shards[shard].admit(link, Admission::new(permit, &connect, false), self.now, sink);
        self.clients[at].link = Some(link);
    }

    fn act(&mut self, at: usize) {
        const FILTERS: [&str; 6] = ["t/0", "t/1", "t/+", "t/#", "+/2", "$share/g/s/0"];
        const TOPICS: [&str; 5] = ["t/0", "t/1", "t/2", "t/3", "s/0"];
        let filter = FILTERS[self.random.below(FILTERS.len())];
        let topic = TOPICS[self.random.below(TOPICS.len())];
        let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][self.random.below(3)];
        let id = PacketId::new(60_000).expect("not zero");
        let user = UserProperties::EMPTY;
        let client = &mut self.clients[at];
        match self.random.below(10) {
            0..=1 => {
                let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
                let filters = [(filter, options)];
                let filters = SubscribeFilters::from_slice(&filters);
                client.send(&Packet::Subscribe(Subscribe { id, subscription_id: None, user, filters }));
            }
            2 => {
                let filters = [filter];
                let filters = UnsubscribeFilters::from_slice(&filters);
                client.send(&Packet::Unsubscribe(Unsubscribe { id, user, filters }));
            }
            _ => client.publish(topic, qos),
        }
    }

    /// A connection ends: in order, by a broken network, or by the client coming again before anybody noticed.
    fn end(&mut self, at: usize) {
        let Some(link) = self.clients[at].link else { return };
        let shard = self.shard_of(at);
        let how = self.random.below(3);
        if how == 0 {
            self.clients[at].send(&Packet::Disconnect(Disconnect::new(ReasonCode::Success)));
            self.hand_over_all(at);
        }
        self.clients[at].on_gone(!Self::lasts(at));
        self.sinks[shard].outboxes.remove(&link);
        match how {
            0 => {}
            1 => self.shards[shard].on_lost(link, CloseCause::ConnectionLost, self.now, &mut self.sinks[shard]),
            _ => self.connect(at),
        }
    }

    /// Hands some of what a client wrote to its shard.
    fn hand_over(&mut self, at: usize) {
        let written = self.clients[at].to_send.len();
        let count = self.random.below(written + 1);
        self.hand_over_first(at, count);
    }

    fn hand_over_all(&mut self, at: usize) {
        self.hand_over_first(at, self.clients[at].to_send.len());
    }

    fn hand_over_first(&mut self, at: usize, count: usize) {
        let Some(link) = self.clients[at].link else { return };
        let shard = self.shard_of(at);
        let bytes = &self.clients[at].to_send[..count];
        let taken = self.shards[shard].on_bytes(link, bytes, self.now, &mut self.sinks[shard]);
        self.clients[at].to_send.drain(..taken);
    }

    /// A client reads what its shard wrote; `is_whole` when the shard hears that its outbox was written, which it does
    /// not while the transport still holds some of it.
    fn read(&mut self, at: usize, is_whole: bool) -> bool {
        let Some(link) = self.clients[at].link else { return false };
        let shard = self.shard_of(at);
        let sink = &mut self.sinks[shard];
        let bytes = sink.outboxes.get_mut(&link).map(std::mem::take).unwrap_or_default();
        let ends = self.clients[at].on_bytes(&bytes);
        assert_eq!(ends, sink.closed.contains(&link), "a DISCONNECT goes before every close of ours");
        if is_whole {
            self.shards[shard].on_drained(link, self.now, sink);
        }
        !bytes.is_empty()
    }

    /// Letters of one shard arrive in order.
    fn carry_letter(&mut self, from: usize) -> bool {
        let Some((to, letter)) = self.sinks[from].letters.pop_front() else { return false };
        let to = usize::from(to.0);
        self.shards[to].on_letter(letter, self.now, &mut self.sinks[to]);
        true
    }

    fn pass_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        for (shard, sink) in self.shards.iter_mut().zip(&mut self.sinks) {
            if shard.next_timer().is_some_and(|at| at <= self.now) {
                shard.on_timer(self.now, sink);
            }
        }
    }

    fn check_counts(&self) {
        for shard in &self.shards {
            let counters = shard.counters();
            let accounted = counters.sent + counters.queued + counters.dropped + counters.withheld;
            assert_eq!(counters.routed, accounted, "{counters:?}");
        }
    }

    /// Everybody comes, nobody publishes, and everything under way arrives.
    fn come_to_rest(&mut self) {
        for at in 0..CLIENTS {
            if self.clients[at].link.is_none() {
                self.connect(at);
            }
        }
        let mut moved = true;
        while moved {
            moved = false;
            for at in 0..CLIENTS {
                moved |= !self.clients[at].to_send.is_empty();
                self.hand_over_all(at);
                moved |= self.read(at, true);
            }
            for from in 0..usize::from(SHARDS) {
                moved |= self.carry_letter(from);
            }
            self.check_counts();
        }
        for client in &self.clients {
            assert!(client.is_at_rest(), "{client:?}");
            for (publisher, number) in &client.late {
                let publisher = self.clients.iter().find(|other| other.name == *publisher).expect("a publisher");
                assert!(publisher.repeated.contains(number), "{number} of {} out of order", publisher.name);
            }
        }
    }

    fn outcome(&self) -> Outcome {
        let mut counters = Counters::default();
        for shard in &self.shards {
            let one = shard.counters();
            counters.links += one.links;
            counters.sessions += one.sessions;
            counters.received += one.received;
            counters.routed += one.routed;
            counters.sent += one.sent;
            counters.queued += one.queued;
            counters.dropped += one.dropped;
            counters.withheld += one.withheld;
            counters.denied += one.denied;
        }
        let published = self.clients.iter().map(|client| client.published).sum();
        let given = self.clients.iter().map(|client| client.given).sum();
        Outcome { published, given, counters }
    }
}

//! A world without sockets: shards, links in memory, letters and virtual time, driven by encoded bytes.
//!
//! Used by every broker test. What a client is given is shown as one line of text a packet, so that a test reads like
//! the exchange it describes.

mod journal;
mod log;
mod show;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU16, NonZeroU32};
use std::rc::Rc;
use std::sync::Arc;

use motte_audit::{CloseCause, Event, EventKind};
use motte_broker::mqtt::{
    Ack, Connect, ConnectProperties, Decoder, Delivery, Disconnect, Encoder, ForwardedProperties, Packet, PacketId,
    ProtocolVersion, Publish, Qos, ReasonCode, RetainHandling, Sender, Subscribe, SubscribeFilters, SubscriptionId,
    SubscriptionIds, SubscriptionOptions, Unsubscribe, UnsubscribeFilters, UserProperties, Will,
};
use motte_broker::tenant::session_name;
use motte_broker::{
    Admission, ControlAnswer, ControlRequest, Counters, Effects, JournalState, Letter, Limits, LinkId, Message, Millis,
    MountPoint, Position, Shard, ShardId, Shared,
};
use motte_policy::ranked::RuleSet;
use motte_policy::{Authenticated, ClientId, Facts, Policy, TenantName, UserName};

pub use journal::{Kept, Meanwhile, TestJournal};

/// What a shard wrote.
#[derive(Debug, Default)]
pub struct Sink {
    outboxes: BTreeMap<LinkId, Vec<u8>>,
    closed: BTreeSet<LinkId>,
    events: Vec<Event>,
    letters: Vec<(ShardId, Letter)>,
    pub paused: BTreeMap<LinkId, Millis>,
    pub requests: Vec<(LinkId, ControlRequest)>,
    /// What is said instead of taking a request.
    pub takes_none: Option<ReasonCode>,
}

impl Effects for Sink {
    fn outbox(&mut self, link: LinkId) -> Option<&mut Vec<u8>> {
        self.outboxes.get_mut(&link)
    }

    fn pause(&mut self, link: LinkId, until: Millis) {
        self.paused.insert(link, until);
    }

    fn close(&mut self, link: LinkId) {
        assert!(self.closed.insert(link), "a link is closed once");
    }

    fn control(&mut self, link: LinkId, request: ControlRequest) -> Result<(), ReasonCode> {
        if let Some(reason) = self.takes_none {
            return Err(reason);
        }
        self.requests.push((link, request));
        Ok(())
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    fn post(&mut self, to: ShardId, letter: Letter) {
        self.letters.push((to, letter));
    }
}

/// A connection of the test.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub link: LinkId,
    pub shard: usize,
    pub version: ProtocolVersion,
}

/// The user of a client that came without proof.
pub const NOBODY: &str = "";

/// A CONNECT; change what a test is about.
#[derive(Clone, Debug)]
pub struct Hello<'a> {
    pub user: &'a str,
    pub client_id: &'a str,
    pub version: ProtocolVersion,
    pub clean_start: bool,
    pub keep_alive_s: u16,
    pub session_expiry_s: Option<u32>,
    pub receive_maximum: Option<u16>,
    pub packet_size_max: Option<u32>,
    pub topic_alias_maximum: u16,
    pub wants_response_information: bool,
    pub wants_problem_information: bool,
    pub will: Option<Will<'a>>,
    pub assigned: bool,
    pub mount_point: &'a str,
    /// Empty for none.
    pub tenant: &'a str,
}

pub use ProtocolVersion::{V5, V31, V311};

/// A client of 5.0 with its own name as user, a clean start and no session expiry.
pub const fn v5(client_id: &str) -> Hello<'_> {
    Hello {
        user: client_id,
        client_id,
        version: V5,
        clean_start: true,
        keep_alive_s: 3_600,
        session_expiry_s: None,
        receive_maximum: None,
        packet_size_max: None,
        topic_alias_maximum: 0,
        wants_response_information: false,
        wants_problem_information: true,
        will: None,
        assigned: false,
        mount_point: "",
        tenant: "",
    }
}

/// The same of 3.1.1.
pub fn v311(client_id: &str) -> Hello<'_> {
    Hello { version: V311, ..v5(client_id) }
}

/// A 5.0 client whose session lasts, resumed when there is one.
pub fn lasting(client_id: &str) -> Hello<'_> {
    Hello { clean_start: false, session_expiry_s: Some(1_000), ..v5(client_id) }
}

/// A will with defaults.
pub fn will(topic: &'static str) -> Will<'static> {
    Will {
        topic,
        payload: b"gone",
        qos: Qos::AtMostOnce,
        retain: false,
        delay_s: 0,
        message_expiry_s: None,
        properties: ForwardedProperties::EMPTY,
    }
}

/// A PUBLISH of QoS 0; change what a test is about.
pub fn message<'a>(topic: &'a str, payload: &'a str) -> Publish<'a> {
    Publish {
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic,
        topic_alias: None,
        message_expiry_s: None,
        subscription_ids: SubscriptionIds::EMPTY,
        properties: ForwardedProperties::EMPTY,
        payload: payload.as_bytes(),
    }
}

pub fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

pub fn qos1(value: u16) -> Delivery {
    Delivery::AtLeastOnce { id: id(value), dup: false }
}

pub fn qos2(value: u16) -> Delivery {
    Delivery::ExactlyOnce { id: id(value), dup: false }
}

pub fn options(qos: u8) -> SubscriptionOptions {
    SubscriptionOptions { qos: Qos::from_u8(qos).unwrap(), ..SubscriptionOptions::default() }
}

/// Everybody may do everything with topics that do not begin with `$`, and nobody anything with `secret/#`.
pub const OPEN: &str = "pattern readwrite #\npattern deny secret/#\n";

/// Shards and their clients.
pub struct World {
    pub shared: Arc<Shared>,
    pub shards: Vec<Shard<TestJournal>>,
    pub sinks: Vec<Sink>,
    pub now: Millis,
    /// What was asked back from the journals is not answered.
    pub fetches_wait: bool,
    /// Letters are not carried.
    pub letters_wait: bool,
    /// How long letters are under way.
    pub letters_take_ms: u64,
    rest: BTreeMap<LinkId, Vec<u8>>,
    next_link: u64,
    policy: Arc<Policy>,
    limits: Limits,
}

impl World {
    /// One shard, everybody may do everything.
    pub fn new() -> Self {
        Self::with(1, OPEN, &Limits::default())
    }

    pub fn with_limits(limits: &Limits) -> Self {
        Self::with(1, OPEN, limits)
    }

    pub fn with(shards: u16, acl: &str, limits: &Limits) -> Self {
        let policy = Arc::new(Policy::parse(acl).unwrap());
        let shared = Shared::new(shards, Arc::clone(&policy));
        Self::with_journals(shards, policy, &shared, limits, |shard| TestJournal { shard, ..TestJournal::default() })
    }

    /// Shards whose journals give messages back.
    pub fn reading_back(shards: u16, acl: &str, limits: &Limits) -> Self {
        let policy = Arc::new(Policy::parse(acl).unwrap());
        let shared = Shared::new(shards, Arc::clone(&policy));
        let kept = Rc::new(RefCell::new(Kept::default()));
        let journal = |shard| TestJournal { shard, kept: Some(Rc::clone(&kept)), ..TestJournal::default() };
        Self::with_journals(shards, policy, &shared, limits, journal)
    }

    fn with_journals(
        shards: u16,
        policy: Arc<Policy>,
        shared: &Arc<Shared>,
        limits: &Limits,
        journal: impl Fn(u16) -> TestJournal,
    ) -> Self {
        let new = |at| Shard::new(ShardId(at), Arc::clone(shared), limits.clone(), journal(at));
        Self {
            shards: (0..shards).map(new).collect(),
            sinks: (0..shards).map(|_| Sink::default()).collect(),
            shared: Arc::clone(shared),
            now: Millis(1_000),
            fetches_wait: false,
            letters_wait: false,
            letters_take_ms: 0,
            rest: BTreeMap::new(),
            next_link: 1,
            policy,
            limits: limits.clone(),
        }
    }

    /// What is left of this world after a crash, with what its journals had written before a cut; the new one has this
    /// many shards and begins later. What was due meanwhile has happened.
    pub fn crash(self, cut: usize, shards: u16, away_ms: u64) -> Self {
        let kept = Rc::clone(self.shards[0].journal().kept.as_ref().expect("its journals keep what they are told"));
        let (recovered, ends) = (kept.borrow().log.recover(cut), kept.borrow().log.ends(cut));
        let restored = recovered.restored();
        let shared = Shared::new(shards, Arc::clone(&self.policy));
        let now = self.now.plus_ms(away_ms.max(1));
        shared.restore(restored.retained, restored.removals, now);
        shared.restore_bans(restored.bans);
        let log = std::mem::take(&mut kept.borrow_mut().log).before(cut);
        let kept = Rc::new(RefCell::new(Kept { messages: recovered.messages, log, ..Kept::default() }));
        let journal = |shard| {
            let end = ends.get(&shard).copied().unwrap_or_default();
            TestJournal { shard, end, kept: Some(Rc::clone(&kept)), ..TestJournal::default() }
        };
        let mut world = Self::with_journals(shards, self.policy, &shared, &self.limits, journal);
        (world.now, world.next_link) = (now, self.next_link);
        for session in restored.sessions {
            let shard = usize::from(shared.home(&session_name(&session.owner)).0);
            world.shards[shard].restore(session, now, &mut world.sinks[shard]);
        }
        world.pass_ms(0);
        world.settle();
        world
    }

    /// Everything that was told before a cut is durable, and nothing after it.
    pub fn durable_until(&mut self, cut: usize) {
        let kept = Rc::clone(self.shards[0].journal().kept.as_ref().expect("its journals keep what they are told"));
        let ends = kept.borrow().log.ends(cut);
        for (at, (shard, sink)) in self.shards.iter_mut().zip(&mut self.sinks).enumerate() {
            let at = u16::try_from(at).unwrap();
            shard.journal_mut().held_at = Some(ends.get(&at).copied().unwrap_or_default());
            shard.on_durable(self.now, sink);
        }
        self.settle();
    }

    /// Where the log can be cut: the ends of all calls so far.
    pub fn cuts(&self) -> Vec<usize> {
        self.shards[0].journal().kept.as_ref().unwrap().borrow().log.cuts()
    }

    /// Another call into a shard begins: what it writes survives a crash as a whole or not at all.
    fn begin(&self) {
        if let Some(kept) = &self.shards[0].journal().kept {
            kept.borrow_mut().log.turn += 1;
        }
    }

    /// Admits a client and drops its CONNACK.
    pub fn connect(&mut self, hello: &Hello<'_>) -> Client {
        let client = self.admit(hello);
        let shown = self.take(client);
        assert!(shown[0].starts_with("connack 00"), "{shown:?}");
        client
    }

    /// Admits a client.
    pub fn admit(&mut self, hello: &Hello<'_>) -> Client {
        let who = match hello.user {
            NOBODY => Authenticated::anonymously(),
            user => Authenticated::by_certificate(UserName(user.into())),
        };
        self.admit_as(hello, who, b"")
    }

    /// Admits a client that authenticated in a way of its own; `data` ended the exchange.
    pub fn admit_as(&mut self, hello: &Hello<'_>, who: Authenticated, data: &[u8]) -> Client {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        let tenant = Some(hello.tenant).filter(|tenant| !tenant.is_empty());
        let tenant = tenant.map(|tenant| TenantName::parse(tenant).unwrap());
        let who = who.with_facts(Facts { tenant, ..Facts::default() }).unwrap();
        let permit = self.policy.admit(who, ClientId(hello.client_id.into()), None).unwrap();
        let mount_point = MountPoint::parse(hello.mount_point).unwrap();
        let admission = Admission::new(permit, &connect_packet(hello), hello.assigned)
            .behind(&mount_point)
            .with_authentication_data(data);
        let shard = usize::from(self.shared.home(admission.session_name()).0);
        self.sinks[shard].outboxes.insert(link, Vec::new());
        self.begin();
        self.shards[shard].admit(link, admission, self.now, &mut self.sinks[shard]);
        self.settle();
        Client { link, shard, version: hello.version }
    }

    /// Sends a packet.
    pub fn send(&mut self, client: Client, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        Encoder::new(client.version, u32::MAX).encode(packet, &mut bytes).unwrap();
        self.send_bytes(client, &bytes);
    }

    /// Sends bytes as the network would: what was not taken stays in front of what comes next.
    pub fn send_bytes(&mut self, client: Client, bytes: &[u8]) {
        self.begin();
        let rest = self.rest.entry(client.link).or_default();
        rest.extend_from_slice(bytes);
        let taken = self.shards[client.shard].on_bytes(client.link, rest, self.now, &mut self.sinks[client.shard]);
        rest.drain(..taken);
        self.settle();
    }

    /// Carries letters until none is left.
    pub fn settle(&mut self) {
        while !self.letters_wait {
            let letters: Vec<_> = self.sinks.iter_mut().flat_map(|sink| std::mem::take(&mut sink.letters)).collect();
            if letters.is_empty() {
                if !self.fetches_wait && self.answer_fetches() {
                    continue;
                }
                return;
            }
            self.now = self.now.plus_ms(self.letters_take_ms);
            for (to, letter) in letters {
                self.begin();
                let to = usize::from(to.0);
                self.shards[to].on_letter(letter, self.now, &mut self.sinks[to]);
            }
        }
    }

    /// Answers what was asked back from the journals until now; tells whether that was anything.
    pub fn answer_fetches(&mut self) -> bool {
        let mut was_asked = false;
        for (shard, sink) in self.shards.iter_mut().zip(&mut self.sinks) {
            let fetches = std::mem::take(&mut shard.journal_mut().fetches);
            for fetch in fetches {
                was_asked = true;
                let fetched = shard.journal().kept.as_ref().expect("they read back").borrow().answer(&fetch);
                shard.on_fetched(fetched, self.now, sink);
            }
        }
        was_asked
    }

    /// Answers what was asked back, and carries what comes of it.
    pub fn read_back(&mut self) {
        self.answer_fetches();
        self.settle();
    }

    /// Messages with these payloads cannot be read back from now on.
    pub fn make_unreadable(&mut self, payloads: &[&str]) {
        let mut kept = self.shards[0].journal().kept.as_ref().unwrap().borrow_mut();
        let is_meant = |message: &Message| payloads.iter().any(|payload| payload.as_bytes() == message.payload());
        let meant: Vec<_> =
            kept.messages.iter().filter(|(_, (message, _))| is_meant(message)).map(|(at, _)| *at).collect();
        kept.unreadable.extend(meant);
    }

    /// What all shards have recorded, one after the other.
    pub fn records(&self) -> Vec<String> {
        self.shards.iter().flat_map(|shard| shard.journal().records.iter().cloned()).collect()
    }

    /// What the journals keep for a session.
    pub fn kept_for(&self, client_id: &str) -> usize {
        self.shards[0].journal().kept.as_ref().unwrap().borrow().owed_to(client_id)
    }

    /// Reads everything a client was sent, and goes on reading while more comes. Ends with `closed` when the link is.
    pub fn take(&mut self, client: Client) -> Vec<String> {
        let mut shown = Vec::new();
        loop {
            let sink = &mut self.sinks[client.shard];
            let bytes = sink.outboxes.get_mut(&client.link).map(std::mem::take).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            show::packets(client.version, &bytes, &mut shown);
            self.shards[client.shard].on_drained(client.link, self.now, sink);
            self.settle();
        }
        if self.sinks[client.shard].closed.contains(&client.link) {
            shown.push("closed".into());
        }
        shown
    }

    /// Reads what a client was sent so far, with reason strings and other hints behind each packet.
    pub fn take_explained(&mut self, client: Client) -> Vec<String> {
        let bytes = self.take_bytes(client);
        let mut shown = show::explained(client.version, &bytes);
        if self.sinks[client.shard].closed.contains(&client.link) {
            shown.push("closed".into());
        }
        shown
    }

    /// Reads what a client was sent so far, once.
    pub fn take_once(&mut self, client: Client) -> Vec<String> {
        let bytes = self.take_bytes(client);
        let mut shown = Vec::new();
        show::packets(client.version, &bytes, &mut shown);
        self.drained(client);
        shown
    }

    /// Tells the shard that the outbox of a client was written.
    pub fn drained(&mut self, client: Client) {
        self.shards[client.shard].on_drained(client.link, self.now, &mut self.sinks[client.shard]);
        self.settle();
    }

    /// Takes the bytes a client was sent so far; the shard is not told.
    pub fn take_bytes(&mut self, client: Client) -> Vec<u8> {
        self.sinks[client.shard].outboxes.get_mut(&client.link).map(std::mem::take).unwrap_or_default()
    }

    /// Asserts what a client is sent.
    #[track_caller]
    pub fn expect(&mut self, client: Client, expected: &[&str]) {
        assert_eq!(self.take(client), expected);
    }

    /// For how many milliseconds from now a client is not read.
    pub fn paused_ms(&self, client: Client) -> u64 {
        let until = self.sinks[client.shard].paused.get(&client.link);
        until.map_or(0, |until| until.0.saturating_sub(self.now.0))
    }

    /// Bytes a client has not read.
    pub fn unread_bytes(&self, client: Client) -> usize {
        self.sinks[client.shard].outboxes.get(&client.link).map_or(0, Vec::len)
    }

    /// The network breaks.
    pub fn lose(&mut self, client: Client) {
        self.begin();
        let sink = &mut self.sinks[client.shard];
        sink.outboxes.remove(&client.link);
        self.shards[client.shard].on_lost(client.link, CloseCause::ConnectionLost, self.now, sink);
        self.settle();
    }

    /// Time passes, with every timer called when it is due.
    pub fn pass_ms(&mut self, ms: u64) {
        let until = self.now.plus_ms(ms);
        while let Some(at) = self.shards.iter().filter_map(Shard::next_timer).min().filter(|&at| at <= until) {
            self.now = at.max(self.now);
            for at in 0..self.shards.len() {
                self.begin();
                self.shards[at].on_timer(self.now, &mut self.sinks[at]);
            }
            self.settle();
        }
        self.now = until;
    }

    /// The requests a client made of the broker since the last call, which wait for an answer.
    pub fn requests(&mut self, client: Client) -> Vec<ControlRequest> {
        let requests = std::mem::take(&mut self.sinks[client.shard].requests);
        requests.into_iter().filter(|(link, _)| *link == client.link).map(|(_, request)| request).collect()
    }

    /// Answers a request.
    pub fn answer(&mut self, client: Client, request: &ControlRequest, payload: &str) {
        self.begin();
        let answer =
            ControlAnswer { endpoint: request.endpoint, ticket: request.ticket, payload: payload.as_bytes().to_vec() };
        self.shards[client.shard].on_control_answer(client.link, answer, self.now, &mut self.sinks[client.shard]);
        self.settle();
    }

    /// Puts rules of dynamic security in force beside the ACL.
    pub fn add_rules(&mut self, rules: RuleSet) {
        self.policy = Arc::new(Policy::clone(&self.policy).with_dynamic(Some(Arc::new(rules))));
        self.shared.replace_policy(Arc::clone(&self.policy));
        for (shard, sink) in self.shards.iter_mut().zip(&mut self.sinks) {
            shard.on_policy_changed(self.now, sink);
        }
        self.settle();
    }

    /// Puts another ACL in force.
    pub fn change_policy(&mut self, acl: &str) {
        self.policy = Arc::new(Policy::parse(acl).unwrap());
        self.shared.replace_policy(Arc::clone(&self.policy));
        for (shard, sink) in self.shards.iter_mut().zip(&mut self.sinks) {
            shard.on_policy_changed(self.now, sink);
        }
        self.settle();
    }

    /// Another ACL is written down, and no shard lives to hear of it.
    pub fn change_policy_unheard(&mut self, acl: &str) {
        self.policy = Arc::new(Policy::parse(acl).unwrap());
    }

    /// Removes users, whose connections are left to be ended.
    pub fn remove_users(&mut self, names: &[&str]) {
        let users: BTreeSet<UserName> = names.iter().map(|&name| UserName(name.into())).collect();
        self.shared.remove_users(users.iter().cloned(), self.now);
        for (shard, sink) in self.shards.iter_mut().zip(&mut self.sinks) {
            shard.on_policy_changed(self.now, sink);
            shard.on_users_revoked(|user| users.contains(user), sink);
        }
        self.settle();
    }

    /// Lets no further record become durable, or all of them.
    pub fn hold_journal(&mut self, hold: bool) {
        for (shard, sink) in self.shards.iter_mut().zip(&mut self.sinks) {
            let journal = shard.journal_mut();
            journal.held_at = hold.then_some(journal.end);
            shard.on_durable(self.now, sink);
        }
    }

    /// Who is kept out has changed, and all shards hear of it.
    pub fn tell_bans(&mut self) {
        self.begin();
        for (shard, sink) in self.shards.iter_mut().zip(&mut self.sinks) {
            shard.on_bans_changed(self.now, sink);
        }
        self.settle();
    }

    /// There is room for what is to be kept, or none, or never will be again.
    pub fn storage_is(&mut self, state: JournalState) {
        for (shard, sink) in self.shards.iter_mut().zip(&mut self.sinks) {
            shard.journal_mut().state = state;
            if state == JournalState::Failed {
                shard.on_journal_failed(sink);
            }
        }
        self.settle();
    }

    /// The journal of the first shard got this far.
    pub fn journal_reaches(&mut self, position: Position) {
        self.shards[0].journal_mut().held_at = Some(position);
        self.shards[0].on_durable(self.now, &mut self.sinks[0]);
    }

    /// Events since the last call.
    pub fn events(&mut self) -> Vec<EventKind> {
        self.sinks.iter_mut().flat_map(|sink| std::mem::take(&mut sink.events)).map(|event| event.kind).collect()
    }

    /// Events since the last call, with whom they are about.
    pub fn events_of_clients(&mut self) -> Vec<Event> {
        self.sinks.iter_mut().flat_map(|sink| std::mem::take(&mut sink.events)).collect()
    }

    /// Counts of all shards together.
    pub fn counters(&self) -> Counters {
        let mut all = Counters::default();
        for shard in &self.shards {
            let one = shard.counters();
            assert_eq!(one.routed, one.sent + one.queued + one.dropped + one.withheld, "{one:?}");
            all += one;
        }
        all
    }

    // What clients do often.

    pub fn publish(&mut self, client: Client, publish: Publish<'_>) {
        self.send(client, &Packet::Publish(publish));
    }

    /// Subscribes to filters and drops the SUBACK.
    pub fn subscribe(&mut self, client: Client, filters: &[(&str, u8)]) {
        let filters: Vec<_> = filters.iter().map(|&(filter, qos)| (filter, options(qos))).collect();
        self.subscribe_with(client, None, &filters);
        let shown = self.take(client);
        assert!(shown[0].starts_with("suback"), "{shown:?}");
        assert_eq!(shown.len(), 1, "{shown:?}");
    }

    pub fn subscribe_with(&mut self, client: Client, sub_id: Option<u32>, filters: &[(&str, SubscriptionOptions)]) {
        let subscription_id = sub_id.map(|value| SubscriptionId::new(value).unwrap());
        let filters = SubscribeFilters::from_slice(filters);
        let packet = Subscribe { id: id(1), subscription_id, user: UserProperties::EMPTY, filters };
        self.send(client, &Packet::Subscribe(packet));
    }

    pub fn unsubscribe(&mut self, client: Client, filters: &[&str]) {
        let filters = UnsubscribeFilters::from_slice(filters);
        self.send(client, &Packet::Unsubscribe(Unsubscribe { id: id(2), user: UserProperties::EMPTY, filters }));
    }

    pub fn puback(&mut self, client: Client, value: u16) {
        self.send(client, &Packet::PubAck(Ack::new(id(value), ReasonCode::Success)));
    }

    pub fn pubrec(&mut self, client: Client, value: u16) {
        self.send(client, &Packet::PubRec(Ack::new(id(value), ReasonCode::Success)));
    }

    pub fn pubrel(&mut self, client: Client, value: u16) {
        self.send(client, &Packet::PubRel(Ack::new(id(value), ReasonCode::Success)));
    }

    pub fn pubcomp(&mut self, client: Client, value: u16) {
        self.send(client, &Packet::PubComp(Ack::new(id(value), ReasonCode::Success)));
    }

    pub fn disconnect(&mut self, client: Client, reason: ReasonCode) {
        self.send(client, &Packet::Disconnect(Disconnect::new(reason)));
    }
}

pub fn connect_packet<'a>(hello: &Hello<'a>) -> Connect<'a> {
    Connect {
        version: hello.version,
        clean_start: hello.clean_start,
        keep_alive_s: hello.keep_alive_s,
        client_id: hello.client_id,
        will: hello.will,
        user_name: None,
        password: None,
        properties: ConnectProperties {
            session_expiry_s: hello.session_expiry_s,
            receive_maximum: hello.receive_maximum.and_then(NonZeroU16::new),
            packet_size_max: hello.packet_size_max.and_then(NonZeroU32::new),
            topic_alias_maximum: hello.topic_alias_maximum,
            request_response_information: hello.wants_response_information,
            request_problem_information: hello.wants_problem_information,
            ..ConnectProperties::default()
        },
    }
}

/// Options with everything the client of the test needs to say.
pub fn retain_handling(qos: u8, retain_handling: RetainHandling) -> SubscriptionOptions {
    SubscriptionOptions { retain_handling, ..options(qos) }
}

pub use motte_broker::mqtt;

/// The decoder of a client.
pub fn decoder(version: ProtocolVersion) -> Decoder {
    Decoder::new(Sender::Server, version, u32::MAX)
}

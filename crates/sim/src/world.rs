//! Shards, connections, parcels under way and time, all moved by one seed.
//!
//! Called by `report`. Every call into the broker passes through here and is booked in the ledger at once.

mod crash;
mod rest;
mod step;
mod turn;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use motte_broker::audit::Event;
use motte_broker::mqtt::ReasonCode;
use motte_broker::policy::Policy;
use motte_broker::{ControlRequest, Effects, Letter, LinkId, Millis, Shard, ShardId, Shared};

use crate::client::Client;
use crate::fault::Fault;
use crate::history::{Delivered, MessageNo, SessionNo, Violation};
use crate::journal::{Habits, Keeper, SimJournal};
use crate::ledger::Ledger;
use crate::line::Line;
use crate::plan::Plan;
use crate::random::Random;
use crate::rights::Rights;

/// What a shard did in one call.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    /// One for each transport that stands.
    outboxes: BTreeMap<LinkId, Vec<u8>>,
    closed: BTreeSet<LinkId>,
    events: Vec<Event>,
    letters: Vec<(ShardId, Letter)>,
}

impl Effects for Sink {
    fn outbox(&mut self, link: LinkId) -> Option<&mut Vec<u8>> {
        self.outboxes.get_mut(&link)
    }

    fn pause(&mut self, _link: LinkId, _until: Millis) {
        unreachable!("the simulation sets no rate");
    }

    fn close(&mut self, link: LinkId) {
        self.closed.insert(link);
    }

    fn control(&mut self, _link: LinkId, _request: ControlRequest) -> Result<(), ReasonCode> {
        Err(ReasonCode::NotAuthorized)
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    fn post(&mut self, to: ShardId, letter: Letter) {
        self.letters.push((to, letter));
    }
}

/// What one turn of a shard has for another one.
#[derive(Debug)]
struct Parcel {
    letters: Vec<Letter>,
    /// Messages accepted in that turn, and where in the log.
    messages: Vec<(MessageNo, usize)>,
}

/// The world.
pub(crate) struct World {
    pub(crate) plan: Plan,
    random: Random,
    /// Decides when the broker dies and what is left of it.
    fate: Random,
    policy: Arc<Policy>,
    shared: Arc<Shared>,
    shards: Vec<Shard<SimJournal>>,
    keeper: Keeper,
    /// Shards that were not told yet that their journals got further.
    unaware: BTreeSet<usize>,
    sinks: Vec<Sink>,
    /// Connections the client or its shard still knows.
    lines: BTreeMap<LinkId, Line>,
    clients: Vec<Client>,
    /// In order from one shard to another.
    parcels: BTreeMap<(usize, usize), VecDeque<Parcel>>,
    /// Shards that were not told yet of the policy in force.
    untold: BTreeSet<usize>,
    pub(crate) ledger: Ledger,
    now: Millis,
    next_link: u64,
    fault: Option<Fault>,
    /// The plan is over: whoever is given something now lives to the end.
    is_resting: bool,
    /// What the fault keeps back.
    kept_back: Option<(SessionNo, Delivered)>,
}

impl World {
    pub(crate) fn new(mut random: Random, fault: Option<Fault>) -> Self {
        let mut fate = random.fork();
        let plan = Plan::new(&mut random, &mut fate);
        let rights = if plan.has_policies { Rights::some(&mut random) } else { Rights::open() };
        let policy = Arc::new(Policy::parse(&rights.text()).expect("the rules are valid"));
        let shared = Shared::new(plan.shards, Arc::clone(&policy));
        // A journal that is to lie cannot be held against the real one.
        let has_store = plan.crashes.has_store && fault.is_none();
        let keeper = if has_store { Keeper::with_store(Millis(0)).ok() } else { None };
        let mut keeper = keeper.unwrap_or_default();
        let shards = make_shards(&plan, &shared, &mut keeper);
        let mut ledger = Ledger::new(plan.limits.clone(), rights, plan.shards);
        ledger.history.has_size_limits = plan.has_size_limits;
        ledger.history.has_waits = plan.journal_lags;
        ledger.history.versions = plan.clients.iter().map(|client| client.version).collect();
        Self {
            random,
            policy,
            fate,
            shards,
            keeper,
            unaware: BTreeSet::new(),
            sinks: (0..plan.shards).map(|_| Sink::default()).collect(),
            lines: BTreeMap::new(),
            clients: plan.clients.iter().map(|profile| Client::new(profile.version)).collect(),
            parcels: BTreeMap::new(),
            untold: BTreeSet::new(),
            ledger,
            shared,
            now: Millis(0),
            next_link: 1,
            fault,
            is_resting: false,
            kept_back: None,
            plan,
        }
    }

    /// Runs the whole plan.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        for _ in 0..self.plan.steps {
            if self.plan.crashes.every_steps > 0 && self.fate.below(self.plan.crashes.every_steps) == 0 {
                self.crash()?;
            }
            self.step()?;
        }
        self.come_to_rest()
    }

    fn shard_of(&self, client: usize) -> usize {
        usize::from(self.shared.home(&self.plan.clients[client].name).0)
    }

    fn new_link(&mut self) -> LinkId {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        link
    }

    fn client_named(&self, name: &str) -> Option<usize> {
        self.plan.clients.iter().position(|profile| profile.name == name)
    }

    /// The connection the shard knows for a client.
    fn attached(&self, client: usize) -> Option<LinkId> {
        self.ledger.sessions.get(&client).and_then(|session| session.link)
    }
}

/// The shards of a broker that starts, with journals that go on where they were.
fn make_shards(plan: &Plan, shared: &Arc<Shared>, keeper: &mut Keeper) -> Vec<Shard<SimJournal>> {
    let crashes = plan.crashes;
    let habits = Habits { lags: plan.journal_lags, keeps: crashes.keeps_records(), reads_back: crashes.reads_back };
    let real = keeper.journals(plan.shards);
    let shard = |(id, real)| {
        let journal = SimJournal::new(id, keeper.end(id), habits, real);
        Shard::new(id, Arc::clone(shared), plan.limits.clone(), journal)
    };
    (0..plan.shards).map(ShardId).zip(real).map(shard).collect()
}

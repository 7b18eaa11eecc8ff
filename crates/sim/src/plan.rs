//! What a seed decides before anything happens: the node, its limits, the clients and what may befall them.
//!
//! Made by the world. Limits are small, so that runs reach them.

use motte_broker::mqtt::ProtocolVersion;
use motte_broker::{Limits, QueuePolicy};

use crate::random::Random;
use crate::rights::USERS;

/// The whole plan.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) shards: u16,
    pub(crate) limits: Limits,
    pub(crate) clients: Vec<Profile>,
    pub(crate) steps: usize,
    /// Bytes a transport holds between broker and client.
    pub(crate) transport_bytes: usize,
    pub(crate) has_shared: bool,
    /// Rights are missing and change.
    pub(crate) has_policies: bool,
    pub(crate) has_expiry: bool,
    pub(crate) has_retained: bool,
    /// Clients accept packets up to some size only.
    pub(crate) has_size_limits: bool,
    /// Records become durable some time after they were written.
    pub(crate) journal_lags: bool,
    /// Timers are looked at after the clock has jumped over them.
    pub(crate) timers_lag: bool,
    pub(crate) crashes: Crashes,
}

/// What a seed decides about the death of the broker. Drawn beside everything else, so that a run without one is the
/// same whatever stands here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crashes {
    /// Steps between two of them, on average; 0 for a broker that lives to the end.
    pub(crate) every_steps: usize,
    /// Messages are read back from the journal.
    pub(crate) reads_back: bool,
    /// Records become durable some time after they were written, whatever the plan says beside.
    pub(crate) lags: bool,
    /// The real store keeps the records.
    pub(crate) has_store: bool,
    /// Others may be the number of shards afterwards.
    pub(crate) moves_home: bool,
}

impl Crashes {
    fn new(random: &mut Random) -> Self {
        let every_steps = random.pick(&[0, 0, 200, 700, 1_500]);
        Self {
            every_steps,
            // A broker that begins with what was kept has to read it back.
            reads_back: every_steps > 0 || random.percent(50),
            moves_home: random.percent(60),
            lags: every_steps > 0 && random.percent(60),
            has_store: every_steps > 0 && random.percent(25),
        }
    }

    /// Whether the journals hold what they are told.
    pub(crate) fn keeps_records(self) -> bool {
        self.reads_back
    }
}

/// What is true of a client for the whole run.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) user: usize,
    pub(crate) version: ProtocolVersion,
    /// Its sessions outlive their connections.
    pub(crate) lasts: bool,
    pub(crate) expiry_s: u32,
    pub(crate) keep_alive_s: u16,
    /// It seldom reads.
    pub(crate) is_slow: bool,
    /// It breaks rules now and then.
    pub(crate) is_rogue: bool,
}

impl Plan {
    /// A plan: of the second generator come the deaths of the broker.
    pub(crate) fn new(random: &mut Random, fate: &mut Random) -> Self {
        let (outbox_bytes_max, queue_messages_max) = (random.pick(&[60, 200, 2_000]), random.pick(&[3, 12, 100]));
        let drops_oldest = queue_messages_max == 12;
        let limits = Limits {
            outbox_bytes_max,
            queue_messages_max,
            queue_policy: if drops_oldest { QueuePolicy::DropOldest } else { QueuePolicy::Reject },
            inflight_max: random.pick(&[2, 5, 20]),
            receive_maximum: random.pick(&[4, 20]),
            retained_messages_max: random.pick(&[3, 100]),
            subscriptions_max: random.pick(&[4, 100]),
            session_expiry_s_max: random.pick(&[40, 3_600]),
            keep_alive_s_max: random.pick(&[0, 0, 30]),
            topic_alias_maximum: random.pick(&[0, 3]),
            topic_alias_outbound_max: random.pick(&[1, 16]),
            packet_size_bytes_max: 1_000,
            ..Limits::default()
        };
        let crashes = Crashes::new(fate);
        let count = 2 + random.below(7);
        let versions = match random.below(4) {
            0 => vec![ProtocolVersion::V5],
            1 => vec![ProtocolVersion::V311],
            _ => vec![ProtocolVersion::V5, ProtocolVersion::V5, ProtocolVersion::V311, ProtocolVersion::V31],
        };
        let has_rogues = random.percent(50);
        let has_keep_alive = random.percent(40);
        let mut profile = |at: usize| Profile {
            name: format!("c{at}"),
            user: random.below(USERS),
            version: random.pick(&versions),
            lasts: random.percent(60),
            expiry_s: random.pick(&[20, 600, u32::MAX]),
            keep_alive_s: if has_keep_alive { random.pick(&[0, 10, 60]) } else { 0 },
            is_slow: random.percent(20),
            is_rogue: has_rogues && random.percent(30),
        };
        let clients = (0..count).map(&mut profile).collect();
        Self {
            shards: random.pick(&[1, 2, 2, 3, 4]),
            limits,
            clients,
            steps: 300 + random.below(2_500),
            transport_bytes: random.pick(&[40, 300, 5_000]),
            has_shared: random.percent(40),
            has_policies: random.percent(40),
            has_expiry: random.percent(40),
            has_retained: random.percent(60),
            has_size_limits: random.percent(20),
            journal_lags: random.percent(30) || crashes.lags || crashes.has_store,
            timers_lag: random.percent(30),
            crashes,
        }
    }
}

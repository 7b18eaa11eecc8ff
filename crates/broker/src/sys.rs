//! The `$SYS` tree: what the node counts, under the names Mosquitto gave it, so that exporters and dashboards find it.
//!
//! Filled in by `handle/sys` on the shard that publishes it. Decides what is said, publishes nothing itself.

mod load;

use std::collections::BTreeMap;

use crate::counters::{Counters, Traffic};
use crate::journal::JournalState;
use crate::shard::{Millis, ShardId};
use load::{Load, PERIODS};

/// Above all topics of the tree.
const ROOT: &str = "$SYS/broker";

/// What the node knows beside its shards.
#[derive(Clone, Debug, Default)]
pub struct NodeFigures {
    /// The broker's version.
    pub version: &'static str,
    /// What survives a crash: `memory` is nothing.
    pub durability: &'static str,
    /// How the store is doing; `None` without one.
    pub store: Option<StoreFigures>,
    /// How the settings and files are doing.
    pub reloads: ReloadFigures,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Bytes of memory the process has now.
    pub memory_bytes: u64,
    /// The most it ever had.
    pub memory_bytes_max: u64,
    /// Sockets accepted since the start.
    pub sockets: u64,
    /// Sockets open now, admitted or not.
    pub sockets_open: u64,
    /// CONNECT packets, which are read before a shard is chosen.
    pub incoming: Traffic,
    /// CONNACK packets of those that were refused there.
    pub outgoing: Traffic,
    /// The sources of identities that were asked, by name, and what they said.
    pub identity: Vec<(String, SourceFigures)>,
    /// What was done for all of them.
    pub checks: CheckFigures,
}

/// What checks of passwords came to since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckFigures {
    /// User names that no source knew.
    pub unclaimed: u64,
    /// Slow hashes that were computed.
    pub hashes: u64,
    /// Passwords that were known to be right without a hash.
    pub recalled: u64,
    /// Clients that had to wait, or were refused, because of wrong guesses.
    pub slowed: u64,
}

/// What a source of identities said since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceFigures {
    /// Clients it knew and let in.
    pub accepted: u64,
    /// Clients it knew and turned away.
    pub refused: u64,
    /// Clients it left to the next.
    pub deferred: u64,
    /// Times it could not tell.
    pub unavailable: u64,
    /// Microseconds it took in all.
    pub time_us: u64,
}

/// What the node knows of the settings and files it works with.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReloadFigures {
    /// Whether what is in the files now was refused, so that older ones are in force.
    pub alarm: bool,
    /// Reloads since the start that took effect.
    pub done: u64,
    /// Reloads since the start that were refused.
    pub refused: u64,
}

/// What the node knows of its store.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreFigures {
    /// Whether it takes what it is given.
    pub state: JournalState,
    /// Bytes that are kept.
    pub bytes: u64,
    /// Bytes of its file.
    pub file_bytes: u64,
    /// Messages that are owed, one for each session.
    pub messages: u64,
    /// Commits since the start.
    pub commits: u64,
    /// Microseconds of the last commit.
    pub commit_us: u64,
    /// Microseconds of the longest commit since the start.
    pub commit_us_max: u64,
    /// Bytes written since the start.
    pub written_bytes: u64,
}

/// Packet types by their number in the fixed header, with whether clients and whether servers send them.
const TYPES: [(usize, &str, bool, bool); 15] = [
    (1, "connect", true, false),
    (2, "connack", false, true),
    (3, "publish", true, true),
    (4, "puback", true, true),
    (5, "pubrec", true, true),
    (6, "pubrel", true, true),
    (7, "pubcomp", true, true),
    (8, "subscribe", true, false),
    (9, "suback", false, true),
    (10, "unsubscribe", true, false),
    (11, "unsuback", false, true),
    (12, "pingreq", true, false),
    (13, "pingresp", false, true),
    (14, "disconnect", true, true),
    (15, "auth", true, true),
];
const CONNECT: usize = 1;
const PUBLISH: usize = 3;

/// The state of the tree.
#[derive(Debug, Default)]
pub(crate) struct Board {
    node: NodeFigures,
    /// The last counts of each shard.
    reports: Vec<Counters>,
    /// Answers missing in this round.
    awaited: usize,
    connected_max: u64,
    loads: BTreeMap<&'static str, Load>,
    /// When the loads were last brought up to date.
    measured: Option<Millis>,
    /// What stands in each topic.
    published: BTreeMap<String, String>,
}

impl Board {
    /// Begins a round, whatever became of the one before.
    pub(crate) fn begin(&mut self, node: NodeFigures, shards: usize) {
        self.node = node;
        self.reports.resize(shards, Counters::default());
        self.awaited = shards;
    }

    /// Takes what one shard counted and tells whether it was the last answer. One that comes after its round was given
    /// up is as good as an early one of the next: counts are never taken back.
    pub(crate) fn take(&mut self, from: ShardId, counters: &Counters) -> bool {
        let Some(report) = self.reports.get_mut(usize::from(from.0)) else { return false };
        *report = *counters;
        self.awaited = self.awaited.saturating_sub(1);
        self.awaited == 0
    }

    /// The topics whose values are others than before, with those. `retained` are messages and bytes of clients.
    pub(crate) fn changes(&mut self, retained: (u64, u64), now: Millis) -> Vec<(String, String)> {
        let mut all = Counters::default();
        for report in &self.reports {
            all += *report;
        }
        all.incoming += self.node.incoming;
        all.outgoing += self.node.outgoing;
        self.connected_max = self.connected_max.max(all.links);
        let mut values = Vec::with_capacity(128);
        self.state(&all, retained, &mut values);
        self.node.store.iter().for_each(|store| durability(store, &mut values));
        identity(&self.node, &mut values);
        traffic(&all, &mut values);
        self.loads(&all, now, &mut values);
        values.retain(|(topic, value)| self.published.get(topic) != Some(value));
        self.published.extend(values.iter().cloned());
        values
    }

    /// What is there now.
    fn state(&self, all: &Counters, (retained, retained_bytes): (u64, u64), values: &mut Vec<(String, String)>) {
        let disconnected = all.sessions.saturating_sub(all.links);
        let stored = retained + all.queued;
        for (name, value) in [
            ("clients/total", all.sessions),
            ("clients/maximum", self.connected_max),
            ("clients/connected", all.links),
            ("clients/active", all.links),
            ("clients/disconnected", disconnected),
            ("clients/inactive", disconnected),
            ("clients/expired", all.expired),
            ("reload/done", self.node.reloads.done),
            ("reload/refused", self.node.reloads.refused),
            ("connections/socket/count", self.node.sockets_open),
            ("messages/stored", stored),
            ("store/messages/count", stored),
            ("store/messages/bytes", retained_bytes + all.queued_bytes),
            ("retained messages/count", retained),
            ("subscriptions/count", all.subscriptions),
            ("shared_subscriptions/count", all.subscriptions_shared),
            ("heap/current", self.node.memory_bytes),
            ("heap/maximum", self.node.memory_bytes_max),
        ] {
            values.push((format!("{ROOT}/{name}"), value.to_string()));
        }
        for (name, value) in [
            ("version", format!("motte version {}", self.node.version)),
            ("uptime", format!("{} seconds", self.node.uptime_s)),
            ("durability/mode", self.node.durability.to_owned()),
            ("reload/state", String::from(if self.node.reloads.alarm { "refused" } else { "ok" })),
        ] {
            values.push((format!("{ROOT}/{name}"), value));
        }
    }

    /// Averages per minute over the last 1, 5 and 15 minutes.
    fn loads(&mut self, all: &Counters, now: Millis, values: &mut Vec<(String, String)>) {
        let passed_ms = now.0 - self.measured.replace(now).unwrap_or(now).0;
        for (name, count) in [
            ("connections", all.incoming.packets[CONNECT]),
            ("sockets", self.node.sockets),
            ("messages/received", all.incoming.packets_all()),
            ("messages/sent", all.outgoing.packets_all()),
            ("publish/received", all.incoming.packets[PUBLISH]),
            ("publish/sent", all.outgoing.packets[PUBLISH]),
            ("publish/dropped", all.dropped),
            ("bytes/received", all.incoming.bytes),
            ("bytes/sent", all.outgoing.bytes),
        ] {
            let load = self.loads.entry(name).or_default();
            load.advance(count, passed_ms);
            for (period, average) in PERIODS.iter().zip(load.averages) {
                values.push((format!("{ROOT}/load/{name}/{}", period.name), format!("{average:.2}")));
            }
        }
    }
}

/// How the store is doing.
fn durability(store: &StoreFigures, values: &mut Vec<(String, String)>) {
    let state = match store.state {
        JournalState::Ready => "ready",
        JournalState::Full => "full",
        JournalState::Failed => "failed",
    };
    values.push((format!("{ROOT}/durability/state"), state.to_owned()));
    for (name, value) in [
        ("bytes", store.bytes),
        ("file/bytes", store.file_bytes),
        ("messages", store.messages),
        ("commits", store.commits),
        ("commit_us/last", store.commit_us),
        ("commit_us/maximum", store.commit_us_max),
        ("written/bytes", store.written_bytes),
    ] {
        values.push((format!("{ROOT}/durability/{name}"), value.to_string()));
    }
}

/// Who was asked whom clients are, and what was said.
fn identity(node: &NodeFigures, values: &mut Vec<(String, String)>) {
    for (source, figures) in &node.identity {
        for (name, value) in [
            ("accepted", figures.accepted),
            ("refused", figures.refused),
            ("deferred", figures.deferred),
            ("unavailable", figures.unavailable),
            ("time_us", figures.time_us),
        ] {
            values.push((format!("{ROOT}/identity/{source}/{name}"), value.to_string()));
        }
    }
    for (name, value) in [
        ("unclaimed", node.checks.unclaimed),
        ("hashes", node.checks.hashes),
        ("recalled", node.checks.recalled),
        ("slowed", node.checks.slowed),
    ] {
        values.push((format!("{ROOT}/identity/{name}"), value.to_string()));
    }
}

/// What went in and out since the start.
fn traffic(all: &Counters, values: &mut Vec<(String, String)>) {
    let (incoming, outgoing) = (&all.incoming, &all.outgoing);
    for (name, value) in [
        ("messages/received", incoming.packets_all()),
        ("messages/sent", outgoing.packets_all()),
        ("publish/messages/received", incoming.packets[PUBLISH]),
        ("publish/messages/sent", outgoing.packets[PUBLISH]),
        ("publish/messages/dropped", all.dropped),
        ("publish/bytes/received", incoming.payload_bytes),
        ("publish/bytes/sent", outgoing.payload_bytes),
        ("bytes/received", incoming.bytes),
        ("bytes/sent", outgoing.bytes),
        ("mqtt/publish/dropped", all.dropped),
    ] {
        values.push((format!("{ROOT}/{name}"), value.to_string()));
    }
    for (number, name, by_clients, by_servers) in TYPES {
        for (is_sent, count, direction) in
            [(by_clients, incoming.packets[number], "received"), (by_servers, outgoing.packets[number], "sent")]
        {
            if is_sent {
                values.push((format!("{ROOT}/mqtt/{name}/{direction}"), count.to_string()));
            }
        }
    }
}

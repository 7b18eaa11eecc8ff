//! What the node itself knows for the `$SYS` tree, sent to the first shard at each interval.
//!
//! Started by boot on the gate's runtime, so that no shard thread reads a file. The shard does the rest.

use std::sync::Arc;
use std::time::Duration;

use motte_broker::{NodeFigures, StoreFigures};
use motte_store::Figures;
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::durable::KeeperHandle;
use crate::gate::Gate;
use crate::reload::Record;
use crate::settings::DurabilityMode;
use crate::worker::mailbox::Mail;

/// Where Linux tells how much memory a process has.
const STATUS: &str = "/proc/self/status";

/// Where the figures come from.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Clock,
    pub(crate) keeper: KeeperHandle,
    pub(crate) mode: DurabilityMode,
    pub(crate) record: Arc<Record>,
}

/// Sends the figures at once and then every `interval`, for ever.
pub(crate) async fn report(source: Source, interval: Duration) {
    let mut due = tokio::time::interval(interval);
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        due.tick().await;
        let memory = tokio::task::spawn_blocking(memory_bytes).await.unwrap_or_default();
        source.gate.mailboxes[0].post(Mail::SysDue(Box::new(figures(&source, memory))));
    }
}

fn figures(source: &Source, (memory_bytes, memory_bytes_max): (u64, u64)) -> NodeFigures {
    let Source { gate, clock, keeper, mode, .. } = source;
    let (sockets, sockets_open) = gate.places.sockets();
    let (identity, checks) = gate.desk.tallies.figures();
    NodeFigures {
        version: env!("CARGO_PKG_VERSION"),
        durability: mode.word(),
        store: keeper.figures().map(store_figures),
        reloads: source.record.figures(),
        uptime_s: clock.uptime().as_secs(),
        memory_bytes,
        memory_bytes_max,
        sockets,
        sockets_open: sockets_open as u64,
        incoming: gate.exchange.incoming(),
        outgoing: gate.exchange.outgoing(),
        identity,
        checks,
    }
}

fn store_figures(figures: Figures) -> StoreFigures {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    StoreFigures {
        state: figures.state,
        bytes: figures.bytes,
        file_bytes: figures.file_bytes,
        messages: figures.owed,
        commits: figures.commits,
        commit_us: micros(figures.last_commit),
        commit_us_max: micros(figures.longest_commit),
        written_bytes: figures.written_bytes,
    }
}

/// Resident bytes of this process now and at most so far; zero where the system does not tell.
fn memory_bytes() -> (u64, u64) {
    let status = std::fs::read_to_string(STATUS).unwrap_or_default();
    (field_bytes(&status, "VmRSS:"), field_bytes(&status, "VmHWM:"))
}

/// A field such as `VmRSS:     5480 kB`, in bytes.
fn field_bytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse::<u64>().ok()).map_or(0, |kib| kib.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::{field_bytes, memory_bytes};

    #[test]
    fn memory_is_read_as_linux_writes_it() {
        let status = "Name:\tmotte\nVmHWM:\t    6000 kB\nVmRSS:\t    5480 kB\n";
        assert_eq!((field_bytes(status, "VmRSS:"), field_bytes(status, "VmHWM:")), (5_480 * 1024, 6_000 * 1024));
        assert_eq!(field_bytes("VmRSS:\tx kB\n", "VmRSS:") + field_bytes("", "VmRSS:"), 0);
        let (now, most) = memory_bytes();
        assert!(1024 * 1024 < now && now <= most, "{now} {most}");
    }
}

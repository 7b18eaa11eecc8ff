//! `motte bench connect`: connections per second, the time each takes, and the memory an idle one costs.
//!
//! Called by `bench::run`.

use std::time::Duration;

use serde_json::{Value, json};

use super::progress::Bar;
use super::report::{self, grouped};
use super::setup;
use crate::bench::measure::{BrokerProcess, rounded, whole};
use crate::bench::storm::{self, Outcome, Storm};
use crate::cli::publish::seconds;
use crate::cli::target::TargetArgs;
use crate::ui::{Failure, SUCCESS, Ui};

/// What is asked.
#[derive(Debug, clap::Args)]
pub(super) struct ConnectArgs {
    /// Connections in all
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Connections on their way at once
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    width: u32,
    /// Go on with earlier TLS sessions where the broker gives tickets
    #[arg(long, conflicts_with_all = ["danger_plaintext", "unix"])]
    resume: bool,
    /// Keep all of them open for so long; with --broker-pid it tells the memory of an idle one
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    hold: Option<Duration>,
    /// Process id of a broker on this machine, whose processor time and memory are measured too
    #[arg(long, value_name = "PID")]
    broker_pid: Option<u32>,
    /// Write one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
    /// Show this help
    #[arg(long, action = clap::ArgAction::Help, help_heading = "Options")]
    help: Option<bool>,
}

impl ConnectArgs {
    /// Runs it.
    pub(super) fn run(&self, ui: &mut Ui) -> Result<u8, Failure> {
        let storm = Storm {
            connections: self.connections as usize,
            width: self.width as usize,
            hold: self.hold,
            broker: self.broker_pid.map(BrokerProcess),
        };
        let open_at_once = if self.hold.is_some() { storm.connections } else { storm.width.min(storm.connections) };
        let mut dialer = setup::dialer(&self.target, (storm.connections, open_at_once), self.resume)?;
        let mut bar = Bar::new();
        let outcome = storm::run(&storm, &mut dialer, &mut |progress| bar.show(progress, "connections"))?;
        drop(bar);
        if self.json {
            ui.line(as_json(&storm, &outcome))?;
        } else {
            lines(&storm, &outcome, ui)?;
        }
        Ok(SUCCESS)
    }
}

/// What one connection added to the broker's memory; only connections that stay open show it.
fn rss_per_connection(storm: &Storm, outcome: &Outcome) -> Option<f64> {
    let (before, _) = outcome.broker?;
    let grown = outcome.held?.rss_bytes as f64 - before.rss_bytes as f64;
    Some(rounded(grown / storm.connections as f64, 0))
}

fn as_json(storm: &Storm, outcome: &Outcome) -> Value {
    let count = storm.connections as u64;
    let broker = outcome.broker.map(|(before, after)| {
        let cpu_s = after.cpu_s - before.cpu_s;
        json!({
            "cpu_s": rounded(cpu_s, 2),
            "cpu_us_per_connection": report::per(cpu_s * 1e6, count),
            "rss_bytes_per_connection": rss_per_connection(storm, outcome),
        })
    });
    json!({
        "connections": count,
        "seconds": rounded(outcome.seconds, 6),
        "connections_per_s": report::rate(count, outcome.seconds),
        "resumed": outcome.resumed,
        "latency_us": outcome.latencies.json(),
        "broker": broker,
        "load_cpu_s": rounded(outcome.load_cpu_s, 3),
    })
}

fn lines(storm: &Storm, outcome: &Outcome, ui: &mut Ui) -> Result<(), Failure> {
    let count = storm.connections as u64;
    let per_second = grouped(whole(report::rate(count, outcome.seconds)));
    report::line(ui, "connected", &format!("{} times, {per_second} per second", grouped(count)))?;
    if outcome.resumed > 0 {
        report::line(ui, "resumed", &format!("{} TLS sessions", grouped(outcome.resumed)))?;
    }
    let measured = format!("{:.2} s, of which this program worked {:.2}", outcome.seconds, outcome.load_cpu_s);
    report::line(ui, "measured", &measured)?;
    if let Some((before, after)) = outcome.broker {
        let cpu_s = after.cpu_s - before.cpu_s;
        let each = cpu_s * 1e6 / count as f64;
        report::line(ui, "broker", &format!("{cpu_s:.2} s of processor, {each:.0} µs a connection"))?;
    }
    if let Some(bytes) = rss_per_connection(storm, outcome) {
        report::line(ui, "memory", &format!("{bytes:.0} bytes more of the broker for each open connection"))?;
    }
    report::latencies(ui, "time to CONNACK", &outcome.latencies)
}

//! `motte bench flow`, `publish` and `subscribe`: the same engine with or without the other half.
//!
//! Called by `bench::run`. Ends with a code of its own when messages were lost.

use std::time::Duration;

use motte_client::Qos;
use serde_json::{Value, json};

use super::progress::Bar;
use super::report::{self, grouped};
use super::{LOST, setup};
use crate::bench::crew::Crew;
use crate::bench::flow::{self, Length, Load, Outcome};
use crate::bench::measure::{BrokerProcess, rounded, whole};
use crate::cli::publish::seconds;
use crate::cli::target::{TargetArgs, qos};
use crate::ui::{Failure, SUCCESS, USAGE, Ui, note};

/// Which topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Topics {
    /// One for all
    Shared,
    /// PREFIX/0, PREFIX/1 and so on: each publisher has one, and subscribers share them out
    Own,
}

/// What every load has.
#[derive(Debug, clap::Args)]
struct CommonArgs {
    /// Topic, or what own topics begin with
    #[arg(short, long, value_name = "PREFIX", default_value = "bench")]
    topic: String,
    /// One topic for all, or one for each publisher
    #[arg(long, value_name = "WHICH", value_enum, default_value = "shared")]
    topics: Topics,
    /// QoS: 0, 1 or 2
    #[arg(short, long, value_name = "QOS", default_value = "0", value_parser = qos)]
    qos: Qos,
    /// Seconds that are measured; 10 when absent
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds)]
    seconds: Option<Duration>,
    /// Process id of a broker on this machine, whose processor time and memory are measured too
    #[arg(long, value_name = "PID")]
    broker_pid: Option<u32>,
    /// Write one line of JSON
    #[arg(long)]
    json: bool,
    /// Never sleep: more exact, at the price of one processor
    #[arg(long)]
    spin: bool,
    #[command(flatten)]
    target: TargetArgs,
    /// Show this help
    #[arg(long, action = clap::ArgAction::Help, help_heading = "Options")]
    help: Option<bool>,
}

/// What publishers have.
#[derive(Debug, clap::Args)]
struct SendingArgs {
    /// Publishers, a connection each
    #[arg(long, value_name = "NUMBER", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    publishers: u32,
    /// Bytes of a payload
    #[arg(long, value_name = "BYTES", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(0..=268_000_000))]
    size: u32,
    /// Closed loop: at most so many messages of a publisher are on their way
    #[arg(long, value_name = "NUMBER", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// Open loop: so many messages per second in all, whatever becomes of them; each is timed from when it was due
    #[arg(long, value_name = "NUMBER", value_parser = rate, conflicts_with = "window")]
    rate: Option<f64>,
    /// Messages in all, instead of a time
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..),
          conflicts_with_all = ["seconds", "warm_up"])]
    count: Option<u64>,
    /// Seconds before the measured ones; 1 when absent
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    warm_up: Option<Duration>,
}

/// What `motte bench flow` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct FlowArgs {
    /// Subscribers, a connection each
    #[arg(long, value_name = "NUMBER", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    subscribers: u32,
    #[command(flatten)]
    sending: SendingArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// What `motte bench publish` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct PublishArgs {
    #[command(flatten)]
    sending: SendingArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// What `motte bench subscribe` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct SubscribeArgs {
    /// Subscribers, a connection each
    #[arg(long, value_name = "NUMBER", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    subscribers: u32,
    #[command(flatten)]
    common: CommonArgs,
}

fn positive_seconds(text: &str) -> Result<Duration, String> {
    let time = seconds(text)?;
    if time.is_zero() { Err("it must be more than 0".to_owned()) } else { Ok(time) }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "this is no number".to_owned())?;
    let is_right = rate.is_finite() && (1e-3..=1e8).contains(&rate);
    is_right.then_some(rate).ok_or_else(|| "a rate is between 0.001 and 100,000,000 per second".to_owned())
}

impl FlowArgs {
    /// Runs it.
    pub(super) fn run(&self, ui: &mut Ui) -> Result<u8, Failure> {
        if self.sending.size < 16 {
            let hint = "each message carries its number and its time; choose --size 16 or more";
            return Err(Failure::new("a payload of less than 16 bytes cannot be followed", hint).with_code(USAGE));
        }
        let load = self.common.load(Some(&self.sending), self.subscribers);
        let outcome = self.common.measure(&load, "messages")?;
        if self.common.json {
            ui.line(flow_json(&load, &outcome))?;
        } else {
            lines(&load, &outcome, ui)?;
            report::latencies(ui, "latency, publisher to subscriber", &outcome.latencies)?;
        }
        verdict(&outcome)
    }
}

impl PublishArgs {
    /// Runs it.
    pub(super) fn run(&self, ui: &mut Ui) -> Result<u8, Failure> {
        let load = self.common.load(Some(&self.sending), 0);
        let outcome = self.common.measure(&load, "messages")?;
        if self.common.json {
            ui.line(publish_json(&load, &outcome))?;
        } else {
            lines(&load, &outcome, ui)?;
            report::latencies(ui, "latency, PUBLISH to its acknowledgement", &outcome.latencies)?;
        }
        verdict(&outcome)
    }
}

impl SubscribeArgs {
    /// Runs it.
    pub(super) fn run(&self, ui: &mut Ui) -> Result<u8, Failure> {
        let load = self.common.load(None, self.subscribers);
        let outcome = self.common.measure(&load, "messages")?;
        if self.common.json {
            ui.line(subscribe_json(&load, &outcome))?;
        } else {
            lines(&load, &outcome, ui)?;
        }
        Ok(SUCCESS)
    }
}

impl CommonArgs {
    fn load(&self, sending: Option<&SendingArgs>, subscribers: u32) -> Load {
        let measured = self.seconds.unwrap_or(Duration::from_secs(10));
        let warm_up = sending.map_or(Duration::ZERO, |sending| sending.warm_up.unwrap_or(Duration::from_secs(1)));
        let length = match sending.and_then(|sending| sending.count) {
            Some(count) => Length::Count(count),
            None => Length::Time { warm_up, measured },
        };
        Load {
            publishers: sending.map_or(0, |sending| sending.publishers as usize),
            subscribers: subscribers as usize,
            own_topics: self.topics == Topics::Own,
            qos: self.qos,
            size: sending.map_or(1 << 20, |sending| sending.size as usize),
            window: sending.map_or(1, |sending| sending.window.into()),
            rate: sending.and_then(|sending| sending.rate),
            length,
            topic: self.topic.clone(),
            broker: self.broker_pid.map(BrokerProcess),
            spin: self.spin,
        }
    }

    /// Connects, runs the load, and shows how far it is.
    fn measure(&self, load: &Load, unit: &str) -> Result<Outcome, Failure> {
        if let Some(broker) = load.broker {
            // Found out before anybody is bothered.
            broker.usage()?;
        }
        let connections = load.publishers + load.subscribers;
        let mut dialer = setup::dialer(&self.target, (connections, connections), false)?;
        let crew = Crew::gather(load, &mut dialer)?;
        self.target.debug(|| format!("{connections} connections are open"));
        let is_stopped = setup::stop_flag();
        let mut bar = Bar::new();
        flow::run(load, crew, &is_stopped, &mut |progress| bar.show(progress, unit))
    }
}

fn verdict(outcome: &Outcome) -> Result<u8, Failure> {
    if outcome.foreign > 0 {
        note(format_args!("{} messages on these topics were of somebody else", outcome.foreign));
    }
    if outcome.lost == 0 && outcome.duplicated == 0 {
        return Ok(SUCCESS);
    }
    let what = format!("{} messages were lost, {} came twice", outcome.lost, outcome.duplicated);
    let hint = "at QoS 0 a broker may drop what a subscriber does not take in time: try a smaller --window or --rate; \
                may this user publish to and read the topic?";
    Err(Failure::new(what, hint).with_code(LOST))
}

fn flow_json(load: &Load, outcome: &Outcome) -> Value {
    json!({
        "delivered": outcome.delivered,
        "seconds": rounded(outcome.seconds, 6),
        "delivered_per_s": report::rate(outcome.delivered, outcome.seconds),
        "published_per_s": report::rate(outcome.published, outcome.seconds),
        "lost": outcome.lost,
        "duplicated": outcome.duplicated,
        "latency_us": outcome.latencies.json(),
        "broker": report::broker(outcome.broker, outcome.delivered),
        "load_cpu_s": rounded(outcome.load_cpu_s, 3),
        "qos": load.qos.as_u8(),
        "size": load.size,
        "publishers": load.publishers,
        "subscribers": load.subscribers,
    })
}

fn publish_json(load: &Load, outcome: &Outcome) -> Value {
    json!({
        "published": outcome.published,
        "seconds": rounded(outcome.seconds, 6),
        "published_per_s": report::rate(outcome.published, outcome.seconds),
        "unacknowledged": outcome.lost,
        "latency_us": outcome.latencies.json(),
        "broker": report::broker(outcome.broker, outcome.published),
        "load_cpu_s": rounded(outcome.load_cpu_s, 3),
        "qos": load.qos.as_u8(),
        "size": load.size,
        "publishers": load.publishers,
    })
}

fn subscribe_json(load: &Load, outcome: &Outcome) -> Value {
    json!({
        "delivered": outcome.delivered,
        "seconds": rounded(outcome.seconds, 6),
        "delivered_per_s": report::rate(outcome.delivered, outcome.seconds),
        "broker": report::broker(outcome.broker, outcome.delivered),
        "load_cpu_s": rounded(outcome.load_cpu_s, 3),
        "qos": load.qos.as_u8(),
        "subscribers": load.subscribers,
    })
}

fn lines(load: &Load, outcome: &Outcome, ui: &mut Ui) -> Result<(), Failure> {
    let per_second = |count: u64| grouped(whole(report::rate(count, outcome.seconds)));
    if load.publishers > 0 {
        let name = if load.qos == Qos::AtMostOnce { "sent" } else { "acknowledged" };
        let value = format!("{} messages, {} per second", grouped(outcome.published), per_second(outcome.published));
        report::line(ui, name, &value)?;
    }
    if load.subscribers > 0 {
        let value = format!("{} messages, {} per second", grouped(outcome.delivered), per_second(outcome.delivered));
        report::line(ui, "delivered", &value)?;
    }
    report::line(
        ui,
        "measured",
        &format!("{:.2} s, of which this program worked {:.2}", outcome.seconds, outcome.load_cpu_s),
    )?;
    if let Some((first, last)) = outcome.broker {
        let messages = if load.subscribers > 0 { outcome.delivered } else { outcome.published };
        let cpu_s = last.cpu_s - first.cpu_s;
        let each = cpu_s * 1e6 / messages.max(1) as f64;
        let memory = last.rss_bytes >> 20;
        report::line(ui, "broker", &format!("{cpu_s:.2} s of processor, {each:.3} µs a message, {memory} MiB"))?;
    }
    Ok(())
}

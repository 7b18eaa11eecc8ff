//! What a load costs: processor time and memory of a broker on this machine, our own time, and latencies.
//!
//! Called by the loads at the edges of the measured time. Never looks at another process than the one it was told.

use std::fs;

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::ui::{Failure, USAGE};

/// The longest latency that is told from longer ones: two minutes, in nanoseconds.
const LATENCY_NS_MAX: u64 = 120_000_000_000;

/// A broker on this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BrokerProcess(pub(crate) u32);

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// User and system time of all its threads, in seconds.
    pub(crate) cpu_s: f64,
    /// Resident memory, in bytes.
    pub(crate) rss_bytes: u64,
}

impl BrokerProcess {
    /// What it has used.
    pub(crate) fn usage(self) -> Result<Usage, Failure> {
        self.read().ok_or_else(|| {
            let what = format!("/proc/{}/stat cannot be read", self.0);
            Failure::new(what, "give --broker-pid the process id of a broker that runs on this machine")
                .with_code(USAGE)
        })
    }

    fn read(self) -> Option<Usage> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        // The name may hold anything but ends with the last bracket; the state follows as field 3 (proc(5)).
        let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = field(14)? + field(15)?;
        Some(Usage {
            cpu_s: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            rss_bytes: field(24)? * rustix::param::page_size() as u64,
        })
    }
}

/// Processor time of this process, in seconds.
pub(crate) fn own_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Latencies in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
    /// The histogram rounds; the greatest is told as it is.
    max_ns: u64,
}

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are right");
        Self { histogram, max_ns: 0 }
    }

    /// One more.
    #[inline]
    pub(crate) fn record(&mut self, ns: u64) {
        self.histogram.saturating_record(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.histogram.len()
    }

    /// The latency in microseconds that this share of all does not exceed.
    pub(crate) fn quantile_us(&self, share: f64) -> f64 {
        // A bucket is told by its upper end, which may lie above everything in it.
        let ns = self.histogram.value_at_quantile(share).min(self.max_ns);
        rounded(ns as f64 / 1000.0, 1)
    }

    /// The quantiles; `null` when nothing was measured.
    pub(crate) fn json(&self) -> Value {
        if self.histogram.is_empty() {
            return Value::Null;
        }
        json!({
            "p50": self.quantile_us(0.5), "p90": self.quantile_us(0.9), "p99": self.quantile_us(0.99),
            "p999": self.quantile_us(0.999), "max": self.quantile_us(1.0), "samples": self.len(),
        })
    }

    /// Bars over latency: from, to (in microseconds) and how many, each twice as wide as the one before.
    pub(crate) fn bars(&self) -> Vec<(f64, f64, u64)> {
        let first = (self.histogram.min().max(1).ilog2()).min(62);
        let last = self.histogram.max().max(1).ilog2();
        let bar = |power: u32| {
            let (from, to) = (1_u64 << power, (1_u64 << (power + 1)) - 1);
            (from as f64 / 1000.0, (to + 1) as f64 / 1000.0, self.histogram.count_between(from, to))
        };
        (first..=last).map(bar).collect()
    }
}

/// A number with so many digits after the point.
pub(crate) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// The whole part of a number that is not negative.
#[allow(clippy::cast_possible_truncation, reason = "the cast saturates, and the fraction is to go")]
pub(crate) fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::{BrokerProcess, Latencies, own_cpu_s};

    #[test]
    fn this_process_has_memory_and_time() {
        let usage = BrokerProcess(std::process::id()).usage().expect("this process runs");
        assert!(usage.rss_bytes > 100_000 && usage.cpu_s >= 0.0 && own_cpu_s() > 0.0, "{usage:?}");
        let failure = BrokerProcess(u32::MAX).usage().expect_err("no process has this number");
        assert_eq!(failure.code(), 2);
    }

    #[test]
    fn quantiles_are_in_microseconds_and_never_above_the_greatest() {
        let mut latencies = Latencies::new();
        assert!(latencies.json().is_null());
        (1..=1000).for_each(|us| latencies.record(us * 1000));
        let json = latencies.json();
        assert_eq!((json["max"].as_f64(), json["samples"].as_u64()), (Some(1000.0), Some(1000)));
        assert!((499.0..=501.0).contains(&latencies.quantile_us(0.5)), "{json}");
        assert_eq!(latencies.bars().iter().map(|bar| bar.2).sum::<u64>(), 1000);
    }
}

//! `cargo xtask cost`: what a delivered message costs the release binary in user instructions and in system calls,
//! compared with the committed baseline.
//!
//! Called by `test` and on its own. Counts and never times, so it says the same on a busy machine. What is counted is
//! the difference between a long and a short run: start-up, handshakes and the end cancel out.

mod baseline;
mod broker;
mod count;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::setup::on_path;
use crate::workspace::Workspace;
use baseline::{Baseline, Verdict};
use broker::Place;
use count::Instrument;

/// The baseline, relative to the root.
const BASELINE: &str = "bench/cost.toml";

/// Messages of one batch; the number that the driver, `crates/motte/examples/lockstep`, sends in one write.
const BATCH: u32 = 50;

/// Batches of the short run, which is subtracted.
const BATCHES_SHORT: u32 = 40;

/// A conversation whose cost is watched.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    name: &'static str,
    qos: u8,
    subscribers: u32,
    tls: bool,
    /// Batches that the long run has more than the short one: so many that what start-up does by chance, such as
    /// gathering entropy, is less than 1 % of it.
    batches: u32,
}

const SCENARIOS: [Scenario; 6] = [
    Scenario { name: "1to1.q0.tcp", qos: 0, subscribers: 1, tls: false, batches: 2_000 },
    Scenario { name: "1to1.q1.tcp", qos: 1, subscribers: 1, tls: false, batches: 1_200 },
    Scenario { name: "1to1.q2.tcp", qos: 2, subscribers: 1, tls: false, batches: 1_000 },
    Scenario { name: "1to1.q0.tls", qos: 0, subscribers: 1, tls: true, batches: 2_000 },
    Scenario { name: "1to1.q1.tls", qos: 1, subscribers: 1, tls: true, batches: 1_200 },
    Scenario { name: "1to50.q0.tcp", qos: 0, subscribers: 50, tls: false, batches: 250 },
];

impl Scenario {
    /// Messages delivered by so many batches.
    fn delivered(&self, batches: u32) -> f64 {
        f64::from(batches) * f64::from(BATCH) * f64::from(self.subscribers)
    }
}

/// What one delivered message costs.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
struct Cost {
    instructions: f64,
    system_calls: f64,
}

/// What is done with the figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Compared; more than the baseline allows is an error.
    Judge,
    /// As `Judge`, and printed for machines.
    Json,
    /// Written to the baseline, for this reason.
    Accept(String),
}

impl Purpose {
    /// Reads the words after `cost`; `None` when they say something else.
    pub(crate) fn parse(words: &[String]) -> Option<Self> {
        match words {
            [] => Some(Self::Judge),
            [flag] if flag == "--json" => Some(Self::Json),
            [flag, reason] if flag == "--accept" && !reason.trim().is_empty() => Some(Self::Accept(reason.clone())),
            _ => None,
        }
    }
}

/// Builds, counts, compares. Gives what there is to say; an error when a message costs more than the baseline allows.
pub(crate) fn run(workspace: &Workspace, purpose: &Purpose) -> Result<String> {
    for program in ["valgrind", "strace"] {
        if on_path(program).is_none() {
            bail!("{program} is not here — hint: cargo xtask setup");
        }
    }
    build(workspace)?;
    let folder = workspace.target().join("cost");
    let place = Place::prepare(workspace, folder)?;
    let mut rows = Vec::new();
    for scenario in &SCENARIOS {
        rows.push((scenario.name, measure(&place, scenario).with_context(|| scenario.name.to_owned())?));
    }
    let path = workspace.root().join(BASELINE);
    let baseline = Baseline::read(&path)?;
    match purpose {
        Purpose::Accept(reason) => {
            let (baseline, changed) = baseline.accept(&rows, reason);
            fs::write(&path, baseline.to_string()).with_context(|| format!("cannot write {BASELINE}"))?;
            println!("{}", table(&rows, &baseline));
            Ok(format!("{changed} of {} scenarios written to {BASELINE}", rows.len()))
        }
        Purpose::Json => {
            println!("{}", json(&rows, &baseline));
            judge(&rows, &baseline)
        }
        Purpose::Judge => {
            println!("{}", table(&rows, &baseline));
            judge(&rows, &baseline)
        }
    }
}

/// The binary that users run, and the driver; the latter is not measured and therefore built as tests are.
fn build(workspace: &Workspace) -> Result<()> {
    for args in [&["--release"][..], &["--package", "motte", "--example", "lockstep"]] {
        workspace.command("cargo").args(["build", "--quiet", "--locked"]).args(args).output()?;
    }
    Ok(())
}

fn measure(place: &Place<'_>, scenario: &Scenario) -> Result<Cost> {
    let per_message = |instrument: Instrument| -> Result<f64> {
        let batches = scenario.batches;
        let short = place.count(scenario, BATCHES_SHORT, instrument)?;
        let long = place.count(scenario, BATCHES_SHORT + batches, instrument)?;
        let more = long.checked_sub(short).context("the long run did less than the short one")?;
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let more = more as f64;
        Ok(more / scenario.delivered(batches))
    };
    Ok(Cost {
        instructions: per_message(Instrument::Instructions)?,
        system_calls: per_message(Instrument::SystemCalls)?,
    })
}

/// An error when a scenario costs more than it may; otherwise one line on what was seen.
fn judge(rows: &[(&str, Cost)], baseline: &Baseline) -> Result<String> {
    let with = |wanted: Verdict| -> Vec<&str> {
        rows.iter().filter(|(name, cost)| baseline.verdict(name, *cost) == wanted).map(|(name, _)| *name).collect()
    };
    let (worse, unknown, better) = (with(Verdict::Worse), with(Verdict::Unknown), with(Verdict::Better));
    let hint = "cargo xtask cost --accept \"why\", in the commit that changes it";
    if !unknown.is_empty() {
        bail!("not in {BASELINE}: {} — hint: {hint}", unknown.join(", "));
    }
    if !worse.is_empty() {
        bail!("a message costs over 5 % more: {} — hint: make it cheaper, or {hint}", worse.join(", "));
    }
    if !better.is_empty() {
        return Ok(format!("over 5 % cheaper: {}; lower the baseline: {hint}", better.join(", ")));
    }
    Ok(format!("{} scenarios within 5 % of the baseline", rows.len()))
}

fn table(rows: &[(&str, Cost)], baseline: &Baseline) -> String {
    let mut text = format!(
        "{:<14} {:>14} {:>9} {:>8} {:>14} {:>9} {:>8}",
        "per delivery", "instructions", "baseline", "", "system calls", "baseline", ""
    );
    for (name, cost) in rows {
        let line = baseline.find(name);
        let known = |figure: fn(&Cost) -> f64| line.map(|line| figure(&line.cost));
        let (instructions, calls) = (known(|cost| cost.instructions), known(|cost| cost.system_calls));
        let word = match baseline.verdict(name, *cost) {
            Verdict::Same => "",
            Verdict::Better => "  better: lower the baseline",
            Verdict::Worse => "  WORSE",
            Verdict::Unknown => "  not in the baseline",
        };
        let shown = |figure: Option<f64>, digits: usize| figure.map_or("-".to_owned(), |f| format!("{f:.digits$}"));
        let change = |now: f64, before: Option<f64>| {
            before.map_or(String::new(), |before| format!("{:+.1} %", (now / before - 1.0) * 100.0))
        };
        let _ = write!(
            text,
            "\n{name:<14} {:>14.0} {:>9} {:>8} {:>14.4} {:>9} {:>8}{word}",
            cost.instructions,
            shown(instructions, 0),
            change(cost.instructions, instructions),
            cost.system_calls,
            shown(calls, 4),
            change(cost.system_calls, calls),
        );
    }
    text
}

fn json(rows: &[(&str, Cost)], baseline: &Baseline) -> serde_json::Value {
    let figures =
        |cost: Cost| serde_json::json!({ "instructions": cost.instructions, "system_calls": cost.system_calls });
    let row = |(name, cost): &(&str, Cost)| {
        let line = baseline.find(name);
        serde_json::json!({
            "scenario": name,
            "per_delivery": figures(*cost),
            "baseline": line.map(|line| figures(line.cost)),
            "reason": line.map(|line| &line.reason),
            "verdict": baseline.verdict(name, *cost).word(),
        })
    };
    rows.iter().map(row).collect()
}

/// Where a run keeps its files.
fn fresh(folder: PathBuf) -> Result<PathBuf> {
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const COST: Cost = Cost { instructions: 1_000.0, system_calls: 0.1 };

    fn baseline() -> Baseline {
        Baseline::default().accept(&[("a", COST)], "first").0
    }

    #[test]
    fn more_than_five_per_cent_fails_and_names_the_scenario() {
        let rows = [("a", Cost { instructions: 1_049.0, ..COST })];
        assert!(judge(&rows, &baseline()).unwrap().contains("within"));
        for worse in [Cost { instructions: 1_051.0, ..COST }, Cost { system_calls: 0.106, ..COST }] {
            let error = judge(&[("a", worse)], &baseline()).unwrap_err().to_string();
            assert!(error.contains("5 % more: a") && error.contains("--accept"), "{error}");
            assert!(table(&[("a", worse)], &baseline()).contains("WORSE"));
        }
    }

    #[test]
    fn a_scenario_without_a_baseline_fails_and_a_cheaper_one_is_told() {
        let error = judge(&[("b", COST)], &baseline()).unwrap_err().to_string();
        assert!(error.contains("not in bench/cost.toml: b"), "{error}");
        let better = [("a", Cost { instructions: 900.0, ..COST })];
        assert!(judge(&better, &baseline()).unwrap().contains("lower the baseline"));
        assert_eq!(json(&better, &baseline())[0]["verdict"], "better");
        assert!(table(&better, &baseline()).contains("-10.0 %"));
    }

    #[test]
    fn the_words_of_the_command_line_are_read() {
        let parse = |words: &[&str]| Purpose::parse(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        assert_eq!(parse(&[]), Some(Purpose::Judge));
        assert_eq!(parse(&["--json"]), Some(Purpose::Json));
        assert_eq!(parse(&["--accept", "why"]), Some(Purpose::Accept("why".to_owned())));
        for bad in [&["--accept"][..], &["--accept", " "], &["all"], &["--json", "--json"]] {
            assert_eq!(parse(bad), None);
        }
    }
}

//! The committed figures, how far a run may be from them, and why they are what they are.
//!
//! Read and written by `cost`. Never changes a figure without a reason.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Cost;

/// A run may be this much above the baseline; as much below is worth a new one.
const TOLERANCE: f64 = 0.05;

/// Two runs of the same binary differ by less.
const SPREAD: f64 = 0.01;

/// All of `bench/cost.toml`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Baseline {
    #[serde(default, rename = "scenario")]
    lines: Vec<Line>,
}

/// What one scenario may cost.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Line {
    name: String,
    #[serde(flatten)]
    pub(crate) cost: Cost,
    /// Why the figures were changed when they were last.
    pub(crate) reason: String,
}

/// How a run compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Within the tolerance.
    Same,
    /// A figure is below it, and none above.
    Better,
    /// A figure is above it.
    Worse,
    /// The baseline has no such scenario.
    Unknown,
}

impl Verdict {
    /// For machines.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Unknown => "unknown",
        }
    }
}

impl Baseline {
    /// Reads the file; without a file there is an empty one.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is no baseline", path.display()))
    }

    /// What a scenario may cost.
    pub(crate) fn find(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.name == name)
    }

    /// How `cost` compares with what the scenario may cost.
    pub(crate) fn verdict(&self, name: &str, cost: Cost) -> Verdict {
        let Some(line) = self.find(name) else { return Verdict::Unknown };
        let ratios = ratios(cost, line.cost);
        if ratios.iter().any(|ratio| *ratio > 1.0 + TOLERANCE) {
            Verdict::Worse
        } else if ratios.iter().any(|ratio| *ratio < 1.0 - TOLERANCE) {
            Verdict::Better
        } else {
            Verdict::Same
        }
    }

    /// A baseline with these rows and no others, and how many of them are new; one whose figures have not moved keeps
    /// them and their reason.
    pub(crate) fn accept(&self, rows: &[(&str, Cost)], reason: &str) -> (Self, usize) {
        let mut changed = 0;
        let mut line = |(name, cost): &(&str, Cost)| {
            let known = self.find(name).filter(|line| {
                ratios(*cost, line.cost).iter().all(|ratio| (1.0 - SPREAD..=1.0 + SPREAD).contains(ratio))
            });
            known.cloned().unwrap_or_else(|| {
                changed += 1;
                Line { name: (*name).to_owned(), cost: *cost, reason: reason.trim().to_owned() }
            })
        };
        let lines = rows.iter().map(&mut line).collect();
        (Self { lines }, changed)
    }
}

fn ratios(now: Cost, before: Cost) -> [f64; 2] {
    [now.instructions / before.instructions, now.system_calls / before.system_calls]
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# What a delivered message of 64 bytes costs the release binary: user instructions, system calls."
        )?;
        writeln!(f, "# Written by `cargo xtask cost --accept \"why\"`; `cargo xtask cost` fails at 5 % more.")?;
        for Line { name, cost, reason } in &self.lines {
            writeln!(f, "\n[[scenario]]\nname = \"{name}\"")?;
            writeln!(f, "instructions = {:.1}\nsystem_calls = {:.4}", cost.instructions, cost.system_calls)?;
            writeln!(f, "reason = \"{}\"", reason.escape_default())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const COST: Cost = Cost { instructions: 3_309.1, system_calls: 0.061 };

    #[test]
    fn what_is_written_is_read_again() {
        let (baseline, changed) = Baseline::default().accept(&[("a", COST)], " a \"quoted\" reason\\ ");
        assert_eq!(changed, 1);
        let read: Baseline = toml::from_str(&baseline.to_string()).unwrap();
        assert_eq!(read, baseline);
        assert_eq!(read.find("a").unwrap().reason, "a \"quoted\" reason\\");
    }

    #[test]
    fn a_figure_that_stayed_keeps_its_reason() {
        let (first, _) = Baseline::default().accept(&[("a", COST), ("b", COST), ("gone", COST)], "first");
        let moved = Cost { instructions: 3_200.0, ..COST };
        let stayed = Cost { instructions: 3_311.0, ..COST };
        let (second, changed) = first.accept(&[("a", stayed), ("b", moved)], "second");
        assert_eq!(changed, 1);
        assert_eq!(second.find("a"), first.find("a"));
        assert_eq!(second.find("b").unwrap().reason, "second");
        assert_eq!(second.find("gone"), None);
    }

    #[test]
    fn unknown_keys_and_missing_reasons_are_refused() {
        assert!(toml::from_str::<Baseline>("[[scenarios]]\n").is_err());
        let text = "[[scenario]]\nname = \"a\"\ninstructions = 1.0\nsystem_calls = 1.0\n";
        assert!(toml::from_str::<Baseline>(text).is_err());
    }

    #[test]
    fn one_figure_that_is_worse_outweighs_one_that_is_better() {
        let (baseline, _) = Baseline::default().accept(&[("a", COST)], "first");
        let verdict = |instructions: f64, system_calls: f64| {
            let cost =
                Cost { instructions: COST.instructions * instructions, system_calls: COST.system_calls * system_calls };
            baseline.verdict("a", cost)
        };
        assert_eq!(verdict(1.04, 0.96), Verdict::Same);
        assert_eq!(verdict(0.9, 1.0), Verdict::Better);
        assert_eq!(verdict(0.5, 1.06), Verdict::Worse);
        assert_eq!(baseline.verdict("b", COST), Verdict::Unknown);
    }
}

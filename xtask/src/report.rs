//! The steps of a run: what each came to and how long it took, shown as a table at the end.
//!
//! Filled by `test`. A failed step never hides the ones after it, and never lets the run succeed.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As it should be; with a word on what was seen.
    Passed(String),
    /// Could not be done for a reason outside the project, which is told.
    Skipped(String),
    /// Not as it should be.
    Failed(String),
}

/// Steps done so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<(&'static str, Outcome, Duration)>,
}

impl Report {
    /// Runs one step, says so, and keeps its outcome. An error is a failed step.
    pub(crate) fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<Outcome>) {
        println!("\n== {name}");
        let start = Instant::now();
        let outcome = work().unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        if let Outcome::Failed(why) = &outcome {
            eprintln!("error: {name}: {why}");
        }
        self.rows.push((name, outcome, start.elapsed()));
    }

    /// Names of the steps that failed.
    pub(crate) fn failures(&self) -> Vec<&'static str> {
        let failed = self.rows.iter().filter(|(_, outcome, _)| matches!(outcome, Outcome::Failed(_)));
        failed.map(|(name, _, _)| *name).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: Duration = self.rows.iter().map(|(_, _, time)| *time).sum();
        for (name, outcome, time) in &self.rows {
            let (word, detail) = match outcome {
                Outcome::Passed(detail) => ("ok", detail),
                Outcome::Skipped(detail) => ("skipped", detail),
                Outcome::Failed(detail) => ("FAILED", detail),
            };
            let first = detail.lines().next().unwrap_or_default();
            writeln!(f, "  {name:<12} {word:<8} {:>7.1} s  {first}", time.as_secs_f64())?;
        }
        write!(f, "  {:<12} {:<8} {:>7.1} s", "all", "", total.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn an_error_is_a_failed_step_and_later_steps_still_run() {
        let mut report = Report::default();
        report.step("one", || Err(anyhow!("broken")));
        report.step("two", || Ok(Outcome::Skipped("no network".to_owned())));
        report.step("three", || Ok(Outcome::Passed("fine".to_owned())));
        assert_eq!(report.failures(), ["one"]);
        let table = report.to_string();
        for part in ["FAILED", "broken", "skipped", "no network", "fine"] {
            assert!(table.contains(part), "{table}");
        }
    }
}

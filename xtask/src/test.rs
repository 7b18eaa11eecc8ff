//! `cargo xtask test`: every check in order, and a table of what each came to.
//!
//! Called by people and by `.ci/run`. Steps that do not need each other all run, so that one run tells everything.

use anyhow::{Result, bail};

use crate::command::Heard;
use crate::report::{Outcome, Report};
use crate::workspace::Workspace;
use crate::{cost, deny, fuzz, setup, spec, tidy};

/// Runs everything. An error when any step failed.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut report = Report::default();
    let mut count = Count::default();
    let plain = |args: &[&str], good: &str| {
        workspace.command("cargo").args(args).aloud()?;
        Ok(Outcome::Passed(good.to_owned()))
    };
    report.step("setup", || setup::run(workspace).map(|()| Outcome::Passed("tools and foreign clients".to_owned())));
    report.step("fmt", || {
        plain(&["fmt", "--all", "--check"], "formatted")?;
        plain(&["fmt", "--check", "--manifest-path", setup::RUST_CLIENTS], "formatted")
    });
    report.step("tidy", || tidy::run(workspace).map(|()| Outcome::Passed("the rules of the house hold".to_owned())));
    report.step("spec", || spec::judge(workspace).map(Outcome::Passed));
    report.step("clippy", || {
        plain(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], "no warning")?;
        setup::clippy_of_rust_clients(workspace)?;
        Ok(Outcome::Passed("no warning".to_owned()))
    });
    report.step("deny", || deny::tree(workspace));
    report.step("advisories", || deny::advisories(workspace));
    report.step("tests", || {
        let args = ["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "--color", "never"];
        let heard = workspace.command("cargo").args(args).heard()?;
        let found = nextest_count(&heard.text);
        count.add(found.unwrap_or_default());
        Ok(judge(&heard, found))
    });
    report.step("doctests", || {
        let heard = workspace.command("cargo").args(["test", "--workspace", "--locked", "--doc"]).heard()?;
        let found = doctest_count(&heard.text);
        count.add(found.unwrap_or_default());
        Ok(judge(&heard, found))
    });
    report.step("bench", || {
        let args = ["-m", "unittest", "discover", "--start-directory", "bench", "--top-level-directory", "bench"];
        let heard = workspace.command("python3").args(args).heard()?;
        let found = unittest_count(&heard.text);
        count.add(found.unwrap_or_default());
        Ok(judge(&heard, found))
    });
    report.step("fuzz", || fuzz::run(workspace, fuzz::Extent::Fixed, &[]).map(Outcome::Passed));
    report.step("release", || plain(&["build", "--release", "--locked"], "the binary that users run builds"));
    report.step("cost", || cost::run(workspace, &cost::Purpose::Judge).map(Outcome::Passed));
    println!("\n{report}\n\n{} passed, {} failed", count.passed, count.failed);
    let failures = report.failures();
    if failures.is_empty() { Ok(()) } else { bail!("failed: {}", failures.join(", ")) }
}

/// Tests that ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u32,
    failed: u32,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// A run is good when its runner says so and told how many tests ran; a run that tells nothing proves nothing.
fn judge(heard: &Heard, count: Option<Count>) -> Outcome {
    match count {
        Some(Count { passed, failed: 0 }) if heard.success => Outcome::Passed(format!("{passed} passed")),
        Some(Count { passed, failed }) => Outcome::Failed(format!("{passed} passed, {failed} failed")),
        None => Outcome::Failed("no tests ran; see above".to_owned()),
    }
}

/// Reads `Summary [   1.2s] 10 tests run: 8 passed (1 slow), 1 failed, 1 timed out, 0 skipped`.
fn nextest_count(text: &str) -> Option<Count> {
    let line = text.lines().rev().find(|line| line.trim_start().starts_with("Summary ["))?;
    let (_, results) = line.split_once("run:")?;
    let number_before = |word: &str| -> u32 {
        let part = results.split(',').find(|part| part.contains(word));
        part.and_then(|part| part.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    let failed = ["failed", "timed out", "exec failed"].map(number_before).iter().sum();
    Some(Count { passed: number_before("passed"), failed })
}

/// Adds up the lines `test result: ok. 3 passed; 0 failed; …`.
fn doctest_count(text: &str) -> Option<Count> {
    let mut total = None;
    for line in text.lines().filter_map(|line| line.trim().strip_prefix("test result:")) {
        let number_before = |word: &str| -> u32 {
            let before = line.split(word).next().unwrap_or_default();
            before.split_whitespace().next_back().and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        let count = Count { passed: number_before(" passed"), failed: number_before(" failed") };
        total.get_or_insert_with(Count::default).add(count);
    }
    total
}

/// Reads `Ran 44 tests in 3.5s` and, further down, `OK` or `FAILED (failures=1, errors=2)`. Tests of Python are few and
/// quick: those of the runner of measurements.
fn unittest_count(text: &str) -> Option<Count> {
    let line = text.lines().rev().find_map(|line| line.strip_prefix("Ran "))?;
    let all: u32 = line.split_whitespace().next()?.parse().ok()?;
    let outcome = text.lines().rev().find_map(|line| line.strip_prefix("FAILED (")).unwrap_or_default();
    let failed: u32 = ["failures=", "errors="]
        .iter()
        .filter_map(|word| outcome.split_once(word))
        .map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect::<String>())
        .filter_map(|number| number.parse::<u32>().ok())
        .sum();
    (all > 0).then(|| Count { passed: all.saturating_sub(failed), failed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_nextest_is_read() {
        let text =
            "noise\n     Summary [   0.041s] 12 tests run: 9 passed (1 slow), 2 failed, 1 timed out, 4 skipped\n";
        assert_eq!(nextest_count(text), Some(Count { passed: 9, failed: 3 }));
        let text = "     Summary [   0.041s] 12 tests run: 12 passed, 0 skipped\n  FAIL later noise";
        assert_eq!(nextest_count(text), Some(Count { passed: 12, failed: 0 }));
        assert_eq!(nextest_count("error: could not compile"), None);
    }

    #[test]
    fn results_of_doctests_add_up() {
        let text = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured\n\
                    test result: FAILED. 1 passed; 2 failed; 0 ignored\n";
        assert_eq!(doctest_count(text), Some(Count { passed: 4, failed: 2 }));
        assert_eq!(doctest_count("error[E0432]"), None);
    }

    #[test]
    fn the_summary_of_unittest_is_read() {
        let text = "..F\n-----\nRan 12 tests in 0.2s\n\nFAILED (failures=1, errors=2, skipped=1)\n";
        assert_eq!(unittest_count(text), Some(Count { passed: 9, failed: 3 }));
        assert_eq!(unittest_count("Ran 1 test in 0.2s\n\nOK\n"), Some(Count { passed: 1, failed: 0 }));
        assert_eq!(unittest_count("Ran 0 tests in 0.0s\n\nNO TESTS RAN\n"), None);
        assert_eq!(unittest_count("ImportError"), None);
    }

    #[test]
    fn a_run_that_tells_nothing_fails() {
        let heard = |success| Heard { success, text: String::new() };
        assert!(matches!(judge(&heard(true), None), Outcome::Failed(_)));
        assert!(matches!(judge(&heard(false), Some(Count { passed: 1, failed: 0 })), Outcome::Failed(_)));
        assert!(matches!(judge(&heard(true), Some(Count { passed: 1, failed: 1 })), Outcome::Failed(_)));
        assert!(matches!(judge(&heard(true), Some(Count { passed: 1, failed: 0 })), Outcome::Passed(_)));
    }
}

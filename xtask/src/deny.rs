//! `cargo deny`: licences, bans and sources always; advisories where their database can be had.
//!
//! Called by `test` and on its own; the rules are in `deny.toml`.

use anyhow::{Context, Result, bail};

use crate::report::Outcome;
use crate::workspace::Workspace;

/// What cargo-deny says when the network does not give it the database of advisories.
const NO_DATABASE: &str = "failed to fetch advisory database";

/// `cargo xtask deny`.
pub(crate) fn run_alone(workspace: &Workspace) -> Result<()> {
    for outcome in [tree(workspace)?, advisories(workspace)?] {
        match outcome {
            Outcome::Passed(what) | Outcome::Skipped(what) => println!("{what}"),
            Outcome::Failed(why) => bail!(why),
        }
    }
    Ok(())
}

/// Licences, bans and sources.
pub(crate) fn tree(workspace: &Workspace) -> Result<Outcome> {
    check(workspace, &["licenses", "bans", "sources"]).map(|text| judge_tree(&text))
}

/// Known faults of the dependencies.
pub(crate) fn advisories(workspace: &Workspace) -> Result<Outcome> {
    check(workspace, &["advisories"]).map(|heard| judge_advisories(&heard))
}

/// Success and words of `cargo deny check`.
struct Verdict {
    success: bool,
    text: String,
}

fn check(workspace: &Workspace, what: &[&str]) -> Result<Verdict> {
    let heard = workspace
        .command("cargo-deny")
        .args(["--all-features", "--locked", "--color", "never", "check", "--hide-inclusion-graph"])
        .args(["--allow", "duplicate"])
        .args(what)
        .heard()
        .context("cargo-deny is needed: cargo xtask setup")?;
    Ok(Verdict { success: heard.success, text: heard.text })
}

fn judge_tree(verdict: &Verdict) -> Outcome {
    if verdict.success {
        Outcome::Passed("licences, bans and sources as in deny.toml".to_owned())
    } else {
        Outcome::Failed("the dependency tree breaks deny.toml".to_owned())
    }
}

fn judge_advisories(verdict: &Verdict) -> Outcome {
    if verdict.success {
        Outcome::Passed("no known fault in the dependencies".to_owned())
    } else if verdict.text.contains(NO_DATABASE) && !verdict.text.contains("error[") {
        Outcome::Skipped("the database of advisories cannot be had from here".to_owned())
    } else {
        Outcome::Failed("a dependency has a known fault".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(success: bool, text: &str) -> Verdict {
        Verdict { success, text: text.to_owned() }
    }

    #[test]
    fn only_a_missing_database_excuses_a_failure() {
        let refused = verdict(false, "[ERROR] failed to fetch advisory database: Could not resolve host");
        assert!(matches!(judge_advisories(&refused), Outcome::Skipped(_)));
        let found = verdict(false, "error[vulnerability]: a panic in x");
        assert!(matches!(judge_advisories(&found), Outcome::Failed(_)));
        let both = verdict(false, "failed to fetch advisory database\nerror[vulnerability]: a panic in x");
        assert!(matches!(judge_advisories(&both), Outcome::Failed(_)));
        assert!(matches!(judge_advisories(&verdict(true, "")), Outcome::Passed(_)));
        assert!(matches!(judge_tree(&verdict(false, "")), Outcome::Failed(_)));
    }
}

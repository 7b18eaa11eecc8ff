//! `motte acl diff`: who gains and who loses what between two sets of rules, for all topics.
//!
//! Called by `motte acl`.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use motte_policy::analysis::{self, Change};
use serde_json::json;

use super::source::Rules;
use crate::ui::{FAILURE, Failure, SUCCESS, Ui};

/// Say who gains and who loses what between two sets of rules
#[derive(Debug, ClapArgs)]
#[command(after_help = "Each of the two is an ACL file, a policy file, or a configuration with all that it names.\n\n\
    Exit codes: 0 done; 1 a file is broken, or --strict and something differs; 2 wrong command line.")]
pub(crate) struct Args {
    /// The rules as they are
    old: PathBuf,
    /// The rules as they are to be
    new: PathBuf,
    /// End with exit code 1 when something differs
    #[arg(long)]
    strict: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, ui: &mut Ui) -> Result<u8, Failure> {
    let (old, new) = (Rules::of(&args.old)?, Rules::of(&args.new)?);
    let found = analysis::diff(&old.policy, &new.policy)
        .map_err(|error| Failure::new(error.to_string(), "rules of fewer levels can be compared"))?;
    if args.json {
        let changes: Vec<_> = found.changes.iter().map(as_json).collect();
        ui.line(json!({ "changes": changes, "partial": found.is_partial }))?;
    } else {
        for change in &found.changes {
            ui.line(as_line(change))?;
        }
        if found.changes.is_empty() {
            ui.line(format_args!("nobody gains or loses anything"))?;
        }
        if found.is_partial {
            ui.line(format_args!("there are many conditions: compared with none, each alone and all of them holding"))?;
        }
    }
    Ok(if args.strict && !found.changes.is_empty() { FAILURE } else { SUCCESS })
}

fn as_json(change: &Change) -> serde_json::Value {
    let Change { who, when, gains, action, topics, except } = change;
    json!({ "who": who, "gains": gains, "action": action, "topics": topics, "except": except, "when": when })
}

fn as_line(change: &Change) -> String {
    let Change { who, when, gains, action, topics, except } = change;
    let verb = if *gains { "+ gains" } else { "- loses" };
    let except = if except.is_empty() { String::new() } else { format!(" except {}", except.join(", ")) };
    let when = if when.is_empty() { String::new() } else { format!(" when {}", when.join(" and ")) };
    format!("{who} {verb} {action} {topics}{except}{when}")
}

//! `motte acl`: what rules are wrong, why something is allowed or denied, and what a change of rules changes.
//!
//! Called by the command line. Reads ACL files, policy files, or all that a configuration names; changes nothing.

mod check;
mod diff;
mod explain;
mod source;

use clap::{Args as ClapArgs, Subcommand};

use crate::ui::{Failure, Ui};

/// Check, explain and compare access rules.
#[derive(Debug, ClapArgs)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find rules that never decide, contradict each other, or open too much
    Check(check::Args),
    /// Say whether something is allowed, by which rule, and what would change it
    Explain(explain::Args),
    /// Say who gains and who loses what between two sets of rules
    Diff(diff::Args),
}

/// Runs one of the commands.
pub(crate) fn run(args: &Args, ui: &mut Ui) -> Result<u8, Failure> {
    match &args.command {
        Command::Check(args) => check::run(args, ui),
        Command::Explain(args) => explain::run(args, ui),
        Command::Diff(args) => diff::run(args, ui),
    }
}

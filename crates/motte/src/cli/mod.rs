//! The command line: which commands there are, and how one is run.
//!
//! Called by `main`. Each command is a file beside this one with `Args` (what was typed) and `run` (what it does).

mod acl;
mod bench;
mod cert;
mod connect;
mod dynsec;
mod man;
mod passwd;
mod publish;
mod quickstart;
mod reload;
mod rotate;
mod serve;
mod store;
mod subscribe;
mod target;

pub(crate) use publish::lost_connection;
pub(crate) use subscribe::check as check_granted;
pub(crate) use target::refused;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::ui::{Failure, Ui};

/// Shown below the help of `motte`.
const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 failed; 2 wrong command line or configuration; further codes are in the help of each command.

First steps: `motte quickstart` makes a private CA, certificates, passwords and access rules in ./motte-data and \
starts a broker that speaks MQTT over TLS.";

/// A secure MQTT platform: broker, client tools, certificates and passwords.
#[derive(Debug, Parser)]
#[command(name = "motte", version, about, after_help = AFTER_HELP, arg_required_else_help = true)]
#[command(propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a private CA, certificates, passwords and rules, and run a secure broker
    Quickstart(quickstart::Args),
    /// Run a broker with a configuration file
    Serve(serve::Args),
    /// Have the running broker read its files again, and say what came of it
    Reload(reload::Args),
    /// Put new certificates, CAs, revocation lists and passwords in place of the old ones, all or none
    Rotate(rotate::Args),
    /// Publish messages
    #[command(name = "pub")]
    Publish(publish::Args),
    /// Subscribe, and write what comes to standard output
    #[command(name = "sub")]
    Subscribe(subscribe::Args),
    /// Make one secure connection to a broker and say what it is made of
    Connect(connect::Args),
    /// Put load on a broker and say what it costs: messages per second, latency, connections
    Bench(bench::Args),
    /// Make and show certificates: a private CA, servers, clients
    Cert(cert::Args),
    /// Check, explain and compare access rules
    Acl(acl::Args),
    /// Manage the users of a password file
    Passwd(passwd::Args),
    /// Make and show the file of dynamic security: clients, groups and roles that change while the broker runs
    Dynsec(dynsec::Args),
    /// Look after the durable store: check, repair, export, import
    Store(store::Args),
    /// Write the completions of a shell to standard output
    Completions(man::CompletionsArgs),
    /// Write the manual page to standard output, or all manual pages to a directory
    Man(man::Args),
}

/// Parses the command line and runs the command.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = run(cli.command, &mut Ui::new());
    ExitCode::from(match outcome {
        Ok(code) => code,
        Err(failure) => {
            failure.show();
            failure.code()
        }
    })
}

/// Runs one command. Gives its exit code.
fn run(command: Command, ui: &mut Ui) -> Result<u8, Failure> {
    match command {
        Command::Quickstart(args) => quickstart::run(&args, ui),
        Command::Serve(args) => serve::run(&args, ui),
        Command::Reload(args) => reload::run(&args, ui),
        Command::Rotate(args) => rotate::run(&args, ui),
        Command::Publish(args) => publish::run(&args, ui),
        Command::Subscribe(args) => subscribe::run(&args, ui),
        Command::Connect(args) => connect::run(&args, ui),
        Command::Bench(args) => bench::run(&args, ui),
        Command::Cert(args) => cert::run(&args, ui),
        Command::Acl(args) => acl::run(&args, ui),
        Command::Passwd(args) => passwd::run(&args, ui),
        Command::Dynsec(args) => dynsec::run(&args, ui),
        Command::Store(args) => store::run(&args, ui),
        Command::Completions(args) => man::completions(&args, &mut Cli::command(), ui),
        Command::Man(args) => man::run(&args, Cli::command(), ui),
    }
}

//! `motte serve`: a broker with a configuration file, or a check of that file.
//!
//! Called by `cli::run`, and its parts by `quickstart`. All errors of a configuration are shown at once.

use std::io::ErrorKind;
use std::path::PathBuf;

use motte_node::config::{ConfigError, ConfigFile};
use motte_node::settings::ListenAddress;
use motte_node::{Ready, Settings, StartError};

use crate::ui::{Failure, SUCCESS, USAGE, Ui, note};

const AFTER_HELP: &str = "\
Signals: SIGTERM and SIGINT stop in order; SIGHUP reads certificates, passwords and access rules again (a bad file \
keeps the old set in force).
What must survive a restart or a crash is kept in the directory of [durability], `store` beside FILE unless it says \
otherwise; one broker at a time can use it.
Exit codes: 0 stopped in order, or the configuration is right; 1 failed; 2 the configuration is wrong.";

/// What is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Configuration file
    #[arg(short, long, value_name = "FILE", default_value = "motte.toml")]
    config: PathBuf,
    /// Check the configuration and every file it names, show all errors, and start nothing
    #[arg(long)]
    check: bool,
}

/// Runs a broker until it is stopped.
pub(crate) fn run(args: &Args, ui: &mut Ui) -> Result<u8, Failure> {
    let settings = ConfigFile::load(&args.config).map_err(|errors| refused(&errors))?;
    if args.check {
        ui.line(format_args!("{}: the configuration is right", args.config.display()))?;
        return Ok(SUCCESS);
    }
    serve(settings, |_| ())
}

/// Runs a broker; `ready` is called once it listens.
pub(crate) fn serve(settings: Settings, ready: impl FnOnce(&Ready)) -> Result<u8, Failure> {
    motte_node::serve(settings, ready).map(|()| SUCCESS).map_err(|error| explain(&error))
}

/// Shows every error on a line of its own, as `file:line: what — hint: what to do`.
pub(crate) fn refused(errors: &[ConfigError]) -> Failure {
    for error in errors {
        note(error);
    }
    let many = if errors.len() == 1 { "one error" } else { "errors" };
    Failure::new(format!("the configuration has {many}; nothing was started"), "").with_code(USAGE)
}

/// What a start that failed means for the user.
fn explain(error: &StartError) -> Failure {
    match error {
        StartError::Files(errors) => refused(errors),
        StartError::Bind { source, address, .. } => Failure::new(error.to_string(), bind_hint(source.kind(), address)),
        StartError::System(_) => Failure::new(error.to_string(), "check the limits of the system (`ulimit -a`)"),
        StartError::Renewal(_) => Failure::new(error.to_string(), "check the files under [tls] and [tls.renewal]"),
        StartError::Store(_) | StartError::StoreStop(_) => {
            let text = error.to_string();
            let (what, hint) = text.split_once(" — hint: ").unwrap_or((&text, ""));
            Failure::new(what, hint)
        }
        StartError::ShardEnded(_) | StartError::KeeperEnded => {
            Failure::new(error.to_string(), "this is a defect: please report it with the log")
        }
    }
}

/// What to do when an address cannot be listened on.
fn bind_hint(kind: ErrorKind, address: &ListenAddress) -> String {
    let Some(port) = address.ip().map(|address| address.port()) else {
        return match kind {
            ErrorKind::AddrInUse => String::from("another program listens there: stop it, or choose another path"),
            _ => String::from("choose a path in a folder that exists and is yours"),
        };
    };
    match kind {
        ErrorKind::AddrInUse => format!(
            "another program uses port {port} (`ss -ltnp 'sport = :{port}'` shows which): stop it, or choose another \
             port with `address` in the configuration, or with --port and --wss-port of quickstart"
        ),
        ErrorKind::PermissionDenied => String::from("choose a port above 1023"),
        ErrorKind::AddrNotAvailable => String::from("choose an address of this machine"),
        _ => String::from("choose another address or port"),
    }
}

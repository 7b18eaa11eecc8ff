//! `motte reload`: has the running broker read its files again, and says what came of it.
//!
//! Called by `cli::run`; the socket and the question are shared with `rotate`. Reads nothing of the configuration but
//! where the broker is to be asked.

use std::path::PathBuf;

use motte_audit::Escaped;
use motte_node::Reloaded;
use motte_node::config::control_socket;
use motte_node::counter::{Answer, Question, ask};

use crate::ui::{FAILURE, Failure, SUCCESS, USAGE, Ui, note, table};

const AFTER_HELP: &str = "\
All files are read again as one set: the configuration, certificates, keys, CAs, revocation lists, passwords and \
access rules. Either all of them are right and take effect at once, or the old set stays in force. A broker that \
watches its files (the default) has done so already; then this says whether what is in them is in force.
Sessions end whose certificate was revoked, whose CA, user or password is gone; all others stay.
Exit codes: 0 reloaded; 1 refused, the old set is in force; 2 no broker was found, or the command line is wrong.";

/// What is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Configuration file of the broker
    #[arg(short, long, value_name = "FILE", default_value = "motte.toml")]
    config: PathBuf,
    /// Control socket of the broker, instead of the one of the configuration
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Runs `motte reload`.
pub(crate) fn run(args: &Args, ui: &mut Ui) -> Result<u8, Failure> {
    let socket = args.socket.clone().or_else(|| control_socket(&args.config)).ok_or_else(no_socket)?;
    let answer = ask(&socket, Question::Reload).map_err(|error| {
        let hint = "is the broker running, as this user? name its configuration with -c, or its socket with --socket";
        Failure::new(error.to_string(), hint).with_code(USAGE)
    })?;
    if args.json {
        let text = serde_json::to_string_pretty(&answer).expect("an answer is JSON");
        ui.line(text)?;
    }
    match answer {
        Answer::Reloaded(reloaded) if args.json => drop(reloaded),
        Answer::Reloaded(reloaded) => show(&reloaded, ui)?,
        Answer::Refused { errors } => {
            if !args.json {
                errors.iter().for_each(note);
            }
            let what = "the files are not right; the old ones stay in force";
            return Err(Failure::new(what, "mend them, then run `motte reload` again").with_code(FAILURE));
        }
        Answer::Stopped => return Err(Failure::new("the broker stops", "start it again").with_code(USAGE)),
        Answer::Census(_) | Answer::Unknown => {
            let hint = "use the `motte` of the same version as the broker";
            return Err(Failure::new("the broker does not understand the question", hint));
        }
    }
    Ok(SUCCESS)
}

/// There is nowhere to ask.
pub(crate) fn no_socket() -> Failure {
    let hint = "set control_socket in [node] and start the broker again, or send it SIGHUP";
    Failure::new("a broker without a store has no control socket unless the configuration names one", hint)
        .with_code(USAGE)
}

/// What a reload did, for people.
fn show(reloaded: &Reloaded, ui: &mut Ui) -> Result<(), Failure> {
    if reloaded.changed.is_empty() {
        ui.line("in force; no file has changed since they were read last")?;
    }
    for file in &reloaded.changed {
        ui.line(format_args!("changed: {}", file.display()))?;
    }
    for what in &reloaded.after_restart {
        ui.line(format_args!("{} {what}", ui.yellow("after a restart:")))?;
    }
    if !reloaded.ended.is_empty() {
        ui.line(format_args!("connections ended: {}", reloaded.ended.len()))?;
        let word = |cause: &_| serde_json::to_value(cause).ok().and_then(|word| Some(word.as_str()?.to_owned()));
        let row = |session: &motte_node::EndedSession| {
            let user = session.user.as_deref().map_or_else(String::new, |user| Escaped(user).to_string());
            vec![Escaped(&session.client_id).to_string(), user, word(&session.cause).unwrap_or_default()]
        };
        let rows: Vec<_> = reloaded.ended.iter().map(row).collect();
        for line in table(&["CLIENT", "USER", "WHY"], &rows) {
            ui.line(line)?;
        }
    }
    Ok(())
}

//! `motte dynsec`: the file of dynamic security, without a broker.
//!
//! Called by `cli::run`. Makes a file with its first administrator and shows who is in one; everything else is done
//! through a running broker, by `mosquitto_ctrl dynsec` or any client that may.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use motte_audit::Escaped;
use motte_policy::{DynamicSecurity, SALT_BYTES};
use zeroize::Zeroizing;

use super::passwd::{NewSecret, generate};
use crate::ui::{Failure, SUCCESS, Ui, note, random, table};

const AFTER_HELP: &str = "\
A password is taken from --password-file, from --prompt, or from the environment variable MOTTE_PASSWORD; without any \
of them `init` makes one of 160 random bits and prints it. Name the file in motte.toml as dynamic_file in [policy].
Exit codes: 0 done; 1 failed; 2 wrong command line.";

/// What is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a file with one client, who may administer the others, and the roles to begin with
    Init {
        /// The file; it must not be there
        file: PathBuf,
        /// Name of the administrator
        #[arg(default_value = "admin")]
        admin: String,
        #[command(flatten)]
        secret: NewSecret,
    },
    /// Check a file, of this broker or of Mosquitto, and list its clients
    List {
        /// The file
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs `motte dynsec`.
pub(crate) fn run(args: &Args, ui: &mut Ui) -> Result<u8, Failure> {
    match &args.action {
        Action::Init { file, admin, secret } => init(file, admin, secret, ui),
        Action::List { file, json } => list(file, *json, ui),
    }
}

fn init(path: &Path, admin: &str, secret: &NewSecret, ui: &mut Ui) -> Result<u8, Failure> {
    if path.exists() {
        let hint = "name another file, or change this one through a running broker with `mosquitto_ctrl dynsec`";
        return Err(Failure::new(format!("{} is there already", path.display()), hint));
    }
    let given = secret.given()?;
    let generated = if given.is_none() { Some(generate()?) } else { None };
    let password = match (&given, &generated) {
        (Some(bytes), _) => std::str::from_utf8(bytes)
            .map_err(|_| Failure::new("the password is not text in UTF-8", "give another one: JSON cannot hold it"))?,
        (None, Some(text)) => text,
        (None, None) => unreachable!("a password that was not given was made"),
    };
    let model = DynamicSecurity::initial(admin, password, random::<SALT_BYTES>()?);
    let text = Zeroizing::new(model.to_text());
    if let Err(errors) = DynamicSecurity::parse(&text) {
        return Err(Failure::new(format!("{} cannot be a user name: {}", Escaped(admin), errors[0]), "choose another"));
    }
    motte_pki::write_private(path, text.as_bytes()).map_err(|error| {
        Failure::new(format!("cannot write {}: {error}", path.display()), "check that its directory is there and yours")
    })?;
    note(format_args!("{} holds {}, who may administer the others", path.display(), Escaped(admin)));
    if let Some(password) = &generated {
        ui.line(&**password)?;
    }
    Ok(SUCCESS)
}

fn list(path: &Path, json: bool, ui: &mut Ui) -> Result<u8, Failure> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| {
        Failure::new(format!("cannot read {}: {error}", path.display()), "make one with `motte dynsec init FILE`")
    })?;
    let model = DynamicSecurity::parse(&text).map_err(|errors| {
        let all: Vec<_> = errors.iter().map(|error| error.what.clone()).collect();
        Failure::new(format!("{}: {}", path.display(), all.join("; ")), errors[0].hint)
    })?;
    let clients = model.overview();
    if json {
        let shown = clients.iter().map(|client| {
            serde_json::json!({
                "user": client.user, "disabled": client.is_disabled, "client_id": client.client_id,
                "scheme": client.scheme, "roles": client.roles, "groups": client.groups,
            })
        });
        ui.line(serde_json::Value::Array(shown.collect()))?;
        return Ok(SUCCESS);
    }
    let names = |names: &[String]| match names {
        [] => String::from("-"),
        names => names.iter().map(|name| Escaped(name).to_string()).collect::<Vec<_>>().join(","),
    };
    let rows: Vec<Vec<String>> = clients
        .iter()
        .map(|client| {
            let state = if client.is_disabled { "disabled" } else { "enabled" };
            let scheme = client.scheme.unwrap_or("-").to_owned();
            let user = Escaped(&client.user).to_string();
            vec![user, state.to_owned(), scheme, names(&client.roles), names(&client.groups)]
        })
        .collect();
    for line in table(&["USER", "STATE", "SCHEME", "ROLES", "GROUPS"], &rows) {
        ui.line(line)?;
    }
    Ok(SUCCESS)
}

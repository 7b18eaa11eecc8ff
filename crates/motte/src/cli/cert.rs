//! `motte cert`: the private CA, and certificates for servers and clients.
//!
//! Called by `cli::run`. Keys are written with mode 0600 and never shown; nothing is overwritten unless asked.

mod show;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Subcommand;
use motte_pki::{
    Authority, CLIENT_DAYS_MAX, HostName, LeafRequest, Role, SERVER_DAYS_MAX, create_private_dir, read_private,
    write_private, write_public,
};

use crate::ui::{Failure, SUCCESS, USAGE, Ui, note, warning};

const AFTER_HELP: &str = "\
Each certificate is a file NAME.pem with its key NAME.key (mode 0600) beside it. A running broker reads its \
certificate again on SIGHUP.
Exit codes: 0 done; 1 failed; 2 wrong command line.";

/// What is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Directory of the CA and the certificates
    #[arg(long, value_name = "DIR", global = true, default_value = "motte-data/pki")]
    dir: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a private CA: ca.pem and ca.key, for ten years
    Ca {
        /// Common name of the CA
        #[arg(long, default_value = "Motte private CA")]
        name: String,
        /// Overwrite: every certificate of the old CA is then worth nothing
        #[arg(long)]
        force: bool,
    },
    /// Make one server certificate for host names and IP addresses: server.pem and server.key
    Server {
        /// Names and addresses clients reach the server by
        #[arg(required = true, value_name = "NAME")]
        names: Vec<HostName>,
        /// Days it lasts
        #[arg(long, default_value_t = SERVER_DAYS_MAX, value_parser = clap::value_parser!(u16).range(1..=90))]
        days: u16,
        /// Overwrite
        #[arg(long)]
        force: bool,
    },
    /// Make client certificates, one for each name: NAME.pem and NAME.key
    Client {
        /// User names of the clients
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Days they last
        #[arg(long, default_value_t = CLIENT_DAYS_MAX, value_parser = clap::value_parser!(u16).range(1..=398))]
        days: u16,
        /// Overwrite
        #[arg(long)]
        force: bool,
    },
    /// List certificates: what, for whom, days left
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what the certificates of a file say
    Show {
        /// PEM file
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs `motte cert`.
pub(crate) fn run(args: &Args, ui: &mut Ui) -> Result<u8, Failure> {
    let now = SystemTime::now();
    match &args.action {
        Action::Ca { name, force } => make_authority(&args.dir, name, *force, now)?,
        Action::Server { names, days, force } => {
            let request = server_request(names.clone(), *days);
            may_write(&args.dir, "server", *force)?;
            issue(&load_authority(&args.dir)?, &args.dir, "server", &request, now)?;
            written(&args.dir, "server");
        }
        Action::Client { names, days, force } => make_clients(&args.dir, names, *days, *force, now)?,
        Action::List { json } => return show::list(&args.dir, *json, now, ui),
        Action::Show { file, json } => return show::show(file, *json, now, ui),
    }
    Ok(SUCCESS)
}

fn make_authority(dir: &Path, name: &str, force: bool, now: SystemTime) -> Result<(), Failure> {
    may_write(dir, "ca", force)?;
    create_private_dir(dir).map_err(|error| cannot_write(dir, &error))?;
    create_authority(dir, name, now)?;
    written(dir, "ca");
    warning("whoever has ca.key can make certificates: keep it safe, and away from devices");
    Ok(())
}

fn make_clients(dir: &Path, names: &[String], days: u16, force: bool, now: SystemTime) -> Result<(), Failure> {
    for name in names {
        check_client_name(name)?;
        may_write(dir, name, force)?;
    }
    let authority = load_authority(dir)?;
    for name in names {
        issue(&authority, dir, name, &client_request(name, days), now)?;
        written(dir, name);
    }
    Ok(())
}

/// Makes a CA and writes `ca.pem` and `ca.key`.
pub(crate) fn create_authority(dir: &Path, name: &str, now: SystemTime) -> Result<Authority, Failure> {
    let authority = Authority::create(name, now).map_err(|error| Failure::new(error.to_string(), error.hint()))?;
    write_pair(dir, "ca", authority.certificate_pem(), &authority.key_pem())?;
    Ok(authority)
}

/// The CA of a directory.
fn load_authority(dir: &Path) -> Result<Authority, Failure> {
    read_authority(&dir.join("ca.pem"), &dir.join("ca.key"))
}

/// The CA of these two files.
pub(crate) fn read_authority(certificate: &Path, key: &Path) -> Result<Authority, Failure> {
    let pem = std::fs::read_to_string(certificate).map_err(|error| {
        let hint = "make a CA with `motte cert ca`, or name its directory with --dir";
        Failure::new(format!("cannot read the CA certificate {}: {error}", certificate.display()), hint)
    })?;
    let secret = read_private(key).map_err(|error| Failure::new(error.to_string(), error.hint()))?;
    let secret = std::str::from_utf8(&secret)
        .map_err(|_| Failure::new(format!("{} is not a PEM file", key.display()), "restore it, or make a new CA"))?;
    Authority::from_pem(&pem, secret).map_err(|error| Failure::new(error.to_string(), error.hint()))
}

/// What a server certificate is asked with; the first name is its common name.
pub(crate) fn server_request(names: Vec<HostName>, days: u16) -> LeafRequest {
    let common_name = names.first().map(ToString::to_string).unwrap_or_default();
    // A common name has at most 64 characters; clients look at the other names only.
    let common_name = if common_name.len() > 64 { String::from("server") } else { common_name };
    LeafRequest { role: Role::Server, common_name, names, days }
}

/// What a client certificate is asked with.
pub(crate) fn client_request(name: &str, days: u16) -> LeafRequest {
    LeafRequest { role: Role::Client, common_name: name.to_owned(), names: Vec::new(), days }
}

/// Issues a certificate and writes it with its key.
pub(crate) fn issue(
    authority: &Authority,
    dir: &Path,
    stem: &str,
    request: &LeafRequest,
    now: SystemTime,
) -> Result<(), Failure> {
    let issued = authority.issue(request, now).map_err(|error| Failure::new(error.to_string(), error.hint()))?;
    write_pair(dir, stem, &issued.chain_pem, &issued.key_pem)
}

/// Writes key and certificate, the key first: a certificate without its key would be of no use.
fn write_pair(dir: &Path, stem: &str, certificate: &str, key: &str) -> Result<(), Failure> {
    let failed = |error| cannot_write(dir, &error);
    write_private(&dir.join(format!("{stem}.key")), key.as_bytes()).map_err(failed)?;
    write_public(&dir.join(format!("{stem}.pem")), certificate.as_bytes()).map_err(failed)
}

/// A name that can be a file and a user: `+`, `#` and `/` would widen access rules with `%u`.
fn check_client_name(name: &str) -> Result<(), Failure> {
    let plain = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | ' ' | ':'));
    if name.is_empty() || !plain || name.starts_with(['.', '-', ' ']) || matches!(name, "ca" | "server") {
        let hint = "use letters, digits and - _ . @ : inside; not `ca` and not `server`";
        let what = format!("{:?} cannot be the name of a client", motte_pki::printable(name));
        return Err(Failure::new(what, hint).with_code(USAGE));
    }
    Ok(())
}

fn may_write(dir: &Path, stem: &str, force: bool) -> Result<(), Failure> {
    for path in [dir.join(format!("{stem}.pem")), dir.join(format!("{stem}.key"))] {
        if path.exists() && !force {
            return Err(Failure::new(format!("{} exists", path.display()), "use --force to overwrite it"));
        }
    }
    Ok(())
}

fn written(dir: &Path, stem: &str) {
    let path = dir.join(stem);
    note(format_args!("wrote {0}.pem and {0}.key", path.display()));
}

fn cannot_write(dir: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot write to {}: {error}", dir.display()), "check that the directory is there and yours")
}

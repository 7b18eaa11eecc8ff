//! `motte rotate`: new certificate, CA, revocation list and passwords take the place of the old ones, in one go.
//!
//! Called by `cli::run`. Checks, replaces, has the broker reload, looks at it from outside, and puts everything back
//! when one of these fails.

mod outside;
mod transaction;

use std::path::{Path, PathBuf};

use motte_node::Settings;
use motte_node::config::{ConfigError, ConfigFile, control_socket};
use motte_node::counter::{Answer, AskError, Census, Question, ask};
use motte_pki::{CertificateFacts, ServerTlsParams, server_config};
use serde_json::json;
use zeroize::Zeroizing;

use self::outside::View;
use self::transaction::{Applied, Change, Turn};
use super::reload::no_socket;
use crate::ui::{Failure, SUCCESS, USAGE, Ui, note};

const AFTER_HELP: &str = "\
Steps: the new files are checked; sessions that would lose their CA are counted, and there must be none unless --now; \
the files are replaced, all or none, the old ones kept beside them; the broker reloads; a real TLS connection with a \
CONNECT has to show the new certificate; at the end it says who is still on which CA. When a step fails everything is \
put back. A rotation that a crash cut short is put back by the next one.
Exit codes: 0 rotated; 1 nothing was changed, or everything was put back; 2 no broker was found, or the command line \
is wrong.";

/// What is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Configuration file of the broker
    #[arg(short, long, value_name = "FILE", default_value = "motte.toml")]
    config: PathBuf,
    /// New certificate of the server, PEM chain
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Key of the new certificate, PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// New CAs of client certificates; keep the old one in it for as long as its certificates are in use
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// New revocation list, where the configuration names one
    #[arg(long, value_name = "FILE")]
    crl: Option<PathBuf>,
    /// New password file
    #[arg(long, value_name = "FILE")]
    passwords: Option<PathBuf>,
    /// End sessions whose CA is not among the new ones at once
    #[arg(long)]
    now: bool,
    /// Address to look at from outside; by default that of the first TLS listener
    #[arg(long, value_name = "ADDRESS:PORT")]
    at: Option<std::net::SocketAddr>,
    /// CA that the broker's certificate is verified by; by default that of [tls.renewal], or client_ca of [tls]
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// Client certificate for the look from outside, where the broker demands one
    #[arg(long, value_name = "FILE", requires = "identity_key")]
    identity: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "identity")]
    identity_key: Option<PathBuf>,
    /// Check, and say what would be done
    #[arg(long)]
    dry_run: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Runs `motte rotate`.
pub(crate) fn run(args: &Args, ui: &mut Ui) -> Result<u8, Failure> {
    let socket = control_socket(&args.config).ok_or_else(no_socket)?;
    let folder = args.config.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (turn, was_cut_short) = Turn::take(folder).map_err(|error| {
        Failure::new(
            format!("cannot begin a rotation in {}: {error}", folder.display()),
            "wait for it, or check whose the folder is",
        )
    })?;
    if was_cut_short {
        note("a rotation that was cut short was put back");
    }
    let settings = load(&args.config)?;
    let changes = changes(args, &settings)?;
    check_pair(args)?;
    let before = census(&socket)?;
    check_overlap(args, &before)?;
    let view = view(args, &settings)?;
    if args.dry_run {
        return plan(args, &changes, ui);
    }
    note(format_args!("replacing {} files", changes.len()));
    let applied = turn.apply(&changes).map_err(|error| {
        Failure::new(format!("the files could not be replaced: {error}"), "nothing was changed; check the folders")
    })?;
    if let Err(failure) = prove(args, &socket, view.as_ref()) {
        return Err(put_back(applied, &socket, &failure));
    }
    let after = census(&socket);
    applied.commit().map_err(|error| {
        Failure::new(format!("rotated, but what was replaced could not be removed: {error}"), "remove *.before-rotate")
    })?;
    report(args, &changes, &after?, ui)
}

/// The settings, when everything that is in place now is right.
fn load(config: &Path) -> Result<Settings, Failure> {
    ConfigFile::load(config).map_err(|errors| wrong(&errors, "what is in place is not right", "mend that first"))
}

fn wrong(errors: &[ConfigError], what: &str, hint: &str) -> Failure {
    errors.iter().for_each(note);
    Failure::new(what, hint)
}

/// What goes where.
fn changes(args: &Args, settings: &Settings) -> Result<Vec<Change>, Failure> {
    let tls = &settings.tls;
    let crl = match &tls.crls[..] {
        [only] => Some(only.clone()),
        _ => None,
    };
    let mut changes = Vec::new();
    for (new, target, key) in [
        (&args.key, Some(tls.key.clone()), "key"),
        (&args.certificate, Some(tls.certificate.clone()), "certificate"),
        (&args.client_ca, tls.client_ca.clone(), "client_ca"),
        (&args.crl, crl, "one crl"),
        (&args.passwords, settings.identity.password_file.clone(), "password_file"),
    ] {
        let Some(new) = new else { continue };
        let target = target.ok_or_else(|| {
            let what = format!("the configuration does not name {key}, so {} has no place", new.display());
            Failure::new(what, format!("name {key} in {} first", args.config.display())).with_code(USAGE)
        })?;
        let bytes = std::fs::read(new).map(Zeroizing::new);
        let bytes =
            bytes.map_err(|error| Failure::new(format!("cannot read {}: {error}", new.display()), "check the path"))?;
        changes.push(Change { target, bytes });
    }
    if changes.is_empty() {
        let hint = "name what is new: --certificate with --key, --client-ca, --crl, --passwords";
        return Err(Failure::new("there is nothing to rotate", hint).with_code(USAGE));
    }
    Ok(changes)
}

/// Whether the new certificate and its key belong together, before anything is touched.
fn check_pair(args: &Args) -> Result<(), Failure> {
    let (Some(certificate), Some(key)) = (args.certificate.clone(), args.key.clone()) else { return Ok(()) };
    let params = ServerTlsParams { certificate, key, ..ServerTlsParams::default() };
    server_config(&params).map(drop).map_err(|error| Failure::new(error.to_string(), error.hint()))
}

/// Whether everybody who is connected finds the own CA among the new ones.
fn check_overlap(args: &Args, census: &Census) -> Result<(), Failure> {
    let Some(file) = args.client_ca.as_deref().filter(|_| !args.now) else { return Ok(()) };
    let new: Vec<String> = facts(file)?.into_iter().map(|facts| facts.subject).collect();
    let lost: Vec<_> = census.issuers.iter().filter(|(issuer, _)| !new.contains(issuer)).collect();
    for (issuer, group) in &lost {
        note(format_args!("{} connections have certificates of {issuer}", group.connections));
    }
    if lost.is_empty() {
        return Ok(());
    }
    let hint = "keep the old CA in the file until its last certificate is replaced, or end these sessions with --now";
    Err(Failure::new(format!("{} does not hold every CA that is in use", file.display()), hint))
}

fn facts(file: &Path) -> Result<Vec<CertificateFacts>, Failure> {
    let failed = |what: String| Failure::new(format!("{}: {what}", file.display()), "name a PEM file");
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    CertificateFacts::from_pem(&text).map_err(|error| failed(error.to_string()))
}

/// How to look from outside; `None` without a TLS listener on an address.
fn view(args: &Args, settings: &Settings) -> Result<Option<View>, Failure> {
    let listeners = settings.listeners.iter().filter(|listener| listener.transport.tls);
    let address = args.at.or_else(|| listeners.filter_map(|listener| listener.address.ip()).find(|at| at.port() > 0));
    let Some(mut address) = address else { return Ok(None) };
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let leaf = facts(args.certificate.as_deref().unwrap_or(&settings.tls.certificate))?;
    let renewal = settings.tls.renewal.as_ref().map(|renewal| renewal.ca_certificate.clone());
    Ok(Some(View {
        address,
        name: leaf[0].names.first().cloned().unwrap_or_default(),
        roots: args.cafile.clone().or(renewal).or_else(|| settings.tls.client_ca.clone()),
        identity: args.identity.clone().zip(args.identity_key.clone()),
    }))
}

/// Everything that has to be so once the files are in place.
fn prove(args: &Args, socket: &Path, view: Option<&View>) -> Result<(), Failure> {
    let settings =
        ConfigFile::load(&args.config).map_err(|errors| wrong(&errors, "the new files are not right", ""))?;
    match ask(socket, Question::Reload).map_err(|error| nobody(&error))? {
        Answer::Reloaded(reloaded) => {
            note(format_args!("the broker reloaded; {} connections ended", reloaded.ended.len()))
        }
        Answer::Refused { errors } => return Err(wrong(&errors, "the broker refused the new files", "")),
        _ => return Err(Failure::new("the broker did not reload", "look at its log")),
    }
    let Some(view) = view else {
        note("no TLS listener has a fixed address: it was not looked at from outside; name one with --at");
        return Ok(());
    };
    let shown =
        outside::look(view).map_err(|what| Failure::new(format!("from outside: {what}"), "see --at and --cafile"))?;
    let expected = facts(&settings.tls.certificate)?;
    if shown.sha256 != expected[0].sha256 {
        return Err(Failure::new("from outside the broker shows another certificate", "does --at name this broker?"));
    }
    note(format_args!("from outside: {} shows the certificate with serial {}", view.address, shown.serial_hex));
    Ok(())
}

/// Puts the old files back and has the broker read them.
fn put_back(applied: Applied, socket: &Path, failure: &Failure) -> Failure {
    failure.show();
    if let Err(error) = applied.roll_back() {
        let hint = "run `motte rotate` again: it puts back what is left first";
        return Failure::new(format!("the old files could not be put back: {error}"), hint);
    }
    match ask(socket, Question::Reload) {
        Ok(Answer::Reloaded(_)) => Failure::new("the rotation failed; the old files are in place and in force", ""),
        _ => Failure::new("the rotation failed; the old files are in place", "see that the broker runs"),
    }
}

fn census(socket: &Path) -> Result<Census, Failure> {
    match ask(socket, Question::Census).map_err(|error| nobody(&error))? {
        Answer::Census(census) => Ok(census),
        _ => Err(Failure::new("the broker does not say who is connected", "use the `motte` of its version")),
    }
}

fn nobody(error: &AskError) -> Failure {
    Failure::new(error.to_string(), "is the broker running, as this user?").with_code(USAGE)
}

/// What would be done.
fn plan(args: &Args, changes: &[Change], ui: &mut Ui) -> Result<u8, Failure> {
    let targets: Vec<String> = changes.iter().map(|change| change.target.display().to_string()).collect();
    if args.json {
        ui.line(json!({"outcome": "checked", "would_replace": targets}))?;
    } else {
        targets.iter().try_for_each(|target| ui.line(format_args!("would replace {target}")))?;
    }
    Ok(SUCCESS)
}

/// What was done, and who is still on what.
fn report(args: &Args, changes: &[Change], census: &Census, ui: &mut Ui) -> Result<u8, Failure> {
    let targets: Vec<String> = changes.iter().map(|change| change.target.display().to_string()).collect();
    if args.json {
        ui.line(json!({"outcome": "rotated", "replaced": targets, "connected": census}))?;
        return Ok(SUCCESS);
    }
    targets.iter().try_for_each(|target| ui.line(format_args!("replaced {target}")))?;
    for (issuer, group) in &census.issuers {
        ui.line(format_args!("{} connections with certificates of {issuer}", group.connections))?;
    }
    for (source, group) in &census.sources {
        ui.line(format_args!("{} connections by the word of {source}", group.connections))?;
    }
    ui.line(format_args!("{} connections by password", census.passwords.connections))?;
    Ok(SUCCESS)
}

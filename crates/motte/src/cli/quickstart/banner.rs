//! What `motte quickstart` says once the broker listens: where, the passwords of a first start, and commands to paste.
//!
//! Called by `quickstart`. The commands hold certificates by path and never a password.

use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use motte_node::Ready;
use motte_pki::HostName;

use super::home::Login;
use crate::ui::{Failure, Ui};

/// Shows everything.
pub(super) fn show(
    ui: &mut Ui,
    dir: &Path,
    hosts: &[HostName],
    ready: &Ready,
    logins: Option<&[Login]>,
) -> Result<(), Failure> {
    let shown = dir.display();
    match logins {
        Some(_) => ui.line(format_args!("\n{} All it needs is in {shown}/.\n", ui.bold("A new Motte broker runs."))),
        None => ui.line(format_args!("\n{} It uses what is in {shown}/.\n", ui.bold("The Motte broker runs."))),
    }?;
    let host = hosts.first().map_or_else(|| String::from("localhost"), ToString::to_string);
    for listener in &ready.listeners {
        let kind = match listener.scheme {
            "mqtts" => "MQTT over TLS",
            "wss" => "MQTT over secure WebSocket",
            "unix" => "MQTT on this machine",
            _ => "MQTT without TLS (danger)",
        };
        let reach = if listener.address.is_local() { "this machine only" } else { "all networks" };
        let url = match listener.address.ip() {
            Some(address) => format!("{}://{}:{}{}", listener.scheme, in_url(&host), address.port(), listener.path),
            None => format!("--unix {}", listener.address),
        };
        ui.line(format_args!("  {kind:<27} {url}  {}", ui.dim(&format!("({}, {reach})", listener.address))))?;
    }
    match logins {
        Some(logins) => {
            let note = format!("(shown once; also in {shown}/passwords.txt, mode 0600)");
            ui.line(format_args!("\n  Passwords {}", ui.dim(&note)))?;
            for (user, password) in logins {
                ui.line(format_args!("    {user:<10} {}", &**password))?;
            }
        }
        // A first start that ended before it could show them left them here.
        None if dir.join("passwords.txt").exists() => ui.line(format_args!("\n  Passwords: {shown}/passwords.txt"))?,
        None => ui.line(format_args!(
            "\n  Passwords: kept as hashes only; `motte passwd -f {} set USER` makes a new one",
            quoted(&dir.join("passwords").to_string_lossy())
        ))?,
    }
    let port = ready
        .listeners
        .iter()
        .find(|listener| listener.scheme == "mqtts")
        .and_then(|one| one.address.ip())
        .map(|one| one.port());
    let Some(port) = port else { return Ok(()) };
    ui.line("\n  To try it, paste into another terminal:")?;
    for (what, command) in commands(dir, &host, port) {
        ui.line(format_args!("\n  {}\n{command}", ui.dim(&format!("# {what}"))))?;
    }
    ui.line(format_args!("\n  Ctrl-C stops the broker.\n"))
}

/// What can be pasted: each with what it does.
fn commands(dir: &Path, host: &str, port: u16) -> [(&'static str, String); 3] {
    let motte = own_command();
    let pki = dir.join("pki");
    let to = |user: &str| {
        let file = |name: String| quoted(&pki.join(name).to_string_lossy());
        let (ca, certificate, key) = (file("ca.pem".into()), file(format!("{user}.pem")), file(format!("{user}.key")));
        format!("-h {host} -p {port} --cafile {ca} --cert {certificate} --key {key}")
    };
    let message = "-t sensors/device-1/temperature -m 21.5";
    [
        ("see every reading, as the operator", format!("{motte} sub {} -t 'sensors/#' -v", to("operator"))),
        ("publish a reading, as device-1", format!("{motte} pub {} {message}", to("device-1"))),
        ("the same with Mosquitto's client", format!("mosquitto_pub {} {message}", to("device-1"))),
    ]
}

/// How this program is started from here: by its path in a build, by its name when it is installed.
fn own_command() -> String {
    let Ok(own) = std::env::current_exe() else { return String::from("motte") };
    let here = std::env::current_dir().ok();
    if let Some(below) = here.and_then(|here| own.strip_prefix(here).ok().map(Path::to_path_buf)) {
        return quoted(&below_here(&below).to_string_lossy());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|dir| dir.join("motte")).find(|file| file.exists());
    let same = installed.and_then(|file| file.canonicalize().ok()).is_some_and(|file| file == own);
    if same { String::from("motte") } else { quoted(&own.to_string_lossy()) }
}

/// A path below the current directory as a shell starts it: a bare name would be looked for in `PATH`.
fn below_here(path: &Path) -> PathBuf {
    let many = path.components().filter(|part| matches!(part, Component::Normal(_))).count() > 1;
    if many { path.to_path_buf() } else { Path::new(".").join(path) }
}

/// An IPv6 address stands in brackets in a URL.
fn in_url(host: &str) -> String {
    if matches!(host.parse(), Ok(IpAddr::V6(_))) { format!("[{host}]") } else { host.to_owned() }
}

/// A word for a shell, in quotes where it needs them.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{commands, in_url, quoted};

    #[test]
    fn words_are_quoted_where_a_shell_would_take_them_apart() {
        assert_eq!(quoted("motte-data/pki/ca.pem"), "motte-data/pki/ca.pem");
        assert_eq!(quoted("my data/it's"), r"'my data/it'\''s'");
        assert_eq!(quoted("$(x)"), "'$(x)'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn commands_name_files_and_no_password() {
        let [(_, subscribe), (_, publish), (_, mosquitto)] = commands(Path::new("motte-data"), "localhost", 8883);
        assert!(subscribe.ends_with(
            " sub -h localhost -p 8883 --cafile motte-data/pki/ca.pem --cert motte-data/pki/operator.pem \
             --key motte-data/pki/operator.key -t 'sensors/#' -v"
        ));
        let (_, ours) = publish.split_once(" pub ").expect("it is a command of motte");
        assert_eq!(mosquitto, format!("mosquitto_pub {ours}"));
    }

    #[test]
    fn addresses_stand_in_brackets() {
        assert_eq!(in_url("::1"), "[::1]");
        assert_eq!(in_url("broker.example.org"), "broker.example.org");
    }
}

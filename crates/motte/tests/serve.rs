//! `motte serve`: exit codes and what is said, on a broker set up by hand with `motte cert` and `motte passwd`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{MOTTE, motte, signal};

const CONFIG: &str = "\
[[listener]]
address = \"127.0.0.1:0\"

[tls]
certificate = \"pki/server.pem\"
key = \"pki/server.key\"
client_ca = \"pki/ca.pem\"

[identity]
password_file = \"passwords\"

[policy]
acl_file = \"acl\"
";

/// A broker's directory with this configuration.
fn directory(config: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["cert", "--dir", "pki", "ca"][..],
        &["cert", "--dir", "pki", "server", "localhost"],
        &["passwd", "-f", "passwords", "add", "anna"],
    ] {
        assert_eq!(motte(dir.path(), args).code, 0, "{args:?}");
    }
    write_closed(&dir.path().join("acl"), "pattern readwrite data/%u/#\n");
    write_closed(&dir.path().join("motte.toml"), config);
    dir
}

fn write_closed(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn check_says_that_all_is_right() {
    let dir = directory(CONFIG);
    let check = motte(dir.path(), &["serve", "--check"]);
    assert_eq!((check.code, check.out.as_str()), (0, "motte.toml: the configuration is right\n"), "{check:?}");
}

#[test]
fn check_shows_all_errors_and_ends_with_2() {
    let config = CONFIG.replace("certificate =", "certifikate =").replace("\"acl\"", "\"alc\"");
    let dir = directory(&config);
    fs::set_permissions(dir.path().join("passwords"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let check = motte(dir.path(), &["serve", "-c", "motte.toml", "--check"]);
    assert_eq!((check.code, check.out.as_str()), (2, ""));
    let lines: Vec<&str> = check.err.lines().collect();
    assert_eq!(lines.len(), 5, "{}", check.err);
    assert_eq!(lines[1], "motte.toml:5: unknown key \"certifikate\" in [tls] — hint: did you mean certificate?");
    assert!(lines[0].starts_with("motte.toml:4: certificate is missing in [tls] — hint: "), "{}", lines[0]);
    assert!(lines[2].starts_with("motte.toml:13: alc does not exist — hint: "), "{}", lines[2]);
    assert!(lines[3].starts_with("passwords: other users can read or change the file (mode 644) — hint: run `chmod"));
    assert_eq!(lines[4], "error: the configuration has errors; nothing was started");
    let serve = motte(dir.path(), &["serve"]);
    assert_eq!((serve.code, serve.err), (2, check.err), "serve says the same and starts nothing");
    assert_eq!(motte(dir.path(), &["serve", "-c", "none.toml", "--check"]).code, 2);
}

#[test]
fn a_taken_port_is_an_error_with_a_hint() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let dir = directory(&CONFIG.replace("127.0.0.1:0", &address.to_string()));
    let serve = motte(dir.path(), &["serve"]);
    assert_eq!(serve.code, 1, "{serve:?}");
    assert!(serve.err.contains(&format!("listener-1 cannot listen on {address}")), "{}", serve.err);
    assert!(serve.err.contains(&format!("hint: another program uses port {}", address.port())), "{}", serve.err);
}

#[test]
fn a_stop_in_order_ends_with_0() {
    let dir = directory(CONFIG);
    let mut child = Command::new(MOTTE).arg("serve").current_dir(dir.path()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("listening")));
    signal(child.id(), "TERM");
    assert!(log.any(|line| line.contains("stopped")));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn completions_and_manual_name_every_command() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = motte(dir.path(), &["completions", shell]);
        assert!(script.code == 0 && script.out.contains("quickstart"), "{shell}");
    }
    assert!(motte(dir.path(), &["man"]).out.contains("quickstart"));
    assert_eq!(motte(dir.path(), &["man", "pages"]).code, 0);
    for page in ["motte", "motte-quickstart", "motte-serve", "motte-cert-list", "motte-passwd-add"] {
        assert!(dir.path().join(format!("pages/{page}.1")).exists(), "{page}");
    }
    let version = motte(dir.path(), &["--version"]);
    assert_eq!(version.out, format!("motte {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(motte(dir.path(), &["no-such-command"]).code, 2);
}

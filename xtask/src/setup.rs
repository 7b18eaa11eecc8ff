//! Installs what the checks need and says so: Debian packages, foreign MQTT clients, cargo tools. Versions are pinned.
//!
//! Called by `test` and on its own. Each part looks first whether its work is done. Never starts a service.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::Command;
use crate::workspace::Workspace;

/// Programs the checks call, and the Debian package of each.
const PROGRAMS: [(&str, &str); 18] = [
    ("c++", "g++"),
    ("cc", "gcc"),
    ("git", "git"),
    ("mosquitto_ctrl", "mosquitto"),
    ("mosquitto_passwd", "mosquitto"),
    ("mosquitto_pub", "mosquitto-clients"),
    ("mosquitto_rr", "mosquitto-clients"),
    ("mosquitto_sub", "mosquitto-clients"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mount", "mount"),
    ("openssl", "openssl"),
    ("pebble", "pebble"),
    ("slapd", "slapd"),
    ("strace", "strace"),
    ("unshare", "util-linux"),
    ("valgrind", "valgrind"),
    ("node", "nodejs"),
    ("npm", "npm"),
];

const NEXTEST: &str = "0.9.143";
const DENY: &str = "0.20.2";
const FUZZ: &str = "0.13.2";

/// The workspace of the foreign clients in Rust; it stays out of ours, so that its libraries do too.
pub(crate) const RUST_CLIENTS: &str = "crates/motte/tests/foreign/rust/Cargo.toml";

/// A file that keeps Debian's scripts from starting services while it exists (Debian Policy 9.3.3.2).
const SERVICE_POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs everything.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    debian_packages(workspace)?;
    python_client(workspace)?;
    node_client(workspace)?;
    rust_clients(workspace)?;
    nextest(workspace)?;
    deny(workspace)?;
    fuzz(workspace)?;
    println!("everything the checks need is here");
    Ok(())
}

/// Programs of the operating system.
fn debian_packages(workspace: &Workspace) -> Result<()> {
    let mut missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| on_path(program).is_none()).map(|(_, package)| *package).collect();
    if workspace.command("python3").args(["-c", "import ensurepip, venv"]).output().is_err() {
        missing.extend(["python3", "python3-venv"]);
    }
    missing.dedup();
    if missing.is_empty() {
        println!("programs of the system: all here");
        return Ok(());
    }
    let root = workspace.command("id").args(["-u"]).output()?.trim() == "0";
    if !root || on_path("apt-get").is_none() {
        bail!("missing programs; as root on Debian: apt-get install {}", missing.join(" "));
    }
    println!("installing Debian packages: {}", missing.join(" "));
    workspace.command("apt-get").args(["update", "-q"]).aloud()?;
    let policy = ServicePolicy::put(Path::new(SERVICE_POLICY))?;
    let installed = workspace
        .command("apt-get")
        .args(["install", "-q", "-y", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .aloud();
    drop(policy);
    installed
}

/// Forbids the start of services as long as it lives; leaves a policy that was there before alone.
struct ServicePolicy<'a>(Option<&'a Path>);

impl<'a> ServicePolicy<'a> {
    fn put(path: &'a Path) -> Result<Self> {
        if path.exists() {
            return Ok(Self(None));
        }
        fs::write(path, "#!/bin/sh\nexit 101\n").with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        Ok(Self(Some(path)))
    }
}

impl Drop for ServicePolicy<'_> {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.map(fs::remove_file) {
            eprintln!("warning: {SERVICE_POLICY} could not be removed: {error}");
        }
    }
}

/// Paho in a virtual environment of its own.
fn python_client(workspace: &Workspace) -> Result<()> {
    let list = workspace.root().join("crates/motte/tests/foreign/requirements.txt");
    let home = workspace.foreign().join("venv");
    if is_stamped(&home, &[&list]) {
        println!("Python client: here");
        return Ok(());
    }
    println!("installing the Python client into {}", home.display());
    fs::create_dir_all(workspace.foreign())?;
    workspace.command("python3").args(["-m", "venv", "--clear"]).args([&home]).aloud()?;
    Command::new(home.join("bin/pip"), workspace.root())
        .args(["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:", "-r"])
        .args([&list])
        .aloud()?;
    stamp(&home, &[&list])
}

/// MQTT.js with the exact tree of the lock file, and none of its install scripts run.
fn node_client(workspace: &Workspace) -> Result<()> {
    let source = workspace.root().join("crates/motte/tests/foreign");
    let lists = [source.join("package.json"), source.join("package-lock.json")];
    let lists: Vec<&Path> = lists.iter().map(PathBuf::as_path).collect();
    let home = workspace.foreign().join("node");
    if is_stamped(&home, &lists) {
        println!("npm client: here");
        return Ok(());
    }
    println!("installing the npm client into {}", home.display());
    fs::create_dir_all(&home)?;
    for list in &lists {
        fs::copy(list, home.join(list.file_name().context("a list has a name")?))?;
    }
    Command::new("npm", &home).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).aloud()?;
    stamp(&home, &lists)
}

/// The program built on rumqttc and mqrstt. Cargo knows whether there is anything to build.
fn rust_clients(workspace: &Workspace) -> Result<()> {
    println!("Rust clients: building what has changed");
    on_rust_clients(workspace, "build").aloud()
}

/// The lints of the program built on rumqttc and mqrstt, which is no member of our workspace.
pub(crate) fn clippy_of_rust_clients(workspace: &Workspace) -> Result<()> {
    on_rust_clients(workspace, "clippy").args(["--", "-D", "warnings"]).aloud()
}

fn on_rust_clients(workspace: &Workspace, what: &str) -> Command {
    workspace
        .command("cargo")
        .args([what, "--quiet", "--locked", "--manifest-path", RUST_CLIENTS, "--target-dir"])
        .args([workspace.foreign().join("rust")])
}

/// The runner of the tests.
fn nextest(workspace: &Workspace) -> Result<()> {
    if workspace.command("cargo").args(["nextest", "--version"]).output().is_ok() {
        println!("cargo-nextest: here");
        return Ok(());
    }
    install_tool(workspace, "cargo-nextest", NEXTEST)
}

/// The judge of the dependency tree.
fn deny(workspace: &Workspace) -> Result<()> {
    if workspace.command("cargo-deny").args(["--version"]).output().is_ok() {
        println!("cargo-deny: here");
        return Ok(());
    }
    install_tool(workspace, "cargo-deny", DENY)
}

/// The builder of the fuzz targets, and a compiler for the engine they are linked with.
fn fuzz(workspace: &Workspace) -> Result<()> {
    if workspace.command("cargo-fuzz").args(["--version"]).output().is_ok() {
        println!("cargo-fuzz: here");
        return Ok(());
    }
    install_tool(workspace, "cargo-fuzz", FUZZ)
}

/// Builds a cargo tool from its published source, without optimisation: it runs once, and building is the cost.
fn install_tool(workspace: &Workspace, name: &str, version: &str) -> Result<()> {
    println!("installing {name} {version}");
    let build = workspace.tools().join("build");
    workspace
        .command("cargo")
        .args(["install", "--quiet", "--locked", "--debug", "--no-track", name, "--version", version, "--root"])
        .args([&workspace.tools(), Path::new("--target-dir"), &build])
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env_remove("CARGO_TARGET_DIR")
        .aloud()?;
    fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))
}

/// The first file of this name on the path.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// What the lists contained when `home` was made from them.
fn contents(lists: &[&Path]) -> Result<String> {
    lists
        .iter()
        .map(|list| fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display())))
        .collect()
}

/// Whether `home` was completely made from lists with just these contents.
fn is_stamped(home: &Path, lists: &[&Path]) -> bool {
    matches!((fs::read_to_string(home.join(".made-from")), contents(lists)), (Ok(made), Ok(wanted)) if made == wanted)
}

fn stamp(home: &Path, lists: &[&Path]) -> Result<()> {
    Ok(fs::write(home.join(".made-from"), contents(lists)?)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// A fresh folder below the temporary one, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_changed_list_is_installed_again() {
        let folder = Folder::new("stamp");
        let list = folder.0.join("list");
        fs::write(&list, "one").unwrap();
        assert!(!is_stamped(&folder.0, &[&list]), "nothing is made yet");
        stamp(&folder.0, &[&list]).unwrap();
        assert!(is_stamped(&folder.0, &[&list]));
        fs::write(&list, "two").unwrap();
        assert!(!is_stamped(&folder.0, &[&list]));
    }

    #[test]
    fn a_service_policy_goes_away_and_a_foreign_one_stays() {
        let folder = Folder::new("policy");
        let path = folder.0.join("policy-rc.d");
        drop(ServicePolicy::put(&path).unwrap());
        assert!(!path.exists());
        fs::write(&path, "mine").unwrap();
        drop(ServicePolicy::put(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}

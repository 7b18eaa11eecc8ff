//! The directory of `motte quickstart`: made whole beside its place and renamed into it, or not at all.
//!
//! Called by `quickstart`. What a crash left of a first start is made again; a directory that is there is not changed.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use motte_node::config::{SampleListener, sample};
use motte_pki::{CLIENT_DAYS_MAX, HostName, SERVER_DAYS_MAX, create_private_dir, write_private};
use motte_policy::PasswordFile;
use zeroize::Zeroizing;

use crate::cli::{cert, passwd};
use crate::ui::Failure;

/// The devices and the person of a first start: they get a certificate and a password each.
const USERS: [&str; 3] = ["device-1", "device-2", "operator"];

const RULES: &str = "\
# Access rules in the grammar of Mosquitto's acl_file. What no line allows is denied.
# %u is the user name: of the password login, or the common name of the client certificate.

# Every device writes its own readings and reads its own commands.
pattern write sensors/%u/#
pattern read commands/%u/#

# The operator reads everything and writes commands.
user operator
topic read #
topic read $SYS/#
topic write commands/#
";

const CLEAR_HEAD: &str = "\
# User names and passwords, made at the first start. The broker does not need this file: move them to where they are
# used, and delete it. `motte passwd set USER` makes a new password.
";

/// A user and a password in clear text.
pub(super) type Login = (&'static str, Zeroizing<String>);

/// Opens the directory, or makes it. Gives the passwords at the first start, and only then.
pub(super) fn open_or_create(
    dir: &Path,
    hosts: &[HostName],
    listeners: &[SampleListener],
    now: SystemTime,
) -> Result<Option<Vec<Login>>, Failure> {
    if dir.join("motte.toml").exists() {
        return Ok(None);
    }
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        let hint = "name another directory with --dir, or start the broker with `motte serve -c FILE`";
        return Err(Failure::new(format!("{} has files in it, but no motte.toml", dir.display()), hint));
    }
    let building = building_path(dir)?;
    let failed = |error: std::io::Error| cannot_make(&building, &error);
    create_private_dir(&building).map_err(failed)?;
    let lock = File::create(building.join(".lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Failure::new(format!("another first start is making {}", dir.display()), "wait for it"));
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    clear(&building).map_err(failed)?;
    let logins = make(&building, &server_names(hosts), listeners, now)?;
    fs::remove_file(building.join(".lock")).map_err(failed)?;
    fs::rename(&building, dir).map_err(|error| cannot_make(dir, &error))?;
    // The rename is durable only once the directory above is.
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(above).and_then(|above| above.sync_all()).map_err(|error| cannot_make(dir, &error))?;
    Ok(Some(logins))
}

/// A hidden name beside the directory, because a rename is atomic only inside one file system. It is always the same,
/// so that the next start finds what a crash left.
fn building_path(dir: &Path) -> Result<PathBuf, Failure> {
    let name = dir.file_name().ok_or_else(|| {
        Failure::new(format!("{} does not name a directory", dir.display()), "name one, such as --dir motte-data")
    })?;
    Ok(dir.with_file_name(format!(".{}.first-start", name.to_string_lossy())))
}

/// Removes what a crash left, but the lock.
fn clear(building: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(building)? {
        let entry = entry?;
        if entry.file_name() == ".lock" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Makes everything.
fn make(dir: &Path, names: &[HostName], listeners: &[SampleListener], now: SystemTime) -> Result<Vec<Login>, Failure> {
    let failed = |error: std::io::Error| cannot_make(dir, &error);
    let pki = dir.join("pki");
    create_private_dir(&pki).map_err(failed)?;
    let authority = cert::create_authority(&pki, "Motte private CA", now)?;
    let server = cert::server_request(names.to_vec(), SERVER_DAYS_MAX);
    cert::issue(&authority, &pki, "server", &server, now)?;
    for user in USERS {
        cert::issue(&authority, &pki, user, &cert::client_request(user, CLIENT_DAYS_MAX), now)?;
    }
    let logins = make_passwords(dir)?;
    write_private(&dir.join("acl"), RULES.as_bytes()).map_err(failed)?;
    let set = [
        ("tls", "certificate", "\"pki/server.pem\""),
        ("tls", "key", "\"pki/server.key\""),
        ("tls", "client_ca", "\"pki/ca.pem\""),
        ("tls.renewal", "ca_certificate", "\"pki/ca.pem\""),
        ("tls.renewal", "ca_key", "\"pki/ca.key\""),
        ("identity", "password_file", "\"passwords\""),
        ("policy", "acl_file", "\"acl\""),
    ];
    write_private(&dir.join("motte.toml"), sample(listeners, &set).as_bytes()).map_err(failed)?;
    Ok(logins)
}

/// Writes the hashes, and once the passwords themselves.
fn make_passwords(dir: &Path) -> Result<Vec<Login>, Failure> {
    let mut file = PasswordFile::default();
    let mut clear = Zeroizing::new(String::with_capacity(1024));
    clear.push_str(CLEAR_HEAD);
    let mut logins = Vec::new();
    for user in USERS {
        let password = passwd::generate()?;
        file.set(user, passwd::hash(password.as_bytes())?).expect("the users of a first start have plain names");
        for part in [user, " ", &password, "\n"] {
            clear.push_str(part);
        }
        logins.push((user, password));
    }
    passwd::store(&dir.join("passwords"), &file)?;
    write_private(&dir.join("passwords.txt"), clear.as_bytes()).map_err(|error| cannot_make(dir, &error))?;
    Ok(logins)
}

/// Names the server certificate has: this machine's own, and those the user gave.
fn server_names(hosts: &[HostName]) -> Vec<HostName> {
    let own = sysinfo::System::host_name().and_then(|name| name.parse().ok());
    let local = ["localhost", "127.0.0.1", "::1"].iter().filter_map(|name| name.parse().ok());
    let mut names: Vec<HostName> = Vec::new();
    for name in local.chain(own).chain(hosts.iter().cloned()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn cannot_make(path: &Path, error: &std::io::Error) -> Failure {
    let hint = "check that the directory above it is there, is yours and has room, or choose another with --dir";
    Failure::new(format!("cannot make {}: {error}", path.display()), hint)
}

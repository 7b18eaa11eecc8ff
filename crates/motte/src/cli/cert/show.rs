//! `motte cert list` and `motte cert show`: what certificates say, for people and as JSON.
//!
//! Called by `cert`. Reads certificates only, never a key.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use motte_pki::{CertificateFacts, Reason};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::folder::{Folder, OLD};
use super::rotate;
use crate::ui::{Failure, SUCCESS, Ui, note, table, warning};

/// A certificate that ends sooner than this is warned of.
const WARN_DAYS: i64 = 30;

/// What is to be said of a certificate beside its dates.
struct Listed {
    path: PathBuf,
    facts: CertificateFacts,
    revoked: Option<(SystemTime, Reason)>,
}

impl Listed {
    fn state(&self, now: SystemTime) -> String {
        let is_old = self.path.file_name().is_some_and(|name| name == "ca-old.pem");
        match &self.revoked {
            Some((_, reason)) => format!("revoked: {reason}"),
            None if self.facts.not_after < now => String::from("ended"),
            None if self.facts.not_before > now => String::from("not yet valid"),
            None if is_old => String::from("rotating out"),
            None if motte_pki::renewal_due(&self.facts, now) => String::from("due for renewal"),
            None => String::from("good"),
        }
    }
}

/// Lists the certificates of a directory.
pub(super) fn list(folder: &Folder<'_>, json: bool, now: SystemTime, ui: &mut Ui) -> Result<u8, Failure> {
    let indexes = folder.stems().iter().map(|stem| folder.index(stem)).collect::<Result<Vec<_>, _>>()?;
    let mut all = Vec::new();
    for path in pem_files(folder.dir)? {
        match read(&path) {
            Ok(chain) => all.extend(chain.into_iter().next().map(|facts| {
                let mut entries = indexes.iter().filter_map(|index| index.find(&facts.serial_hex));
                Listed { path, revoked: entries.find_map(|entry| entry.revoked), facts }
            })),
            Err(what) => warning(format_args!("{}: {what}", path.display())),
        }
    }
    if json {
        let mut entries: Vec<_> = all.iter().map(|listed| list_entry(listed, now)).collect();
        if folder.stems().contains(&OLD) {
            let needed = rotate::last_of_old(folder, now)?.map(|(_, ends)| moment(ends));
            let old = entries.iter_mut().zip(&all).find(|(_, listed)| file_name(&listed.path) == "ca-old.pem");
            if let Some((entry, _)) = old {
                entry["needed_until"] = json!(needed);
            }
        }
        ui.line(Value::Array(entries))?;
        return Ok(SUCCESS);
    }
    let rows: Vec<_> = all.iter().map(|listed| row(listed, now)).collect();
    for (number, line) in table(&["FILE", "WHAT", "FOR", "ENDS", "DAYS LEFT", "STATE"], &rows).into_iter().enumerate() {
        let listed = number.checked_sub(1).map(|at| &all[at]);
        let left = listed.map_or(i64::MAX, |listed| listed.facts.days_left(now));
        ui.line(match left {
            _ if listed.is_some_and(|listed| listed.revoked.is_some()) => ui.red(&line),
            i64::MIN..0 => ui.red(&line),
            0..WARN_DAYS => ui.yellow(&line),
            _ => line,
        })?;
    }
    for listed in all.iter().filter(|listed| listed.revoked.is_none()) {
        warn_of_end(&listed.path, &listed.facts, now);
    }
    tell_of_rotation(folder, now)?;
    warn_of_list(folder, now);
    Ok(SUCCESS)
}

fn tell_of_rotation(folder: &Folder<'_>, now: SystemTime) -> Result<(), Failure> {
    if !folder.stems().contains(&OLD) {
        return Ok(());
    }
    match rotate::last_of_old(folder, now)? {
        Some((subject, ends)) => {
            let ends = moment(ends);
            note(format_args!("the CA is being rotated: the old one is needed until {subject} ends at {ends}"));
        }
        None => note("the CA is being rotated: nothing needs the old one any longer (`motte cert rotate-ca --finish`)"),
    }
    Ok(())
}

/// A list that ends takes everybody of its CA along.
fn warn_of_list(folder: &Folder<'_>, now: SystemTime) {
    const WARN_SECONDS: u64 = 7 * 24 * 60 * 60;
    let path = folder.list_path();
    if !path.exists() {
        return;
    }
    let hint = "make the next with `motte cert crl`";
    match motte_pki::crl_facts(&path) {
        Err(error) => warning(format_args!("{error}; {hint}")),
        Ok(lists) => {
            let ends = lists.iter().map(|list| list.next_update).min();
            match ends.map(|ends| ends.duration_since(now)) {
                Some(Err(_)) => warning(format_args!("{} has ended; {hint}", path.display())),
                Some(Ok(left)) if left.as_secs() < WARN_SECONDS => {
                    warning(format_args!("{} ends in {} hours; {hint}", path.display(), left.as_secs() / 3600));
                }
                _ => {}
            }
        }
    }
}

fn list_entry(listed: &Listed, now: SystemTime) -> Value {
    let mut value = entry(&listed.path, &listed.facts, now);
    value["state"] = json!(listed.state(now).split(':').next());
    if let Some((at, reason)) = &listed.revoked {
        value["revoked_at"] = json!(moment(*at));
        value["reason"] = json!(reason.to_string());
    }
    value
}

/// Shows every certificate of a file.
pub(super) fn show(file: &Path, json: bool, now: SystemTime, ui: &mut Ui) -> Result<u8, Failure> {
    let chain = read(file).map_err(|what| {
        Failure::new(format!("{}: {what}", file.display()), "name a PEM file, such as motte-data/pki/server.pem")
    })?;
    if json {
        ui.line(Value::Array(chain.iter().map(|facts| entry(file, facts, now)).collect()))?;
        return Ok(SUCCESS);
    }
    for (number, facts) in chain.iter().enumerate() {
        if number > 0 {
            ui.line("")?;
        }
        for (name, value) in lines(facts, now) {
            let name = ui.dim(&format!("{name:<12}"));
            ui.line(format_args!("{name} {value}"))?;
        }
    }
    if let Some(leaf) = chain.first() {
        warn_of_end(file, leaf, now);
    }
    Ok(SUCCESS)
}

fn lines(facts: &CertificateFacts, now: SystemTime) -> [(&'static str, String); 10] {
    [
        ("what", facts.role.to_string()),
        ("subject", facts.subject.clone()),
        ("names", if facts.names.is_empty() { String::from("-") } else { facts.names.join(", ") }),
        ("issuer", facts.issuer.clone()),
        ("begins", moment(facts.not_before)),
        ("ends", format!("{} ({} days left)", moment(facts.not_after), facts.days_left(now))),
        ("key", facts.key.clone()),
        ("signed with", facts.signature_algorithm.clone()),
        ("serial", facts.serial_hex.clone()),
        ("sha256", facts.sha256.clone()),
    ]
}

fn row(listed: &Listed, now: SystemTime) -> Vec<String> {
    let Listed { path, facts, .. } = listed;
    let ends = moment(facts.not_after);
    let ends = ends.split_once('T').map_or(ends.as_str(), |(day, _)| day);
    let days = facts.days_left(now).to_string();
    vec![file_name(path), facts.role.to_string(), holder(facts), ends.to_owned(), days, listed.state(now)]
}

/// For whom a certificate is: its names, or else its common name.
fn holder(facts: &CertificateFacts) -> String {
    match (&facts.subject_common_name, facts.names.as_slice()) {
        (_, [_, ..]) => facts.names.join(", "),
        (Some(name), []) => name.clone(),
        (None, []) => facts.subject.clone(),
    }
}

fn entry(path: &Path, facts: &CertificateFacts, now: SystemTime) -> Value {
    json!({
        "file": path.display().to_string(),
        "what": facts.role.to_string(),
        "for": holder(facts),
        "subject": facts.subject,
        "names": facts.names,
        "issuer": facts.issuer,
        "not_before": moment(facts.not_before),
        "not_after": moment(facts.not_after),
        "days_left": facts.days_left(now),
        "key": facts.key,
        "signature": facts.signature_algorithm,
        "serial": facts.serial_hex,
        "sha256": facts.sha256,
    })
}

fn warn_of_end(path: &Path, facts: &CertificateFacts, now: SystemTime) {
    let left = facts.days_left(now);
    if left < 0 {
        warning(format_args!("{} has ended; nobody accepts it any longer", path.display()));
    } else if left < WARN_DAYS {
        warning(format_args!("{} ends in {left} days", path.display()));
    }
}

fn moment(time: SystemTime) -> String {
    OffsetDateTime::from(time).format(&Rfc3339).unwrap_or_else(|_| String::from("?"))
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| motte_pki::printable(&name.to_string_lossy()))
}

fn read(path: &Path) -> Result<Vec<CertificateFacts>, String> {
    let text = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    CertificateFacts::from_pem(&String::from_utf8_lossy(&text)).map_err(|error| error.to_string())
}

/// The PEM files of a directory by name, the CA first.
fn pem_files(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: std::io::Error| {
        let hint = "make a CA with `motte cert ca`, or name the directory with --dir";
        Failure::new(format!("cannot list {}: {error}", dir.display()), hint)
    };
    let entries = std::fs::read_dir(dir).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let paths = entries.into_iter().map(|entry| entry.path());
    let is_certificate = |path: &PathBuf| {
        let name = file_name(path);
        // Lists and vouchers of CAs are no certificates of anybody.
        name.ends_with(".pem") && name != "crl.pem" && !name.ends_with(".cross.pem")
    };
    let mut files: Vec<_> = paths.filter(is_certificate).collect();
    files.sort_by_key(|path| (file_name(path) != "ca.pem", path.clone()));
    Ok(files)
}

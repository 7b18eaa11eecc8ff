//! `motte cert list` and `motte cert show`: what certificates say, for people and as JSON.
//!
//! Called by `cert`. Reads certificates only, never a key.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use motte_pki::CertificateFacts;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::ui::{Failure, SUCCESS, Ui, table, warning};

/// A certificate that ends sooner than this is warned of.
const WARN_DAYS: i64 = 30;

/// Lists the certificates of a directory.
pub(super) fn list(dir: &Path, json: bool, now: SystemTime, ui: &mut Ui) -> Result<u8, Failure> {
    let mut all = Vec::new();
    for path in pem_files(dir)? {
        match read(&path) {
            Ok(chain) => all.extend(chain.into_iter().next().map(|leaf| (path, leaf))),
            Err(what) => warning(format_args!("{}: {what}", path.display())),
        }
    }
    if json {
        let entries = all.iter().map(|(path, facts)| entry(path, facts, now)).collect();
        ui.line(Value::Array(entries))?;
        return Ok(SUCCESS);
    }
    let rows: Vec<_> = all.iter().map(|(path, facts)| row(path, facts, now)).collect();
    for (number, line) in table(&["FILE", "WHAT", "FOR", "ENDS", "DAYS LEFT"], &rows).into_iter().enumerate() {
        let left = number.checked_sub(1).map_or(i64::MAX, |at| all[at].1.days_left(now));
        ui.line(match left {
            i64::MIN..0 => ui.red(&line),
            0..WARN_DAYS => ui.yellow(&line),
            _ => line,
        })?;
    }
    for (path, facts) in &all {
        warn_of_end(path, facts, now);
    }
    Ok(SUCCESS)
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

fn row(path: &Path, facts: &CertificateFacts, now: SystemTime) -> Vec<String> {
    let ends = moment(facts.not_after);
    let ends = ends.split_once('T').map_or(ends.as_str(), |(day, _)| day);
    let days = facts.days_left(now).to_string();
    vec![file_name(path), facts.role.to_string(), holder(facts), ends.to_owned(), days]
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
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "pem")).collect();
    files.sort_by_key(|path| (file_name(path) != "ca.pem", path.clone()));
    Ok(files)
}

//! Checks the files that the configuration names, before anything starts or is replaced.
//!
//! Called by `ConfigFile::load`. A file that is missing, open to others, damaged, empty or out of date is an error
//! (K27); nothing here is kept, because boot and reload read the files again as one snapshot.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use motte_pki::{
    Authority, CertificateFacts, CertificateRole, HostName, KeyPassword, ServerTlsParams, TlsFileError, read_private,
    server_config,
};
use motte_policy::{AclError, PasswordFile, Policy, PolicyFile};

use super::ConfigError;
use super::parse::{Draft, RenewalDraft};
use super::reader::{Located, Problems};
use super::revocation;
use crate::{dynamic, renewal, settings};

/// Far more than any file of rules or passwords; a wrong path to something huge ends here.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
const DAY_SECONDS: u64 = 24 * 60 * 60;
/// Permission bits of a file that every user of the machine can read or write, or its group can write.
const OPEN_TO_OTHERS: u32 = 0o027;

/// Checks every file of the draft. `now` decides whether certificates are in force.
pub(super) fn check(draft: &Draft, now: SystemTime, problems: &mut Problems) {
    let password = key_password(draft, problems);
    let password = password.as_ref();
    if !is_to_be_issued(draft) {
        let renewed = draft.renewal.is_some() || draft.acme.is_some();
        pair((draft.certificate.as_ref(), draft.key.as_ref()), password, renewed, now, problems);
    }
    if let Some(ca) = draft.acme.as_ref().and_then(|acme| acme.ca.as_ref()) {
        let line = draft.certificate.as_ref().map_or(0, |certificate| certificate.line);
        authority_certificate(&Located { value: ca.clone(), line }, now, problems);
    }
    for own in &draft.files.pairs {
        pair((Some(&own.certificate), Some(&own.key)), password, false, now, problems);
        if own.by_name {
            has_name(&own.certificate, problems);
        }
    }
    for file in draft.client_ca.iter().chain(&draft.files.client_cas) {
        authority_certificate(file, now, problems);
    }
    revocation::check(draft, now, problems);
    if let Some(renewal) = &draft.renewal {
        renewal_authority(renewal, password, now, problems);
    }
    if let Some(file) = &draft.password_file {
        passwords(file, problems);
    }
    if let Some(file) = &draft.acl_file {
        rules(file, problems);
    }
    if let Some(file) = &draft.policy_file {
        policy(file, problems);
    }
    if let Some(dynamic) = &draft.dynamic {
        dynamic_security(&dynamic.file, problems);
    }
}

/// Whether the first certificate is still to come from a CA that speaks ACME: neither file is there.
fn is_to_be_issued(draft: &Draft) -> bool {
    let mut files = draft.certificate.iter().chain(&draft.key);
    draft.acme.is_some() && files.all(|file| !file.value.exists())
}

/// A certificate of the broker and its key, as far as they are named: each of them right, and of one pair.
fn pair(
    (certificate, key): (Option<&Located<PathBuf>>, Option<&Located<PathBuf>>),
    password: Option<&KeyPassword>,
    renewed: bool,
    now: SystemTime,
    problems: &mut Problems,
) {
    let server = certificate.is_some_and(|file| server_certificate(file, renewed, now, problems));
    let readable = key.is_some_and(|file| {
        let outcome = read_private(&file.value);
        outcome.map_err(|error| tls_problem(&error, file.line, problems)).is_ok()
    });
    // A renewal that a crash cut short is completed at the start; until then key and certificate are of two pairs.
    let cut_short = |certificate: &Path, key: &Path| renewed && renewal::is_interrupted(certificate, key);
    if let (true, true, Some(certificate), Some(key)) = (server, readable, certificate, key)
        && !cut_short(&certificate.value, &key.value)
    {
        let params = ServerTlsParams {
            certificate: certificate.value.clone(),
            key: key.value.clone(),
            key_password: password.cloned(),
            ..ServerTlsParams::default()
        };
        if let Err(error) = server_config(&params) {
            tls_problem(&error, key.line, problems);
        }
    }
}

/// A certificate that is chosen by name has to hold one.
fn has_name(file: &Located<PathBuf>, problems: &mut Problems) {
    let facts = fs::read_to_string(&file.value).ok().and_then(|text| CertificateFacts::from_pem(&text).ok());
    let is_name = |name: &String| matches!(name.parse(), Ok(HostName::Dns(_)));
    if facts.is_some_and(|chain| !chain[0].names.iter().any(is_name)) {
        let what = format!("{} holds no DNS name, so no client could ask for it", file.value.display());
        problems.at(file.line, what, "name a certificate with DNS names, or remove it");
    }
}

/// Whether the certificate can be read. One that has ended is an error unless the broker renews it at its start.
fn server_certificate(file: &Located<PathBuf>, renewed: bool, now: SystemTime, problems: &mut Problems) -> bool {
    let Some(chain) = certificates(file, problems) else { return false };
    let shown = file.value.display();
    let leaf = &chain[0];
    if leaf.role == CertificateRole::Authority || leaf.role == CertificateRole::Client {
        let what = format!("{shown} holds a {} certificate first, which clients would refuse", leaf.role);
        problems.at(file.line, what, "name the certificate of the server; `motte cert server NAME` makes one");
    }
    if !renewed || leaf.not_before > now {
        in_force(file, leaf, now, problems);
    }
    true
}

/// A CA for client certificates: all of them CAs, and at least one in force.
fn authority_certificate(file: &Located<PathBuf>, now: SystemTime, problems: &mut Problems) {
    let Some(all) = certificates(file, problems) else { return };
    if all.iter().any(|facts| facts.role != CertificateRole::Authority) {
        let error = TlsFileError::NotAuthority { path: file.value.clone() };
        tls_problem(&error, file.line, problems);
    }
    if !all.iter().any(|facts| facts.is_valid_at(now)) {
        in_force(file, &all[0], now, problems);
    }
}

fn in_force(file: &Located<PathBuf>, facts: &CertificateFacts, now: SystemTime, problems: &mut Problems) {
    let shown = file.value.display();
    if facts.not_before > now {
        let what = format!("the certificate in {shown} is not valid yet");
        problems.at(file.line, what, "check the clock of this machine");
    } else if let Ok(since) = now.duration_since(facts.not_after) {
        let what = format!("the certificate in {shown} ended {} days ago", since.as_secs() / DAY_SECONDS);
        problems.at(file.line, what, "make a new one, for example with `motte cert server NAME --force`");
    }
}

fn certificates(file: &Located<PathBuf>, problems: &mut Problems) -> Option<Vec<CertificateFacts>> {
    let text = String::from_utf8_lossy(&read(file, problems)?).into_owned();
    match CertificateFacts::from_pem(&text) {
        Ok(all) => Some(all),
        Err(error) => {
            let what = format!("{} cannot be used: {error}", file.value.display());
            problems.at(file.line, what, "name a whole file with `-----BEGIN CERTIFICATE-----` in it");
            None
        }
    }
}

/// The password of protected keys.
fn key_password(draft: &Draft, problems: &mut Problems) -> Option<KeyPassword> {
    let reference = draft.key_password.as_ref()?;
    let found = settings::resolved(&reference.value);
    found.map_err(|error| problems.at(reference.line, format!("key_password: {error}"), error.hint())).ok()
}

fn renewal_authority(renewal: &RenewalDraft, password: Option<&KeyPassword>, now: SystemTime, problems: &mut Problems) {
    let line = renewal.ca_key.line;
    let certificate = certificates(&renewal.ca_certificate, problems).is_some();
    if let Err(error) = motte_pki::read_key(&renewal.ca_key.value, password) {
        return tls_problem(&error, line, problems);
    }
    let load = || Authority::load(&renewal.ca_certificate.value, &renewal.ca_key.value, password);
    if let (true, Err(trouble)) = (certificate, load().map(|_| ())) {
        problems.at(line, trouble.what, trouble.hint);
    }
    authority_certificate(&renewal.ca_certificate, now, problems);
}

fn passwords(file: &Located<PathBuf>, problems: &mut Problems) {
    let Some(text) = private_text(file, problems) else { return };
    match PasswordFile::parse(&text) {
        Ok(parsed) if parsed.is_empty() => {
            in_file(
                &file.value,
                "the file holds no user, so nobody could log in by password",
                EMPTY_PASSWORDS,
                problems,
            );
        }
        Ok(_) => {}
        Err(errors) => {
            let hint = "write it with `motte passwd`";
            errors.iter().for_each(|error| problems.push(password_error(&file.value, error, hint)));
        }
    }
}

const EMPTY_PASSWORDS: &str = "add one with `motte passwd add USER`, or remove password_file from [identity]";

fn password_error(path: &Path, error: &motte_policy::PasswordError, hint: &str) -> ConfigError {
    let (line, what) = match error {
        motte_policy::PasswordError::Line { line, what } => (*line, what.clone()),
        other => (0, other.to_string()),
    };
    ConfigError { file: path.to_path_buf(), line, what, hint: hint.to_owned() }
}

fn rules(file: &Located<PathBuf>, problems: &mut Problems) {
    let Some(text) = private_text(file, problems) else { return };
    if text.lines().all(|line| line.trim().is_empty() || line.starts_with('#')) {
        let hint = "write at least one, such as `pattern readwrite data/%u/#`";
        return in_file(
            &file.value,
            "the file holds no rule, so everything would be denied to everybody",
            hint,
            problems,
        );
    }
    if let Err(errors) = Policy::parse(&text) {
        in_rules(file, errors, problems);
    }
}

/// Motte's own policy file.
fn policy(file: &Located<PathBuf>, problems: &mut Problems) {
    let Some(text) = private_text(file, problems) else { return };
    match PolicyFile::parse(&text) {
        Err(errors) => in_rules(file, errors, problems),
        Ok(policy) if policy.rules().lists().all(|list| list.rules().is_empty()) => {
            let hint = "write at least one [[role]] with a [[role.rule]]";
            let what = "the file holds no rule that is given to anybody, so everything would be denied to everybody";
            in_file(&file.value, what, hint, problems);
        }
        Ok(_) => {}
    }
}

fn in_rules(file: &Located<PathBuf>, errors: Vec<AclError>, problems: &mut Problems) {
    for AclError { line, what, hint } in errors {
        problems.push(ConfigError { file: file.value.clone(), line, what, hint });
    }
}

/// A file that is not there is made at the start.
fn dynamic_security(file: &Located<PathBuf>, problems: &mut Problems) {
    if !file.value.exists() {
        return;
    }
    let Some(text) = private_text(file, problems) else { return };
    for error in dynamic::parse(&file.value, &text).err().unwrap_or_default() {
        problems.push(error);
    }
}

/// The text of a file that decides who may come in, which others must not be able to change or read.
fn private_text(file: &Located<PathBuf>, problems: &mut Problems) -> Option<String> {
    let bytes = read(file, problems)?;
    let mode = fs::metadata(&file.value).map_or(0, |found| found.permissions().mode());
    if mode & OPEN_TO_OTHERS != 0 {
        let what = format!("other users can read or change the file (mode {:o})", mode & 0o777);
        in_file(&file.value, &what, &format!("run `chmod 600 {}`", file.value.display()), problems);
    }
    let text = super::text_of(&bytes).map_err(|(line, what, hint)| {
        problems.push(ConfigError { file: file.value.clone(), line, what: what.to_owned(), hint: hint.to_owned() });
    });
    text.ok().map(str::to_owned)
}

fn read(file: &Located<PathBuf>, problems: &mut Problems) -> Option<Vec<u8>> {
    let shown = file.value.display();
    match fs::metadata(&file.value) {
        // A pipe would make the broker wait for a writer.
        Ok(found) if !found.is_file() => {
            problems.at(file.line, format!("{shown} is not a file"), "name a file");
            return None;
        }
        Ok(found) if found.len() > FILE_BYTES_MAX => {
            problems.at(file.line, format!("{shown} is larger than 256 MiB"), "check the path");
            return None;
        }
        _ => {}
    }
    match fs::read(&file.value) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            tls_problem(&unreadable(&file.value, &error), file.line, problems);
            None
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> TlsFileError {
    let path = path.to_path_buf();
    match error.kind() {
        std::io::ErrorKind::NotFound => TlsFileError::NotFound { path },
        _ => TlsFileError::Unreadable { path, reason: error.to_string() },
    }
}

/// An error of a file, told at the line that names the file.
pub(super) fn tls_problem(error: &TlsFileError, line: usize, problems: &mut Problems) {
    let hint = match error {
        TlsFileError::NotFound { .. } => {
            String::from("check the path; relative paths start at the folder of the configuration file")
        }
        other => other.hint(),
    };
    problems.at(line, error.to_string(), hint);
}

fn in_file(path: &Path, what: &str, hint: &str, problems: &mut Problems) {
    problems.push(ConfigError { file: path.to_path_buf(), line: 0, what: what.to_owned(), hint: hint.to_owned() });
}

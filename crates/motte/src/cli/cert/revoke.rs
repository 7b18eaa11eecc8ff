//! `motte cert revoke` and `motte cert crl`: what counts no longer.
//!
//! Called by `cert`. What is revoked stays revoked.

use std::path::Path;
use std::time::SystemTime;

use motte_pki::{CertificateFacts, Chain, Reason, crl_facts};

use super::Failure;
use super::folder::Folder;
use super::secrets::told;
use crate::ui::{USAGE, note, warning};

/// Days that a list made along with a revocation lasts, unless the one before says otherwise.
const LIST_DAYS: u16 = 30;

/// Revokes a certificate, and makes the lists anew unless that is not wanted.
pub(super) fn revoke(
    folder: &Folder<'_>,
    what: &str,
    reason: Reason,
    (no_crl, unknown): (bool, bool),
    now: SystemTime,
) -> Result<(), Failure> {
    let (stem, subject, was_not) = match certificate(folder, what)? {
        Some(chain) => {
            let facts = chain.facts();
            let stem = folder.issuer_of(&chain)?.ok_or_else(|| {
                let what = format!("{} was not issued by a CA of {}", facts.subject, folder.dir.display());
                Failure::new(what, "name the directory of its CA with --dir")
            })?;
            (stem, facts.subject.clone(), note_down(folder, stem, &facts, reason, now)?)
        }
        None => by_serial(folder, what, reason, unknown, now)?,
    };
    if was_not {
        note(format_args!("revoked {subject} ({reason})"));
    } else {
        note(format_args!("{subject} had been revoked before"));
    }
    if no_crl {
        warning("nobody knows of it before `motte cert crl` has made the list");
        return Ok(());
    }
    if !folder.path(stem, "key").exists() {
        warning("the key of the CA is not here: run `motte cert crl` where it is, with this index");
        return Ok(());
    }
    lists(folder, days_of_list(folder), false, now)
}

/// Makes the lists.
pub(super) fn lists(folder: &Folder<'_>, days: u16, der: bool, now: SystemTime) -> Result<(), Failure> {
    folder.authority()?;
    folder.write_lists(days, der, now)?;
    let path = folder.list_path();
    note(format_args!("wrote {}; the next is due in {days} days", path.display()));
    note("a running broker that names it in [tls] crl reads it on SIGHUP");
    Ok(())
}

/// The certificate of a file or of a name in the directory; `None` when it looks like a serial number.
fn certificate(folder: &Folder<'_>, what: &str) -> Result<Option<Chain>, Failure> {
    let named = folder.path(what, "pem");
    let path = if named.exists() { named } else { Path::new(what).to_path_buf() };
    if path.exists() {
        return Chain::read(&path).map(Some).map_err(|error| told(error.trouble()));
    }
    let digits = what.strip_prefix("0x").unwrap_or(what);
    let is_serial = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit() || c == ':');
    if is_serial {
        return Ok(None);
    }
    let hint = "name a PEM file, a certificate of the directory, or a serial number in hex (`motte cert list --json`)";
    Err(Failure::new(format!("there is no certificate {:?}", motte_pki::printable(what)), hint).with_code(USAGE))
}

fn note_down(
    folder: &Folder<'_>,
    stem: &str,
    facts: &CertificateFacts,
    reason: Reason,
    now: SystemTime,
) -> Result<bool, Failure> {
    folder.update(stem, |index| {
        index.record(facts);
        Ok(index.revoke(&facts.serial_hex, now, reason))
    })
}

/// Revokes by the number alone, which has to be in an index unless it is said to be unknown.
fn by_serial(
    folder: &Folder<'_>,
    serial: &str,
    reason: Reason,
    unknown: bool,
    now: SystemTime,
) -> Result<(&'static str, String, bool), Failure> {
    let serial = serial.strip_prefix("0x").unwrap_or(serial);
    for stem in folder.stems() {
        let found = folder.index(stem)?.find(serial).map(|entry| entry.subject.clone());
        if let Some(subject) = found {
            return Ok((stem, subject, folder.update(stem, |index| Ok(index.revoke(serial, now, reason)))?));
        }
    }
    let Some(stem) = folder.stems().first().copied().filter(|_| unknown) else {
        let hint = "name its file instead; --unknown revokes a number that is not in the index";
        return Err(Failure::new(format!("no CA of {} has issued {serial}", folder.dir.display()), hint));
    };
    let authority = folder.certificate_of(stem)?.facts();
    let subject = String::from("unknown");
    let facts = CertificateFacts { serial_hex: serial.replace(':', ""), subject: subject.clone(), ..authority };
    Ok((stem, subject, note_down(folder, stem, &facts, reason, now)?))
}

/// How long the list that is there lasts, for the next one.
pub(super) fn days_of_list(folder: &Folder<'_>) -> u16 {
    const DAY_SECONDS: u64 = 24 * 60 * 60;
    let lists = crl_facts(&folder.list_path()).unwrap_or_default();
    let life = lists.first().and_then(|list| list.next_update.duration_since(list.this_update).ok());
    let days = life.and_then(|life| u16::try_from(life.as_secs() / DAY_SECONDS).ok());
    days.filter(|days| (1..=motte_pki::CRL_DAYS_MAX).contains(days)).unwrap_or(LIST_DAYS)
}

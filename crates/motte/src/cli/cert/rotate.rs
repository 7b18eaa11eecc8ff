//! `motte cert rotate-ca`: a new CA takes the place of the old one while both are trusted.
//!
//! Called by `cert`. At every point where it may be cut short there is a CA that issues and whose certificates count.

use std::fs;
use std::time::SystemTime;

use motte_pki::{Authority, Index, write_private, write_public};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use super::folder::{CA, Folder, OLD};
use super::issue::failed;
use super::{Failure, cannot_write};
use crate::ui::note;

/// Makes the new CA, and the certificates by which both vouch for each other.
pub(super) fn begin(folder: &Folder<'_>, encrypt: bool, now: SystemTime) -> Result<(), Failure> {
    let old = folder.authority()?;
    if folder.path(OLD, "pem").exists() && !was_cut_short(folder) {
        let hint = "finish that rotation first: `motte cert rotate-ca --finish`";
        return Err(Failure::new(
            format!("{} exists: a rotation is under way", folder.path(OLD, "pem").display()),
            hint,
        ));
    }
    let new = old.successor(now).map_err(|error| failed(&error))?;
    let by_old = old.vouch_for(&new, now).map_err(|error| failed(&error))?;
    let by_new = new.vouch_for(&old, now).map_err(|error| failed(&error))?;
    let key = folder.secrets.sealed(&new.key_pem(), encrypt)?;
    let io = |error| cannot_write(folder.dir, &error);
    let old_key = Zeroizing::new(fs::read(folder.path(CA, "key")).map_err(io)?);
    // The book of the old CA: what it holds by now, and what a rotation that was cut short had put aside.
    let book = folder.index(CA)?;
    folder.update(OLD, |index| {
        index.merge(&book);
        Ok(())
    })?;
    write_private(&folder.path(OLD, "key"), &old_key).map_err(io)?;
    write_public(&folder.path(OLD, "pem"), old.certificate_pem().as_bytes()).map_err(io)?;
    write_public(&Authority::voucher_path(&folder.path(OLD, "pem")), by_new.as_bytes()).map_err(io)?;
    // From here on both are trusted; the old one issues until its key is replaced.
    let both = format!("{}{}", new.certificate_pem(), old.certificate_pem());
    write_public(&folder.path(CA, "pem"), both.as_bytes()).map_err(io)?;
    write_public(&Authority::voucher_path(&folder.path(CA, "pem")), by_old.as_bytes()).map_err(io)?;
    remove(folder, &[Index::path_beside(&folder.path(CA, "pem"))])?;
    write_private(&folder.path(CA, "key"), key.as_bytes()).map_err(io)?;
    if folder.list_path().exists() {
        folder.write_lists(super::revoke::days_of_list(folder), false, now)?;
    }
    note(format_args!("wrote a new CA; {} holds both, the new one first", folder.path(CA, "pem").display()));
    note("1. reload the broker, so that it trusts clients of both; then `motte cert renew server` and reload again:");
    note("   clients that know only the old CA accept the new certificate, because the old CA vouches for the new one");
    note("2. give the new ca.pem to clients, and renew their certificates as they come due (`motte cert renew NAME`)");
    note(
        "3. `motte cert list` says when the last certificate of the old CA ends; then `motte cert rotate-ca --finish`",
    );
    Ok(())
}

/// Removes the old CA, once nothing depends on it.
pub(super) fn finish(folder: &Folder<'_>, now: SystemTime) -> Result<(), Failure> {
    if !folder.path(OLD, "pem").exists() {
        let hint = "begin one with `motte cert rotate-ca`";
        return Err(Failure::new("no rotation is under way", hint));
    }
    if let Some((subject, ends)) = last_of_old(folder, now)? {
        let what = format!("the old CA is still needed: {subject} ends only at {}", moment(ends));
        let hint = "renew it (`motte cert renew NAME`) and wait for its end, or revoke it if it is not used any longer";
        return Err(Failure::new(what, hint));
    }
    let new = folder.authority()?;
    let io = |error| cannot_write(folder.dir, &error);
    let voucher = Authority::voucher_path(&folder.path(CA, "pem"));
    write_public(&folder.path(CA, "pem"), new.certificate_pem().as_bytes()).map_err(io)?;
    let old = folder.path(OLD, "pem");
    remove(folder, &[voucher, Authority::voucher_path(&old), folder.path(OLD, "key"), old])?;
    // The lock of an index is an empty file; without the index it is of no use.
    let index = Index::path_beside(&folder.path(OLD, "pem"));
    remove(folder, &[index.with_extension("index.lock"), index])?;
    if folder.list_path().exists() {
        folder.write_lists(super::revoke::days_of_list(folder), false, now)?;
    }
    note(format_args!("the old CA is removed; {} holds the new one alone", folder.path(CA, "pem").display()));
    note("reload the broker, and give clients this file when they are serviced next");
    Ok(())
}

/// Of which certificate the old CA is needed longest, and until when.
pub(super) fn last_of_old(folder: &Folder<'_>, now: SystemTime) -> Result<Option<(String, SystemTime)>, Failure> {
    let mut index = folder.index(OLD)?;
    let old = folder.certificate_of(OLD)?;
    // What lies in the directory counts even if the index does not know it.
    for (_, chain) in folder.leaves().iter().filter(|(_, chain)| chain.is_signed_by(&old)) {
        index.record(&chain.facts());
    }
    Ok(index.last_to_end(now).map(|entry| (entry.subject.clone(), entry.not_after)))
}

/// Whether the old CA still issues: then its key was not replaced yet.
fn was_cut_short(folder: &Folder<'_>) -> bool {
    let keys = [CA, OLD].map(|stem| fs::read(folder.path(stem, "key")).map(Zeroizing::new));
    matches!(keys, [Ok(present), Ok(old)] if *present == *old)
}

fn remove(folder: &Folder<'_>, paths: &[std::path::PathBuf]) -> Result<(), Failure> {
    for path in paths {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(cannot_write(folder.dir, &error)),
            _ => {}
        }
    }
    Ok(())
}

fn moment(time: SystemTime) -> String {
    OffsetDateTime::from(time).format(&Rfc3339).unwrap_or_else(|_| String::from("?"))
}

//! `motte cert renew`: the same names for another while.
//!
//! Called by `cert`. The old pair stays beside the new one, and is valid until it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use motte_pki::{Authority, Chain, Profile, write_private, write_public};
use zeroize::Zeroizing;

use super::folder::{CA, Folder};
use super::issue::failed;
use super::secrets::told;
use super::{Failure, cannot_write};
use crate::ui::note;

/// Makes certificates anew by the CA that issues at present.
pub(super) fn renew(
    folder: &Folder<'_>,
    names: &[String],
    days: Option<u16>,
    (keep_key, encrypt): (bool, bool),
    now: SystemTime,
) -> Result<(), Failure> {
    let mut found = Vec::new();
    for name in names {
        let stem = name.strip_suffix(".pem").unwrap_or(name);
        let chain = Chain::read(&folder.path(stem, "pem")).map_err(|error| told(error.trouble()))?;
        if folder.issuer_of(&chain)?.is_none() {
            let what =
                format!("{} was not issued by the CA of {}", folder.path(stem, "pem").display(), folder.dir.display());
            return Err(Failure::new(what, "ask its CA for a new one; `motte cert csr` makes the request"));
        }
        let profile = Profile::of_certificate(chain.leaf()).map_err(|error| failed(&error))?;
        let profile = match days {
            Some(days) => profile.lasting(days).map_err(|error| failed(&error).with_code(crate::ui::USAGE))?,
            None => profile,
        };
        found.push((stem, chain, profile));
    }
    let authority = folder.authority()?;
    for (stem, chain, profile) in found {
        one(folder, &authority, (stem, &chain, &profile), (keep_key, encrypt), now)?;
    }
    note("a running broker takes its new certificate on SIGHUP; clients have to be given theirs");
    Ok(())
}

fn one(
    folder: &Folder<'_>,
    authority: &Authority,
    (stem, chain, profile): (&str, &Chain, &Profile),
    (keep_key, encrypt): (bool, bool),
    now: SystemTime,
) -> Result<(), Failure> {
    if keep_key {
        let pem = authority.issue_for_key_of(profile, chain.leaf(), now).map_err(|error| failed(&error))?;
        folder.record(CA, &pem)?;
        keep(&folder.path(stem, "pem"), false).map_err(|error| cannot_write(folder.dir, &error))?;
        write_public(&folder.path(stem, "pem"), pem.as_bytes()).map_err(|error| cannot_write(folder.dir, &error))?;
    } else {
        let issued = authority.issue_as(profile, now).map_err(|error| failed(&error))?;
        let key = folder.secrets.sealed(&issued.key_pem, encrypt)?;
        folder.record(CA, &issued.chain_pem)?;
        replace(folder, stem, &issued.chain_pem, &key)?;
    }
    note(format_args!("renewed {}", folder.path(stem, "pem").display()));
    Ok(())
}

/// Puts a new pair in place of the present one, which is kept. Both are written before either is put in place.
pub(super) fn replace(folder: &Folder<'_>, stem: &str, chain: &str, key: &str) -> Result<(), Failure> {
    let (key_path, chain_path) = (folder.path(stem, "key"), folder.path(stem, "pem"));
    let next = |path: &Path| PathBuf::from(format!("{}.next", path.display()));
    let write = || {
        keep(&key_path, true)?;
        keep(&chain_path, false)?;
        write_private(&next(&key_path), key.as_bytes())?;
        write_public(&next(&chain_path), chain.as_bytes())?;
        fs::rename(next(&key_path), &key_path)?;
        fs::rename(next(&chain_path), &chain_path)
    };
    write().map_err(|error| cannot_write(folder.dir, &error))
}

/// Keeps a copy of a file as `FILE.old`.
fn keep(path: &Path, secret: bool) -> std::io::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let bytes = Zeroizing::new(fs::read(path)?);
    let old = PathBuf::from(format!("{}.old", path.display()));
    if secret { write_private(&old, &bytes) } else { write_public(&old, &bytes) }
}

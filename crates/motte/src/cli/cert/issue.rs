//! `motte cert ca`, `intermediate`, `server` and `client`: what the CA of the directory makes.
//!
//! Called by `cert`. Notes each certificate in the index before it writes it.

use std::time::SystemTime;

use motte_pki::{Authority, AuthorityRequest, HostName, IssueError, create_private_dir, write_private, write_public};

use super::folder::{CA, Folder};
use super::{
    Failure, cannot_write, check_client_name, client_request, may_replace, may_write, server_request, write_pair,
    written,
};
use crate::ui::{note, warning};

pub(super) fn failed(error: &IssueError) -> Failure {
    Failure::new(error.to_string(), error.hint())
}

/// Makes a CA, or with `csr` only its key and its request.
pub(super) fn authority(
    folder: &Folder<'_>,
    name: &str,
    (intermediates, csr): (bool, bool),
    (force, encrypt): (bool, bool),
    now: SystemTime,
) -> Result<(), Failure> {
    let dir = folder.dir;
    may_write(dir, CA, force)?;
    create_private_dir(dir).map_err(|error| cannot_write(dir, &error))?;
    if csr {
        let (request, key) = AuthorityRequest::make(name).map_err(|error| failed(&error))?;
        return write_request(folder, CA, (&request, &key), encrypt);
    }
    let authority = Authority::create_root(name, u8::from(intermediates), now).map_err(|error| failed(&error))?;
    let key = folder.secrets.sealed(&authority.key_pem(), encrypt)?;
    // The index of a CA that is overwritten is about certificates that are worth nothing.
    let index = motte_pki::Index::path_beside(&folder.path(CA, "pem"));
    if index.exists() {
        std::fs::remove_file(&index).map_err(|error| cannot_write(dir, &error))?;
    }
    write_pair(dir, CA, authority.certificate_pem(), &key)?;
    written(dir, CA);
    warning("whoever has ca.key can make certificates: keep it safe, and away from devices");
    Ok(())
}

/// Writes a key and the request for its certificate.
pub(super) fn write_request(
    folder: &Folder<'_>,
    stem: &str,
    (request, key): (&str, &str),
    encrypt: bool,
) -> Result<(), Failure> {
    let key = folder.secrets.sealed(key, encrypt)?;
    let failed = |error| cannot_write(folder.dir, &error);
    let (key_path, request_path) = (folder.path(stem, "key"), folder.path(stem, "csr"));
    write_private(&key_path, key.as_bytes()).map_err(failed)?;
    write_public(&request_path, request.as_bytes()).map_err(failed)?;
    note(format_args!("wrote {} and {}", request_path.display(), key_path.display()));
    note("give the request to the CA, and its answer to `motte cert import`; the key stays here");
    Ok(())
}

/// Makes a CA below that of the directory, in a directory of its own below.
pub(super) fn intermediate(
    folder: &Folder<'_>,
    (name, common_name): (&str, Option<&str>),
    days: u16,
    (force, encrypt): (bool, bool),
    now: SystemTime,
) -> Result<(), Failure> {
    check_client_name(name)?;
    let dir = folder.dir.join(name);
    may_write(&dir, CA, force)?;
    let common_name = common_name.unwrap_or(name);
    let authority = folder.authority()?;
    let below = authority.create_intermediate(common_name, days, now).map_err(|error| failed(&error))?;
    let key = folder.secrets.sealed(&below.key_pem(), encrypt)?;
    folder.record(CA, below.certificate_pem())?;
    create_private_dir(&dir).map_err(|error| cannot_write(&dir, &error))?;
    write_pair(&dir, CA, &below.chain_pem(), &key)?;
    written(&dir, CA);
    note(format_args!("issue with it: `motte cert --dir {} client NAME`; trust stays with the root", dir.display()));
    Ok(())
}

/// Makes the certificate of the server.
pub(super) fn server(
    folder: &Folder<'_>,
    names: Vec<HostName>,
    days: u16,
    (force, encrypt): (bool, bool),
    now: SystemTime,
) -> Result<(), Failure> {
    may_write(folder.dir, "server", force)?;
    leaf(folder, &folder.authority()?, ("server", encrypt), &server_request(names, days), now)
}

/// Makes certificates of clients.
pub(super) fn clients(
    folder: &Folder<'_>,
    names: &[String],
    days: u16,
    (force, encrypt): (bool, bool),
    now: SystemTime,
) -> Result<(), Failure> {
    for name in names {
        check_client_name(name)?;
        may_write(folder.dir, name, force)?;
    }
    let authority = folder.authority()?;
    for name in names {
        leaf(folder, &authority, (name, encrypt), &client_request(name, days), now)?;
    }
    Ok(())
}

fn leaf(
    folder: &Folder<'_>,
    authority: &Authority,
    (stem, encrypt): (&str, bool),
    request: &motte_pki::LeafRequest,
    now: SystemTime,
) -> Result<(), Failure> {
    let issued = authority.issue(request, now).map_err(|error| failed(&error))?;
    let key = folder.secrets.sealed(&issued.key_pem, encrypt)?;
    folder.record(CA, &issued.chain_pem)?;
    write_pair(folder.dir, stem, &issued.chain_pem, &key)?;
    written(folder.dir, stem);
    Ok(())
}

/// Whether a key may be written there.
pub(super) fn may_request(folder: &Folder<'_>, stem: &str, force: bool) -> Result<(), Failure> {
    may_replace(&folder.path(stem, "key"), force)?;
    may_replace(&folder.path(stem, "csr"), force)
}

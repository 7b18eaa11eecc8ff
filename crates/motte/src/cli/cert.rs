//! `motte cert`: the private CA, and certificates for servers and clients through all of their life.
//!
//! Called by `cli::run`. Keys are written with mode 0600 and never shown; nothing is overwritten unless asked.

mod args;
mod folder;
mod issue;
mod outside;
mod renew;
mod revoke;
mod rotate;
pub(crate) mod secrets;
mod show;

use std::path::Path;
use std::time::SystemTime;

use motte_pki::{Authority, Chain, HostName, Index, IndexError, LeafRequest, Role, write_private, write_public};

use args::Action;
pub(crate) use args::Args;
use folder::Folder;
use secrets::Secrets;

use crate::ui::{Failure, SUCCESS, USAGE, Ui, note};

/// Runs `motte cert`.
pub(crate) fn run(args: &Args, ui: &mut Ui) -> Result<u8, Failure> {
    let now = SystemTime::now();
    let secrets = Secrets::new(args.key_password_file.clone(), args.new_password_file.clone());
    let folder = Folder::new(&args.dir, &secrets);
    match &args.action {
        Action::Ca { name, intermediates, csr, force, encrypt } => {
            issue::authority(&folder, name, (*intermediates, *csr), (*force, *encrypt), now)?;
        }
        Action::Intermediate { name, cn, days, force, encrypt } => {
            issue::intermediate(&folder, (name, cn.as_deref()), *days, (*force, *encrypt), now)?;
        }
        Action::Server { names, days, force, encrypt } => {
            issue::server(&folder, names.clone(), *days, (*force, *encrypt), now)?;
        }
        Action::Client { names, days, force, encrypt } => {
            issue::clients(&folder, names, *days, (*force, *encrypt), now)?;
        }
        Action::Csr { names, role, force, encrypt } => outside::request(&folder, names, *role, (*force, *encrypt))?,
        Action::Sign(sign) => outside::sign(&folder, sign, now)?,
        Action::Import { files, name, force, encrypt } => {
            outside::import(&folder, files, name.as_deref(), (*force, *encrypt), now)?;
        }
        Action::P12 { name, out, force } => outside::pack(&folder, name, out.as_deref(), *force)?,
        Action::Renew { names, days, keep_key, encrypt } => {
            renew::renew(&folder, names, *days, (*keep_key, *encrypt), now)?;
        }
        Action::Revoke { what, reason, no_crl, unknown } => {
            revoke::revoke(&folder, what, *reason, (*no_crl, *unknown), now)?;
        }
        Action::Crl { days, der } => revoke::lists(&folder, *days, *der, now)?,
        Action::RotateCa { finish, encrypt } => match finish {
            true => rotate::finish(&folder, now)?,
            false => rotate::begin(&folder, *encrypt, now)?,
        },
        Action::List { json } => return show::list(&folder, *json, now, ui),
        Action::Show { file, json } => return show::show(file, *json, now, ui),
    }
    Ok(SUCCESS)
}

/// Makes a CA and writes `ca.pem` and `ca.key`.
pub(crate) fn create_authority(dir: &Path, name: &str, now: SystemTime) -> Result<Authority, Failure> {
    let authority = Authority::create(name, now).map_err(|error| Failure::new(error.to_string(), error.hint()))?;
    write_pair(dir, "ca", authority.certificate_pem(), &authority.key_pem())?;
    Ok(authority)
}

/// The CA of these two files.
pub(crate) fn read_authority(certificate: &Path, key: &Path) -> Result<Authority, Failure> {
    Secrets::new(None, None).authority(certificate, key)
}

/// What a server certificate is asked with; the first name is its common name.
pub(crate) fn server_request(names: Vec<HostName>, days: u16) -> LeafRequest {
    let common_name = names.first().map(ToString::to_string).unwrap_or_default();
    // A common name has at most 64 characters; clients look at the other names only.
    let common_name = if common_name.len() > 64 { String::from("server") } else { common_name };
    LeafRequest { role: Role::Server, common_name, names, days }
}

/// What a client certificate is asked with.
pub(crate) fn client_request(name: &str, days: u16) -> LeafRequest {
    LeafRequest { role: Role::Client, common_name: name.to_owned(), names: Vec::new(), days }
}

/// Issues a certificate with the CA of the directory, notes it in its index, and writes it with its key.
pub(crate) fn issue(
    authority: &Authority,
    dir: &Path,
    stem: &str,
    request: &LeafRequest,
    now: SystemTime,
) -> Result<(), Failure> {
    let issued = authority.issue(request, now).map_err(|error| Failure::new(error.to_string(), error.hint()))?;
    let secrets = Secrets::new(None, None);
    Folder::new(dir, &secrets).record(folder::CA, &issued.chain_pem)?;
    write_pair(dir, stem, &issued.chain_pem, &issued.key_pem)
}

/// Notes a certificate in the index of the CA of this file.
pub(crate) fn record(authority: &Path, chain_pem: &str) -> Result<(), Failure> {
    let Some(chain) = Chain::parse(chain_pem) else { return Ok(()) };
    let noted = Index::update(&Index::path_beside(authority), |index| {
        index.record(&chain.facts());
        Ok::<_, IndexError>(())
    });
    noted.map_err(|error| Failure::new(error.to_string(), error.hint()))
}

/// Writes key and certificate, the key first: a certificate without its key would be of no use.
fn write_pair(dir: &Path, stem: &str, certificate: &str, key: &str) -> Result<(), Failure> {
    let failed = |error| cannot_write(dir, &error);
    write_private(&dir.join(format!("{stem}.key")), key.as_bytes()).map_err(failed)?;
    write_public(&dir.join(format!("{stem}.pem")), certificate.as_bytes()).map_err(failed)
}

/// A name that can be a file and a user: `+`, `#` and `/` would widen access rules with `%u`.
fn check_client_name(name: &str) -> Result<(), Failure> {
    let plain = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | ' ' | ':'));
    let reserved = matches!(name, "ca" | "ca-old" | "ca.cross" | "ca-old.cross" | "crl" | "server");
    if name.is_empty() || !plain || name.starts_with(['.', '-', ' ']) || reserved {
        let hint = "use letters, digits and - _ . @ : inside; not `ca`, `crl` and `server`";
        let what = format!("{:?} cannot be the name of a client", motte_pki::printable(name));
        return Err(Failure::new(what, hint).with_code(USAGE));
    }
    Ok(())
}

fn may_write(dir: &Path, stem: &str, force: bool) -> Result<(), Failure> {
    for path in [dir.join(format!("{stem}.pem")), dir.join(format!("{stem}.key"))] {
        may_replace(&path, force)?;
    }
    Ok(())
}

fn may_replace(path: &Path, force: bool) -> Result<(), Failure> {
    match path.exists() && !force {
        true => Err(Failure::new(format!("{} exists", path.display()), "use --force to overwrite it")),
        false => Ok(()),
    }
}

fn written(dir: &Path, stem: &str) {
    let path = dir.join(stem);
    note(format_args!("wrote {0}.pem and {0}.key", path.display()));
}

fn cannot_write(dir: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot write to {}: {error}", dir.display()), "check that the directory is there and yours")
}

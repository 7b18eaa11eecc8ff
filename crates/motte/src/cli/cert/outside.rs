//! `motte cert csr`, `sign`, `import` and `p12`: certificates that cross the border of the directory.
//!
//! Called by `cert`. Takes nothing over that was not checked.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use motte_pki::import::read_any;
use motte_pki::{
    Authority, AuthorityRequest, CertificateFacts, CertificateRole, HostName, INTERMEDIATE_DAYS, Material, Profile,
    Request, Role, create_private_dir, pkcs12, printable, read_key, write_private, write_public,
};

use super::args::{Kind, Sign};
use super::folder::{CA, Folder};
use super::issue::{failed, may_request, write_request};
use super::secrets::told;
use super::{Failure, cannot_write, check_client_name, client_request, may_replace, renew, server_request};
use crate::ui::{USAGE, note, warning};

/// Makes keys and requests.
pub(super) fn request(
    folder: &Folder<'_>,
    names: &[String],
    role: Kind,
    (force, encrypt): (bool, bool),
) -> Result<(), Failure> {
    let usage = |failure: Failure| failure.with_code(USAGE);
    let wanted = match role {
        Kind::Ca => {
            return Err(usage(Failure::new("a CA is not asked for here", "use `motte cert ca --csr`")));
        }
        Kind::Server => {
            let parse = |name: &String| {
                let bad =
                    |error: motte_pki::HostNameError| Failure::new(format!("{name:?}: {error}"), "give host names");
                name.parse::<HostName>().map_err(|error| usage(bad(error)))
            };
            let names = names.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
            vec![(String::from("server"), server_request(names, motte_pki::SERVER_DAYS_MAX))]
        }
        Kind::Client => {
            for name in names {
                check_client_name(name)?;
            }
            names.iter().map(|name| (name.clone(), client_request(name, motte_pki::CLIENT_DAYS_MAX))).collect()
        }
    };
    for (stem, _) in &wanted {
        may_request(folder, stem, force)?;
    }
    create_private_dir(folder.dir).map_err(|error| cannot_write(folder.dir, &error))?;
    for (stem, wanted) in wanted {
        let profile = Profile::new(&wanted).map_err(|error| failed(&error))?;
        let (request, key) = profile.request().map_err(|error| failed(&error))?;
        write_request(folder, &stem, (&request, &key), encrypt)?;
    }
    Ok(())
}

/// Signs a request.
pub(super) fn sign(folder: &Folder<'_>, sign: &Sign, now: SystemTime) -> Result<(), Failure> {
    let out = sign.out.clone().unwrap_or_else(|| sign.csr.with_extension("pem"));
    may_replace(&out, sign.force)?;
    let bytes = std::fs::read(&sign.csr).map_err(|error| {
        Failure::new(format!("cannot read {}: {error}", sign.csr.display()), "name the file of the request")
    })?;
    let authority = folder.authority()?;
    let chain = match sign.role {
        Kind::Ca => {
            let request = AuthorityRequest::parse(&bytes).map_err(|error| failed(&error))?;
            let days = sign.days.unwrap_or(INTERMEDIATE_DAYS);
            authority.certify_authority(&request, days, now).map_err(|error| failed(&error))?
        }
        Kind::Server => leaf(&authority, &bytes, (sign, Role::Server), now)?,
        Kind::Client => leaf(&authority, &bytes, (sign, Role::Client), now)?,
    };
    folder.record(CA, &chain)?;
    write_public(&out, chain.as_bytes()).map_err(|error| cannot_write(&out, &error))?;
    note(format_args!("wrote {}", out.display()));
    Ok(())
}

fn leaf(authority: &Authority, bytes: &[u8], (sign, role): (&Sign, Role), now: SystemTime) -> Result<String, Failure> {
    let mut request = Request::parse(bytes, role).map_err(|error| failed(&error))?;
    if let Some(days) = sign.days {
        request.profile = request.profile.lasting(days).map_err(|error| failed(&error).with_code(USAGE))?;
    }
    let common_name = request.profile.common_name().unwrap_or_default();
    let names = request.profile.names();
    if let Some(expected) = sign.cn.as_ref().filter(|expected| **expected != common_name) {
        let what = format!("the request is for {:?}, not for {expected:?}", printable(&common_name));
        return Err(Failure::new(what, "find out who made it before you sign it"));
    }
    if let Some(other) = names.iter().find(|name| !sign.names.is_empty() && !sign.names.contains(name)) {
        let what = format!("the request asks for the name {other:?}, which is not among --names");
        return Err(Failure::new(what, "find out who made it before you sign it"));
    }
    if role == Role::Client {
        check_client_name(&common_name).map_err(|failure| failure.with_code(crate::ui::FAILURE))?;
    }
    let chain = authority.sign(&request, now).map_err(|error| failed(&error))?;
    let names = if names.is_empty() { String::from("none") } else { names.join(", ") };
    note(format_args!("signed a {role} certificate for {}; alternative names: {names}", printable(&common_name)));
    if !request.left_out.is_empty() {
        warning(format_args!("the request also held what was not taken over: {}", request.left_out.join(", ")));
    }
    Ok(chain)
}

/// Takes a certificate in.
pub(super) fn import(
    folder: &Folder<'_>,
    files: &[PathBuf],
    name: Option<&str>,
    (force, encrypt): (bool, bool),
    now: SystemTime,
) -> Result<(), Failure> {
    let mut material = Material::default();
    for path in files {
        let bytes = read_any(path).map_err(|error| told(error.trouble()))?;
        let protected = pkcs12::is_pkcs12(&bytes) || motte_pki::is_protected(&bytes);
        let shown = path.display().to_string();
        let password = if protected { Some(folder.secrets.of(&shown)?) } else { None };
        let failed = |error: motte_pki::ImportError| Failure::new(format!("{shown}: {error}"), error.hint());
        material.add(&bytes, password.as_ref()).map_err(failed)?;
    }
    // The key may be one that was made here along with the request.
    let own = if material.has_key() { None } else { own_key(folder, &mut material)? };
    let trusted = std::fs::read_to_string(folder.path(CA, "pem")).unwrap_or_default();
    let failed = |error: motte_pki::ImportError| Failure::new(error.to_string(), error.hint());
    let assembled = material.assemble(&trusted, now).map_err(failed)?;
    let stem = match (name, &own) {
        (Some(name), _) => name.to_owned(),
        (None, Some(stem)) => stem.clone(),
        (None, None) => stem_of(&assembled.facts)?,
    };
    if assembled.facts.role != CertificateRole::Authority && stem != "server" {
        check_client_name(&stem)?;
    }
    create_private_dir(folder.dir).map_err(|error| cannot_write(folder.dir, &error))?;
    let (chain_path, key_path) = (folder.path(&stem, "pem"), folder.path(&stem, "key"));
    may_replace(&chain_path, force)?;
    if own.as_deref() == Some(&stem) && !encrypt {
        // The key stays as it is, with its password if it has one.
        write_public(&chain_path, assembled.chain_pem.as_bytes()).map_err(|error| cannot_write(folder.dir, &error))?;
    } else {
        may_replace(&key_path, force || own.is_some())?;
        let key = folder.secrets.sealed(&assembled.key_pem, encrypt)?;
        renew::replace(folder, &stem, &assembled.chain_pem, &key)?;
    }
    let CertificateFacts { subject, role, .. } = &assembled.facts;
    note(format_args!("wrote {}: {role} certificate of {subject}", chain_path.display()));
    Ok(())
}

/// Looks among the keys of the directory for the one that a certificate waits for.
fn own_key(folder: &Folder<'_>, material: &mut Material) -> Result<Option<String>, Failure> {
    let Ok(entries) = std::fs::read_dir(folder.dir) else { return Ok(None) };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "key"));
    paths.sort();
    for path in paths {
        let Ok(bytes) = motte_pki::read_private(&path) else { continue };
        // A request beside a protected key says that its certificate is awaited.
        let protected = motte_pki::is_protected(&bytes);
        let password = match protected {
            true if path.with_extension("csr").exists() => Some(folder.secrets.of(&path.display().to_string())?),
            true => folder.secrets.given()?,
            false => None,
        };
        if material.wants(&bytes, password.as_ref()) {
            let failed = |error: motte_pki::ImportError| Failure::new(error.to_string(), error.hint());
            material.add(&bytes, password.as_ref()).map_err(failed)?;
            return Ok(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

fn stem_of(facts: &CertificateFacts) -> Result<String, Failure> {
    match (facts.role, &facts.subject_common_name) {
        (CertificateRole::Authority, _) => Ok(String::from(CA)),
        (CertificateRole::Server | CertificateRole::Other, _) => Ok(String::from("server")),
        (CertificateRole::Client, Some(name)) => Ok(name.clone()),
        (CertificateRole::Client, None) => {
            Err(Failure::new("the certificate has no common name to keep it by", "choose a name with --name"))
        }
    }
}

/// Packs a certificate with its key for a device.
pub(super) fn pack(folder: &Folder<'_>, name: &str, out: Option<&Path>, force: bool) -> Result<(), Failure> {
    let out = out.map_or_else(|| folder.path(name, "p12"), Path::to_path_buf);
    may_replace(&out, force)?;
    let chain = motte_pki::Chain::read(&folder.path(name, "pem")).map_err(|error| told(error.trouble()))?;
    let key_path = folder.path(name, "key");
    let password = folder.secrets.of_key(&key_path)?;
    let key = read_key(&key_path, password.as_ref()).map_err(|error| told(error.trouble()))?;
    let packed = chain.pack(name, &key, &folder.secrets.fresh()?).map_err(|error| {
        Failure::new(
            format!("cannot pack {}: {error}", key_path.display()),
            "make the key anew with `motte cert renew`",
        )
    })?;
    write_private(&out, &packed).map_err(|error| cannot_write(&out, &error))?;
    note(format_args!("wrote {}", out.display()));
    Ok(())
}

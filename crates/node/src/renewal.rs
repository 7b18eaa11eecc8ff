//! Renewal of the node's own server certificate by the private CA beside it.
//!
//! Called by the control loop at the start and every hour, and by boot to finish what a crash cut short. The clock is
//! an argument; connections that stand are not touched.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use motte_pki::{
    Authority, CertificateFacts, Chain, HostName, Index, IndexError, IssueError, Issued, KeyError, KeyPassword,
    LeafRequest, Role, files,
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::reload::Reloader;
use crate::settings::{RenewalSettings, TlsSettings};

/// Appended to the name of a file that waits to take the place of another.
const NEXT: &str = ".next";

/// What became of a look at the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The configuration leaves renewal to somebody else.
    Off,
    /// It lasts long enough.
    NotDue {
        /// Whole days until it ends.
        days_left: i64,
    },
    /// There is a new certificate and key on disk.
    Renewed {
        /// Whole days until the new one ends.
        days_left: i64,
    },
}

/// Why a certificate could not be renewed.
#[derive(Debug, Error)]
pub enum RenewalError {
    /// A file cannot be read, or does not hold what it should.
    #[error("{}: {what}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The CA would not issue.
    #[error("{0}; {hint}", hint = .0.hint())]
    Issue(#[from] IssueError),
    /// The certificate holds a name that cannot be asked for again.
    #[error("the certificate holds the name {0:?}, which is neither a host name nor an address")]
    Name(String),
}

/// Renews when it is time and puts the new certificate in force; the log says what happened.
pub(crate) fn keep_certificate_fresh(reloader: &Reloader, now: SystemTime) {
    let snapshot = reloader.snapshot.load_full();
    match renew_if_due(&snapshot.settings.tls, now) {
        Ok(Renewal::Off | Renewal::NotDue { .. }) => {}
        Ok(Renewal::Renewed { days_left }) => match reloader.adopt_certificate() {
            Ok(()) => tracing::info!(days_left, "the server certificate was renewed"),
            Err(error) => {
                let file = error.file.display();
                tracing::error!(%file, what = error.what, "the renewed server certificate cannot be used");
            }
        },
        Err(error) => {
            tracing::error!(%error, "the server certificate could not be renewed; it is tried again in an hour");
        }
    }
}

/// Issues a new server certificate for the names of the present one, if that is in the last third of its life. Key and
/// certificate are written beside the present ones and then renamed, the key first; see `finish_interrupted`.
///
/// # Errors
/// A file cannot be read or written, or the CA would not issue. The present certificate stays.
pub fn renew_if_due(settings: &TlsSettings, now: SystemTime) -> Result<Renewal, RenewalError> {
    let Some(renewal) = &settings.renewal else { return Ok(Renewal::Off) };
    let present = leaf(&settings.certificate, &read(&settings.certificate)?)?;
    if !motte_pki::renewal_due(&present, now) {
        return Ok(Renewal::NotDue { days_left: present.days_left(now) });
    }
    let password = password(settings)?;
    let issued = authority(renewal, password.as_ref())?.issue(&request(&present, renewal.days)?, now)?;
    record(renewal, &issued.chain_pem);
    let days_left = leaf(&settings.certificate, &issued.chain_pem)?.days_left(now);
    replace_certificate(settings, &issued)?;
    Ok(Renewal::Renewed { days_left })
}

/// Puts a new certificate and its key in place of the present ones, so that a crash at any point leaves a pair that
/// fits, or one that the next start completes. The key is written first: as long as it waits, nothing was
/// replaced.
///
/// # Errors
/// A file cannot be written; what was in place may be so still.
pub fn replace_certificate(settings: &TlsSettings, issued: &Issued) -> Result<(), RenewalError> {
    let (key, certificate) = (next(&settings.key), next(&settings.certificate));
    let sealed = sealed(settings, &issued.key_pem)?;
    files::write_private(&key, sealed.as_bytes()).map_err(|error| io(&key, &error))?;
    files::write_public(&certificate, issued.chain_pem.as_bytes()).map_err(|error| io(&certificate, &error))?;
    rename(&settings.key)?;
    rename(&settings.certificate)
}

fn password(settings: &TlsSettings) -> Result<Option<KeyPassword>, RenewalError> {
    settings.password().map_err(|error| RenewalError::File { file: settings.key.clone(), what: error.to_string() })
}

/// The key as it is written: protected if keys are.
fn sealed(settings: &TlsSettings, plain: &str) -> Result<Zeroizing<String>, RenewalError> {
    let failed = |error: KeyError| RenewalError::File { file: settings.key.clone(), what: error.to_string() };
    match password(settings)? {
        Some(password) => {
            let key = motte_pki::parse_key(plain.as_bytes(), None).map_err(failed)?;
            motte_pki::key_pem(&key, Some(&password)).map_err(failed)
        }
        None => Ok(Zeroizing::new(plain.to_owned())),
    }
}

/// Finishes a renewal that a crash cut between its two renames: a waiting certificate without a waiting key says that
/// the new key is in place already.
pub(crate) fn finish_interrupted(settings: &TlsSettings) -> Result<(), RenewalError> {
    let replaces = settings.renewal.is_some() || settings.acme.is_some();
    if replaces && is_interrupted(&settings.certificate, &settings.key) {
        rename(&settings.certificate)?;
    }
    Ok(())
}

/// Whether the new key is in place and its certificate still waits.
pub(crate) fn is_interrupted(certificate: &Path, key: &Path) -> bool {
    next(certificate).exists() && !next(key).exists()
}

fn authority(renewal: &RenewalSettings, password: Option<&KeyPassword>) -> Result<Authority, RenewalError> {
    let broken = |what: String| RenewalError::File { file: renewal.ca_key.clone(), what };
    Authority::load(&renewal.ca_certificate, &renewal.ca_key, password).map_err(|trouble| broken(trouble.to_string()))
}

/// Notes a certificate in the book of the CA. A CA whose book is closed to the broker issues all the same: a broker
/// without a certificate would be worse.
fn record(renewal: &RenewalSettings, chain_pem: &str) {
    let path = Index::path_beside(&renewal.ca_certificate);
    let Some(chain) = Chain::parse(chain_pem) else { return };
    let noted = Index::update(&path, |index| {
        index.record(&chain.facts());
        Ok::<_, IndexError>(())
    });
    if let Err(error) = noted {
        tracing::warn!(%error, "the index of the CA does not know of the renewed certificate");
    }
}

/// What to ask of the CA: the names of the present certificate, in their order.
fn request(present: &CertificateFacts, days: u16) -> Result<LeafRequest, RenewalError> {
    let parse = |name: &String| name.parse::<HostName>().map_err(|_| RenewalError::Name(name.clone()));
    let names = present.names.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let first = present.names.first().cloned();
    let common_name = present.subject_common_name.clone().or(first).unwrap_or_default();
    Ok(LeafRequest { role: Role::Server, common_name, names, days })
}

fn leaf(file: &Path, pem: &str) -> Result<CertificateFacts, RenewalError> {
    let broken = |what: String| RenewalError::File { file: file.to_path_buf(), what };
    let facts = CertificateFacts::from_pem(pem).map_err(|error| broken(error.to_string()))?;
    facts.into_iter().next().ok_or_else(|| broken(String::from("holds no certificate")))
}

fn next(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(NEXT);
    PathBuf::from(name)
}

fn read(file: &Path) -> Result<String, RenewalError> {
    std::fs::read_to_string(file).map_err(|error| io(file, &error))
}

fn rename(file: &Path) -> Result<(), RenewalError> {
    std::fs::rename(next(file), file).map_err(|error| io(file, &error))
}

fn io(file: &Path, error: &std::io::Error) -> RenewalError {
    RenewalError::File { file: file.to_path_buf(), what: error.to_string() }
}

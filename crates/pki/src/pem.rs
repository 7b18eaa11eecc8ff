//! Reads PEM files into chains, keys and roots, with an error that names the file. Called by `tls` only.
//! Never keeps a key outside `Zeroizing` memory longer than rustls needs it.

use std::path::Path;

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::facts;
use crate::files;
use crate::trouble::TlsFileError;

/// Every certificate of a file, in its order; at least one, each readable.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let bytes = files::read_public(path)?;
    let damaged = || TlsFileError::BadCertificate { path: path.to_owned() };
    let chain = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>().map_err(|_| damaged())?;
    if chain.is_empty() {
        return Err(if holds_pem(&bytes) {
            TlsFileError::NoCertificate { path: path.to_owned() }
        } else {
            TlsFileError::NotPem { path: path.to_owned() }
        });
    }
    if chain.iter().any(|der| facts::public_key_der(der).is_none()) {
        return Err(damaged());
    }
    Ok(chain)
}

/// The key of a file: PKCS#8, SEC1 or PKCS#1, without a passphrase.
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let bytes = files::read_private(path)?;
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(key),
        Err(_) if contains(&bytes, b"ENCRYPTED") => Err(TlsFileError::KeyEncrypted { path: path.to_owned() }),
        Err(_) if holds_pem(&bytes) => Err(TlsFileError::NoKey { path: path.to_owned() }),
        Err(_) => Err(TlsFileError::NotPem { path: path.to_owned() }),
    }
}

/// The CA certificates of a file. A file with one that is no CA is refused as a whole.
pub(crate) fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let all = certificates(path)?;
    if all.iter().any(|der| !facts::may_be_root(der)) {
        return Err(TlsFileError::NotAuthority { path: path.to_owned() });
    }
    Ok(all)
}

/// The CA certificates of a file as trust anchors.
pub(crate) fn roots(path: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut store = RootCertStore::empty();
    for der in authorities(path)? {
        store.add(der).map_err(|_| TlsFileError::BadCertificate { path: path.to_owned() })?;
    }
    Ok(store)
}

fn holds_pem(bytes: &[u8]) -> bool {
    contains(bytes, b"-----BEGIN ")
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

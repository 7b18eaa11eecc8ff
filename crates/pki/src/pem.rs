//! PEM: files read into chains and roots, with an error that names the file, and texts written. Called by all of this
//! crate. Never looks at what a certificate says beyond whether it may be a root.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::facts;
use crate::files;
use crate::keys;
use crate::trouble::TlsFileError;
use zeroize::Zeroizing;

/// Something in PEM, its lines 64 characters long (RFC 7468).
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let text = Zeroizing::new(STANDARD.encode(der));
    let mut pem = format!("-----BEGIN {label}-----\n");
    // A secret is in here as well: all room is taken at once, so that a growing text leaves no copies behind.
    pem.reserve_exact(text.len() + text.len() / 64 + label.len() + 32);
    for line in text.as_bytes().chunks(64) {
        pem.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        pem.push('\n');
    }
    pem.push_str("-----END ");
    pem.push_str(label);
    pem.push_str("-----\n");
    pem
}

/// A certificate and the CAs above it among others, up to one that signed itself or that nobody here signed.
pub(crate) fn chain_above(
    certificate: &CertificateDer<'static>,
    others: &[CertificateDer<'static>],
) -> Vec<CertificateDer<'static>> {
    let mut chain = vec![certificate.clone()];
    while let Some(last) = chain.last().filter(|last| !facts::is_signed_by(last, last)) {
        let above = others.iter().find(|other| !chain.contains(other) && facts::is_signed_by(last, other));
        let Some(above) = above.cloned() else { break };
        chain.push(above);
    }
    chain
}

/// Every certificate of a text; none is no error.
pub(crate) fn all_certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, rustls_pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(bytes).collect()
}

/// Every certificate of a file, in its order; at least one, each readable.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let bytes = files::read_public(path)?;
    let damaged = || TlsFileError::BadCertificate { path: path.to_owned() };
    let chain = all_certificates(&bytes).map_err(|_| damaged())?;
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

/// What is between the markers of the first section of this kind; the inner `None` when it is damaged.
pub(crate) fn section(bytes: &[u8], label: &str) -> Option<Option<Zeroizing<Vec<u8>>>> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let find = |bytes: &[u8], part: &str| bytes.windows(part.len()).position(|window| window == part.as_bytes());
    let rest = &bytes[find(bytes, &begin)? + begin.len()..];
    Some(find(rest, &end).and_then(|length| keys::decode(&rest[..length])))
}

/// Whether there is any PEM in it.
pub(crate) fn holds_pem(bytes: &[u8]) -> bool {
    contains(bytes, b"-----BEGIN ")
}

/// Whether the part is in it.
pub(crate) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

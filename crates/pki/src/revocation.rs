//! Certificate revocation lists (RFC 5280 section 5) on disk: read, checked against the CAs they are of, described.
//! Called by `tls` for listeners and by the command line. Never takes a list whose signature it has not verified,
//! and never reads a clock.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::facts::{self, CertificateFacts};
use crate::files;
use crate::signature::Signed;
use crate::trouble::TlsFileError;

/// What a revocation list says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlFacts {
    /// The file it is from.
    pub file: PathBuf,
    /// The CA it is of, as in [`CertificateFacts::subject`].
    pub issuer: String,
    /// Its number in lower-case hex; later lists have higher ones.
    pub number: String,
    /// When it was made.
    pub this_update: SystemTime,
    /// When the next is to be there; from then on it says nothing about new certificates, and is refused.
    pub next_update: SystemTime,
    /// How many certificates it revokes.
    pub revoked: usize,
}

/// A list of which the signature was verified.
#[derive(Clone, Debug)]
pub(crate) struct RevocationList {
    pub(crate) der: CertificateRevocationListDer<'static>,
    pub(crate) facts: CrlFacts,
    /// The issuer's name, DER.
    pub(crate) issuer: Vec<u8>,
    /// The key that signed it, a SubjectPublicKeyInfo in DER.
    pub(crate) key: Vec<u8>,
    /// The extension that says of which certificates it tells, if not of all.
    scope: Vec<u8>,
    number: Vec<u8>,
}

/// A CA that may have signed a list: its name and its key, DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signer {
    pub(crate) name: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

impl Signer {
    pub(crate) fn of(certificate: &[u8]) -> Option<Self> {
        Some(Self { name: facts::subject_der(certificate)?, key: facts::public_key_der(certificate)? })
    }
}

/// Reads lists from files, PEM or DER, any number in a file of PEM. Each has to be of one of the CAs in `authorities`,
/// or of one whose certificate stands beside it in the file. Of several of one CA the newest counts.
pub(crate) fn load(paths: &[PathBuf], authorities: &[CertificateDer<'_>]) -> Result<Vec<RevocationList>, TlsFileError> {
    let known: Vec<_> = authorities.iter().filter_map(|der| Signer::of(der)).collect();
    let mut all: Vec<RevocationList> = Vec::new();
    for path in paths {
        let (lists, beside) = read(path)?;
        let signers = [known.as_slice(), &beside].concat();
        for der in lists {
            let list = verified(path, &der, &signers)?;
            let same = |other: &&mut RevocationList| {
                (&other.issuer, &other.key, &other.scope) == (&list.issuer, &list.key, &list.scope)
            };
            match all.iter_mut().find(same) {
                Some(other) if list.is_newer_than(other) => *other = list,
                Some(_) => {}
                None => all.push(list),
            }
        }
    }
    Ok(all)
}

/// What the lists of a file say of themselves; signatures are not looked at.
pub fn crl_facts(path: &Path) -> Result<Vec<CrlFacts>, TlsFileError> {
    let (lists, _) = read(path)?;
    lists.iter().map(|der| parsed(path, der).and_then(|list| described(path, &list))).collect()
}

/// The serial numbers a list in DER revokes, in lower-case hex as in [`CertificateFacts::serial_hex`].
pub fn revoked_serials(path: &Path) -> Result<Vec<String>, TlsFileError> {
    let (lists, _) = read(path)?;
    let mut serials = Vec::new();
    for der in &lists {
        serials.extend(parsed(path, der)?.iter_revoked_certificates().map(|entry| facts::hex(entry.raw_serial())));
    }
    Ok(serials)
}

impl RevocationList {
    fn is_newer_than(&self, other: &Self) -> bool {
        let rank = |list: &Self| (list.number.len(), list.number.clone(), list.facts.this_update);
        rank(self) > rank(other)
    }
}

type Lists = Vec<CertificateRevocationListDer<'static>>;

/// The lists of a file, and the CAs whose certificates stand beside them.
fn read(path: &Path) -> Result<(Lists, Vec<Signer>), TlsFileError> {
    let bytes = files::read_public(path)?;
    let damaged = || TlsFileError::BadCrl { path: path.to_owned(), why: "it is damaged or cut short".into() };
    if bytes.is_empty() {
        return Err(TlsFileError::NoCrl { path: path.to_owned() });
    }
    if !bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        return Ok((vec![CertificateRevocationListDer::from(bytes)], Vec::new()));
    }
    let lists: Lists =
        CertificateRevocationListDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|_| damaged())?;
    let beside = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>().map_err(|_| damaged())?;
    if lists.is_empty() {
        return Err(TlsFileError::NoCrl { path: path.to_owned() });
    }
    let signers = beside.iter().filter(|der| facts::may_be_root(der)).filter_map(|der| Signer::of(der)).collect();
    Ok((lists, signers))
}

fn parsed<'a>(path: &Path, der: &'a [u8]) -> Result<CertificateRevocationList<'a>, TlsFileError> {
    let bad = |why: &str| TlsFileError::BadCrl { path: path.to_owned(), why: why.into() };
    match CertificateRevocationList::from_der(der) {
        Ok(([], list)) => Ok(list),
        Ok(_) | Err(_) => Err(bad("it is damaged or cut short")),
    }
}

fn described(path: &Path, list: &CertificateRevocationList<'_>) -> Result<CrlFacts, TlsFileError> {
    let why = "it does not say until when it counts (nextUpdate)".into();
    let ends = list.next_update().ok_or_else(|| TlsFileError::BadCrl { path: path.to_owned(), why })?;
    Ok(CrlFacts {
        file: path.to_owned(),
        issuer: facts::name_text(list.issuer()),
        number: list.crl_number().map_or_else(|| "0".into(), |number| format!("{number:x}")),
        this_update: facts::system_time(list.last_update()),
        next_update: facts::system_time(ends),
        revoked: list.iter_revoked_certificates().count(),
    })
}

fn verified(
    path: &Path,
    der: &CertificateRevocationListDer<'static>,
    signers: &[Signer],
) -> Result<RevocationList, TlsFileError> {
    let list = parsed(path, der)?;
    let described = described(path, &list)?;
    let issuer = list.issuer().as_raw().to_vec();
    let named: Vec<_> = signers.iter().filter(|signer| signer.name == issuer).collect();
    if named.is_empty() {
        return Err(TlsFileError::CrlIssuer { path: path.to_owned(), issuer: described.issuer });
    }
    let signed = Signed {
        message: list.tbs_cert_list.as_ref(),
        algorithm: &list.signature_algorithm,
        signature: &list.signature_value.data,
    };
    let signer = named
        .into_iter()
        .find(|signer| signed.is_by(&signer.key))
        .ok_or_else(|| TlsFileError::CrlSignature { path: path.to_owned(), issuer: described.issuer.clone() })?;
    let scope = list.extensions().iter().find(|extension| extension.oid.to_id_string() == "2.5.29.28");
    Ok(RevocationList {
        key: signer.key.clone(),
        scope: scope.map(|extension| extension.value.to_vec()).unwrap_or_default(),
        number: list.crl_number().map(num_bytes).unwrap_or_default(),
        facts: described,
        issuer,
        der: der.clone(),
    })
}

fn num_bytes<N: std::fmt::LowerHex>(number: &N) -> Vec<u8> {
    format!("{number:x}").into_bytes()
}

/// The CAs among `anchors` of which there is no list: all their clients would be refused.
pub(crate) fn without_list<'a>(
    anchors: &'a [CertificateDer<'a>],
    lists: &[RevocationList],
) -> Option<&'a CertificateDer<'a>> {
    anchors.iter().find(|anchor| {
        Signer::of(anchor)
            .is_none_or(|signer| !lists.iter().any(|list| list.issuer == signer.name && list.key == signer.key))
    })
}

/// The name of a CA for a sentence.
pub(crate) fn name_of(certificate: &[u8]) -> String {
    CertificateFacts::from_der(certificate).map_or_else(|_| String::from("?"), |facts| facts.subject)
}

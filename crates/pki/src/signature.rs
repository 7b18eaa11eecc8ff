//! Whether a signature over a CRL, a request, a certificate or a response is that of a key.
//! Called by whatever reads such a thing from a file. Knows the algorithms of the handshake and no weaker ones.

use rustls::crypto::aws_lc_rs;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// A signature and what it is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    /// The signed bytes.
    pub(crate) message: &'a [u8],
    /// Its algorithm.
    pub(crate) algorithm: &'a AlgorithmIdentifier<'a>,
    /// The signature.
    pub(crate) signature: &'a [u8],
}

impl Signed<'_> {
    /// Whether the key, a SubjectPublicKeyInfo in DER, made the signature.
    pub(crate) fn is_by(&self, public_key: &[u8]) -> bool {
        let Ok(([], key)) = SubjectPublicKeyInfo::from_der(public_key) else { return false };
        let (Some(ours), Some(theirs)) = (contents(self.algorithm), contents(&key.algorithm)) else { return false };
        let fits = |known: &&&dyn rustls_pki_types::SignatureVerificationAlgorithm| {
            known.signature_alg_id().as_ref() == ours && known.public_key_alg_id().as_ref() == theirs
        };
        let known = aws_lc_rs::default_provider().signature_verification_algorithms.all;
        let verified = |known: &&dyn rustls_pki_types::SignatureVerificationAlgorithm| {
            known.verify_signature(&key.subject_public_key.data, self.message, self.signature).is_ok()
        };
        known.iter().filter(fits).any(verified)
    }
}

/// What is inside the SEQUENCE of an algorithm identifier, in DER: the form in which algorithms are compared. All that
/// are known are short; `None` for one that is not.
fn contents(algorithm: &AlgorithmIdentifier<'_>) -> Option<Vec<u8>> {
    const OID: u8 = 6;
    const CONSTRUCTED: u8 = 0x20;
    let short = |bytes: &[u8]| u8::try_from(bytes.len()).ok().filter(|length| *length < 0x80);
    let oid = algorithm.algorithm.as_bytes();
    let mut der = vec![OID, short(oid)?];
    der.extend_from_slice(oid);
    if let Some(parameters) = &algorithm.parameters {
        let tag = u8::try_from(parameters.header.tag().0).ok()?;
        let form = if parameters.header.is_constructed() { CONSTRUCTED } else { 0 };
        der.extend_from_slice(&[tag | form, short(parameters.data)?]);
        der.extend_from_slice(parameters.data);
    }
    Some(der)
}

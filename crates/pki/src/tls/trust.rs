//! What checks the chains of client certificates: CAs and revocation lists, in handshakes and whenever it is asked
//! again whether a chain that was accepted is still good.
//!
//! Called by `tls`. With lists in use the status of every certificate of a chain has to be known: one whose issuer has
//! no list, an expired list or a list that does not verify is refused, as are those that a list names.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};

use super::{ClientCertificates, ServerTlsParams};
use crate::pem;
use crate::revocation::{self, CrlFacts, RevocationList, Signer};
use crate::trouble::TlsFileError;

/// Whom a listener believes, and on what lists that stands.
#[derive(Clone, Debug)]
pub struct ClientTrust {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    lists: Arc<[CrlFacts]>,
}

impl ClientTrust {
    /// Whether the chain, leaf first, is one that a handshake at `now` would accept; an error says why not.
    pub fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let (leaf, others) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        self.verifier.verify_client_cert(leaf, others, now).map(|_| ())
    }

    /// The revocation lists in use.
    pub fn lists(&self) -> &[CrlFacts] {
        &self.lists
    }
}

/// Reads CAs and lists; `None` where no certificates are asked for.
pub(super) fn client_trust(
    params: &ServerTlsParams,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<ClientTrust>, TlsFileError> {
    if params.client_certificates == ClientCertificates::None {
        return Ok(None);
    }
    let path = params.client_ca.as_deref().ok_or(TlsFileError::NoClientAuthority)?;
    let anchors = pem::authorities(path)?;
    let lists = lists(params, path, &anchors)?;
    let mut layers = Vec::new();
    for layer in layers_of(&anchors) {
        layers.push(verifier(params, provider, &layer, &lists)?);
    }
    let facts = lists.into_iter().map(|list| list.facts).collect();
    let verifier = match layers.len() {
        1 => layers.swap_remove(0),
        _ => Arc::new(Layers(layers)),
    };
    Ok(Some(ClientTrust { verifier, lists: facts }))
}

fn lists(
    params: &ServerTlsParams,
    client_ca: &Path,
    anchors: &[CertificateDer<'static>],
) -> Result<Vec<RevocationList>, TlsFileError> {
    if params.crls.is_empty() {
        return Ok(Vec::new());
    }
    let mut authorities = anchors.to_vec();
    for path in &params.crl_authorities {
        authorities.extend(pem::authorities(path)?);
    }
    let lists = revocation::load(&params.crls, &authorities)?;
    if let Some(anchor) = revocation::without_list(anchors, &lists) {
        return Err(TlsFileError::CrlMissing { path: client_ca.to_owned(), issuer: revocation::name_of(anchor) });
    }
    Ok(lists)
}

/// CAs with one name and different keys, such as before and after a CA was made anew, each in a layer of its own: lists
/// are looked up by name, and the one of another key must not stand in the way.
fn layers_of(anchors: &[CertificateDer<'static>]) -> Vec<Vec<CertificateDer<'static>>> {
    let mut layers: Vec<Vec<CertificateDer<'static>>> = vec![Vec::new()];
    for anchor in anchors {
        let clashes = |layer: &Vec<CertificateDer<'static>>| {
            let (ours, of) = (Signer::of(anchor), |other: &CertificateDer<'static>| Signer::of(other));
            layer
                .iter()
                .map(of)
                .any(|other| other != ours && other.map(|s| s.name) == ours.as_ref().map(|s| s.name.clone()))
        };
        match layers.iter().position(|layer| !clashes(layer)) {
            Some(at) => layers[at].push(anchor.clone()),
            None => layers.push(vec![anchor.clone()]),
        }
    }
    layers
}

fn verifier(
    params: &ServerTlsParams,
    provider: &Arc<CryptoProvider>,
    anchors: &[CertificateDer<'static>],
    lists: &[RevocationList],
) -> Result<Arc<dyn ClientCertVerifier>, TlsFileError> {
    let failed = |error: &dyn std::fmt::Display| TlsFileError::Configuration { reason: error.to_string() };
    let mut roots = RootCertStore::empty();
    for anchor in anchors {
        roots.add(anchor.clone()).map_err(|error| failed(&error))?;
    }
    let signers: Vec<_> = anchors.iter().filter_map(|anchor| Signer::of(anchor)).collect();
    // A list of another CA with the name of one of these belongs to another layer.
    let is_ours = |list: &&RevocationList| {
        !signers.iter().any(|signer| signer.name == list.issuer)
            || signers.iter().any(|signer| signer.name == list.issuer && signer.key == list.key)
    };
    let roots = Arc::new(roots);
    let with = |lists: Vec<CertificateRevocationListDer<'static>>| {
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
        let builder = builder.with_crls(lists);
        let builder = if params.accept_expired_crls { builder } else { builder.enforce_revocation_expiration() };
        match params.client_certificates {
            ClientCertificates::Optional => builder.allow_unauthenticated().build(),
            ClientCertificates::None | ClientCertificates::Required => builder.build(),
        }
    };
    with(lists.iter().filter(is_ours).map(|list| list.der.clone()).collect()).map_err(|error| {
        // What is read here and not by webpki: another version, a delta, an indirect list.
        match lists.iter().find(|list| with(vec![list.der.clone()]).is_err()) {
            Some(list) => TlsFileError::BadCrl { path: list.facts.file.clone(), why: error.to_string() },
            None => failed(&error),
        }
    })
}

/// Several verifiers, of which one has to accept.
#[derive(Debug)]
struct Layers(Vec<Arc<dyn ClientCertVerifier>>);

impl ClientCertVerifier for Layers {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.iter().all(|layer| layer.client_auth_mandatory())
    }

    /// Those of the first layer, which has a CA of every name.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.first().map_or(&[], |layer| layer.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut told = None;
        for layer in &self.0 {
            match layer.verify_client_cert(leaf, others, now) {
                Ok(verified) => return Ok(verified),
                // The CA of the same name says nothing about it; the one that signed it does.
                Err(error) if is_of_another(&error) => told = told.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        Err(told.unwrap_or(Error::InvalidCertificate(CertificateError::UnknownIssuer)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0[0].verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0[0].verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.first().map(|layer| layer.supported_verify_schemes()).unwrap_or_default()
    }
}

fn is_of_another(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature))
}

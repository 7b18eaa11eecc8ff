//! A file of certificates as one value: the leaf first. Called by the command line, which knows no other form of them.
//! Never verifies anything but who signed whom.

use std::path::Path;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::facts::{self, CertificateFacts};
use crate::keys::{self, KeyError, KeyPassword};
use crate::pem;
use crate::pkcs12;
use crate::trouble::TlsFileError;

/// Certificates in the order of their file; at least one, each readable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain(pub(crate) Vec<CertificateDer<'static>>);

impl Chain {
    /// Reads a PEM file.
    pub fn read(path: &Path) -> Result<Self, TlsFileError> {
        pem::certificates(path).map(Self)
    }

    /// Reads PEM text.
    pub fn parse(text: &str) -> Option<Self> {
        let all = pem::all_certificates(text.as_bytes()).ok()?;
        (!all.is_empty() && all.iter().all(|der| facts::public_key_der(der).is_some())).then_some(Self(all))
    }

    /// The first certificate, DER.
    pub fn leaf(&self) -> &[u8] {
        &self.0[0]
    }

    /// What the first certificate says.
    pub fn facts(&self) -> CertificateFacts {
        CertificateFacts::from_der(self.leaf()).expect("it was read before")
    }

    /// Whether the first certificate is signed by the first of another file.
    pub fn is_signed_by(&self, authority: &Self) -> bool {
        facts::is_signed_by(self.leaf(), authority.leaf())
    }

    /// Packs them with the key of the first (PKCS#12).
    pub fn pack(
        &self,
        name: &str,
        key: &PrivateKeyDer<'_>,
        password: &KeyPassword,
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        if keys::public_key(key) != facts::public_key_der(self.leaf()) {
            return Err(KeyError::Foreign);
        }
        pkcs12::pack(name, &self.0, key, password)
    }

    /// All of them, PEM.
    pub fn pem(&self) -> String {
        self.0.iter().map(|der| pem::encode("CERTIFICATE", der)).collect()
    }

    /// The first alone, PEM.
    pub fn leaf_pem(&self) -> String {
        pem::encode("CERTIFICATE", self.leaf())
    }
}

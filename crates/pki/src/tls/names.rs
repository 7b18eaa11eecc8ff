//! Which certificate a listener shows: the one for the name that the client asks for (SNI, RFC 6066 section 3).
//!
//! Called by rustls in each handshake. A name is matched as clients match it: as a whole, or by a wildcard that is the
//! first label of a certificate's name.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::facts;

/// The certificates of a listener by name.
#[derive(Debug)]
pub(super) struct CertificatesByName {
    /// The first is shown to clients that ask for no name, or for none that there is.
    all: Vec<Arc<CertifiedKey>>,
    /// Where each name stands; of two certificates with one name the first counts.
    places: BTreeMap<String, usize>,
    /// Whether clients that ask for no name, or for none that there is, are refused.
    strict: bool,
}

impl CertificatesByName {
    /// At least one certificate; the first is the default.
    pub(super) fn new(all: Vec<CertifiedKey>, strict: bool) -> Self {
        let mut places = BTreeMap::new();
        for (place, own) in all.iter().enumerate() {
            let names = own.cert.first().map(|leaf| facts::dns_names(leaf)).unwrap_or_default();
            for name in names {
                places.entry(name.to_ascii_lowercase()).or_insert(place);
            }
        }
        Self { all: all.into_iter().map(Arc::new).collect(), places, strict }
    }

    fn place_of(&self, name: &str) -> Option<usize> {
        let name = name.to_ascii_lowercase();
        let by_wildcard = || self.places.get(&format!("*.{}", name.split_once('.')?.1));
        self.places.get(&name).or_else(by_wildcard).copied()
    }
}

impl ResolvesServerCert for CertificatesByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let place = match hello.server_name().and_then(|name| self.place_of(name)) {
            None if self.strict => return None,
            place => place.unwrap_or_default(),
        };
        self.all.get(place).cloned()
    }
}

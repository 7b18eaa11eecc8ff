//! Which certificate a listener shows: the one for the name that the client asks for (SNI, RFC 6066 section 3).
//!
//! Called by rustls in each handshake. A name is matched as clients match it: as a whole, or by a wildcard that is the
//! first label of a certificate's name. Reads the clock, unlike the rest of this crate: an answer about the
//! certificate's status must not be shown a second too long.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::facts;
use crate::ocsp::Staple;

/// The certificates of a listener by name.
#[derive(Debug)]
pub(super) struct CertificatesByName {
    /// The first is shown to clients that ask for no name, or for none that there is.
    all: Vec<Arc<CertifiedKey>>,
    /// Where each name stands; of two certificates with one name the first counts.
    places: BTreeMap<String, usize>,
    /// Whether clients that ask for no name, or for none that there is, are refused.
    strict: bool,
    /// The first with an answer about its status, as long as there is one that counts.
    stapled: RwLock<Option<Stapled>>,
}

#[derive(Debug)]
struct Stapled {
    own: Arc<CertifiedKey>,
    staple: Staple,
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
        Self { all: all.into_iter().map(Arc::new).collect(), places, strict, stapled: RwLock::default() }
    }

    /// Shows an answer along with the certificate it is about, or none with any.
    pub(super) fn staple(&self, staple: Option<&Staple>) {
        let first = self.all.first();
        let leaf = first.and_then(|own| own.cert.first());
        let fits = staple.filter(|staple| leaf.is_some_and(|leaf| staple.leaf == **leaf));
        let mut stapled = self.stapled.write().unwrap_or_else(PoisonError::into_inner);
        if stapled.as_ref().map(|stapled| &stapled.staple) == fits {
            return;
        }
        *stapled = fits.zip(first).map(|(staple, own)| {
            let own = CertifiedKey { ocsp: Some(staple.der.clone()), ..CertifiedKey::clone(own) };
            Stapled { own: Arc::new(own), staple: staple.clone() }
        });
    }

    /// The first certificate as it is shown now.
    fn first(&self) -> Option<Arc<CertifiedKey>> {
        let stapled = self.stapled.read().unwrap_or_else(PoisonError::into_inner);
        let good = stapled.as_ref().filter(|stapled| stapled.staple.counts_at(SystemTime::now()));
        good.map(|stapled| Arc::clone(&stapled.own)).or_else(|| self.all.first().cloned())
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
        if place == 0 { self.first() } else { self.all.get(place).cloned() }
    }
}

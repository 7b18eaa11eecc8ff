//! The directory of a CA: its files by their names, its index, and who issued what in it.
//!
//! Called by the other files of `cert`. Writes nothing but the index and revocation lists.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use motte_pki::{
    Authority, CertificateFacts, CertificateRole, Chain, Index, IndexError, IssueError, crl_facts, write_public,
};

use super::secrets::{Secrets, told};
use super::{Failure, cannot_write};

/// Stem of the files of the CA that issues.
pub(super) const CA: &str = "ca";
/// Stem of those of the CA before it, during a rotation.
pub(super) const OLD: &str = "ca-old";

/// A directory, and where passwords come from.
#[derive(Debug)]
pub(super) struct Folder<'a> {
    pub(super) dir: &'a Path,
    pub(super) secrets: &'a Secrets,
}

/// A failure while the index is changed.
#[derive(Debug)]
pub(super) struct Unchanged(pub(super) Failure);

impl From<IndexError> for Unchanged {
    fn from(error: IndexError) -> Self {
        Self(Failure::new(error.to_string(), error.hint()))
    }
}

impl From<Failure> for Unchanged {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl<'a> Folder<'a> {
    pub(super) fn new(dir: &'a Path, secrets: &'a Secrets) -> Self {
        Self { dir, secrets }
    }

    pub(super) fn path(&self, stem: &str, end: &str) -> PathBuf {
        self.dir.join(format!("{stem}.{end}"))
    }

    /// The CA that issues.
    pub(super) fn authority(&self) -> Result<Authority, Failure> {
        self.authority_of(CA)
    }

    pub(super) fn authority_of(&self, stem: &str) -> Result<Authority, Failure> {
        self.secrets.authority(&self.path(stem, "pem"), &self.path(stem, "key"))
    }

    /// The CAs of the directory; the one that issues comes first.
    pub(super) fn stems(&self) -> Vec<&'static str> {
        [CA, OLD].into_iter().filter(|stem| self.path(stem, "pem").exists()).collect()
    }

    /// The certificate of a CA, which stands first in its file.
    pub(super) fn certificate_of(&self, stem: &str) -> Result<Chain, Failure> {
        Chain::read(&self.path(stem, "pem")).map_err(|error| told(error.trouble()))
    }

    /// Which CA of the directory signed a certificate.
    pub(super) fn issuer_of(&self, chain: &Chain) -> Result<Option<&'static str>, Failure> {
        for stem in self.stems() {
            if chain.is_signed_by(&self.certificate_of(stem)?) {
                return Ok(Some(stem));
            }
        }
        Ok(None)
    }

    /// The index of a CA. One that was made before there were indexes is told by the files of the directory.
    pub(super) fn index(&self, stem: &str) -> Result<Index, Failure> {
        let mut index = Index::read(&self.index_path(stem)).map_err(|error| Unchanged::from(error).0)?;
        self.complete(stem, &mut index);
        Ok(index)
    }

    /// Changes the index of a CA.
    pub(super) fn update<T>(
        &self,
        stem: &str,
        change: impl FnOnce(&mut Index) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let outcome = Index::update(&self.index_path(stem), |index| {
            self.complete(stem, index);
            change(index).map_err(Unchanged)
        });
        outcome.map_err(|Unchanged(failure)| failure)
    }

    /// Notes a certificate in the index of its CA. Called before it is written: none may exist that nobody knows of.
    pub(super) fn record(&self, stem: &str, chain_pem: &str) -> Result<(), Failure> {
        let Some(chain) = Chain::parse(chain_pem) else { return Ok(()) };
        self.update(stem, |index| {
            index.record(&chain.facts());
            Ok(())
        })
    }

    /// Leaf certificates in the directory, with their files; what cannot be read is left out.
    pub(super) fn leaves(&self) -> Vec<(PathBuf, Chain)> {
        let Ok(entries) = std::fs::read_dir(self.dir) else { return Vec::new() };
        let paths = entries.flatten().map(|entry| entry.path());
        let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "pem")).collect();
        paths.sort();
        let leaves = paths.into_iter().filter_map(|path| Chain::read(&path).ok().map(|chain| (path, chain)));
        leaves.filter(|(_, chain)| chain.facts().role != CertificateRole::Authority).collect()
    }

    /// Makes the revocation list of each CA anew.
    pub(super) fn write_lists(&self, days: u16, der: bool, now: SystemTime) -> Result<(), Failure> {
        let failed = |error: IssueError| Failure::new(error.to_string(), error.hint());
        let mut pem = String::new();
        for stem in self.stems() {
            let authority = self.authority_of(stem)?;
            let seen = self.number_of_list(&authority.facts());
            let list = self.update(stem, |index| {
                let number = index.next_crl_number(seen);
                authority.revocation_list(&index.revoked(now), number, days, now).map_err(failed)
            })?;
            pem.push_str(&list.pem);
            let facts = authority.facts();
            if facts.issuer != facts.subject {
                // Whoever checks the list of an intermediate CA needs its certificate for that.
                pem.push_str(authority.certificate_pem());
            }
            if der {
                let name = if stem == CA { "crl.der" } else { "crl-old.der" };
                write_public(&self.dir.join(name), &list.der).map_err(|error| cannot_write(self.dir, &error))?;
            }
        }
        write_public(&self.list_path(), pem.as_bytes()).map_err(|error| cannot_write(self.dir, &error))
    }

    pub(super) fn list_path(&self) -> PathBuf {
        self.path("crl", "pem")
    }

    fn index_path(&self, stem: &str) -> PathBuf {
        Index::path_beside(&self.path(stem, "pem"))
    }

    fn complete(&self, stem: &str, index: &mut Index) {
        let Ok(authority) = self.certificate_of(stem) else { return };
        if index.is_new() {
            for (_, chain) in self.leaves().iter().filter(|(_, chain)| chain.is_signed_by(&authority)) {
                index.record(&chain.facts());
            }
        }
    }

    /// The number of the list that is there, so that the next is higher even if the index was lost.
    fn number_of_list(&self, authority: &CertificateFacts) -> u64 {
        let lists = crl_facts(&self.list_path()).unwrap_or_default();
        let numbers = lists.iter().filter(|list| list.issuer == authority.subject);
        numbers.filter_map(|list| u64::from_str_radix(&list.number, 16).ok()).max().unwrap_or(0)
    }
}

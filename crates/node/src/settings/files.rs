//! Which files a configuration is made of.
//!
//! Read by the snapshot, reload and the watch. Whoever adds a setting that names a file which is read again at a reload
//! adds it here.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{CertificateFiles, ListenerSettings, Settings};
use crate::secret::VaultSettings;

impl Settings {
    /// Every file that is read at the start and again at each reload, the configuration itself among them.
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        let mut files = self.policy_files();
        files.extend([self.tls.certificate.clone(), self.tls.key.clone()]);
        files.extend(self.tls.client_ca.clone());
        files.extend(self.tls.crls.iter().cloned());
        files.extend(self.identity.password_file.clone());
        if let Some(renewal) = &self.tls.renewal {
            files.extend([renewal.ca_certificate.clone(), renewal.ca_key.clone()]);
        }
        files.extend(self.listeners.iter().flat_map(of_listener));
        files.extend(self.identity.remote.files().cloned());
        files.extend(self.vault.iter().flat_map(VaultSettings::files).cloned());
        if !self.source.as_os_str().is_empty() {
            files.insert(self.source.clone());
        }
        files
    }

    /// Those of them that hold access rules.
    pub(crate) fn policy_files(&self) -> BTreeSet<PathBuf> {
        let dynamic = self.dynamic.iter().map(|dynamic| &dynamic.file);
        self.acl_file.iter().chain(&self.policy_file).chain(dynamic).cloned().collect()
    }
}

fn of_listener(listener: &ListenerSettings) -> Vec<PathBuf> {
    let rules = &listener.rules;
    let pairs = rules.certificate.iter().chain(&rules.certificates);
    let pairs = pairs.flat_map(|CertificateFiles { certificate, key }| [certificate.clone(), key.clone()]);
    pairs.chain(rules.client_ca.clone()).chain(rules.crls.iter().flatten().cloned()).collect()
}

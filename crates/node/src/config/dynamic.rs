//! `dynamic_file` and `dynamic_admin_password` of `[policy]`.
//!
//! Called by `parse`. Looks at no file.

use std::path::PathBuf;

use super::reader::{Located, Problems, Section};
use crate::secret::SecretRef;
use crate::settings::DynamicSettings;

/// Dynamic security as it is written.
#[derive(Debug)]
pub(super) struct DynamicDraft {
    pub(super) file: Located<PathBuf>,
    admin_password: Option<SecretRef>,
}

impl DynamicDraft {
    /// The settings.
    pub(super) fn finish(self) -> DynamicSettings {
        DynamicSettings { file: self.file.value, admin_password: self.admin_password }
    }
}

/// Both keys. A password without a file is a mistake.
pub(super) fn parse(policy: &Section<'_>, problems: &mut Problems) -> Option<DynamicDraft> {
    const KEY: &str = "dynamic_admin_password";
    let file = policy.path("dynamic_file", problems);
    if policy.has(KEY) && !policy.has("dynamic_file") {
        let line = policy.line_of(KEY, problems);
        problems.at(line, "dynamic_admin_password stands without dynamic_file", "set dynamic_file, or remove it");
    }
    let admin_password = policy.text(KEY, problems).and_then(|text| {
        let hint = "write env:NAME, file:PATH or credential:NAME: a password does not stand in the configuration";
        match SecretRef::parse(&text.value, &problems.beside("")) {
            Ok(SecretRef::Literal(_)) | Err(_) => {
                problems.at(text.line, "dynamic_admin_password is no reference to a secret", hint);
                None
            }
            Ok(reference) => Some(reference),
        }
    });
    Some(DynamicDraft { file: file?, admin_password })
}

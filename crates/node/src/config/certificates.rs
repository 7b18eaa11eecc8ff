//! Certificates of the broker beside the first: those of a listener, and those chosen by the name a client asks for.
//!
//! Called by `parse` and `rules`. Looks at no file; `files` checks each pair.

use std::path::PathBuf;

use super::parse::required;
use super::reader::{Located, Problems, Section};
use crate::secret::SecretRef;
use crate::settings::{CertificateFiles, OcspSource};

/// A certificate and its key.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) certificate: Located<PathBuf>,
    pub(super) key: Located<PathBuf>,
    /// Whether it is shown only to clients that ask for a name in it.
    pub(super) by_name: bool,
}

impl Pair {
    fn files(&self) -> CertificateFiles {
        CertificateFiles { certificate: self.certificate.value.clone(), key: self.key.value.clone() }
    }
}

/// What `[tls]` says for all listeners.
#[derive(Debug, Default)]
pub(super) struct ByName {
    /// The pairs beside the first.
    pub(super) certificates: Vec<CertificateFiles>,
    /// Whether clients that ask for no name, or for an unknown one, are refused.
    pub(super) strict: bool,
}

impl ByName {
    /// What a section says of pairs chosen by name; they go to `pairs` with their lines.
    pub(super) fn of(
        section: &Section<'_>,
        title: &'static str,
        pairs: &mut Vec<Pair>,
        problems: &mut Problems,
    ) -> (Self, Option<bool>) {
        let mut certificates = Vec::new();
        for section in section.sections("certificates", title, &["certificate", "key"], problems) {
            if let Some(pair) = pair(&section, true, problems) {
                certificates.push(pair.files());
                pairs.push(pair);
            }
        }
        let strict = section.word("sni", &[("default", false), ("strict", true)], problems);
        (Self { certificates, strict: strict.unwrap_or(false) }, strict)
    }
}

/// Where the password of protected keys is.
pub(super) fn key_password(tls: &Section<'_>, problems: &mut Problems) -> Option<Located<SecretRef>> {
    let text = tls.text("key_password", problems)?;
    match SecretRef::parse(&text.value, &problems.beside("")) {
        Ok(SecretRef::Literal(_)) => {
            let hint = "write it to a file with mode 0600 and name that: key_password = \"file:PATH\"";
            problems.at(text.line, "key_password holds the password itself", hint);
            None
        }
        Ok(value) => Some(Located { value, line: text.line }),
        Err(error) => {
            problems.at(text.line, format!("key_password: {error}"), error.hint());
            None
        }
    }
}

/// Where staples come from.
pub(super) fn ocsp(tls: &Section<'_>, problems: &mut Problems) -> Option<OcspSource> {
    let source = tls.path("ocsp", problems)?;
    if source.value == problems.beside("auto") {
        return Some(OcspSource::Responder);
    }
    if !source.value.is_file() {
        let what = format!("{} does not exist, or is not a file", source.value.display());
        problems.at(source.line, what, "name the file with the responder's answer in DER, or write \"auto\"");
    }
    Some(OcspSource::File(source.value))
}

/// The pair a listener has instead of that of `[tls]`.
pub(super) fn own(section: &Section<'_>, pairs: &mut Vec<Pair>, problems: &mut Problems) -> Option<CertificateFiles> {
    if !section.has("certificate") && !section.has("key") {
        return None;
    }
    let pair = pair(section, false, problems)?;
    let files = pair.files();
    pairs.push(pair);
    Some(files)
}

fn pair(section: &Section<'_>, by_name: bool, problems: &mut Problems) -> Option<Pair> {
    let certificate = required(section, "certificate", "name the PEM file beside the key", problems);
    let key = required(section, "key", "name the PEM file with the key of the certificate", problems);
    Some(Pair { certificate: certificate?, key: key?, by_name })
}

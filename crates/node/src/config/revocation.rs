//! Which revocation lists count, and whether they can be used.
//!
//! Called by `parse`, `rules` and `files`. A list that is missing, damaged, empty, of nobody's or of a time to come is
//! an error (K27); one that has ended is none, because it is no reason to keep clients with passwords out: its own
//! are refused, and the log says so.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use motte_pki::{ServerTlsParams, TlsFileError};

use super::files::tls_problem;
use super::parse::Draft;
use super::reader::{Located, Problems, Section};
use crate::settings::ClientCertificates;

/// Clocks differ; a list may have been made by one that is ahead by so much.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// The lists that a section names.
pub(super) fn lists(section: &Section<'_>, problems: &mut Problems) -> Option<Vec<Located<PathBuf>>> {
    let texts = section.texts("crl", problems)?;
    if texts.is_empty() || texts.iter().any(|text| text.value.is_empty()) {
        let line = section.line_of("crl", problems);
        problems.at(line, "crl names no file", "name a revocation list of each CA, or remove the line");
        return None;
    }
    let located = |text: Located<String>| Located { value: problems.beside(&text.value), line: text.line };
    Some(texts.into_iter().map(located).collect())
}

/// Whether lists count beyond their end, which only `[danger]` may say.
pub(super) fn accept_expired(
    tls: &Section<'_>,
    danger: &Section<'_>,
    dangers: &mut Vec<&'static str>,
    problems: &mut Problems,
) -> bool {
    if let Some(text) = tls.text("crl_expired", problems).filter(|text| text.value != "deny") {
        let hint = "write \"deny\" or remove the line; what weakens security stands under [danger]";
        problems.at(text.line, format!("crl_expired cannot be {:?} here", text.value), hint);
    }
    let accepted = danger.word("crl_expired", &[("deny", false), ("accept", true)], problems).unwrap_or(false);
    if accepted {
        dangers.push("crl_expired: revocation lists count beyond their end, so what was revoked since is let in");
    }
    accepted
}

/// Checks the lists of each listener against its CAs, as `Snapshot::build` does later.
pub(super) fn check(draft: &Draft, now: SystemTime, problems: &mut Problems) {
    let common: Vec<_> = draft.crls.iter().map(|file| file.value.clone()).collect();
    if !common.is_empty() && draft.client_ca.is_none() && draft.files.client_cas.is_empty() {
        let hint = "set client_ca, or remove the line";
        problems.at(draft.crls[0].line, "crl means nothing without a CA for client certificates", hint);
    }
    let mut seen = Vec::new();
    for listener in &draft.listeners {
        let own = &listener.rules;
        let shared_ca = draft.client_ca.as_ref().map(|file| &file.value);
        let Some(client_ca) = own.client_ca.as_ref().or(shared_ca) else { continue };
        let crls = own.crls.as_ref().unwrap_or(&common);
        let asked = listener.client_certificates != ClientCertificates::None;
        if !asked || crls.is_empty() || seen.contains(&(client_ca, crls)) {
            continue;
        }
        seen.push((client_ca, crls));
        let params = ServerTlsParams {
            client_ca: Some(client_ca.clone()),
            client_certificates: motte_pki::ClientCertificates::Required,
            crls: crls.clone(),
            crl_authorities: own.crl_authorities(shared_ca),
            ..ServerTlsParams::default()
        };
        one_set(draft, &params, now, problems);
    }
}

fn one_set(draft: &Draft, params: &ServerTlsParams, now: SystemTime, problems: &mut Problems) {
    let trust = match motte_pki::client_trust(params) {
        Ok(trust) => trust,
        // What is wrong with a CA itself is told at its own line.
        Err(TlsFileError::NotAuthority { .. }) => return,
        Err(error) => {
            let line = error.path().map_or(0, |path| line_of(draft, path));
            return tls_problem(&error, line, problems);
        }
    };
    for list in trust.iter().flat_map(motte_pki::ClientTrust::lists) {
        if list.this_update > now + SKEW {
            let what =
                format!("the revocation list of {} in {} is of a time to come", list.issuer, list.file.display());
            problems.at(line_of(draft, &list.file), what, "check the clock of this machine");
        }
    }
}

/// Where a file is named first.
fn line_of(draft: &Draft, path: &Path) -> usize {
    let lists = draft.crls.iter().chain(&draft.files.crls);
    let authorities = draft.client_ca.iter().chain(&draft.files.client_cas);
    lists.chain(authorities).find(|file| file.value == path).map_or(0, |file| file.line)
}

//! `[acme]`: the server certificate from a CA that speaks ACME.
//!
//! Called by `parse`. Asks no CA and looks at no file.

use std::net::SocketAddr;

use motte_pki::HostName;

use super::catalogue::known;
use super::reader::{Problems, Section};
use crate::secret::SecretRef;
use crate::settings::{AcmeChallenge, AcmeSettings, ExternalBinding};

/// The account's file beside the configuration.
const ACCOUNT: &str = "pki/acme-account.json";

/// A challenge before its address is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Http,
    TlsAlpn,
}

/// Reads the section; `None` where there is none, or where it is wrong and a problem says so.
pub(super) fn parse(root: &Section<'_>, problems: &mut Problems) -> Option<AcmeSettings> {
    let section = root.section("acme", "[acme]", &known("acme"), problems);
    if section.is_empty() {
        return None;
    }
    if section.flag("accept_terms", problems) != Some(true) {
        let hint = "read the CA's terms of service and write accept_terms = true";
        problems.at(section.line, "no CA issues before its terms are accepted", hint);
    }
    let account = section.path("account", problems).map_or_else(|| problems.beside(ACCOUNT), |path| path.value);
    let (directory, names) = (directory(&section, problems), names(&section, problems));
    let (challenge, binding) = (challenge(&section, problems), binding(&section, problems));
    Some(AcmeSettings {
        directory: directory?,
        ca: section.path("ca", problems).map(|path| path.value),
        contact: contact(&section, problems),
        names: names?,
        challenge: challenge?,
        account,
        binding,
    })
}

fn directory(section: &Section<'_>, problems: &mut Problems) -> Option<String> {
    if !section.has("directory_url") {
        section.missing("directory_url", "write the URL of the CA's ACME directory", problems);
    }
    let url = section.text("directory_url", problems)?;
    if !url.value.starts_with("https://") || url.value.contains(char::is_whitespace) {
        problems.at(url.line, format!("{:?} is no URL of https", url.value), "ACME is spoken over https only");
        return None;
    }
    Some(url.value)
}

fn contact(section: &Section<'_>, problems: &mut Problems) -> Vec<String> {
    let contacts = section.texts("contact", problems).unwrap_or_default();
    for contact in &contacts {
        if !contact.value.starts_with("mailto:") {
            let what = format!("{:?} is no address that a CA writes to", contact.value);
            problems.at(contact.line, what, "write \"mailto:\" and an e-mail address");
        }
    }
    contacts.into_iter().map(|contact| contact.value).collect()
}

/// Names of DNS: addresses and wildcards need other challenges than there are here.
fn names(section: &Section<'_>, problems: &mut Problems) -> Option<Vec<HostName>> {
    let texts = section.texts("names", problems).unwrap_or_default();
    if texts.is_empty() {
        section.missing("names", "write names = [\"broker.example.org\"]", problems);
        return None;
    }
    let mut names = Vec::new();
    for text in &texts {
        match text.value.parse() {
            Ok(HostName::Dns(name)) if !name.starts_with('*') => names.push(HostName::Dns(name)),
            _ => {
                let what = format!("{:?} is no name that can be asked for", text.value);
                problems.at(text.line, what, "use names of DNS without a wildcard, and no addresses");
            }
        }
    }
    Some(names).filter(|names| names.len() == texts.len())
}

fn challenge(section: &Section<'_>, problems: &mut Problems) -> Option<AcmeChallenge> {
    let words = [("tls-alpn-01", Word::TlsAlpn), ("http-01", Word::Http)];
    let word = section.word("challenge", &words, problems).unwrap_or(Word::TlsAlpn);
    let address = section.text("http_address", problems);
    match (word, address) {
        (Word::TlsAlpn, None) => Some(AcmeChallenge::TlsAlpn),
        (Word::TlsAlpn, Some(address)) => {
            let hint = "set challenge = \"http-01\", or remove the line";
            problems.at(address.line, "http_address is only for challenge = \"http-01\"", hint);
            None
        }
        (Word::Http, None) => {
            section.missing("http_address", "write http_address = \"0.0.0.0:80\"", problems);
            None
        }
        (Word::Http, Some(address)) => {
            let parsed = address.value.parse::<SocketAddr>();
            if parsed.is_err() {
                let what = format!("{:?} is no address with a port", address.value);
                problems.at(address.line, what, "write for instance \"0.0.0.0:80\" or \"[::]:80\"");
            }
            parsed.ok().map(AcmeChallenge::Http)
        }
    }
}

fn binding(section: &Section<'_>, problems: &mut Problems) -> Option<ExternalBinding> {
    let (id, key) = (section.text("external_key_id", problems), section.text("external_key", problems));
    match (id, key) {
        (None, None) => None,
        (Some(id), Some(key)) => match SecretRef::parse(&key.value, &problems.beside("")) {
            Ok(reference) => Some(ExternalBinding { key_id: id.value, key: reference }),
            Err(error) => {
                problems.at(key.line, format!("external_key: {error}"), error.hint());
                None
            }
        },
        (id, key) => {
            let line = id.or(key).map_or(section.line, |found| found.line);
            let hint = "the CA's operator gives both for one account";
            problems.at(line, "external_key_id and external_key go together", hint);
            None
        }
    }
}

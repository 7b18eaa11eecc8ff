//! `sources` of `[identity]` and of listeners: who is asked whom a client is, and whether anybody can answer.
//!
//! Called by `parse`. Looks at no file.

use motte_policy::suggestion;

use super::parse::Draft;
use super::reader::{Problems, Section};
use super::rules::Defaults;
use crate::settings::{ClientCertificates, ListenerRules, ListenerSettings, SourceName};

/// The list of sources of a section, where it has one.
pub(super) fn sources(
    section: &Section<'_>,
    configured: &[SourceName],
    problems: &mut Problems,
) -> Option<Vec<SourceName>> {
    let texts = section.texts("sources", problems)?;
    let remote = configured.iter().filter(|source| !SourceName::DEFAULT.contains(source));
    let known: Vec<String> = SourceName::DEFAULT.iter().chain(remote).map(SourceName::to_string).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    if texts.is_empty() {
        let line = section.line_of("sources", problems);
        problems.at(line, "sources names nobody to ask", format!("choose of {}", known.join(", ")));
    }
    let mut sources = Vec::new();
    for text in texts {
        match SourceName::parse(&text.value) {
            Some(source) if sources.contains(&source) => {
                problems.at(text.line, format!("{:?} is asked twice", text.value), "name each source once");
            }
            Some(source) => sources.push(source),
            None => {
                let hint = match suggestion(&text.value, &known) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("known are {}", known.join(", ")),
                };
                problems.at(text.line, format!("there is no source {:?}", text.value), hint);
            }
        }
    }
    Some(sources)
}

/// What is configured beside certificates, which are a matter of each listener.
pub(super) fn configured(identity: &Section<'_>, policy: &Section<'_>, declared: Vec<SourceName>) -> Vec<SourceName> {
    // A path that cannot be read is a problem of its own.
    let is_configured = |source: &SourceName| match source {
        SourceName::Password => identity.has("password_file"),
        SourceName::Dynamic => policy.has("dynamic_file"),
        _ => false,
    };
    SourceName::DEFAULT.into_iter().filter(is_configured).chain(declared).collect()
}

/// Says which sources `[identity]` names that are not configured, and which listeners nobody could come in through.
pub(super) fn check(draft: &Draft, defaults: &Defaults, identity: &Section<'_>, problems: &mut Problems) {
    let line = identity.line_of("sources", problems);
    let is_used = |source: &SourceName| draft.listeners.iter().any(|at| is_configured(source, at, defaults));
    for source in defaults.sources.iter().filter(|source| identity.has("sources") && !is_used(source)) {
        not_configured(source, line, problems);
    }
    for (source, line) in
        draft.remote.names().filter(|(source, _)| !draft.listeners.iter().any(|at| at.rules.asks(source)))
    {
        let hint = format!("add \"{source}\" to sources in [identity] or of a listener, or remove the section");
        problems.at(line, format!("nobody asks the source {:?}", source.to_string()), hint);
    }
    somebody_can_log_in(draft, defaults, identity, problems);
}

/// Says which sources a listener names that are not configured, and whether what it needs can be shown.
pub(super) fn check_listener(
    section: &Section<'_>,
    listener: &ListenerSettings,
    defaults: &Defaults,
    problems: &mut Problems,
) {
    let rules = &listener.rules;
    let line = section.line_of("sources", problems);
    for source in rules.sources.iter().filter(|at| section.has("sources") && !is_configured(at, listener, defaults)) {
        not_configured(source, line, problems);
    }
    let asked = |source: &&SourceName| is_configured(source, listener, defaults);
    let (certificates, others): (Vec<_>, Vec<_>) =
        rules.sources.iter().filter(asked).partition(|source| **source == SourceName::Certificate);
    if rules.certificate_and_password && (certificates.is_empty() || others.is_empty()) {
        let line = section.line_of("certificate_and_password", problems);
        let what = "certificate_and_password needs certificates and passwords, and one of them is not in use here";
        problems.at(line, what, "set client_ca in [tls] and password_file in [identity], and name both in sources");
    }
}

fn not_configured(source: &SourceName, line: usize, problems: &mut Problems) {
    let hint = match source {
        SourceName::Certificate => "set client_ca and certificate_identity, or take it out of sources",
        SourceName::Password => "set password_file in [identity], or take it out of sources",
        SourceName::Jwt(_) => "add a section [[identity.jwt]] with this name, or take it out of sources",
        SourceName::Http(_) => "add a section [[identity.http]] with this name, or take it out of sources",
        SourceName::Ldap(_) => "add a section [[identity.ldap]] with this name, or take it out of sources",
        SourceName::Dynamic => "set dynamic_file in [policy], or take it out of sources",
    };
    problems.at(line, format!("the source {:?} is asked and not configured", source.to_string()), hint);
}

fn is_configured(source: &SourceName, listener: &ListenerSettings, defaults: &Defaults) -> bool {
    match source {
        SourceName::Certificate => has_certificates(listener),
        other => defaults.configured.contains(other),
    }
}

/// Whether a client can show a certificate that names it.
fn has_certificates(listener: &ListenerSettings) -> bool {
    listener.client_certificates != ClientCertificates::None && listener.rules.certificate_identity.is_some()
}

/// A broker, or a listener, that nobody could ever log in to is a mistake, and a tempting reason to open it to
/// everybody.
fn somebody_can_log_in(draft: &Draft, defaults: &Defaults, identity: &Section<'_>, problems: &mut Problems) {
    let is_way_in = |listener: &ListenerSettings| {
        let ListenerRules { allow_anonymous, sources, .. } = &listener.rules;
        // A list without a source that is known has a problem of its own.
        *allow_anonymous || sources.is_empty() || sources.iter().any(|source| is_configured(source, listener, defaults))
    };
    let hint = "set password_file in [identity] (`motte passwd add` writes it), or client_ca in [tls]";
    let why = match draft.remote.names().next() {
        Some(_) => "none of the sources that are asked is configured",
        None => "there is neither a password file nor a CA for client certificates in use",
    };
    let shut: Vec<_> = draft.listeners.iter().filter(|listener| !is_way_in(listener)).collect();
    if !shut.is_empty() && shut.len() == draft.listeners.len() {
        return problems.at(identity.line, format!("nobody could ever log in: {why}"), hint);
    }
    for listener in shut {
        let what = format!("nobody could ever log in through the listener {:?}: {why}", listener.name);
        problems.at(identity.line, what, hint);
    }
}

//! The keys of a listener that say what it asks of its clients, and those of other sections that are about them.
//!
//! Called by `parse`. Looks at no file.

use std::path::PathBuf;

use motte_broker::MountPoint;
use motte_mqtt::ProtocolVersion;
use motte_pki::IdentityField;
use motte_policy::suggestion;

use super::certificates::{self, ByName, Pair};
use super::identity;
use super::reader::{Located, Problems, Section};
use super::revocation;
use crate::settings::{ListenerRules, ListenerSettings, ProtocolVersions, SourceName};

/// What a listener has unless its own keys say otherwise.
#[derive(Debug)]
pub(super) struct Defaults {
    /// Whether `[tls]` names a CA for client certificates.
    pub(super) has_client_ca: bool,
    /// The field that `[identity]` chooses.
    pub(super) certificate_identity: Option<IdentityField>,
    /// The certificates that `[tls]` names beside the first.
    pub(super) by_name: ByName,
    /// The sources that `[identity]` names.
    pub(super) sources: Vec<SourceName>,
    /// The sources that there are, beside certificates.
    pub(super) configured: Vec<SourceName>,
}

/// The files that listeners name, with their lines.
#[derive(Debug, Default)]
pub(super) struct OwnFiles {
    /// CAs whose client certificates count.
    pub(super) client_cas: Vec<Located<PathBuf>>,
    /// Revocation lists.
    pub(super) crls: Vec<Located<PathBuf>>,
    /// Certificates of the broker beside the first, those of `[tls]` too.
    pub(super) pairs: Vec<Pair>,
}

/// Keys that mean something in TLS only.
const TLS_KEYS: [&str; 8] = [
    "client_ca",
    "crl",
    "certificate",
    "key",
    "certificates",
    "sni",
    "certificate_identity",
    "certificate_and_password",
];

/// The rules of a listener out of its section. The files of its own go to `files`.
pub(super) fn rules(
    section: &Section<'_>,
    defaults: &Defaults,
    files: &mut OwnFiles,
    problems: &mut Problems,
) -> ListenerRules {
    let client_ca = section.path("client_ca", problems);
    let crls = revocation::lists(section, problems);
    let certificate = certificates::own(section, &mut files.pairs, problems);
    let (own, strict) = ByName::of(section, "[[listener.certificates]]", &mut files.pairs, problems);
    let common = if certificate.is_some() { &[][..] } else { &defaults.by_name.certificates };
    let rules = ListenerRules {
        protocol_versions: protocol_versions(section, problems),
        allow_anonymous: false,
        sources: identity::sources(section, &defaults.configured, problems).unwrap_or_else(|| defaults.sources.clone()),
        certificate_and_password: section.flag("certificate_and_password", problems).unwrap_or(false),
        certificate_identity: certificate_identity(section, problems).unwrap_or(defaults.certificate_identity),
        client_ca: client_ca.as_ref().map(|file| file.value.clone()),
        crls: crls.as_ref().map(|files| files.iter().map(|file| file.value.clone()).collect()),
        certificate,
        certificates: [&own.certificates, common].concat(),
        sni_strict: strict.unwrap_or(defaults.by_name.strict),
        assign_client_ids: section.flag("assign_client_ids", problems).unwrap_or(true),
        mount_point: mount_point(section, problems),
    };
    files.client_cas.extend(client_ca);
    files.crls.extend(crls.into_iter().flatten());
    rules
}

/// Says which keys of a listener without TLS mean nothing.
pub(super) fn refuse_tls_keys(section: &Section<'_>, problems: &mut Problems) {
    for key in TLS_KEYS.into_iter().filter(|key| section.has(key)) {
        let line = section.line_of(key, problems);
        problems.at(line, format!("{key} is only for TLS"), "remove the line, or set transport = \"tls\"");
    }
}

/// `certificate_identity` of a section; `Some(None)` when certificates are no identity.
pub(super) fn certificate_identity(section: &Section<'_>, problems: &mut Problems) -> Option<Option<IdentityField>> {
    let words = [
        ("common-name", Some(IdentityField::CommonName)),
        ("san-dns", Some(IdentityField::SanDns)),
        ("san-uri", Some(IdentityField::SanUri)),
        ("san-email", Some(IdentityField::SanEmail)),
        ("subject", Some(IdentityField::Subject)),
        ("none", None),
    ];
    section.word("certificate_identity", &words, problems)
}

fn mount_point(section: &Section<'_>, problems: &mut Problems) -> MountPoint {
    let Some(text) = section.text("mount_point", problems) else { return MountPoint::default() };
    MountPoint::parse(&text.value).unwrap_or_else(|error| {
        let what = format!("the mount point {:?} {error}", text.value);
        problems.at(text.line, what, "write whole levels and a slash behind them: \"site-1/\"");
        MountPoint::default()
    })
}

fn protocol_versions(section: &Section<'_>, problems: &mut Problems) -> ProtocolVersions {
    let Some(texts) = section.texts("protocol_versions", problems) else { return ProtocolVersions::default() };
    let hint = "choose of \"3.1\", \"3.1.1\" and \"5.0\"";
    if texts.is_empty() {
        problems.at(section.line_of("protocol_versions", problems), "protocol_versions names no version", hint);
    }
    let mut versions = ProtocolVersions::NONE;
    for text in texts {
        match text.value.as_str() {
            "3.1" => versions = versions.with(ProtocolVersion::V31),
            "3.1.1" => versions = versions.with(ProtocolVersion::V311),
            "5.0" => versions = versions.with(ProtocolVersion::V5),
            other => problems.at(text.line, format!("{other:?} is no version of MQTT"), hint),
        }
    }
    versions
}

/// `[danger] allow_anonymous`: true for all listeners, or a list of their names.
pub(super) fn anonymous(
    danger: &Section<'_>,
    listeners: &mut [ListenerSettings],
    dangers: &mut Vec<&'static str>,
    problems: &mut Problems,
) {
    if !danger.is_list("allow_anonymous") {
        if danger.flag("allow_anonymous", problems).unwrap_or(false) {
            listeners.iter_mut().for_each(|listener| listener.rules.allow_anonymous = true);
            dangers.push("allow_anonymous: clients come in without any proof of who they are");
        }
        return;
    }
    let names = danger.texts("allow_anonymous", problems).unwrap_or_default();
    if !names.is_empty() {
        dangers.push("allow_anonymous: clients of a listener come in without any proof of who they are");
    }
    for name in names {
        if let Some(listener) = listeners.iter_mut().find(|listener| listener.name == name.value) {
            listener.rules.allow_anonymous = true;
            continue;
        }
        let known: Vec<_> = listeners.iter().map(|listener| listener.name.as_str()).collect();
        let hint = match suggestion(&name.value, &known) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("the listeners are {}", known.join(", ")),
        };
        problems.at(name.line, format!("there is no listener {:?}", name.value), hint);
    }
}

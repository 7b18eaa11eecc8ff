//! From the text of `motte.toml` to a draft of the settings: everything the file itself says, checked.
//!
//! Called by `ConfigFile::load`. Looks at no other file; `files` does that with what is named here.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use motte_broker::{Hints, QueuePolicy};
use toml::de::DeTable;

use super::catalogue::{BOUNDS, Bounds, known};
use super::certificates::{self, ByName};
use super::dynamic::{self, DynamicDraft};
use super::reader::{Located, Problems, Section};
use super::remote::{self, Weakened};
use super::rules::{self, Defaults, OwnFiles};
use super::{acme, durability, hints, identity, listener, revocation, tenancy};
use crate::secret::{SecretRef, VaultSettings};
use crate::settings::{
    AcmeSettings, DurabilitySettings, IdentitySettings, ListenerRules, ListenerSettings, LogFormat, LogLevel,
    LogSettings, OcspSource, RemoteSettings, RenewalSettings, SYS_INTERVAL, Settings, Tenancy, TlsSettings,
};

/// Sections that stand at the top.
const TOP: [&str; 13] = [
    "node",
    "listener",
    "tls",
    "acme",
    "identity",
    "vault",
    "tenant",
    "tenancy",
    "policy",
    "limits",
    "durability",
    "log",
    "danger",
];
const HINT_CERTIFICATE: &str = "name the PEM file; `motte quickstart` or `motte cert server NAME` makes one";

/// Settings of which required parts may be missing; then there is a problem that says so.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) shards: NonZeroU16,
    pub(super) sys_interval: Duration,
    pub(super) watch: bool,
    pub(super) control_socket: Option<PathBuf>,
    pub(super) listeners: Vec<ListenerSettings>,
    pub(super) certificate: Option<Located<PathBuf>>,
    pub(super) key: Option<Located<PathBuf>>,
    pub(super) client_ca: Option<Located<PathBuf>>,
    pub(super) key_password: Option<Located<SecretRef>>,
    pub(super) ocsp: Option<OcspSource>,
    pub(super) crls: Vec<Located<PathBuf>>,
    pub(super) accept_expired_crls: bool,
    pub(super) files: OwnFiles,
    pub(super) tls12: bool,
    pub(super) renewal: Option<RenewalDraft>,
    pub(super) acme: Option<AcmeSettings>,
    pub(super) password_file: Option<Located<PathBuf>>,
    pub(super) remote: RemoteSettings,
    pub(super) vault: Option<VaultSettings>,
    pub(super) tenancy: Tenancy,
    pub(super) acl_file: Option<Located<PathBuf>>,
    pub(super) policy_file: Option<Located<PathBuf>>,
    pub(super) dynamic: Option<DynamicDraft>,
    pub(super) bounds: Bounds,
    pub(super) durability: DurabilitySettings,
    pub(super) hints: Hints,
    pub(super) log: LogSettings,
    pub(super) dangers: Vec<&'static str>,
}

/// How the node renews its certificate, with the lines of the files.
#[derive(Debug)]
pub(super) struct RenewalDraft {
    pub(super) ca_certificate: Located<PathBuf>,
    pub(super) ca_key: Located<PathBuf>,
    pub(super) days: u16,
}

/// Reads the text. `None` when it is not TOML at all; then nothing but its syntax is complained of.
pub(super) fn parse(text: &str, problems: &mut Problems) -> Option<Draft> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let line = problems.line_of(error.span().map_or(0, |span| span.start));
        let what = error.message().lines().collect::<Vec<_>>().join(", ");
        problems.at(line, what, "this is not valid TOML here; is a quotation mark, a bracket or the rest missing?");
    }
    if !errors.is_empty() {
        return None;
    }
    if document.get_ref().is_empty() {
        problems.at(
            0,
            "the file holds no settings",
            "`motte quickstart` writes a complete one with every choice explained",
        );
        return None;
    }
    Some(draft(document.get_ref(), problems))
}

fn draft(document: &DeTable<'_>, problems: &mut Problems) -> Draft {
    let root = Section::root(document, &TOP, problems);
    let node = root.section("node", "[node]", &known("node"), problems);
    let tls = root.section("tls", "[tls]", &known("tls"), problems);
    let identity_section = root.section("identity", "[identity]", &known("identity"), problems);
    let policy = root.section("policy", "[policy]", &known("policy"), problems);
    let danger = root.section("danger", "[danger]", &known("danger"), problems);
    if !["acl_file", "policy_file", "dynamic_file"].iter().any(|key| policy.has(key)) {
        let hint = "name the file with the access rules; without rules all is denied";
        policy.missing("acl_file", hint, problems);
    }
    let client_ca = tls.path("client_ca", problems);
    let mut dangers = Vec::new();
    let weakened = Weakened::of(&danger, &mut dangers, problems);
    let remote = remote::sources(&identity_section, &weakened, problems);
    let declared = remote::declared(&identity_section, problems);
    let configured = identity::configured(&identity_section, &policy, declared);
    let mut pairs = Vec::new();
    let (by_name, _) = ByName::of(&tls, "[[tls.certificates]]", &mut pairs, problems);
    let defaults = Defaults {
        by_name,
        has_client_ca: client_ca.is_some(),
        certificate_identity: rules::certificate_identity(&identity_section, problems)
            .unwrap_or(ListenerRules::default().certificate_identity),
        sources: identity::sources(&identity_section, &configured, problems)
            .unwrap_or_else(|| ListenerRules::default().sources),
        configured,
    };
    let (mut listeners, mut files) = listener::all(&root, &danger, &defaults, &mut dangers, problems);
    files.pairs.append(&mut pairs);
    rules::anonymous(&danger, &mut listeners, &mut dangers, problems);
    if listeners.is_empty() && problems.is_empty() {
        problems.at(0, "there is no listener", "add a section [[listener]] with address = \"127.0.0.1:8883\"");
    }
    let draft = Draft {
        shards: shards(&node, problems),
        sys_interval: node.number("sys_interval_s", 0..=86_400, problems).map_or(SYS_INTERVAL, Duration::from_secs),
        watch: node.flag("watch", problems).unwrap_or(true),
        control_socket: node.path("control_socket", problems).map(|path| path.value),
        certificate: required(&tls, "certificate", HINT_CERTIFICATE, problems),
        key: required(&tls, "key", "name the PEM file with the key of the certificate", problems),
        key_password: certificates::key_password(&tls, problems),
        ocsp: certificates::ocsp(&tls, problems),
        crls: revocation::lists(&tls, problems).unwrap_or_default(),
        accept_expired_crls: revocation::accept_expired(&tls, &danger, &mut dangers, problems),
        tls12: tls.word("min", &[("1.2", true), ("1.3", false)], problems).unwrap_or(true),
        renewal: renewal(&tls, problems),
        acme: acme::parse(&root, problems),
        password_file: identity_section.path("password_file", problems),
        remote,
        vault: remote::vault(&root, &weakened, problems),
        tenancy: tenancy::parse(&root, &listeners, problems),
        acl_file: policy.path("acl_file", problems),
        policy_file: policy.path("policy_file", problems),
        dynamic: dynamic::parse(&policy, problems),
        bounds: bounds(&root, problems),
        durability: durability::parse(&root, &danger, &mut dangers, problems),
        hints: hints::parse(&node, problems),
        log: log(&root, problems),
        listeners,
        client_ca,
        files,
        dangers,
    };
    if draft.acme.is_some() && draft.renewal.is_some() {
        let what = "[acme] and [tls.renewal] both say who renews the certificate";
        problems.at(tls.line, what, "remove one of them");
    }
    identity::check(&draft, &defaults, &identity_section, problems);
    draft
}

impl Draft {
    /// The settings. Called only without problems.
    pub(super) fn finish(self, source: PathBuf) -> Settings {
        let present = "a required key that is missing is a problem";
        let renewal = self.renewal.map(|renewal| RenewalSettings {
            ca_certificate: renewal.ca_certificate.value,
            ca_key: renewal.ca_key.value,
            days: renewal.days,
        });
        Settings {
            source,
            shards: self.shards,
            sys_interval: self.sys_interval,
            watch: self.watch,
            control_socket: self.control_socket.or_else(|| self.durability.control_socket()),
            listeners: self.listeners,
            tls: TlsSettings {
                certificate: self.certificate.expect(present).value,
                key: self.key.expect(present).value,
                client_ca: self.client_ca.map(|path| path.value),
                key_password: self.key_password.map(|reference| reference.value),
                ocsp: self.ocsp,
                crls: self.crls.into_iter().map(|path| path.value).collect(),
                accept_expired_crls: self.accept_expired_crls,
                tls12: self.tls12,
                renewal,
                acme: self.acme,
            },
            identity: IdentitySettings {
                password_file: self.password_file.map(|path| path.value),
                remote: self.remote,
            },
            vault: self.vault,
            tenancy: self.tenancy,
            acl_file: self.acl_file.map(|file| file.value),
            policy_file: self.policy_file.map(|file| file.value),
            dynamic: self.dynamic.map(DynamicDraft::finish),
            gate: self.bounds.gate,
            limits: self.bounds.shard,
            links: self.bounds.links,
            durability: self.durability,
            hints: self.hints,
            log: self.log,
            dangers: self.dangers,
        }
    }
}

pub(super) fn required(
    section: &Section<'_>,
    key: &str,
    hint: &str,
    problems: &mut Problems,
) -> Option<Located<PathBuf>> {
    if !section.has(key) {
        section.missing(key, hint, problems);
    }
    section.path(key, problems)
}

fn shards(node: &Section<'_>, problems: &mut Problems) -> NonZeroU16 {
    let written = node.number("shards", 1..=256, problems).and_then(|count| u16::try_from(count).ok());
    let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get().min(256));
    let count = written.unwrap_or_else(|| u16::try_from(cores()).unwrap_or(1));
    NonZeroU16::new(count).unwrap_or(NonZeroU16::MIN)
}

fn renewal(tls: &Section<'_>, problems: &mut Problems) -> Option<RenewalDraft> {
    let section = tls.section("renewal", "[tls.renewal]", &known("tls.renewal"), problems);
    if section.is_empty() {
        return None;
    }
    let ca_certificate = required(&section, "ca_certificate", "name the certificate of your private CA", problems);
    let ca_key = required(&section, "ca_key", "name the key of your private CA, or remove the section", problems);
    let most = u64::from(motte_pki::SERVER_DAYS_MAX);
    let days = section.number("days", 1..=most, problems).and_then(|days| u16::try_from(days).ok());
    let days = days.unwrap_or(motte_pki::SERVER_DAYS_MAX);
    Some(RenewalDraft { ca_certificate: ca_certificate?, ca_key: ca_key?, days })
}

fn bounds(root: &Section<'_>, problems: &mut Problems) -> Bounds {
    let section = root.section("limits", "[limits]", &known("limits"), problems);
    let mut bounds = Bounds::default();
    let policies = [("reject", QueuePolicy::Reject), ("drop-oldest", QueuePolicy::DropOldest)];
    bounds.shard.queue_policy = section.word("queue_policy", &policies, problems).unwrap_or_default();
    for bound in BOUNDS {
        if let Some(value) = section.number(bound.name, bound.range.clone(), problems) {
            (bound.write)(&mut bounds, value);
        }
    }
    bounds
}

fn log(root: &Section<'_>, problems: &mut Problems) -> LogSettings {
    let section = root.section("log", "[log]", &known("log"), problems);
    let formats = [("auto", LogFormat::Auto), ("human", LogFormat::Human), ("json", LogFormat::Json)];
    let levels =
        [("error", LogLevel::Error), ("warn", LogLevel::Warn), ("info", LogLevel::Info), ("debug", LogLevel::Debug)];
    LogSettings {
        format: section.word("format", &formats, problems).unwrap_or_default(),
        level: section.word("level", &levels, problems).unwrap_or_default(),
    }
}

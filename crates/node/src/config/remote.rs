//! `[[identity.jwt]]`, `[[identity.http]]`, `[[identity.ldap]]` and `[vault]`: sources of identities and of secrets
//! that are not on this machine.
//!
//! Called by `parse`. Asks nobody and looks at no file. Nothing is spoken in the clear beyond loopback, and no secret
//! stands in the file, unless `[danger]` says so.

use std::path::{Path, PathBuf};
use std::time::Duration;

use motte_pki::JwtAlgorithm;

use super::catalogue::known;
use super::parse::Draft;
use super::reader::{Located, Problems, Section};
use crate::gate::authn::RemoteSources;
use crate::outbound::HttpUrl;
use crate::secret::{SecretRef, VaultLogin, VaultSettings, process_environment};
use crate::settings::{JwksSettings, JwtKeySource, JwtSettings, RemoteSettings, SourceName, TokenIn, WebhookSettings};

mod ldap;

const NAME_CHARS_MAX: usize = 32;
/// Milliseconds that an answer may take.
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 50..=60_000;
const TIMEOUT_MS_DEFAULT: u64 = 3_000;
const CONNECTIONS: std::ops::RangeInclusive<u64> = 1..=256;
const CONNECTIONS_DEFAULT: usize = 16;
/// A day: somebody who was locked out at the source does not stay for longer.
const SESSION_S_DEFAULT: u64 = 24 * 60 * 60;
const YEAR_S: u64 = 366 * 24 * 60 * 60;

/// What `[danger]` allows here.
#[derive(Debug, Default)]
pub(super) struct Weakened {
    /// Whether secrets may stand in the file.
    literal_secrets: bool,
    /// Sources that may be spoken with in the clear.
    plaintext: Vec<Located<String>>,
}

impl Weakened {
    /// Reads `[danger]`.
    pub(super) fn of(danger: &Section<'_>, dangers: &mut Vec<&'static str>, problems: &mut Problems) -> Self {
        let literal_secrets = danger.flag("literal_secrets", problems).unwrap_or(false);
        if literal_secrets {
            dangers.push("literal_secrets: secrets may stand in the configuration file itself");
        }
        let plaintext = danger.texts("plaintext_sources", problems).unwrap_or_default();
        if !plaintext.is_empty() {
            dangers.push("plaintext_sources: passwords go to a source of identities in the clear");
        }
        Self { literal_secrets, plaintext }
    }

    fn allows_plaintext(&self, source: &str) -> bool {
        self.plaintext.iter().any(|name| name.value == source)
    }

    /// A reference to a secret. What is not one is not shown: it may be the secret.
    pub(super) fn secret(&self, section: &Section<'_>, key: &str, problems: &mut Problems) -> Option<SecretRef> {
        const HINT: &str = "write env:NAME, file:PATH, credential:NAME or vault:MOUNT/PATH#KEY";
        let text = section.text(key, problems)?;
        match SecretRef::parse(&text.value, &problems.beside("")) {
            Ok(SecretRef::Literal(_)) if !self.literal_secrets => {
                problems.at(text.line, format!("{key} is a secret in the configuration file itself"), HINT);
                None
            }
            Ok(reference) => Some(reference),
            Err(error) => {
                problems.at(text.line, format!("{key} cannot be used: {error}"), HINT);
                None
            }
        }
    }
}

/// All sources, in the order of the file.
pub(super) fn sources(identity: &Section<'_>, weakened: &Weakened, problems: &mut Problems) -> RemoteSettings {
    let sections = |name, title, problems: &mut Problems| {
        identity.sections(name, title, &known(&format!("identity.{name}")), problems)
    };
    let mut remote = RemoteSettings::default();
    for section in sections("jwt", "[[identity.jwt]]", problems) {
        remote.jwt.extend(jwt(&section, weakened, problems));
    }
    for section in sections("http", "[[identity.http]]", problems) {
        remote.http.extend(webhook(&section, weakened, problems));
    }
    for section in sections("ldap", "[[identity.ldap]]", problems) {
        remote.ldap.extend(ldap::directory(&section, weakened, problems));
    }
    let mut names: Vec<_> = remote.names().map(|(name, line)| (name.to_string(), line)).collect();
    names.sort();
    for pair in names.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        problems.at(pair[1].1, format!("two sources have the name {:?}", pair[0].0), "give each its own name");
    }
    for name in weakened.plaintext.iter().filter(|name| !names.iter().any(|(known, _)| *known == name.value)) {
        problems.at(name.line, format!("there is no source {:?}", name.value), "write \"http:NAME\" or \"ldap:NAME\"");
    }
    remote
}

/// A kind of source: its key, the title of its sections, and how its name is made.
type Maker = (&'static str, &'static str, fn(String) -> SourceName);

/// The names of all that the file declares, right or wrong: what is wrong about one is told at its section alone.
pub(super) fn declared(identity: &Section<'_>, problems: &mut Problems) -> Vec<SourceName> {
    let makers: [Maker; 3] = [
        ("jwt", "[[identity.jwt]]", SourceName::Jwt),
        ("http", "[[identity.http]]", SourceName::Http),
        ("ldap", "[[identity.ldap]]", SourceName::Ldap),
    ];
    let mut names = Vec::new();
    for (kind, title, make) in makers {
        for section in identity.sections(kind, title, &known(&format!("identity.{kind}")), problems) {
            names.extend(section.text("name", problems).map(|name| make(name.value)));
        }
    }
    names
}

/// The name of a source.
fn name(section: &Section<'_>, problems: &mut Problems) -> Option<String> {
    let name = needed(section, "name", "it is how sources and the log call it", problems)?;
    let plain = name.value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if name.value.is_empty() || name.value.len() > NAME_CHARS_MAX || !plain {
        let hint = "use 1 to 32 letters, digits, hyphens, underscores and dots";
        problems.at(name.line, format!("{:?} cannot be the name of a source", name.value), hint);
    }
    Some(name.value)
}

/// A text that has to be there and say something.
fn needed(section: &Section<'_>, key: &str, hint: &str, problems: &mut Problems) -> Option<Located<String>> {
    if !section.has(key) {
        section.missing(key, hint, problems);
    }
    let text = section.text(key, problems)?;
    if text.value.is_empty() {
        problems.at(text.line, format!("{key} is empty"), hint);
        return None;
    }
    Some(text)
}

fn optional(section: &Section<'_>, key: &str, problems: &mut Problems) -> Option<String> {
    if section.has(key) {
        needed(section, key, "write something, or remove the line", problems).map(|text| text.value)
    } else {
        None
    }
}

fn seconds(section: &Section<'_>, key: &str, most: u64, default: u64, problems: &mut Problems) -> Duration {
    Duration::from_secs(section.number(key, 0..=most, problems).unwrap_or(default))
}

fn timeout(section: &Section<'_>, problems: &mut Problems) -> Duration {
    Duration::from_millis(section.number("timeout_ms", TIMEOUT_MS, problems).unwrap_or(TIMEOUT_MS_DEFAULT))
}

fn connections_max(section: &Section<'_>, problems: &mut Problems) -> usize {
    let written = section.number("connections_max", CONNECTIONS, problems);
    written.and_then(|most| usize::try_from(most).ok()).unwrap_or(CONNECTIONS_DEFAULT)
}

fn session_max(section: &Section<'_>, problems: &mut Problems) -> Duration {
    let written = section.number("session_s", 60..=YEAR_S, problems);
    Duration::from_secs(written.unwrap_or(SESSION_S_DEFAULT))
}

/// A URL over TLS; one without only where `clear` says that it may be.
fn url(
    section: &Section<'_>,
    key: &str,
    clear: impl FnOnce(&HttpUrl) -> bool,
    problems: &mut Problems,
) -> Option<HttpUrl> {
    let hint = format!("write {key} = \"https://…\"");
    let text = needed(section, key, &hint, problems)?;
    match HttpUrl::parse(&text.value) {
        Ok(url) if url.is_encrypted() || clear(&url) => Some(url),
        Ok(_) => {
            problems.at(text.line, format!("{key} is not over TLS"), hint);
            None
        }
        Err(error) => {
            problems.at(text.line, format!("{key} is no URL that can be used: {error}"), hint);
            None
        }
    }
}

fn jwt(section: &Section<'_>, weakened: &Weakened, problems: &mut Problems) -> Option<JwtSettings> {
    let name = name(section, problems);
    let algorithms = algorithms(section, problems);
    let issuer = needed(section, "issuer", "write the iss of its tokens", problems);
    let audience = needed(section, "audience", "write the aud that tokens for this broker have", problems);
    let keys = keys(section, weakened, problems);
    let words = [("password", TokenIn::Password), ("username", TokenIn::Username)];
    let token_in = section.word("token_in", &words, problems).unwrap_or_default();
    let settings = JwtSettings {
        leeway: seconds(section, "leeway_s", 300, 0, problems),
        username_claim: optional(section, "username_claim", problems).unwrap_or_else(|| String::from("sub")),
        client_id_claim: optional(section, "client_id_claim", problems),
        acl_claim: optional(section, "acl_claim", problems),
        tenant_claim: optional(section, "tenant_claim", problems),
        token_in,
        name: name?,
        line: section.line,
        algorithms: algorithms?,
        issuer: issuer?.value,
        audience: audience?.value,
        keys: keys?,
    };
    let is_shared = matches!(settings.keys, JwtKeySource::Secret(_));
    if settings.algorithms.iter().any(|algorithm| algorithm.secret_bytes_min().is_some() != is_shared) {
        let line = section.line_of("algorithms", problems);
        let hint = "HS256 and its kind are for a secret, all others for jwks_file and jwks_url";
        problems.at(line, "the algorithms do not fit the keys", hint);
    }
    Some(settings)
}

fn algorithms(section: &Section<'_>, problems: &mut Problems) -> Option<Vec<JwtAlgorithm>> {
    let all: Vec<_> = JwtAlgorithm::NAMES.iter().map(|(name, _)| *name).collect();
    let hint = format!("name those the issuer uses, of {}", all.join(", "));
    if !section.has("algorithms") {
        section.missing("algorithms", &hint, problems);
    }
    let texts = section.texts("algorithms", problems)?;
    if texts.is_empty() {
        problems.at(section.line_of("algorithms", problems), "algorithms names none", hint.clone());
    }
    let mut algorithms = Vec::new();
    for text in texts {
        match JwtAlgorithm::from_name(&text.value) {
            Some(algorithm) => algorithms.push(algorithm),
            None => problems.at(text.line, format!("{:?} is no algorithm for tokens", text.value), hint.clone()),
        }
    }
    Some(algorithms)
}

fn keys(section: &Section<'_>, weakened: &Weakened, problems: &mut Problems) -> Option<JwtKeySource> {
    const CHOICES: [&str; 3] = ["jwks_file", "jwks_url", "secret"];
    let chosen: Vec<_> = CHOICES.into_iter().filter(|key| section.has(key)).collect();
    let [key] = chosen[..] else {
        let what = format!("one of {} is needed, and only one", CHOICES.join(", "));
        problems.at(section.line, what, "say where the keys of the issuer are");
        return None;
    };
    if key != "jwks_url" {
        for key in ["ca", "timeout_ms", "refresh_s", "refetch_s", "stale_s"].into_iter().filter(|key| section.has(key))
        {
            let line = section.line_of(key, problems);
            problems.at(line, format!("{key} is only for jwks_url"), "remove the line");
        }
    }
    match key {
        "jwks_file" => section.path(key, problems).map(|path| JwtKeySource::File(path.value)),
        "secret" => weakened.secret(section, key, problems).map(JwtKeySource::Secret),
        _ => {
            let number = |key, range, default, problems: &mut Problems| {
                Duration::from_secs(section.number(key, range, problems).unwrap_or(default))
            };
            let settings = JwksSettings {
                ca: section.path("ca", problems).map(|path| path.value),
                timeout: timeout(section, problems),
                refresh: number("refresh_s", 1..=86_400, 300, problems),
                refetch_min: number("refetch_s", 1..=3_600, 10, problems),
                stale_max: number("stale_s", 1..=7 * 86_400, 86_400, problems),
                url: url(section, key, |_| false, problems)?,
            };
            Some(JwtKeySource::Url(settings))
        }
    }
}

fn webhook(section: &Section<'_>, weakened: &Weakened, problems: &mut Problems) -> Option<WebhookSettings> {
    let name = name(section, problems);
    let shown = format!("http:{}", name.as_deref().unwrap_or_default());
    let clear = |url: &HttpUrl| url.is_loopback() || weakened.allows_plaintext(&shown);
    let url = url(section, "url", clear, problems);
    let certificate = section.path("client_certificate", problems);
    let key = section.path("client_key", problems);
    if certificate.is_some() != key.is_some() {
        problems.at(section.line, "client_certificate and client_key belong together", "set both, or none");
    }
    let entries = section.number("cache_entries_max", 0..=1_000_000, problems);
    Some(WebhookSettings {
        ca: section.path("ca", problems).map(|path| path.value),
        client_certificate: certificate.zip(key).map(|(certificate, key)| (certificate.value, key.value)),
        token: weakened.secret(section, "token", problems),
        timeout: timeout(section, problems),
        connections_max: connections_max(section, problems),
        cache: seconds(section, "cache_s", 3_600, 0, problems),
        cache_entries_max: entries.and_then(|most| usize::try_from(most).ok()).unwrap_or(10_000),
        session_max: session_max(section, problems),
        name: name?,
        line: section.line,
        url: url?,
    })
}

/// Builds every source as a start would, but for what only the vault knows: nobody is asked for a check.
pub(super) fn check(file: &Path, draft: &Draft, problems: &mut Problems) {
    let resolve = |reference: &SecretRef| match reference {
        SecretRef::Vault(_) if draft.vault.is_some() => None,
        other => Some(other.resolve(&process_environment)),
    };
    if let Err(errors) = RemoteSources::build(file, &draft.remote, &mut { resolve }) {
        errors.into_iter().for_each(|error| problems.push(error));
    }
    if let Some(vault) = &draft.vault
        && let Err(error) = vault.login.proof().resolve(&process_environment)
    {
        problems.at(vault.line, format!("[vault] cannot be used: {error}"), error.hint());
    }
}

/// `[vault]`, where there is one.
pub(super) fn vault(root: &Section<'_>, weakened: &Weakened, problems: &mut Problems) -> Option<VaultSettings> {
    let section = root.section("vault", "[vault]", &known("vault"), problems);
    if section.is_empty() {
        return None;
    }
    let url = url(&section, "url", |_| false, problems);
    let login = login(&section, weakened, problems);
    Some(VaultSettings {
        line: section.line,
        ca: section.path("ca", problems).map(|path: Located<PathBuf>| path.value),
        namespace: optional(&section, "namespace", problems),
        timeout: timeout(&section, problems),
        login: login?,
        url: url?,
    })
}

fn login(section: &Section<'_>, weakened: &Weakened, problems: &mut Problems) -> Option<VaultLogin> {
    let said = ["token", "role_id", "secret_id"].map(|key| section.has(key));
    if !matches!(said, [true, false, false] | [false, true, true]) {
        let hint = "set token = \"file:…\", or role_id and secret_id = \"file:…\"";
        problems.at(section.line, "who the broker is to the vault is not said, or is said twice", hint);
        return None;
    }
    let key = if said[0] { "token" } else { "secret_id" };
    let proof = weakened.secret(section, key, problems)?;
    if matches!(proof, SecretRef::Vault(_)) {
        let line = section.line_of(key, problems);
        problems.at(line, format!("{key} cannot be in the vault that it opens"), "write file:PATH or env:NAME");
        return None;
    }
    Some(match optional(section, "role_id", problems) {
        Some(role_id) => VaultLogin::AppRole { role_id, secret_id: proof },
        None => VaultLogin::Token(proof),
    })
}

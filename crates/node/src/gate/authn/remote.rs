//! The sources that are not on this machine, made out of their settings.
//!
//! Built with each snapshot, where files may be read and secrets asked for; the configuration's check builds them too.
//! A source of which any part cannot be used is an error of the whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use motte_pki::{JwtKeys, KeyMark};
use motte_policy::Vouch;

use super::Source;
use super::jwt::{Fetched, Keyring, Tokens};
use super::ldap::Directory;
use super::webhook::{Webhook, bearer};
use crate::config::ConfigError;
use crate::secret::{Secret, SecretError, SecretRef};
use crate::settings::{JwtKeySource, JwtSettings, LdapSettings, RemoteSettings, SourceName, WebhookSettings};
use crate::snapshot::problem;

/// Bytes of the longest file of keys.
const KEYS_BYTES_MAX: u64 = 1024 * 1024;

/// Finds a secret; `None` when it is not looked for now, and what needs it is passed over.
pub(crate) type Secrets<'a> = &'a mut dyn FnMut(&SecretRef) -> Option<Result<Secret, SecretError>>;

/// All of them, by their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct RemoteSources {
    jwt: BTreeMap<String, Arc<Tokens>>,
    others: BTreeMap<SourceName, Arc<dyn Source>>,
}

impl RemoteSources {
    /// Makes all that the settings of a configuration file name.
    ///
    /// # Errors
    /// What cannot be used, at the lines that declare them.
    pub(crate) fn build(file: &Path, remote: &RemoteSettings, secrets: Secrets<'_>) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut sources = Self::default();
        let mut keep = |line: usize, trouble: Trouble| {
            errors.push(problem(file, line, trouble.what, &trouble.hint));
        };
        for jwt in &remote.jwt {
            match tokens(jwt, secrets) {
                Ok(Some(tokens)) => drop(sources.jwt.insert(jwt.name.clone(), Arc::new(tokens))),
                Ok(None) => {}
                Err(trouble) => keep(jwt.line, trouble.of(&format!("jwt:{}", jwt.name))),
            }
        }
        for http in &remote.http {
            let name = SourceName::Http(http.name.clone());
            match webhook(http, secrets) {
                Ok(Some(source)) => drop(sources.others.insert(name, Arc::new(source))),
                Ok(None) => {}
                Err(trouble) => keep(http.line, trouble.of(&name.to_string())),
            }
        }
        for ldap in &remote.ldap {
            let name = SourceName::Ldap(ldap.name.clone());
            match directory(ldap, secrets) {
                Ok(Some(source)) => drop(sources.others.insert(name, Arc::new(source))),
                Ok(None) => {}
                Err(trouble) => keep(ldap.line, trouble.of(&name.to_string())),
            }
        }
        if errors.is_empty() { Ok(sources) } else { Err(errors) }
    }

    /// Takes over what was fetched before a reload, so that an issuer that is away just now locks nobody out.
    pub(crate) fn inherit(&self, earlier: &Self) {
        for (name, tokens) in &self.jwt {
            if let Some(earlier) = earlier.jwt.get(name) {
                tokens.inherit(earlier);
            }
        }
    }

    /// The source of a name.
    pub(crate) fn get(&self, name: &SourceName) -> Option<Arc<dyn Source>> {
        match name {
            SourceName::Jwt(name) => self.jwt.get(name).map(|source| Arc::clone(source) as Arc<dyn Source>),
            other => self.others.get(other).cloned(),
        }
    }

    /// Whether what a source said before still stands, as far as that is known without asking it.
    pub(crate) fn uphold(&self, vouch: &Vouch) -> bool {
        match SourceName::parse(&vouch.source) {
            Some(SourceName::Jwt(name)) => {
                let key = vouch.key.map(KeyMark::from_bytes);
                self.jwt.get(&name).zip(key).is_some_and(|(source, key)| source.upholds(key))
            }
            Some(other) => self.others.contains_key(&other),
            None => false,
        }
    }
}

/// What is wrong with a source.
struct Trouble {
    what: String,
    hint: String,
}

impl Trouble {
    fn of(self, source: &str) -> Self {
        Self { what: format!("the source {source:?} cannot be used: {}", self.what), ..self }
    }
}

impl From<motte_pki::TlsFileError> for Trouble {
    fn from(error: motte_pki::TlsFileError) -> Self {
        Self { what: error.to_string(), hint: error.hint() }
    }
}

impl From<SecretError> for Trouble {
    fn from(error: SecretError) -> Self {
        Self { what: error.to_string(), hint: error.hint() }
    }
}

fn tokens(settings: &JwtSettings, secrets: Secrets<'_>) -> Result<Option<Tokens>, Trouble> {
    let keyring = match &settings.keys {
        JwtKeySource::File(path) => Keyring::Fixed(Arc::new(keys_of(path)?)),
        JwtKeySource::Url(jwks) => Keyring::Fetched(Arc::new(Fetched::new(&format!("jwt:{}", settings.name), jwks)?)),
        JwtKeySource::Secret(reference) => {
            let Some(secret) = secrets(reference) else { return Ok(None) };
            let keys = JwtKeys::from_secret(secret?.bytes(), &settings.algorithms).map_err(|error| Trouble {
                what: error.to_string(),
                hint: String::from("make one with `openssl rand -base64 64` and give it to the issuer too"),
            })?;
            Keyring::Fixed(Arc::new(keys))
        }
    };
    Ok(Some(Tokens::new(settings, keyring)))
}

fn keys_of(path: &Path) -> Result<JwtKeys, Trouble> {
    let trouble = |what: String| Trouble {
        what: format!("{} {what}", path.display()),
        hint: String::from("name a file with the public keys of the issuer, as its jwks_uri has them"),
    };
    let unreadable = |error: std::io::Error| trouble(format!("cannot be read: {error}"));
    let found = fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() || found.len() > KEYS_BYTES_MAX {
        return Err(trouble(String::from("is no file of keys")));
    }
    let json = fs::read(path).map_err(unreadable)?;
    JwtKeys::from_set(&json).map_err(|error| trouble(format!("cannot be used: {error}")))
}

fn webhook(settings: &WebhookSettings, secrets: Secrets<'_>) -> Result<Option<Webhook>, Trouble> {
    let token = match &settings.token {
        Some(reference) => {
            let Some(secret) = secrets(reference) else { return Ok(None) };
            Some(bearer(&secret?)?)
        }
        None => None,
    };
    Ok(Some(Webhook::new(settings, token)?))
}

fn directory(settings: &LdapSettings, secrets: Secrets<'_>) -> Result<Option<Directory>, Trouble> {
    let Some(secret) = secrets(&settings.bind_password) else { return Ok(None) };
    let secret = secret?;
    secret.text()?;
    Ok(Some(Directory::new(settings, secret)?))
}

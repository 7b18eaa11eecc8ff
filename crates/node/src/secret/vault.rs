//! Secrets in HashiCorp Vault or OpenBao: its KV store, version 2, asked over TLS.
//!
//! Used by the resolver when a snapshot is built. A token that it logged in for is given back at once; nothing that is
//! read outlives the snapshot it is for.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use motte_pki::{ClientTlsParams, Roots};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use super::{Secret, SecretError, SecretRef};
use crate::outbound::{Answer, HttpClient, HttpUrl, Question};

/// Bytes of the longest answer.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");

/// The vault that secrets are kept in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultSettings {
    /// The line of its section.
    pub line: usize,
    /// Where it is.
    pub url: HttpUrl,
    /// PEM certificates of the CAs it is believed by; `None`: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Who the broker is to it.
    pub login: VaultLogin,
    /// Its namespace, where it has several.
    pub namespace: Option<String>,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// Who the broker is to the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultLogin {
    /// Whoever has this token.
    Token(SecretRef),
    /// A role and its secret.
    AppRole {
        /// The identifier of the role.
        role_id: String,
        /// The secret.
        secret_id: SecretRef,
    },
}

impl VaultSettings {
    /// The files that are read for it.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.ca.iter().chain(self.login.proof().file())
    }
}

impl VaultLogin {
    /// The secret that it takes.
    #[must_use]
    pub fn proof(&self) -> &SecretRef {
        match self {
            Self::Token(proof) | Self::AppRole { secret_id: proof, .. } => proof,
        }
    }
}

/// A value in the vault: `vault:MOUNT/PATH#KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultPath {
    mount: String,
    path: String,
    key: String,
}

impl VaultPath {
    /// Reads what stands behind `vault:`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (place, key) = text.rsplit_once('#')?;
        let (mount, path) = place.split_once('/')?;
        let is_level = |level: &str| !matches!(level, "" | "." | "..") && !level.chars().any(char::is_control);
        let sound = is_level(mount) && path.split('/').all(is_level) && is_level(key);
        sound.then(|| Self { mount: mount.to_owned(), path: path.to_owned(), key: key.to_owned() })
    }

    /// What its siblings have in common with it: the path in the interface of the vault.
    pub(super) fn place(&self) -> String {
        format!("/v1/{}/data/{}", escaped(&self.mount), escaped(&self.path))
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for VaultPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}#{}", self.mount, self.path, self.key)
    }
}

/// Everything but letters, digits, `-._~` and slashes as %XX (RFC 3986, 2.3).
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The texts at one place of the vault, by their keys.
pub(super) type Values = BTreeMap<String, Zeroizing<String>>;

/// Reads everything at a place. `proof` is what `login` refers to.
pub(super) async fn read(settings: &VaultSettings, proof: &Secret, place: &str) -> Result<Values, SecretError> {
    let vault = Vault::new(settings)?;
    let proof = proof.text()?;
    let VaultLogin::AppRole { role_id, .. } = &settings.login else {
        return vault.values(proof, place).await;
    };
    let token = vault.login(role_id, proof).await?;
    let values = vault.values(&token, place).await;
    // One that cannot be given back ends by itself after the time the vault set for it.
    let _ = vault.ask(Method::POST, "/v1/auth/token/revoke-self", Some(&token), Zeroizing::default()).await;
    values
}

struct Vault<'a> {
    settings: &'a VaultSettings,
    client: HttpClient,
}

#[derive(Deserialize)]
struct Login {
    auth: LoginAuth,
}

#[derive(Deserialize)]
struct LoginAuth {
    client_token: Text,
}

#[derive(Deserialize)]
struct Reading {
    data: ReadingData,
}

#[derive(Deserialize)]
struct ReadingData {
    data: Option<BTreeMap<String, Text>>,
}

impl<'a> Vault<'a> {
    fn new(settings: &'a VaultSettings) -> Result<Self, SecretError> {
        let roots = settings.ca.clone().map_or(Roots::System, Roots::File);
        let tls = ClientTlsParams { roots, ..ClientTlsParams::default() };
        let client = HttpClient::new(settings.url.clone(), &tls, settings.timeout, 1)
            .map_err(|error| SecretError::Vault(error.to_string()))?;
        Ok(Self { settings, client })
    }

    async fn login(&self, role_id: &str, secret_id: &str) -> Result<Zeroizing<String>, SecretError> {
        let body = serde_json::json!({ "role_id": role_id, "secret_id": secret_id }).to_string();
        let answer = self.ask(Method::POST, "/v1/auth/approle/login", None, Zeroizing::new(body)).await?;
        let body = Zeroizing::new(answer.body);
        let login: Option<Login> = serde_json::from_slice(&body).ok().filter(|_| answer.status == StatusCode::OK);
        let token = login.and_then(|login| login.auth.client_token.0);
        token.ok_or_else(|| SecretError::Vault(format!("it did not take the role and its secret ({})", answer.status)))
    }

    async fn values(&self, token: &str, place: &str) -> Result<Values, SecretError> {
        let answer = self.ask(Method::GET, place, Some(token), Zeroizing::default()).await?;
        let body = Zeroizing::new(answer.body);
        match answer.status {
            StatusCode::OK => {}
            StatusCode::FORBIDDEN => {
                return Err(SecretError::Vault(String::from("it does not let the broker read it")));
            }
            StatusCode::NOT_FOUND => return Err(SecretError::Vault(String::from("it has nothing at this path"))),
            status => return Err(SecretError::Vault(format!("it answers {status}"))),
        }
        let reading: Option<Reading> = serde_json::from_slice(&body).ok();
        let values = reading.and_then(|reading| reading.data.data);
        let values = values
            .ok_or_else(|| SecretError::Vault(String::from("it does not answer like a KV store of version 2")))?;
        Ok(values.into_iter().filter_map(|(key, value)| Some((key, value.0?))).collect())
    }

    async fn ask(
        &self,
        method: Method,
        place: &str,
        token: Option<&str>,
        body: Zeroizing<String>,
    ) -> Result<Answer, SecretError> {
        let mut headers = Vec::new();
        let not_a_header = |_| SecretError::Vault(String::from("the token or the namespace cannot stand in a header"));
        if let Some(token) = token {
            let mut token = HeaderValue::from_str(token).map_err(not_a_header)?;
            token.set_sensitive(true);
            headers.push((TOKEN, token));
        }
        if let Some(namespace) = &self.settings.namespace {
            headers.push((NAMESPACE, HeaderValue::from_str(namespace).map_err(not_a_header)?));
        }
        let path = format!("{}{place}", self.client.url().path().trim_end_matches('/'));
        let body = Bytes::copy_from_slice(body.as_bytes());
        let question = Question { method, path, headers, body, answer_bytes_max: ANSWER_BYTES_MAX };
        self.client.ask(question).await.map_err(|error| SecretError::Vault(error.to_string()))
    }
}

/// A text that is wiped; `None` for a value that is none, and is passed over.
struct Text(Option<Zeroizing<String>>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(Some(Zeroizing::new(text.to_owned()))))
    }

    fn visit_string<E>(self, text: String) -> Result<Text, E> {
        Ok(Text(Some(Zeroizing::new(text))))
    }

    fn visit_unit<E>(self) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Text, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Text, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }
}

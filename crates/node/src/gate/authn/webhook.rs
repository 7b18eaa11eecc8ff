//! A server that is asked about each client over HTTP: `[[identity.http]]`.
//!
//! Asked by the chain. An answer that is not one of three words in JSON with status 200 is none, and lets nobody in
//! (K28). A yes may be kept for a short time; a no never is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use motte_mqtt::ProtocolVersion;
use motte_pki::{CertificateFacts, ClientTlsParams, Roots, TlsFileError};
use motte_policy::{Attributes, Authenticated, Facts, Grants, TenantName, UserName, Vouch};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::claims::{attributes, grants};
use super::{Answer, Question, Source, Verdict};
use crate::clock::unix_now;
use crate::gate::Refusal;
use crate::outbound::{self, HttpClient};
use crate::secret::{Secret, SecretError};
use crate::settings::{Settings, WebhookSettings};

use cache::Cache;

mod cache;

/// Bytes of the longest answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Room for a question: that of a CONNECT with all of it escaped.
const BODY_BYTES: usize = 128 * 1024;
/// Time for the client's own word on a server that is slow.
const GRACE: Duration = Duration::from_secs(1);

/// A server that is asked.
#[derive(Debug)]
pub(crate) struct Webhook {
    settings: WebhookSettings,
    client: HttpClient,
    token: Option<HeaderValue>,
    cache: Cache,
}

/// A yes, and what came with it.
#[derive(Clone, Debug)]
struct Yes {
    attributes: Arc<Attributes>,
    grants: Option<Arc<Grants>>,
    tenant: Option<TenantName>,
    /// When it ends, in seconds since 1970.
    expires_at: Option<u64>,
}

/// What the server says. A word that is not known could be a restriction, so there is none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    result: Word,
    #[serde(default)]
    attributes: Map<String, Value>,
    acl: Option<Value>,
    expires_at: Option<u64>,
    tenant: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Allow,
    Deny,
    Ignore,
}

impl Webhook {
    /// A source that asks with this token.
    ///
    /// # Errors
    /// A file of its TLS cannot be used.
    pub(crate) fn new(settings: &WebhookSettings, token: Option<HeaderValue>) -> Result<Self, TlsFileError> {
        let roots = settings.ca.clone().map_or(Roots::System, Roots::File);
        let client_certificate = settings.client_certificate.clone();
        let tls = ClientTlsParams { roots, client_certificate, ..ClientTlsParams::default() };
        let client = HttpClient::new(settings.url.clone(), &tls, settings.timeout, settings.connections_max)?;
        let cache = Cache::new(settings.cache, settings.cache_entries_max);
        Ok(Self { settings: settings.clone(), client, token, cache })
    }

    async fn judge(&self, question: &Question<'_>) -> Verdict {
        let Some(user) = question.connect.user_name.filter(|user| !user.is_empty()) else { return Verdict::NotMine };
        let body = match asked(question, user) {
            Ok(body) => body,
            Err(what) => return Verdict::Unavailable(question.unavailable(self, what)),
        };
        let key = self.cache.key(&body);
        if let Some(yes) = self.cache.find(&key) {
            return self.accept(question, user, yes);
        }
        let said = match self.send(&body).await {
            Ok(said) => said,
            Err(what) => return Verdict::Unavailable(question.unavailable(self, what)),
        };
        match said.result {
            Word::Ignore => Verdict::NotMine,
            Word::Deny => self.refuse(question, "it says no"),
            Word::Allow => match yes(&said) {
                Ok(yes) => {
                    let left = yes.expires_at.map(|at| Duration::from_secs(at.saturating_sub(unix_now())));
                    self.cache.keep(key, yes.clone(), left);
                    self.accept(question, user, yes)
                }
                Err(what) => Verdict::Unavailable(question.unavailable(self, what)),
            },
        }
    }

    fn accept(&self, question: &Question<'_>, user: &str, yes: Yes) -> Verdict {
        let now = unix_now();
        if yes.expires_at.is_some_and(|at| at <= now) {
            return self.refuse(question, "its yes has expired");
        }
        let end = now.saturating_add(self.settings.session_max.as_secs());
        let until = Some(yes.expires_at.map_or(end, |at| at.min(end)));
        let Yes { attributes, grants, tenant, .. } = yes;
        let facts = Facts { attributes, grants, tenant, until, ..Facts::default() };
        let vouch = Vouch { source: self.name().into(), key: None };
        match Authenticated::by_source(UserName(user.into()), vouch).with_facts(facts) {
            Ok(who) => Verdict::Accepted(who),
            Err(error) => self.refuse(question, &error.to_string()),
        }
    }

    fn refuse(&self, question: &Question<'_>, what: &str) -> Verdict {
        let detail = Some(format!("{}: {what}", self.name()));
        Verdict::Refused(Refusal { detail, ..question.wrong() })
    }

    async fn send(&self, body: &[u8]) -> Result<Said, String> {
        let json = HeaderValue::from_static("application/json");
        let mut headers: Vec<(HeaderName, HeaderValue)> = vec![(CONTENT_TYPE, json.clone()), (ACCEPT, json)];
        headers.extend(self.token.iter().map(|token| (AUTHORIZATION, token.clone())));
        let path = self.settings.url.path().to_owned();
        let body = Bytes::copy_from_slice(body);
        let method = Method::POST;
        let asking = outbound::Question { method, path, headers, body, answer_bytes_max: ANSWER_BYTES_MAX };
        let answer = self.client.ask(asking).await.map_err(|error| error.to_string())?;
        if answer.status != StatusCode::OK {
            return Err(format!("the server answers {}", answer.status));
        }
        // The place only: its words could repeat the password.
        serde_json::from_slice(&answer.body).map_err(|error| {
            format!("the answer is not understood from line {} column {}", error.line(), error.column())
        })
    }
}

/// The header that shows a token.
pub(crate) fn bearer(token: &Secret) -> Result<HeaderValue, SecretError> {
    let text = Zeroizing::new(format!("Bearer {}", token.text()?));
    let mut value = HeaderValue::from_str(&text).map_err(|_| SecretError::NotText)?;
    value.set_sensitive(true);
    Ok(value)
}

/// What the server is asked. Bytes that are no text are told in base64.
#[derive(Serialize)]
struct Asked<'a> {
    username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_base64: Option<&'a str>,
    client_id: &'a str,
    address: Option<IpAddr>,
    listener: &'a str,
    protocol: &'static str,
    certificate: Option<Certificate>,
}

#[derive(Serialize)]
struct Certificate {
    subject: String,
    names: Vec<String>,
    serial: String,
    sha256: String,
}

/// The question as JSON, in memory that is wiped.
fn asked(question: &Question<'_>, username: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let connect = question.connect;
    let password = connect.password.map(std::str::from_utf8);
    let encoded = connect.password.filter(|_| matches!(password, Some(Err(_))));
    let encoded = encoded.map(|bytes| Zeroizing::new(STANDARD.encode(bytes)));
    let leaf = question.certificates.and_then(|chain| chain.first());
    let asked = Asked {
        username,
        password: password.and_then(Result::ok),
        password_base64: encoded.as_ref().map(|text| text.as_str()),
        client_id: connect.client_id,
        address: question.address,
        listener: question.listener,
        protocol: match connect.version {
            ProtocolVersion::V31 => "3.1",
            ProtocolVersion::V311 => "3.1.1",
            ProtocolVersion::V5 => "5.0",
        },
        certificate: leaf.and_then(|leaf| CertificateFacts::from_der(leaf).ok()).map(|facts| Certificate {
            subject: facts.subject,
            names: facts.names,
            serial: facts.serial_hex,
            sha256: facts.sha256,
        }),
    };
    // All room is taken at once, so that a growing buffer leaves no copies of a password behind.
    let mut body = Zeroizing::new(Vec::with_capacity(BODY_BYTES));
    serde_json::to_writer(&mut *body, &asked).map_err(|error| error.to_string())?;
    Ok(body)
}

/// The parts of a yes, each understood.
fn yes(said: &Said) -> Result<Yes, String> {
    let attributes = Arc::new(attributes("http", &said.attributes).map_err(|error| error.to_string())?);
    let grants = said.acl.as_ref().map(grants).transpose().map_err(|error| error.to_string())?.map(Arc::new);
    let tenant = said.tenant.as_deref().map(TenantName::parse).transpose().map_err(|error| error.to_string())?;
    Ok(Yes { attributes, grants, tenant, expires_at: said.expires_at })
}

impl Source for Webhook {
    fn name(&self) -> String {
        format!("http:{}", self.settings.name)
    }

    fn timeout(&self, _: &Settings) -> Duration {
        self.settings.timeout + GRACE
    }

    fn judges_names(&self) -> bool {
        true
    }

    fn ask<'a>(&'a self, question: &'a Question<'a>) -> Answer<'a> {
        Box::pin(self.judge(question))
    }
}

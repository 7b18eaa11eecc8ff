//! Staples for the server certificate: asked for at the responder that it names, or read from a file.
//!
//! Run by boot as one task on the gate's runtime. No handshake ever waits for it: until there is a good answer, and
//! after its end, the certificate is shown without one.

use std::path::Path;
use std::time::{Duration, SystemTime};

use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use motte_pki::ocsp::{ANSWER_BYTES_MAX, Staple, question, responder_url};
use motte_pki::{Chain, ClientTlsParams};

use crate::outbound::{HttpClient, HttpUrl, Question};
use crate::reload::Reloader;
use crate::settings::OcspSource;

/// How often it is looked at whether there is anything to do.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// From the question to the end of the answer.
const DEADLINE: Duration = Duration::from_secs(15);
/// The wait after a first failure; it doubles with each further one.
const RETRY_MIN: Duration = Duration::from_secs(30);
/// The longest wait.
const RETRY_MAX: Duration = Duration::from_secs(3600);

/// What is known, and when to ask again.
#[derive(Default)]
struct Desk {
    staple: Option<Staple>,
    failures: u32,
    not_before: Option<tokio::time::Instant>,
    /// The certificate that failed: a new one is asked about at once.
    failed: Option<Chain>,
}

/// Keeps the staple fresh for ever.
pub(crate) async fn keep(reloader: Reloader) {
    let mut desk = Desk::default();
    loop {
        let tls = reloader.snapshot.load().settings.tls.clone();
        if let Some(source) = &tls.ocsp {
            desk.look(source, &tls.certificate).await;
            reloader.snapshot.load().staple(desk.staple.as_ref());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

impl Desk {
    /// Sees to it that there is a staple for the certificate of the file.
    async fn look(&mut self, source: &OcspSource, certificate: &Path) {
        let path = certificate.to_path_buf();
        let read = tokio::task::spawn_blocking(move || Chain::read(&path)).await;
        let Ok(Ok(chain)) = read else { return };
        let now = SystemTime::now();
        let fresh = |staple: &Staple| staple.is_about(&chain) && staple.counts_at(now) && now < staple.refresh_at();
        if self.staple.as_ref().is_some_and(fresh) {
            return;
        }
        let known = self.failed.as_ref() == Some(&chain);
        if known && self.not_before.is_some_and(|at| tokio::time::Instant::now() < at) {
            return;
        }
        match answer(source, &chain, now).await {
            Ok(staple) => {
                if self.failures > 0 || self.staple.is_none() {
                    tracing::info!("the responder's answer is stapled to the server certificate");
                }
                *self = Self { staple: Some(staple), ..Self::default() };
            }
            Err(why) => {
                if !known {
                    self.failures = 0;
                }
                let pause = RETRY_MIN.saturating_mul(1 << self.failures.min(7)).min(RETRY_MAX);
                self.failures = self.failures.saturating_add(1);
                self.not_before = Some(tokio::time::Instant::now() + pause);
                self.failed = Some(chain);
                let again_s = pause.as_secs();
                tracing::warn!(why, again_s, "there is no answer to staple to the server certificate");
            }
        }
    }
}

async fn answer(source: &OcspSource, chain: &Chain, now: SystemTime) -> Result<Staple, String> {
    let bytes = match source {
        OcspSource::File(path) => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || std::fs::read(&path)).await;
            read.map_err(|error| error.to_string())?.map_err(|error| format!("the file cannot be read: {error}"))?
        }
        OcspSource::Responder => ask(chain).await?,
    };
    if bytes.len() > ANSWER_BYTES_MAX {
        return Err(String::from("the answer is too long"));
    }
    Staple::verify(&bytes, chain, now).map_err(|error| error.to_string())
}

async fn ask(chain: &Chain) -> Result<Vec<u8>, String> {
    let url = responder_url(chain).ok_or("the certificate names no responder")?;
    let url = HttpUrl::parse(&url).map_err(|error| format!("the certificate names no usable responder: {error}"))?;
    let body = question(chain).map_err(|error| error.to_string())?;
    let question = Question {
        method: Method::POST,
        path: url.path().to_owned(),
        headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/ocsp-request"))],
        body: body.into(),
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    let client = HttpClient::new(url, &ClientTlsParams::default(), DEADLINE, 1).map_err(|error| error.to_string())?;
    let answer = client.ask(question).await.map_err(|error| format!("the responder: {error}"))?;
    if answer.status.is_success() { Ok(answer.body) } else { Err(format!("the responder answers {}", answer.status)) }
}

//! The keys of an issuer: fixed, or fetched from a server and kept for a bounded time.
//!
//! Used by the source of tokens. Asks the server no more often than the settings allow, whatever tokens name; one fetch
//! at a time. A set that cannot be used never takes the place of a good one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::{CACHE_CONTROL, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use hyper::{Method, StatusCode};
use motte_pki::{ClientTlsParams, JwtKeys, KeyMark, Roots, TlsFileError};

use crate::outbound::{HttpClient, Question};
use crate::settings::JwksSettings;

/// Bytes of the longest set.
const SET_BYTES_MAX: usize = 256 * 1024;

/// The keys of an issuer.
#[derive(Debug)]
pub(crate) enum Keyring {
    /// As they were in a file, or a secret.
    Fixed(Arc<JwtKeys>),
    /// As a server has them.
    Fetched(Arc<Fetched>),
}

/// Keys that a server has.
#[derive(Debug)]
pub(crate) struct Fetched {
    name: String,
    settings: JwksSettings,
    client: HttpClient,
    state: Mutex<State>,
    fetching: tokio::sync::Mutex<()>,
}

/// What is known of the server's keys.
#[derive(Clone, Debug, Default)]
struct State {
    last_good: Option<Good>,
    /// When the server was asked last, with whatever outcome.
    asked: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Good {
    keys: Arc<JwtKeys>,
    tag: Option<HeaderValue>,
    /// When the server said last that these are its keys.
    confirmed: Instant,
    fresh_for: Duration,
}

impl Keyring {
    /// The keys to check a token with.
    ///
    /// # Errors
    /// There are none that still count.
    pub(super) async fn current(&self) -> Result<Arc<JwtKeys>, String> {
        match self {
            Self::Fixed(keys) => Ok(Arc::clone(keys)),
            Self::Fetched(fetched) => fetched.current().await,
        }
    }

    /// The keys after a token named one that is not among them; `None` where there can be no newer ones yet.
    ///
    /// # Errors
    /// The server does not tell.
    pub(super) async fn newer(&self) -> Result<Option<Arc<JwtKeys>>, String> {
        match self {
            Self::Fixed(_) => Ok(None),
            Self::Fetched(fetched) => fetched.newer().await,
        }
    }

    /// Whether a key that verified a token still counts.
    pub(super) fn hold(&self, mark: KeyMark) -> bool {
        match self {
            Self::Fixed(keys) => keys.hold(mark),
            Self::Fetched(fetched) => fetched.usable().is_some_and(|keys| keys.hold(mark)),
        }
    }

    /// Takes over what was fetched under the same settings before a reload.
    pub(super) fn inherit(&self, earlier: &Self) {
        if let (Self::Fetched(this), Self::Fetched(earlier)) = (self, earlier)
            && this.settings == earlier.settings
        {
            *this.lock() = earlier.lock().clone();
        }
    }
}

impl Fetched {
    /// Keys that are fetched when they are asked for; `name` is that of the source, for the log.
    ///
    /// # Errors
    /// The file with the CAs cannot be used.
    pub(crate) fn new(name: &str, settings: &JwksSettings) -> Result<Self, TlsFileError> {
        let roots = settings.ca.clone().map_or(Roots::System, Roots::File);
        let tls = ClientTlsParams { roots, ..ClientTlsParams::default() };
        let client = HttpClient::new(settings.url.clone(), &tls, settings.timeout, 1)?;
        let (name, settings, fetching) = (name.to_owned(), settings.clone(), tokio::sync::Mutex::default());
        Ok(Self { name, settings, client, state: Mutex::default(), fetching })
    }

    async fn current(self: &Arc<Self>) -> Result<Arc<JwtKeys>, String> {
        match self.usable() {
            Some(keys) if !self.is_due() => Ok(keys),
            Some(keys) => {
                // Nobody waits for what is good already, and one who fetches is enough.
                if self.fetching.try_lock().is_ok() {
                    let this = Arc::clone(self);
                    tokio::spawn(async move { drop(this.fetch(Self::is_due).await) });
                }
                Ok(keys)
            }
            None => {
                self.fetch(|this| this.usable().is_none() && this.may_ask()).await?;
                self.usable().ok_or_else(|| String::from("the keys of the issuer cannot be fetched"))
            }
        }
    }

    async fn newer(&self) -> Result<Option<Arc<JwtKeys>>, String> {
        let before = self.lock().asked;
        // Somebody else's fetch that ended while this one waited is as good.
        self.fetch(|this| this.lock().asked == before && this.may_ask()).await?;
        Ok(if self.lock().asked == before { None } else { self.usable() })
    }

    /// The last good set, as long as it counts.
    fn usable(&self) -> Option<Arc<JwtKeys>> {
        let state = self.lock();
        let good = state.last_good.as_ref().filter(|good| good.confirmed.elapsed() < self.settings.stale_max);
        good.map(|good| Arc::clone(&good.keys))
    }

    /// Whether the set is old enough to ask for a newer one.
    fn is_due(&self) -> bool {
        let is_fresh = self.lock().last_good.as_ref().is_some_and(|good| good.confirmed.elapsed() < good.fresh_for);
        !is_fresh && self.may_ask()
    }

    /// Whether the server was left alone for long enough.
    fn may_ask(&self) -> bool {
        self.lock().asked.is_none_or(|asked| asked.elapsed() >= self.settings.refetch_min)
    }

    /// Fetches the set, if `is_wanted` still holds when it is this one's turn.
    async fn fetch(&self, is_wanted: impl Fn(&Self) -> bool) -> Result<(), String> {
        let _turn = self.fetching.lock().await;
        if !is_wanted(self) {
            return Ok(());
        }
        // Before as well: a client that leaves while it waits must not make room for the next to ask.
        self.lock().asked = Some(Instant::now());
        let outcome = self.ask().await;
        let mut state = self.lock();
        state.asked = Some(Instant::now());
        match outcome {
            Ok(Some(good)) => state.last_good = Some(good),
            Ok(None) => {
                if let Some(good) = &mut state.last_good {
                    good.confirmed = Instant::now();
                }
            }
            Err(what) => {
                let (source, url) = (&self.name, self.client.url());
                tracing::warn!(source, %url, what, "keys cannot be fetched; the last good ones count for a while");
                return Err(what);
            }
        }
        Ok(())
    }

    /// Asks the server: its set, or `None` when it is the one that is known.
    async fn ask(&self) -> Result<Option<Good>, String> {
        let known = self.lock().last_good.as_ref().and_then(|good| good.tag.clone());
        let headers = known.iter().map(|tag| (IF_NONE_MATCH, tag.clone())).collect();
        let path = self.client.url().path().to_owned();
        let body = hyper::body::Bytes::new();
        let question = Question { method: Method::GET, path, headers, body, answer_bytes_max: SET_BYTES_MAX };
        let answer = self.client.ask(question).await.map_err(|error| error.to_string())?;
        match answer.status {
            StatusCode::NOT_MODIFIED if known.is_some() => Ok(None),
            StatusCode::OK => {
                let keys = JwtKeys::from_set(&answer.body).map_err(|error| error.to_string())?;
                let fresh_for = self.fresh_for(&answer.headers);
                let tag = answer.headers.get(ETAG).cloned();
                Ok(Some(Good { keys: Arc::new(keys), tag, confirmed: Instant::now(), fresh_for }))
            }
            status => Err(format!("the server answers {status}")),
        }
    }

    /// How long the set is used unasked: as long as the server says, within the bounds of the settings.
    fn fresh_for(&self, headers: &HeaderMap) -> Duration {
        let directives = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        let mut seconds = directives.flat_map(|value| value.split(',')).filter_map(|directive| {
            let (name, value) = directive.trim().split_once('=')?;
            name.eq_ignore_ascii_case("max-age").then(|| value.trim_matches('"').parse().ok())?
        });
        let said = seconds.next().map_or(self.settings.refresh, Duration::from_secs);
        said.clamp(self.settings.refetch_min.min(self.settings.refresh), self.settings.refresh)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two steps that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

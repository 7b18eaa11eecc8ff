//! A small client of one server: HTTP/1.1 over TLS, with a bounded number of connections that are used again.
//!
//! Used by the sources of identities that ask over HTTP, by the fetcher of keys and by the reader of vaults. Every
//! answer is bounded in time and bytes. It gives whatever status came; who asks decides what counts.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use motte_pki::{ClientTlsParams, HostName, TlsFileError, client_config};
use rustls_pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use super::lookup;
use super::url::HttpUrl;

/// Headers of an answer, and bytes of all of them.
const HEADERS_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a connection is kept that nobody uses; most servers keep it longer.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// A client of one server.
#[derive(Debug)]
pub(crate) struct HttpClient {
    url: HttpUrl,
    tls: Option<TlsSide>,
    timeout: Duration,
    places: Semaphore,
    idle: Mutex<Vec<Idle>>,
}

struct TlsSide {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl std::fmt::Debug for TlsSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TlsSide").field(&self.name).finish()
    }
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<Full<Bytes>>,
    since: Instant,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// `GET` or `POST`.
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    /// Headers beside `Host`; those with secrets are marked as sensitive.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub(crate) body: Bytes,
    /// Bytes of the longest answer.
    pub(crate) answer_bytes_max: usize,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The whole body.
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum HttpError {
    /// The time was over.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The name has no address, or nobody listens there.
    #[error("the connection failed: {0}")]
    Connect(io::Error),
    /// It is not the server it should be, or does not speak TLS.
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    /// What came is no answer in HTTP/1.1.
    #[error("it does not answer in HTTP/1.1: {0}")]
    Protocol(hyper::Error),
    /// The answer is longer than one would be.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

impl HttpClient {
    /// A client of the server of `url`. Reads the files that `tls` names.
    ///
    /// # Errors
    /// They cannot be used.
    pub(crate) fn new(
        url: HttpUrl,
        tls: &ClientTlsParams,
        timeout: Duration,
        connections_max: usize,
    ) -> Result<Self, TlsFileError> {
        let tls = match url.is_encrypted() {
            true => {
                let params = ClientTlsParams { alpn: vec![b"http/1.1".to_vec()], ..tls.clone() };
                let connector = TlsConnector::from(client_config(&params)?);
                let name = match url.host() {
                    HostName::Dns(name) => ServerName::try_from(name.clone()),
                    HostName::Ip(address) => Ok(ServerName::from(*address)),
                };
                let name = name.map_err(|error| TlsFileError::Configuration { reason: error.to_string() })?;
                Some(TlsSide { connector, name })
            }
            false => None,
        };
        let (places, idle) = (Semaphore::new(connections_max.max(1)), Mutex::default());
        Ok(Self { url, tls, timeout, places, idle })
    }

    /// The URL it was made with.
    pub(crate) fn url(&self) -> &HttpUrl {
        &self.url
    }

    /// Asks and reads the whole answer, within the time that was given for everything: a free connection too.
    ///
    /// # Errors
    /// There is no whole answer.
    pub(crate) async fn ask(&self, question: Question) -> Result<Answer, HttpError> {
        let asking = async {
            let _place = self.places.acquire().await.map_err(|error| HttpError::Connect(io::Error::other(error)))?;
            self.exchange(question).await
        };
        tokio::time::timeout(self.timeout, asking).await.unwrap_or(Err(HttpError::Timeout(self.timeout)))
    }

    async fn exchange(&self, question: Question) -> Result<Answer, HttpError> {
        let answer_bytes_max = question.answer_bytes_max;
        let (response, sender) = self.send(self.request(question)).await?;
        let (head, body) = response.into_parts();
        let body = read(body, answer_bytes_max).await?;
        self.keep(sender);
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    fn request(&self, question: Question) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(question.body));
        *request.method_mut() = question.method;
        *request.uri_mut() = question.path.parse().unwrap_or_default();
        let host = HeaderValue::from_str(&self.url.authority()).expect("a host name and a port are visible ASCII");
        request.headers_mut().insert(HOST, host);
        request.headers_mut().extend(question.headers);
        request
    }

    /// Sends the request over a connection that is kept, or else over a new one. A server may close what was kept at
    /// any moment, so what fails there is asked again: questions change nothing.
    async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, SendRequest<Full<Bytes>>), HttpError> {
        while let Some(mut sender) = self.take() {
            if sender.ready().await.is_ok()
                && let Ok(response) = sender.send_request(request.clone()).await
            {
                return Ok((response, sender));
            }
        }
        let mut sender = self.connect().await?;
        let response = sender.send_request(request).await.map_err(HttpError::Protocol)?;
        Ok((response, sender))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, HttpError> {
        let addresses = lookup::addresses(self.url.host(), self.url.port()).await.map_err(HttpError::Connect)?;
        let stream = TcpStream::connect(addresses.as_slice()).await.map_err(HttpError::Connect)?;
        stream.set_nodelay(true).map_err(HttpError::Connect)?;
        match &self.tls {
            Some(TlsSide { connector, name }) => {
                let stream = connector.connect(name.clone(), stream).await.map_err(HttpError::Tls)?;
                converse(stream).await
            }
            None => converse(stream).await,
        }
    }

    fn take(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| idle.since.elapsed() < IDLE_MAX && !idle.sender.is_closed());
        idle.pop().map(|idle| idle.sender)
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        if !sender.is_closed() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(Idle { sender, since: Instant::now() });
        }
    }
}

/// Begins HTTP/1.1 on a stream; the connection lives in a task of its own, and ends with its last user.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, HttpError> {
    let mut builder = http1::Builder::new();
    builder.max_headers(HEADERS_MAX).max_buf_size(HEAD_BYTES_MAX);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(HttpError::Protocol)?;
    // Whoever sends over it learns of its end.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

async fn read(mut body: Incoming, bytes_max: usize) -> Result<Vec<u8>, HttpError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(HttpError::Protocol)?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > bytes_max {
            return Err(HttpError::TooLong(bytes_max));
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

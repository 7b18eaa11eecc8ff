//! Answers to the challenges of a CA: a text over plain HTTP, or a certificate over TLS with ALPN `acme-tls/1`.
//!
//! Filled by an order, asked by the gate (TLS) and by a web server that stands only while an order is under way. Says
//! nothing to anybody that is not the answer to a challenge.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use motte_pki::acme::{ACME_TLS_ALPN, challenge_config};
use rustls::ServerConfig;
use rustls::server::ClientHello;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::OrderError;
use crate::settings::AcmeChallenge;

/// Where a CA looks for the text (RFC 8555, section 8.3).
const PATH: &str = "/.well-known/acme-challenge/";
/// Time for a request and its answer.
const HTTP_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Requests at once; a CA asks from a handful of places.
const HTTP_AT_ONCE_MAX: usize = 32;

/// The answers that stand at present.
#[derive(Clone, Debug, Default)]
pub(crate) struct Challenges(Arc<Mutex<Standing>>);

#[derive(Debug, Default)]
struct Standing {
    /// By token.
    texts: BTreeMap<String, String>,
    /// By name.
    certificates: BTreeMap<String, Arc<ServerConfig>>,
}

/// What answers one challenge.
pub(super) struct Answer<'a> {
    /// The name it is about.
    pub(super) name: &'a str,
    /// The CA's token.
    pub(super) token: &'a str,
    /// The key authorization.
    pub(super) proof: &'a str,
    /// SHA-256 of it.
    pub(super) digest: &'a [u8],
}

/// Answers that stand until this is dropped.
#[derive(Debug)]
pub(super) struct Board {
    challenges: Challenges,
    kind: AcmeChallenge,
    server: Option<AbortHandle>,
}

impl Challenges {
    /// The configuration for a peer that asks for the answer to a challenge; `None` for everybody else.
    pub(crate) fn config_for(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let mut protocols = hello.alpn()?;
        let asks = protocols.next() == Some(ACME_TLS_ALPN) && protocols.next().is_none();
        let name = hello.server_name().filter(|_| asks)?.to_ascii_lowercase();
        self.with(|standing| standing.certificates.get(&name).cloned())
    }

    /// Begins to answer challenges of one kind.
    pub(super) async fn open(&self, kind: AcmeChallenge) -> Result<Board, OrderError> {
        let mut server = None;
        if let AcmeChallenge::Http(address) = kind {
            let listen = |error| OrderError::Listen(address, error);
            let listener = TcpListener::bind(address).await.map_err(listen)?;
            server = Some(tokio::spawn(serve(listener, self.clone())).abort_handle());
        }
        Ok(Board { challenges: self.clone(), kind, server })
    }

    fn text(&self, token: &str) -> Option<String> {
        self.with(|standing| standing.texts.get(token).cloned())
    }

    /// No call in `look` can break off half done, so what a poisoned lock holds is whole.
    fn with<T>(&self, look: impl FnOnce(&mut Standing) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Board {
    /// Lets an answer be seen.
    pub(super) fn answer(&self, answer: &Answer<'_>) -> Result<(), OrderError> {
        match self.kind {
            AcmeChallenge::Http(_) => {
                let (token, proof) = (answer.token.to_owned(), answer.proof.to_owned());
                self.challenges.with(|standing| standing.texts.insert(token, proof));
            }
            AcmeChallenge::TlsAlpn => {
                let config = challenge_config(answer.name, answer.digest, SystemTime::now())?;
                let name = answer.name.to_ascii_lowercase();
                self.challenges.with(|standing| standing.certificates.insert(name, config));
            }
        }
        Ok(())
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.challenges.with(|standing| *standing = Standing::default());
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

/// Serves the texts until it is aborted.
async fn serve(listener: TcpListener, challenges: Challenges) {
    let mut requests = JoinSet::new();
    loop {
        while requests.len() >= HTTP_AT_ONCE_MAX {
            requests.join_next().await;
        }
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        requests.spawn(answer(socket, challenges.clone()));
        while requests.try_join_next().is_some() {}
    }
}

async fn answer(socket: TcpStream, challenges: Challenges) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = response(&request, &challenges);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HTTP_DEADLINE).max_buf_size(HTTP_HEAD_BYTES_MAX);
    builder.keep_alive(false);
    // Whoever leaves or talks nonsense has no answer coming.
    let _ = tokio::time::timeout(HTTP_DEADLINE, builder.serve_connection(TokioIo::new(socket), service)).await;
}

fn response(request: &Request<Incoming>, challenges: &Challenges) -> Response<Full<Bytes>> {
    let token = request.uri().path().strip_prefix(PATH).filter(|_| *request.method() == Method::GET);
    let (status, body) = match token.and_then(|token| challenges.text(token)) {
        Some(text) => (StatusCode::OK, Bytes::from(text)),
        None => (StatusCode::NOT_FOUND, Bytes::new()),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn ask(address: std::net::SocketAddr, head: &str) -> String {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(format!("{head} HTTP/1.1\r\nHost: broker.example\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_web_server_of_a_challenge_says_the_answer_and_nothing_else_and_is_gone_with_the_order() {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let challenges = Challenges::default();
        let board = challenges.open(AcmeChallenge::Http(address)).await.unwrap();
        board.answer(&Answer { name: "broker.example", token: "abc", proof: "abc.def", digest: &[0; 32] }).unwrap();
        let told = ask(address, "GET /.well-known/acme-challenge/abc").await;
        assert!(told.starts_with("HTTP/1.1 200") && told.ends_with("\r\n\r\nabc.def"), "{told}");
        for head in ["GET /.well-known/acme-challenge/abd", "POST /.well-known/acme-challenge/abc", "GET /", "GET *"] {
            let told = ask(address, head).await;
            assert!(!told.contains("abc.def") && told.starts_with("HTTP/1.1 4"), "{head}: {told}");
        }
        drop(board);
        assert_eq!(challenges.text("abc"), None);
    }

    #[tokio::test]
    async fn an_answer_over_tls_stands_until_the_order_is_over() {
        let challenges = Challenges::default();
        let board = challenges.open(AcmeChallenge::TlsAlpn).await.unwrap();
        board.answer(&Answer { name: "Broker.example", token: "abc", proof: "abc.def", digest: &[0; 32] }).unwrap();
        assert!(challenges.with(|standing| standing.certificates.contains_key("broker.example")));
        drop(board);
        assert!(challenges.with(|standing| standing.certificates.is_empty()));
    }
}

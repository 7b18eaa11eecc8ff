//! HTTPS to the CA, for `instant-acme`: one connection for each request, by the TLS configuration of every client here.
//!
//! Called by the orders. Follows no redirect, reads no more than a bounded answer, never does without TLS.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use motte_pki::{ClientTlsParams, Roots, TlsFileError, client_config};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::settings::AcmeSettings;

/// Bytes of an answer; a chain of certificates is a few thousand.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Time for a request and its answer.
const DEADLINE: Duration = Duration::from_secs(30);
const HTTPS_PORT: u16 = 443;

/// A client of one CA.
pub(super) struct Https(Arc<ClientConfig>);

impl Https {
    /// A client that believes the CAs of the settings, or those of the system.
    pub(super) fn new(acme: &AcmeSettings) -> Result<Self, TlsFileError> {
        let roots = acme.ca.clone().map_or(Roots::System, Roots::File);
        let params = ClientTlsParams { roots, alpn: vec![b"http/1.1".to_vec()], ..ClientTlsParams::default() };
        client_config(&params).map(Self)
    }
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let tls = TlsConnector::from(Arc::clone(&self.0));
        Box::pin(async move {
            let late = |_| Error::Str("the CA did not answer in time");
            let response = tokio::time::timeout(DEADLINE, ask(tls, request)).await.map_err(late)?;
            response.map(BytesResponse::from).map_err(Error::Other)
        })
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn ask(
    tls: TlsConnector,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<BodyWrapper<Bytes>>, Failure> {
    let uri = request.uri().clone();
    let host = uri.host().filter(|_| uri.scheme_str() == Some("https")).ok_or("the URL is not one of https")?;
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().unwrap_or(HTTPS_PORT);
    let socket = TcpStream::connect((bare.as_str(), port)).await?;
    let stream = tls.connect(ServerName::try_from(bare)?, socket).await?;
    let authority = uri.authority().ok_or("the URL has no host")?.as_str().parse()?;
    request.headers_mut().insert(hyper::header::HOST, authority);
    *request.uri_mut() =
        Uri::builder().path_and_query(uri.path_and_query().map_or("/", |path| path.as_str())).build()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
        Ok::<_, Failure>(Response::from_parts(head, BodyWrapper::from(body.to_vec())))
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection ends first where the CA closes it behind its answer, which is then all there.
        ended = connection => { ended?; exchange.await }
    }
}

//! Sources of identities that are not on the machine: what they need, an issuer of tokens and a small server over TLS.

mod jwt;
mod ldap;
mod webhook;

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use motte_mqtt::{Connect, Packet};
use motte_node::outbound::HttpUrl;
use motte_node::secret::{Secret, SecretRef};
use motte_pki::{ServerTlsParams, server_config};
use rustls::{ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::support::{House, PATIENCE, Running};

/// Seconds since 1970.
fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A secret that stands in the settings of a test.
fn literal(text: &str) -> SecretRef {
    SecretRef::Literal(Secret::new(text.as_bytes().to_vec().into()).unwrap())
}

/// What the broker answers to a CONNECT without a certificate.
fn answer(house: &House, node: &Running, connect: &Connect<'_>) -> u8 {
    house.open(node.address(), None, b"mqtt").connect(connect)
}

/// Somebody who signs tokens with Ed25519.
struct Issuer {
    id: String,
    key: Ed25519KeyPair,
}

impl Issuer {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), key: Ed25519KeyPair::generate().unwrap() }
    }

    /// Its public key in a set.
    fn set(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": x, "use": "sig" }] }).to_string()
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "kid": self.id });
        let [header, claims] = [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// Claims that are all right, with others beside them or in their place.
fn claims(user: &str, more: &Value) -> Value {
    let now = unix_now();
    let mut all = json!({ "iss": "https://issuer", "aud": "motte", "sub": user, "exp": now + 60, "nbf": now - 60 });
    for (name, value) in more.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

/// What a server was asked.
#[derive(Clone, Debug)]
struct Asked {
    line: String,
    headers: String,
    body: String,
}

/// What a server says, as bytes; `None`: nothing, and the connection ends.
type Says = Box<dyn Fn(&Asked) -> Option<String> + Send + Sync>;

/// A server over TLS, or in the clear, that answers one thing after the other.
struct Web {
    address: SocketAddr,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
    closed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    /// A server with the certificate of the house, which asks for client certificates where `tls` says so.
    fn start(tls: Option<&ServerTlsParams>, says: Says) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let config = tls.map(|params| server_config(params).unwrap());
        let scheme = if config.is_some() { "https" } else { "http" };
        let (asked, says) = (Arc::new(Mutex::new(Vec::new())), Arc::new(says));
        let (connections, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (list, count, end) = (Arc::clone(&asked), Arc::clone(&connections), Arc::clone(&closed));
        let thread = std::thread::spawn(move || {
            for stream in socket.incoming().map_while(Result::ok) {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let (config, says, list, end) =
                    (config.clone(), Arc::clone(&says), Arc::clone(&list), Arc::clone(&end));
                std::thread::spawn(move || match config {
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        converse(StreamOwned::new(connection, stream), &says, &list, &end);
                    }
                    None => converse(stream, &says, &list, &end),
                });
            }
        });
        Self { address, scheme, asked, connections, closed, thread: Some(thread) }
    }

    /// A server over TLS with the certificate of the house.
    fn over_tls(house: &House, says: Says) -> Self {
        Self::start(Some(&tls_of(house)), says)
    }

    fn url(&self, path: &str) -> HttpUrl {
        HttpUrl::parse(&format!("{}://localhost:{}{path}", self.scheme, self.address.port())).unwrap()
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // Wakes the one that accepts.
        drop(TcpStream::connect(self.address));
        let _ = self.thread.take().unwrap().join();
    }
}

fn tls_of(house: &House) -> ServerTlsParams {
    ServerTlsParams {
        certificate: house.path("server.pem"),
        key: house.path("server.key"),
        ..ServerTlsParams::default()
    }
}

/// Reads requests and answers them until either end has enough.
fn converse(stream: impl Read + Write, says: &Says, list: &Mutex<Vec<Asked>>, end: &AtomicBool) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut asked = Asked { line: String::new(), headers: String::new(), body: String::new() };
        if !matches!(stream.read_line(&mut asked.line), Ok(count) if count > 0) || end.load(Ordering::SeqCst) {
            return;
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            if stream.read_line(&mut header).is_err() || header.trim().is_empty() {
                break;
            }
            if let Some(number) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = number.trim().parse().unwrap();
            }
            asked.headers.push_str(&header);
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        asked.body = String::from_utf8(body).unwrap();
        list.lock().unwrap().push(asked.clone());
        let Some(answer) = says(&asked) else { return };
        let sent = stream.get_mut().write_all(answer.as_bytes());
        if sent.and_then(|()| stream.get_mut().flush()).is_err() {
            return;
        }
    }
}

/// An answer with this status, these headers and this body.
fn http(status: &str, headers: &str, body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()))
}

/// The reason codes of a SUBACK for these filters.
fn subscribe(client: &mut crate::support::Client, filters: &[&str]) -> Vec<u8> {
    let entries: Vec<u8> = filters
        .iter()
        .flat_map(|filter| {
            let length = u8::try_from(filter.len()).unwrap();
            [&[0, length], filter.as_bytes(), &[1]].concat()
        })
        .collect();
    let length = u8::try_from(entries.len() + 3).unwrap();
    client.send(&[&[0x82, length, 0, 1, 0], &entries[..]].concat());
    client.receive(|packet| match packet {
        Packet::SubAck(ack) => ack.codes.to_vec(),
        other => panic!("{other:?}"),
    })
}

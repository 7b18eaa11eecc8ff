//! A forwarder that knows as little MQTT as it can: the floor under every figure of a broker. Started by
//! `bench/floor.sh`. One thread; whatever anybody publishes goes to all subscribers as it came. It checks nothing,
//! matches no topic, asks nobody, keeps nothing, and serves measurements on loopback only.

mod link;
mod talk;

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Registry, Token};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use slab::Slab;

use link::Link;

/// What is read of one link before the next one gets its turn.
const READ_BYTES: usize = 256 * 1024;

/// A port, and what is spoken on it.
struct Listener {
    socket: TcpListener,
    tls: Option<Arc<ServerConfig>>,
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words == ["--version"] {
        return writeln!(std::io::stdout(), "motte-bench-floor {}", env!("CARGO_PKG_VERSION"))
            .context("standard output");
    }
    let [port, tls_port, mutual_port, certificates] = words.as_slice() else {
        bail!("how to call it: motte-bench-floor PORT TLSPORT MTLSPORT CERTS");
    };
    let listeners = vec![
        listen(port, None)?,
        listen(tls_port, Some(tls(certificates, false)?))?,
        listen(mutual_port, Some(tls(certificates, true)?))?,
    ];
    forward(listeners)
}

fn listen(port: &str, tls: Option<Arc<ServerConfig>>) -> Result<Listener> {
    let port = port.parse().with_context(|| format!("`{port}` is no port"))?;
    let socket = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(Listener { socket, tls })
}

fn tls(folder: &str, mutual: bool) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = CertificateDer::pem_file_iter(format!("{folder}/server.crt"))?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(format!("{folder}/server.key"))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = if mutual {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(format!("{folder}/ca.crt"))?)?;
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        builder.with_client_cert_verifier(clients)
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// Serves until it is killed.
fn forward(mut listeners: Vec<Listener>) -> Result<()> {
    let mut poll = Poll::new()?;
    for (at, listener) in listeners.iter_mut().enumerate() {
        poll.registry().register(&mut listener.socket, Token(at), Interest::READABLE)?;
    }
    let mut events = Events::with_capacity(1024);
    let mut links: Slab<Link> = Slab::new();
    let mut subscribers: Vec<usize> = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut published = Vec::new();
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            let Token(token) = event.token();
            let Some(key) = token.checked_sub(listeners.len()) else {
                accept(&listeners[token], listeners.len(), &mut links, poll.registry())?;
                continue;
            };
            let Some(link) = links.get_mut(key) else { continue };
            let was_subscriber = link.is_subscriber();
            let done = link.turn(event, &mut buffer, &mut published);
            if link.is_subscriber() && !was_subscriber {
                subscribers.push(key);
            }
            if done.is_err() {
                subscribers.retain(|subscriber| *subscriber != key);
                links.remove(key);
            }
        }
        if !published.is_empty() {
            for key in &subscribers {
                // A link that cannot be written to is told as ended by the next event.
                let _ = links[*key].send(&published);
            }
            published.clear();
        }
    }
}

fn accept(listener: &Listener, offset: usize, links: &mut Slab<Link>, registry: &Registry) -> Result<()> {
    loop {
        let mut socket = match listener.socket.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error).context("accept"),
        };
        socket.set_nodelay(true)?;
        let entry = links.vacant_entry();
        // Edge-triggered: writability is told once after a full socket, so it can stay armed.
        registry.register(&mut socket, Token(entry.key() + offset), Interest::READABLE | Interest::WRITABLE)?;
        entry.insert(Link::new(socket, listener.tls.clone())?);
    }
}

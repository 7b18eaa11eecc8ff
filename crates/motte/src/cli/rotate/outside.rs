//! A look at the broker from outside, as a client has it: a TLS handshake that shows its certificate, and a CONNECT
//! that is answered.
//!
//! Used by `rotate`. Verifies chain and name as every client does.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use motte_mqtt::{Connect, ConnectProperties, Encoder, Packet, ProtocolVersion};
use motte_pki::{CertificateFacts, ClientTlsParams, Roots, client_config};
use rustls::{ClientConnection, StreamOwned};

/// Time for each step.
const PATIENCE: Duration = Duration::from_secs(5);
/// The first byte of a CONNACK.
const CONNACK: u8 = 0x20;

/// Where and how to look.
pub(super) struct View {
    /// The address of a TLS listener.
    pub(super) address: SocketAddr,
    /// The name that the certificate has to hold.
    pub(super) name: String,
    /// The CA to believe; the system's list without one.
    pub(super) roots: Option<PathBuf>,
    /// A client certificate and its key, where the broker asks for one.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

/// Connects, and gives the certificate that the broker showed once it has answered a CONNECT.
pub(super) fn look(view: &View) -> Result<CertificateFacts, String> {
    let params = ClientTlsParams {
        roots: view.roots.clone().map_or(Roots::System, Roots::File),
        client_certificate: view.identity.clone(),
        alpn: vec![b"mqtt".to_vec()],
        ..ClientTlsParams::default()
    };
    let config = client_config(&params).map_err(|error| error.to_string())?;
    let name = view.name.clone().try_into().map_err(|_| format!("{:?} is not the name of a server", view.name))?;
    let connection = ClientConnection::new(config, name).map_err(|error| error.to_string())?;
    let failed = |error: std::io::Error| format!("{}: {error}", view.address);
    let socket = TcpStream::connect_timeout(&view.address, PATIENCE).map_err(failed)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    socket.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut stream = StreamOwned::new(connection, socket);
    stream.write_all(&connect_packet()).map_err(failed)?;
    stream.flush().map_err(failed)?;
    let mut first = [0];
    stream.read_exact(&mut first).map_err(failed)?;
    if first[0] != CONNACK {
        return Err(format!("{}: the answer to CONNECT is no CONNACK", view.address));
    }
    let shown = stream.conn.peer_certificates().and_then(|chain| chain.first());
    let leaf = shown.ok_or_else(|| format!("{}: no certificate was shown", view.address))?;
    CertificateFacts::from_der(leaf).map_err(|error| error.to_string())
}

/// A CONNECT without credentials: any CONNACK shows that the broker works, and a refusal costs nobody anything.
fn connect_packet() -> Vec<u8> {
    let connect = Connect {
        version: ProtocolVersion::V5,
        clean_start: true,
        keep_alive_s: 10,
        client_id: "motte-rotate",
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    };
    let mut bytes = Vec::new();
    Encoder::new(ProtocolVersion::V5, u32::MAX)
        .encode(&Packet::Connect(connect), &mut bytes)
        .expect("a CONNECT of fixed size fits every limit");
    bytes
}

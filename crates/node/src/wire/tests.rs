//! The layers against a real rustls client in memory, with a socket that takes little at a time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, Read as _, Write};
use std::time::SystemTime;

use motte_pki::{Authority, ClientTlsParams, LeafRequest, Role, Roots, ServerTlsParams};
use rustls::{ClientConnection, ServerConnection};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role as WsRole, WebSocketContext};

use super::{Flushed, WebSocket, Wire, WireError};

/// Takes 1,000 bytes, then blocks once, and so on.
#[derive(Default)]
struct Dribble {
    taken: Vec<u8>,
    blocks: bool,
}

impl Write for Dribble {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.blocks = !self.blocks;
        if !self.blocks {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = bytes.len().min(1_000);
        self.taken.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes everything and counts how often it was asked to.
#[derive(Default)]
struct Counter {
    taken: Vec<u8>,
    writes: usize,
}

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[io::IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.writes += 1;
        self.taken.write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A wire and the client on its other end, handshake done.
fn pair() -> (Wire, ClientConnection) {
    let (mut wire, mut client) = ends();
    while wire.is_handshaking() || client.is_handshaking() {
        speak(&mut client, &mut wire);
        let mut network = Vec::new();
        assert_eq!(wire.flush(&mut network, &mut Vec::new()).unwrap(), Flushed::All);
        read(&mut client, &network);
    }
    (wire, client)
}

/// Lets the wire have what the client has to say.
fn speak(client: &mut ClientConnection, wire: &mut Wire) {
    let mut network = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut network).unwrap();
    }
    wire.open(&network, &mut Vec::new()).unwrap();
}

/// Both ends before the first byte.
fn ends() -> (Wire, ClientConnection) {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let authority = Authority::create("Test CA", now).unwrap();
    let names = vec!["localhost".parse().unwrap()];
    let request = LeafRequest { role: Role::Server, common_name: "localhost".into(), names, days: 1 };
    let issued = authority.issue(&request, now).unwrap();
    let path = |name: &str| folder.path().join(name);
    motte_pki::write_private(&path("ca"), authority.certificate_pem().as_bytes()).unwrap();
    motte_pki::write_private(&path("crt"), issued.chain_pem.as_bytes()).unwrap();
    motte_pki::write_private(&path("key"), issued.key_pem.as_bytes()).unwrap();
    let params = ServerTlsParams { certificate: path("crt"), key: path("key"), ..ServerTlsParams::default() };
    let server = motte_pki::server_config(&params).unwrap();
    let params = ClientTlsParams { roots: Roots::File(path("ca")), ..ClientTlsParams::default() };
    let client = motte_pki::client_config(&params).unwrap();
    let client = ClientConnection::new(client, "localhost".to_owned().try_into().unwrap()).unwrap();
    (Wire::tls(ServerConnection::new(server).unwrap()), client)
}

/// What a client makes of bytes from the network.
fn read(client: &mut ClientConnection, mut network: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while !network.is_empty() {
        client.read_tls(&mut network).unwrap();
        let count = client.process_new_packets().unwrap().plaintext_bytes_to_read();
        let start = plain.len();
        plain.resize(start + count, 0);
        client.reader().read_exact(&mut plain[start..]).unwrap();
    }
    plain
}

fn long_text() -> Vec<u8> {
    (0..200_000_u32).map(|number| (number % 251).to_le_bytes()[0]).collect()
}

/// Flushes until all is gone; the outbox only ever gets shorter.
fn dribble(wire: &mut Wire, outbox: &mut Vec<u8>) -> Vec<u8> {
    let mut socket = Dribble::default();
    let mut before = outbox.len();
    while wire.flush(&mut socket, outbox).unwrap() == Flushed::Blocked {
        assert!(outbox.len() <= before);
        before = outbox.len();
    }
    assert!(outbox.is_empty() && !wire.has_unsent());
    socket.taken
}

#[test]
fn bytes_leave_whole_and_in_order_through_a_socket_that_takes_little() {
    let mut plain = Wire::plaintext();
    assert_eq!(dribble(&mut plain, &mut long_text()), long_text());
    let (mut wire, mut client) = pair();
    let sealed = dribble(&mut wire, &mut long_text());
    assert_eq!(read(&mut client, &sealed), long_text());
}

#[test]
fn a_session_ticket_and_the_first_packet_are_one_write() {
    let (mut wire, mut client) = ends();
    speak(&mut client, &mut wire);
    let mut network = Vec::new();
    wire.flush(&mut network, &mut Vec::new()).unwrap();
    read(&mut client, &network);
    speak(&mut client, &mut wire);
    assert!(wire.has_unsent() && !wire.is_handshaking() && client.tls13_tickets_received() == 0);
    let mut socket = Counter::default();
    wire.flush(&mut socket, &mut b"a CONNACK".to_vec()).unwrap();
    assert_eq!((read(&mut client, &socket.taken).as_slice(), socket.writes), (&b"a CONNACK"[..], 1));
    assert_eq!(client.tls13_tickets_received(), 1);
}

#[test]
fn bytes_come_in_whole_and_in_order_however_the_network_cuts_them() {
    let (mut wire, mut client) = pair();
    let (mut sealed, mut text) = (Vec::new(), long_text());
    while !text.is_empty() {
        let count = client.writer().write(&text).unwrap();
        text.drain(..count);
        while client.wants_write() {
            client.write_tls(&mut sealed).unwrap();
        }
    }
    let mut plain = Vec::new();
    let mut rest = &sealed[..];
    for length in [1, 4_095, 4_096, 4_097, 16_384, 65_536].into_iter().cycle() {
        let (piece, behind) = rest.split_at(rest.len().min(length));
        wire.open(piece, &mut plain).unwrap();
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(plain, long_text());
}

#[test]
fn no_more_is_sealed_than_the_tls_buffer_holds_while_the_socket_is_blocked() {
    struct Blocked;
    impl Write for Blocked {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (mut wire, _client) = pair();
    let mut outbox = long_text();
    for _ in 0..10 {
        assert_eq!(wire.flush(&mut Blocked, &mut outbox).unwrap(), Flushed::Blocked);
    }
    assert!(outbox.len() >= 200_000 - 64 * 1024, "{} bytes are left", outbox.len());
}

#[test]
fn websocket_frames_carry_the_bytes_and_one_flush_is_one_frame() {
    let (mut wire, mut client) = pair();
    wire.upgrade(WebSocket::new(1024));
    let mut outbox = b"three packets in one flush".to_vec();
    let mut network = Vec::new();
    wire.flush(&mut network, &mut outbox).unwrap();
    let frame = read(&mut client, &network);
    assert_eq!(frame[..2], [0x82, 26], "one final binary frame, not masked");
    assert_eq!(&frame[2..], b"three packets in one flush");
    let sealed = dribble(&mut wire, &mut long_text());
    let mut frames = io::Cursor::new(read(&mut client, &sealed));
    let mut peer = WebSocketContext::new(WsRole::Client, None);
    let mut text = Vec::new();
    while text.len() < 200_000 {
        match peer.read(&mut frames).unwrap() {
            Message::Binary(payload) => text.extend_from_slice(&payload),
            message => panic!("{message:?}"),
        }
    }
    assert_eq!(text, long_text());
}

#[test]
fn garbage_behind_the_handshake_is_an_error_and_leaves_an_alert() {
    let (mut wire, mut client) = pair();
    let opened = wire.open(&[0x17, 3, 3, 0, 32, 1, 2, 3].repeat(8), &mut Vec::new());
    assert!(matches!(opened, Err(WireError::Tls(_))), "{opened:?}");
    let mut network = Vec::new();
    wire.flush(&mut network, &mut Vec::new()).unwrap();
    client.read_tls(&mut network.as_slice()).unwrap();
    assert!(matches!(client.process_new_packets(), Err(rustls::Error::AlertReceived(_))));
}

#[test]
fn a_goodbye_ends_each_layer() {
    let (mut wire, mut client) = pair();
    wire.upgrade(WebSocket::new(1024));
    wire.finish();
    let mut network = Vec::new();
    wire.flush(&mut network, &mut Vec::new()).unwrap();
    assert_eq!(read(&mut client, &network), [0x88, 2, 0x03, 0xe8], "a close frame with 1000");
    assert!(client.process_new_packets().unwrap().peer_has_closed());
}

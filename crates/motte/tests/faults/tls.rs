//! Abuse of TLS: what is no TLS, a ClientHello in crumbs, alerts, renegotiation, foreign protocols.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use crate::common::Child;
use crate::kit::{Peer, Victim};

/// Everything a connection to the TLS port is answered until its end.
fn answer(victim: &Victim, bytes: &[u8]) -> Vec<u8> {
    let mut peer = Peer::open(victim.broker.mqtts());
    peer.send(bytes);
    // The other side may have closed already.
    let _ = peer.stream.shutdown(Shutdown::Write);
    let mut all = Vec::new();
    let _ = peer.stream.read_to_end(&mut all);
    all
}

fn s_client(port: u16, args: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-servername", "localhost"]).args(args);
    command.stdin(Stdio::piped());
    command
}

#[test]
fn k32_what_is_no_tls_ends_with_an_alert_at_most() {
    let victim = Victim::with("admission_deadline_s = 2\n");
    let bystanders = victim.bystanders();
    let warning = [0x15, 3, 3, 0, 2, 1, 100];
    let empty_record = [0x16, 3, 3, 0, 0];
    let crumbs: Vec<u8> = [0x16, 3, 1, 0, 1, 1].repeat(200);
    let inputs: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &crate::kit::connect("c", &[]),
        &warning.repeat(5_000),
        &empty_record.repeat(5_000),
        &crumbs,
        &[0x16, 3, 1, 0xff, 0xff],
        &[0x17, 3, 3, 0, 5, 1, 2, 3, 4, 5],
    ];
    victim.assert_no_growth(|| {
        for input in inputs {
            for _ in 0..10 {
                let said = answer(&victim, input);
                assert!(said.is_empty() || said[0] == 0x15, "{said:02x?}");
                assert!(said.len() <= 64, "{} bytes", said.len());
            }
        }
    });
    bystanders.assert_unharmed();
}

/// Passes what a client and the broker send each other on; the client's first record, its ClientHello, goes on as many
/// records of 16 bytes.
fn crumbling_relay(to: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut broker = TcpStream::connect(("127.0.0.1", to)).unwrap();
        broker.set_nodelay(true).unwrap();
        let mut header = [0; 5];
        client.read_exact(&mut header).unwrap();
        let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        client.read_exact(&mut hello).unwrap();
        for crumb in hello.chunks(16) {
            broker.write_all(&[&header[..3], &[0, u8::try_from(crumb.len()).unwrap()], crumb].concat()).unwrap();
        }
        let (mut from_broker, mut to_client) = (broker.try_clone().unwrap(), client.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_broker, &mut to_client);
            let _ = to_client.shutdown(Shutdown::Both);
        });
        let _ = std::io::copy(&mut client, &mut broker);
        let _ = broker.shutdown(Shutdown::Both);
    });
    port
}

#[test]
fn k32_a_client_hello_in_crumbs_is_read_as_one() {
    let victim = Victim::with("");
    let port = crumbling_relay(victim.broker.mqtts());
    let mut command = s_client(port, &["-CAfile"]);
    command.arg(victim.broker.ca()).args(["-verify_return_error", "-brief"]);
    let (_, said) = Child::start(&mut command).finish();
    assert!(said.contains("Verification: OK"), "{said}");
    victim.client("afterwards").expect_alive();
}

#[test]
fn k32_a_second_handshake_in_tls_1_2_is_refused() {
    let victim = Victim::with("");
    let mut child = Child::start(&mut s_client(victim.broker.mqtts(), &["-tls1_2"]));
    child.take("the handshake", |line| line.contains("Verify return code"));
    child.tell("R");
    child.take("the attempt", |line| line.contains("RENEGOTIATING"));
    let (_, said) = child.finish();
    let refused = ["no renegotiation", "unexpected message", "handshake failure", "ssl/tls alert", "unexpected eof"];
    assert!(refused.iter().any(|word| said.contains(word)), "{said}");
    victim.client("afterwards").expect_alive();
}

#[test]
fn k32_a_foreign_protocol_is_refused_in_the_handshake() {
    let victim = Victim::with("");
    let (_, said) = Child::start(&mut s_client(victim.broker.mqtts(), &["-alpn", "h2"])).finish();
    assert!(said.contains("no application protocol"), "{said}");
    let (_, said) = Child::start(&mut s_client(victim.broker.mqtts(), &["-alpn", "mqtt,h2"])).finish();
    assert!(said.contains("ALPN protocol: mqtt"), "{said}");
}

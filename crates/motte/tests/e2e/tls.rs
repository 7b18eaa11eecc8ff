//! What `openssl s_client` and a plain socket find at the doors of the broker.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use crate::common::child::PATIENCE;
use crate::common::{Broker, Child, DEVICE};

/// Runs `openssl s_client` until the handshake is over; its words.
fn s_client(broker: &Broker, port: u16, args: &[&str]) -> (bool, String) {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-servername", "localhost", "-CAfile"]);
    let (status, said) = Child::start(command.arg(broker.ca()).args(args)).finish();
    (status.success(), said)
}

#[track_caller]
fn assert_says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "`{word}` is absent in:\n{said}");
    }
}

#[test]
fn the_certificate_chain_verifies_for_the_names_of_this_host() {
    let broker = Broker::quickstart();
    for port in [broker.mqtts(), broker.wss()] {
        for name in [["-verify_hostname", "localhost"], ["-verify_ip", "127.0.0.1"], ["-verify_ip", "::1"]] {
            let args = [&["-verify_return_error"][..], &name].concat();
            let (content, said) = s_client(&broker, port, &args);
            assert!(content, "{said}");
            assert_says(&said, &["Verify return code: 0 (ok)"]);
        }
        let (content, said) =
            s_client(&broker, port, &["-verify_return_error", "-verify_hostname", "elsewhere.example"]);
        assert!(!content, "{said}");
    }
}

#[test]
fn tls_1_3_with_x25519_and_aead() {
    let broker = Broker::quickstart();
    let (content, said) = s_client(&broker, broker.mqtts(), &["-tls1_3", "-groups", "X25519"]);
    assert!(content, "{said}");
    assert_says(&said, &["TLSv1.3", "Server Temp Key: X25519", "Secure Renegotiation IS NOT supported"]);
    assert!(said.contains("TLS_AES_128_GCM_SHA256") || said.contains("TLS_CHACHA20"), "{said}");
}

#[test]
fn tls_1_2_with_ephemeral_keys_and_aead_only() {
    let broker = Broker::quickstart();
    let (content, said) = s_client(&broker, broker.mqtts(), &["-tls1_2"]);
    assert!(content, "{said}");
    assert_says(&said, &["TLSv1.2", "Cipher is ECDHE-ECDSA-"]);
    assert!(said.contains("GCM") || said.contains("CHACHA20-POLY1305"), "{said}");
    for weak in ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "AES128-GCM-SHA256", "AES128-SHA"] {
        let (content, said) =
            s_client(&broker, broker.mqtts(), &["-tls1_2", "-cipher", &format!("{weak}:@SECLEVEL=0")]);
        assert!(!content, "{weak}: {said}");
    }
}

#[test]
fn older_tls_is_refused() {
    let broker = Broker::quickstart();
    for version in ["-tls1", "-tls1_1"] {
        for port in [broker.mqtts(), broker.wss()] {
            let (content, said) = s_client(&broker, port, &[version, "-cipher", "ALL:@SECLEVEL=0"]);
            assert!(!content, "{version}: {said}");
            // The alert of the server, not a refusal of our own openssl to try.
            let alerts = ["alert protocol version", "alert handshake failure"];
            assert!(alerts.iter().any(|alert| said.contains(alert)), "{version}: {said}");
        }
    }
}

#[test]
fn alpn_names_what_is_spoken_behind_each_door() {
    let broker = Broker::quickstart();
    let (_, said) = s_client(&broker, broker.mqtts(), &["-alpn", "mqtt"]);
    assert_says(&said, &["ALPN protocol: mqtt"]);
    let (_, said) = s_client(&broker, broker.wss(), &["-alpn", "h2,http/1.1"]);
    assert_says(&said, &["ALPN protocol: http/1.1"]);
    let (content, said) = s_client(&broker, broker.mqtts(), &["-alpn", "smtp"]);
    assert!(!content, "a client that wants another protocol is at the wrong door: {said}");
}

#[test]
fn no_early_data_and_no_compression() {
    let broker = Broker::quickstart();
    let (content, said) = s_client(&broker, broker.mqtts(), &["-tls1_3"]);
    assert!(content, "{said}");
    assert_says(&said, &["Compression: NONE", "Early data was not sent"]);
    assert!(!said.replace("Max Early Data: 0", "").contains("Max Early Data"), "{said}");
}

#[test]
fn a_client_that_asks_to_renegotiate_is_not_obeyed() {
    let broker = Broker::quickstart();
    let mut command = Command::new("openssl");
    command.args(["s_client", "-tls1_2", "-connect", &format!("127.0.0.1:{}", broker.mqtts()), "-CAfile"]);
    let mut child = Child::start(command.arg(broker.ca()));
    child.take("the end of the handshake", |line| line.contains("Extended master secret"));
    child.tell("R");
    let (_, said) = child.finish();
    assert_says(&said, &["RENEGOTIATING"]);
    assert!(said.contains("no renegotiation") || said.contains("error") || said.contains("alert"), "{said}");
    assert_eq!(said.matches("BEGIN CERTIFICATE").count(), 1, "no second handshake: {said}");
}

#[test]
fn a_client_certificate_is_asked_for_and_good_ones_pass() {
    let broker = Broker::quickstart();
    let (certificate, key) = (broker.certificate(DEVICE), broker.key(DEVICE));
    let args = ["-cert", certificate.to_str().unwrap(), "-key", key.to_str().unwrap()];
    let (content, said) = s_client(&broker, broker.mqtts(), &args);
    assert!(content, "{said}");
    assert_says(&said, &["Acceptable client certificate CA names"]);
}

#[test]
fn a_plaintext_connect_gets_no_mqtt_answer() {
    let broker = Broker::quickstart();
    let connect = b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03abc";
    for port in [broker.mqtts(), broker.wss()] {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(connect).unwrap();
        let mut answer = Vec::new();
        // A reset is as good an end as a close; what counts is what came before.
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer[0] == 0x15, "only a TLS alert may come, not {answer:02x?}");
        assert!(answer.len() < 16, "{answer:02x?}");
    }
}

#[test]
fn only_the_two_tls_doors_are_open() {
    let broker = Broker::quickstart();
    let mut open = broker.listening();
    open.dedup();
    let mut doors = vec![broker.mqtts(), broker.wss()];
    doors.sort_unstable();
    assert_eq!(open, doors);
}

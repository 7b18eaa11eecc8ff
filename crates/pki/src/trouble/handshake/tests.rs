//! Sentences for handshakes that cannot be made to fail that way in memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene must stop at that line")]

use rustls::{ClientConnection, PeerMisbehaved};

use super::*;
use crate::testing::Scene;
use crate::{ClientTlsParams, Roots, client_config};

/// What the client makes of a peer that answers its greeting with these bytes.
fn answered(bytes: &[u8]) -> Trouble {
    let scene = Scene::new();
    let params = ClientTlsParams { roots: Roots::File(scene.path("ca.pem")), ..ClientTlsParams::default() };
    let mut client = ClientConnection::new(client_config(&params).unwrap(), "localhost".try_into().unwrap()).unwrap();
    let mut rest = bytes;
    client.read_tls(&mut rest).unwrap();
    explain_handshake(&client.process_new_packets().unwrap_err(), "localhost")
}

#[test]
fn a_peer_without_tls_is_named_as_such() {
    for plain in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"\x20\x02\x00\x00\x00", b"SSH-2.0-OpenSSH_9.2\r\n"] {
        assert_eq!(answered(plain).what, "localhost answers on this port, but not in TLS", "{plain:?}");
    }
}

#[test]
fn every_reason_has_a_sentence_and_a_hint_of_its_own() {
    let reasons = [
        Error::InvalidCertificate(CertificateError::UnknownIssuer),
        Error::InvalidCertificate(CertificateError::NotValidForName),
        Error::InvalidCertificate(CertificateError::Expired),
        Error::InvalidCertificate(CertificateError::NotValidYet),
        Error::InvalidCertificate(CertificateError::InvalidPurpose),
        Error::InvalidCertificate(CertificateError::Revoked),
        Error::InvalidCertificate(CertificateError::BadEncoding),
        Error::InvalidMessage(InvalidMessage::InvalidContentType),
        Error::NoCertificatesPresented,
        Error::NoApplicationProtocol,
        Error::FailedToGetCurrentTime,
        Error::PeerMisbehaved(PeerMisbehaved::MissingKeyShare),
        Error::AlertReceived(AlertDescription::CertificateRequired),
        Error::AlertReceived(AlertDescription::UnknownCA),
        Error::AlertReceived(AlertDescription::CertificateExpired),
        Error::AlertReceived(AlertDescription::CertificateRevoked),
        Error::AlertReceived(AlertDescription::UnsupportedCertificate),
        Error::AlertReceived(AlertDescription::BadCertificate),
        Error::AlertReceived(AlertDescription::DecryptError),
        Error::AlertReceived(AlertDescription::AccessDenied),
        Error::AlertReceived(AlertDescription::ProtocolVersion),
        Error::AlertReceived(AlertDescription::HandshakeFailure),
        Error::AlertReceived(AlertDescription::UnrecognisedName),
        Error::AlertReceived(AlertDescription::InternalError),
    ];
    let mut seen: Vec<(String, String)> = Vec::new();
    for reason in reasons {
        let Trouble { what, hint } = explain_handshake(&reason, "h.example.org");
        assert!(!seen.iter().any(|(w, h)| *w == what || *h == hint), "{reason:?}: {what}");
        assert!(!hint.contains("insecure") && !what.ends_with('.'), "{what}: {hint}");
        seen.push((what, hint));
    }
}

#[test]
fn a_peer_that_hangs_up_is_explained_and_other_io_is_not() {
    let hung_up = explain_handshake_io(&io::ErrorKind::UnexpectedEof.into(), "h").unwrap();
    assert_eq!(hung_up.what, "h closed the connection during the TLS handshake");
    let inside = io::Error::new(io::ErrorKind::InvalidData, Error::NoCertificatesPresented);
    assert_eq!(explain_handshake_io(&inside, "h").unwrap().what, "h shows no certificate");
    assert_eq!(explain_handshake_io(&io::ErrorKind::ConnectionRefused.into(), "h"), None);
}

#[test]
fn k34_names_from_a_certificate_are_escaped_and_counted() {
    let mut presented: Vec<String> = (0..11).map(|n| format!("DnsName(\"{n}\u{1b}.org\")")).collect();
    presented[1] = "IpAddress(127.0.0.1)".into();
    let reason = CertificateError::NotValidForNameContext { expected: "x.org".try_into().unwrap(), presented };
    let trouble = explain_handshake(&Error::InvalidCertificate(reason), "x.org\n");
    assert_eq!(
        trouble.what,
        "the server's certificate is not for x.org\\u{a}, only for 0\\u{1b}.org, 127.0.0.1, 2\\u{1b}.org, \
         3\\u{1b}.org, 4\\u{1b}.org, 5\\u{1b}.org, 6\\u{1b}.org, 7\\u{1b}.org and 3 more"
    );
}

#[test]
fn spans_of_time_are_told_in_one_unit() {
    let span = |seconds| span(UnixTime::since_unix_epoch(Duration::ZERO), UnixTime::since_unix_epoch(seconds));
    let seconds = [1, 90, 120, 7_200, 172_800].map(Duration::from_secs);
    assert_eq!(seconds.map(span), ["1 second", "90 seconds", "2 minutes", "2 hours", "2 days"]);
}

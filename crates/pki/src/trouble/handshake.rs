//! What a failed handshake means to the user who tried to connect. Called through `trouble` by `client` and the
//! command line. Never suggests to turn verification off.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rustls::{AlertDescription, CertRevocationListError, CertificateError, Error, ExtendedKeyPurpose, InvalidMessage};
use rustls_pki_types::UnixTime;

use super::Trouble;
use crate::text::printable;

/// Names listed from a server's certificate; the rest is counted.
const NAMES_SHOWN_MAX: usize = 8;

/// Explains why the handshake with `host` failed, seen from the client.
pub fn explain_handshake(error: &Error, host: &str) -> Trouble {
    let host = printable(host);
    match error {
        Error::InvalidCertificate(reason) => certificate(reason, &host),
        Error::AlertReceived(alert) => alerted(*alert, &host),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::InvalidEmptyPayload,
        )
        | Error::PeerSentOversizedRecord => Trouble::new(
            format!("{host} answers on this port, but not in TLS"),
            "use the broker's TLS port (MQTT: 8883), or switch TLS on at the broker",
        ),
        Error::PeerIncompatible(_) => versions(&host),
        Error::NoCertificatesPresented => Trouble::new(
            format!("{host} shows no certificate"),
            "give the broker a certificate; without one nobody can know whom they talk to",
        ),
        Error::NoApplicationProtocol => protocol(&host),
        Error::FailedToGetCurrentTime => {
            Trouble::new("this machine's clock is set before 1970", "set the clock; certificates depend on it")
        }
        other => Trouble::new(
            format!("the TLS handshake with {host} failed: {}", printable(&other.to_string())),
            "check that this is the broker's TLS port, and look into the broker's log",
        ),
    }
}

/// Explains an I/O error of a handshake: rustls's own error inside it, or the peer that hung up.
/// `None` when it has nothing to do with TLS.
pub fn explain_handshake_io(error: &io::Error, host: &str) -> Option<Trouble> {
    if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return Some(explain_handshake(inner, host));
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            Some(Trouble::new(
                format!("{} closed the connection during the TLS handshake", printable(host)),
                "use the broker's TLS port (MQTT: 8883); a port without TLS hangs up on a TLS greeting",
            ))
        }
        _ => None,
    }
}

/// Why the broker did not accept the certificate of a client, for its operator; `None` when that is not what failed.
pub fn explain_client_refusal(error: &Error) -> Option<String> {
    let reason = match error {
        Error::InvalidCertificate(reason) => reason,
        Error::InvalidCertRevocationList(CertRevocationListError::BadSignature) => {
            return Some(String::from(
                "the client's certificate is not accepted: the revocation list of its CA is not signed by that CA",
            ));
        }
        Error::InvalidCertRevocationList(reason) => {
            return Some(format!(
                "the client's certificate is not accepted: the revocation list of its CA: {reason:?}"
            ));
        }
        _ => return None,
    };
    let why = match reason {
        CertificateError::Revoked => String::from("it, or a CA in its chain, has been revoked"),
        CertificateError::UnknownRevocationStatus => String::from(
            "there is no revocation list of a CA in its chain (`crl`), so nobody knows whether it has been revoked",
        ),
        CertificateError::ExpiredRevocationListContext { time, next_update } => format!(
            "the revocation list of its CA ended {} ago; make a new one (`motte cert crl`)",
            span(*next_update, *time)
        ),
        other => printable(&other.to_string()),
    };
    Some(format!("the client's certificate is not accepted: {why}"))
}

fn certificate(reason: &CertificateError, host: &str) -> Trouble {
    match reason {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Trouble::new(
            format!("the certificate of {host} is not signed by a CA that is trusted here"),
            "name the CA file that signed it with --cafile; if you do already, someone else answers here",
        ),
        CertificateError::NotValidForNameContext { presented, .. } => wrong_name(host, presented),
        CertificateError::NotValidForName => wrong_name(host, &[]),
        CertificateError::ExpiredContext { time, not_after } => {
            expired(host, &format!(" {} ago", span(*not_after, *time)))
        }
        CertificateError::Expired => expired(host, ""),
        CertificateError::NotValidYetContext { time, not_before } => {
            not_yet(host, &format!(" for another {}", span(*time, *not_before)))
        }
        CertificateError::NotValidYet => not_yet(host, ""),
        CertificateError::InvalidPurpose
        | CertificateError::InvalidPurposeContext { required: ExtendedKeyPurpose::ServerAuth, .. } => Trouble::new(
            format!("{host} shows a certificate that is not for servers"),
            "give the broker a server certificate (`motte cert server`), not a client's",
        ),
        CertificateError::InvalidPurposeContext { .. } => Trouble::new(
            format!("{host} shows a certificate that is for another purpose"),
            "give each side a certificate made for its role",
        ),
        CertificateError::Revoked => Trouble::new(
            format!("the certificate of {host} has been revoked"),
            "do not connect; ask the broker's operator why, and for a new certificate",
        ),
        CertificateError::BadEncoding | CertificateError::UnhandledCriticalExtension => Trouble::new(
            format!("the certificate of {host} cannot be understood"),
            "make the broker a new certificate, version 3 with a subjectAltName",
        ),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Trouble::new(
            format!("the certificate of {host}, or one that signed it, uses a key or signature too weak to trust"),
            "make certificates with ECDSA P-256, or RSA of 2048 bits or more, and SHA-256",
        ),
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => Trouble::new(
            format!("{host} shows a CA certificate as its own"),
            "issue the broker a certificate signed by that CA (`motte cert server`)",
        ),
        other => Trouble::new(
            format!("the certificate of {host} is not acceptable: {}", printable(&other.to_string())),
            "make the broker a new certificate, signed by the CA you trust",
        ),
    }
}

fn wrong_name(host: &str, presented: &[String]) -> Trouble {
    let names: Vec<String> = presented.iter().take(NAMES_SHOWN_MAX).map(|name| bare_name(name)).collect();
    let what = match (names.as_slice(), presented.len().saturating_sub(NAMES_SHOWN_MAX)) {
        ([], _) => format!("the server's certificate is not for {host}, and names no host at all"),
        (names, 0) => format!("the server's certificate is not for {host}, only for {}", names.join(", ")),
        (names, more) => {
            format!("the server's certificate is not for {host}, only for {} and {more} more", names.join(", "))
        }
    };
    Trouble::new(what, format!("connect by a name the certificate has, or issue one for {host} (`motte cert server`)"))
}

/// rustls lists names as `DnsName("a.example")` and `IpAddress(127.0.0.1)`.
fn bare_name(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    // Addresses are written in webpki's own way, such as 0::1.
    inner.parse::<IpAddr>().map_or_else(|_| printable(inner.trim_matches('"')), |address| address.to_string())
}

fn expired(host: &str, when: &str) -> Trouble {
    Trouble::new(
        format!("the certificate of {host} expired{when}"),
        "renew the broker's certificate (`motte cert server`); if it is new, check this machine's clock",
    )
}

fn not_yet(host: &str, when: &str) -> Trouble {
    Trouble::new(
        format!("the certificate of {host} is not valid yet{when}"),
        "check the clocks of this machine and of the one that made the certificate",
    )
}

fn protocol(host: &str) -> Trouble {
    Trouble::new(
        format!("{host} speaks TLS on this port, but not MQTT"),
        "use the broker's MQTT port (8883), or wss:// for MQTT over WebSocket (8443)",
    )
}

fn versions(host: &str) -> Trouble {
    Trouble::new(
        format!("{host} and this client have no TLS version or cipher suite in common"),
        "let the broker speak TLS 1.2 with ECDHE and AES-GCM, or better TLS 1.3; older ones are not safe",
    )
}

/// What the other side said before it hung up: mostly that it does not like our certificate.
fn alerted(alert: AlertDescription, host: &str) -> Trouble {
    use AlertDescription as A;
    match alert {
        A::CertificateRequired | A::NoCertificate => Trouble::new(
            format!("{host} wants a client certificate, and none was sent"),
            "give a client certificate and its key (`--cert`, `--key`)",
        ),
        A::UnknownCA => Trouble::new(
            format!("{host} does not know the CA that signed your client certificate"),
            "use a certificate from the broker's own CA (`motte cert client`)",
        ),
        A::CertificateExpired => Trouble::new(
            format!("{host} refuses your client certificate because it has expired or is not valid yet"),
            "get a new one (`motte cert client`), and check the clocks on both sides",
        ),
        A::CertificateRevoked => Trouble::new(
            format!("{host} refuses your client certificate because it has been revoked"),
            "ask the broker's operator for a new one",
        ),
        A::UnsupportedCertificate => Trouble::new(
            format!("{host} refuses your certificate because it is not for clients"),
            "use a client certificate (`motte cert client`), not a server's",
        ),
        // What rustls says to a CA of the right name with the wrong key, which UnknownCA does not cover.
        A::DecryptError => Trouble::new(
            format!("{host} says that your client certificate is not signed by a CA it knows"),
            "use a certificate from the broker's present CA; the CA may have been made anew under its old name",
        ),
        A::BadCertificate | A::CertificateUnknown => Trouble::new(
            format!("{host} refuses your client certificate as not acceptable"),
            "check that certificate and key are whole, and from the broker's own CA",
        ),
        A::AccessDenied => Trouble::new(
            format!("{host} denies access in the handshake"),
            "it refuses your client certificate, or does not go by the name or address you gave: use the name in its \
             certificate, or ask its operator",
        ),
        A::ProtocolVersion | A::InsufficientSecurity => versions(host),
        A::HandshakeFailure => Trouble::new(
            format!("{host} found nothing it accepts in this handshake"),
            "it may want a client certificate (`--cert`, `--key`), or speak other TLS versions or cipher suites",
        ),
        A::UnrecognisedName => Trouble::new(
            format!("{host} says that it does not go by this name"),
            "connect by the name the broker's operator gave you",
        ),
        A::NoApplicationProtocol => protocol(host),
        other => Trouble::new(
            format!("{host} ended the TLS handshake with the alert {other:?}"),
            "look into the broker's log for its reason",
        ),
    }
}

fn span(from: UnixTime, to: UnixTime) -> String {
    let seconds = Duration::from_secs(to.as_secs().saturating_sub(from.as_secs())).as_secs();
    let (count, unit) = match seconds {
        0..=119 => (seconds, "second"),
        120..=7_199 => (seconds / 60, "minute"),
        7_200..=172_799 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}

#[cfg(test)]
mod tests;

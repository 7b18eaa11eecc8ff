//! What an open TLS connection turned out to be, as text. Called by `node` and `client` once a handshake is complete.
//! Never decides anything: rustls has verified the peer before.

use rustls::{CommonState, ProtocolVersion};

use crate::facts::CertificateFacts;

/// Facts of a connection whose handshake is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLS 1.3` or `TLS 1.2`.
    pub version: String,
    /// IANA's name of the cipher suite, such as `TLS_AES_128_GCM_SHA256`.
    pub suite: String,
    /// IANA's name of the key exchange group, such as `X25519MLKEM768`.
    pub key_exchange: String,
    /// The peer's certificates as it sent them, leaf first; those that cannot be read are left out.
    pub peer: Vec<CertificateFacts>,
}

/// Describes a connection; `None` while the handshake is not complete.
pub fn verified_facts(connection: &CommonState) -> Option<TlsFacts> {
    if connection.is_handshaking() {
        return None;
    }
    let version = match connection.protocol_version()? {
        ProtocolVersion::TLSv1_3 => "TLS 1.3".to_owned(),
        ProtocolVersion::TLSv1_2 => "TLS 1.2".to_owned(),
        other => format!("{other:?}"),
    };
    let suite = format!("{:?}", connection.negotiated_cipher_suite()?.suite()).replacen("TLS13_", "TLS_", 1);
    // A resumed TLS 1.2 session has no key exchange of its own.
    let key_exchange =
        connection.negotiated_key_exchange_group().map_or_else(|| "none".to_owned(), |g| group_name(g.name()));
    let peer = connection.peer_certificates().unwrap_or_default();
    let peer = peer.iter().filter_map(|der| CertificateFacts::from_der(der).ok()).collect();
    Some(TlsFacts { version, suite, key_exchange, peer })
}

fn group_name(group: rustls::NamedGroup) -> String {
    match group {
        rustls::NamedGroup::X25519 => "X25519".to_owned(),
        rustls::NamedGroup::secp256r1 => "P-256".to_owned(),
        rustls::NamedGroup::secp384r1 => "P-384".to_owned(),
        other => format!("{other:?}"),
    }
}

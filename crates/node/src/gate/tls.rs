//! TLS at the gate: the configuration of each listener, and the handshake.
//!
//! Called by the gate and by the snapshot. Speaks nothing but TLS on a TLS listener, whatever the peer sends first.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use motte_audit::RefusalReason;
use motte_pki::{IdentityField, ServerTls, ServerTlsParams, TlsFileError, TlsVersion};
use rustls::AlertDescription;
use rustls::server::{Accepted, Acceptor};
use rustls_pki_types::CertificateDer;

use super::Refusal;
use super::visitor::Visitor;
use crate::acme::Challenges;
use crate::config::ConfigError;
use crate::settings::{ClientCertificates, ListenerSettings, TlsSettings};
use crate::snapshot::problem;
use crate::wire::{Wire, WireError};

/// Type of the record that opens every handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// Does the handshake; afterwards the visitor's bytes are what TLS carries. A CA that looks for the answer to a
/// challenge gets that and nothing else.
pub(super) async fn accept(visitor: &mut Visitor, configs: &ServerTls, challenges: &Challenges) -> Result<(), Refusal> {
    while visitor.network.is_empty() {
        visitor.read_unopened().await.map_err(|error| failed(&error.into()))?;
    }
    if visitor.network[0] != HANDSHAKE_RECORD {
        return Err(Refusal::silent(RefusalReason::Plaintext, None));
    }
    let accepted = hear_hello(visitor).await?;
    let challenge = challenges.config_for(&accepted.client_hello());
    let is_challenge = challenge.is_some();
    let config = challenge.unwrap_or_else(|| configs.config_for(&accepted.client_hello()));
    let connection = match accepted.into_connection(config) {
        Ok(connection) => connection,
        Err((error, mut alert)) => {
            // Whoever does not take it does not need it.
            let _ = alert.write_all(&mut &visitor.socket);
            return Err(failed(&error.into()));
        }
    };
    visitor.wire = Wire::tls(connection);
    while visitor.wire.is_handshaking() {
        visitor.read_more().await.map_err(|error| failed(&error))?;
    }
    if is_challenge {
        return Err(Refusal::silent(RefusalReason::AcmeChallenge, None));
    }
    if visitor.plain.is_empty() {
        // Where no session ticket is sent nothing else acknowledges the client's last flight, and a client that leaves
        // Nagle's algorithm on holds its CONNECT back for the 40 ms of a delayed acknowledgement.
        visitor.socket.acknowledge_at_once();
    }
    Ok(())
}

/// Reads the first message of the handshake, which decides what the others are about.
async fn hear_hello(visitor: &mut Visitor) -> Result<Accepted, Refusal> {
    let mut acceptor = Acceptor::default();
    loop {
        let network = std::mem::take(&mut visitor.network);
        let mut unread = network.as_slice();
        while !unread.is_empty() {
            acceptor.read_tls(&mut unread).map_err(|error| failed(&error.into()))?;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => visitor.read_unopened().await.map_err(|error| failed(&error.into()))?,
            Err((error, mut alert)) => {
                let _ = alert.write_all(&mut &visitor.socket);
                return Err(failed(&error.into()));
            }
        }
    }
}

fn failed(error: &WireError) -> Refusal {
    Refusal::silent(RefusalReason::TlsHandshake, explain(error))
}

/// The time of day at which a chain of client certificates, leaf first, is good for nothing any more.
pub(super) fn end_of(chain: &[CertificateDer<'static>]) -> Option<Duration> {
    let facts = motte_pki::CertificateFacts::from_der(chain.first()?).ok()?;
    let last = facts.not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Its last second belongs to its life (RFC 5280, section 4.1.2.5).
    Some(last + Duration::from_secs(1))
}

/// The TLS configuration of a listener; `None` for one without TLS.
///
/// # Errors
/// A file that is missing, damaged, exposed or does not fit the others.
pub(crate) fn server_tls(
    settings: &TlsSettings,
    listener: &ListenerSettings,
) -> Result<Option<ServerTls>, ConfigError> {
    if !listener.transport.tls {
        return Ok(None);
    }
    let alpn = listener.transport.alpn().iter().map(|protocol| protocol.to_vec()).collect();
    let password = settings
        .password()
        .map_err(|error| problem(&settings.key, 0, format!("the password of the key: {error}"), &error.hint()))?;
    let params = ServerTlsParams { alpn, key_password: password, ..params(settings, listener) };
    motte_pki::server_tls(&params).map(Some).map_err(|error| config_error(settings, &error))
}

fn params(settings: &TlsSettings, listener: &ListenerSettings) -> ServerTlsParams {
    let client_ca = listener.rules.client_ca.as_ref().or(settings.client_ca.as_ref());
    let rules = &listener.rules;
    let (certificate, key) = match &rules.certificate {
        Some(own) => (&own.certificate, &own.key),
        None => (&settings.certificate, &settings.key),
    };
    ServerTlsParams {
        certificate: certificate.clone(),
        key: key.clone(),
        more: rules.certificates.iter().map(|more| (more.certificate.clone(), more.key.clone())).collect(),
        names_strict: rules.sni_strict,
        key_password: None,
        client_ca: client_ca.cloned(),
        client_certificates: match listener.client_certificates {
            ClientCertificates::None => motte_pki::ClientCertificates::None,
            ClientCertificates::Optional => motte_pki::ClientCertificates::Optional,
            ClientCertificates::Required => motte_pki::ClientCertificates::Required,
        },
        crls: rules.crls.as_ref().unwrap_or(&settings.crls).clone(),
        crl_authorities: rules.crl_authorities(settings.client_ca.as_ref()),
        accept_expired_crls: settings.accept_expired_crls,
        tls_min: if settings.tls12 { TlsVersion::V12 } else { TlsVersion::V13 },
        alpn: Vec::new(),
    }
}

fn config_error(settings: &TlsSettings, error: &TlsFileError) -> ConfigError {
    problem(error.path().unwrap_or(&settings.certificate), 0, error.to_string(), &error.hint())
}

/// The name a verified certificate gives its holder; `None` when it names nobody for certain.
pub(crate) fn identity(leaf: &CertificateDer<'_>, field: IdentityField) -> Option<Arc<str>> {
    motte_pki::identity(leaf, field).map(Arc::from)
}

/// One sentence for the operator on why a handshake failed, seen from the broker.
fn explain(error: &WireError) -> String {
    let WireError::Tls(error) = error else { return error.to_string() };
    if let Some(why) = motte_pki::explain_client_refusal(error) {
        return why;
    }
    match error {
        rustls::Error::AlertReceived(AlertDescription::UnknownCA) => {
            String::from("the client does not know the CA of this broker; give it the CA certificate (--cafile)")
        }
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown),
        ) => format!("the client does not accept the certificate of this broker, or its name: {alert:?}"),
        rustls::Error::AlertReceived(alert) => format!("the client ended the handshake: {alert:?}"),
        // What rustls says when `CertificatesByName` has none to show.
        rustls::Error::General(what) if what.contains("no server certificate") => {
            String::from("the client asked for no name that a certificate of this listener has, and sni is \"strict\"")
        }
        rustls::Error::NoCertificatesPresented => {
            String::from("the client showed no certificate and this listener demands one")
        }
        rustls::Error::NoApplicationProtocol => {
            String::from("the client asks for another application protocol (ALPN) than this listener speaks")
        }
        rustls::Error::PeerIncompatible(reason) => {
            format!("client and broker have no way of doing TLS in common: {reason:?}")
        }
        error => error.to_string(),
    }
}

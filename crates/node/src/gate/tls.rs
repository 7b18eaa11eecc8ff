//! TLS at the gate: the configuration of each listener, and the handshake.
//!
//! Called by the gate and by the snapshot. Speaks nothing but TLS on a TLS listener, whatever the peer sends first.

use std::sync::Arc;

use motte_audit::RefusalReason;
use rustls::{ServerConfig, ServerConnection};
use rustls_pki_types::CertificateDer;

use super::Refusal;
use super::visitor::Visitor;
use crate::config::ConfigError;
use crate::settings::{ListenerSettings, TlsSettings, Transport};
use crate::wire::{Wire, WireError};

/// Type of the record that opens every handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// Does the handshake; afterwards the visitor's bytes are what TLS carries.
pub(super) async fn accept(visitor: &mut Visitor, config: Arc<ServerConfig>) -> Result<(), Refusal> {
    let failed = |detail: String| Refusal::silent(RefusalReason::TlsHandshake, detail);
    let mut first = [0];
    let count = visitor.socket.peek(&mut first).await.map_err(|error| failed(error.to_string()))?;
    if count == 1 && first[0] != HANDSHAKE_RECORD {
        return Err(Refusal::silent(RefusalReason::Plaintext, None));
    }
    visitor.wire = Wire::tls(ServerConnection::new(config).map_err(|error| failed(error.to_string()))?);
    while visitor.wire.is_handshaking() {
        visitor.read_more().await.map_err(|error| failed(explain(&error)))?;
        visitor.write(Vec::new()).await.map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}

/// The TLS configuration of a listener; `None` for one without TLS.
pub(crate) fn server_config(
    settings: &TlsSettings,
    listener: &ListenerSettings,
) -> Result<Option<Arc<ServerConfig>>, ConfigError> {
    if listener.transport == Transport::Plaintext {
        return Ok(None);
    }
    let _ = settings;
    todo!()
}

/// The name a verified certificate gives its holder, or why it gives none.
pub(super) fn identity(leaf: &CertificateDer<'_>) -> Result<Arc<str>, String> {
    let _ = leaf;
    Err(String::from("it has no common name"))
}

fn explain(error: &WireError) -> String {
    error.to_string()
}

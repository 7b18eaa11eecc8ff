//! Connecting as this library does, for a program that drives its own sockets: the same TLS, the same CONNECT, and the
//! same errors. Called by load generators. Never opens a socket, and never changes what the configuration asks for.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;

use motte_mqtt::{ConnAck, Qos};
use motte_pki::printable;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::config::{MqttConfig, Transport};
use crate::connect::{
    ConnectionFacts, accepted, before_connack, closed_early, connect_packet, handshake_error, not_mqtt, tcp_error,
    tls_parts,
};
use crate::error::{ConnectError, Stage};

/// Everything that connections with one configuration have in common; files are read once.
#[derive(Debug)]
pub struct Opening {
    config: MqttConfig,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// What a CONNACK grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What was agreed; nothing is said of TLS.
    pub facts: ConnectionFacts,
    /// Most QoS 1 and 2 messages on their way to the broker at once.
    pub in_flight_max: u16,
    /// Largest packet the broker takes, in bytes.
    pub packet_size_max: u32,
    /// Highest QoS the broker takes.
    pub qos_max: Qos,
}

impl Opening {
    /// Reads the certificates the configuration names.
    ///
    /// # Errors
    /// A file that cannot be used, or a broker's name that no certificate could have.
    pub fn new(config: MqttConfig) -> Result<Self, ConnectError> {
        if config.broker.is_empty() {
            return Err(ConnectError::NoBroker);
        }
        let tls = tls_parts(&config)?;
        Ok(Self { config, tls })
    }

    /// What was asked.
    #[must_use]
    pub fn config(&self) -> &MqttConfig {
        &self.config
    }

    /// How TLS is spoken, and the name the broker has to prove; `None` without TLS.
    #[must_use]
    pub fn tls(&self) -> Option<&(Arc<ClientConfig>, ServerName<'static>)> {
        self.tls.as_ref()
    }

    /// The broker's addresses; waits for the system's name service.
    ///
    /// # Errors
    /// [`ConnectError::Resolve`].
    pub fn addresses(&self) -> Result<Vec<SocketAddr>, ConnectError> {
        let host = printable(&self.config.broker);
        let found = (self.config.broker.as_str(), self.config.port).to_socket_addrs();
        let addresses: Vec<_> = found
            .map_err(|error| ConnectError::Resolve { host: host.clone(), reason: printable(&error.to_string()) })?
            .collect();
        if addresses.is_empty() {
            return Err(ConnectError::Resolve { host, reason: "it has no address".to_owned() });
        }
        Ok(addresses)
    }

    /// The CONNECT of a client with this identifier. Proofs that take more than one packet (SCRAM) are not in it.
    ///
    /// # Errors
    /// [`ConnectError::Request`]: a text that is too long, or with forbidden characters.
    pub fn connect_packet(&self, client_id: &str) -> Result<Vec<u8>, ConnectError> {
        connect_packet(&self.config, client_id, None)
    }

    /// What the broker's answer to CONNECT means.
    ///
    /// # Errors
    /// The broker's refusal, or a session where none was asked for.
    pub fn accepted(&self, connack: &ConnAck<'_>, client_id: &str) -> Result<Accepted, ConnectError> {
        let (facts, limits) = accepted(connack, &self.config, client_id.to_owned())?;
        Ok(Accepted {
            facts,
            in_flight_max: limits.in_flight_max,
            packet_size_max: limits.packet_size_max,
            qos_max: limits.qos_max,
        })
    }

    /// Why there is no connection, when the system says so before TLS or MQTT began.
    #[must_use]
    pub fn unreachable(&self, error: &io::Error) -> ConnectError {
        match &self.config.transport {
            Transport::Unix { path } => ConnectError::Unix { path: shown(path), reason: printable(&error.to_string()) },
            _ => tcp_error(&self.config, error),
        }
    }

    /// Why there is no connection, when reading or writing failed during the TLS handshake. An error of rustls is
    /// looked for inside.
    #[must_use]
    pub fn unshaken(&self, error: &io::Error) -> ConnectError {
        handshake_error(error, &self.config)
    }

    /// The same between the handshake and the CONNACK.
    #[must_use]
    pub fn unanswered(&self, error: &io::Error) -> ConnectError {
        before_connack(error, error, &self.config)
    }

    /// The broker closed the connection before the CONNACK.
    #[must_use]
    pub fn closed_early(&self) -> ConnectError {
        closed_early(&self.config)
    }

    /// What came is no CONNACK.
    #[must_use]
    pub fn not_mqtt(&self, reason: &str) -> ConnectError {
        not_mqtt(&self.config, reason)
    }

    /// The time for all of it has passed.
    #[must_use]
    pub fn timed_out(&self, stage: Stage) -> ConnectError {
        let after = self.config.connect_timeout;
        ConnectError::TimedOut { host: printable(&self.config.broker), stage, after }
    }
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

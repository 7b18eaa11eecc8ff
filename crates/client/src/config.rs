//! Where to connect, as whom, and how: [`MqttConfig`].
//! Called by everybody who connects. Never shows a password in its `Debug` form; whatever weakens security has
//! `danger` in its name and is never a default.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use motte_mqtt::ProtocolVersion;
use motte_pki::{ClientTlsParams, KeyPassword, Roots, TlsVersion};
use zeroize::Zeroizing;

use crate::authentication::Authentication;

mod file;

pub use file::ConfigFileError;

/// The port of MQTT over TLS (IANA `secure-mqtt`).
pub const PORT_TLS: u16 = 8883;
/// The port of MQTT without TLS (IANA `mqtt`).
pub const PORT_PLAINTEXT: u16 = 1883;
/// The port of MQTT over secure WebSocket, by habit of MQTT brokers.
pub const PORT_WEBSOCKET_TLS: u16 = 8443;
/// The port of MQTT over WebSocket without TLS, by habit of MQTT brokers.
pub const PORT_WEBSOCKET_PLAINTEXT: u16 = 8080;

/// A password: wiped from memory when dropped, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// The bytes for the CONNECT packet.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Password {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self::from(text.into_bytes())
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// The client's own certificate and key, both PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, then those between it and the CA.
    pub certificate: PathBuf,
    /// Its key; only its owner may be able to read the file.
    pub key: PathBuf,
}

/// What carries the MQTT packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// MQTT over TLS: `mqtts`.
    #[default]
    Tls,
    /// MQTT over WebSocket over TLS: `wss`.
    WebSocketTls {
        /// The path of the upgrade request, such as `/mqtt`.
        path: String,
    },
    /// MQTT over a unix socket of this machine, whose file decides who may speak to whom. There is no certificate.
    Unix {
        /// The file of the socket.
        path: PathBuf,
    },
    /// Danger: MQTT over TCP, readable and changeable by anyone on the way. No certificate is looked at.
    DangerPlaintext,
    /// Danger: MQTT over WebSocket without TLS: `ws`. As [`Transport::DangerPlaintext`] in all else.
    DangerWebSocket {
        /// The path of the upgrade request, such as `/mqtt`.
        path: String,
    },
}

impl Transport {
    /// Whether everything is inside TLS.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls | Self::WebSocketTls { .. })
    }

    /// Whether others on the way can read and change everything.
    #[must_use]
    pub const fn is_exposed(&self) -> bool {
        matches!(self, Self::DangerPlaintext | Self::DangerWebSocket { .. })
    }

    /// The port that is used when none is named; a unix socket has none, which is 0.
    #[must_use]
    pub const fn port_default(&self) -> u16 {
        match self {
            Self::Tls => PORT_TLS,
            Self::WebSocketTls { .. } => PORT_WEBSOCKET_TLS,
            Self::DangerPlaintext => PORT_PLAINTEXT,
            Self::DangerWebSocket { .. } => PORT_WEBSOCKET_PLAINTEXT,
            Self::Unix { .. } => 0,
        }
    }
}

/// Which servers are believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerTrust {
    /// One whose certificate the CAs in [`MqttConfig::tls_cert_path`] signed, and that has the name of the broker.
    #[default]
    CertificateFile,
    /// One whose certificate a CA of the operating system's list signed, and that has the name of the broker.
    SystemRoots,
    /// Danger: any server, so that anyone on the way can read and change everything.
    DangerAnyCertificate,
}

/// A message the broker publishes when this client is gone without a word (MQTT 5.0 §3.1.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where it is published; a topic name without wildcards.
    pub topic: String,
    /// What is published.
    pub payload: Vec<u8>,
    /// At which QoS.
    pub qos: motte_mqtt::Qos,
    /// Whether it is retained.
    pub retain: bool,
    /// How long the broker waits for this client to come back, in seconds; 5.0 only.
    pub delay_s: u32,
}

/// Everything about one connection to a broker.
///
/// The first three fields are what every secure connection needs; the rest has defaults:
/// ```
/// # use motte_client::MqttConfig;
/// let config = MqttConfig {
///     broker: "broker.example.org".into(),
///     port: 8883,
///     tls_cert_path: "ca.pem".into(),
///     ..MqttConfig::default()
/// };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttConfig {
    /// Host name or address of the broker; its certificate must have it.
    pub broker: String,
    /// TCP port.
    pub port: u16,
    /// PEM file of the CAs that may have signed the broker's certificate.
    pub tls_cert_path: PathBuf,
    /// Which servers are believed; by default those that `tls_cert_path` vouches for, and no others.
    pub server_trust: ServerTrust,
    /// The lowest TLS version.
    pub tls_min: TlsVersion,
    /// The client's own certificate, for brokers that ask for one.
    pub client_certificate: Option<ClientCertificate>,
    /// The password of its key, if that is protected by one.
    pub key_password: Option<KeyPassword>,
    /// User name.
    pub user_name: Option<String>,
    /// Password.
    pub password: Option<Password>,
    /// What is done with the two.
    pub authentication: Authentication,
    /// Client identifier; when empty, a random one is made.
    pub client_id: String,
    /// Protocol version.
    pub protocol_version: ProtocolVersion,
    /// Clean Start (5.0) or Clean Session (3.x). False resumes the session the broker keeps for `client_id`.
    pub clean_start: bool,
    /// Session Expiry Interval in seconds, 5.0 only; `None` ends the session with the connection.
    pub session_expiry_s: Option<u32>,
    /// Keep alive in seconds; 0 turns it off.
    pub keep_alive_s: u16,
    /// The will, if any.
    pub will: Option<Will>,
    /// Largest packet taken from the broker, in bytes.
    pub packet_size_max: u32,
    /// Most QoS 1 and 2 messages on their way to the broker at once; the broker may ask for fewer.
    pub in_flight_max: u16,
    /// Time for everything until the broker has accepted the connection.
    pub connect_timeout: Duration,
    /// Time for the broker to answer a publish, a subscription or a ping.
    pub response_timeout: Duration,
    /// What carries the packets.
    pub transport: Transport,
}

impl Default for MqttConfig {
    /// The secure defaults, with no broker and no CA named yet: connecting with them as they are is an error.
    fn default() -> Self {
        Self {
            broker: String::new(),
            port: PORT_TLS,
            tls_cert_path: PathBuf::new(),
            server_trust: ServerTrust::CertificateFile,
            tls_min: TlsVersion::V12,
            client_certificate: None,
            key_password: None,
            user_name: None,
            password: None,
            authentication: Authentication::Password,
            client_id: String::new(),
            protocol_version: ProtocolVersion::V5,
            clean_start: true,
            session_expiry_s: None,
            keep_alive_s: 60,
            will: None,
            packet_size_max: 16 * 1024 * 1024,
            in_flight_max: 20,
            connect_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(30),
            transport: Transport::Tls,
        }
    }
}

impl MqttConfig {
    /// A configuration for TLS with the given CA file, and defaults for the rest.
    pub fn new(broker: impl Into<String>, port: u16, tls_cert_path: impl Into<PathBuf>) -> Self {
        Self { broker: broker.into(), port, tls_cert_path: tls_cert_path.into(), ..Self::default() }
    }

    pub(crate) fn tls_params(&self) -> ClientTlsParams {
        let own = self.client_certificate.as_ref();
        ClientTlsParams {
            roots: match self.server_trust {
                ServerTrust::SystemRoots | ServerTrust::DangerAnyCertificate => Roots::System,
                ServerTrust::CertificateFile => Roots::File(self.tls_cert_path.clone()),
            },
            client_certificate: own.map(|own| (own.certificate.clone(), own.key.clone())),
            key_password: self.key_password.clone(),
            alpn: match self.transport {
                Transport::WebSocketTls { .. } => vec![b"http/1.1".to_vec()],
                _ => vec![b"mqtt".to_vec()],
            },
            tls_min: self.tls_min,
            insecure: self.server_trust == ServerTrust::DangerAnyCertificate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MqttConfig, Password, ServerTrust, Transport};

    #[test]
    fn a_password_is_never_shown() {
        let config = MqttConfig { password: Some(Password::from("s3cret")), ..MqttConfig::new("b", 1, "ca.pem") };
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn defaults_are_the_secure_ones() {
        let config = MqttConfig::default();
        assert_eq!(config.transport, Transport::Tls);
        assert_eq!(config.server_trust, ServerTrust::CertificateFile);
        assert!(!config.tls_params().insecure);
        assert_eq!(config.port, 8883);
    }
}

//! From a configuration to an established MQTT connection: name, TCP or unix socket, TLS, WebSocket, CONNECT, CONNACK.
//! Called by `connection` on its own thread. Never falls back to plaintext or to a server that is not verified: each
//! step that fails is an error of its own, and the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use motte_mqtt::{
    Auth, ConnAck, Connect, ConnectProperties, Decoder, Encoder, ForwardedProperties, Packet, ProtocolVersion, Qos,
    ReasonCode, Sender, UserProperties,
};
use motte_pki::{TlsFacts, Trouble, client_config, explain_handshake, explain_handshake_io, printable, verified_facts};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::authentication::{Authentication, AuthenticationError};
use crate::config::{MqttConfig, ServerTrust, Transport};
use crate::driver::{Established, Wire};
use crate::error::{ConnectError, Stage};
use crate::protocol::{Limits, Protocol, TOPIC_ALIAS_MAXIMUM};
use crate::scram::{self, Credentials, Exchange, METHOD};
use crate::session::Session;
use crate::websocket;

/// Far more than any CONNACK; until it has come, nothing larger is taken.
const CONNACK_BYTES_MAX: u32 = 64 * 1024;

/// What connecting found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// The TLS connection; `None` in plaintext.
    pub tls: Option<TlsFacts>,
    /// The protocol version spoken.
    pub protocol_version: ProtocolVersion,
    /// The client identifier in use: the configured one, a random one, or the one the broker chose.
    pub client_id: String,
    /// Whether the broker resumes a session.
    pub session_present: bool,
    /// The keep alive in force, in seconds; 0 is off.
    pub keep_alive_s: u16,
}

/// Connects, and goes on with `session` where the broker has kept its half of it (it is taken out then). Everything
/// together takes at most the configured time.
pub(crate) async fn establish(
    config: &MqttConfig,
    session: &mut Session,
) -> Result<(Established, ConnectionFacts), ConnectError> {
    if config.broker.is_empty() {
        return Err(ConnectError::NoBroker);
    }
    let deadline = Deadline { at: Instant::now() + config.connect_timeout, config };
    // Files are read, and the packet written, before anybody is bothered.
    let tls = tls_connector(config)?;
    let client_id = client_id(config, session)?;
    let exchange = exchange(config)?;
    let connect = connect_packet(config, &client_id, exchange.as_ref())?;
    let socket = open_socket(config, &deadline).await?;
    let (stream, facts): (Box<dyn Wire>, _) = match tls {
        None => (socket, None),
        Some((connector, name)) => {
            let shake = deadline.hold(Stage::Tls, connector.connect(name, socket)).await?;
            let stream = shake.map_err(|error| handshake_error(&error, config))?;
            let facts = verified_facts(stream.get_ref().1);
            (Box::new(stream), facts)
        }
    };
    let wire = match &config.transport {
        Transport::WebSocketTls { path } | Transport::DangerWebSocket { path } => {
            Box::new(deadline.hold(Stage::WebSocket, websocket::upgrade(stream, config, path)).await??)
        }
        Transport::Tls | Transport::Unix { .. } | Transport::DangerPlaintext => stream,
    };
    let (established, mut known) =
        deadline.hold(Stage::Mqtt, introduce(wire, (&connect, exchange), config, client_id, session)).await??;
    known.tls = facts;
    Ok((established, known))
}

/// The one limit in time for all stages.
struct Deadline<'a> {
    at: Instant,
    config: &'a MqttConfig,
}

impl Deadline<'_> {
    async fn hold<T>(&self, stage: Stage, work: impl Future<Output = T>) -> Result<T, ConnectError> {
        timeout_at(self.at, work).await.map_err(|_| ConnectError::TimedOut {
            host: printable(&self.config.broker),
            stage,
            after: self.config.connect_timeout,
        })
    }
}

fn tls_connector(config: &MqttConfig) -> Result<Option<(TlsConnector, ServerName<'static>)>, ConnectError> {
    Ok(tls_parts(config)?.map(|(tls, name)| (TlsConnector::from(tls), name)))
}

/// How TLS is spoken, and with whom; `None` in plaintext.
pub(crate) fn tls_parts(config: &MqttConfig) -> Result<Option<(Arc<ClientConfig>, ServerName<'static>)>, ConnectError> {
    if !config.transport.is_encrypted() {
        return Ok(None);
    }
    if config.server_trust == ServerTrust::CertificateFile && config.tls_cert_path.as_os_str().is_empty() {
        return Err(ConnectError::NoCertificateFile);
    }
    let tls = client_config(&config.tls_params())?;
    let name = ServerName::try_from(config.broker.clone())
        .map_err(|_| ConnectError::HostName { host: printable(&config.broker) })?;
    Ok(Some((tls, name)))
}

pub(crate) fn handshake_error(error: &std::io::Error, config: &MqttConfig) -> ConnectError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let no_protocol = matches!(
        inner,
        Some(
            rustls::Error::NoApplicationProtocol
                | rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)
        )
    );
    if no_protocol && matches!(config.transport, Transport::WebSocketTls { .. }) {
        return ConnectError::Tls(Trouble {
            what: format!("{} speaks TLS on this port, but not WebSocket", printable(&config.broker)),
            hint: "use the broker's WebSocket port (8443), or mqtts:// for MQTT without WebSocket (8883)".to_owned(),
        });
    }
    explain_handshake_io(error, &config.broker).map_or_else(|| tcp_error(config, error), ConnectError::Tls)
}

pub(crate) fn tcp_error(config: &MqttConfig, error: &std::io::Error) -> ConnectError {
    let reason = match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => printable(&error.to_string()),
    };
    ConnectError::Tcp { host: printable(&config.broker), port: config.port, reason }
}

/// The connection below everything else.
async fn open_socket(config: &MqttConfig, deadline: &Deadline<'_>) -> Result<Box<dyn Wire>, ConnectError> {
    let Transport::Unix { path } = &config.transport else {
        return Ok(Box::new(open_tcp(config, deadline).await?));
    };
    let shown = || printable(&path.to_string_lossy());
    let failed = |error: std::io::Error| ConnectError::Unix { path: shown(), reason: printable(&error.to_string()) };
    Ok(Box::new(deadline.hold(Stage::Tcp, UnixStream::connect(path)).await?.map_err(failed)?))
}

/// Tries the addresses of the name one after the other; the error is that of the last.
async fn open_tcp(config: &MqttConfig, deadline: &Deadline<'_>) -> Result<TcpStream, ConnectError> {
    let unresolved = |reason: String| ConnectError::Resolve { host: printable(&config.broker), reason };
    let lookup = tokio::net::lookup_host((config.broker.as_str(), config.port));
    let addresses: Vec<SocketAddr> = deadline
        .hold(Stage::Resolve, lookup)
        .await?
        .map_err(|error| unresolved(printable(&error.to_string())))?
        .collect();
    let mut failure = unresolved("it has no address".to_owned());
    for address in addresses {
        match deadline.hold(Stage::Tcp, TcpStream::connect(address)).await? {
            Ok(stream) => {
                // Small packets are to leave at once; a system that cannot is only slower.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => failure = tcp_error(config, &error),
        }
    }
    Err(failure)
}

/// The identifier of the session, the configured one, or a random one: 64 bits, and within the 23 characters of MQTT
/// 3.1.
fn client_id(config: &MqttConfig, session: &Session) -> Result<String, ConnectError> {
    if !config.client_id.is_empty() {
        return Ok(config.client_id.clone());
    }
    if !session.client_id.is_empty() {
        return Ok(session.client_id.clone());
    }
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).map_err(|error| ConnectError::System { reason: error.to_string() })?;
    Ok(format!("motte-{:016x}", u64::from_ne_bytes(bytes)))
}

/// The exchange that proves the password, where it is not to be sent.
fn exchange(config: &MqttConfig) -> Result<Option<Exchange>, ConnectError> {
    match config.authentication {
        Authentication::Password => Ok(None),
        Authentication::ScramSha256 => {
            let credentials = Credentials::of(config)?;
            Ok(Some(Exchange::new(credentials, scram::nonce().map_err(AuthenticationError::System)?)))
        }
    }
}

pub(crate) fn connect_packet(
    config: &MqttConfig,
    client_id: &str,
    exchange: Option<&Exchange>,
) -> Result<Vec<u8>, ConnectError> {
    let is_v5 = config.protocol_version == ProtocolVersion::V5;
    let first = exchange.map(Exchange::first);
    let sends_password = first.is_none();
    let properties = ConnectProperties {
        session_expiry_s: config.session_expiry_s,
        packet_size_max: std::num::NonZeroU32::new(config.packet_size_max),
        topic_alias_maximum: TOPIC_ALIAS_MAXIMUM,
        authentication_method: first.is_some().then_some(METHOD),
        authentication_data: first.as_deref().map(str::as_bytes),
        ..ConnectProperties::default()
    };
    let packet = Packet::Connect(Connect {
        version: config.protocol_version,
        clean_start: config.clean_start,
        keep_alive_s: config.keep_alive_s,
        client_id,
        will: config.will.as_ref().map(|will| motte_mqtt::Will {
            topic: &will.topic,
            payload: &will.payload,
            qos: will.qos,
            retain: will.retain,
            delay_s: if is_v5 { will.delay_s } else { 0 },
            message_expiry_s: None,
            properties: ForwardedProperties::EMPTY,
        }),
        user_name: config.user_name.as_deref().filter(|_| sends_password),
        password: config.password.as_ref().filter(|_| sends_password).map(|password| password.as_bytes()),
        properties: if is_v5 { properties } else { ConnectProperties::default() },
    });
    let mut bytes = Vec::new();
    Encoder::new(config.protocol_version, u32::MAX).encode(&packet, &mut bytes)?;
    Ok(bytes)
}

/// Sends CONNECT and reads the CONNACK.
async fn introduce(
    mut wire: Box<dyn Wire>,
    (connect, mut exchange): (&[u8], Option<Exchange>),
    config: &MqttConfig,
    client_id: String,
    session: &mut Session,
) -> Result<(Established, ConnectionFacts), ConnectError> {
    let mut input = BytesMut::with_capacity(4096);
    // A broker that refuses our certificate may close while we still write; what it said is then waiting to be read.
    let sent = async {
        wire.write_all(connect).await?;
        wire.flush().await
    }
    .await;
    let decoder = Decoder::new(Sender::Server, config.protocol_version, CONNACK_BYTES_MAX);
    let (facts, limits, length) = loop {
        let decoded = decoder.decode(&input).map_err(|error| not_mqtt(config, &error.to_string()))?;
        match decoded {
            Some((Packet::ConnAck(connack), length)) => {
                let (facts, limits) = accepted(&connack, config, client_id)?;
                check_proof(&connack, exchange.as_ref(), config)?;
                break (facts, limits, length);
            }
            Some((Packet::Auth(auth), length)) => {
                let answer = answer(&auth, exchange.as_mut(), config)?;
                input.advance(length);
                let sent = async {
                    wire.write_all(&answer).await?;
                    wire.flush().await
                };
                sent.await.map_err(|error| before_connack(&error, &error, config))?;
                continue;
            }
            Some(_) => return Err(not_mqtt(config, "its first packet is not a CONNACK")),
            None => {}
        }
        match wire.read_buf(&mut input).await {
            Ok(0) => return Err(closed_early(config)),
            Ok(_) => {}
            Err(error) => return Err(before_connack(sent.as_ref().err().unwrap_or(&error), &error, config)),
        }
    };
    input.advance(length);
    // A broker that has nothing of the session makes our half worthless (MQTT-3.2.2-5).
    let left = std::mem::take(session);
    let protocol = if facts.session_present { Protocol::resume(limits, left) } else { Protocol::new(limits) };
    let established = Established {
        wire,
        decoder: Decoder::new(Sender::Server, config.protocol_version, config.packet_size_max),
        input,
        protocol: match exchange {
            Some(exchange) => protocol.authenticated_by(exchange.into_credentials()),
            None => protocol,
        },
        client_id: facts.client_id.clone(),
        keep_alive: Duration::from_secs(facts.keep_alive_s.into()),
        response_timeout: config.response_timeout,
    };
    Ok((established, facts))
}

/// The AUTH that answers one of the broker (MQTT-4.12.0-3).
fn answer(auth: &Auth<'_>, exchange: Option<&mut Exchange>, config: &MqttConfig) -> Result<Vec<u8>, ConnectError> {
    let exchange = exchange.ok_or_else(|| not_mqtt(config, "it sends AUTH although no method was asked for"))?;
    if auth.method != Some(METHOD) || auth.reason != ReasonCode::ContinueAuthentication {
        return Err(not_mqtt(config, "its AUTH does not continue the exchange"));
    }
    let last = exchange.answer(auth.data.unwrap_or_default()).map_err(AuthenticationError::BrokerUnproved)?;
    let data = Some(last.as_bytes());
    let packet =
        Auth { reason: auth.reason, method: auth.method, data, reason_string: None, user: UserProperties::EMPTY };
    let mut bytes = Vec::new();
    Encoder::new(config.protocol_version, u32::MAX).encode(&Packet::Auth(packet), &mut bytes)?;
    Ok(bytes)
}

/// A CONNACK that accepts has to prove the broker where the client proved itself, and names the method then and only
/// then (MQTT-4.12.0-5, MQTT-4.12.0-6).
fn check_proof(connack: &ConnAck<'_>, exchange: Option<&Exchange>, config: &MqttConfig) -> Result<(), ConnectError> {
    let properties = &connack.properties;
    let unproved = |what| ConnectError::Authentication(AuthenticationError::BrokerUnproved(what));
    match (exchange, properties.authentication_method) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(not_mqtt(config, "it names an authentication method that was not asked for")),
        (Some(exchange), Some(METHOD)) => exchange.check(properties.authentication_data).map_err(unproved),
        (Some(_), _) => Err(unproved("it accepts without the method that was asked for")),
    }
}

/// TLS 1.3 lets a server refuse a client's certificate only after the client is through with its handshake, so that
/// refusal arrives here.
pub(crate) fn before_connack(first: &std::io::Error, second: &std::io::Error, config: &MqttConfig) -> ConnectError {
    let from_tls = |error: &std::io::Error| {
        let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        Some(ConnectError::Tls(explain_handshake(inner, &config.broker)))
    };
    from_tls(second).or_else(|| from_tls(first)).unwrap_or_else(|| closed_early(config))
}

pub(crate) fn closed_early(config: &MqttConfig) -> ConnectError {
    ConnectError::ClosedEarly { host: printable(&config.broker), encrypted: config.transport.is_encrypted() }
}

pub(crate) fn not_mqtt(config: &MqttConfig, reason: &str) -> ConnectError {
    ConnectError::Protocol { host: printable(&config.broker), reason: reason.to_owned() }
}

pub(crate) fn accepted(
    connack: &ConnAck<'_>,
    config: &MqttConfig,
    client_id: String,
) -> Result<(ConnectionFacts, Limits), ConnectError> {
    if connack.reason.is_error() {
        return Err(ConnectError::Refused {
            reason: connack.reason,
            version: config.protocol_version,
            with_credentials: config.user_name.is_some() || config.client_certificate.is_some(),
            text: connack.properties.reason_string.map(str::to_owned),
        });
    }
    if connack.session_present && config.clean_start {
        // MQTT-3.2.2-4. Whoever resumes a session by name declares to have its state.
        return Err(not_mqtt(config, "it resumes a session although a new one was asked for"));
    }
    let properties = &connack.properties;
    let receive_maximum = properties.receive_maximum.map_or(u16::MAX, std::num::NonZeroU16::get);
    let limits = Limits {
        version: config.protocol_version,
        in_flight_max: config.in_flight_max.clamp(1, receive_maximum),
        packet_size_max: properties.packet_size_max.map_or(u32::MAX, std::num::NonZeroU32::get),
        qos_max: properties.qos_maximum.unwrap_or(Qos::ExactlyOnce),
        retain_available: properties.retain_available,
    };
    let facts = ConnectionFacts {
        tls: None,
        protocol_version: config.protocol_version,
        client_id: properties.assigned_client_id.map_or(client_id, str::to_owned),
        session_present: connack.session_present,
        keep_alive_s: properties.server_keep_alive_s.unwrap_or(config.keep_alive_s),
    };
    Ok((facts, limits))
}

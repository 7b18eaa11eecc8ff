//! What can go wrong, a type for each operation: what happened (`Display`), what to do (`hint`), and the exit status a
//! command ends with (`exit_code`), which are Mosquitto's where it has one.
//! Called by every user of the library. Never shows text of a peer unescaped, never a secret.

use std::time::Duration;

use motte_mqtt::{EncodeError, ProtocolVersion, ReasonCode, TopicError};
use motte_pki::{TlsFileError, Trouble};
use thiserror::Error;

use crate::authentication::AuthenticationError;

/// Exit status: the broker broke the protocol.
pub const EXIT_PROTOCOL: u8 = 21;
/// Exit status: the connection was lost.
pub const EXIT_CONNECTION_LOST: u8 = 7;
/// Exit status: anything about TLS and certificates.
pub const EXIT_TLS: u8 = 8;
/// Exit status: not authorized to publish or subscribe.
pub const EXIT_ACL_DENIED: u8 = 12;
/// Exit status: the operating system refused, such as a refused TCP connection.
pub const EXIT_SYSTEM: u8 = 14;
/// Exit status: a host name that cannot be resolved.
pub const EXIT_RESOLVE: u8 = 15;
/// Exit status: the broker did not answer a ping.
pub const EXIT_KEEP_ALIVE: u8 = 19;
/// Exit status: a message larger than the broker takes.
pub const EXIT_OVERSIZE: u8 = 25;
/// Exit status: no answer in time.
pub const EXIT_TIMEOUT: u8 = 27;
/// Exit status: the request itself makes no sense.
pub const EXIT_USAGE: u8 = 2;

/// Why no connection came about.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The broker's name is empty.
    #[error("no broker is named")]
    NoBroker,
    /// `tls_cert_path` is empty while it is what the broker is to be checked with.
    #[error("no CA certificate file is named to check the broker with")]
    NoCertificateFile,
    /// A plaintext transport given to a function that promises TLS.
    #[error("the configuration asks for plaintext where TLS is required")]
    PlaintextAsked,
    /// A file of the TLS configuration: missing, not PEM, not a CA, and so on.
    #[error(transparent)]
    TlsFile(#[from] TlsFileError),
    /// The broker is named in a way that no certificate could have.
    #[error("{host:?} is neither a host name nor an address")]
    HostName {
        /// The name as given.
        host: String,
    },
    /// The CONNECT packet cannot be written: a text that is too long, or with forbidden characters.
    #[error("the connection request cannot be sent: {0}")]
    Request(#[from] EncodeError),
    /// The name does not resolve.
    #[error("the host name {host} cannot be resolved: {reason}")]
    Resolve {
        /// The name.
        host: String,
        /// The system's words.
        reason: String,
    },
    /// No TCP connection: refused, unreachable and the like.
    #[error("no connection to {host} on port {port}: {reason}")]
    Tcp {
        /// The broker.
        host: String,
        /// Its port.
        port: u16,
        /// The system's words.
        reason: String,
    },
    /// No connection to a unix socket: nobody listens, no such file and the like.
    #[error("no connection to the unix socket {path}: {reason}")]
    Unix {
        /// The file of the socket.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// The TLS handshake failed, or the broker refused our certificate.
    #[error(transparent)]
    Tls(#[from] Trouble),
    /// The exchange that was to prove both sides to each other cannot begin, or failed on the broker's side.
    #[error(transparent)]
    Authentication(#[from] AuthenticationError),
    /// The WebSocket upgrade was refused.
    #[error("{host} does not take MQTT over WebSocket at {path}: {reason}")]
    WebSocket {
        /// The broker.
        host: String,
        /// The path asked for.
        path: String,
        /// The status or fault.
        reason: String,
    },
    /// The broker answered CONNECT with a refusal.
    #[error("the broker refused the connection: {}{}", refusal_text(*.reason), explained(.text.as_deref()))]
    Refused {
        /// Why.
        reason: ReasonCode,
        /// The version spoken, which decides the exit status.
        version: ProtocolVersion,
        /// Whether a user name or a client certificate was sent.
        with_credentials: bool,
        /// The broker's own words.
        text: Option<String>,
    },
    /// The connection ended before the CONNACK.
    #[error("{host} closed the connection without answering the MQTT CONNECT")]
    ClosedEarly {
        /// The broker.
        host: String,
        /// Whether the connection is a TLS connection.
        encrypted: bool,
    },
    /// What came is not a CONNACK.
    #[error("{host} does not answer as an MQTT broker: {reason}")]
    Protocol {
        /// The broker.
        host: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// It took too long.
    #[error("{host} did not complete {stage} within {} s", .after.as_secs())]
    TimedOut {
        /// The broker.
        host: String,
        /// How far it had come.
        stage: Stage,
        /// The limit.
        after: Duration,
    },
    /// The system could not give a thread, randomness or the like.
    #[error("the client cannot start: {reason}")]
    System {
        /// The system's words.
        reason: String,
    },
}

/// How far connecting had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Finding the address of a name.
    Resolve,
    /// Opening the TCP connection.
    Tcp,
    /// The TLS handshake.
    Tls,
    /// The WebSocket upgrade.
    WebSocket,
    /// Waiting for the answer to CONNECT.
    Mqtt,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Resolve => "name resolution",
            Self::Tcp => "the TCP connection",
            Self::Tls => "the TLS handshake",
            Self::WebSocket => "the WebSocket upgrade",
            Self::Mqtt => "the MQTT connection",
        })
    }
}

fn explained(text: Option<&str>) -> String {
    text.map(|text| format!(" ({})", motte_pki::printable(text))).unwrap_or_default()
}

/// The reason in words, without the number that `Display` puts first.
fn refusal_text(reason: ReasonCode) -> String {
    let text = reason.to_string();
    text.split_once(' ').map_or(text.clone(), |(_, words)| words.to_owned())
}

impl ConnectError {
    /// What the user can do about it, one sentence.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoBroker => "name the broker's host".into(),
            Self::NoCertificateFile => "name the CA's certificate file, which the broker's operator has".into(),
            Self::PlaintextAsked => "use TLS".into(),
            Self::TlsFile(error) => error.hint(),
            Self::HostName { .. } => "name the broker as its certificate does, such as broker.example.org".into(),
            Self::Request(_) => "check client identifier, user name, password and will".into(),
            Self::Resolve { .. } => "check the spelling of the broker's name, and the network".into(),
            Self::Tcp { .. } => "is the broker running, is the port right, and does a firewall let it through?".into(),
            Self::Unix { .. } => "is the broker running, is the path right, and may you write to the socket?".into(),
            Self::Tls(trouble) => trouble.hint.clone(),
            Self::Authentication(error) => error.hint().into(),
            Self::WebSocket { .. } => "check port and path; brokers mostly use /mqtt".into(),
            Self::Refused { reason, with_credentials, .. } => refusal_hint(*reason, *with_credentials).into(),
            Self::ClosedEarly { encrypted: true, .. } => {
                "the broker's log says why; it may want a client certificate (--cert, --key), or another protocol \
                 version (-V)"
                    .into()
            }
            Self::ClosedEarly { encrypted: false, .. } => {
                "if this is the broker's TLS port, connect with TLS; otherwise the broker's log says why".into()
            }
            Self::Protocol { .. } => "check that this port is the broker's MQTT port".into(),
            Self::TimedOut { stage: Stage::Tls, .. } => {
                "does that port speak TLS? MQTT over TLS is mostly on port 8883".into()
            }
            Self::TimedOut { .. } => "check network and firewall, or allow more time".into(),
            Self::System { .. } => "free memory or threads on this machine, and try again".into(),
        }
    }

    /// The exit status of a command that ends with this error: 8 for all of TLS, the CONNACK's code for a refusal.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoBroker | Self::Request(_) | Self::HostName { .. } => EXIT_USAGE,
            Self::NoCertificateFile | Self::PlaintextAsked | Self::TlsFile(_) | Self::Tls(_) => EXIT_TLS,
            Self::TimedOut { stage: Stage::Tls, .. } => EXIT_TLS,
            Self::Authentication(error) => error.exit_code(),
            Self::Resolve { .. } => EXIT_RESOLVE,
            Self::Tcp { .. } | Self::Unix { .. } | Self::System { .. } => EXIT_SYSTEM,
            Self::Refused { reason, version: ProtocolVersion::V5, .. } => reason.as_u8(),
            Self::Refused { reason, .. } => reason.v3_connack().unwrap_or(EXIT_PROTOCOL),
            Self::ClosedEarly { .. } => EXIT_CONNECTION_LOST,
            Self::Protocol { .. } | Self::WebSocket { .. } => EXIT_PROTOCOL,
            Self::TimedOut { .. } => EXIT_TIMEOUT,
        }
    }
}

fn refusal_hint(reason: ReasonCode, with_credentials: bool) -> &'static str {
    use ReasonCode as R;
    match reason {
        R::BadUserNameOrPassword | R::NotAuthorized if !with_credentials => {
            "this broker wants to know who connects: give a user name and password (-u, -P) or a client certificate \
             (--cert, --key)"
        }
        R::BadUserNameOrPassword => "check user name and password",
        R::BadAuthenticationMethod => "this broker does not know SCRAM-SHA-256; leave --auth-method out",
        R::NotAuthorized | R::Banned => {
            "this user or certificate may not connect, or not with this client identifier; ask the broker's operator"
        }
        R::ClientIdNotValid => "choose another client identifier (-i)",
        R::UnsupportedProtocolVersion => "choose another protocol version: -V 5 or -V 311",
        R::ServerUnavailable | R::ServerBusy | R::ConnectionRateExceeded | R::QuotaExceeded => "try again later",
        R::UseAnotherServer | R::ServerMoved => "ask the broker's operator for the address to use",
        R::RetainNotSupported | R::QosNotSupported | R::PacketTooLarge | R::TopicNameInvalid => {
            "the will asks for something this broker does not offer"
        }
        _ => "the broker's log says more",
    }
}

/// Why an open connection is no more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConnectionLost {
    /// The broker closed the connection without a word.
    #[error("the broker closed the connection")]
    ClosedByBroker,
    /// The broker said why it ends the connection (5.0).
    #[error("the broker ended the connection: {}{}", refusal_text(*.reason), explained(.text.as_deref()))]
    Disconnected {
        /// Its reason.
        reason: ReasonCode,
        /// Its own words.
        text: Option<String>,
    },
    /// The broker did not answer a ping.
    #[error("the broker did not answer in time; the connection is given up")]
    KeepAlive,
    /// The broker sent something that MQTT does not allow.
    #[error("the broker broke the protocol: {what}")]
    Protocol {
        /// What it did.
        what: String,
    },
    /// The network failed.
    #[error("the connection failed: {reason}")]
    Network {
        /// The system's words.
        reason: String,
    },
    /// This side closed it.
    #[error("the connection is closed")]
    ClosedHere,
}

impl ConnectionLost {
    /// The exit status of a command that ends with this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ClosedByBroker | Self::Network { .. } | Self::ClosedHere => EXIT_CONNECTION_LOST,
            Self::Disconnected { reason, .. } => reason.as_u8(),
            Self::KeepAlive => EXIT_KEEP_ALIVE,
            Self::Protocol { .. } => EXIT_PROTOCOL,
        }
    }

    /// What the user can do about it, one sentence.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Disconnected { reason: ReasonCode::SessionTakenOver, .. } => {
                "another client uses the same client identifier; give each its own (-i)"
            }
            Self::Protocol { .. } => "report it to the makers of the broker, with the broker's log",
            Self::KeepAlive | Self::Network { .. } => "check the network, and connect again",
            _ => "the broker's log says why",
        }
    }
}

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PublishError {
    /// The topic is not a topic name.
    #[error("the topic {0}")]
    Topic(TopicError),
    /// The broker does not take messages of this QoS.
    #[error("the broker takes messages up to QoS {max} only")]
    QosNotSupported {
        /// What it takes.
        max: u8,
    },
    /// The broker keeps no retained messages.
    #[error("the broker keeps no retained messages")]
    RetainNotSupported,
    /// The packet would be larger than the broker takes.
    #[error(
        "the message is too large: its payload has {payload_bytes} bytes, and the broker takes packets of at most \
         {packet_bytes_max} bytes"
    )]
    TooLarge {
        /// Length of the payload alone.
        payload_bytes: usize,
        /// What the broker takes, topic and header included.
        packet_bytes_max: u32,
    },
    /// The packet cannot be written.
    #[error("the message cannot be sent: {0}")]
    Encode(EncodeError),
    /// The broker refused it.
    #[error("the broker refused the message: {}", refusal_text(*.0))]
    Refused(ReasonCode),
    /// No acknowledgement in time; the broker may or may not have it.
    #[error("the broker did not acknowledge the message in time")]
    TimedOut,
    /// The connection ended before the acknowledgement; the broker may or may not have it.
    #[error(transparent)]
    Lost(#[from] ConnectionLost),
}

impl PublishError {
    /// The exit status of a command that ends with this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Topic(_) => EXIT_USAGE,
            Self::TooLarge { .. } => EXIT_OVERSIZE,
            Self::Encode(_) => EXIT_USAGE,
            Self::QosNotSupported { .. } => ReasonCode::QosNotSupported.as_u8(),
            Self::RetainNotSupported => ReasonCode::RetainNotSupported.as_u8(),
            Self::Refused(ReasonCode::NotAuthorized) => EXIT_ACL_DENIED,
            Self::Refused(reason) => reason.as_u8(),
            Self::TimedOut => EXIT_TIMEOUT,
            Self::Lost(lost) => lost.exit_code(),
        }
    }

    /// What the user can do about it, one sentence.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Topic(_) => "a topic has 1 to 65,535 bytes and neither + nor #",
            Self::QosNotSupported { .. } => "publish with a lower QoS",
            Self::RetainNotSupported => "publish without retain",
            Self::TooLarge { .. } => "send less at once, or let the broker take larger packets",
            Self::Encode(_) => "check topic and properties",
            Self::Refused(ReasonCode::NotAuthorized) => {
                "this user may not publish to this topic; ask the broker's operator"
            }
            Self::Refused(ReasonCode::QuotaExceeded) => "send less, or slower",
            Self::Refused(_) => "the broker's log says more",
            Self::TimedOut => "check the broker; sending it again may deliver it twice",
            Self::Lost(lost) => lost.hint(),
        }
    }
}

/// Why there is no answer to a SUBSCRIBE or UNSUBSCRIBE. A refused filter is an answer, not an error.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubscribeError {
    /// No filter at all.
    #[error("no topic filter is given")]
    NoFilter,
    /// A filter breaks the grammar.
    #[error("the topic filter `{}` {error}", motte_pki::printable(.filter))]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        error: TopicError,
    },
    /// The packet cannot be written.
    #[error("the subscription cannot be sent: {0}")]
    Encode(EncodeError),
    /// No answer in time.
    #[error("the broker did not answer the subscription in time")]
    TimedOut,
    /// The connection ended before the answer.
    #[error(transparent)]
    Lost(#[from] ConnectionLost),
}

impl SubscribeError {
    /// The exit status of a command that ends with this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoFilter | Self::Filter { .. } | Self::Encode(_) => EXIT_USAGE,
            Self::TimedOut => EXIT_TIMEOUT,
            Self::Lost(lost) => lost.exit_code(),
        }
    }

    /// What the user can do about it, one sentence.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoFilter => "give a topic filter (-t)",
            Self::Filter { .. } => "`+` stands for one whole level, `#` for the rest and only at the end",
            Self::Encode(_) => "give fewer or shorter filters at once",
            Self::TimedOut => "check the broker",
            Self::Lost(lost) => lost.hint(),
        }
    }
}

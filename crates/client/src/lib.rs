//! The MQTT client library of Motte: 5.0, 3.1.1 and 3.1 over TLS, secure WebSocket, and, asked for by name, plaintext.
//!
//! Called by the `motte` command and by applications; blocking on the outside. Never falls back to plaintext or to a
//! server that is not verified, and never lets a broker make it hold more than its limits.
//!
//! ```no_run
//! use motte_client::{Message, MqttConfig, Qos, connect_mqtt_tls};
//!
//! let config = MqttConfig::new("broker.example.org", 8883, "ca.pem");
//! let connection = connect_mqtt_tls(&config)?;
//! connection.publish(Message::new("greeting", "hello", Qos::AtLeastOnce))?;
//! connection.disconnect()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod authentication;
pub mod config;
mod connect;
mod connection;
mod driver;
pub mod error;
mod interrupt;
mod mailbox;
pub mod message;
pub mod opening;
mod protocol;
mod scram;
mod session;
pub mod url;
mod websocket;

pub use authentication::{Authentication, AuthenticationError};
pub use bytes::Bytes;
pub use config::{ClientCertificate, ConfigFileError, MqttConfig, Password, ServerTrust, Transport, Will};
pub use connect::ConnectionFacts;
pub use connection::{Closer, Connection, Pending, Unresumed, connect, connect_mqtt_tls, resume};
pub use error::{ConnectError, ConnectionLost, PublishError, Stage, SubscribeError};
pub use interrupt::on_interrupt;
pub use message::{Granted, Message, Subscription};
pub use motte_mqtt::{
    ForwardedPropertiesBuf, ProtocolVersion, Qos, ReasonCode, RetainHandling, SubscriptionOptions, TopicError,
};
pub use motte_pki::{CertificateFacts, TlsFacts, TlsFileError, TlsVersion, Trouble, printable};
pub use opening::{Accepted, Opening};
pub use session::Session;
pub use url::{BrokerUrl, UrlError};

//! The events and the closed lists of reasons.
//!
//! A reason is what the operator may know; the peer gets the least telling reason code, chosen where the event is made.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// How much an operator should care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Ordinary life: an admission, an orderly end.
    Info,
    /// A refusal or a denial: expected now and then, telling in numbers.
    Notice,
    /// The node is not as it should be: no room for its store, or a write that failed.
    Alarm,
}

/// Why a connection was not admitted. Closed: every refusal has one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// Too many connections or handshakes from this address, or in all.
    TooManyConnections,
    /// TCP, TLS, WebSocket and CONNECT together took too long.
    Deadline,
    /// The PROXY header is missing or wrong, or comes from an address that is no trusted proxy.
    ProxyHeader,
    /// The TLS handshake failed.
    TlsHandshake,
    /// A CA that asked for the answer to a challenge (ACME) and got it; it wants nothing else.
    AcmeChallenge,
    /// Plain bytes where TLS was expected.
    Plaintext,
    /// The WebSocket upgrade was wrong.
    WebSocketUpgrade,
    /// The first packet was not a valid CONNECT.
    BadConnect,
    /// The first packet was larger than allowed before admission.
    ConnectTooLarge,
    /// A protocol version this listener does not speak.
    ProtocolVersion,
    /// Neither certificate nor user name and password.
    NoCredentials,
    /// User unknown or password wrong; the two are not told apart.
    BadCredentials,
    /// The verified certificate names nobody.
    CertificateWithoutIdentity,
    /// An authentication method nobody here offers.
    AuthenticationMethod,
    /// An exchange of authentication data broke off or broke the rules.
    AuthenticationExchange,
    /// The identity belongs to no tenant that is known, or to more than one.
    NoTenant,
    /// The tenant is suspended.
    TenantSuspended,
    /// The client identifier is empty where it may not be, too long, or ill-formed.
    ClientId,
    /// The client identifier belongs to another identity.
    ClientIdOwnedByAnother,
    /// The will may not be published by this identity.
    WillDenied,
    /// A quota of sessions or memory is used up.
    Quota,
    /// A client of 3.x asked for a longer keep alive than the maximum, or for none.
    KeepAlive,
    /// The user, or this client of the user, connects too often.
    ConnectionRate,
    /// The password check queue is full, or a check waited in it for too long.
    Overloaded,
    /// Too many wrong proofs for this user, or from this address, a short while ago.
    Guessing,
    /// A source of identities that had to be asked could not tell.
    SourceUnavailable,
    /// The user or the client identifier is kept out by an operator.
    Banned,
    /// There is no room to keep another session.
    JournalFull,
    /// What is promised could not be kept any more: the storage failed.
    JournalFailed,
    /// The node is stopping.
    ShuttingDown,
}

/// Why an admitted connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseCause {
    /// The client sent DISCONNECT.
    ClientDisconnected,
    /// The transport ended without DISCONNECT.
    ConnectionLost,
    /// Silence beyond one and a half times the keep alive.
    KeepAlive,
    /// The same client identifier connected again.
    TakenOver,
    /// A malformed packet or a protocol error.
    Protocol,
    /// A limit was exceeded.
    Limit,
    /// The client read too slowly for too long.
    SlowReader,
    /// What proved the identity does not hold any more: a certificate was revoked, a password or a rule changed.
    Revoked,
    /// The user was removed or disabled by an operator.
    Removed,
    /// The time for which the identity was proved is over.
    Expired,
    /// The tenant was suspended by an operator, or the client belongs to another one by now.
    OtherTenant,
    /// The client was to prove its identity again and did not.
    NotProved,
    /// The user or the client identifier was kept out by an operator.
    Banned,
    /// What is promised cannot be kept any more: the storage failed.
    JournalFailed,
    /// The node stops.
    ShuttingDown,
}

/// What was denied to an admitted client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Denial {
    /// A PUBLISH.
    Publish,
    /// A SUBSCRIBE.
    Subscribe,
    /// A delivery to a subscriber.
    Receive,
    /// A will at the moment it fires.
    Will,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The client identifier, where one is known. Peer text: show it through [`crate::Escaped`].
    pub client_id: Option<Arc<str>>,
    /// The identity: user name or certificate name. Peer text as well.
    pub user_name: Option<Arc<str>>,
    /// The tenant the client belongs to, where there is one.
    pub tenant: Option<Arc<str>>,
    /// What happened.
    pub kind: EventKind,
}

/// Kinds of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A connection was admitted.
    Admitted {
        /// Whether an earlier session goes on.
        session_present: bool,
        /// Protocol level: 3, 4 or 5.
        protocol_level: u8,
    },
    /// A connection was refused.
    Refused {
        /// Why.
        reason: RefusalReason,
    },
    /// Somebody proved one of several secrets, or one that ends.
    SecretUsed {
        /// Its label.
        label: Arc<str>,
        /// When it ends, as RFC 3339 writes it.
        expires: Option<Arc<str>>,
    },
    /// An admitted connection ended.
    Closed {
        /// Why.
        cause: CloseCause,
        /// Detail for the operator: ours, never the peer's text.
        detail: Option<&'static str>,
    },
    /// Something was denied by policy.
    Denied {
        /// What.
        what: Denial,
        /// The topic name or filter. Peer text.
        topic: Arc<str>,
    },
    /// A session ended and its state was dropped.
    SessionExpired,
    /// A will was published.
    WillPublished {
        /// Its topic.
        topic: Arc<str>,
    },
    /// So much waits for a client that further messages of QoS 1 and 2 for it are refused.
    QueueFull {
        /// How many wait.
        messages: u64,
    },
    /// Messages to a client were dropped because a limit was reached.
    Dropped {
        /// How many since the last event of this kind for the client.
        messages: u64,
    },
    /// There is no room on the disk, or none within the bound of the store: messages of QoS 1 and 2 and new sessions
    /// that outlive their connections are refused.
    JournalFull,
    /// There is room again after [`EventKind::JournalFull`].
    JournalHasRoom,
    /// Something could not be written to the disk: nothing is acknowledged from now on and nobody is let in. Ends with
    /// the process.
    JournalFailed,
}

impl EventKind {
    /// How much an operator should care.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Admitted { .. } | Self::Closed { .. } | Self::SessionExpired | Self::WillPublished { .. } => {
                Severity::Info
            }
            Self::SecretUsed { expires: None, .. } => Severity::Info,
            Self::SecretUsed { .. }
            | Self::Refused { .. }
            | Self::Denied { .. }
            | Self::QueueFull { .. }
            | Self::Dropped { .. }
            | Self::JournalHasRoom => Severity::Notice,
            Self::JournalFull | Self::JournalFailed => Severity::Alarm,
        }
    }
}

//! The blocking face of the library: connect, publish, subscribe, receive, disconnect.
//! Called by every user. The connection lives on a thread of its own, so that it stays alive whatever the caller does;
//! never panics inside an asynchronous runtime, but blocks it like any other blocking call.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use motte_mqtt::{ReasonCode, SubscriptionFilter, TopicName};

use crate::authentication::AuthenticationError;
use crate::config::MqttConfig;
use crate::connect::{ConnectionFacts, establish};
use crate::driver::{self, Mailboxes};
use crate::error::{ConnectError, ConnectionLost, PublishError, SubscribeError};
use crate::mailbox::{Capacity, Mailbox, Popped};
use crate::message::{Granted, Message, Subscription};
use crate::protocol::Request;
use crate::session::Session;

/// Requests that wait for the connection's thread.
const REQUESTS: Capacity = Capacity { items_max: 256, bytes_max: 4 * 1024 * 1024 };
/// Messages that wait for the application. When they are more, nothing is read from the broker.
const INBOX: Capacity = Capacity { items_max: 1024, bytes_max: 16 * 1024 * 1024 };
/// Levels of a topic or a filter; MQTT's own limit is in its length.
const LEVELS_MAX: usize = 65_535;

/// Connects over TLS and waits until the broker has accepted: a TCP connection, a TLS handshake in which the broker's
/// certificate is verified, and the MQTT CONNECT with its CONNACK.
///
/// Never falls back to plaintext or to no verification; a configuration that asks for no TLS is an error.
pub fn connect_mqtt_tls(config: &MqttConfig) -> Result<Connection, ConnectError> {
    if config.transport.is_encrypted() { connect(config) } else { Err(ConnectError::PlaintextAsked) }
}

/// Connects by whatever transport the configuration names, plaintext included.
pub fn connect(config: &MqttConfig) -> Result<Connection, ConnectError> {
    start(config, Session::new()).map_err(|failed| failed.error)
}

/// Connects and goes on with `session`, whatever the configuration says of a clean start: when the broker has kept its
/// half, everything of QoS 1 and 2 that was not acknowledged is sent again (MQTT-4.4.0-1); otherwise a new session
/// begins and the old half is dropped (MQTT-3.2.2-5). Ask for a session that lasts, `session_expiry_s` in 5.0.
///
/// # Errors
/// As [`connect`], with the session, to try again.
pub fn resume(config: &MqttConfig, session: Session) -> Result<Connection, Box<Unresumed>> {
    start(&MqttConfig { clean_start: false, ..config.clone() }, session)
}

/// A connection that did not come about, and the session it was for.
#[derive(Debug)]
pub struct Unresumed {
    /// Why.
    pub error: ConnectError,
    /// To try again with.
    pub session: Session,
}

fn start(config: &MqttConfig, session: Session) -> Result<Connection, Box<Unresumed>> {
    let shared = Arc::new(Shared {
        mailboxes: Arc::new(Mailboxes { requests: Mailbox::new(REQUESTS), inbox: Mailbox::new(INBOX) }),
        end: OnceLock::new(),
    });
    let (result, connected) = sync_channel(1);
    let no_system = |error: std::io::Error| ConnectError::System { reason: error.to_string() };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Err(Box::new(Unresumed { error: no_system(error), session })),
    };
    // Where a thread cannot be started the session is still here.
    let left = Arc::new(Mutex::new(session));
    let lent = Arc::clone(&left);
    let config_owned = config.clone();
    let guard = EndGuard(Arc::clone(&shared));
    let spawned = thread::Builder::new()
        .name("motte-client".to_owned())
        .spawn(move || {
            let mut session = std::mem::take(&mut *lock(&lent));
            runtime.block_on(live(&config_owned, &guard, &result, &mut session));
            *lock(&lent) = session;
            // A name lookup that hangs must not hold up the end.
            runtime.shutdown_background();
        })
        .map_err(no_system);
    let stopped = |_| ConnectError::System { reason: "its thread stopped".to_owned() };
    let connected = spawned.and_then(|thread| match connected.recv().map_err(stopped).and_then(|result| result) {
        Ok(facts) => Ok((thread, facts)),
        Err(error) => {
            // It gives the session back as the last it does.
            let _ = thread.join();
            Err(error)
        }
    });
    match connected {
        Ok((thread, facts)) => {
            let response_timeout = config.response_timeout;
            Ok(Connection { shared, facts, response_timeout, thread: Some(thread), session: left })
        }
        Err(error) => Err(Box::new(Unresumed { error, session: std::mem::take(&mut *lock(&left)) })),
    }
}

/// A panic elsewhere leaves a session whole: it is only ever replaced.
fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The life of a connection, on its thread.
async fn live(
    config: &MqttConfig,
    guard: &EndGuard,
    result: &SyncSender<Result<ConnectionFacts, ConnectError>>,
    session: &mut Session,
) {
    match establish(config, session).await {
        Err(error) => drop(result.send(Err(error))),
        Ok((established, facts)) => {
            if result.send(Ok(facts)).is_ok() {
                let (end, left) = driver::run(established, &guard.0.mailboxes).await;
                *session = left;
                // Set once, here; the guard's is for a panic.
                let _ = guard.0.end.set(end);
            }
        }
    }
}

#[derive(Debug)]
struct Shared {
    mailboxes: Arc<Mailboxes>,
    end: OnceLock<ConnectionLost>,
}

/// Tells everybody who waits that the connection has ended, however its thread came to an end.
struct EndGuard(Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.end.get_or_init(|| ConnectionLost::Network { reason: "the client's thread stopped".to_owned() });
        self.0.mailboxes.requests.close_and_clear();
        self.0.mailboxes.inbox.close();
    }
}

/// An MQTT connection. Dropping it disconnects in order, without waiting for it.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    facts: ConnectionFacts,
    response_timeout: Duration,
    thread: Option<JoinHandle<()>>,
    /// What is left of the session; there once the thread has ended.
    session: Arc<Mutex<Session>>,
}

/// A message that was handed over and not acknowledged yet.
#[derive(Debug)]
#[must_use = "the outcome of a publish is known only when it was waited for"]
pub struct Pending {
    answer: Receiver<Result<ReasonCode, PublishError>>,
    shared: Arc<Shared>,
    response_timeout: Duration,
}

impl Pending {
    /// The outcome, if it is known; does not wait. Once it was given, do not ask again.
    pub fn try_wait(&self) -> Option<Result<ReasonCode, PublishError>> {
        match self.answer.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(PublishError::Lost(self.shared.end.wait().clone()))),
        }
    }

    /// Waits until the whole flow of the message's QoS is complete. The code is a success; for 5.0 it may be
    /// [`ReasonCode::NoMatchingSubscribers`]. Time counts from this call.
    pub fn wait(self) -> Result<ReasonCode, PublishError> {
        match self.answer.recv_timeout(self.response_timeout) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => Err(PublishError::TimedOut),
            Err(RecvTimeoutError::Disconnected) => Err(PublishError::Lost(self.shared.end.wait().clone())),
        }
    }
}

impl Connection {
    /// What connecting found out: TLS, the server's certificates, the session.
    #[must_use]
    pub fn facts(&self) -> &ConnectionFacts {
        &self.facts
    }

    /// Why the connection has ended; `None` while it lives.
    #[must_use]
    pub fn lost(&self) -> Option<ConnectionLost> {
        self.shared.end.get().cloned()
    }

    /// What can end this connection from another thread.
    #[must_use]
    pub fn closer(&self) -> Closer {
        Closer(Arc::clone(&self.shared))
    }

    /// Publishes and waits until the flow of its QoS is complete; at QoS 0 until it is written.
    pub fn publish(&self, message: Message) -> Result<ReasonCode, PublishError> {
        self.send(message)?.wait()
    }

    /// Hands a message over without waiting for its acknowledgement; waits only for room when too much is on its way.
    pub fn send(&self, message: Message) -> Result<Pending, PublishError> {
        TopicName::parse(&message.topic, LEVELS_MAX).map_err(PublishError::Topic)?;
        let (reply, answer) = sync_channel(1);
        let weight = message.weight();
        self.ask(Request::Publish(message, reply), weight)?;
        Ok(Pending { answer, shared: Arc::clone(&self.shared), response_timeout: self.response_timeout })
    }

    /// Subscribes and waits for the broker's answer to each filter, in order. A refused filter is not an error here.
    pub fn subscribe(&self, subscriptions: &[Subscription]) -> Result<Vec<Granted>, SubscribeError> {
        check_filters(subscriptions.iter().map(|subscription| subscription.filter.as_str()))?;
        let (reply, answer) = sync_channel(1);
        let weight = subscriptions.iter().map(|subscription| subscription.filter.len()).sum();
        self.ask(Request::Subscribe(subscriptions.to_vec(), reply), weight)?;
        self.answer_to_question(&answer)
    }

    /// Unsubscribes and waits for the answer; a 3.x broker says success whatever there was.
    pub fn unsubscribe(&self, filters: &[String]) -> Result<Vec<ReasonCode>, SubscribeError> {
        check_filters(filters.iter().map(String::as_str))?;
        let (reply, answer) = sync_channel(1);
        self.ask(Request::Unsubscribe(filters.to_vec(), reply), filters.iter().map(String::len).sum())?;
        self.answer_to_question(&answer)
    }

    /// Proves both sides to each other once more, and waits for that; messages go on meanwhile. Only for a connection
    /// made with [`crate::Authentication::ScramSha256`]. When it fails, the connection ends.
    pub fn authenticate_again(&self) -> Result<(), AuthenticationError> {
        let nonce = crate::scram::nonce().map_err(AuthenticationError::System)?;
        let (reply, answer) = sync_channel(1);
        self.ask(Request::Reauthenticate(nonce, reply), 0)?;
        match answer.recv_timeout(self.response_timeout) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => Err(AuthenticationError::TimedOut),
            Err(RecvTimeoutError::Disconnected) => Err(self.shared.end.wait().clone().into()),
        }
    }

    /// The next message, waiting for it at most `timeout` (`None`: for ever). `Ok(None)` when none came in that time;
    /// an error when the connection has ended and all messages that had come before are taken.
    pub fn next_message(&self, timeout: Option<Duration>) -> Result<Option<Message>, ConnectionLost> {
        // A time that is too far away to be expressed is for ever.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        match self.shared.mailboxes.inbox.pop_blocking(deadline) {
            Popped::Item(message) => Ok(Some(message)),
            Popped::TimedOut => Ok(None),
            Popped::Closed => Err(self.shared.end.wait().clone()),
        }
    }

    /// Sends what was handed over and a DISCONNECT, closes, and waits for that. Messages whose acknowledgement was not
    /// waited for may be lost. The error is why the connection had ended before.
    pub fn disconnect(self) -> Result<(), ConnectionLost> {
        match self.into_session().0 {
            ConnectionLost::ClosedHere => Ok(()),
            lost => Err(lost),
        }
    }

    /// As [`Connection::disconnect`], but what of the session is left is for [`resume`]. Messages that were handed over
    /// and had not left yet are not among it.
    pub fn into_session(mut self) -> (ConnectionLost, Session) {
        self.shared.mailboxes.requests.close();
        if let Some(thread) = self.thread.take() {
            // A panic there has set the end too, through its guard.
            let _ = thread.join();
        }
        (self.shared.end.wait().clone(), std::mem::take(&mut *lock(&self.session)))
    }

    fn ask(&self, request: Request, weight: usize) -> Result<(), ConnectionLost> {
        let requests = &self.shared.mailboxes.requests;
        requests.push_blocking(request, weight).map_err(|_| self.shared.end.wait().clone())
    }

    fn answer_to_question<T>(&self, answer: &Receiver<Result<T, SubscribeError>>) -> Result<T, SubscribeError> {
        match answer.recv_timeout(self.response_timeout) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => Err(SubscribeError::TimedOut),
            Err(RecvTimeoutError::Disconnected) => Err(SubscribeError::Lost(self.shared.end.wait().clone())),
        }
    }
}

/// Ends a connection in order while somebody else uses it.
#[derive(Clone, Debug)]
pub struct Closer(Arc<Shared>);

impl Closer {
    /// Asks for a DISCONNECT, without waiting for it. Whoever waits for a message gets those that had come, and then
    /// [`ConnectionLost::ClosedHere`].
    pub fn close(&self) {
        self.0.mailboxes.requests.close();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.mailboxes.requests.close();
    }
}

fn check_filters<'a>(filters: impl Iterator<Item = &'a str>) -> Result<(), SubscribeError> {
    let mut count = 0;
    for filter in filters {
        SubscriptionFilter::parse(filter, LEVELS_MAX)
            .map_err(|error| SubscribeError::Filter { filter: filter.to_owned(), error })?;
        count += 1;
    }
    if count == 0 { Err(SubscribeError::NoFilter) } else { Ok(()) }
}

//! The log: one line for each thing that happened.
//!
//! Gate and shards hand events to the [`Reporter`], which never blocks; a thread of its own writes them through
//! `tracing`. Peer-supplied text is escaped here, at the only place that shows it (K34). Never writes a secret or a
//! payload.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use motte_audit::{Escaped, Event, EventKind, Severity};
use serde::Serialize;
use tracing::level_filters::LevelFilter;

use crate::settings::{LogFormat, LogLevel, LogSettings};
use crate::socket::Peer;

/// Events that may wait to be written; beyond that they are counted and the count is written.
const WAITING_MAX: usize = 8192;
/// How long events gather before they are written together: to wake the writer for each costs the thread that reports
/// it more than all else that the event is about.
const GATHERING: Duration = Duration::from_millis(2);

/// Sends log lines to standard error in the form the settings ask for. The first call of a process decides; a program
/// that has a subscriber of its own keeps it.
pub(crate) fn init(settings: LogSettings) {
    let level = match settings.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let terminal = std::io::stderr().is_terminal();
    let json = match settings.format {
        LogFormat::Auto => !terminal,
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    let lines = tracing_subscriber::fmt().with_max_level(level).with_target(false).with_writer(std::io::stderr);
    // An error says that a subscriber stands already, which is the documented outcome.
    let _ = if json {
        let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
        tracing::subscriber::set_global_default(lines.finish())
    } else {
        tracing::subscriber::set_global_default(lines.with_ansi(terminal).finish())
    };
}

/// Has a defect written as a line of the log that says where it is. The message of a panic may hold what a peer sent,
/// so it is not shown. For a process that is a broker and nothing else.
pub(crate) fn take_over_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(tracing::field::display);
        let thread = std::thread::current();
        tracing::error!(place, thread = thread.name(), "a defect was met; please report it");
    }));
}

/// An event with what the node knows beside it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) event: Event,
    /// Where the client comes from, where one connection is meant.
    pub(crate) peer: Option<Peer>,
    /// Name of the listener it came in through.
    pub(crate) listener: Option<Arc<str>>,
    /// A sentence for the operator. May hold text of the peer; it is escaped.
    pub(crate) detail: Option<String>,
}

impl Entry {
    /// An event and nothing else.
    pub(crate) fn of(event: Event, peer: Option<Peer>) -> Self {
        Self { event, peer, listener: None, detail: None }
    }
}

#[derive(Debug)]
enum Message {
    Entry(Box<Entry>),
    End,
}

/// Takes events from any thread without blocking.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    messages: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

/// The thread that writes.
#[derive(Debug)]
pub(crate) struct Scribe {
    thread: JoinHandle<()>,
    messages: SyncSender<Message>,
}

impl Reporter {
    /// A reporter and the thread that writes what it is told.
    pub(crate) fn start() -> std::io::Result<(Self, Scribe)> {
        let (messages, received) = sync_channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        let thread = std::thread::Builder::new().name("log".into()).spawn(move || write_all(&received, &counter))?;
        Ok((Self { messages: messages.clone(), lost }, Scribe { thread, messages }))
    }

    /// Reports something, unless the log leaves out what is no more severe. When the log is slower than events come, it
    /// is counted instead.
    pub(crate) fn report(&self, entry: Entry) {
        if level(entry.event.kind.severity()) > LevelFilter::current() {
            return;
        }
        if self.messages.try_send(Message::Entry(Box::new(entry))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Scribe {
    /// Writes what waits and ends.
    pub(crate) fn finish(self) {
        // Whether the thread is there to hear it or not, joining tells that nothing is left to write.
        let _ = self.messages.send(Message::End);
        let _ = self.thread.join();
    }
}

/// The level of the lines about what is so severe; [`write`] keeps to it.
fn level(severity: Severity) -> LevelFilter {
    match severity {
        Severity::Info => LevelFilter::INFO,
        Severity::Notice => LevelFilter::WARN,
        Severity::Alarm => LevelFilter::ERROR,
    }
}

fn write_all(received: &Receiver<Message>, lost: &AtomicU64) {
    while let Ok(first) = received.recv() {
        let mut next = Some(first);
        while let Some(message) = next {
            let Message::Entry(entry) = message else { return };
            write(&entry);
            next = received.try_recv().ok();
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(events = lost, "events were not written because they came faster than the log takes them");
        }
        std::thread::sleep(GATHERING);
    }
}

/// Writes one line.
#[allow(clippy::cognitive_complexity, reason = "one arm for each kind of event; the macros count as branches")]
fn write(entry: &Entry) {
    let client_id = entry.event.client_id.as_deref().map(|text| tracing::field::display(Escaped(text)));
    let tenant = entry.event.tenant.as_deref();
    let user = entry.event.user_name.as_deref().map(|text| tracing::field::display(Escaped(text)));
    let address = entry.peer.map(tracing::field::display);
    let proxy = entry.peer.and_then(Peer::proxy).map(tracing::field::display);
    let listener = entry.listener.as_deref();
    let detail = entry.detail.as_deref().map(|text| tracing::field::display(Escaped(text)));
    match &entry.event.kind {
        EventKind::Admitted { session_present, protocol_level } => {
            tracing::info!(client_id, user, tenant, address, proxy, protocol_level, session_present, "admitted");
        }
        EventKind::Refused { reason } => {
            tracing::warn!(reason = word(reason), client_id, user, tenant, address, proxy, listener, detail, "refused");
        }
        EventKind::SecretUsed { label, expires: Some(expires) } => {
            tracing::warn!(label = %Escaped(label), %expires, client_id, user, address, "a secret that ends was used");
        }
        EventKind::SecretUsed { label, expires: None } => {
            tracing::info!(label = %Escaped(label), client_id, user, address, "secret used");
        }
        EventKind::Closed { cause, detail } => {
            tracing::info!(cause = word(cause), client_id, user, tenant, detail, "closed");
        }
        EventKind::Denied { what, topic } => {
            tracing::warn!(what = word(what), client_id, user, tenant, topic = %Escaped(topic), "denied");
        }
        EventKind::SessionExpired => tracing::info!(client_id, user, tenant, "session expired"),
        EventKind::WillPublished { topic } => {
            tracing::info!(client_id, user, tenant, topic = %Escaped(topic), "will published");
        }
        EventKind::QueueFull { messages } => {
            tracing::warn!(client_id, user, tenant, messages, "queue full: publishers refused")
        }
        EventKind::Dropped { messages } => tracing::warn!(client_id, user, tenant, messages, "messages dropped"),
        EventKind::JournalFull => tracing::error!(
            detail,
            hint = "make room on the disk, or raise max_bytes in [durability]",
            "the store is full: messages of QoS 1 and 2 and new durable sessions are refused"
        ),
        EventKind::JournalHasRoom => tracing::warn!("the store has room again: messages and sessions are accepted"),
        EventKind::JournalFailed => tracing::error!(
            detail,
            hint = "check the disk, then start the broker again: what was acknowledged is on it",
            "the store failed: nothing is acknowledged any more and nobody is let in"
        ),
    }
}

/// The word of a closed list as it stands in JSON.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::from("unknown"),
    }
}

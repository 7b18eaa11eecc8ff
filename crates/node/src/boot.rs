//! Start and orderly stop of a node.
//!
//! Called by the command line and by tests. Reads all files, opens the store and binds all sockets before the first
//! shard starts, so that a node either stands as configured or does not start. Accepts nobody before every session that
//! was kept is back on its shard.

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use mio::{Poll, Waker};
use motte_broker::{ShardId, Shared};
use motte_store::{OpenError, StopError};
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::UnboundedSender;

use crate::acme;
use crate::clock::Clock;
use crate::config::ConfigError;
use crate::control::{Command, Control};
use crate::durable::{self, Inheritance, KeeperHandle, Kept};
use crate::dynamic;
use crate::gate::listener::{self, Bound};
use crate::gate::{Entrance, Gate};
use crate::log::{self, Reporter};
use crate::ocsp;
use crate::outbound::LOOKUPS_MAX;
use crate::porter::Porter;
use crate::reload::Reloader;
use crate::renewal::{self, RenewalError};
use crate::settings::{ListenAddress, ListenerSettings, Settings, Speech};
use crate::snapshot::Snapshot;
use crate::supervise;
use crate::sys;
use crate::worker::mailbox::{Mail, Mailbox};
use crate::worker::{self, Beginning, Seat};

/// Threads of the gate's runtime, for handshakes; no more than there are processors.
const GATE_THREADS_MAX: usize = 2;
/// Threads for blocking work beside password hashes: files at reload and renewal.
const FILE_THREADS: usize = 2;
/// Time for the gate's tasks to end when the node stops.
const GATE_STOP: Duration = Duration::from_secs(1);

/// Why a node did not start, or ended otherwise than asked.
#[derive(Debug, Error)]
pub enum StartError {
    /// Files that the settings name are missing or wrong; all errors.
    #[error("{} of the files named by the configuration cannot be used", .0.len())]
    Files(Vec<ConfigError>),
    /// A listener's address cannot be bound.
    #[error("listener {name} cannot listen on {address}: {source}")]
    Bind {
        /// Name of the listener.
        name: String,
        /// Its address.
        address: ListenAddress,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no thread or no event queue.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// A certificate renewal that was cut short could not be finished.
    #[error(transparent)]
    Renewal(#[from] RenewalError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The node stopped in order, but not everything it was told is on the disk.
    #[error(transparent)]
    StoreStop(#[from] StopError),
    /// The keeper of the store ended by itself; the process must not go on without it.
    #[error("the keeper of the store ended unexpectedly")]
    KeeperEnded,
    /// A shard ended by itself; the process must not go on without the sessions on it.
    #[error("shard {0} ended unexpectedly")]
    ShardEnded(usize),
}

/// A listener that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Its name in the configuration.
    pub name: String,
    /// What it speaks, as the scheme of a URL: `mqtts`, `wss`, `mqtt` or `ws`, that of MQTT where it speaks both.
    /// `unix` is MQTT on a unix socket.
    pub scheme: &'static str,
    /// Path of the upgrade request of a `wss` or `ws` listener, else empty.
    pub path: String,
    /// Address and port, the port that was really given; or the path of a unix socket.
    pub address: ListenAddress,
}

/// What is told once all listeners are bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The listeners in the order of the configuration.
    pub listeners: Vec<Listening>,
}

/// Runs a node until SIGTERM or SIGINT; SIGHUP reloads. Blocks. `ready` is called once all listeners are bound
/// and signals are listened to.
///
/// # Errors
/// Nothing was started, or a shard ended by itself.
pub fn serve(settings: Settings, ready: impl FnOnce(&Ready)) -> Result<(), StartError> {
    let (_handle, control) = Control::with_signals();
    serve_with(settings, control, ready)
}

/// Runs a node until it is stopped through `control`. Blocks. `ready` is called once all listeners are bound.
///
/// # Errors
/// Nothing was started, or a shard ended by itself.
pub fn serve_with(settings: Settings, control: Control, ready: impl FnOnce(&Ready)) -> Result<(), StartError> {
    log::init(settings.log);
    if control.signals {
        log::take_over_panics();
    }
    renewal::finish_interrupted(&settings.tls)?;
    acme::prepare(&settings.tls, SystemTime::now())?;
    if let Some(dynamic) = &settings.dynamic {
        dynamic::make_if_missing(dynamic).map_err(|error| StartError::Files(vec![error]))?;
        dynamic::remind_of_password(dynamic);
    }
    let snapshot = Snapshot::build(settings).map_err(StartError::Files)?;
    announce_start(&snapshot.settings);
    let kept = durable::open(&snapshot.settings.durability, control.machine_clock.clone())?;
    let (listening, sockets) = bind_all(&snapshot.settings.listeners)?;
    let (reporter, scribe) = Reporter::start()?;
    let node = Node::start(snapshot, kept, sockets, &reporter, &control.sender)?;
    // Told only once signals are listened to: whoever reads it may ask the node to stop at once.
    let on_listening = || {
        announce_listeners(&listening);
        ready(&Ready { listeners: listening });
    };
    let outcome = node.runtime.block_on(supervise::run(&node.reloader, control, on_listening));
    tracing::info!("stopping");
    let stopped = node.stop();
    scribe.finish();
    tracing::info!("stopped");
    outcome?;
    Ok(stopped?)
}

/// Binds every listener, or none.
fn bind_all(listeners: &[ListenerSettings]) -> Result<(Vec<Listening>, Vec<Bound>), StartError> {
    let mut listening = Vec::new();
    let mut sockets = Vec::new();
    for settings in listeners {
        let failed =
            |source| StartError::Bind { name: settings.name.clone(), address: settings.address.clone(), source };
        let socket = listener::bind(&settings.address).map_err(failed)?;
        let address = socket.address(&settings.address).map_err(failed)?;
        let scheme = if address.ip().is_some() { settings.transport.scheme() } else { "unix" };
        let path = match &settings.transport.speech {
            Speech::WebSocket(websocket) => websocket.path.clone(),
            Speech::Mqtt | Speech::Either(_) => String::new(),
        };
        listening.push(Listening { name: settings.name.clone(), scheme, path, address });
        sockets.push(socket);
    }
    Ok((listening, sockets))
}

/// The first lines of the log.
fn announce_start(settings: &Settings) {
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, shards = settings.shards.get(), durability = settings.durability.mode.word(), "starting");
    for danger in &settings.dangers {
        tracing::warn!(danger, "security is weakened by the configuration");
    }
}

fn announce_listeners(listening: &[Listening]) {
    for Listening { name, scheme, address, .. } in listening {
        tracing::info!(listener = name, scheme, %address, "listening");
        if matches!(*scheme, "mqtt" | "ws") {
            tracing::warn!(listener = name, %address, "this listener speaks without TLS");
        }
    }
}

/// The threads of a running node.
struct Node {
    runtime: Runtime,
    shards: Vec<JoinHandle<()>>,
    gate: Arc<Gate>,
    reloader: Reloader,
    keeper: KeeperHandle,
}

impl Node {
    fn start(
        snapshot: Snapshot,
        kept: Kept,
        sockets: Vec<Bound>,
        reporter: &Reporter,
        control: &UnboundedSender<Command>,
    ) -> Result<Self, StartError> {
        let settings = snapshot.settings.clone();
        let shared = Shared::new(settings.shards.get(), Arc::clone(&snapshot.policy));
        shared.set_tenant_limits(settings.tenancy.limits());
        let mailboxes: Arc<[Mailbox]> = (0..settings.shards.get()).map(|_| Mailbox::default()).collect();
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
        let clock = Clock::starting_at(kept.clock);
        let runtime = gate_runtime(&settings)?;
        let gate = Arc::new(Gate::new(Arc::clone(&snapshot), Arc::clone(&mailboxes), reporter.clone())?);
        let Inheritance { shards, common, keeper } = kept.start(&mailboxes, reporter, control)?;
        shared.restore(common.retained, common.removals, clock.now());
        shared.restore_bans(common.bans);
        let porter = Porter::new(control.clone(), Arc::clone(&snapshot));
        let seats = (0..).zip(shards).map(|(id, (journal, sessions))| Seat {
            id: ShardId(id),
            shared: Arc::clone(&shared),
            limits: settings.limits.clone(),
            links: settings.links,
            hints: settings.hints.clone(),
            mailboxes: Arc::clone(&mailboxes),
            snapshot: Arc::clone(&snapshot),
            clock,
            porter: porter.of_shard(usize::from(id)),
            reporter: reporter.clone(),
            journal,
            sessions,
        });
        let (shared, mailboxes, snapshot) = (Arc::clone(&shared), Arc::clone(&mailboxes), Arc::clone(&snapshot));
        let record = Arc::default();
        let reloader = Reloader { snapshot, shared, mailboxes, clock, record };
        let mut node = Self { runtime, shards: Vec::new(), gate: Arc::clone(&gate), reloader, keeper };
        let started = node
            .start_shards(seats, control)
            .and_then(|()| open_doors(&node.runtime, &gate, &settings.listeners, sockets).map_err(StartError::from));
        if let Err(error) = started {
            // What made the start fail is told; that the store could not be closed as well would add nothing.
            let _ = node.stop();
            return Err(error);
        }
        node.runtime.spawn(ocsp::keep(node.reloader.clone()));
        node.runtime.spawn(acme::keep(Arc::clone(&node.reloader.snapshot), control.clone(), gate.challenges.clone()));
        if !settings.sys_interval.is_zero() {
            let (keeper, record) = (node.keeper.clone(), Arc::clone(&node.reloader.record));
            let figures = sys::Source { gate, clock, keeper, mode: settings.durability.mode, record };
            node.runtime.spawn(sys::report(figures, settings.sys_interval));
        }
        Ok(node)
    }

    /// Starts every shard, waits until each has its sessions back, and lets all of them begin.
    fn start_shards(
        &mut self,
        seats: impl Iterator<Item = Seat>,
        control: &UnboundedSender<Command>,
    ) -> Result<(), StartError> {
        let (restored, told) = std::sync::mpsc::channel();
        let mut begins = Vec::new();
        let mut awaited = BTreeSet::new();
        for seat in seats {
            awaited.insert(seat.id);
            let (begin, all_restored) = tokio::sync::oneshot::channel();
            begins.push(begin);
            let beginning = Beginning { restored: restored.clone(), all_restored };
            self.shards.push(start_shard(seat, beginning, control.clone())?);
        }
        drop(restored);
        // Ends when each shard has told or is gone.
        told.iter().for_each(|shard| {
            awaited.remove(&shard);
        });
        if let Some(shard) = awaited.first() {
            return Err(StartError::ShardEnded(usize::from(shard.0)));
        }
        for begin in begins {
            // A shard that is gone tells the control loop.
            let _ = begin.send(());
        }
        Ok(())
    }

    /// Closes the doors first, then the sessions, then the store: what the shards leave behind is durable.
    fn stop(self) -> Result<(), StopError> {
        self.runtime.shutdown_timeout(GATE_STOP);
        self.gate.desk.tallies.announce();
        for mailbox in &*self.reloader.mailboxes {
            mailbox.post(Mail::Stop);
        }
        for shard in self.shards {
            // A shard that panicked has already ended the node.
            let _ = shard.join();
        }
        self.keeper.stop()
    }
}

/// Tells the control loop when a shard thread is over, however it ended.
struct Farewell(usize, UnboundedSender<Command>);

impl Drop for Farewell {
    fn drop(&mut self) {
        // When nobody listens the node is stopping and expects it.
        let _ = self.1.send(Command::ShardEnded(self.0));
    }
}

fn start_shard(seat: Seat, beginning: Beginning, control: UnboundedSender<Command>) -> io::Result<JoinHandle<()>> {
    let number = usize::from(seat.id.0);
    let poll = Poll::new()?;
    seat.mailboxes[number].wake_by(Waker::new(poll.registry(), worker::MAILBOX)?);
    std::thread::Builder::new().name(format!("shard-{number}")).spawn(move || {
        let _farewell = Farewell(number, control);
        if let Err(error) = worker::run(seat, poll, beginning) {
            tracing::error!(shard = number, %error, "the system tells nothing of sockets any more");
        }
    })
}

fn gate_runtime(settings: &Settings) -> io::Result<Runtime> {
    // Two threads on one processor do nothing but hand work to each other.
    let processors = std::thread::available_parallelism().map_or(GATE_THREADS_MAX, NonZeroUsize::get);
    Builder::new_multi_thread()
        .worker_threads(processors.min(GATE_THREADS_MAX))
        .max_blocking_threads(settings.gate.hashes_at_once_max.max(1) + FILE_THREADS + LOOKUPS_MAX)
        .thread_name("gate")
        .enable_all()
        .build()
}

/// Starts one accepting task for each listener.
fn open_doors(
    runtime: &Runtime,
    gate: &Arc<Gate>,
    listeners: &[ListenerSettings],
    sockets: Vec<Bound>,
) -> io::Result<()> {
    let _entered = runtime.enter();
    for (index, (socket, listener)) in sockets.into_iter().zip(listeners).enumerate() {
        let name = Arc::from(listener.name.as_str());
        let entrance = Arc::new(Entrance { index, name, transport: listener.transport.clone() });
        runtime.spawn(listener::accept_all(Arc::clone(gate), entrance, socket.open()?));
    }
    Ok(())
}

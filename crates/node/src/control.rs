//! The levers of a running node: stop and reload.
//!
//! Made by whoever starts a node; the [`Handle`] is pulled from any thread, signals pull the same levers. Never reaches
//! into gate or shards itself.

use motte_store::Clock as MachineClock;
use tokio::sync::{mpsc, oneshot};

use crate::config::ConfigError;
use crate::porter::Asked;
use crate::reload::{ReloadError, Reloaded};

/// Who waits for the outcome of a reload, if somebody does.
pub(crate) type Waiting = Option<oneshot::Sender<Result<Reloaded, ReloadError>>>;

/// What can be asked of a running node.
#[derive(Debug)]
pub(crate) enum Command {
    /// Stop orderly.
    Stop,
    /// Reload; the outcome goes to the sender when somebody waits for it.
    Reload(Waiting),
    /// Put the server certificate in force that was written; whether that was so goes to the sender.
    Adopt(oneshot::Sender<Result<(), ConfigError>>),
    /// A client asks something of the broker.
    Control(Box<Asked>),
    /// A shard thread ended although nobody asked it to.
    ShardEnded(usize),
    /// The keeper of the store ended although nobody asked it to.
    KeeperEnded,
}

/// Stops or reloads a node from outside; clonable, usable from any thread.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::UnboundedSender<Command>,
}

/// The end of the levers that a node holds.
#[derive(Debug)]
pub struct Control {
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) sender: mpsc::UnboundedSender<Command>,
    pub(crate) signals: bool,
    pub(crate) machine_clock: MachineClock,
}

impl Control {
    /// Levers that are pulled only through the handle.
    #[must_use]
    pub fn new() -> (Handle, Self) {
        Self::build(false)
    }

    /// Levers that are pulled through the handle and by signals: SIGTERM and SIGINT stop, SIGHUP reloads.
    #[must_use]
    pub fn with_signals() -> (Handle, Self) {
        Self::build(true)
    }

    /// The same, with other clocks for the store: what they say decides how long the node was away. For tests.
    #[must_use]
    pub fn with_machine_clock(self, machine_clock: MachineClock) -> Self {
        Self { machine_clock, ..self }
    }

    fn build(signals: bool) -> (Handle, Self) {
        let (sender, commands) = mpsc::unbounded_channel();
        let machine_clock = MachineClock::system();
        (Handle { commands: sender.clone() }, Self { commands, sender, signals, machine_clock })
    }
}

impl Handle {
    /// Asks for an orderly stop. Returns at once; `serve_with` returns when the node has stopped.
    pub fn stop(&self) {
        // A node that is gone has stopped already.
        let _ = self.commands.send(Command::Stop);
    }

    /// Reloads and waits for the outcome, and until everybody who has to leave has left. Must not be called from a
    /// thread of the node.
    ///
    /// # Errors
    /// The new set of files is bad and the old one stays in force, or the node is gone.
    pub fn reload(&self) -> Result<Reloaded, ReloadError> {
        let (sender, outcome) = oneshot::channel();
        self.commands.send(Command::Reload(Some(sender))).map_err(|_| ReloadError::Stopped)?;
        outcome.blocking_recv().map_err(|_| ReloadError::Stopped)?
    }
}

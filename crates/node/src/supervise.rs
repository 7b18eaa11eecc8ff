//! The control loop: signals, levers, changed files, renewal.
//!
//! Run by boot on the gate's runtime until the node is to stop. Work on files happens on the blocking pool.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::MissedTickBehavior;

use crate::alarms;
use crate::boot::StartError;
use crate::config::ConfigError;
use crate::control::{Command, Control, Waiting};
use crate::counter::{Clerk, Counter};
use crate::porter::Asked;
use crate::reload::{EndedSession, ReloadError, Reloaded, Reloader, Tried};
use crate::renewal;
use crate::review::Review;
use crate::watch::Watch;

/// How often the node looks at the age of its certificate.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(3600);

/// How often the node looks whether rules with a condition on time have changed.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// The signals a node listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// Handles commands and signals until one of them says stop. `on_listening` is called once none can be missed.
pub(crate) async fn run(
    reloader: &Reloader,
    mut control: Control,
    on_listening: impl FnOnce(),
) -> Result<(), StartError> {
    let mut signals = if control.signals { Some(Signals::listen()?) } else { None };
    open_counter(reloader, &control.sender);
    on_listening();
    let mut watch = reloader.watch();
    let mut renewal = tokio::time::interval(RENEWAL_INTERVAL);
    renewal.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut clock = tokio::time::interval(CLOCK_INTERVAL);
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let command = tokio::select! {
            Some(command) = control.commands.recv() => command,
            command = Signals::next(&mut signals) => command,
            () = change(&mut watch) => Command::Reload(None),
            _ = clock.tick() => {
                reloader.follow_the_clock();
                continue;
            }
            _ = renewal.tick() => {
                renew(reloader).await;
                continue;
            }
        };
        match command {
            Command::Stop => return Ok(()),
            Command::ShardEnded(number) => {
                tracing::error!(shard = number, "a shard ended unexpectedly; the node stops");
                return Err(StartError::ShardEnded(number));
            }
            Command::KeeperEnded => {
                tracing::error!("the keeper of the store ended unexpectedly; the node stops");
                return Err(StartError::KeeperEnded);
            }
            Command::Adopt(waiting) => {
                if let Some(outcome) = adopt(reloader).await {
                    // Whoever wrote it may have stopped waiting.
                    let _ = waiting.send(outcome);
                }
            }
            Command::Control(asked) => answer(reloader, *asked).await,
            Command::Reload(waiting) => {
                let Some(Tried { outcome, stamps }) = reload(reloader).await else { continue };
                if let Some(watch) = &mut watch {
                    watch.were_read(stamps, outcome.is_err());
                }
                // The certificate that was put in force may be an old one.
                if outcome.is_ok() {
                    renewal.reset_immediately();
                }
                finish(outcome, waiting);
            }
        }
    }
}

/// Opens the counter, where the settings want one. A broker without it works, and is asked by SIGHUP.
fn open_counter(reloader: &Reloader, commands: &UnboundedSender<Command>) {
    let snapshot = reloader.snapshot.load_full();
    let Some(path) = &snapshot.settings.control_socket else { return };
    match Counter::open(path) {
        Ok(counter) => {
            let mailboxes = Arc::clone(&reloader.mailboxes);
            tokio::spawn(counter.serve(Clerk { commands: commands.clone(), mailboxes }));
        }
        Err(error) => tracing::error!(
            path = %path.display(),
            %error,
            hint = "name another path with control_socket in [node]",
            "the control socket cannot be opened: `motte reload` will find nobody"
        ),
    }
}

/// Answers a request of a client on a thread that may wait for files, and sees to those who have to leave beside the
/// loop.
async fn answer(reloader: &Reloader, asked: Asked) {
    let reloader = reloader.clone();
    match tokio::task::spawn_blocking(move || reloader.answer(asked)).await {
        Ok(Some(review)) => {
            tokio::task::spawn_blocking(move || tell_ended(&review.run()));
        }
        Ok(None) => {}
        Err(_) => tracing::error!("a defect ended a request to the broker; what it asked for is not in force"),
    }
}

fn tell_ended(ended: &[EndedSession]) {
    if !ended.is_empty() {
        tracing::info!(sessions = ended.len(), "connections ended whose proof of identity does not hold any more");
    }
}

/// Waits until a file has changed; for ever where nobody watches.
async fn change(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.change().await,
        None => std::future::pending().await,
    }
}

/// Reads everything again on a thread that may wait for files; `None` when a defect ended that.
async fn reload(reloader: &Reloader) -> Option<Tried> {
    let reloader = reloader.clone();
    let work = tokio::task::spawn_blocking(move || reloader.reload()).await;
    work.inspect_err(|_| tracing::error!("a defect ended a reload; the old settings and files stay in force")).ok()
}

/// Sees to those who have to leave, beside the loop, and tells whoever waits for it.
fn finish(outcome: Result<(Reloaded, Review), ReloadError>, waiting: Waiting) {
    tokio::task::spawn_blocking(move || {
        let outcome = outcome.map(|(reloaded, review)| {
            let ended = review.run();
            tell_ended(&ended);
            Reloaded { ended, ..reloaded }
        });
        if let Some(waiting) = waiting {
            // Whoever asked may have stopped waiting.
            let _ = waiting.send(outcome);
        }
    });
}

/// Puts a certificate in force that somebody beside this loop has written. Everything that changes the set in force is
/// done by the loop, one after the other, so that nothing brings back what another has replaced. `None` when a defect
/// ended it.
async fn adopt(reloader: &Reloader) -> Option<Result<(), ConfigError>> {
    let reloader = reloader.clone();
    let work = tokio::task::spawn_blocking(move || reloader.adopt_certificate()).await;
    work.inspect_err(|_| tracing::error!("a defect ended the adoption of a certificate; the old one is served")).ok()
}

async fn renew(reloader: &Reloader) {
    let reloader = reloader.clone();
    let work = tokio::task::spawn_blocking(move || {
        let now = SystemTime::now();
        renewal::keep_certificate_fresh(&reloader, now);
        alarms::tell_of_lists(&reloader.snapshot.load(), now);
    });
    if work.await.is_err() {
        tracing::error!("a defect ended the renewal of the server certificate; it is tried again in an hour");
    }
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The command of the next signal; never without signals.
    async fn next(signals: &mut Option<Self>) -> Command {
        let Some(signals) = signals else { return std::future::pending().await };
        tokio::select! {
            _ = signals.terminate.recv() => Command::Stop,
            _ = signals.interrupt.recv() => Command::Stop,
            _ = signals.hang_up.recv() => Command::Reload(None),
        }
    }
}

//! Requests of clients to the broker itself: taken from the shards, answered one after the other by the control loop.
//!
//! A [`Porter`] stands at each shard and takes a bounded number; what it takes is answered beside the shard, after a
//! change is on the disk and in force. The same loop reloads, so that neither loses what the other does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use motte_audit::Escaped;
use motte_broker::{ControlAnswer, ControlRequest, LinkId};
use motte_mqtt::ReasonCode;
use motte_policy::control::Endpoint;
use motte_policy::dynamic::{Done, Outcome, answer_questions};
use motte_policy::{DynamicSecurity, Subject};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use zeroize::Zeroizing;

use crate::control::Command;
use crate::dynamic;
use crate::reload::Reloader;
use crate::review::Review;
use crate::settings::{ListenAddress, ListenerSettings, Settings, Speech};
use crate::snapshot::Snapshot;
use crate::worker::mailbox::Mail;

/// Requests of all shards that wait for an answer.
const WAITING_MAX: usize = 256;

/// Takes the requests of one shard.
#[derive(Clone, Debug)]
pub(crate) struct Porter {
    commands: UnboundedSender<Command>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    waiting: Arc<AtomicUsize>,
    shard: usize,
}

/// A request on its way to its answer; counted until dropped.
#[derive(Debug)]
pub(crate) struct Asked {
    shard: usize,
    link: LinkId,
    request: ControlRequest,
    waiting: Arc<AtomicUsize>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Porter {
    /// One for the first shard; [`Porter::of_shard`] gives those of the others.
    pub(crate) fn new(commands: UnboundedSender<Command>, snapshot: Arc<ArcSwap<Snapshot>>) -> Self {
        Self { commands, snapshot, waiting: Arc::default(), shard: 0 }
    }

    /// The same for another shard.
    pub(crate) fn of_shard(&self, shard: usize) -> Self {
        Self { shard, ..self.clone() }
    }

    /// Takes a request.
    ///
    /// # Errors
    /// Dynamic security is not in use (0x87), or too many wait (0x97).
    pub(crate) fn take(&self, link: LinkId, request: ControlRequest) -> Result<(), ReasonCode> {
        if self.snapshot.load().dynamic.is_none() {
            return Err(ReasonCode::NotAuthorized);
        }
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        let asked = Asked { shard: self.shard, link, request, waiting: Arc::clone(&self.waiting) };
        if waiting >= WAITING_MAX {
            return Err(ReasonCode::QuotaExceeded);
        }
        // When nobody listens the node is stopping, and so is the connection.
        let _ = self.commands.send(Command::Control(Box::new(asked)));
        Ok(())
    }
}

impl Reloader {
    /// Answers a request; gives what is left to do for those who are connected. Blocks on files and hashes.
    pub(crate) fn answer(&self, mut asked: Asked) -> Option<Review> {
        let payload = Zeroizing::new(std::mem::take(&mut asked.request.payload));
        let (endpoint, ticket) = (asked.request.endpoint, asked.request.ticket);
        let (outcome, review) = match endpoint {
            Endpoint::DynamicSecurity => self.change(&payload),
            Endpoint::Broker => (answer_questions(&payload, &|name| list(&self.snapshot.load().settings, name)), None),
        };
        tell(&asked.request.who, endpoint, &outcome.done);
        let answer = ControlAnswer { endpoint, ticket, payload: outcome.into_text().into_bytes() };
        // Behind whatever the change itself says to the shard.
        self.mailboxes[asked.shard].post(Mail::ControlAnswered { link: asked.link, answer: Box::new(answer) });
        review
    }

    /// Does what a request says. What it changes is on the disk before it is in force, or it is not done.
    fn change(&self, request: &[u8]) -> (Outcome, Option<Review>) {
        let old = self.snapshot.load_full();
        let mut model = DynamicSecurity::clone(old.dynamic.as_deref().unwrap_or(&DynamicSecurity::default()));
        let by_hand = self.changed_by_hand(&old);
        if let Some(Ok(read)) = &by_hand {
            model = read.clone();
        }
        let mut outcome = model.execute(request, &mut dynamic::random);
        if !outcome.has_changed() {
            return (outcome, None);
        }
        let Some(settings) = old.settings.dynamic.as_ref().filter(|_| !matches!(by_hand, Some(Err(())))) else {
            outcome.not_kept();
            return (outcome, None);
        };
        let text = Zeroizing::new(model.to_text());
        if let Err(error) = motte_pki::write_private(&settings.file, text.as_bytes()) {
            let file = settings.file.display();
            tracing::error!(%file, %error, hint = "check the disk", "a change of dynamic security could not be kept");
            outcome.not_kept();
            return (outcome, None);
        }
        let next = old.with_dynamic(model, &settings.file, text.as_bytes());
        (outcome, Some(self.put_in_force(&old, next)))
    }

    /// What somebody wrote into the file beside the broker since it was read, which must not be lost; an error where
    /// that is not right.
    fn changed_by_hand(&self, old: &Snapshot) -> Option<Result<DynamicSecurity, ()>> {
        let settings = old.settings.dynamic.as_ref()?;
        let text = std::fs::read(&settings.file).map(Zeroizing::new);
        if text.as_ref().is_ok_and(|bytes| old.contents.holds(&settings.file, bytes)) {
            return None;
        }
        let read = dynamic::read(&settings.file).map_err(|errors| {
            for error in errors {
                let (file, what, hint) = (error.file.display(), error.what, error.hint);
                tracing::error!(%file, what, hint, "a file that was changed by hand and is not right is left alone");
            }
        });
        Some(read)
    }
}

/// A line of the log for each command.
fn tell(who: &Subject, endpoint: Endpoint, done: &[Done]) {
    let user = who.identity.user_name().map(|name| tracing::field::display(Escaped(name)));
    let client_id = &who.client_id.0;
    for Done { command, target, error, .. } in done {
        let target = target.as_deref().map(|name| tracing::field::display(Escaped(name)));
        let (topic, command) = (endpoint.topic(), Escaped(command));
        tracing::info!(topic, client_id = %Escaped(client_id), user, %command, target, error, "asked");
    }
}

/// What is told of the broker.
fn list(settings: &Settings, command: &str) -> Option<(&'static str, Value)> {
    if command.eq_ignore_ascii_case("listPlugins") {
        let endpoints = [Endpoint::DynamicSecurity.topic()];
        let version = env!("CARGO_PKG_VERSION");
        let plugin = json!({ "name": "dynamic-security", "version": version, "control-endpoints": endpoints });
        return Some(("listPlugins", json!({ "plugins": [plugin] })));
    }
    let listeners = || settings.listeners.iter().map(listener).collect::<Vec<_>>();
    command.eq_ignore_ascii_case("listListeners").then(|| ("listListeners", json!({ "listeners": listeners() })))
}

fn listener(settings: &ListenerSettings) -> Value {
    let protocol = match settings.transport.speech {
        Speech::WebSocket(_) => "websockets",
        Speech::Mqtt | Speech::Either(_) => "mqtt",
    };
    match &settings.address {
        ListenAddress::Ip(address) => json!({
            "port": address.port(), "protocol": protocol, "tls": settings.transport.tls,
            "bind-address": address.ip().to_string(),
        }),
        ListenAddress::Unix { path, .. } => json!({
            "port": 0, "protocol": protocol, "tls": settings.transport.tls, "socket-path": path.display().to_string(),
        }),
    }
}

//! Reload: the whole new set of settings and files, or the old one.
//!
//! Called by the control loop when a file changed, on SIGHUP, or by whoever asks. A bad set changes nothing and is an
//! alarm until a good one is read; a good one takes effect at once for new connections, and `review` judges those that
//! stand.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use motte_audit::CloseCause;
use motte_broker::{ReloadFigures, Shared};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::clock::{Clock, unix_now};
use crate::config::{ConfigError, ConfigFile};
use crate::review::Review;
use crate::settings::{ListenAddress, ListenerRules, ListenerSettings, Settings, Transport};
use crate::snapshot::{Snapshot, problem};
use crate::sources::Stamps;
use crate::watch::Watch;
use crate::worker::mailbox::{Mail, Mailbox};

/// How often files that change while they are read are read anew.
const READS_MAX: usize = 10;
/// Time between two of those.
const READ_AGAIN: Duration = Duration::from_millis(50);

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Files that hold something else than before, files that came and files that went.
    pub changed: Vec<PathBuf>,
    /// What changed in the configuration and takes effect at the next start.
    pub after_restart: Vec<String>,
    /// The sessions whose connections were ended, because what proved who they are does not hold any more.
    pub ended: Vec<EndedSession>,
}

/// A session whose connection was ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndedSession {
    /// Its client identifier. Peer text.
    pub client_id: String,
    /// Its user; `None` for nobody. Peer text.
    pub user: Option<String>,
    /// Why.
    pub cause: CloseCause,
}

/// Why a reload changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReloadError {
    /// The new set has errors; all of them.
    #[error("{} of the new files are not right; the old set stays in force", .0.len())]
    Files(Vec<ConfigError>),
    /// The node is stopping or has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// How the reloads so far went; shared with whoever tells of it.
#[derive(Debug, Default)]
pub(crate) struct Record {
    alarm: AtomicBool,
    done: AtomicU64,
    refused: AtomicU64,
    /// What was wrong last, so that it is not told again and again.
    errors: Mutex<Vec<ConfigError>>,
}

impl Record {
    /// The figures of the `$SYS` tree.
    pub(crate) fn figures(&self) -> ReloadFigures {
        ReloadFigures {
            alarm: self.is_alarmed(),
            done: self.done.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Whether the files hold something else than what is in force, because it is not right.
    pub(crate) fn is_alarmed(&self) -> bool {
        self.alarm.load(Ordering::Relaxed)
    }

    fn on_done(&self, changed: &[PathBuf]) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if self.alarm.swap(false, Ordering::Relaxed) {
            tracing::warn!("what was wrong with the files is mended; they are in force");
        }
        if changed.is_empty() {
            tracing::info!("read again: no file has changed");
            return;
        }
        let changed = changed.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        tracing::info!(changed, "reloaded: certificates, passwords and access rules");
    }

    fn on_refused(&self, errors: &[ConfigError]) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut last = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if self.alarm.swap(true, Ordering::Relaxed) && *last == errors {
            return;
        }
        for error in errors {
            let file = error.file.display();
            tracing::error!(%file, line = error.line, what = error.what, hint = error.hint, "reload failed");
        }
        tracing::error!("the old settings and files stay in force");
        *last = errors.to_vec();
    }
}

/// What a reload changes.
#[derive(Clone, Debug)]
pub(crate) struct Reloader {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) mailboxes: Arc<[Mailbox]>,
    pub(crate) clock: Clock,
    pub(crate) record: Arc<Record>,
}

/// What became of a try.
#[derive(Debug)]
pub(crate) struct Tried {
    /// What it did, and what is left to do for those who are connected; or why nothing.
    pub(crate) outcome: Result<(Reloaded, Review), ReloadError>,
    /// The files as they looked when they were read.
    pub(crate) stamps: Stamps,
}

impl Reloader {
    /// Reads everything again and puts it in force. Blocks on files: called where that is allowed.
    pub(crate) fn reload(&self) -> Tried {
        let old = self.snapshot.load_full();
        let (next, stamps) = read_at_rest(&old);
        let outcome = match next {
            Ok((next, after_restart)) => {
                next.inherit(&old);
                let changed = next.contents.changed_since(&old.contents);
                let review = self.put_in_force(&old, next);
                self.record.on_done(&changed);
                Ok((Reloaded { changed, after_restart, ended: Vec::new() }, review))
            }
            Err(errors) => {
                self.record.on_refused(&errors);
                Err(ReloadError::Files(errors))
            }
        };
        Tried { outcome, stamps }
    }

    /// The watch over the files in force; `None` where the settings want none.
    pub(crate) fn watch(&self) -> Option<Watch> {
        let snapshot = self.snapshot.load_full();
        snapshot.settings.watch.then(|| Watch::over(snapshot.stamps.clone()))
    }

    /// Swaps. New connections are checked against the new set from the swap on; one that was checked against the old
    /// set is checked again on its way. What is left to do is to judge those who are connected.
    pub(crate) fn put_in_force(&self, old: &Arc<Snapshot>, mut next: Snapshot) -> Review {
        let revoked = old.users_revoked_by(&next);
        let (removed, changed): (Vec<_>, Vec<_>) = revoked.into_iter().partition(|user| !next.knows(user));
        let keeps_rules = next.has_the_rules_of(old);
        if keeps_rules {
            next.policy = Arc::clone(&old.policy);
        }
        let next = Arc::new(next);
        if !removed.is_empty() {
            self.shared.remove_users(removed.iter().cloned(), self.clock.now());
        }
        self.shared.set_tenant_limits(next.settings.tenancy.limits());
        if !keeps_rules {
            self.shared.replace_policy(Arc::clone(&next.policy));
        }
        self.snapshot.store(Arc::clone(&next));
        if !keeps_rules || !removed.is_empty() {
            self.mailboxes.iter().for_each(|mailbox| mailbox.post(Mail::PolicyChanged));
        }
        let causes = changed.into_iter().map(|user| (user, CloseCause::Revoked));
        let causes = causes.chain(removed.into_iter().map(|user| (user, CloseCause::Removed))).collect();
        Review::begin(next, causes, &self.mailboxes)
    }

    /// Puts the rules in force that hold at another time than before; nothing is read for that.
    pub(crate) fn follow_the_clock(&self) {
        if let Some(next) = self.snapshot.load().at(unix_now()) {
            tracing::info!("rules with a condition on time changed");
            self.shared.replace_policy(Arc::clone(&next.policy));
            self.snapshot.store(Arc::new(next));
            self.mailboxes.iter().for_each(|mailbox| mailbox.post(Mail::PolicyChanged));
        }
    }

    /// Puts the renewed server certificate in force; connections that stand are not touched.
    pub(crate) fn adopt_certificate(&self) -> Result<(), ConfigError> {
        let next = self.snapshot.load().with_new_certificate()?;
        self.snapshot.store(Arc::new(next));
        Ok(())
    }
}

/// A set that was read, and what of it waits for the next start.
type Read = (Snapshot, Vec<String>);

/// Reads everything while nobody changes it: a set of which one file is from before a change and another from after it
/// is none. Gives the looks of all files beside it.
fn read_at_rest(old: &Snapshot) -> (Result<Read, Vec<ConfigError>>, Stamps) {
    let mut files = old.settings.files();
    for _ in 0..READS_MAX {
        let stamps = Stamps::of(&files);
        let read = read_again(&old.settings)
            .and_then(|(settings, after_restart)| Ok((Snapshot::build(settings)?, after_restart)));
        if let Ok((next, _)) = &read {
            files = next.settings.files();
        }
        if stamps.cover(&files) && Stamps::of(&stamps.files()) == stamps {
            // What the old set named and the new one does not is of no more interest.
            return (read, Stamps::of(&files));
        }
        files.extend(old.settings.files());
        std::thread::sleep(READ_AGAIN);
    }
    let file = files.first().cloned().unwrap_or_default();
    let what = String::from("the files change faster than they can be read");
    (Err(vec![problem(&file, 0, what, "wait until they are complete, then run `motte reload`")]), Stamps::of(&files))
}

/// The settings as their file states them at present, and what of it waits for the next start. Settings without a file
/// of their own (`source` is empty) stay, and only the files they name are read again.
fn read_again(old: &Settings) -> Result<(Settings, Vec<String>), Vec<ConfigError>> {
    if old.source.as_os_str().is_empty() {
        return Ok((old.clone(), Vec::new()));
    }
    let mut next = ConfigFile::load(&old.source)?;
    let mut after_restart = Vec::new();
    for (what, differs) in [
        ("listeners", doors(&next) != doors(old)),
        ("shards", next.shards != old.shards),
        ("sys_interval_s", next.sys_interval != old.sys_interval),
        ("watch", next.watch != old.watch),
        ("control_socket", next.control_socket != old.control_socket),
        ("limits of shards", format!("{:?}", next.limits) != format!("{:?}", old.limits)),
        ("packet_deadline_s, write_timeout_s", next.links != old.links),
        ("server_reference, response_topic_prefix", next.hints != old.hints),
        ("durability", next.durability != old.durability),
        ("log", next.log != old.log),
        ("bounds of password checks", hash_bounds(&next) != hash_bounds(old)),
    ] {
        if differs {
            tracing::warn!(what, "changed in the configuration; takes effect after a restart");
            after_restart.push(what.to_owned());
        }
    }
    next.listeners = old.listeners.iter().map(|listener| with_new_rules(listener, &next.listeners)).collect();
    next.shards = old.shards;
    next.sys_interval = old.sys_interval;
    next.watch = old.watch;
    next.control_socket.clone_from(&old.control_socket);
    next.limits = old.limits.clone();
    next.links = old.links;
    next.hints = old.hints.clone();
    next.durability = old.durability.clone();
    next.log = old.log;
    Ok((next, after_restart))
}

/// What of the listeners takes effect at a start only: they, their sockets and what is spoken there.
fn doors(settings: &Settings) -> Vec<(&str, &ListenAddress, &Transport)> {
    settings.listeners.iter().map(|listener| (&*listener.name, &listener.address, &listener.transport)).collect()
}

/// A listener that stands, with what its section now asks of clients. One whose section is gone goes on, but what was
/// allowed to it under `[danger]` does not.
fn with_new_rules(standing: &ListenerSettings, next: &[ListenerSettings]) -> ListenerSettings {
    let Some(next) = next.iter().find(|next| next.name == standing.name) else {
        let rules = ListenerRules { allow_anonymous: false, ..standing.rules.clone() };
        return ListenerSettings { rules, ..standing.clone() };
    };
    let (address, transport) = (standing.address.clone(), standing.transport.clone());
    ListenerSettings { address, transport, ..next.clone() }
}

fn hash_bounds(settings: &Settings) -> (usize, usize) {
    (settings.gate.hashes_at_once_max, settings.gate.hashes_waiting_max)
}

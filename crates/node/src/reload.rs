//! Reload: the whole new set of settings and files, or the old one.
//!
//! Called by the control loop on SIGHUP or by a [`crate::Handle`]. A bad set changes nothing and is an alarm; a good
//! one takes effect at once for new connections, and connected clients are judged again.

use std::sync::Arc;

use arc_swap::ArcSwap;
use motte_broker::Shared;
use thiserror::Error;

use crate::clock::Clock;
use crate::config::{ConfigError, ConfigFile};
use crate::settings::{ListenAddress, ListenerRules, ListenerSettings, Settings, Transport};
use crate::snapshot::Snapshot;
use crate::worker::mailbox::{Mail, Mailbox};

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

/// What a reload changes.
#[derive(Clone, Debug)]
pub(crate) struct Reloader {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) mailboxes: Arc<[Mailbox]>,
    pub(crate) clock: Clock,
}

impl Reloader {
    /// Reads everything again and puts it in force. Blocks on files: called where that is allowed.
    pub(crate) fn reload(&self) -> Result<(), ReloadError> {
        let old = self.snapshot.load_full();
        let next = read_again(&old.settings).and_then(Snapshot::build);
        match next {
            Ok(next) => {
                self.put_in_force(&old, Arc::new(next));
                tracing::info!("reloaded: certificates, passwords and access rules");
                Ok(())
            }
            Err(errors) => {
                for error in &errors {
                    let file = error.file.display();
                    tracing::error!(%file, line = error.line, what = error.what, hint = error.hint, "reload failed");
                }
                tracing::error!("the old settings and files stay in force");
                Err(ReloadError::Files(errors))
            }
        }
    }

    /// Swaps and lets every shard judge its clients again. New connections are checked against the new set from the
    /// swap on; one that was checked against the old set is checked again when it arrives at its shard.
    fn put_in_force(&self, old: &Arc<Snapshot>, next: Arc<Snapshot>) {
        let revoked = Arc::new(old.users_revoked_by(&next));
        let removed: Vec<_> = revoked.iter().filter(|user| !next.knows(user)).cloned().collect();
        if !removed.is_empty() {
            self.shared.remove_users(removed, self.clock.now());
        }
        self.shared.replace_policy(Arc::clone(&next.policy));
        self.snapshot.store(next);
        for mailbox in &*self.mailboxes {
            mailbox.post(Mail::PolicyChanged);
            mailbox.post(Mail::Reloaded(Arc::clone(&revoked)));
        }
    }

    /// Puts the renewed server certificate in force; connections that stand are not touched.
    pub(crate) fn adopt_certificate(&self) -> Result<(), ConfigError> {
        let next = self.snapshot.load().with_new_certificate()?;
        self.snapshot.store(Arc::new(next));
        Ok(())
    }
}

/// The settings as their file states them at present. Settings without a file of their own (`source` is empty) stay,
/// and only the files they name are read again.
fn read_again(old: &Settings) -> Result<Settings, Vec<ConfigError>> {
    if old.source.as_os_str().is_empty() {
        return Ok(old.clone());
    }
    let mut next = ConfigFile::load(&old.source)?;
    for (what, differs) in [
        ("listeners", doors(&next) != doors(old)),
        ("shards", next.shards != old.shards),
        ("sys_interval_s", next.sys_interval != old.sys_interval),
        ("limits of shards", format!("{:?}", next.limits) != format!("{:?}", old.limits)),
        ("packet_deadline_s, write_timeout_s", next.links != old.links),
        ("server_reference, response_topic_prefix", next.hints != old.hints),
        ("durability", next.durability != old.durability),
        ("log", next.log != old.log),
        ("bounds of password checks", hash_bounds(&next) != hash_bounds(old)),
    ] {
        if differs {
            tracing::warn!(what, "changed in the configuration; takes effect after a restart");
        }
    }
    next.listeners = old.listeners.iter().map(|listener| with_new_rules(listener, &next.listeners)).collect();
    next.shards = old.shards;
    next.sys_interval = old.sys_interval;
    next.limits = old.limits.clone();
    next.links = old.links;
    next.hints = old.hints.clone();
    next.durability = old.durability.clone();
    next.log = old.log;
    Ok(next)
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

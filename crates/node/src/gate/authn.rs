//! Who a CONNECT comes from: a chain of sources, asked in the order of the configuration, each of which fails closed.
//!
//! Called by the gate. A source is a file beside this one. Here and in those files alone an `Authenticated` is made.
//! What a source says is final unless it says that the client is not its own; nothing a source fails to say lets
//! anybody in (K28).

mod backoff;
mod certificate;
mod claims;
mod desk;
mod dynamic;
mod jwt;
mod ldap;
mod lru;
mod password;
mod proofs;
mod remote;
pub(super) mod scram;
mod webhook;

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use motte_audit::RefusalReason;
use motte_mqtt::{Connect, ReasonCode};
use motte_policy::Authenticated;
use rustls_pki_types::CertificateDer;

pub(super) use self::certificate::{Certified, certified};
pub(crate) use self::desk::Desk;
pub(crate) use self::remote::RemoteSources;
use super::Refusal;
use crate::settings::{ListenerRules, ListenerSettings, Settings, SourceName};
use crate::snapshot::Snapshot;
use crate::socket::Peer;

/// What a source says of a client.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is who this says. Final.
    Accepted(Authenticated),
    /// It is somebody this source knows, and did not prove it. Final.
    Refused(Refusal),
    /// Nobody this source knows: the next one is asked.
    NotMine,
    /// This source cannot tell, so nobody can. Final.
    Unavailable(Refusal),
}

/// What a source can see of a client that wants to come in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// Settings and files in force.
    pub(super) snapshot: &'a Snapshot,
    /// The rules of the listener.
    pub(super) rules: &'a ListenerRules,
    /// The chain that the TLS handshake verified, leaf first.
    pub(super) certificates: Option<&'a [CertificateDer<'static>]>,
    /// Where the client is, unless it came in by a unix socket.
    pub(super) address: Option<IpAddr>,
    /// The name of the listener.
    pub(super) listener: &'a str,
    /// The CONNECT.
    pub(super) connect: &'a Connect<'a>,
    /// Where it comes from.
    pub(super) peer: Peer,
    /// Slow hashes and the counts of what sources said.
    pub(super) desk: &'a Desk,
}

impl Question<'_> {
    /// Turned away with the code that fits the client's version.
    pub(super) fn refused(&self, reason: RefusalReason, code: ReasonCode) -> Refusal {
        Refusal::answered(reason, self.connect.version, code)
    }

    /// Turned away because the proof is wrong, or there is nobody of that name; the two are one answer (K29).
    pub(super) fn wrong(&self) -> Refusal {
        self.refused(RefusalReason::BadCredentials, ReasonCode::BadUserNameOrPassword)
    }

    /// Turned away because `source` cannot tell.
    fn unavailable(&self, source: &dyn Source, what: impl fmt::Display) -> Refusal {
        let detail = Some(format!("{}: {what}", source.name()));
        Refusal { detail, ..self.refused(RefusalReason::SourceUnavailable, ReasonCode::ServerUnavailable) }
    }
}

/// The answer of a source, some time.
pub(crate) type Answer<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// One who can be asked whom a CONNECT comes from.
pub(crate) trait Source: fmt::Debug + Send + Sync {
    /// As it stands in `sources`, in the `$SYS` tree and in the log.
    fn name(&self) -> String;

    /// How long it may take to answer; beyond that it is unavailable.
    fn timeout(&self, settings: &Settings) -> Duration;

    /// Whether it looks at user names and passwords.
    fn judges_names(&self) -> bool;

    /// Whether it knows without work that the client is who it says. Such a client is not made to wait for what others
    /// at its address got wrong.
    fn knows_already(&self, _question: &Question<'_>) -> bool {
        false
    }

    /// Asks it. Dropped when the client leaves or its time is over.
    fn ask<'a>(&'a self, question: &'a Question<'a>) -> Answer<'a>;
}

/// The sources of one listener.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    sources: Vec<Arc<dyn Source>>,
}

impl Chain {
    /// The chain of a listener: those of its sources that are configured.
    pub(crate) fn of(listener: &ListenerSettings, settings: &Settings, remote: &RemoteSources) -> Self {
        let source = |name: &SourceName| -> Option<Arc<dyn Source>> {
            match name {
                SourceName::Certificate => Some(Arc::new(certificate::Certificates)),
                SourceName::Password => {
                    settings.identity.password_file.is_some().then(|| Arc::new(password::Passwords) as Arc<dyn Source>)
                }
                SourceName::Jwt(_) | SourceName::Http(_) | SourceName::Ldap(_) => remote.get(name),
                SourceName::Dynamic => {
                    settings.dynamic.is_some().then(|| Arc::new(dynamic::Clients) as Arc<dyn Source>)
                }
            }
        };
        Self { sources: listener.rules.sources.iter().filter_map(source).collect() }
    }

    /// Finds out who it is.
    ///
    /// A certificate that names somebody binds whatever a source says: a user name beside it has to be the same name,
    /// so that nobody can act under two names at once.
    pub(super) async fn authenticate(&self, question: &Question<'_>) -> Result<Authenticated, Refusal> {
        let certified = certified(question)?;
        if question.rules.certificate_and_password && certified.is_none() {
            return Err(question.refused(RefusalReason::NoCredentials, ReasonCode::NotAuthorized));
        }
        let mut guarded = false;
        for source in &self.sources {
            if source.judges_names() && !guarded {
                guarded = true;
                if !source.knows_already(question) {
                    question.desk.slow_down(question).await?;
                }
            }
            match question.desk.tallies.count(&source.name(), self.ask(source.as_ref(), question)).await {
                Verdict::NotMine => {}
                Verdict::Accepted(who) => {
                    question.desk.was_right(question, guarded);
                    return if agrees(&who, certified.as_ref()) { Ok(who) } else { Err(question.wrong()) };
                }
                Verdict::Refused(refusal) => {
                    question.desk.was_wrong(question, &refusal);
                    return Err(refusal);
                }
                Verdict::Unavailable(refusal) => return Err(refusal),
            }
        }
        self.unclaimed(question).await.inspect_err(|refusal| question.desk.was_wrong(question, refusal))
    }

    async fn ask(&self, source: &dyn Source, question: &Question<'_>) -> Verdict {
        let most = source.timeout(&question.snapshot.settings);
        match tokio::time::timeout(most, source.ask(question)).await {
            Ok(verdict) => verdict,
            Err(_) => Verdict::Unavailable(question.unavailable(source, format_args!("no answer within {most:?}"))),
        }
    }

    /// Somebody no source knows: nobody where the listener lets nobody in under `[danger]`, and else turned away, after
    /// the work that a wrong password would have been (K29).
    async fn unclaimed(&self, question: &Question<'_>) -> Result<Authenticated, Refusal> {
        let anonymous = question.rules.allow_anonymous && !question.rules.certificate_and_password;
        match (question.connect.user_name, question.connect.password) {
            // Where nobody judges names a user name is a mere word, and whoever says it stays nobody.
            (Some(_), _) if anonymous && !self.judges_names() => Ok(Authenticated::anonymously()),
            (None, None) if anonymous => Ok(Authenticated::anonymously()),
            (None, None) => Err(question.refused(RefusalReason::NoCredentials, ReasonCode::NotAuthorized)),
            (Some(user), Some(password)) => {
                question.desk.tallies.unclaimed();
                password::work_for_nobody(question, user, password).await?;
                Err(question.wrong())
            }
            // A password is meant as proof; one that proves nothing is worse than none.
            (Some(_), None) | (None, Some(_)) => Err(question.wrong()),
        }
    }

    fn judges_names(&self) -> bool {
        self.sources.iter().any(|source| source.judges_names())
    }
}

/// Whether somebody is who the certificate says, where it says anything.
fn agrees(who: &Authenticated, certified: Option<&Certified>) -> bool {
    certified.is_none_or(|Certified(name)| who.identity().user_name() == Some(&name.0))
}

#[cfg(test)]
mod tests;

//! Who a CONNECT comes from: client certificate, user name and password, or nobody where that is allowed.
//!
//! Called by the gate. Password hashes are slow on purpose and run on the blocking pool, a bounded number at once and a
//! bounded number waiting. Here and in `scram` alone an `Authenticated` is made.

pub(super) mod scram;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use motte_audit::RefusalReason;
use motte_mqtt::{Connect, ProtocolVersion, ReasonCode};
use motte_policy::{Authenticated, UserName};
use rustls_pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use super::{Refusal, tls};
use crate::settings::{GateLimits, ListenerRules};
use crate::snapshot::Snapshot;

/// The bounded queue of password checks.
#[derive(Debug)]
pub(crate) struct Hashes {
    at_once: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// One who waits, counted until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Hashes {
    /// A queue with the bounds of `limits`.
    pub(crate) fn new(limits: &GateLimits) -> Self {
        Self {
            at_once: Arc::new(Semaphore::new(limits.hashes_at_once_max.max(1))),
            waiting: AtomicUsize::new(0),
            waiting_max: limits.hashes_waiting_max,
        }
    }

    /// Finds out who it is.
    ///
    /// A certificate that names somebody is the identity. A user name beside it has to be the same name, so that nobody
    /// can act under two names at once; the password is not looked at, the certificate proved more. Without such a
    /// certificate user name and password decide, and without those nobody is let in unless `[danger]` allows it.
    pub(super) async fn authenticate(
        &self,
        snapshot: &Snapshot,
        rules: &ListenerRules,
        certificates: Option<&[CertificateDer<'static>]>,
        connect: &Connect<'_>,
    ) -> Result<Authenticated, Refusal> {
        if let Some(name) = certificate_name(rules, certificates, connect)? {
            return Ok(Authenticated::by_certificate(UserName(name)));
        }
        let refused = |reason, code| Err(Refusal::answered(reason, connect.version, code));
        match (connect.user_name, connect.password) {
            // Where there are no passwords at all a user name is a mere word, and whoever says it stays nobody.
            (Some(_), _) if rules.allow_anonymous && snapshot.passwords.is_none() => Ok(Authenticated::anonymously()),
            (Some(user), password) => self.check_password(snapshot, connect.version, user, password).await,
            // A password is meant as proof; one that proves nothing is worse than none.
            (None, Some(_)) => refused(RefusalReason::BadCredentials, ReasonCode::BadUserNameOrPassword),
            (None, None) if rules.allow_anonymous => Ok(Authenticated::anonymously()),
            (None, None) => refused(RefusalReason::NoCredentials, ReasonCode::NotAuthorized),
        }
    }

    /// A turn to compute a hash: at once, or after others; `None` when too many wait already.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(turn) = Arc::clone(&self.at_once).try_acquire_owned() {
            return Some(turn);
        }
        let _waiting = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.waiting_max {
            return None;
        }
        Arc::clone(&self.at_once).acquire_owned().await.ok()
    }

    async fn check_password(
        &self,
        snapshot: &Snapshot,
        version: ProtocolVersion,
        user: &str,
        password: Option<&[u8]>,
    ) -> Result<Authenticated, Refusal> {
        let wrong = || Refusal::answered(RefusalReason::BadCredentials, version, ReasonCode::BadUserNameOrPassword);
        let busy = || Refusal::answered(RefusalReason::Overloaded, version, ReasonCode::ServerBusy);
        let (Some(file), Some(password)) = (&snapshot.passwords, password) else { return Err(wrong()) };
        let turn = self.turn().await.ok_or_else(busy)?;
        let file = Arc::clone(file);
        let (user, password) = (user.to_owned(), Zeroizing::new(password.to_vec()));
        // The turn travels with the work: a hash that outlives its connection still counts.
        let check = tokio::task::spawn_blocking(move || {
            let verdict = file.verify(&user, &password);
            drop(turn);
            verdict
        });
        check.await.map_err(|_| busy())?.ok_or_else(wrong)
    }
}

/// The name in the client certificate, where such a name is an identity here; a user name beside it has to be the same.
fn certificate_name(
    rules: &ListenerRules,
    certificates: Option<&[CertificateDer<'static>]>,
    connect: &Connect<'_>,
) -> Result<Option<Arc<str>>, Refusal> {
    let leaf = certificates.and_then(|chain| chain.first());
    let (Some(field), Some(leaf)) = (rules.certificate_identity, leaf) else { return Ok(None) };
    let refused = |reason, code| Refusal::answered(reason, connect.version, code);
    let name = tls::identity(leaf, field)
        .ok_or_else(|| refused(RefusalReason::CertificateWithoutIdentity, ReasonCode::NotAuthorized))?;
    if connect.user_name.is_some_and(|user| user != &*name) {
        return Err(Refusal {
            detail: Some(String::from("the user name is not the name in the client certificate")),
            ..refused(RefusalReason::BadCredentials, ReasonCode::BadUserNameOrPassword)
        });
    }
    Ok(Some(name))
}

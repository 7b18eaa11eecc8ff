//! The server certificate from a CA that speaks ACME (RFC 8555): first issue, renewal, and what the CA asks as proof.
//!
//! Started by boot as one task on the gate's runtime. A CA that refuses or is away changes nothing: the certificate
//! that is there stays, the log says so, and it is tried again. Connections that stand are not touched.

mod challenges;
mod order;
mod transport;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use motte_pki::CertificateFacts;
use motte_pki::acme::{holds, is_stand_in, stand_in};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub(crate) use challenges::Challenges;

use crate::control::Command;
use crate::renewal::{self, RenewalError};
use crate::settings::{AcmeSettings, TlsSettings};
use crate::snapshot::Snapshot;

/// How often the age of the certificate and the settings are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// The wait after a first failure; it doubles with each further one. CAs count failures by the hour.
const RETRY_MIN: Duration = Duration::from_secs(60);
/// The longest wait. With a third of its life left a certificate of 90 days has 120 of these.
const RETRY_MAX: Duration = Duration::from_secs(6 * 3600);
/// An order that takes longer is given up and begun anew.
const ORDER_DEADLINE: Duration = Duration::from_secs(10 * 60);

/// Writes a stand-in where `[acme]` stands and there is no certificate yet, so that the listeners can be opened, over
/// which the CA may want to be answered. No client that verifies believes it.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn prepare(settings: &TlsSettings, now: SystemTime) -> Result<(), RenewalError> {
    let Some(acme) = &settings.acme else { return Ok(()) };
    if settings.certificate.exists() || settings.key.exists() {
        return Ok(());
    }
    let issued = stand_in(&acme.names, now)?;
    renewal::replace_certificate(settings, &issued)?;
    tracing::warn!("there is no server certificate yet; clients refuse the stand-in until the CA has issued one");
    Ok(())
}

/// Keeps the certificate fresh for ever.
pub(crate) async fn keep(snapshot: Arc<ArcSwap<Snapshot>>, commands: UnboundedSender<Command>, challenges: Challenges) {
    let mut failures: u32 = 0;
    let mut not_before = Instant::now();
    loop {
        let settings = snapshot.load().settings.tls.clone();
        if let Some(acme) = &settings.acme
            && Instant::now() >= not_before
            && is_due(&settings.certificate, acme, SystemTime::now()).await
        {
            match renew(&commands, &settings, acme, &challenges).await {
                Ok(days_left) => {
                    failures = 0;
                    tracing::info!(days_left, directory = acme.directory, "the server certificate was issued by ACME");
                }
                Err(error) => {
                    let pause = pause_after(failures, random());
                    failures = failures.saturating_add(1);
                    not_before = Instant::now() + pause;
                    let (again_s, directory) = (pause.as_secs(), &acme.directory);
                    tracing::error!(%error, directory, again_s, "ACME gave no certificate; the present one stays");
                }
            }
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Whether a certificate has to be asked for: there is none, it is a stand-in, holds other names, or is in the last
/// third of its life.
async fn is_due(certificate: &Path, acme: &AcmeSettings, now: SystemTime) -> bool {
    let Ok(text) = tokio::fs::read_to_string(certificate).await else { return true };
    let Ok(Some(leaf)) = CertificateFacts::from_pem(&text).map(|chain| chain.into_iter().next()) else { return true };
    is_stand_in(&leaf) || !acme.names.iter().all(|name| holds(&leaf, name)) || motte_pki::renewal_due(&leaf, now)
}

/// Orders a certificate, writes it where `[tls]` reads it, and has the control loop put it in force. Gives the days it
/// lasts.
async fn renew(
    commands: &UnboundedSender<Command>,
    settings: &TlsSettings,
    acme: &AcmeSettings,
    challenges: &Challenges,
) -> Result<i64, OrderError> {
    let order = order::certificate(acme, challenges);
    let issued = tokio::time::timeout(ORDER_DEADLINE, order).await.map_err(|_| OrderError::Deadline)??;
    let facts = CertificateFacts::from_pem(&issued.chain_pem).map_err(|error| OrderError::File(error.to_string()))?;
    let days_left = facts.first().map_or(0, |leaf| leaf.days_left(SystemTime::now()));
    let settings = settings.clone();
    let write = move || renewal::replace_certificate(&settings, &issued);
    let written = tokio::task::spawn_blocking(write).await.map_err(|error| OrderError::File(error.to_string()))?;
    written.map_err(|error| OrderError::File(error.to_string()))?;
    let (told, adopted) = oneshot::channel();
    let stopped = || OrderError::File(String::from("the node stops; the next start serves it"));
    commands.send(Command::Adopt(told)).map_err(|_| stopped())?;
    let adopted = adopted.await.map_err(|_| stopped())?;
    adopted.map_err(|error| OrderError::File(error.to_string()))?;
    Ok(days_left)
}

/// Why no certificate came of an order.
#[derive(Debug, thiserror::Error)]
enum OrderError {
    /// What the CA answered, or that it did not.
    #[error("{}", told(.0))]
    Ca(#[from] instant_acme::Error),
    /// The CA does not offer the challenge that is configured.
    #[error("the CA offers no {0} challenge for {1}; choose another challenge in [acme]")]
    NotOffered(&'static str, String),
    /// The CA looked for the answer to its challenge and was not satisfied.
    #[error("the CA was not shown that {0} is ours: {1}")]
    NotShown(String, String),
    /// The CA calls the order invalid.
    #[error("the CA closed the order without a certificate")]
    Invalid,
    /// It took too long.
    #[error("the order was not completed in time")]
    Deadline,
    /// The web server for the challenge cannot listen.
    #[error("cannot listen on {0} for the challenge: {1}")]
    Listen(std::net::SocketAddr, io::Error),
    /// The request, the answer to it or the answer to a challenge cannot be made or used.
    #[error(transparent)]
    Issue(#[from] motte_pki::IssueError),
    /// The CA sent another certificate than was asked for.
    #[error(transparent)]
    Answer(#[from] motte_pki::acme::AnswerError),
    /// A file of ours cannot be read or written.
    #[error("{0}")]
    File(String),
}

/// An error with what is behind it: that of the library says "request failed" and hides why.
fn told(error: &instant_acme::Error) -> String {
    let mut text = error.to_string();
    let mut below = std::error::Error::source(error);
    while let Some(cause) = below {
        text = format!("{text}: {cause}");
        below = cause.source();
    }
    text
}

/// The wait after so many failures in a row: doubled each time, and moved by up to a quarter so that many brokers do
/// not come back at once.
fn pause_after(failures: u32, random: u32) -> Duration {
    let doubled = RETRY_MIN.saturating_mul(2_u32.saturating_pow(failures)).min(RETRY_MAX);
    doubled + doubled.mul_f64(f64::from(random) / f64::from(u32::MAX) / 4.0)
}

/// A number of chance; without any, all come back at once, which is no harm to a single broker.
fn random() -> u32 {
    let mut bytes = [0; 4];
    let _ = getrandom::fill(&mut bytes);
    u32::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_later_each_time_and_within_hours() {
        assert_eq!(pause_after(0, 0), RETRY_MIN);
        assert_eq!(pause_after(3, 0), RETRY_MIN * 8);
        assert_eq!(pause_after(u32::MAX, 0), RETRY_MAX);
        assert!(pause_after(u32::MAX, u32::MAX) <= RETRY_MAX * 5 / 4);
    }
}

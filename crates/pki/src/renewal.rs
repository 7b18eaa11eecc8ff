//! When a certificate is due for renewal. Called by `node`'s renewal and by `motte cert list`.
//! Never reads a clock: time is an argument.

use std::time::{Duration, SystemTime};

use crate::facts::CertificateFacts;

/// True in the last third of the certificate's life and after its end, so that a failed renewal has weeks to be tried
/// again. A certificate whose end is not after its beginning is always due.
pub fn renewal_due(facts: &CertificateFacts, now: SystemTime) -> bool {
    let life = facts.not_after.duration_since(facts.not_before).unwrap_or(Duration::ZERO);
    match facts.not_after.duration_since(now) {
        Ok(left) => left <= life / 3,
        Err(_) => true,
    }
}

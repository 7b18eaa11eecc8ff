//! What every load needs before it begins: the target, the files, room for connections, and a way to stop it.
//!
//! Called by the commands of `bench`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use motte_client::opening::Opening;
use motte_client::{Authentication, Transport, on_interrupt};

use crate::bench::dial::Dialer;
use crate::bench::limits;
use crate::cli::refused;
use crate::cli::target::TargetArgs;
use crate::ui::{Failure, USAGE};

/// Makes ready for so many connections, of which some are open at once.
pub(super) fn dialer(
    target: &TargetArgs,
    (connections, open_at_once): (usize, usize),
    resume: bool,
) -> Result<Dialer, Failure> {
    let mut config = target.config()?;
    if matches!(config.transport, Transport::WebSocketTls { .. } | Transport::DangerWebSocket { .. }) {
        let hint = "use mqtts://, or -h and -p";
        return Err(Failure::new("`motte bench` speaks MQTT without WebSocket", hint).with_code(USAGE));
    }
    if config.authentication != Authentication::Password {
        let hint = "give a certificate, or a password without --auth-method";
        return Err(Failure::new("`motte bench` does not prove passwords by SCRAM", hint).with_code(USAGE));
    }
    target.warn(&config);
    limits::allow(open_at_once)?;
    // The broker's own limit is what counts.
    config.in_flight_max = u16::MAX;
    let opening = Opening::new(config).map_err(|error| refused(&error))?;
    Dialer::new(opening, connections, resume)
}

/// A flag that the first Ctrl-C sets; the second ends the process.
pub(super) fn stop_flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let is_stopped = Arc::clone(&flag);
    // Where signals cannot be handled, they end the process as always.
    let _ = on_interrupt(move || {
        if is_stopped.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    flag
}

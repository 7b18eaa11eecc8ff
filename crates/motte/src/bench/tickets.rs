//! Tickets of TLS sessions for `--resume`, as many as a broker gives; the store of rustls keeps eight.
//!
//! Called by rustls. Never gives a ticket of TLS 1.3 twice, which would let others tie connections together.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// Most tickets kept; the oldest go first.
const TICKETS_MAX: usize = 4096;

/// Tickets of one broker.
#[derive(Debug)]
pub(crate) struct Tickets {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    group: Option<NamedGroup>,
    v12: Option<Tls12ClientSessionValue>,
    v13: VecDeque<Tls13ClientSessionValue>,
}

impl Tickets {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { kept: Mutex::new(Kept::default()) }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Kept) -> T) -> T {
        act(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _server: ServerName<'static>, group: NamedGroup) {
        self.with(|kept| kept.group = Some(group));
    }

    fn kx_hint(&self, _server: &ServerName<'_>) -> Option<NamedGroup> {
        self.with(|kept| kept.group)
    }

    fn set_tls12_session(&self, _server: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.with(|kept| kept.v12 = Some(value));
    }

    fn tls12_session(&self, _server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.with(|kept| kept.v12.clone())
    }

    fn remove_tls12_session(&self, _server: &ServerName<'static>) {
        self.with(|kept| kept.v12 = None);
    }

    fn insert_tls13_ticket(&self, _server: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.with(|kept| {
            kept.v13.push_back(value);
            if kept.v13.len() > TICKETS_MAX {
                kept.v13.pop_front();
            }
        });
    }

    fn take_tls13_ticket(&self, _server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.with(|kept| kept.v13.pop_back())
    }
}

//! A connection that proved itself by SCRAM and may do so again (MQTT 5.0 §4.12.1).
//!
//! Travels in an admission from the gate to the link, where the broker drives it. Knows one user: another cannot come
//! in by it. A user whose record is changed loses the connection, so the record it holds is never an old one.

use super::ScramError;
use super::exchange::{Candidate, Exchange, Nonces, Proved, Reply};
use crate::identity::UserName;
use crate::scram::ScramKeys;

/// The state.
#[derive(Debug)]
pub struct Reauthentication {
    user: UserName,
    keys: ScramKeys,
    nonces: Nonces,
    exchange: Option<Exchange>,
}

impl Reauthentication {
    pub(crate) fn new(proved: Proved) -> Self {
        let Proved { user, keys, nonces, .. } = proved;
        Self { user, keys, nonces, exchange: None }
    }

    /// Whether an exchange is going on.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.exchange.is_some()
    }

    /// Begins an exchange, in the place of one that may be going on; `data` is the client's first message, if it sent
    /// that at once.
    pub fn begin(&mut self, data: Option<&[u8]>) -> Result<Reply, ScramError> {
        let exchange = Exchange::with(self.nonces.clone());
        self.nonces.draw();
        self.exchange = Some(exchange);
        self.proceed(data)
    }

    /// Takes the next message in. After a failure, or the end, nothing is going on any more.
    pub fn proceed(&mut self, data: Option<&[u8]>) -> Result<Reply, ScramError> {
        let mut exchange = self.exchange.take().ok_or(ScramError::Message("no exchange is going on"))?;
        let reply = exchange.step(data, |user| match *user == *self.user.0 {
            true => Ok(Candidate::of(&self.user, &self.keys)),
            false => Err(ScramError::OtherUser),
        })?;
        if matches!(reply, Reply::Continue(_)) {
            self.exchange = Some(exchange);
        }
        Ok(reply)
    }
}

//! Authenticating again on a live connection (MQTT 5.0 §4.12.1).
//!
//! Called by the session for AUTH packets and for the request that begins an exchange. A connection that began without
//! one sends no AUTH at all (MQTT-4.12.0-7).

use std::sync::mpsc::SyncSender;

use motte_mqtt::{Auth, Packet, ReasonCode, UserProperties};

use super::{Event, Protocol, Violation, answer, violation};
use crate::authentication::AuthenticationError;
use crate::scram::{Credentials, Exchange, METHOD};

/// Who waits for the end of an exchange.
pub(crate) type Reply = SyncSender<Result<(), AuthenticationError>>;

/// The state of a connection that began with an exchange.
#[derive(Debug)]
pub(super) struct Reauthentication {
    credentials: Credentials,
    running: Option<(Exchange, Reply)>,
}

impl Protocol {
    /// The same for a connection that was authenticated by an exchange.
    pub(crate) fn authenticated_by(mut self, credentials: Credentials) -> Self {
        self.reauthentication = Some(Reauthentication { credentials, running: None });
        self
    }

    /// Begins an exchange with a nonce, or answers at once why there can be none.
    pub(super) fn on_reauthenticate_request(&mut self, nonce: String, reply: Reply) {
        let Some(state) = &mut self.reauthentication else {
            return answer(&reply, Err(AuthenticationError::NotInUse));
        };
        if state.running.is_some() {
            return answer(&reply, Err(AuthenticationError::Running));
        }
        let exchange = Exchange::new(state.credentials.clone(), nonce);
        let first = exchange.first();
        state.running = Some((exchange, reply));
        self.write_auth(ReasonCode::ReAuthenticate, &first);
    }

    /// Takes in an AUTH of the broker. What is wrong with it ends the connection (MQTT-4.12.1-2).
    pub(super) fn on_auth(&mut self, auth: &Auth<'_>) -> Result<Event, Violation> {
        let Some(state) = &mut self.reauthentication else {
            return Err(violation("AUTH without an authentication method"));
        };
        let (mut exchange, reply) = state.running.take().ok_or(violation("AUTH that nobody asked for"))?;
        if auth.method != Some(METHOD) {
            return Err(violation("AUTH with another authentication method"));
        }
        let failed = |what| {
            answer(&reply, Err(AuthenticationError::BrokerUnproved(what)));
            violation(what)
        };
        if auth.reason == ReasonCode::Success {
            exchange.check(auth.data).map_err(failed)?;
            answer(&reply, Ok(()));
            return Ok(Event::Nothing);
        }
        let last = exchange.answer(auth.data.unwrap_or_default()).map_err(failed)?;
        state.running = Some((exchange, reply));
        self.write_auth(ReasonCode::ContinueAuthentication, &last);
        Ok(Event::Nothing)
    }

    fn write_auth(&mut self, reason: ReasonCode, data: &str) {
        let data = Some(data.as_bytes());
        let user = UserProperties::EMPTY;
        self.acknowledge(&Packet::Auth(Auth { reason, method: Some(METHOD), data, reason_string: None, user }));
    }
}

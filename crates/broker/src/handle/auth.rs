//! AUTH on a live link: the client proves again who it is (MQTT 5.0 §4.12.1), while all other packets go on.
//!
//! Called for each AUTH packet. The state is the link's and knows one user, so a link cannot become somebody else's;
//! an exchange that fails or takes too long ends the link.

use motte_audit::CloseCause;
use motte_mqtt::{Auth, Packet, ReasonCode, UserProperties};
use motte_policy::ScramError;
use motte_policy::scram::{METHOD, Reply};

use super::{Ending, Stop};
use crate::effects::Effects;
use crate::journal::Journal;
use crate::shard::{Millis, Shard};
use crate::timer::TimerKind;

/// Time for one exchange in seconds: enough for a slow device to derive its keys.
const EXCHANGE_S_MAX: u32 = 30;

impl<J: Journal> Shard<J> {
    pub(crate) fn on_auth(
        &mut self,
        slot: usize,
        auth: &Auth<'_>,
        now: Millis,
        fx: &mut impl Effects,
    ) -> Result<(), Stop> {
        let session = &mut self.sessions[slot];
        let Some(link) = &mut session.link else { return Ok(()) };
        let wrong = |detail| Stop::protocol(ReasonCode::ProtocolError, detail);
        let Some(state) = &mut link.reauthentication else {
            return Err(wrong("AUTH without a method in CONNECT"));
        };
        match auth.method {
            Some(METHOD) => {}
            Some(_) => {
                let detail = "AUTH with another method than CONNECT had";
                return Err(Stop::protocol(ReasonCode::BadAuthenticationMethod, detail));
            }
            None => return Err(wrong("AUTH without a method")),
        }
        let reply = match (auth.reason, state.is_running()) {
            (ReasonCode::ReAuthenticate, false) => {
                let deadline = Some(now.plus_s(EXCHANGE_S_MAX));
                self.core.timers.set(&mut session.armed, session.key, TimerKind::Reauthentication, deadline);
                state.begin(auth.data)
            }
            (ReasonCode::ReAuthenticate, true) => return Err(wrong("a second exchange before the first has ended")),
            (_, true) => state.proceed(auth.data),
            (_, false) => return Err(wrong("AUTH that answers nothing")),
        };
        let reply = reply.map_err(failed)?;
        let (reason, data) = match &reply {
            Reply::Continue(data) => (ReasonCode::ContinueAuthentication, data.as_slice()),
            Reply::Proved(proved) => {
                self.core.timers.set(&mut session.armed, session.key, TimerKind::Reauthentication, None);
                (ReasonCode::Success, proved.server_final())
            }
        };
        let data = Some(data).filter(|data| !data.is_empty());
        let answer = Auth { reason, method: Some(METHOD), data, reason_string: None, user: UserProperties::EMPTY };
        self.write(slot, &Packet::Auth(answer), fx);
        Ok(())
    }

    /// The time of an exchange is over.
    pub(crate) fn on_exchange_overdue(&mut self, slot: usize, now: Millis, fx: &mut impl Effects) {
        let ending = Ending::told(ReasonCode::NotAuthorized, CloseCause::NotProved);
        self.end_link(slot, Ending { detail: Some("the exchange took too long"), ..ending }, now, fx);
    }
}

/// A failed exchange ends the link (MQTT-4.12.1-2).
fn failed(error: ScramError) -> Stop {
    Stop { reason: ReasonCode::NotAuthorized, cause: CloseCause::NotProved, detail: error.what() }
}

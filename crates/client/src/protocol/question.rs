//! SUBSCRIBE and UNSUBSCRIBE without an answer, and what the broker's answers say to those who asked.
//! Called by `protocol`.

use std::sync::mpsc::SyncSender;

use motte_mqtt::{PacketId, ProtocolVersion, Qos, ReasonCode};

use super::{Event, Protocol, Violation, answer, violation};
use crate::error::SubscribeError;
use crate::message::Granted;

/// A SUBSCRIBE or UNSUBSCRIBE without its answer; how many filters it had.
#[derive(Debug)]
pub(super) enum Question {
    Subscribe(usize, SyncSender<Result<Vec<Granted>, SubscribeError>>),
    Unsubscribe(usize, SyncSender<Result<Vec<ReasonCode>, SubscribeError>>),
}

impl Protocol {
    pub(super) fn on_suback(&mut self, id: PacketId, codes: &[u8]) -> Result<Event, Violation> {
        let Some(Question::Subscribe(filters, reply)) = self.questions.remove(&id) else {
            return Err(violation("SUBACK for no SUBSCRIBE of ours"));
        };
        if codes.len() != filters {
            return Err(violation("SUBACK with another number of codes than filters were asked for"));
        }
        let mut granted = Vec::with_capacity(codes.len());
        for code in codes {
            granted.push(match (Qos::from_u8(*code), ReasonCode::from_u8(*code)) {
                (Some(qos), _) => Ok(qos),
                (None, Some(reason)) if reason.is_error() => Err(reason),
                (None, _) => return Err(violation("SUBACK with a code that does not exist")),
            });
        }
        answer(&reply, Ok(granted));
        Ok(Event::Nothing)
    }

    pub(super) fn on_unsuback(&mut self, id: PacketId, codes: &[u8]) -> Result<Event, Violation> {
        let Some(Question::Unsubscribe(filters, reply)) = self.questions.remove(&id) else {
            return Err(violation("UNSUBACK for no UNSUBSCRIBE of ours"));
        };
        if self.limits.version != ProtocolVersion::V5 {
            answer(&reply, Ok(vec![ReasonCode::Success; filters]));
            return Ok(Event::Nothing);
        }
        let reasons: Option<Vec<_>> = codes.iter().map(|code| ReasonCode::from_u8(*code)).collect();
        match reasons {
            Some(reasons) if reasons.len() == filters => answer(&reply, Ok(reasons)),
            _ => return Err(violation("UNSUBACK with codes that do not fit the filters")),
        }
        Ok(Event::Nothing)
    }
}

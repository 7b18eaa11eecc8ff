//! What one end of a load does with packets that are not simply counted.
//!
//! Called by `flow` and `crew`.

use motte_client::error::EXIT_ACL_DENIED;
use motte_client::{ConnectionLost, ReasonCode, printable};
use motte_mqtt::{Decoder, Packet};

use super::link::Ended;
use super::publisher::{Publisher, next_of_exchange};
use super::scan::{self, Frame, broken};
use crate::cli::lost_connection;
use crate::ui::Failure;

/// What a connection is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    Publisher(usize),
    Subscriber(usize),
}

/// An acknowledgement came; when its message was due if it is the last one for it.
#[inline]
pub(crate) fn on_ack(
    frame: &Frame<'_>,
    publisher: &mut Publisher,
    replies: &mut Vec<u8>,
) -> Result<Option<u64>, Ended> {
    let (id, reason) = scan::ack(frame)?;
    if reason >= 0x80 {
        return Err(Ended::Failed(refused(reason)));
    }
    if frame.kind() == scan::PUBREC {
        next_of_exchange(scan::PUBREL, id, replies);
        return Ok(None);
    }
    match publisher.on_acknowledged(id) {
        Some(since) => Ok(Some(since)),
        None => Err(broken("an acknowledgement of what was not sent")),
    }
}

/// The broker does not take a message.
fn refused(reason: u8) -> Failure {
    let words = ReasonCode::from_u8(reason).map_or_else(|| format!("reason {reason}"), |reason| reason.to_string());
    let (hint, code) = match reason {
        0x87 => {
            ("this user may not publish to it; choose another --topic or ask the broker's operator", EXIT_ACL_DENIED)
        }
        _ => ("the broker's limits do not allow this load; the broker's log may say more", reason),
    };
    Failure::new(format!("the broker refused a message: {words}"), hint).with_code(code)
}

/// A packet that is not of the steady path: a farewell, or a fault.
pub(crate) fn unexpected(decoder: &Decoder, bytes: &[u8]) -> Result<(), Ended> {
    match decoder.decode(bytes) {
        Ok(Some((Packet::Disconnect(packet), _))) => {
            let text = packet.reason_string.map(printable);
            let lost = ConnectionLost::Disconnected { reason: packet.reason, text };
            Err(Ended::Failed(lost_connection(&lost)))
        }
        // Retained messages and those for an earlier life of a session may come to a publisher; they are not ours.
        Ok(Some((Packet::Publish(_), _))) => Ok(()),
        Ok(_) => Err(broken("a packet that nobody asked for")),
        Err(error) => Err(broken(&error.to_string())),
    }
}

/// Why the load ends with a connection.
pub(crate) fn lost(ended: Ended) -> Failure {
    match ended {
        Ended::Closed => lost_connection(&ConnectionLost::ClosedByBroker),
        Ended::Io(error) => lost_connection(&ConnectionLost::Network { reason: printable(&error.to_string()) }),
        Ended::Failed(failure) => failure,
    }
}

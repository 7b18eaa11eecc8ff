//! What a shard does to the world: the sink its calls write into.
//!
//! Implemented by `node/worker`, by tests and by the simulator.

use std::sync::Arc;

use motte_audit::Event;
use motte_mqtt::ReasonCode;

use crate::control::ControlRequest;
use crate::counters::Counters;
use crate::handle::{PassedOn, Passing};
use crate::message::Message;
use crate::routes::Target;
use crate::shard::{LinkId, Millis, ShardId};

/// The sink.
pub trait Effects {
    /// The buffer of bytes to be written to a link, to append to; `None` when the transport is already gone. The owner
    /// writes it out once at the end of the turn, then calls [`crate::Shard::on_drained`].
    fn outbox(&mut self, link: LinkId) -> Option<&mut Vec<u8>>;

    /// The client publishes faster than it may: nothing more is read from it until then. What was read already may
    /// still be handed over, and other connections are read as before.
    fn pause(&mut self, link: LinkId, until: Millis);

    /// Ends a link after its outbox has been written. The shard has forgotten the link already; no further call for it
    /// comes or is expected.
    fn close(&mut self, link: LinkId);

    /// Hands over what a client asks of the broker, which is answered by [`crate::Shard::on_control_answer`].
    ///
    /// # Errors
    /// It is not taken: nobody answers such requests (0x87), or too many wait (0x97).
    fn control(&mut self, link: LinkId, request: ControlRequest) -> Result<(), ReasonCode>;

    /// Reports what happened.
    fn event(&mut self, event: Event);

    /// Hands a letter to another shard; letters of one turn travel together and in order.
    fn post(&mut self, to: ShardId, letter: Letter);
}

/// Something for another shard: a message for some of its sessions, or a word about counts.
#[derive(Debug)]
pub struct Letter {
    pub(crate) content: LetterContent,
}

/// Bytes of memory a letter takes beside topic, payload and properties of its message.
const LETTER_BYTES: usize = 256;

impl Letter {
    /// Bytes that count against the bound of what may wait for a shard.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let message = match &self.content {
            LetterContent::Passed(passed) => return LETTER_BYTES + passed.weight_bytes(),
            LetterContent::Deliver { message, .. } => Some(&**message),
            LetterContent::PassOn(passed) => Some(passed.message()),
            LetterContent::Ask { .. } | LetterContent::Report { .. } => None,
        };
        LETTER_BYTES + message.map_or(0, Message::weight_bytes)
    }
}

#[derive(Debug)]
pub(crate) enum LetterContent {
    /// A message for sessions of the receiving shard, judged under the policy of `epoch`.
    Deliver { message: Arc<Message>, targets: Arc<[Target]>, epoch: u64 },
    /// Messages of QoS 0 of one publisher to one topic.
    Passed(Passing),
    /// A message of a group for the member that takes it over.
    PassOn(PassedOn),
    /// The shard `asking` wants to know the counts of the receiving one.
    Ask { asking: ShardId },
    /// The answer.
    Report { from: ShardId, counters: Box<Counters> },
}

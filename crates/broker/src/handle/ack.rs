//! PUBACK, PUBREC, PUBREL and PUBCOMP from a client.
//!
//! An identifier nobody knows is answered, not punished; one that is in flight at another QoS is a protocol error.

use motte_mqtt::{Ack, AckKind, ReasonCode};

use super::Stop;
use crate::effects::Effects;
use crate::journal::{Journal, Record};
use crate::link::Answer;
use crate::session::flight::Acked;
use crate::shard::{Millis, Shard};

impl<J: Journal> Shard<J> {
    pub(super) fn on_ack(
        &mut self,
        slot: usize,
        kind: AckKind,
        ack: &Ack<'_>,
        now: Millis,
        fx: &mut impl Effects,
    ) -> Result<(), Stop> {
        match kind {
            AckKind::PubAck => self.on_puback(slot, ack, now, fx),
            AckKind::PubRec => self.on_pubrec(slot, ack, now, fx),
            AckKind::PubRel => self.on_pubrel(slot, ack, fx),
            AckKind::PubComp => self.on_pubcomp(slot, ack, now, fx),
        }
    }

    fn on_puback(&mut self, slot: usize, ack: &Ack<'_>, now: Millis, fx: &mut impl Effects) -> Result<(), Stop> {
        check(self.sessions[slot].on_puback(ack.id, &mut self.core.turn(&mut self.journal, now)))?;
        self.pump(slot, now, fx);
        Ok(())
    }

    fn on_pubrec(&mut self, slot: usize, ack: &Ack<'_>, now: Millis, fx: &mut impl Effects) -> Result<(), Stop> {
        let mut turn = self.core.turn(&mut self.journal, now);
        let (acked, position) = self.sessions[slot].on_pubrec(ack.id, ack.reason, &mut turn);
        check(acked)?;
        let reason = if acked == Acked::Unknown { ReasonCode::PacketIdNotFound } else { ReasonCode::Success };
        // A refused message is finished, and an unknown one that was refused needs no answer.
        if !ack.reason.is_error() {
            self.answer(slot, Answer::Ack(AckKind::PubRel, ack.id, reason), Some(position), fx)?;
        }
        self.pump(slot, now, fx);
        Ok(())
    }

    fn on_pubrel(&mut self, slot: usize, ack: &Ack<'_>, fx: &mut impl Effects) -> Result<(), Stop> {
        let session = &mut self.sessions[slot];
        let was_known = session.received.remove(ack.id);
        let reason = if was_known { ReasonCode::Success } else { ReasonCode::PacketIdNotFound };
        if !session.is_durable() {
            return self.answer(slot, Answer::Ack(AckKind::PubComp, ack.id, reason), None, fx);
        }
        if was_known {
            self.journal.append(&Record::Released { client_id: session.name(), id: ack.id });
        }
        // One that is repeated may have been released by a record that is not durable yet.
        let position = self.journal.last();
        self.answer(slot, Answer::Ack(AckKind::PubComp, ack.id, reason), position, fx)
    }

    fn on_pubcomp(&mut self, slot: usize, ack: &Ack<'_>, now: Millis, fx: &mut impl Effects) -> Result<(), Stop> {
        check(self.sessions[slot].on_pubcomp(ack.id, &mut self.core.turn(&mut self.journal, now)))?;
        self.pump(slot, now, fx);
        Ok(())
    }
}

fn check(acked: Acked) -> Result<(), Stop> {
    match acked {
        Acked::Fits | Acked::Unknown => Ok(()),
        Acked::Mismatch => {
            Err(Stop::protocol(ReasonCode::ProtocolError, "acknowledgement of another QoS than the message"))
        }
    }
}

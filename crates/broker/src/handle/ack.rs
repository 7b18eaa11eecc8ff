//! PUBACK, PUBREC, PUBREL and PUBCOMP from a client.
//!
//! An identifier nobody knows is answered, not punished; one that is in flight at another QoS is a protocol error.

use motte_mqtt::{Ack, Packet, PacketId, ReasonCode};

use super::Stop;
use crate::effects::Effects;
use crate::journal::Journal;
use crate::session::flight::Acked;
use crate::shard::{Millis, Shard};

impl<J: Journal> Shard<J> {
    pub(crate) fn on_puback(
        &mut self,
        slot: usize,
        ack: &Ack<'_>,
        now: Millis,
        fx: &mut impl Effects,
    ) -> Result<(), Stop> {
        check(self.sessions[slot].on_puback(ack.id, &mut self.core.turn(&mut self.journal, now)))?;
        self.pump(slot, now, fx);
        Ok(())
    }

    pub(crate) fn on_pubrec(
        &mut self,
        slot: usize,
        ack: &Ack<'_>,
        now: Millis,
        fx: &mut impl Effects,
    ) -> Result<(), Stop> {
        let acked = self.sessions[slot].on_pubrec(ack.id, ack.reason, &mut self.core.turn(&mut self.journal, now));
        check(acked)?;
        match acked {
            // A refused message is finished, and an unknown one that was refused needs no answer.
            _ if ack.reason.is_error() => {}
            Acked::Unknown => self.write_ack(slot, (ack.id, ReasonCode::PacketIdNotFound), Packet::PubRel, fx),
            Acked::Fits | Acked::Mismatch => self.write_ack(slot, (ack.id, ReasonCode::Success), Packet::PubRel, fx),
        }
        self.pump(slot, now, fx);
        Ok(())
    }

    pub(crate) fn on_pubrel(&mut self, slot: usize, ack: &Ack<'_>, fx: &mut impl Effects) -> Result<(), Stop> {
        let was_known = self.sessions[slot].received.remove(ack.id);
        let reason = if was_known { ReasonCode::Success } else { ReasonCode::PacketIdNotFound };
        self.write_ack(slot, (ack.id, reason), Packet::PubComp, fx);
        Ok(())
    }

    pub(crate) fn on_pubcomp(
        &mut self,
        slot: usize,
        ack: &Ack<'_>,
        now: Millis,
        fx: &mut impl Effects,
    ) -> Result<(), Stop> {
        check(self.sessions[slot].on_pubcomp(ack.id, &mut self.core.turn(&mut self.journal, now)))?;
        self.pump(slot, now, fx);
        Ok(())
    }

    fn write_ack(
        &mut self,
        slot: usize,
        (id, reason): (PacketId, ReasonCode),
        packet: impl FnOnce(Ack<'static>) -> Packet<'static>,
        fx: &mut impl Effects,
    ) {
        if let Some(link) = &self.sessions[slot].link {
            link.write_ack((id, reason), packet, &mut self.core.counters, fx);
        }
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

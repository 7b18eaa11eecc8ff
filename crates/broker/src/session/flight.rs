//! Messages sent at QoS 1 and 2 and not finished: their acknowledgements, and sending them again after a resume.
//!
//! Called by `handle/ack` and `session/deliver`. The window is counted in entries, from PUBLISH to PUBACK or PUBCOMP,
//! and in bytes, from PUBLISH to PUBACK or PUBREC.

use motte_mqtt::{Ack, Packet, PacketId, Qos, ReasonCode};

use super::Session;
use super::deliver::{Turn, Written, delivery};
use super::queue::{BATCH_MESSAGES, Held, Owed, batch};
use crate::effects::Effects;
use crate::limits::Limits;
use crate::message::Origin;
use crate::restore::StoredRef;

/// A message sent at QoS 1 or 2 and not finished.
#[derive(Debug)]
pub(crate) struct InFlight {
    id: PacketId,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// PUBLISH was sent; PUBACK or PUBREC is awaited.
    Published(Held),
    /// PUBREC came and PUBREL was sent; PUBCOMP is awaited (MQTT-4.3.3-5).
    Released,
}

/// What an acknowledgement of the client meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acked {
    /// It fits: a slot became free, or the flow went on.
    Fits,
    /// Nothing is in flight under this identifier.
    Unknown,
    /// The identifier is in flight, but at another QoS or stage.
    Mismatch,
}

impl InFlight {
    /// The message, if it is kept by the journal alone.
    fn stored(&self) -> Option<StoredRef> {
        match &self.stage {
            Stage::Published(Held::Stored(stored)) => Some(*stored),
            Stage::Published(Held::Loaded(_)) | Stage::Released => None,
        }
    }
}

impl Session {
    /// PUBACK: a QoS 1 message is finished, whatever the reason code (MQTT-4.4.0-2).
    pub(crate) fn on_puback(&mut self, id: PacketId, turn: &mut Turn<'_>) -> Acked {
        let Some(at) = self.in_flight_at(id) else { return Acked::Unknown };
        match &self.in_flight[at].stage {
            Stage::Published(held) if held.qos() == Qos::AtLeastOnce => {
                self.forget(at, turn);
                Acked::Fits
            }
            _ => Acked::Mismatch,
        }
    }

    /// PUBREC: a QoS 2 message has arrived, or was refused.
    pub(crate) fn on_pubrec(&mut self, id: PacketId, reason: ReasonCode, turn: &mut Turn<'_>) -> Acked {
        let Some(at) = self.in_flight_at(id) else { return Acked::Unknown };
        match &self.in_flight[at].stage {
            Stage::Published(held) if held.qos() != Qos::ExactlyOnce => Acked::Mismatch,
            _ if reason.is_error() => {
                self.forget(at, turn);
                Acked::Fits
            }
            Stage::Published(held) => {
                self.settle(held.origin(), turn);
                self.in_flight_bytes -= held.weight_bytes();
                self.in_flight[at].stage = Stage::Released;
                Acked::Fits
            }
            Stage::Released => Acked::Fits,
        }
    }

    /// PUBCOMP: a QoS 2 message is finished.
    pub(crate) fn on_pubcomp(&mut self, id: PacketId, turn: &mut Turn<'_>) -> Acked {
        let Some(at) = self.in_flight_at(id) else { return Acked::Unknown };
        match &self.in_flight[at].stage {
            Stage::Released => {
                self.forget(at, turn);
                Acked::Fits
            }
            Stage::Published(_) => Acked::Mismatch,
        }
    }

    /// The session ends: takes out the unacknowledged QoS 1 messages of groups. A QoS 2 delivery that was begun is not
    /// begun with anybody else (MQTT-4.8.2-5).
    pub(crate) fn take_unacknowledged(&mut self) -> Vec<Owed> {
        self.in_flight_bytes = 0;
        let in_flight = std::mem::take(&mut self.in_flight).into_iter();
        let unacknowledged = in_flight.filter_map(|entry| match entry.stage {
            Stage::Published(Held::Loaded(owed)) if owed.qos == Qos::AtLeastOnce && owed.share.is_some() => Some(owed),
            Stage::Published(_) | Stage::Released => None,
        });
        unacknowledged.collect()
    }

    /// Clients acknowledge in order, so the search ends at the front.
    fn in_flight_at(&self, id: PacketId) -> Option<usize> {
        if !self.ids_used.contains(id) {
            return None;
        }
        self.in_flight.iter().position(|entry| entry.id == id)
    }

    fn forget(&mut self, at: usize, turn: &mut Turn<'_>) {
        let Some(entry) = self.in_flight.remove(at) else { return };
        self.ids_used.remove(entry.id);
        self.sent -= usize::from(at < self.sent);
        if let Stage::Published(held) = &entry.stage {
            self.settle(held.origin(), turn);
            self.in_flight_bytes -= held.weight_bytes();
        }
    }

    /// A message was sent for the first time.
    pub(super) fn begin_flight(&mut self, id: PacketId, owed: Owed) {
        self.ids_used.insert(id);
        self.last_id = id.value();
        self.in_flight_bytes += owed.message.weight_bytes();
        self.in_flight.push_back(InFlight { id, stage: Stage::Published(Held::Loaded(owed)) });
        self.sent = self.in_flight.len();
    }

    /// Whether a message of this weight may be sent beside those in flight: by the number the client takes
    /// (MQTT-3.3.4-9) and by our own bound in bytes, above which a message has to be alone.
    pub(super) fn window_takes(&self, weight_bytes: usize, limits: &Limits) -> bool {
        let window = self.link.as_ref().map_or(0, |link| link.window);
        let bytes = self.in_flight_bytes.saturating_add(weight_bytes);
        self.in_flight.len() < window && (self.in_flight_bytes == 0 || bytes <= limits.inflight_bytes_max)
    }

    /// Sends again what an earlier connection left unfinished, in the first order and with the first identifiers
    /// (MQTT-4.4.0-1); tells whether all of it is out.
    pub(super) fn resend(&mut self, turn: &mut Turn<'_>, fx: &mut impl Effects) -> bool {
        while self.sent < self.in_flight.len() {
            let window = self.link.as_ref().map_or(0, |link| link.window);
            let is_stored = self.in_flight.get(self.sent).is_some_and(|entry| entry.stored().is_some());
            if self.sent >= window || is_stored || !self.has_room(turn, fx) {
                return false;
            }
            if self.send_again(self.sent, turn, fx) {
                self.sent += 1;
            } else {
                self.give_up(self.sent, turn);
            }
        }
        true
    }

    /// Frees the memory of what is in flight and kept by the journal.
    pub(super) fn unload_flight(&mut self) {
        for entry in &mut self.in_flight {
            if let Stage::Published(held) = &mut entry.stage {
                held.unload();
            }
        }
        self.in_flight.shrink_to_fit();
    }

    /// Messages that are to be sent again and have to be read back for that.
    pub(super) fn unsent_stored(&self) -> Vec<Origin> {
        batch(self.in_flight.range(self.sent..).take(BATCH_MESSAGES).filter_map(InFlight::stored))
    }

    /// Whether a message that was read back is the next one to be sent again.
    pub(super) fn is_unsent(&self, origin: Origin) -> bool {
        let mut unsent = self.in_flight.range(self.sent..).filter_map(InFlight::stored);
        unsent.next().is_some_and(|stored| stored.origin == origin)
    }

    /// Takes in a message that is to be sent again; one that cannot be read is given up.
    pub(super) fn load_unsent(
        &mut self,
        origin: Origin,
        owed: Option<Owed>,
        turn: &mut Turn<'_>,
        fx: &mut impl Effects,
    ) {
        let mut unsent = self.in_flight.range(self.sent..);
        let Some(at) = unsent.position(|entry| entry.stored().is_some_and(|stored| stored.origin == origin)) else {
            return;
        };
        let at = self.sent + at;
        match (owed, &mut self.in_flight[at].stage) {
            (Some(owed), Stage::Published(held)) => {
                let owed = Owed { qos: held.qos(), ..owed };
                self.in_flight_bytes = self.in_flight_bytes - held.weight_bytes() + owed.message.weight_bytes();
                *held = Held::Loaded(owed);
            }
            _ => {
                self.give_up(at, turn);
                self.miss(fx);
            }
        }
    }

    /// Ends the flow of a message that must not be sent any more. The client may have got it on an earlier connection,
    /// and then holds the identifier of QoS 2 until PUBREL (MQTT-4.3.3-10): without one it would take the next message
    /// under this identifier for a copy.
    fn give_up(&mut self, at: usize, turn: &mut Turn<'_>) {
        match &self.in_flight[at].stage {
            Stage::Published(held) if held.qos() == Qos::ExactlyOnce => {
                self.settle(held.origin(), turn);
                self.in_flight[at].stage = Stage::Released;
            }
            _ => self.forget(at, turn),
        }
    }

    /// Sends one entry again, or tells that it must not be sent any more.
    fn send_again(&mut self, at: usize, turn: &mut Turn<'_>, fx: &mut impl Effects) -> bool {
        let InFlight { id, stage } = &self.in_flight[at];
        let id = *id;
        let mut owed = match stage {
            Stage::Published(Held::Loaded(owed)) => owed.clone(),
            Stage::Published(Held::Stored(_)) => return true,
            Stage::Released => {
                if let Some(link) = &self.link {
                    link.write(&Packet::PubRel(Ack::new(id, ReasonCode::Success)), turn.counters, fx);
                }
                return true;
            }
        };
        if !self.judge(&mut owed, turn) {
            turn.counters.denied += 1;
            return false;
        }
        matches!(self.write(&owed, delivery(&owed, id, true), turn, fx), Written::Sent)
    }
}

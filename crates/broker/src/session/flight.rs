//! Messages sent at QoS 1 and 2 and not finished: their acknowledgements, and sending them again after a resume.
//!
//! Called by `handle/ack` and `session/deliver`. The window is counted in entries, from PUBLISH to PUBACK or PUBCOMP,
//! and in bytes, from PUBLISH to PUBACK or PUBREC.

use std::collections::VecDeque;
use std::sync::Arc;

use motte_mqtt::{AckKind, PacketId, Qos, ReasonCode};

use super::Session;
use super::deliver::{Turn, Written, delivery, judge, write};
use super::queue::{BATCH_MESSAGES, Held, Owed, batch};
use crate::effects::Effects;
use crate::journal::{DurableTarget, JournalState, Position, Record};
use crate::limits::Limits;
use crate::message::{Origin, Publisher};
use crate::restore::{RestoredFlight, StoredRef};

/// A message sent at QoS 1 or 2 and not finished.
#[derive(Debug)]
pub(crate) struct InFlight {
    id: PacketId,
    stage: Stage,
    /// Bytes of its message that count against byte limits.
    weight_bytes: usize,
    /// Whether the client may have got the PUBLISH, on this connection or an earlier one. Until then it counts as
    /// waiting.
    may_have_left: bool,
    /// The record that what is to be sent next waits for.
    record: Position,
    /// Whether it is owed only when it has left: what is replayed counts then.
    is_replay: bool,
}

#[derive(Debug)]
enum Stage {
    /// PUBLISH was sent or waits for its record; PUBACK or PUBREC is awaited.
    Published(Held),
    /// PUBREC came and PUBREL was sent or waits for its record; PUBCOMP is awaited (MQTT-4.3.3-5).
    Released,
}

/// What became of a message that was to be sent.
#[derive(Clone, Copy)]
enum Fate {
    Sent,
    /// The client does not take it.
    TooLarge,
    /// Its time ran out before it was sent at all (MQTT-3.3.2-5).
    TooLate,
    Denied,
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
    /// What the last run of the node sent, or may have sent.
    pub(super) fn restored(RestoredFlight { id, message }: RestoredFlight) -> Self {
        let weight_bytes = message.map_or(0, |stored| stored.weight_bytes as usize);
        let stage = message.map_or(Stage::Released, |stored| Stage::Published(Held::Stored(stored)));
        Self { id, stage, weight_bytes, may_have_left: true, record: Position::default(), is_replay: false }
    }

    /// The message, if it is kept by the journal alone.
    fn stored(&self) -> Option<StoredRef> {
        match &self.stage {
            Stage::Published(Held::Stored(stored)) => Some(*stored),
            Stage::Published(Held::Loaded(_)) | Stage::Released => None,
        }
    }
}

impl Session {
    /// What was judged is to be judged again: more, or less, is known of the owner.
    pub(crate) fn forget_verdicts(&mut self) {
        self.queue.forget_verdicts();
        for entry in &mut self.in_flight {
            if let Stage::Published(Held::Loaded(owed)) = &mut entry.stage {
                owed.epoch = None;
            }
        }
    }

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

    /// PUBREC: a QoS 2 message has arrived, or was refused. Tells which record PUBREL has to wait for.
    pub(crate) fn on_pubrec(&mut self, id: PacketId, reason: ReasonCode, turn: &mut Turn<'_>) -> (Acked, Position) {
        let Some(at) = self.in_flight_at(id) else { return (Acked::Unknown, Position::default()) };
        match &self.in_flight[at].stage {
            Stage::Published(held) if held.qos() != Qos::ExactlyOnce => return (Acked::Mismatch, Position::default()),
            _ if reason.is_error() => self.forget(at, turn),
            Stage::Published(_) => self.release(at, turn),
            Stage::Released => {}
        }
        let entry = self.in_flight.get(at).filter(|entry| entry.id == id);
        (Acked::Fits, entry.map_or(Position::default(), |entry| entry.record))
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

    /// The session ends: takes out the unacknowledged QoS 1 messages of groups, each with whether it counts as waiting.
    /// A QoS 2 delivery that was begun is not begun with anybody else (MQTT-4.8.2-5).
    pub(crate) fn take_unacknowledged(&mut self) -> Vec<(Owed, bool)> {
        let mut unacknowledged = Vec::new();
        for entry in std::mem::take(&mut self.in_flight) {
            match entry.stage {
                Stage::Published(Held::Loaded(owed))
                    if owed.share.is_some() && (owed.qos == Qos::AtLeastOnce || !entry.may_have_left) =>
                {
                    unacknowledged.push((owed, !entry.may_have_left));
                }
                stage => self.in_flight.push_back(InFlight { stage, ..entry }),
            }
        }
        unacknowledged
    }

    /// The session ends: takes out the unacknowledged QoS 1 messages of groups that only the journal keeps, each with
    /// whether it counts as waiting.
    pub(super) fn take_stored_of_groups(&mut self) -> VecDeque<(StoredRef, bool)> {
        let mut taken = VecDeque::new();
        self.in_flight.retain(|entry| {
            let stored = entry.stored().filter(|stored| stored.is_shared);
            let stored = stored.filter(|stored| stored.qos == Qos::AtLeastOnce || !entry.may_have_left);
            taken.extend(stored.map(|stored| (stored, !entry.may_have_left)));
            stored.is_none()
        });
        taken
    }

    /// The session ends: what waited for its record is dropped.
    pub(super) fn discard_in_flight(&mut self, turn: &mut Turn<'_>) {
        for at in 0..self.in_flight.len() {
            self.count_out(at, Fate::TooLate, turn);
        }
        self.in_flight.clear();
        self.in_flight_bytes = 0;
    }

    /// Clients acknowledge in order, so the search ends at the front.
    fn in_flight_at(&self, id: PacketId) -> Option<usize> {
        if self.in_flight.front().is_some_and(|entry| entry.id == id) {
            return Some(0);
        }
        if !self.ids_used.contains(id) {
            return None;
        }
        self.in_flight.iter().position(|entry| entry.id == id)
    }

    fn forget(&mut self, at: usize, turn: &mut Turn<'_>) {
        self.count_out(at, Fate::Sent, turn);
        let entry = if at == 0 { self.in_flight.pop_front() } else { self.in_flight.remove(at) };
        let Some(entry) = entry else { return };
        self.ids_used.remove(entry.id);
        self.sent -= usize::from(at < self.sent);
        match entry.stage {
            Stage::Published(held) => {
                self.settle(held.origin(), turn);
                self.in_flight_bytes -= entry.weight_bytes;
                if let Held::Loaded(owed) = held {
                    turn.spare.give_back(owed.message);
                }
            }
            Stage::Released if self.is_durable() => {
                turn.journal.append(&Record::Completed { client_id: self.name(), id: entry.id });
            }
            Stage::Released => {}
        }
    }

    /// A message has arrived, or must not be sent any more though it may have: PUBREL is owed in its place.
    fn release(&mut self, at: usize, turn: &mut Turn<'_>) {
        self.count_out(at, Fate::Sent, turn);
        let entry = &mut self.in_flight[at];
        let Stage::Published(held) = std::mem::replace(&mut entry.stage, Stage::Released) else { return };
        self.in_flight_bytes -= entry.weight_bytes;
        if self.expiry_s > 0 {
            let (client_id, id) = (&self.facts.name, entry.id);
            entry.record = turn.journal.append(&Record::Arrived { client_id, origin: held.origin(), id });
        }
        if let Held::Loaded(owed) = held {
            turn.spare.give_back(owed.message);
        }
    }

    /// A message that was judged just now gets its identifier and is sent, or stands behind what is in flight until its
    /// record and that are. Given back as it was when there is no room for it, where nothing was written down.
    pub(super) fn begin_flight(&mut self, owed: Owed, turn: &mut Turn<'_>, fx: &mut impl Effects) -> Option<Owed> {
        let owed = self.keep_to_send(owed, turn);
        let id = self.take_id();
        let record = self.record_sent(&owed, id, turn);
        let weight_bytes = owed.message.weight_bytes();
        let stands_first = self.sent == self.in_flight.len() && record <= turn.journal.durable();
        let link = self.link.as_mut().filter(|_| stands_first);
        let is_next = link.is_some();
        if let Some(link) = link {
            let dup = Self::may_be_repeated(self.unsure_until, &owed);
            match write((link, &self.facts), &owed, delivery(&owed, id, dup), turn, fx) {
                Written::Sent => {}
                Written::NotNow if self.expiry_s == 0 => {
                    self.ids_used.remove(id);
                    return Some(owed);
                }
                // The client does not take it: it is finished, and its identifier was never used.
                Written::NotNow | Written::NotForClient => {
                    self.ids_used.remove(id);
                    turn.counters.sent += 1;
                    self.settle(owed.origin(), turn);
                    return None;
                }
            }
            turn.counters.sent += 1;
            self.sent += 1;
        } else {
            turn.counters.wait(weight_bytes as u64);
        }
        self.last_id = id.value();
        self.in_flight_bytes += weight_bytes;
        let (is_replay, stage) = (owed.is_replay, Stage::Published(Held::Loaded(owed)));
        self.in_flight.push_back(InFlight { id, stage, weight_bytes, may_have_left: is_next, record, is_replay });
        None
    }

    /// An entry counts as waiting no more, if it did.
    fn count_out(&mut self, at: usize, fate: Fate, turn: &mut Turn<'_>) {
        let entry = &mut self.in_flight[at];
        if matches!(entry.stage, Stage::Released) || std::mem::replace(&mut entry.may_have_left, true) {
            return;
        }
        let counters = &mut *turn.counters;
        counters.wait_no_more(entry.weight_bytes as u64);
        match fate {
            Fate::Sent | Fate::TooLarge => counters.sent += 1,
            Fate::TooLate | Fate::Denied if entry.is_replay => counters.routed -= 1,
            Fate::TooLate => counters.dropped += 1,
            Fate::Denied => counters.withheld += 1,
        }
    }

    /// Takes the next identifier not in use (MQTT-2.2.1-4). The window is smaller than the number of identifiers.
    fn take_id(&mut self) -> PacketId {
        let mut value = self.last_id;
        loop {
            value = value.wrapping_add(1);
            if let Some(id) = PacketId::new(value).filter(|&id| self.ids_used.insert(id)) {
                return id;
            }
        }
    }

    /// A QoS 2 message that is not kept for this session, such as one from the retained store, is so from here on:
    /// without a record of its identifier the next message under it would pass for a copy after a crash. That is
    /// written down though the journal be full: no more than the client's window, and gone when it has answered.
    fn keep_to_send(&self, owed: Owed, turn: &mut Turn<'_>) -> Owed {
        let may_be_kept = owed.message.publisher != Publisher::Broker && self.is_durable();
        let is_exact = owed.qos == Qos::ExactlyOnce && !owed.is_kept;
        if !is_exact || !may_be_kept || turn.journal.state() == JournalState::Failed {
            return owed;
        }
        let share = owed.share.as_deref().map(|share| (share.name(), share.filter()));
        let (client_id, ids) = (&**self.name(), owed.ids.as_slice());
        let target = DurableTarget { client_id, qos: owed.qos, retain: owed.retain, ids, share };
        let message = owed.message.kept_for(target, turn.shard, turn.journal);
        Owed { message: Arc::new(message), is_kept: true, ..owed }
    }

    /// Writes down under which identifier a message is sent. One of QoS 2 has to wait for that: after a crash it would
    /// go out under another identifier, and be taken for another message.
    fn record_sent(&self, owed: &Owed, id: PacketId, turn: &mut Turn<'_>) -> Position {
        let Some(origin) = owed.origin().filter(|_| self.is_durable()) else { return Position::default() };
        let position = turn.journal.append(&Record::Sent { client_id: self.name(), origin, id });
        if owed.qos == Qos::ExactlyOnce { position } else { Position::default() }
    }

    /// Whether a message of this weight may be sent beside those in flight: by the number the client takes
    /// (MQTT-3.3.4-9) and by our own bound in bytes, above which a message has to be alone.
    pub(super) fn window_takes(&self, weight_bytes: usize, limits: &Limits) -> bool {
        let window = self.link.as_ref().map_or(0, |link| link.window);
        let bytes = self.in_flight_bytes.saturating_add(weight_bytes);
        self.in_flight.len() < window && (self.in_flight_bytes == 0 || bytes <= limits.inflight_bytes_max)
    }

    /// The record that the next entry to be sent waits for, if there is one to be sent.
    pub(crate) fn next_record(&self) -> Option<Position> {
        self.in_flight.get(self.sent).map(|entry| entry.record)
    }

    /// Whether what is in flight waits for the client or the transport, so that nothing new may go behind it.
    pub(super) fn is_held_up(&self, turn: &Turn<'_>) -> bool {
        self.next_record().is_some_and(|record| record <= turn.journal.durable())
    }

    /// Sends what is in flight and was not sent on this connection: what an earlier one left unfinished, in the first
    /// order and with the first identifiers (MQTT-4.4.0-1), then what waited for its record. Tells whether something
    /// new may go behind it.
    pub(super) fn send_in_flight(&mut self, turn: &mut Turn<'_>, fx: &mut impl Effects) -> bool {
        while self.is_held_up(turn) {
            let window = self.link.as_ref().map_or(0, |link| link.window);
            let is_stored = self.in_flight.get(self.sent).is_some_and(|entry| entry.stored().is_some());
            if self.sent >= window || is_stored || !self.has_room(turn, fx) {
                return false;
            }
            self.send_next(turn, fx);
        }
        true
    }

    fn send_next(&mut self, turn: &mut Turn<'_>, fx: &mut impl Effects) {
        match self.send_entry(self.sent, turn, fx) {
            Fate::Sent => {
                self.count_out(self.sent, Fate::Sent, turn);
                self.sent += 1;
            }
            fate => self.give_up(self.sent, fate, turn),
        }
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
                *held = Held::Loaded(Owed { qos: held.qos().min(owed.qos), ..owed });
            }
            _ => {
                self.give_up(at, Fate::TooLate, turn);
                self.miss(fx);
            }
        }
    }

    /// Ends the flow of a message that must not be sent any more. The client may have got it on an earlier connection,
    /// and then holds the identifier of QoS 2 until PUBREL (MQTT-4.3.3-10): without one it would take the next message
    /// under this identifier for a copy.
    fn give_up(&mut self, at: usize, fate: Fate, turn: &mut Turn<'_>) {
        turn.counters.denied += u64::from(matches!(fate, Fate::Denied));
        let entry = &self.in_flight[at];
        if !entry.may_have_left && at + 1 == self.in_flight.len() {
            self.last_id = entry.id.value() - 1;
        }
        match &entry.stage {
            Stage::Published(held) if held.qos() == Qos::ExactlyOnce && entry.may_have_left => self.release(at, turn),
            _ => {
                self.count_out(at, fate, turn);
                self.forget(at, turn);
            }
        }
    }

    /// Sends one entry, or tells why it must not be sent any more.
    fn send_entry(&mut self, at: usize, turn: &mut Turn<'_>, fx: &mut impl Effects) -> Fate {
        let InFlight { id, stage, may_have_left, .. } = &mut self.in_flight[at];
        let Some(link) = &mut self.link else { return Fate::TooLarge };
        let owed = match stage {
            Stage::Published(Held::Loaded(owed)) => owed,
            // Looked for before: it is read back first.
            Stage::Published(Held::Stored(_)) => return Fate::Sent,
            Stage::Released => {
                link.acknowledge(AckKind::PubRel, *id, turn.counters, fx);
                return Fate::Sent;
            }
        };
        if !*may_have_left && owed.message.is_too_late(turn.now) {
            return Fate::TooLate;
        }
        if !judge(&self.facts, owed, turn) {
            return Fate::Denied;
        }
        let dup = *may_have_left || Self::may_be_repeated(self.unsure_until, owed);
        match write((link, &self.facts), owed, delivery(owed, *id, dup), turn, fx) {
            Written::Sent => Fate::Sent,
            Written::NotNow | Written::NotForClient => Fate::TooLarge,
        }
    }
}

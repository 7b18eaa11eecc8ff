//! What a session that outlived the last run of the node owes its client.
//!
//! Called by `handle/restore`. Holds references only: the messages are read back when the client comes.

use motte_mqtt::Qos;

use super::Session;
use super::deliver::Turn;
use super::flight::InFlight;
use super::queue::Owed;
use crate::restore::{RestoredFlight, StoredRef};
use crate::shard::Millis;

impl Session {
    /// Takes back what was sent and not finished, and what waits. What was accepted before the connection `left` may
    /// have been sent without a record of it: where the connection ended with the node, be it runs ago.
    pub(crate) fn restore_debts(
        &mut self,
        (in_flight, queue): (Vec<RestoredFlight>, Vec<StoredRef>),
        left: Millis,
        turn: &mut Turn<'_>,
    ) {
        for flight in in_flight {
            self.ids_used.insert(flight.id);
            // The next message gets the identifier behind the last one.
            self.last_id = flight.id.value();
            self.in_flight_bytes += flight.message.map_or(0, |stored| stored.weight_bytes as usize);
            self.in_flight.push_back(InFlight::restored(flight));
        }
        for stored in queue {
            self.is_unsure_of_groups |= stored.is_shared;
            turn.counters.routed += 1;
            turn.counters.wait(stored.weight_bytes.into());
            self.queue.push_stored(&stored, turn.limits);
        }
        // The clock of a run begins later than that of the one before ended.
        self.unsure_until = Some(Millis(left.0.saturating_sub(1)));
    }

    /// Whether a message that is sent for the first time now may have been sent by an earlier run, which did not get to
    /// write that down: at QoS 1 nothing waits for that record.
    pub(super) fn may_be_repeated(unsure_until: Option<Millis>, owed: &Owed) -> bool {
        let is_old = unsure_until.is_some_and(|at| owed.message.accepted <= at);
        is_old && owed.is_kept && owed.qos == Qos::AtLeastOnce
    }
}

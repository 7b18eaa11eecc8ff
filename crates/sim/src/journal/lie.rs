//! A journal that does not give back what it was given, for the tests that show that the checkers see it.
//!
//! Called by the world before a start, with the fault of the run.

use motte_broker::Origin;
use motte_broker::mqtt::{PacketId, Qos};

use super::Kept;
use super::kept::Flight;
use crate::fault::Fault;

impl Kept {
    /// Puts the fault in; tells whether there was an occasion.
    pub(crate) fn lie(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::LoseRecord => self.lose_one(),
            Fault::RestoreArrived => self.send_arrived_again(),
            Fault::RestoreOldRetained => self.go_back_to_old_retained(),
            Fault::RestoreWill => self.restore_will(),
            Fault::DropWill => {
                let mut wills = self.sessions.values_mut().map(|session| &mut session.will);
                wills.find_map(Option::take).is_some()
            }
            _ => false,
        }
    }

    fn lose_one(&mut self) -> bool {
        let messages = &self.messages;
        let stays = |at: Origin| messages.get(&at).is_some_and(|message| message.stored.expires.is_none());
        let lost = self.sessions.values_mut().filter_map(|session| {
            let at = session.queue.iter().position(|debt| stays(debt.origin) && debt.aim.share.is_none());
            at.map(|at| session.queue.remove(at))
        });
        lost.count() > 0
    }

    fn send_arrived_again(&mut self) -> bool {
        let is_direct = |debt: &super::kept::Debt| debt.aim.qos == Qos::ExactlyOnce && debt.aim.share.is_none();
        let found = self.past.arrived.iter().rev().find(|(client, debt)| {
            is_direct(debt) && self.sessions.contains_key(client) && self.messages.contains_key(&debt.origin)
        });
        let Some((client, debt)) = found.cloned() else { return false };
        let Some(session) = self.sessions.get_mut(&client) else { return false };
        let id = PacketId::new(999).expect("not zero");
        session.in_flight.push(Flight { id, debt: Some(debt) });
        true
    }

    fn go_back_to_old_retained(&mut self) -> bool {
        let messages = &self.messages;
        let stays = |at: Origin| messages.get(&at).is_some_and(|message| message.stored.expires.is_none());
        let mut changed = 0;
        for (topic, old) in &self.past.retained {
            let Some((current, _)) = self.retained.get_mut(topic) else { continue };
            // Another one that stands as long, so that as many are retained as should be.
            if current.is_some_and(|current| current != *old && stays(current)) && stays(*old) {
                *current = Some(*old);
                changed += 1;
            }
        }
        changed > 0
    }

    fn restore_will(&mut self) -> bool {
        let past = &self.past.wills;
        let found = self.sessions.iter_mut().find_map(|(client, session)| {
            let is_free = session.will.is_none() && session.left_at.is_some();
            Some((past.get(client)?, session)).filter(|_| is_free)
        });
        let Some((will, session)) = found else { return false };
        session.will = Some(will.clone());
        true
    }
}

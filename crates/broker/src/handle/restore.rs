//! Taking sessions back that outlived the last run of the node.
//!
//! Called by the shard before anybody connects. Ends nothing and publishes nothing by itself: what is due is left to
//! the timers, so that a will finds the sessions it is for, on whichever shard they are restored.

use motte_mqtt::SubscriptionFilter;

use crate::effects::Effects;
use crate::journal::{Journal, Record};
use crate::mount::MountPoint;
use crate::restore::RestoredSession;
use crate::session::Subscribed;
use crate::shard::{Millis, Shard};
use crate::timer::TimerKind;

impl<J: Journal> Shard<J> {
    pub(crate) fn take_back(&mut self, restored: RestoredSession, now: Millis, fx: &mut impl Effects) {
        // Whoever has more sessions than may be by now keeps those that there are.
        self.core.shared.owners.enter_anyhow(&restored.owner);
        let slot = self.open(restored.owner, MountPoint::restored(&restored.mount_point));
        let session = &mut self.sessions[slot];
        session.set_expiry(restored.expiry_s, &self.core.shared.fullness);
        session.is_recorded = true;
        session.will = restored.will;
        for id in restored.received {
            session.received.insert(id);
        }
        let (left, was_connected) = (restored.left_at.unwrap_or(now), restored.left_at.is_none());
        let debts = (restored.in_flight, restored.queue);
        session.restore_debts(debts, left, &mut self.core.turn(&mut self.journal, now));
        for (text, options, id) in restored.subscriptions {
            if let Ok(filter) = SubscriptionFilter::parse(&text, usize::MAX) {
                self.enter_subscription(slot, &text, &filter, Subscribed { options, id });
            }
        }
        self.sessions[slot].tell_room(&self.core.turn(&mut self.journal, now), fx);
        if was_connected {
            let client_id = self.sessions[slot].name();
            self.journal.append(&Record::SessionLeft { client_id, at: now });
        }
        self.arm(slot, left);
        // Rights may have been taken away while the node was down.
        self.judge_again(slot, now, fx);
    }

    /// Arms what a session waits for whose connection ended at `left`, be it due already.
    fn arm(&mut self, slot: usize, left: Millis) {
        let session = &mut self.sessions[slot];
        let expiry_s = session.expiry_s;
        let ends = (expiry_s != u32::MAX).then(|| left.plus_s(expiry_s));
        let will = session.will.as_ref().map(|will| left.plus_s(will.delay_s(expiry_s)));
        let timers = &mut self.core.timers;
        timers.set(&mut session.armed, session.key, TimerKind::SessionExpiry, ends);
        timers.set(&mut session.armed, session.key, TimerKind::WillDelay, will);
    }
}

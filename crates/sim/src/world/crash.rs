//! The broker dies and comes again: what is lost, what the clients see of it, and the start out of what was kept.
//!
//! Called between two steps. Shards, connections, letters under way and everything that was not durable are gone at one
//! moment; the clients and the books live on.

use std::sync::Arc;

use motte_broker::tenant::session_name;
use motte_broker::{Millis, Restored, RestoredSession, Shared};

use super::turn::Turn;
use super::{Sink, World, make_shards};
use crate::history::{Violation, What};
use crate::journal::Lost;

impl World {
    /// Dies, is away for a while, and starts again.
    pub(super) fn crash(&mut self) -> Result<(), Violation> {
        let died = self.now;
        // The commit under way has landed, or it has not.
        let landed = if self.fate.percent(50) { self.fate.below(self.keeper.waiting() + 1) } else { 0 };
        let away_ms = self.fate.pick(&[1, 1, 50, 900, 7_000, 30_000, 700_000]);
        let back = self.keeper.crash(landed, self.now.plus_ms(away_ms), &mut self.fate);
        let Lost { before, restored, now } = back.map_err(Violation::protocol)?;
        self.ledger.now = self.now;
        self.ledger.on_crash(before.map(|before| *before));
        self.lines.clear();
        self.parcels.clear();
        self.unaware.clear();
        self.clients.iter_mut().for_each(crate::client::Client::on_gone);
        self.now = now;
        self.start(died, restored)
    }

    /// Sessions that the journal has are in the books; what others left goes by names that no client has.
    fn check_restored(&self, restored: &[RestoredSession]) -> Result<(), Violation> {
        for session in restored {
            let client = self.client_named(&session.owner.client_id.0);
            if let Some(client) = client.filter(|client| !self.ledger.sessions.contains_key(client)) {
                return Err(Violation::protocol("a session that ended comes back after a crash").of_client(client));
            }
        }
        Ok(())
    }

    fn start(&mut self, died: Millis, stored: Restored) -> Result<(), Violation> {
        if self.plan.crashes.moves_home {
            self.plan.shards = self.fate.pick(&[1, 2, 3, 4]);
        }
        self.shared = Shared::new(self.plan.shards, Arc::clone(&self.policy));
        let count = usize::from(self.plan.shards);
        if self.untold.pop_first().is_some() {
            self.untold = (0..count).collect();
        }
        if self.fault.take_if(|fault| self.keeper.kept.lie(*fault)).is_some() {
            self.ledger.note(What::Lied);
        }
        let restored = if self.keeper.has_store() { stored } else { self.keeper.kept.restored() };
        self.shared.restore(restored.retained, restored.removals, self.now);
        self.shards = make_shards(&self.plan, &self.shared, &mut self.keeper);
        self.sinks = (0..count).map(|_| Sink::default()).collect();
        let homes: Vec<usize> = (0..self.clients.len()).map(|client| self.shard_of(client)).collect();
        self.ledger.now = self.now;
        self.ledger.on_restart(died, self.plan.shards, |client| homes[client]);
        self.check_restored(&restored.sessions)?;
        let mut sessions: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
        for session in restored.sessions {
            let home = self.shared.home(&session_name(&session.owner));
            sessions[usize::from(home.0)].push(session);
        }
        for (shard, sessions) in sessions.into_iter().enumerate() {
            for session in sessions {
                let client = self.client_named(&session.owner.client_id.0);
                let turn = Turn { shard, judges: true, ..Turn::default() };
                self.call(turn, |shard, now, sink| shard.restore(session, now, sink))?;
                client.into_iter().for_each(|client| self.ledger.on_left_said(client));
            }
        }
        self.run_timers(self.now)?;
        self.check_overdue(self.now)
    }
}

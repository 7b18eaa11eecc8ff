//! I8: for each shard, deliveries owed = written + dropped + withheld exactly, with nothing queued at rest; what was
//! owed and written is counted here and not taken from the broker.
//!
//! What groups are owed is known for all shards together. Only bounds are known of retained messages that were withheld
//! or too large when they were replayed, and of copies that might as well be replays.

use motte_broker::Counters;

use crate::history::{GroupOwed, History, Invariant, SessionNo, Tally, Violation};
use crate::rights::Rights;

pub(super) fn check(history: &History) -> Result<(), Violation> {
    if history.has_crashed {
        return check_at_rest(history);
    }
    for (shard, (tally, counters)) in history.tallies.iter().zip(&history.counters).enumerate() {
        check_shard(history, tally, counters)
            .map_err(|what| Violation::new(Invariant::I8, format!("shard {shard}: {what}; {tally:?} {counters:?}")))?;
    }
    let sum = |of: fn(&Tally) -> u64| history.tallies.iter().map(of).sum::<u64>();
    let routed: u64 = history.counters.iter().map(|counters| counters.routed).sum();
    let (own, maybe) = (sum(|tally| tally.owed + tally.replayed), sum(|tally| tally.replayed_maybe));
    let due = own + history.groups.len() as u64;
    let (least, most) = (due - maybe.min(due), due + maybe + regiven(history));
    if routed < least || (is_bounded(history) && routed > most) {
        let what = format!("all shards: {routed} routed where {least} to {most} were owed: {:?}", history.tallies);
        return Err(Violation::new(Invariant::I8, what));
    }
    Ok(())
}

/// Counters begin anew after a crash, and what is restored counts among them: they have to add up.
fn check_at_rest(history: &History) -> Result<(), Violation> {
    let adds_up = |c: &Counters| c.queued == 0 && c.routed == c.sent + c.dropped + c.withheld;
    match history.counters.iter().find(|counters| !adds_up(counters)) {
        Some(counters) => Err(Violation::new(Invariant::I8, format!("counts do not add up at rest: {counters:?}"))),
        None => Ok(()),
    }
}

fn check_shard(history: &History, tally: &Tally, counters: &Counters) -> Result<(), String> {
    if counters.queued != 0 {
        return Err(format!("{} messages are queued at rest", counters.queued));
    }
    if counters.routed != counters.sent + counters.dropped + counters.withheld {
        return Err("routed is not sent + dropped + withheld".into());
    }
    let most = tally.received + tally.received_maybe;
    if counters.received < tally.received || counters.received > most {
        return Err(format!("{} received where {} to {most} came", counters.received, tally.received));
    }
    if counters.sent < tally.wrote || (counters.sent > tally.wrote && !history.has_size_limits) {
        return Err(format!("{} sent where {} were written", counters.sent, tally.wrote));
    }
    let maybe = tally.replayed_maybe;
    let least = (tally.owed + tally.replayed).saturating_sub(maybe);
    let most = tally.owed + tally.replayed + maybe + history.groups.len() as u64 + regiven(history);
    if counters.routed < least || (is_bounded(history) && counters.routed > most) {
        return Err(format!("{} routed where {least} to {most} were owed", counters.routed));
    }
    Ok(())
}

/// Copies of groups that may have been owed once more: the session of a member ended before it acknowledged them. Which
/// of several members had a copy before the winner cannot be told from outside.
fn regiven(history: &History) -> u64 {
    let ended = |session: &SessionNo| history.sessions[*session].ended.is_some();
    let times = |group: &GroupOwed| {
        let winner = group.winner.map(|(session, _)| session).filter(|winner| !group.members.contains(winner));
        group.members.iter().chain(&winner).filter(|session| ended(session)).count() as u64
    };
    history.regiven + history.groups.iter().map(times).sum::<u64>()
}

/// Whether every replay can be seen: one may be dropped while it waits for its record.
fn is_bounded(history: &History) -> bool {
    let is_open = history.policies.iter().all(|rights| *rights == Rights::open());
    let has_replays = history.messages.iter().any(|message| message.retain);
    !has_replays || (is_open && !history.has_size_limits && !history.has_waits)
}

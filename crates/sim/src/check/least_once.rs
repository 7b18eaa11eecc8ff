//! I1: a message that was acknowledged at QoS 1 or 2 is given to each session that subscribed, may receive it and lives
//! to the end, unless it expired, found the queue full and was counted, was too large for the client, or a right was
//! taken away. A group owes it to one of its members.

use std::collections::BTreeSet;

use motte_broker::Millis;
use motte_broker::mqtt::Qos;

use crate::history::{History, Invariant, MessageNo, SessionBook, SessionNo, Violation, What};

/// Bytes a PUBLISH may have beside topic and payload.
const OVERHEAD_BYTES: usize = 40;

pub(super) fn check(history: &History) -> Result<(), Violation> {
    let mut given: BTreeSet<(MessageNo, SessionNo)> = BTreeSet::new();
    for fact in &history.facts {
        if let What::Given { session, copy } = &fact.what {
            given.extend(copy.message.map(|no| (no, *session)));
        }
    }
    for owed in &history.owed {
        let is_given = given.contains(&(owed.message, owed.session));
        if is_given || owed.maybe_dropped || owed.is_void || !is_due(history, owed.message, owed.qos) {
            continue;
        }
        if excuse(history, owed.message, owed.session, (owed.since, owed.expires)).is_none() {
            let what = format!("m{} was acknowledged and never given: {owed:?}", owed.message);
            let client = history.sessions[owed.session].client;
            return Err(Violation::new(Invariant::I1, what).of_message(Some(owed.message)).of_client(client));
        }
    }
    for group in &history.groups {
        let fits =
            |session: &SessionNo| history.sessions[*session].member_since(&group.filter, group.since).count() > 0;
        let is_given = given.range((group.message, 0)..(group.message + 1, 0)).any(|(_, session)| fits(session));
        let was_dropped = history.drops.last().is_some_and(|at| *at >= group.since);
        // Whoever joined later at QoS 0 may have been passed the copy, and then it may be lost.
        let at_most_once = |qos: Qos| qos == Qos::AtMostOnce;
        let is_loose = history.sessions.iter().any(|s| s.member_since(&group.filter, group.since).any(at_most_once));
        // Or to be lost with the session of whoever joined later and did not outlive the broker.
        let died = |s: &SessionBook| s.ended.is_some() && s.member_since(&group.filter, group.since).count() > 0;
        let is_loose = is_loose || (history.has_crashed && history.sessions.iter().any(died));
        if is_given || was_dropped || is_loose || group.is_void || !is_due(history, group.message, group.qos_min) {
            continue;
        }
        let excuses =
            |member: &SessionNo| excuse(history, group.message, *member, (group.since, group.expires)).is_some();
        if !group.members.iter().any(excuses) {
            let what = format!("m{} was acknowledged and no member was given it: {group:?}", group.message);
            return Err(Violation::new(Invariant::I1, what).of_message(Some(group.message)));
        }
    }
    Ok(())
}

/// Whether a message has to arrive: an empty one cannot be told from others.
fn is_due(history: &History, no: MessageNo, qos: Qos) -> bool {
    let message = &history.messages[no];
    qos > Qos::AtMostOnce && message.is_acknowledged && !message.payload.is_empty()
}

/// Why a message need not have arrived.
fn excuse(
    history: &History,
    no: MessageNo,
    session: SessionNo,
    (since, expires): (usize, Option<Millis>),
) -> Option<&'static str> {
    let (message, book) = (&history.messages[no], &history.sessions[session]);
    if book.ended.is_some() {
        return Some("the session ended");
    }
    if expires.is_some_and(|at| at <= history.end) {
        return Some("it expired");
    }
    let size = message.topic.len() + message.payload.len() + OVERHEAD_BYTES;
    if size > usize::try_from(book.packet_size_min).unwrap_or(usize::MAX) {
        return Some("too large");
    }
    let later = &history.policies[history.epoch_at(since)..];
    let is_denied = |rights: &crate::rights::Rights| {
        !rights.may_receive(book.user, message.topic) || !rights.may_publish(message.user, message.topic)
    };
    later.iter().any(is_denied).then_some("a right was taken away")
}

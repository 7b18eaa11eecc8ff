//! I2: the application of a session is given a QoS 2 message once for each subscription of its own or of a group it is
//! in that the message matched (MQTT-4.3.3-10), retained copies aside; and of a group one member alone is given it.

use std::collections::BTreeMap;

use motte_broker::mqtt::Qos;

use crate::history::{GroupOwed, History, Invariant, MessageNo, Owed, SessionNo, Violation, What};

pub(super) fn check(history: &History) -> Result<(), Violation> {
    let mut given: BTreeMap<(MessageNo, SessionNo), usize> = BTreeMap::new();
    for fact in &history.facts {
        if let What::Given { session, copy } = &fact.what
            && let Some(no) = copy.message.filter(|_| copy.qos == Qos::ExactlyOnce && !copy.retain)
        {
            *given.entry((no, *session)).or_default() += 1;
        }
    }
    let mut own: BTreeMap<(MessageNo, SessionNo), usize> = BTreeMap::new();
    for owed in history.owed.iter().filter(|owed| owed.qos == Qos::ExactlyOnce && is_licence(history, owed)) {
        *own.entry((owed.message, owed.session)).or_default() += 1;
    }
    // What sessions were given beyond their own subscriptions comes from groups: one copy each.
    let mut shared: BTreeMap<MessageNo, usize> = BTreeMap::new();
    for ((no, session), count) in &given {
        let own = own.get(&(*no, *session)).copied().unwrap_or(0);
        let extra = count.saturating_sub(own);
        let book = &history.sessions[*session];
        let is_firm = |group: &&GroupOwed| !group.is_void || book.ended.is_some();
        let groups = history.groups.iter().filter(|group| extra > 0 && group.message == *no).filter(is_firm);
        let joined = groups.filter(|group| book.member_since(&group.filter, group.since).count() > 0).count();
        *shared.entry(*no).or_default() += extra;
        if extra > joined {
            let what = format!("{count} copies at QoS 2 of a message owed {} times", own + joined);
            return Err(Violation::new(Invariant::I2, what).of_message(Some(*no)).of_client(book.client));
        }
    }
    for (no, extra) in shared.into_iter().filter(|(_, extra)| *extra > 1) {
        let groups = history.groups.iter().filter(|group| group.message == no).count();
        if extra > groups {
            let what = format!("{extra} copies at QoS 2 went to the members of {groups} groups");
            return Err(Violation::new(Invariant::I2, what).of_message(Some(no)));
        }
    }
    Ok(())
}

/// Whether a debt explains a copy. One that the broker forgot in a crash does so where the session was lost as well: a
/// session that lives has a QoS 2 message written only once the journal knows of it.
fn is_licence(history: &History, owed: &Owed) -> bool {
    !owed.is_void || history.sessions[owed.session].ended.is_some()
}

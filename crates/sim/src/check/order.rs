//! I3: of one publisher, topic and QoS a session is given the first copies in the order in which they were accepted
//! (MQTT-4.6.0-5, MQTT-4.6.0-6). Copies that are sent again keep the place of the first; what the publisher itself sent
//! twice at QoS 1 has two places; retained copies have none, and neither have those of a group, which may be passed on
//! from one member to another.

use std::collections::{BTreeMap, BTreeSet};

use motte_broker::mqtt::Qos;

use crate::history::{Delivered, History, Invariant, MessageNo, SessionNo, Violation, What};

/// Session, publisher, topic, published QoS, delivered QoS.
type Stream = (SessionNo, usize, &'static str, Qos, Qos);

pub(super) fn check(history: &History) -> Result<(), Violation> {
    let mut last: BTreeMap<Stream, (usize, MessageNo)> = BTreeMap::new();
    let mut seen: BTreeSet<(SessionNo, MessageNo)> = BTreeSet::new();
    for fact in &history.facts {
        let What::Given { session, copy } = &fact.what else { continue };
        let Some(no) = first_copy(*session, copy, &mut seen) else { continue };
        if history.groups.iter().any(|group| group.message == no) {
            continue;
        }
        let message = &history.messages[no];
        let stream = (*session, message.publisher, message.topic, message.qos, copy.qos);
        let after = last.get(&stream).copied();
        let place = message.accepted.iter().copied().find(|at| after.is_none_or(|(last, _)| *at > last));
        let Some(place) = place else {
            let what = format!("m{no} came after m{}", after.map_or(0, |(_, no)| no));
            let client = history.sessions[*session].client;
            return Err(Violation::new(Invariant::I3, what).of_client(client));
        };
        last.insert(stream, (place, no));
    }
    Ok(())
}

fn first_copy(session: SessionNo, copy: &Delivered, seen: &mut BTreeSet<(SessionNo, MessageNo)>) -> Option<MessageNo> {
    copy.message.filter(|no| !copy.retain && seen.insert((session, *no)))
}

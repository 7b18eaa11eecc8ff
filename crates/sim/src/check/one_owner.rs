//! I4: a client identifier has one live connection. A second one of the same user ends the first, which is told 0x8E if
//! it speaks 5.0 (MQTT-3.1.4-3); the refusal of another user changes nothing.

use std::collections::BTreeMap;

use motte_broker::LinkId;
use motte_broker::audit::CloseCause;

use crate::history::{History, Invariant, Violation, What};

pub(super) fn check(history: &History) -> Result<(), Violation> {
    let mut live: BTreeMap<usize, LinkId> = BTreeMap::new();
    for fact in &history.facts {
        match &fact.what {
            What::Opened { client, link, .. } => {
                if let Some(other) = live.insert(*client, *link) {
                    let what = format!("{link:?} was opened while {other:?} lived");
                    return Err(Violation::new(Invariant::I4, what).of_client(*client));
                }
            }
            What::Closed { client, link, cause, told, can_tell } => {
                if live.remove(client) != Some(*link) {
                    let what = format!("{link:?} ended and was not the live one");
                    return Err(Violation::new(Invariant::I4, what).of_client(*client));
                }
                if *cause == CloseCause::TakenOver && *can_tell && *told != Some(0x8e) {
                    let what = format!("{link:?} was taken over and told {told:02x?}");
                    return Err(Violation::new(Invariant::I4, what).of_client(*client));
                }
            }
            What::Crashed { .. } => live.clear(),
            _ => {}
        }
    }
    Ok(())
}

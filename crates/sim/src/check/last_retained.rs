//! I6: whoever subscribes in the end is given, for each topic, the retained message that was accepted last, unless it
//! was cleared, expired, or its publisher lost the right to it (MQTT-3.3.1-5, MQTT-3.3.1-6).

use crate::history::{History, Invariant, Violation};

pub(super) fn check(history: &History) -> Result<(), Violation> {
    for (topic, no) in &history.retained_due {
        let found = history.retained_found.get(topic);
        if found != Some(&vec![Some(*no)]) {
            let what = format!("m{no} is the last retained message of {topic}, and this was found: {found:?}");
            return Err(Violation::new(Invariant::I6, what).of_message(Some(*no)));
        }
    }
    let strange = history.retained_found.iter().find(|(topic, _)| !history.retained_due.contains_key(*topic));
    match strange {
        Some((topic, found)) => {
            let what = format!("nothing is retained of {topic}, and this was found: {found:?}");
            Err(Violation::new(Invariant::I6, what).of_message(found.first().copied().flatten()))
        }
        None => Ok(()),
    }
}

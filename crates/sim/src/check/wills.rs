//! I7: a will is published once, or not at all when it was withdrawn or its owner may not publish it (MQTT-3.1.2-10,
//! MQTT-3.1.3-9). What the broker did between its last durable record and a crash did not happen: it is done again.
//!
//! A session does not end before its will is out; one that ended with the broker itself takes its will with it.

use std::collections::BTreeMap;

use crate::history::{Fact, History, Invariant, MessageNo, SessionNo, Violation, What};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waits(SessionNo),
    Published,
    Withdrawn,
}

pub(super) fn check(history: &History) -> Result<(), Violation> {
    let mut wills: BTreeMap<MessageNo, State> = BTreeMap::new();
    for fact in what_stayed(history) {
        let (no, next) = match &fact.what {
            What::WillSet { message, session } => (*message, State::Waits(*session)),
            What::Accepted { message } | What::Denied { message } => (*message, State::Published),
            What::WillWithdrawn { message } => (*message, State::Withdrawn),
            What::SessionEnded { session } => {
                let forgotten = wills.iter().find(|(_, state)| **state == State::Waits(*session));
                match forgotten {
                    Some((no, _)) => return Err(violation(history, *no, "its session ended without it")),
                    None => continue,
                }
            }
            _ => continue,
        };
        match (wills.get(&no), next) {
            (None, State::Waits(_)) | (Some(State::Waits(_)), _) => drop(wills.insert(no, next)),
            (Some(State::Published), State::Published) => return Err(violation(history, no, "it was published twice")),
            (Some(State::Withdrawn), State::Published) => {
                return Err(violation(history, no, "it was published after it was withdrawn"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The facts without those that a crash undid.
fn what_stayed(history: &History) -> Vec<&Fact> {
    let mut stayed: Vec<(usize, &Fact)> = Vec::new();
    for (at, fact) in history.facts.iter().enumerate() {
        if let What::Crashed { from } = fact.what {
            while stayed.pop_if(|(at, _)| *at >= from).is_some() {}
        }
        stayed.push((at, fact));
    }
    stayed.into_iter().map(|(_, fact)| fact).collect()
}

fn violation(history: &History, no: MessageNo, what: &str) -> Violation {
    let publisher = history.messages[no].publisher;
    Violation::new(Invariant::I7, format!("will m{no}: {what}")).of_message(Some(no)).of_client(publisher)
}

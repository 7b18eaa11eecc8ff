//! I5: nothing is written to a client that may not receive it, and nothing of a publisher that may no longer publish
//! it, by the rights in force at that moment. A shard asks for them at each call, so there is no time of grace.

use crate::history::{History, Invariant, Violation, What};

pub(super) fn check(history: &History) -> Result<(), Violation> {
    let mut rights = &history.policies[0];
    for fact in &history.facts {
        match &fact.what {
            What::Policy { epoch } => rights = &history.policies[*epoch],
            What::Wrote { session, copy, .. } => {
                let book = &history.sessions[*session];
                let publisher = copy.message.map(|no| history.messages[no].user);
                let may_publish = publisher.is_none_or(|user| rights.may_publish(user, &copy.topic));
                if may_publish && rights.may_receive(book.user, &copy.topic) {
                    continue;
                }
                let whose = if may_publish { "the receiver has" } else { "the publisher has" };
                let what = format!("written although {whose} no right to it now: {copy:?}");
                return Err(Violation::new(Invariant::I5, what).of_message(copy.message).of_client(book.client));
            }
            _ => {}
        }
    }
    Ok(())
}

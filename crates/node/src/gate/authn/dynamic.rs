//! The clients of dynamic security as a source of identities.
//!
//! Asked by the chain. Hashes are slow on purpose and computed at the desk.

use std::sync::Arc;
use std::time::Duration;

use motte_policy::DynamicSecurity;
use motte_policy::dynamic::Check;
use zeroize::Zeroizing;

use super::password::GRACE;
use super::{Answer, Question, Source, Verdict};
use crate::gate::Refusal;
use crate::settings::Settings;

/// The source.
#[derive(Debug)]
pub(super) struct Clients;

impl Source for Clients {
    fn name(&self) -> String {
        String::from("dynamic")
    }

    fn timeout(&self, settings: &Settings) -> Duration {
        settings.gate.hash_deadline + GRACE
    }

    fn judges_names(&self) -> bool {
        true
    }

    fn ask<'a>(&'a self, question: &'a Question<'a>) -> Answer<'a> {
        Box::pin(ask(question))
    }
}

async fn ask(question: &Question<'_>) -> Verdict {
    let clients = question.snapshot.dynamic.as_ref();
    let known = clients.zip(question.connect.user_name).filter(|(clients, user)| clients.knows(user));
    let Some((clients, user)) = known else { return Verdict::NotMine };
    let Some(password) = question.connect.password else { return Verdict::Refused(question.wrong()) };
    match check(question, clients, (user, password)).await {
        Ok(Check::Accepted(who)) => Verdict::Accepted(who),
        Ok(Check::Refused) => Verdict::Refused(question.wrong()),
        Ok(Check::Unknown) => Verdict::NotMine,
        Err(refusal) => Verdict::Unavailable(refusal),
    }
}

/// Checks a password, of somebody who is no client as well (K29). The client identifier is judged when everything is
/// known, as it is for those who prove their name by other means.
pub(super) async fn check(
    question: &Question<'_>,
    clients: &Arc<DynamicSecurity>,
    (user, password): (&str, &[u8]),
) -> Result<Check, Refusal> {
    let (clients, user, password) = (Arc::clone(clients), user.to_owned(), Zeroizing::new(password.to_vec()));
    let client_id = question.connect.client_id.to_owned();
    question.desk.hashes.compute(question, move || clients.verify(&user, &client_id, &password)).await
}

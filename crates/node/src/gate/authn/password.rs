//! The password file as a source of identities: argon2id, and what Mosquitto writes.
//!
//! Asked by the chain. Hashes are slow on purpose and computed at the desk.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::{Answer, Question, Source, Verdict};
use crate::gate::Refusal;
use crate::settings::Settings;

/// Time for the refusal of a check that waited too long to be told as what it is.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// The source.
#[derive(Debug)]
pub(super) struct Passwords;

impl Source for Passwords {
    fn name(&self) -> String {
        String::from("password")
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
    let file = question.snapshot.passwords.as_ref();
    let known = file.zip(question.connect.user_name).filter(|(file, user)| file.contains(user));
    let Some((file, user)) = known else { return Verdict::NotMine };
    let Some(password) = question.connect.password else { return Verdict::Refused(question.wrong()) };
    let (file, user, password) = (Arc::clone(file), user.to_owned(), Zeroizing::new(password.to_vec()));
    match question.desk.hashes.compute(question, move || file.verify(&user, &password)).await {
        Ok(Some(who)) => Verdict::Accepted(who),
        Ok(None) => Verdict::Refused(question.wrong()),
        Err(refusal) => Verdict::Unavailable(refusal),
    }
}

/// What a wrong password would have cost, for a user nobody knows.
pub(super) async fn work_for_nobody(question: &Question<'_>, user: &str, password: &[u8]) -> Result<(), Refusal> {
    if let (None, Some(clients)) = (&question.snapshot.passwords, &question.snapshot.dynamic) {
        return super::dynamic::check(question, clients, (user, password)).await.map(drop);
    }
    let file = question.snapshot.passwords.clone().unwrap_or_default();
    let (user, password) = (user.to_owned(), Zeroizing::new(password.to_vec()));
    question.desk.hashes.compute(question, move || drop(file.verify(&user, &password))).await
}

//! The password file as a source of identities: argon2id, and what Mosquitto writes.
//!
//! Asked by the chain. Hashes are slow on purpose and computed at the desk; a password that was right a moment ago is
//! not hashed again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use motte_policy::password::moment;
use motte_policy::{Login, PasswordFile};
use zeroize::Zeroizing;

use super::proofs::Keeping;
use super::{Answer, Question, Source, Verdict};
use crate::clock::unix_now;
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

    fn knows_already(&self, question: &Question<'_>) -> bool {
        recall(question).is_some()
    }

    fn ask<'a>(&'a self, question: &'a Question<'a>) -> Answer<'a> {
        Box::pin(ask(question))
    }
}

async fn ask(question: &Question<'_>) -> Verdict {
    let Some((file, user)) = known(question) else { return Verdict::NotMine };
    let Some(password) = question.connect.password else { return Verdict::Refused(question.wrong()) };
    if let Some(login) = recall(question) {
        question.desk.tallies.recalled();
        return accepted(question, login);
    }
    let (file, name, word) = (Arc::clone(file), user.to_owned(), Zeroizing::new(password.to_vec()));
    let checked = question.desk.hashes.compute(question, move || file.check(&name, &word, unix_now())).await;
    let checked = match checked {
        Ok(checked) => checked,
        Err(refusal) => return Verdict::Unavailable(refusal),
    };
    question.desk.tallies.hashed(checked.work.len());
    match checked.login {
        Some(login) => {
            let keeping = keeping(question);
            question.desk.proofs.remember((user, password), login.fingerprint, keeping, Instant::now());
            accepted(question, login)
        }
        None => Verdict::Refused(question.wrong()),
    }
}

/// Lets somebody in, and tells which of several secrets it was.
fn accepted(question: &Question<'_>, login: Login) -> Verdict {
    let label = login.term.label.as_str();
    let expires = login.term.expires.map(moment::format);
    if expires.is_some() || label != "main" {
        question.desk.report_secret(question, (label, expires));
    }
    Verdict::Accepted(login.who)
}

/// The file and the user name, where the file knows it.
fn known<'a>(question: &Question<'a>) -> Option<(&'a Arc<PasswordFile>, &'a str)> {
    let file = question.snapshot.passwords.as_ref();
    file.zip(question.connect.user_name).filter(|(file, user)| file.contains(user))
}

/// A login with what was right a moment ago, if it is still in the file.
fn recall(question: &Question<'_>) -> Option<Login> {
    let ((file, user), password) = known(question).zip(question.connect.password)?;
    let fingerprint = question.desk.proofs.recall(user, password, keeping(question), Instant::now())?;
    file.recall(user, fingerprint, unix_now())
}

fn keeping(question: &Question<'_>) -> Keeping {
    let limits = &question.snapshot.settings.gate;
    Keeping { most: limits.proofs_max, life: limits.proof_life }
}

/// What a wrong password would have cost, for a user nobody knows.
pub(super) async fn work_for_nobody(question: &Question<'_>, user: &str, password: &[u8]) -> Result<(), Refusal> {
    if let (None, Some(clients)) = (&question.snapshot.passwords, &question.snapshot.dynamic) {
        return super::dynamic::check(question, clients, (user, password)).await.map(drop);
    }
    let file = question.snapshot.passwords.clone().unwrap_or_default();
    let (user, password) = (user.to_owned(), Zeroizing::new(password.to_vec()));
    let work = move || file.check(&user, &password, unix_now()).work.len();
    let computed = question.desk.hashes.compute(question, work).await?;
    question.desk.tallies.hashed(computed);
    Ok(())
}

//! The certificate of the client, verified in the TLS handshake, as a source of identities.
//!
//! Asked by the chain. A certificate needs no password beside it unless the listener says so.

use std::time::Duration;

use motte_audit::RefusalReason;
use motte_mqtt::ReasonCode;
use motte_policy::{Authenticated, UserName};

use super::{Answer, Question, Source, Verdict};
use crate::gate::{Refusal, tls};
use crate::settings::Settings;

/// The source.
#[derive(Debug)]
pub(super) struct Certificates;

/// Whom the certificate of a client names.
#[derive(Clone, Debug)]
pub(in crate::gate) struct Certified(pub(in crate::gate) UserName);

impl Source for Certificates {
    fn name(&self) -> String {
        String::from("certificate")
    }

    fn timeout(&self, settings: &Settings) -> Duration {
        // It waits for nobody.
        settings.gate.admission_deadline
    }

    fn judges_names(&self) -> bool {
        false
    }

    fn ask<'a>(&'a self, question: &'a Question<'a>) -> Answer<'a> {
        Box::pin(std::future::ready(match certified(question) {
            Ok(Some(_)) if question.rules.certificate_and_password => Verdict::NotMine,
            Ok(Some(Certified(name))) => Verdict::Accepted(Authenticated::by_certificate(name)),
            Ok(None) => Verdict::NotMine,
            Err(refusal) => Verdict::Refused(refusal),
        }))
    }
}

/// The name in the client certificate, where such a name is an identity here; a user name beside it has to be the same.
pub(in crate::gate) fn certified(question: &Question<'_>) -> Result<Option<Certified>, Refusal> {
    let leaf = question.certificates.and_then(|chain| chain.first());
    let (Some(field), Some(leaf)) = (question.rules.identity_field(), leaf) else { return Ok(None) };
    let name = tls::identity(leaf, field)
        .ok_or_else(|| question.refused(RefusalReason::CertificateWithoutIdentity, ReasonCode::NotAuthorized))?;
    if question.connect.user_name.is_some_and(|user| user != &*name) {
        let detail = Some(String::from("the user name is not the name in the client certificate"));
        return Err(Refusal { detail, ..question.wrong() });
    }
    Ok(Some(Certified(UserName(name))))
}

//! The exchange of AUTH packets between CONNECT and CONNACK (MQTT 5.0 §4.12), with the one method that is offered.
//!
//! Called by the gate for a CONNECT with an authentication method, within the gate's deadline. Reads nothing but AUTH
//! and DISCONNECT, each bounded; computes no slow hash, that is the client's part.

use std::sync::Arc;

use motte_audit::RefusalReason;
use motte_mqtt::{Auth, Decoder, EncodeError, Encoder, Packet, ProtocolVersion, ReasonCode, Sender, UserProperties};
use motte_policy::scram::{Candidate, Exchange, METHOD, Proved, Reply, SEED_BYTES};
use motte_policy::{Authenticated, ScramError};

use super::backoff::Decision;
use super::{Certified, Question, Verdict, certified};
use crate::gate::visitor::Visitor;
use crate::gate::{Claim, Refusal};
use crate::settings::SourceName;

/// Longest AUTH packet: a message of the method and its frame.
const AUTH_BYTES_MAX: u32 = 8 * 1024;
/// Only 5.0 has AUTH.
const V5: ProtocolVersion = ProtocolVersion::V5;

/// The name of this way in, beside those of sources.
const SCRAM: &str = "scram";

/// Runs the exchange that CONNECT began: who it is, and the data that ends it in CONNACK. The user it proves has to be
/// the one that CONNECT and the client certificate name, as far as they name one. Offered where the password file is
/// asked.
pub(in crate::gate) async fn prove(
    visitor: &mut Visitor,
    question: &Question<'_>,
    secret: &[u8; SEED_BYTES],
    claim: &mut Claim,
) -> Result<(Authenticated, Vec<u8>), Refusal> {
    let file = question.snapshot.passwords.as_ref().filter(|_| question.rules.asks(&SourceName::Password));
    let (Some(METHOD), Some(file)) = (question.connect.properties.authentication_method, file) else {
        let (reason, code) = (RefusalReason::AuthenticationMethod, ReasonCode::BadAuthenticationMethod);
        return Err(Refusal::answered(reason, V5, code));
    };
    let certified = certified(question)?;
    if question.rules.certificate_and_password && certified.is_none() {
        return Err(question.refused(RefusalReason::NoCredentials, ReasonCode::NotAuthorized));
    }
    let named = certified.as_ref().map(|Certified(name)| &*name.0).or(question.connect.user_name);
    let find = |user: &str, claim: &mut Claim| {
        claim.user_name = Some(Arc::from(user));
        // Who guesses is told what a wrong proof is told; nothing is computed for it.
        if matches!(question.desk.decide(question, user), Decision::Refuse { .. }) {
            return Err(ScramError::Credentials);
        }
        let is_other = named.is_some_and(|named| named != user);
        if is_other { Err(ScramError::OtherUser) } else { Ok(file.candidate(user, secret)) }
    };
    let mut last = Vec::new();
    let verdict = question.desk.tallies.count(SCRAM, async {
        match converse(visitor, question, claim, find).await {
            Ok(proved) => {
                last = proved.server_final().to_vec();
                Verdict::Accepted(Authenticated::by_scram(proved))
            }
            Err(refusal) => Verdict::Refused(refusal),
        }
    });
    match verdict.await {
        Verdict::Accepted(who) => Ok((who, last)),
        Verdict::Refused(refusal) => {
            if refusal.reason == RefusalReason::BadCredentials {
                question.desk.guessed(question, claim.user_name.as_deref().unwrap_or_default());
            }
            Err(refusal)
        }
        Verdict::Unavailable(refusal) => Err(refusal),
        Verdict::NotMine => Err(question.wrong()),
    }
}

/// The exchange itself.
async fn converse(
    visitor: &mut Visitor,
    question: &Question<'_>,
    claim: &mut Claim,
    find: impl Fn(&str, &mut Claim) -> Result<Candidate, ScramError>,
) -> Result<Proved, Refusal> {
    let properties = &question.connect.properties;
    let encoder = Encoder::new(V5, properties.packet_size_max.map_or(u32::MAX, std::num::NonZeroU32::get));
    let mut exchange = Exchange::new(random()?);
    let mut data = properties.authentication_data.map(<[u8]>::to_vec);
    loop {
        match exchange.step(data.as_deref(), |user| find(user, claim)).map_err(refusal)? {
            Reply::Proved(proved) => return Ok(*proved),
            Reply::Continue(question) => {
                ask(visitor, &encoder, &question).await?;
                data = next(visitor).await?;
            }
        }
    }
}

/// Random bytes for the nonces of one connection.
fn random() -> Result<[u8; SEED_BYTES], Refusal> {
    let mut bytes = [0; SEED_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| Refusal::silent(RefusalReason::Overloaded, format!("no randomness: {error}")))?;
    Ok(bytes)
}

/// A user unknown and a proof wrong get one code, the one of a wrong password; whatever else fails the same as well,
/// unless the peer did not speak the method at all.
fn refusal(error: ScramError) -> Refusal {
    let (reason, code) = match error {
        ScramError::Credentials | ScramError::OtherUser => {
            (RefusalReason::BadCredentials, ReasonCode::BadUserNameOrPassword)
        }
        ScramError::Message(_) => (RefusalReason::AuthenticationExchange, ReasonCode::NotAuthorized),
    };
    Refusal { detail: Some(error.to_string()), ..Refusal::answered(reason, V5, code) }
}

/// Sends an AUTH that has to be answered (MQTT-4.12.0-2).
async fn ask(visitor: &mut Visitor, encoder: &Encoder, question: &[u8]) -> Result<(), Refusal> {
    let auth = Auth {
        reason: ReasonCode::ContinueAuthentication,
        method: Some(METHOD),
        data: Some(question).filter(|question| !question.is_empty()),
        reason_string: None,
        user: UserProperties::EMPTY,
    };
    let mut bytes = Vec::new();
    encoder.encode(&Packet::Auth(auth), &mut bytes).map_err(|error| match error {
        EncodeError::TooLarge => broken(ReasonCode::PacketTooLarge, "the client takes no packet as large as an AUTH"),
        error => Refusal::silent(RefusalReason::AuthenticationExchange, error.to_string()),
    })?;
    visitor.write(bytes).await.map_err(|error| ended(&error))
}

/// The data of the client's next AUTH. Until CONNACK it may send nothing else but DISCONNECT (MQTT-3.1.2-30).
async fn next(visitor: &mut Visitor) -> Result<Option<Vec<u8>>, Refusal> {
    let decoder = Decoder::new(Sender::Client, V5, AUTH_BYTES_MAX);
    loop {
        let decoded = decoder.decode(&visitor.plain).map_err(|error| {
            let answer = Refusal::answered(RefusalReason::AuthenticationExchange, V5, error.reason());
            Refusal { detail: Some(error.to_string()), ..answer }
        })?;
        if let Some((packet, length)) = decoded {
            let data = data_of(&packet)?.map(<[u8]>::to_vec);
            visitor.plain.drain(..length);
            return Ok(data);
        }
        visitor.read_more().await.map_err(|error| ended(&error))?;
    }
}

fn data_of<'a>(packet: &Packet<'a>) -> Result<Option<&'a [u8]>, Refusal> {
    match packet {
        Packet::Auth(auth) if auth.method.is_some_and(|method| method != METHOD) => {
            Err(broken(ReasonCode::BadAuthenticationMethod, "AUTH with another method than CONNECT had"))
        }
        Packet::Auth(auth) if auth.reason == ReasonCode::ContinueAuthentication => Ok(auth.data),
        Packet::Auth(_) => Err(broken(ReasonCode::ProtocolError, "AUTH that does not continue the exchange")),
        Packet::Disconnect(_) => {
            let detail = String::from("the client ended the exchange");
            Err(Refusal::silent(RefusalReason::AuthenticationExchange, detail))
        }
        _ => Err(broken(ReasonCode::ProtocolError, "a packet that is not AUTH before CONNACK")),
    }
}

fn broken(code: ReasonCode, detail: &str) -> Refusal {
    let answer = Refusal::answered(RefusalReason::AuthenticationExchange, V5, code);
    Refusal { detail: Some(detail.to_owned()), ..answer }
}

fn ended(error: &impl std::fmt::Display) -> Refusal {
    Refusal::silent(RefusalReason::AuthenticationExchange, format!("the connection ended in the exchange: {error}"))
}

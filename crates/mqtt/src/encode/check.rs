//! What a packet must fulfil before it is written: texts, lengths, reason codes, and what its version has.
//!
//! Called by the encoder before it measures. Owned properties were checked when they were built, decoded ones when
//! they were read, so views are not looked at again.

use crate::encode::EncodeError;
use crate::packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Packet, ProtocolVersion, Publish, Qos, SubAck, Subscribe, UnsubAck,
    Unsubscribe,
};
use crate::property::build::{field_len, text_len};
use crate::reason::ReasonCode;
use crate::wire::has_wildcard;

/// Whether `packet` may be sent on a connection of `version`.
pub(super) fn packet(packet: &Packet<'_>, version: ProtocolVersion) -> Result<(), EncodeError> {
    match packet {
        Packet::Connect(packet) => connect(packet),
        Packet::ConnAck(packet) => connack(packet, version),
        Packet::Publish(packet) => publish(packet, version),
        Packet::PubAck(packet) | Packet::PubRec(packet) => ack(packet, version, ReasonCode::is_for_puback),
        Packet::PubRel(packet) | Packet::PubComp(packet) => ack(packet, version, ReasonCode::is_for_pubrel),
        Packet::Subscribe(packet) => subscribe(packet),
        Packet::SubAck(packet) => suback(packet),
        Packet::Unsubscribe(packet) => unsubscribe(packet),
        Packet::UnsubAck(packet) => unsuback(packet, version),
        Packet::PingReq | Packet::PingResp => Ok(()),
        Packet::Disconnect(packet) => disconnect(packet, version),
        Packet::Auth(packet) => auth(packet, version),
    }
}

/// Whether a PUBLISH may be sent.
pub(super) fn publish(packet: &Publish<'_>, version: ProtocolVersion) -> Result<(), EncodeError> {
    topic("topic name", packet.topic)?;
    let aliased = packet.topic_alias.is_some() && version == ProtocolVersion::V5;
    if packet.topic.is_empty() && !aliased {
        return Err(EncodeError::NotAllowed("an empty topic name without a topic alias"));
    }
    Ok(())
}

fn connect(packet: &Connect<'_>) -> Result<(), EncodeError> {
    text("client identifier", Some(packet.client_id))?;
    if let Some(will) = &packet.will {
        topic("will topic", will.topic)?;
        if will.topic.is_empty() {
            return Err(EncodeError::NotAllowed("an empty will topic"));
        }
        binary("will payload", Some(will.payload))?;
    }
    text("user name", packet.user_name)?;
    binary("password", packet.password)?;
    if packet.version != ProtocolVersion::V5 {
        return ensure(packet.password.is_none() || packet.user_name.is_some(), "a password without a user name");
    }
    let properties = &packet.properties;
    text("authentication method", properties.authentication_method)?;
    binary("authentication data", properties.authentication_data)?;
    let methodical = properties.authentication_data.is_none() || properties.authentication_method.is_some();
    ensure(methodical, "authentication data without a method")
}

fn connack(packet: &ConnAck<'_>, version: ProtocolVersion) -> Result<(), EncodeError> {
    ensure(!(packet.session_present && packet.reason.is_error()), "session present in a refusal")?;
    if version != ProtocolVersion::V5 {
        return ensure(packet.reason.v3_connack().is_some(), "a reason code without a return code");
    }
    ensure(packet.reason.is_for_connack(), "a reason code that CONNACK does not have")?;
    let properties = &packet.properties;
    ensure(properties.qos_maximum != Some(Qos::ExactlyOnce), "a maximum QoS of 2")?;
    text("assigned client identifier", properties.assigned_client_id)?;
    text("reason string", properties.reason_string)?;
    text("response information", properties.response_information)?;
    text("server reference", properties.server_reference)?;
    text("authentication method", properties.authentication_method)?;
    binary("authentication data", properties.authentication_data)
}

fn ack(packet: &Ack<'_>, version: ProtocolVersion, allowed: fn(ReasonCode) -> bool) -> Result<(), EncodeError> {
    if version != ProtocolVersion::V5 {
        return Ok(());
    }
    ensure(allowed(packet.reason), "a reason code that this acknowledgement does not have")?;
    text("reason string", packet.reason_string)
}

fn subscribe(packet: &Subscribe<'_>) -> Result<(), EncodeError> {
    ensure(packet.filters.iter().next().is_some(), "SUBSCRIBE without a filter")?;
    for (filter, options) in packet.filters.iter() {
        text("topic filter", Some(filter))?;
        let shared = filter.starts_with("$share/");
        ensure(!(options.no_local && shared), "no local on a shared subscription")?;
    }
    Ok(())
}

fn suback(packet: &SubAck<'_>) -> Result<(), EncodeError> {
    codes(packet.codes, ReasonCode::is_for_suback)?;
    text("reason string", packet.reason_string)
}

fn unsubscribe(packet: &Unsubscribe<'_>) -> Result<(), EncodeError> {
    ensure(packet.filters.iter().next().is_some(), "UNSUBSCRIBE without a filter")?;
    packet.filters.iter().try_for_each(|filter| text("topic filter", Some(filter)))
}

fn unsuback(packet: &UnsubAck<'_>, version: ProtocolVersion) -> Result<(), EncodeError> {
    if version != ProtocolVersion::V5 {
        return Ok(());
    }
    codes(packet.codes, ReasonCode::is_for_unsuback)?;
    text("reason string", packet.reason_string)
}

fn disconnect(packet: &Disconnect<'_>, version: ProtocolVersion) -> Result<(), EncodeError> {
    if version != ProtocolVersion::V5 {
        return Ok(());
    }
    ensure(packet.reason.is_for_disconnect(), "a reason code that DISCONNECT does not have")?;
    text("reason string", packet.reason_string)?;
    text("server reference", packet.server_reference)
}

fn auth(packet: &Auth<'_>, version: ProtocolVersion) -> Result<(), EncodeError> {
    ensure(version == ProtocolVersion::V5, "AUTH")?;
    ensure(packet.reason.is_for_auth(), "a reason code that AUTH does not have")?;
    let bare = packet.data.is_none() && packet.reason_string.is_none() && packet.user.is_empty();
    let methodical = packet.method.is_some() || packet.reason == ReasonCode::Success && bare;
    ensure(methodical, "AUTH without an authentication method")?;
    text("authentication method", packet.method)?;
    binary("authentication data", packet.data)?;
    text("reason string", packet.reason_string)
}

fn ensure(holds: bool, otherwise: &'static str) -> Result<(), EncodeError> {
    if holds { Ok(()) } else { Err(EncodeError::NotAllowed(otherwise)) }
}

fn text(what: &'static str, value: Option<&str>) -> Result<(), EncodeError> {
    value.map_or(Ok(()), |value| text_len(what, value).map(|_| ()))
}

fn binary(what: &'static str, value: Option<&[u8]>) -> Result<(), EncodeError> {
    value.map_or(Ok(()), |value| field_len(what, value).map(|_| ()))
}

/// A topic name without wildcards (MQTT-3.3.2-2); it may be empty.
fn topic(what: &'static str, value: &str) -> Result<(), EncodeError> {
    text_len(what, value)?;
    if has_wildcard(value.as_bytes()) { Err(EncodeError::Text(what)) } else { Ok(()) }
}

fn codes(codes: &[u8], allowed: fn(ReasonCode) -> bool) -> Result<(), EncodeError> {
    ensure(!codes.is_empty(), "an answer without reason codes")?;
    let listed = codes.iter().all(|code| ReasonCode::from_u8(*code).is_some_and(allowed));
    ensure(listed, "a reason code that this answer does not have")
}

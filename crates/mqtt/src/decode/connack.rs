//! CONNACK in all three versions.
//!
//! Called by the decoder of a client.

use std::num::{NonZeroU16, NonZeroU32};

use crate::decode::DecodeError;
use crate::decode::property::{self, NONE, Set, Value};
use crate::decode::reader::Reader;
use crate::packet::{ConnAck, ConnAckProperties, ProtocolVersion, Qos};
use crate::property::raw::id;
use crate::reason::ReasonCode;

const CONNACK: Set = Set::of(&[
    id::SESSION_EXPIRY,
    id::RECEIVE_MAXIMUM,
    id::QOS_MAXIMUM,
    id::RETAIN_AVAILABLE,
    id::PACKET_SIZE_MAX,
    id::ASSIGNED_CLIENT_ID,
    id::TOPIC_ALIAS_MAXIMUM,
    id::REASON_STRING,
    id::USER,
    id::WILDCARD_SUBSCRIPTION_AVAILABLE,
    id::SUBSCRIPTION_IDS_AVAILABLE,
    id::SHARED_SUBSCRIPTION_AVAILABLE,
    id::SERVER_KEEP_ALIVE,
    id::RESPONSE_INFORMATION,
    id::SERVER_REFERENCE,
    id::AUTHENTICATION_METHOD,
    id::AUTHENTICATION_DATA,
]);

/// The body of a CONNACK.
pub(super) fn connack<'a>(reader: &mut Reader<'a>, version: ProtocolVersion) -> Result<ConnAck<'a>, DecodeError> {
    let session_present = match (reader.byte()?, version) {
        (0, _) => false,
        (1, ProtocolVersion::V311 | ProtocolVersion::V5) => true,
        _ => return Err(DecodeError::Malformed("reserved acknowledge flags")),
    };
    let code = reader.byte()?;
    let reason = if version == ProtocolVersion::V5 {
        ReasonCode::from_u8(code).filter(|reason| reason.is_for_connack())
    } else {
        ReasonCode::from_v3_connack(code)
    };
    let reason = reason.ok_or(DecodeError::Protocol("reason code that CONNACK does not have"))?;
    if session_present && reason.is_error() {
        return Err(DecodeError::Protocol("session present in a refusal"));
    }
    let properties = if version == ProtocolVersion::V5 { properties(reader)? } else { ConnAckProperties::default() };
    Ok(ConnAck { session_present, reason, properties })
}

fn properties<'a>(reader: &mut Reader<'a>) -> Result<ConnAckProperties<'a>, DecodeError> {
    let mut found = ConnAckProperties::default();
    let block = property::read(reader, CONNACK, NONE, |id, value| match (id, value) {
        (id::SESSION_EXPIRY, Value::Long(seconds)) => found.session_expiry_s = Some(seconds),
        (id::RECEIVE_MAXIMUM, Value::Short(number)) => found.receive_maximum = NonZeroU16::new(number),
        (id::QOS_MAXIMUM, Value::Flag(one)) => found.qos_maximum = Qos::from_u8(one.into()),
        (id::RETAIN_AVAILABLE, Value::Flag(flag)) => found.retain_available = flag,
        (id::PACKET_SIZE_MAX, Value::Long(number)) => found.packet_size_max = NonZeroU32::new(number),
        (id::ASSIGNED_CLIENT_ID, Value::Text(text)) => found.assigned_client_id = Some(text),
        (id::TOPIC_ALIAS_MAXIMUM, Value::Short(number)) => found.topic_alias_maximum = number,
        (id::REASON_STRING, Value::Text(text)) => found.reason_string = Some(text),
        (id::WILDCARD_SUBSCRIPTION_AVAILABLE, Value::Flag(flag)) => found.wildcard_subscription_available = flag,
        (id::SUBSCRIPTION_IDS_AVAILABLE, Value::Flag(flag)) => found.subscription_ids_available = flag,
        (id::SHARED_SUBSCRIPTION_AVAILABLE, Value::Flag(flag)) => found.shared_subscription_available = flag,
        (id::SERVER_KEEP_ALIVE, Value::Short(seconds)) => found.server_keep_alive_s = Some(seconds),
        (id::RESPONSE_INFORMATION, Value::Text(text)) => found.response_information = Some(text),
        (id::SERVER_REFERENCE, Value::Text(text)) => found.server_reference = Some(text),
        (id::AUTHENTICATION_METHOD, Value::Text(text)) => found.authentication_method = Some(text),
        (id::AUTHENTICATION_DATA, Value::Binary(data)) => found.authentication_data = Some(data),
        _ => {}
    })?;
    found.user = block.user();
    Ok(found)
}

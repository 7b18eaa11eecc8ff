//! CONNECT in all three versions.
//!
//! Called by the decoder. The packet states its own version, and everything after the flags is read by that.

use std::num::{NonZeroU16, NonZeroU32};

use crate::decode::DecodeError;
use crate::decode::property::{self, NONE, Set, Value};
use crate::decode::reader::Reader;
use crate::packet::{Connect, ConnectProperties, ProtocolVersion, Qos, Will};
use crate::property::raw::id;

const CONNECT: Set = Set::of(&[
    id::SESSION_EXPIRY,
    id::RECEIVE_MAXIMUM,
    id::PACKET_SIZE_MAX,
    id::TOPIC_ALIAS_MAXIMUM,
    id::REQUEST_RESPONSE_INFORMATION,
    id::REQUEST_PROBLEM_INFORMATION,
    id::USER,
    id::AUTHENTICATION_METHOD,
    id::AUTHENTICATION_DATA,
]);

const WILL: Set = Set::of(&[
    id::WILL_DELAY,
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER,
]);

/// The connect flags, checked.
#[derive(Clone, Copy, Debug)]
struct Flags {
    clean_start: bool,
    /// QoS and RETAIN of the will.
    will: Option<(Qos, bool)>,
    user_name: bool,
    password: bool,
}

/// Judges as much of protocol name, level and flags as an incomplete CONNECT shows.
pub(super) fn check_head(body: &[u8]) -> Result<(), DecodeError> {
    head(&mut Reader::new(body)).map(|_| ())
}

/// Protocol name, level and flags; `None` when they are incomplete.
fn head(reader: &mut Reader<'_>) -> Result<Option<(ProtocolVersion, Flags)>, DecodeError> {
    let Some((name_len, after_len)) = reader.rest().split_first_chunk::<2>() else { return Ok(None) };
    let name: &[u8] = match u16::from_be_bytes(*name_len) {
        4 => b"MQTT",
        6 => b"MQIsdp",
        _ => return Err(DecodeError::UnsupportedVersion),
    };
    let Some(after_name) = after_len.strip_prefix(name) else {
        return if name.starts_with(after_len) { Ok(None) } else { Err(DecodeError::UnsupportedVersion) };
    };
    let Some((level, after_level)) = after_name.split_first() else { return Ok(None) };
    let version = match (name, level) {
        (b"MQTT", 5) => ProtocolVersion::V5,
        (b"MQTT", 4) => ProtocolVersion::V311,
        (b"MQIsdp", 3) => ProtocolVersion::V31,
        _ => return Err(DecodeError::UnsupportedVersion),
    };
    let Some((bits, rest)) = after_level.split_first() else { return Ok(None) };
    *reader = Reader::new(rest);
    Ok(Some((version, flags(*bits, version)?)))
}

fn flags(bits: u8, version: ProtocolVersion) -> Result<Flags, DecodeError> {
    if bits & 1 != 0 {
        return Err(DecodeError::Malformed("reserved connect flag"));
    }
    let (user_name, password) = (bits & 0x80 != 0, bits & 0x40 != 0);
    if password && !user_name && version != ProtocolVersion::V5 {
        return Err(DecodeError::Malformed("password without user name before MQTT 5.0"));
    }
    let will = if bits & 0b100 != 0 {
        let qos = Qos::from_u8((bits >> 3) & 0b11).ok_or(DecodeError::Malformed("will with QoS 3"))?;
        Some((qos, bits & 0x20 != 0))
    } else if bits & 0x38 != 0 {
        return Err(DecodeError::Malformed("QoS or RETAIN of a will without a will"));
    } else {
        None
    };
    Ok(Flags { clean_start: bits & 0b10 != 0, will, user_name, password })
}

/// The body of a CONNECT.
pub(super) fn connect<'a>(reader: &mut Reader<'a>) -> Result<Connect<'a>, DecodeError> {
    let Some((version, flags)) = head(reader)? else {
        return Err(DecodeError::Malformed("CONNECT ends in its header"));
    };
    let v5 = version == ProtocolVersion::V5;
    let keep_alive_s = reader.short()?;
    let properties = if v5 { properties(reader)? } else { ConnectProperties::default() };
    let client_id = reader.text()?;
    let will = match flags.will {
        Some((qos, retain)) => Some(will(reader, version, qos, retain)?),
        None => None,
    };
    // Remaining Length wins over these flags in MQTT 3.1 (its section on CONNECT says so).
    let lenient = version == ProtocolVersion::V31;
    let user_name = if flags.user_name && !(lenient && reader.is_empty()) { Some(reader.text()?) } else { None };
    let password = if flags.password && !(lenient && reader.is_empty()) { Some(reader.binary()?) } else { None };
    Ok(Connect {
        version,
        clean_start: flags.clean_start,
        keep_alive_s,
        client_id,
        will,
        user_name,
        password,
        properties,
    })
}

fn properties<'a>(reader: &mut Reader<'a>) -> Result<ConnectProperties<'a>, DecodeError> {
    let mut found = ConnectProperties::default();
    let block = property::read(reader, CONNECT, NONE, |id, value| match (id, value) {
        (id::SESSION_EXPIRY, Value::Long(seconds)) => found.session_expiry_s = Some(seconds),
        (id::RECEIVE_MAXIMUM, Value::Short(number)) => found.receive_maximum = NonZeroU16::new(number),
        (id::PACKET_SIZE_MAX, Value::Long(number)) => found.packet_size_max = NonZeroU32::new(number),
        (id::TOPIC_ALIAS_MAXIMUM, Value::Short(number)) => found.topic_alias_maximum = number,
        (id::REQUEST_RESPONSE_INFORMATION, Value::Flag(flag)) => found.request_response_information = flag,
        (id::REQUEST_PROBLEM_INFORMATION, Value::Flag(flag)) => found.request_problem_information = flag,
        (id::AUTHENTICATION_METHOD, Value::Text(method)) => found.authentication_method = Some(method),
        (id::AUTHENTICATION_DATA, Value::Binary(data)) => found.authentication_data = Some(data),
        _ => {}
    })?;
    if found.authentication_data.is_some() && found.authentication_method.is_none() {
        return Err(DecodeError::Protocol("authentication data without a method"));
    }
    found.user = block.user();
    Ok(found)
}

fn will<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
    qos: Qos,
    retain: bool,
) -> Result<Will<'a>, DecodeError> {
    let (mut delay_s, mut message_expiry_s) = (0, None);
    let block = if version == ProtocolVersion::V5 {
        property::read(reader, WILL, NONE, |id, value| match (id, value) {
            (id::WILL_DELAY, Value::Long(seconds)) => delay_s = seconds,
            (id::MESSAGE_EXPIRY, Value::Long(seconds)) => message_expiry_s = Some(seconds),
            _ => {}
        })?
    } else {
        property::Block::EMPTY
    };
    let topic = reader.topic()?;
    if topic.is_empty() {
        return Err(DecodeError::TopicName("it is empty"));
    }
    let payload = reader.binary()?;
    Ok(Will { topic, payload, qos, retain, delay_s, message_expiry_s, properties: block.forwarded() })
}

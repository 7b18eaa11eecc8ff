//! CONNECT in the version it states.
//!
//! Called by the encoder of a client, after the packet was checked.

use crate::encode::sink::{Sink, properties};
use crate::packet::{Connect, ConnectProperties, ProtocolVersion, Will};
use crate::property::raw::id;

/// The body of a checked CONNECT.
pub(super) fn body(packet: &Connect<'_>, out: &mut impl Sink) {
    let (name, level): (&[u8], u8) = match packet.version {
        ProtocolVersion::V31 => (b"MQIsdp", 3),
        ProtocolVersion::V311 => (b"MQTT", 4),
        ProtocolVersion::V5 => (b"MQTT", 5),
    };
    let v5 = packet.version == ProtocolVersion::V5;
    out.field(name);
    out.byte(level);
    out.byte(flags(packet));
    out.short(packet.keep_alive_s);
    if v5 {
        properties(out, |out| connect_properties(&packet.properties, out));
    }
    out.field(packet.client_id.as_bytes());
    if let Some(will) = &packet.will {
        if v5 {
            properties(out, |out| will_properties(will, out));
        }
        out.field(will.topic.as_bytes());
        out.field(will.payload);
    }
    if let Some(user_name) = packet.user_name {
        out.field(user_name.as_bytes());
    }
    if let Some(password) = packet.password {
        out.field(password);
    }
}

fn flags(packet: &Connect<'_>) -> u8 {
    let will = packet.will.map_or(0, |will| 0b100 | will.qos.as_u8() << 3 | u8::from(will.retain) << 5);
    let credentials = u8::from(packet.user_name.is_some()) << 7 | u8::from(packet.password.is_some()) << 6;
    u8::from(packet.clean_start) << 1 | will | credentials
}

fn connect_properties(found: &ConnectProperties<'_>, out: &mut dyn Sink) {
    out.long_property(id::SESSION_EXPIRY, found.session_expiry_s);
    out.short_property(id::RECEIVE_MAXIMUM, found.receive_maximum.map(Into::into));
    out.long_property(id::PACKET_SIZE_MAX, found.packet_size_max.map(Into::into));
    out.short_property(id::TOPIC_ALIAS_MAXIMUM, Some(found.topic_alias_maximum).filter(|number| *number != 0));
    out.flag_property(id::REQUEST_RESPONSE_INFORMATION, found.request_response_information, false);
    out.flag_property(id::REQUEST_PROBLEM_INFORMATION, found.request_problem_information, true);
    out.field_property(id::AUTHENTICATION_METHOD, found.authentication_method.map(str::as_bytes));
    out.field_property(id::AUTHENTICATION_DATA, found.authentication_data);
    out.user_properties(found.user);
}

fn will_properties(will: &Will<'_>, out: &mut dyn Sink) {
    out.long_property(id::WILL_DELAY, Some(will.delay_s).filter(|seconds| *seconds != 0));
    out.long_property(id::MESSAGE_EXPIRY, will.message_expiry_s);
    out.forwarded_properties(will.properties);
}

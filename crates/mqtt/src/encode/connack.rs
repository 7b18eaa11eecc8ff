//! CONNACK.
//!
//! Called by the encoder of a server, after the packet was checked.

use crate::encode::Explain;
use crate::encode::sink::{Sink, properties};
use crate::packet::{ConnAck, ConnAckProperties, ProtocolVersion};
use crate::property::raw::id;

/// The body of a checked CONNACK.
pub(super) fn body(packet: &ConnAck<'_>, version: ProtocolVersion, explain: Explain, out: &mut impl Sink) {
    // MQTT 3.1 has no Session Present: the byte is reserved there.
    out.byte(u8::from(packet.session_present && version != ProtocolVersion::V31));
    if version == ProtocolVersion::V5 {
        out.byte(packet.reason.as_u8());
        properties(out, |out| connack_properties(&packet.properties, explain, out));
    } else {
        out.byte(packet.reason.v3_connack().expect("a checked CONNACK for 3.x has a return code"));
    }
}

fn connack_properties(found: &ConnAckProperties<'_>, explain: Explain, out: &mut dyn Sink) {
    out.long_property(id::SESSION_EXPIRY, found.session_expiry_s);
    out.short_property(id::RECEIVE_MAXIMUM, found.receive_maximum.map(Into::into));
    if let Some(qos) = found.qos_maximum {
        out.bytes(&[id::QOS_MAXIMUM, qos.as_u8()]);
    }
    out.flag_property(id::RETAIN_AVAILABLE, found.retain_available, true);
    out.long_property(id::PACKET_SIZE_MAX, found.packet_size_max.map(Into::into));
    out.field_property(id::ASSIGNED_CLIENT_ID, found.assigned_client_id.map(str::as_bytes));
    out.short_property(id::TOPIC_ALIAS_MAXIMUM, Some(found.topic_alias_maximum).filter(|number| *number != 0));
    out.flag_property(id::WILDCARD_SUBSCRIPTION_AVAILABLE, found.wildcard_subscription_available, true);
    out.flag_property(id::SUBSCRIPTION_IDS_AVAILABLE, found.subscription_ids_available, true);
    out.flag_property(id::SHARED_SUBSCRIPTION_AVAILABLE, found.shared_subscription_available, true);
    out.short_property(id::SERVER_KEEP_ALIVE, found.server_keep_alive_s);
    out.field_property(id::RESPONSE_INFORMATION, found.response_information.map(str::as_bytes));
    out.field_property(id::SERVER_REFERENCE, found.server_reference.map(str::as_bytes));
    out.field_property(id::AUTHENTICATION_METHOD, found.authentication_method.map(str::as_bytes));
    out.field_property(id::AUTHENTICATION_DATA, found.authentication_data);
    explain.write(found.reason_string, found.user, out);
}

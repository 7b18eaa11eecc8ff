//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK.
//!
//! Called by the encoder, after the packet was checked.

use crate::encode::Explain;
use crate::encode::sink::{Sink, properties};
use crate::packet::{ProtocolVersion, SubAck, Subscribe, UnsubAck, Unsubscribe};
use crate::property::raw::id;
use crate::reason::ReasonCode;

/// The body of a SUBSCRIBE.
pub(super) fn subscribe(packet: &Subscribe<'_>, version: ProtocolVersion, out: &mut impl Sink) {
    out.short(packet.id.value());
    if version == ProtocolVersion::V5 {
        properties(out, |out| {
            if let Some(subscription) = packet.subscription_id {
                out.byte(id::SUBSCRIPTION_ID);
                out.varint(subscription.value());
            }
            out.user_properties(packet.user);
        });
    }
    for (filter, options) in packet.filters.iter() {
        out.field(filter.as_bytes());
        out.byte(options.to_bits(version));
    }
}

/// The body of a SUBACK. 3.x knows one failure only.
pub(super) fn suback(packet: &SubAck<'_>, version: ProtocolVersion, explain: Explain, out: &mut impl Sink) {
    out.short(packet.id.value());
    if version == ProtocolVersion::V5 {
        properties(out, |out| explain.write(packet.reason_string, packet.user, out));
        out.bytes(packet.codes);
        return;
    }
    for code in packet.codes {
        out.byte((*code).min(ReasonCode::UnspecifiedError.as_u8()));
    }
}

/// The body of an UNSUBSCRIBE.
pub(super) fn unsubscribe(packet: &Unsubscribe<'_>, version: ProtocolVersion, out: &mut impl Sink) {
    out.short(packet.id.value());
    if version == ProtocolVersion::V5 {
        properties(out, |out| out.user_properties(packet.user));
    }
    for filter in packet.filters.iter() {
        out.field(filter.as_bytes());
    }
}

/// The body of an UNSUBACK: the identifier alone in 3.x.
pub(super) fn unsuback(packet: &UnsubAck<'_>, version: ProtocolVersion, explain: Explain, out: &mut impl Sink) {
    out.short(packet.id.value());
    if version == ProtocolVersion::V5 {
        properties(out, |out| explain.write(packet.reason_string, packet.user, out));
        out.bytes(packet.codes);
    }
}

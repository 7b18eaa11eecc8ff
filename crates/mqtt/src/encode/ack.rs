//! PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT and AUTH, each as short as its readers allow.
//!
//! Called by the encoder, after the packet was checked.

use crate::encode::Explain;
use crate::encode::sink::{Sink, properties};
use crate::packet::{Ack, Auth, Disconnect, Packet, ProtocolVersion};
use crate::property::UserProperties;
use crate::property::raw::id;
use crate::reason::ReasonCode;

impl Explain {
    /// Whether any of these properties is written.
    fn writes(self, reason_string: Option<&str>, user: UserProperties<'_>) -> bool {
        self.reason_string && reason_string.is_some() || self.user && !user.is_empty()
    }

    /// Writes those of these properties that are wanted.
    pub(super) fn write(self, reason_string: Option<&str>, user: UserProperties<'_>, out: &mut dyn Sink) {
        if self.reason_string {
            out.field_property(id::REASON_STRING, reason_string.map(str::as_bytes));
        }
        if self.user {
            out.user_properties(user);
        }
    }
}

/// One of the four acknowledgements of PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckKind {
    /// PUBACK.
    PubAck,
    /// PUBREC.
    PubRec,
    /// PUBREL.
    PubRel,
    /// PUBCOMP.
    PubComp,
}

impl AckKind {
    /// The packet of this kind that says so.
    #[must_use]
    pub const fn packet(self, ack: Ack<'_>) -> Packet<'_> {
        match self {
            Self::PubAck => Packet::PubAck(ack),
            Self::PubRec => Packet::PubRec(ack),
            Self::PubRel => Packet::PubRel(ack),
            Self::PubComp => Packet::PubComp(ack),
        }
    }

    /// Type and flags.
    pub(super) const fn first_byte(self) -> u8 {
        match self {
            Self::PubAck => 0x40,
            Self::PubRec => 0x50,
            Self::PubRel => 0x62,
            Self::PubComp => 0x70,
        }
    }
}

/// The body of an acknowledgement of PUBLISH.
pub(super) fn ack(packet: &Ack<'_>, version: ProtocolVersion, explain: Explain, out: &mut impl Sink) {
    out.short(packet.id.value());
    if version != ProtocolVersion::V5 {
        return;
    }
    let explained = explain.writes(packet.reason_string, packet.user);
    if packet.reason != ReasonCode::Success || explained {
        out.byte(packet.reason.as_u8());
    }
    if explained {
        properties(out, |out| explain.write(packet.reason_string, packet.user, out));
    }
}

/// The body of a DISCONNECT: nothing at all in 3.x. Property Length is always written with the reason code, because
/// clients in use cannot read a reason code that stands alone.
pub(super) fn disconnect(packet: &Disconnect<'_>, version: ProtocolVersion, explain: Explain, out: &mut impl Sink) {
    let plain = packet.reason == ReasonCode::Success
        && packet.session_expiry_s.is_none()
        && packet.server_reference.is_none()
        && !explain.writes(packet.reason_string, packet.user);
    if version != ProtocolVersion::V5 || plain {
        return;
    }
    out.byte(packet.reason.as_u8());
    properties(out, |out| {
        out.long_property(id::SESSION_EXPIRY, packet.session_expiry_s);
        out.field_property(id::SERVER_REFERENCE, packet.server_reference.map(str::as_bytes));
        explain.write(packet.reason_string, packet.user, out);
    });
}

/// The body of an AUTH: nothing at all when success goes without a method.
pub(super) fn auth(packet: &Auth<'_>, explain: Explain, out: &mut impl Sink) {
    if packet.method.is_none() {
        return;
    }
    out.byte(packet.reason.as_u8());
    properties(out, |out| {
        out.field_property(id::AUTHENTICATION_METHOD, packet.method.map(str::as_bytes));
        out.field_property(id::AUTHENTICATION_DATA, packet.data);
        explain.write(packet.reason_string, packet.user, out);
    });
}

//! Short words for the conformance tests of MQTT 5.0: what a side answers to bytes, and what a packet is as bytes.
//! Called by `conformance_v5` and `conformance_v5_answers`.

use motte_mqtt::{Packet, PacketId, ProtocolVersion, ReasonCode, Sender};

use crate::bytes::{answer, written};

pub(crate) const MALFORMED: u8 = 0x81;
pub(crate) const PROTOCOL: u8 = 0x82;

pub(crate) fn client(bytes: &str) -> u8 {
    answer(Sender::Client, ProtocolVersion::V5, bytes)
}

pub(crate) fn server(bytes: &str) -> u8 {
    answer(Sender::Server, ProtocolVersion::V5, bytes)
}

pub(crate) fn v5(packet: &Packet<'_>) -> Option<Vec<u8>> {
    written(ProtocolVersion::V5, packet)
}

pub(crate) fn id() -> PacketId {
    PacketId::new(1).unwrap()
}

pub(crate) fn all_codes() -> impl Iterator<Item = ReasonCode> {
    (0..=255).filter_map(ReasonCode::from_u8)
}

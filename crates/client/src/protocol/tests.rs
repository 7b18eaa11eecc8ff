//! Tests of the session without a broker: windows, identifiers, and the ends of flows.
#![allow(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::sync::mpsc::{Receiver, sync_channel};

use motte_mqtt::{Ack, Decoder, Packet, PacketId, ProtocolVersion, Qos, ReasonCode, Sender};

use super::{Event, Limits, Protocol, Request};
use crate::error::PublishError;
use crate::message::Message;

fn protocol(in_flight_max: u16) -> Protocol {
    Protocol::new(Limits {
        version: ProtocolVersion::V5,
        in_flight_max,
        packet_size_max: u32::MAX,
        qos_max: Qos::ExactlyOnce,
        retain_available: true,
    })
}

/// Publishes; gives the identifier on the wire and where the answer will be.
fn publish(protocol: &mut Protocol, qos: Qos) -> (PacketId, Receiver<Result<ReasonCode, PublishError>>) {
    let (reply, answer) = sync_channel(1);
    let start = protocol.out.len();
    protocol.on_request(Request::Publish(Message::new("t", "x", qos), reply));
    let decoder = Decoder::new(Sender::Client, ProtocolVersion::V5, u32::MAX);
    let (packet, _) = decoder.decode(&protocol.out[start..]).unwrap().unwrap();
    let Packet::Publish(publish) = packet else { panic!("{packet:?} is no PUBLISH") };
    (publish.delivery.id().unwrap(), answer)
}

fn takes_publish(protocol: &Protocol) -> bool {
    protocol.takes(&Request::Publish(Message::new("t", "x", Qos::AtLeastOnce), sync_channel(1).0))
}

#[test]
fn v5_3_3_4_7_the_brokers_receive_maximum_holds_back_requests() {
    let mut protocol = protocol(2);
    let (first, answer) = publish(&mut protocol, Qos::AtLeastOnce);
    assert!(takes_publish(&protocol));
    publish(&mut protocol, Qos::ExactlyOnce);
    assert!(!takes_publish(&protocol), "two are on their way");
    protocol.on_packet(&Packet::PubAck(Ack::new(first, ReasonCode::NoMatchingSubscribers))).unwrap();
    assert_eq!(answer.try_recv(), Ok(Ok(ReasonCode::NoMatchingSubscribers)));
    assert!(takes_publish(&protocol));
}

#[test]
fn v5_4_4_0_2_a_refused_pubrec_ends_the_flow_and_frees_its_place() {
    let mut protocol = protocol(1);
    let (id, answer) = publish(&mut protocol, Qos::ExactlyOnce);
    protocol.out.clear();
    protocol.on_packet(&Packet::PubRec(Ack::new(id, ReasonCode::QuotaExceeded))).unwrap();
    assert_eq!(answer.try_recv(), Ok(Err(PublishError::Refused(ReasonCode::QuotaExceeded))));
    assert!(protocol.out.is_empty(), "no PUBREL follows");
    assert!(takes_publish(&protocol));
}

#[test]
fn v5_4_3_3_5_a_qos_2_flow_is_complete_only_with_pubcomp() {
    let mut protocol = protocol(1);
    let (id, answer) = publish(&mut protocol, Qos::ExactlyOnce);
    for _ in 0..2 {
        // Twice: a broker may repeat it.
        protocol.on_packet(&Packet::PubRec(Ack::new(id, ReasonCode::Success))).unwrap();
    }
    assert!(answer.try_recv().is_err() && !takes_publish(&protocol));
    assert_eq!(protocol.on_packet(&Packet::PubComp(Ack::new(id, ReasonCode::Success))), Ok(Event::Nothing));
    assert_eq!(answer.try_recv(), Ok(Ok(ReasonCode::Success)));
}

#[test]
fn k44_an_acknowledgement_of_another_qos_is_a_lie() {
    let mut protocol = protocol(4);
    let (one, _answer) = publish(&mut protocol, Qos::AtLeastOnce);
    let (two, _answer) = publish(&mut protocol, Qos::ExactlyOnce);
    assert!(protocol.on_packet(&Packet::PubRec(Ack::new(one, ReasonCode::Success))).is_err());
    assert!(protocol.on_packet(&Packet::PubAck(Ack::new(two, ReasonCode::Success))).is_err());
}

#[test]
fn v5_2_2_1_3_identifiers_in_use_are_passed_over_when_they_come_round() {
    let mut protocol = protocol(u16::MAX);
    let (held, _answer) = publish(&mut protocol, Qos::ExactlyOnce);
    for _ in 0..70_000 {
        let (id, _answer) = publish(&mut protocol, Qos::AtLeastOnce);
        assert_ne!(id, held);
        protocol.on_packet(&Packet::PubAck(Ack::new(id, ReasonCode::Success))).unwrap();
        protocol.out.clear();
    }
}

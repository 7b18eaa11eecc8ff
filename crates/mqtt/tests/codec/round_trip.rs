//! What is written is read back the same, whole or in pieces, and no bytes whatever break the decoder.
//!
//! K02 and K03 of the catalogue of faults, as properties over arbitrary packets.

use motte_mqtt::{
    DecodeError, Decoder, Delivery, Encoder, Packet, PacketId, ProtocolVersion, Publish, PublishCopy, Sender,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::arbitrary::{parts, sender, version};

fn encoded(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::new(version, u32::MAX).encode(packet, &mut bytes).unwrap();
    bytes
}

/// Whatever was accepted can be looked at, is not longer than what arrived, and can be sent on unchanged.
fn check_accepted(bytes: &[u8], sender: Sender, version: ProtocolVersion) -> Result<(), TestCaseError> {
    let decoder = Decoder::new(sender, version, u32::MAX);
    let Ok(Some((packet, len))) = decoder.decode(bytes) else { return Ok(()) };
    prop_assert!(len <= bytes.len());
    let text = format!("{packet:?}");
    prop_assert!(!text.is_empty());
    let again = encoded(&packet, version);
    prop_assert_eq!(decoder.decode(&again), Ok(Some((packet, again.len()))));
    let expected = if let Packet::Publish(publish) = &packet { publish.topic } else { "a/topic" };
    prop_assert_eq!(decoder.decode_expecting(bytes, expected), Ok(Some((packet, len))));
    Ok(())
}

/// A copy has the bytes the packet has when it is encoded for each receiver, and is refused where it is.
fn check_copy(packet: &Publish<'_>, version: ProtocolVersion, limit: u32) -> Result<(), TestCaseError> {
    let (mut copy, other) = (PublishCopy::default(), PacketId::new(0xA5A5).unwrap());
    copy.encode(packet, version).unwrap();
    let delivery = match packet.delivery {
        Delivery::AtMostOnce => Delivery::AtMostOnce,
        Delivery::AtLeastOnce { dup, .. } => Delivery::AtLeastOnce { id: other, dup },
        Delivery::ExactlyOnce { dup, .. } => Delivery::ExactlyOnce { id: other, dup },
    };
    let encoder = Encoder::new(version, limit);
    let (mut one, mut each) = (vec![7], vec![7]);
    let copied = encoder.copy(&copy, delivery.id(), &mut one).is_ok();
    prop_assert_eq!(copied, encoder.publish(&Publish { delivery, ..*packet }, &mut each).is_ok());
    prop_assert_eq!(one, each);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_packet_reads_back_as_it_was_written(parts in parts()) {
        parts.with(|packet, sender| {
            let mut bytes = encoded(&packet, parts.version);
            let len = bytes.len();
            bytes.extend_from_slice(&[0xC0, 0x00, 0xFF]);
            let decoder = Decoder::new(sender, parts.version, u32::MAX);
            prop_assert_eq!(decoder.decode(&bytes), Ok(Some((packet, len))));
            prop_assert_eq!(decoder.packet_len(&bytes), Ok(Some(len)));
            Ok(())
        })?;
    }

    #[test]
    fn a_packet_cut_at_any_byte_waits_for_more(parts in parts()) {
        parts.with(|packet, sender| {
            let bytes = encoded(&packet, parts.version);
            let decoder = Decoder::new(sender, parts.version, u32::MAX);
            for end in 0..bytes.len() {
                prop_assert_eq!(decoder.decode(&bytes[..end]), Ok(None), "cut at {}", end);
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_limit_of_its_own_length_admits_a_packet_and_one_less_refuses_it(parts in parts()) {
        parts.with(|packet, sender| {
            let bytes = encoded(&packet, parts.version);
            let len = u32::try_from(bytes.len()).unwrap();
            let at = |limit| Decoder::new(sender, parts.version, limit).decode(&bytes).map(|found| found.is_some());
            prop_assert_eq!(at(len), Ok(true));
            prop_assert_eq!(at(len - 1), Err(DecodeError::TooLarge));
            Ok(())
        })?;
    }

    #[test]
    fn the_encoder_keeps_to_the_limit_or_leaves_the_buffer_alone(parts in parts(), limit in 2..200_u32) {
        parts.with(|packet, sender| {
            let mut out = vec![1, 2, 3];
            match Encoder::new(parts.version, limit).encode(&packet, &mut out) {
                Ok(()) => {
                    prop_assert!(out.len() - 3 <= usize::try_from(limit).unwrap());
                    let found = Decoder::new(sender, parts.version, limit).decode(&out[3..]);
                    prop_assert_eq!(found.map(|found| found.map(|(_, len)| len)), Ok(Some(out.len() - 3)));
                }
                Err(_) => prop_assert_eq!(&out, &[1, 2, 3]),
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_copy_is_what_each_receiver_would_be_sent(parts in parts(), limit in 2..400_u32) {
        parts.with(|packet, _| match &packet {
            Packet::Publish(publish) => check_copy(publish, parts.version, limit),
            _ => Ok(()),
        })?;
    }

    #[test]
    fn random_bytes_never_break_the_decoder(
        bytes in vec(any::<u8>(), 0..64), sender in sender(), version in version(),
    ) {
        check_accepted(&bytes, sender, version)?;
    }

    #[test]
    fn random_bodies_never_break_the_decoder(
        first in any::<u8>(), body in vec(any::<u8>(), 0..100), sender in sender(), version in version(),
    ) {
        let mut bytes = vec![first, u8::try_from(body.len()).unwrap()];
        bytes.extend(body);
        check_accepted(&bytes, sender, version)?;
    }

    #[test]
    fn damaged_packets_never_break_the_decoder(
        parts in parts(),
        damage in vec((any::<Index>(), any::<u8>(), 0..3_u8), 1..4),
        version in version(),
    ) {
        parts.with(|packet, sender| {
            let mut bytes = encoded(&packet, parts.version);
            for (at, value, how) in damage {
                let at = at.index(bytes.len());
                match how {
                    0 => bytes[at] = value,
                    1 => bytes.insert(at, value),
                    _ if bytes.len() > 1 => { bytes.remove(at); }
                    _ => {}
                }
            }
            check_accepted(&bytes, sender, version)?;
            check_accepted(&bytes, sender, parts.version)
        })?;
    }
}

//! Things no client may send, and the codes with which the link that sent them may end.
//!
//! Used by the world for its rogues. Each is one packet, so that what comes before it still counts.

use motte_broker::mqtt::{ProtocolVersion, Qos};

use crate::line::Line;
use crate::packet::{Meaning, Sent};
use crate::random::Random;

const MALFORMED: &[u8] = &[0x81];
const PROTOCOL: &[u8] = &[0x82];
const EITHER: &[u8] = &[0x81, 0x82];
const ALIAS: &[u8] = &[0x82, 0x94];

fn illegal(name: &'static str, codes: &'static [u8], bytes: &[u8]) -> Sent {
    Sent {
        bytes: bytes.to_vec(),
        meaning: Meaning::Illegal { name, codes, is_publish: bytes[0] >> 4 == 3, in_use: None },
    }
}

/// An acknowledgement of another QoS than the message has.
fn misfit(name: &'static str, first: u8, in_use: (u16, Qos)) -> Sent {
    let [high, low] = in_use.0.to_be_bytes();
    let meaning = Meaning::Illegal { name, codes: PROTOCOL, is_publish: false, in_use: Some(in_use) };
    Sent { bytes: vec![first, 0x02, high, low], meaning }
}

/// Something illegal for this connection.
pub(crate) fn break_a_rule(line: &Line, random: &mut Random) -> Sent {
    let is_v5 = line.version == ProtocolVersion::V5;
    match random.below(16) {
        0 => illegal("packet type 0", EITHER, &[0x00, 0x00]),
        1 => illegal("SUBSCRIBE with wrong flags", EITHER, &[0x80, 0x00]),
        2 => illegal("a remaining length of five bytes", EITHER, &[0xc0, 0xff, 0xff, 0xff, 0xff, 0x01]),
        3 => illegal("PUBLISH at QoS 3", EITHER, &[0x36, 0x05, 0x00, 0x01, b't', 0x00, 0x01]),
        4 => illegal("CONNACK from a client", EITHER, &[0x20, 0x02, 0x00, 0x00]),
        5 => illegal("PINGRESP from a client", EITHER, &[0xd0, 0x00]),
        6 if is_v5 => illegal("PUBLISH to a wildcard", &[0x81, 0x82, 0x90], &[0x30, 0x04, 0x00, 0x01, b'#', 0x00]),
        6 => illegal("PUBLISH to a wildcard", EITHER, &[0x30, 0x03, 0x00, 0x01, b'#']),
        7 if is_v5 => illegal("PUBLISH with identifier 0", EITHER, &[0x32, 0x06, 0, 1, b't', 0, 0, 0]),
        7 => illegal("PUBLISH with identifier 0", EITHER, &[0x32, 0x05, 0, 1, b't', 0, 0]),
        8 if is_v5 => illegal("alias that was never set", ALIAS, &[0x30, 0x06, 0, 0, 3, 0x23, 0xff, 0xfe]),
        9 if is_v5 => illegal("alias 0", ALIAS, &[0x30, 0x07, 0, 1, b't', 3, 0x23, 0, 0]),
        10 if is_v5 => illegal("SUBSCRIBE without filters", EITHER, &[0x82, 0x03, 0, 9, 0]),
        10 => illegal("SUBSCRIBE without filters", EITHER, &[0x82, 0x02, 0, 9]),
        11 if is_v5 => {
            let mut bytes = vec![0x82, 0x00, 0, 9, 0, 0, 12];
            bytes.extend(b"$share/g/s/0");
            bytes.push(0b0000_0101);
            bytes[1] = u8::try_from(bytes.len() - 2).expect("a short packet");
            illegal("No Local on a shared subscription", PROTOCOL, &bytes)
        }
        12 if line.asked_expiry_s == 0 && is_v5 => {
            illegal("DISCONNECT sets an expiry after none", PROTOCOL, &[0xe0, 0x07, 0, 5, 0x11, 0, 0, 0, 9])
        }
        13 => match line.outstanding_id(Qos::ExactlyOnce) {
            Some(id) => misfit("PUBACK for QoS 2", 0x40, (id, Qos::ExactlyOnce)),
            None => illegal("AUTH or packet type 15", EITHER, &[0xf1, 0x00]),
        },
        14 => match line.outstanding_id(Qos::AtLeastOnce) {
            Some(id) => misfit("PUBREC for QoS 1", 0x50, (id, Qos::AtLeastOnce)),
            None => illegal("text that is not UTF-8", MALFORMED, &[0x30, 0x05, 0, 2, 0xc3, 0x28, 0]),
        },
        _ => illegal("a packet beyond our Maximum Packet Size", &[0x95], &[0x30, 0xff, 0x7f]),
    }
}

/// Something odd that has to be borne: acknowledgements of what nobody sent.
pub(crate) fn stray(line: &Line, random: &mut Random) -> Sent {
    let id = 60_000 + u16::try_from(random.below(4)).expect("a small number");
    let meanings = [Meaning::PubAck(id), Meaning::PubRec(id), Meaning::PubRel(id), Meaning::PubComp(id)];
    let meaning = meanings[random.below(meanings.len())].clone();
    crate::packet::ack(line.version, meaning)
}

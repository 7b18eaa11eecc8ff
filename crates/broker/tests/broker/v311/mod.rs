//! MQTT 3.1.1 statement by statement, in the bytes of that version.

mod delivery;
mod session;
mod subscription;

use crate::kit::*;

/// A client of 3.1.1 whose session is kept.
fn kept(client_id: &str) -> Hello<'_> {
    Hello { clean_start: false, ..v311(client_id) }
}

/// SUBSCRIBE of 3.1.1: identifier, then each filter with its QoS.
fn subscribe(id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    for (filter, qos) in filters {
        text(&mut body, filter);
        body.push(*qos);
    }
    framed(0x82, &body)
}

/// UNSUBSCRIBE of 3.1.1.
fn unsubscribe(id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    filters.iter().for_each(|filter| text(&mut body, filter));
    framed(0xA2, &body)
}

/// PUBLISH of 3.1.1 with the flags of its first byte; `id` only where there is one.
fn publish(flags: u8, topic: &str, id: Option<u16>, payload: &str) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, topic);
    body.extend(id.into_iter().flat_map(u16::to_be_bytes));
    body.extend_from_slice(payload.as_bytes());
    framed(0x30 | flags, &body)
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first, u8::try_from(body.len()).ok().filter(|len| *len < 128).expect("a length of one byte")], body].concat()
}

/// Asserts that each of `packets` closes the connection of a fresh client without a word.
#[track_caller]
fn closes(packets: &[Vec<u8>]) {
    for packet in packets {
        let mut world = World::new();
        let client = world.connect(&v311("c"));
        let bystander = world.connect(&v311("bystander"));
        world.send_bytes(client, packet);
        assert_eq!(world.take(client), ["closed"], "{packet:02x?}");
        world.send_bytes(bystander, &[0xC0, 0]);
        world.expect(bystander, &["pingresp"]);
    }
}

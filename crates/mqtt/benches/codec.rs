//! What it takes to read and to write the packets of a message, and to match a topic.
//!
//! `cargo bench -p motte-mqtt`.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench may stop, and is nobody's library")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use motte_mqtt::{
    Ack, Decoder, Delivery, Encoder, ForwardedProperties, Packet, PacketId, ProtocolVersion, Publish, ReasonCode,
    Sender, SubscriptionIds, TopicFilter, TopicName,
};

const VERSION: ProtocolVersion = ProtocolVersion::V5;
const LEVELS_MAX: usize = 16;

/// The packets of a message, by name.
fn packets() -> [(&'static str, Packet<'static>); 3] {
    let id = PacketId::new(1).unwrap();
    let publish = |delivery| {
        Packet::Publish(Publish {
            delivery,
            retain: false,
            topic: "site/7/line/3",
            topic_alias: None,
            message_expiry_s: None,
            subscription_ids: SubscriptionIds::EMPTY,
            properties: ForwardedProperties::EMPTY,
            payload: &[b'p'; 64],
        })
    };
    [
        ("publish qos 0", publish(Delivery::AtMostOnce)),
        ("publish qos 1", publish(Delivery::AtLeastOnce { id, dup: false })),
        ("puback", Packet::PubAck(Ack::new(id, ReasonCode::Success))),
    ]
}

fn encode(criterion: &mut Criterion) {
    let encoder = Encoder::new(VERSION, u32::MAX);
    let mut out = Vec::with_capacity(1_024);
    for (name, packet) in packets() {
        criterion.bench_function(&format!("encode {name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                encoder.encode(black_box(&packet), &mut out).unwrap();
                out.len()
            });
        });
    }
}

fn decode(criterion: &mut Criterion) {
    let decoder = Decoder::new(Sender::Client, VERSION, u32::MAX);
    for (name, packet) in packets() {
        let mut bytes = Vec::new();
        Encoder::new(VERSION, u32::MAX).encode(&packet, &mut bytes).unwrap();
        criterion.bench_function(&format!("decode {name}"), |bencher| {
            bencher.iter(|| decoder.decode(black_box(&bytes)).unwrap().unwrap().1);
        });
    }
}

fn match_topic(criterion: &mut Criterion) {
    let topic = TopicName::parse("site/7/line/3", LEVELS_MAX).unwrap();
    for text in ["site/7/line/3", "site/+/line/+", "site/#"] {
        let filter = TopicFilter::parse(text, LEVELS_MAX).unwrap();
        criterion.bench_function(&format!("match {text}"), |bencher| {
            bencher.iter(|| black_box(filter).matches(black_box(topic)));
        });
    }
}

criterion_group!(benches, encode, decode, match_topic);
criterion_main!(benches);

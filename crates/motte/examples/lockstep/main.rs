//! Sends a fixed count of messages through a running broker in lock-step: a batch in one write, then nothing until all
//! that follows from it has arrived and the broker sleeps again. What the broker does is then the same every time.
//!
//! Started by `cargo xtask cost` while something else counts instructions and system calls. Measures no time, and is
//! no load: a broker is faster than this.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a tool of the tests fails by panicking")]

mod peer;
mod quiet;

use std::path::PathBuf;

use motte_mqtt::{Packet, Qos, ReasonCode};

use peer::{Peer, ack_of, publish};
use quiet::Quiet;

/// Messages in one write; together they fit in one segment of the loopback device.
const BATCH: u16 = 50;

/// What the command line asks for.
struct Plan {
    qos: Qos,
    subscribers: usize,
    batches: u32,
    pid: u32,
    port: u16,
    ca: Option<PathBuf>,
}

fn main() {
    let mut words = std::env::args().skip(1);
    let Some(plan) = plan(&mut words) else {
        eprintln!("usage: lockstep QOS SUBSCRIBERS BATCHES BROKER-PID PORT [CA-FILE]");
        std::process::exit(2);
    };
    let quiet = Quiet::of(plan.pid);
    let mut subscribers: Vec<Peer> = (0..plan.subscribers)
        .map(|number| {
            quiet.wait();
            let mut peer = Peer::connect(plan.port, &format!("subscriber-{number}"), plan.ca.as_deref());
            peer.subscribe(plan.qos);
            peer
        })
        .collect();
    quiet.wait();
    let mut publisher = Peer::connect(plan.port, "publisher", plan.ca.as_deref());
    let batch = publish(plan.qos, BATCH);
    for _ in 0..plan.batches {
        quiet.wait();
        turn(plan.qos, &batch, &mut publisher, &mut subscribers, &quiet);
    }
    quiet.wait();
}

fn plan(words: &mut impl Iterator<Item = String>) -> Option<Plan> {
    let qos = match words.next()?.as_str() {
        "0" => Qos::AtMostOnce,
        "1" => Qos::AtLeastOnce,
        "2" => Qos::ExactlyOnce,
        _ => return None,
    };
    Some(Plan {
        qos,
        subscribers: words.next()?.parse().ok()?,
        batches: words.next()?.parse().ok()?,
        pid: words.next()?.parse().ok()?,
        port: words.next()?.parse().ok()?,
        ca: words.next().map(PathBuf::from),
    })
}

/// One batch from its first byte to its last acknowledgement; every flight of packets is a step of its own.
fn turn(qos: Qos, batch: &[u8], publisher: &mut Peer, subscribers: &mut [Peer], quiet: &Quiet) {
    let count = usize::from(BATCH);
    publisher.send(batch);
    let mut answers: Vec<Vec<u8>> = Vec::new();
    for subscriber in subscribers.iter_mut() {
        answers.push(subscriber.receive(count, |packet| match packet {
            Packet::Publish(publish) => ack_of(publish.delivery),
            other => panic!("a PUBLISH was to come: {other:?}"),
        }));
    }
    if qos == Qos::AtMostOnce {
        return;
    }
    let releases = publisher.receive(count, settled);
    if qos == Qos::ExactlyOnce {
        quiet.wait();
        publisher.send(&releases);
        publisher.receive(count, settled);
    }
    for (subscriber, answer) in subscribers.iter_mut().zip(answers) {
        quiet.wait();
        subscriber.send(&answer);
        if qos == Qos::ExactlyOnce {
            let ends = subscriber.receive(count, settled);
            quiet.wait();
            subscriber.send(&ends);
        }
    }
}

/// What is answered to an acknowledgement, if anything.
fn settled(packet: &Packet<'_>) -> Option<Packet<'static>> {
    let success = |ack: &motte_mqtt::Ack<'_>| {
        assert_eq!(ack.reason, ReasonCode::Success, "the broker refused a message");
        motte_mqtt::Ack::new(ack.id, ReasonCode::Success)
    };
    match packet {
        Packet::PubAck(ack) | Packet::PubComp(ack) => {
            success(ack);
            None
        }
        Packet::PubRec(ack) => Some(Packet::PubRel(success(ack))),
        Packet::PubRel(ack) => Some(Packet::PubComp(success(ack))),
        other => panic!("an acknowledgement was to come: {other:?}"),
    }
}

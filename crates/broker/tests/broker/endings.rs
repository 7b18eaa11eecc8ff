//! Every way in which the broker ends a connection: one DISCONNECT with its code, nothing behind it, then the end.

use motte_audit::{CloseCause, EventKind};
use motte_broker::{Limits, Position};
use mqtt::{Packet, Publish};

use crate::kit::*;

/// A connection that is ended while a delivery, an acknowledgement and a replay wait for it.
struct Ended {
    /// What ends it, in words.
    how: &'static str,
    limits: Limits,
    act: fn(&mut World, Client),
    code: &'static str,
    cause: CloseCause,
}

fn ended(how: &'static str, code: &'static str, cause: CloseCause, act: fn(&mut World, Client)) -> Ended {
    Ended { how, limits: Limits::default(), act, code, cause }
}

fn order(world: &mut World, client: Client, cause: CloseCause) {
    world.shards[0].disconnect(client.link, cause, world.now, &mut world.sinks[0]);
}

fn endings() -> Vec<Ended> {
    let small = Limits { packet_size_bytes_max: 100, outbox_bytes_max: 1_000, ..Limits::default() };
    let slow = Limits { publishes_per_s_hard_max: 1, ..Limits::default() };
    let narrow = Limits { receive_maximum: 2, ..Limits::default() };
    vec![
        ended("a malformed packet", "81", CloseCause::Protocol, |world, client| world.send_bytes(client, &[0, 0])),
        ended("a second CONNECT", "82", CloseCause::Protocol, |world, client| {
            world.send(client, &Packet::Connect(connect_packet(&v5("c"))));
        }),
        ended("a topic that cannot be", "90", CloseCause::Protocol, |world, client| {
            world.publish(client, message(&"/".repeat(300), "m"));
        }),
        ended("an alias above our maximum", "94", CloseCause::Protocol, |world, client| {
            let topic_alias = std::num::NonZeroU16::new(33);
            world.publish(client, Publish { topic_alias, ..message("x", "m") });
        }),
        Ended {
            limits: narrow,
            ..ended("more than our Receive Maximum", "93", CloseCause::Limit, |world, client| {
                for value in 10..20 {
                    world.publish(client, Publish { delivery: qos2(value), ..message("x", "m") });
                }
            })
        },
        Ended {
            limits: small.clone(),
            ..ended("a packet too large", "95", CloseCause::Limit, |world, client| {
                world.publish(client, message("x", &"m".repeat(200)));
            })
        },
        Ended {
            limits: small,
            ..ended("answers that are not read", "97", CloseCause::SlowReader, |world, client| {
                world.send_bytes(client, &[0xc0, 0x00].repeat(5_000));
            })
        },
        Ended {
            limits: slow,
            ..ended("publishing too fast", "96", CloseCause::Limit, |world, client| {
                for _ in 0..3 {
                    world.publish(client, message("x", "m"));
                }
            })
        },
        ended("a write that takes too long", "97", CloseCause::SlowReader, |world, client| {
            world.shards[0].on_stalled(client.link, world.now, &mut world.sinks[0]);
        }),
        ended("a packet that takes too long", "97", CloseCause::Limit, |world, client| {
            world.send_bytes(client, &[0x30, 0x10, 0]);
            world.shards[0].on_dripped(client.link, world.now, &mut world.sinks[0]);
        }),
        ended("silence", "8d", CloseCause::KeepAlive, |world, _| world.pass_ms(3_600 * 1_500)),
        ended("a takeover", "8e", CloseCause::TakenOver, |world, _| {
            world.admit(&lasting("c"));
        }),
        ended("a user that was removed", "87", CloseCause::Revoked, |world, client| {
            order(world, client, CloseCause::Revoked);
        }),
        ended("an operator", "98", CloseCause::Limit, |world, client| order(world, client, CloseCause::Limit)),
        ended("a defect of ours", "80", CloseCause::Protocol, |world, client| {
            order(world, client, CloseCause::Protocol);
        }),
        ended("a stop", "8b", CloseCause::ShuttingDown, |world, _| {
            world.shards[0].stop(world.now, &mut world.sinks[0]);
        }),
    ]
}

/// Something in every place that could still write: a window that is full, a journal that is behind, a replay.
fn burden(world: &mut World, client: Client, from: Client) {
    for topic in ["r/1", "r/2", "r/3"] {
        world.publish(from, Publish { delivery: qos1(1), retain: true, ..message(topic, "m") });
    }
    world.subscribe_with(client, None, &[("q", options(1)), ("r/#", options(1))]);
    for _ in 0..4 {
        world.publish(from, Publish { delivery: qos1(1), ..message("q", "m") });
    }
    let end = world.shards[0].journal().end;
    world.journal_reaches(end);
    world.publish(client, Publish { delivery: qos1(1), retain: true, ..message("mine", "m") });
    world.take_bytes(client);
}

/// Everything that might make the broker write to a link after its end.
fn stir(world: &mut World, client: Client, from: Client) {
    world.journal_reaches(Position(u64::MAX));
    world.publish(from, message("q", "late"));
    world.send_bytes(client, &[0xc0, 0x00]);
    world.drained(client);
    world.pass_ms(10_000);
    order(world, client, CloseCause::Revoked);
    world.shards[0].on_stalled(client.link, world.now, &mut world.sinks[0]);
}

#[test]
fn v5_3_14_4_1_2_each_end_of_ours_is_one_disconnect_with_its_code_and_nothing_behind_it() {
    for Ended { how, limits, act, code, cause } in endings() {
        let mut world = World::with_limits(&limits);
        let from = world.connect(&Hello { keep_alive_s: 0, ..v5("from") });
        let client = world.connect(&Hello { receive_maximum: Some(2), ..lasting("c") });
        if limits.publishes_per_s_hard_max == 0 {
            burden(&mut world, client, from);
        }
        world.events();
        act(&mut world, client);
        stir(&mut world, client, from);
        let bytes = world.take_bytes(client);
        let (mut rest, mut shown) = (bytes.as_slice(), Vec::new());
        while let Some((packet, len)) = decoder(V5).decode(rest).unwrap() {
            shown.push(if let Packet::Disconnect(end) = packet {
                format!("{:02x}", end.reason.as_u8())
            } else {
                "-".into()
            });
            rest = &rest[len..];
        }
        let ends: Vec<_> = shown.iter().map(String::as_str).filter(|shown| *shown != "-").collect();
        assert_eq!((ends, shown.last().map(String::as_str)), (vec![code], Some(code)), "{how}");
        assert_eq!(world.take(client), ["closed"], "{how}");
        let causes = world.events().into_iter();
        let causes =
            causes.filter_map(|event| if let EventKind::Closed { cause, .. } = event { Some(cause) } else { None });
        assert_eq!(causes.collect::<Vec<_>>()[0], cause, "{how}");
    }
}

#[test]
fn a_client_of_3x_is_sent_no_disconnect_whatever_ends_it() {
    for Ended { how, limits, act, .. } in endings() {
        let mut world = World::with_limits(&Limits { receive_maximum: 1_000, ..limits });
        let client = world.connect(&Hello { clean_start: false, ..v311("c") });
        act(&mut world, client);
        let shown = world.take(client);
        assert!(!shown.iter().any(|line| line.starts_with("disconnect")), "{how}: {shown:?}");
    }
}

#[test]
fn an_end_of_the_clients_own_is_not_answered() {
    let mut world = World::new();
    for reason in [mqtt::ReasonCode::Success, mqtt::ReasonCode::DisconnectWithWill] {
        let client = world.connect(&v5("c"));
        world.disconnect(client, reason);
        world.expect(client, &["closed"]);
    }
}

//! What a node that was stopped has when it starts again: everything that was acknowledged, for as long as it holds.

pub(crate) mod kit;
mod queues;

use std::num::NonZeroU16;

use motte_mqtt::{Connect, Delivery, Disconnect, ForwardedProperties, Packet, ProtocolVersion, Qos, ReasonCode, Will};
use motte_node::settings::{DurabilityMode, DurabilitySettings};

use crate::support::{House, connect_as_nobody, logged};
use kit::{Guest, Time, come, expiring, id, keeping, lasting};

const QOS1: Qos = Qos::AtLeastOnce;
const QOS2: Qos = Qos::ExactlyOnce;

#[test]
fn r01_a_session_finds_its_subscriptions_and_what_was_queued_for_it_after_a_restart() {
    for version in [ProtocolVersion::V5, ProtocolVersion::V311] {
        let house = keeping();
        let connect = Connect { version, ..lasting("reader") };
        let node = house.start();
        let mut reader = come(&house, &node, &connect, false);
        reader.subscribe("a/+", QOS2);
        reader.leave();
        let mut writer = come(&house, &node, &connect_as_nobody("writer"), false);
        for number in 0..20 {
            writer.publish("a/queued", &number.to_string());
        }
        node.stop().unwrap();

        let node = house.start();
        let mut writer = come(&house, &node, &connect_as_nobody("writer"), false);
        writer.publish("a/later", "x");
        let mut reader = come(&house, &node, &connect, true);
        for number in 0..20 {
            assert_eq!(reader.next(), format!("a/queued={number} q1 #{}", number + 1));
        }
        assert_eq!(reader.next(), "a/later=x q1 #21");
        reader.nothing();
    }
}

#[test]
fn r01_what_was_sent_and_not_acknowledged_is_sent_again_under_its_identifier() {
    let house = keeping();
    let node = house.start();
    let mut reader = come(&house, &node, &lasting("reader"), false);
    reader.subscribe("a", QOS2);
    let mut writer = come(&house, &node, &connect_as_nobody("writer"), false);
    writer.publish("a", "one");
    let twice = Delivery::ExactlyOnce { id: id(6), dup: false };
    for payload in ["two", "three"] {
        writer.publish_as("a", payload, |publish| publish.delivery = twice);
        assert_eq!(writer.next(), "pubrec #6");
        writer.ack(Packet::PubRel, 6);
        assert_eq!(writer.next(), "pubcomp #6");
    }
    assert_eq!([reader.next(), reader.next(), reader.next()], ["a=one q1 #1", "a=two q2 #2", "a=three q2 #3"]);
    reader.ack(Packet::PubRec, 3);
    assert_eq!(reader.next(), "pubrel #3");
    node.stop().unwrap();

    let node = house.start();
    let mut reader = come(&house, &node, &lasting("reader"), true);
    let mut again = [reader.next(), reader.next(), reader.next()];
    again.sort();
    assert_eq!(again, ["a=one q1 #1 dup", "a=two q2 #2 dup", "pubrel #3"]);
    reader.ack(Packet::PubAck, 1);
    reader.ack(Packet::PubRec, 2);
    reader.ack(Packet::PubComp, 3);
    assert_eq!(reader.next(), "pubrel #2");
    reader.ack(Packet::PubComp, 2);
    reader.nothing();
    reader.leave();
    node.stop().unwrap();

    let node = house.start();
    come(&house, &node, &lasting("reader"), true).nothing();
}

#[test]
fn r01_a_message_that_was_received_exactly_once_is_so_over_a_restart() {
    let house = keeping();
    let node = house.start();
    let mut reader = come(&house, &node, &lasting("reader"), false);
    reader.subscribe("a", QOS2);
    reader.leave();
    let mut writer = come(&house, &node, &lasting("writer"), false);
    writer.publish_as("a", "once", |publish| publish.delivery = Delivery::ExactlyOnce { id: id(6), dup: false });
    assert_eq!(writer.next(), "pubrec #6");
    node.stop().unwrap();

    let node = house.start();
    let mut writer = come(&house, &node, &lasting("writer"), true);
    writer.publish_as("a", "once", |publish| publish.delivery = Delivery::ExactlyOnce { id: id(6), dup: true });
    assert_eq!(writer.next(), "pubrec #6");
    writer.ack(Packet::PubRel, 6);
    assert_eq!(writer.next(), "pubcomp #6");
    let mut reader = come(&house, &node, &lasting("reader"), true);
    assert_eq!(reader.next(), "a=once q2 #1");
    reader.nothing();
}

#[test]
fn r01_retained_messages_are_those_that_were_acknowledged_last() {
    let house = keeping();
    let node = house.start();
    let mut writer = come(&house, &node, &connect_as_nobody("writer"), false);
    for (topic, payload) in [("r/kept", "old"), ("r/kept", "new"), ("r/cleared", "x"), ("r/cleared", "")] {
        writer.publish_as(topic, payload, |publish| publish.retain = true);
        assert_eq!(writer.next(), "puback #5");
    }
    node.stop().unwrap();

    for _ in 0..2 {
        let node = house.start();
        let mut reader = come(&house, &node, &connect_as_nobody("reader"), false);
        reader.subscribe("r/#", QOS1);
        assert_eq!(reader.next(), "r/kept=new q1 #1 retain");
        reader.nothing();
        node.stop().unwrap();
    }
}

#[test]
fn r01_the_number_of_shards_may_change_between_runs() {
    let mut house = keeping();
    let names: Vec<String> = (0..8).map(|number| format!("reader-{number}")).collect();
    let shards = |house: &mut House, count| house.settings.shards = NonZeroU16::new(count).unwrap();
    shards(&mut house, 1);
    let node = house.start();
    for name in &names {
        let mut reader = come(&house, &node, &lasting(name), false);
        reader.subscribe(&format!("to/{name}"), QOS1);
        reader.leave();
    }
    node.stop().unwrap();
    for (count, round) in [(4, 0), (3, 1), (1, 2)] {
        shards(&mut house, count);
        let node = house.start();
        let mut writer = come(&house, &node, &connect_as_nobody("writer"), false);
        for name in &names {
            writer.publish(&format!("to/{name}"), &format!("{round}"));
        }
        node.stop().unwrap();
    }
    shards(&mut house, 2);
    let node = house.start();
    for name in &names {
        let mut reader = come(&house, &node, &lasting(name), true);
        for round in 0..3 {
            assert_eq!(reader.next(), format!("to/{name}={round} q1 #{}", round + 1));
        }
        reader.nothing();
    }
}

#[test]
fn r15_sessions_messages_and_retained_messages_expire_while_the_node_is_away() {
    let house = keeping();
    let time = Time::new();
    let node = time.start(&house);
    let mut short = come(&house, &node, &expiring("short", 100), false);
    short.subscribe("a", QOS1);
    short.leave();
    let mut long = come(&house, &node, &expiring("long", 1_000), false);
    long.subscribe("a", QOS1);
    long.leave();
    let mut writer = come(&house, &node, &connect_as_nobody("writer"), false);
    for (payload, expiry_s) in [("brief", 50), ("lasting", 500)] {
        for (topic, retain) in [("a", false), (payload, true)] {
            writer.publish_as(topic, payload, |publish| {
                publish.message_expiry_s = Some(expiry_s);
                publish.retain = retain;
            });
            assert_eq!(writer.next(), "puback #5");
        }
    }
    node.stop().unwrap();
    time.pass_s(101);

    let node = time.start(&house);
    come(&house, &node, &expiring("short", 100), false).nothing();
    let mut long = come(&house, &node, &expiring("long", 1_000), true);
    long.0.receive(|packet| match packet {
        Packet::Publish(publish) => {
            assert_eq!(publish.payload, b"lasting");
            let left_s = publish.message_expiry_s.unwrap();
            assert!((380..=399).contains(&left_s), "{left_s}");
        }
        packet => panic!("{packet:?}"),
    });
    long.nothing();
    let mut reader = come(&house, &node, &connect_as_nobody("reader"), false);
    reader.subscribe("#", QOS1);
    assert_eq!(reader.next(), "lasting=lasting q1 #1 retain");
    reader.nothing();
}

#[test]
fn r15_a_time_away_that_cannot_be_believed_expires_nothing() {
    let house = keeping();
    let time = Time::new();
    let wall = |years: u64| {
        let (handle, control) = motte_node::Control::new();
        let time = time.clone();
        // Another boot: nothing but the wall clock tells.
        let read = move || motte_store::Reading {
            wall_ms: time.read().wall_ms + years * 365 * 24 * 3_600 * 1_000,
            boot_id: u128::from(years) + 1,
            ..time.read()
        };
        house.start_with((handle, control.with_machine_clock(motte_store::Clock::new(read))))
    };
    let node = wall(0);
    come(&house, &node, &lasting("reader"), false).leave();
    node.stop().unwrap();
    let node = wall(10);
    come(&house, &node, &lasting("reader"), true).leave();
    let line = logged(|line| line["message"].as_str().is_some_and(|text| text.contains("is not believed")));
    assert_eq!(line["level"], "WARN");
    node.stop().unwrap();
    let node = wall(0);
    come(&house, &node, &lasting("reader"), true);
}

fn with_will<'a>(connect: Connect<'a>, payload: &'a str, delay_s: u32) -> Connect<'a> {
    let (message_expiry_s, properties) = (None, ForwardedProperties::EMPTY);
    let will = Will {
        topic: "wills",
        payload: payload.as_bytes(),
        qos: QOS1,
        retain: false,
        delay_s,
        message_expiry_s,
        properties,
    };
    Connect { will: Some(will), ..connect }
}

#[test]
fn r01_a_will_with_a_delay_is_published_after_a_restart_unless_its_client_is_back() {
    let house = keeping();
    let time = Time::new();
    let node = time.start(&house);
    let mut watcher = come(&house, &node, &lasting("watcher"), false);
    watcher.subscribe("wills", QOS1);
    let gone = |mut guest: Guest| {
        guest.0.send_packet(&Packet::Disconnect(Disconnect::new(ReasonCode::DisconnectWithWill)));
        guest.0.until_closed();
    };
    for (name, delay_s) in [("due", 100), ("back", 200), ("later", 10_000)] {
        let connect = expiring(name, 20_000);
        gone(come(&house, &node, &with_will(connect, name, delay_s), false));
    }
    let withdrawn = come(&house, &node, &with_will(expiring("polite", 20_000), "polite", 100), false);
    withdrawn.leave();
    node.stop().unwrap();

    time.pass_s(150);
    let node = time.start(&house);
    let mut watcher = come(&house, &node, &lasting("watcher"), true);
    assert_eq!(watcher.next(), "wills=due q1 #1");
    watcher.ack(Packet::PubAck, 1);
    come(&house, &node, &expiring("back", 20_000), true).leave();
    node.stop().unwrap();

    time.pass_s(150);
    let node = time.start(&house);
    let mut watcher = come(&house, &node, &lasting("watcher"), true);
    watcher.nothing();
    node.stop().unwrap();
}

#[test]
fn r01_the_wills_of_those_who_are_connected_when_the_node_stops_are_published_once() {
    let house = keeping();
    let node = house.start();
    let mut watcher = come(&house, &node, &lasting("watcher"), false);
    watcher.subscribe("wills", QOS1);
    watcher.leave();
    let names: Vec<String> = (0..4).map(|number| format!("mortal-{number}")).collect();
    let mut mortals = Vec::new();
    for name in &names {
        mortals.push(come(&house, &node, &with_will(connect_as_nobody(name), name, 0), false));
    }
    node.stop().unwrap();
    let node = house.start();
    let mut watcher = come(&house, &node, &lasting("watcher"), true);
    let mut wills: Vec<String> = names.iter().map(|_| watcher.next()).collect();
    wills.sort_by_key(|will| will.find("mortal-").map(|at| will[at..].to_owned()));
    for (name, will) in names.iter().zip(wills) {
        assert!(will.starts_with(&format!("wills={name} q1 ")), "{will}");
    }
    watcher.nothing();
}

#[test]
fn r01_the_start_says_what_was_kept() {
    let house = keeping();
    let node = house.start();
    let mut reader = come(&house, &node, &lasting("reader"), false);
    reader.subscribe("a", QOS1);
    reader.leave();
    let mut writer = come(&house, &node, &connect_as_nobody("writer"), false);
    writer.publish("a", "x");
    writer.publish_as("r", "x", |publish| publish.retain = true);
    assert_eq!(writer.next(), "puback #5");
    node.stop().unwrap();
    let _node = house.start();
    let directory = house.path("store").display().to_string();
    let opened = logged(|line| line["message"] == "the store is open" && line["sessions"] == 1);
    assert_eq!((&opened["durability"], &opened["directory"]), (&"sync".into(), &directory.into()));
    assert_eq!((&opened["messages"], &opened["retained"], &opened["crashed"]), (&1.into(), &1.into(), &false.into()));
    assert!(opened["took_ms"].is_u64(), "{opened}");
}

#[test]
fn in_memory_a_restart_forgets_everything_and_the_log_says_so() {
    let mut house = House::new();
    assert_eq!(house.settings.durability, DurabilitySettings::memory());
    house.settings.durability.directory = house.path("store");
    let node = house.start();
    let warned = logged(|line| line["message"] == "what is acknowledged can be lost");
    assert_eq!((&warned["level"], &warned["durability"]), (&"WARN".into(), &"memory".into()));
    come(&house, &node, &lasting("reader"), false).leave();
    come(&house, &node, &lasting("reader"), true).leave();
    node.stop().unwrap();
    let node = house.start();
    come(&house, &node, &lasting("reader"), false);
    assert!(!house.path("store").exists());
}

#[test]
fn an_orderly_stop_keeps_everything_in_mode_interval_too() {
    let mut house = keeping();
    house.settings.durability.mode = DurabilityMode::Interval(std::time::Duration::from_secs(60));
    let node = house.start();
    let mut reader = come(&house, &node, &lasting("reader"), false);
    reader.subscribe("a", QOS1);
    reader.leave();
    come(&house, &node, &connect_as_nobody("writer"), false).publish("a", "x");
    node.stop().unwrap();
    let node = house.start();
    assert_eq!(come(&house, &node, &lasting("reader"), true).next(), "a=x q1 #1");
}

//! MQTT 5.0, section 3.2: what CONNACK says, and that it comes first, once, and is the last word when it refuses.

use motte_broker::{Counters, Limits, Traffic};
use mqtt::{Encoder, Packet, Publish, Qos, Will};

use crate::kit::*;

#[test]
fn v5_3_1_4_5_success_is_acknowledged_by_connack_0x00() {
    let mut world = World::new();
    for hello in [v5("a"), lasting("b"), v311("c"), Hello { version: V31, ..v5("d") }] {
        let client = world.admit(&hello);
        world.expect(client, &["connack 00"]);
    }
}

#[test]
fn v5_3_2_0_1_connack_comes_before_everything_else() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("x", 2)]);
    world.publish(from, Publish { delivery: qos2(1), ..message("x", "1") });
    world.take(to);
    world.pubrec(to, 1);
    world.lose(to);
    world.publish(from, Publish { delivery: qos1(2), ..message("x", "2") });
    let to = world.admit(&lasting("to"));
    // What the client did not wait for is answered after it as well.
    world.send(to, &Packet::PingReq);
    world.expect(to, &["connack 00 present", "pubrel 1 00", "publish x=2 q1 #2", "pingresp"]);
}

#[test]
fn v5_3_2_0_2_there_is_one_connack() {
    let mut world = World::new();
    let client = world.admit(&lasting("c"));
    let mut connect = Vec::new();
    let packet = Packet::Connect(connect_packet(&lasting("c")));
    Encoder::new(V5, u32::MAX).encode(&packet, &mut connect).unwrap();
    world.send_bytes(client, &connect);
    let shown = world.take(client);
    assert_eq!(shown.iter().filter(|line| line.starts_with("connack")).count(), 1, "{shown:?}");
    assert_eq!(shown.last().unwrap(), "closed");
    // Nor is there a second one for a client that is taken over.
    let first = world.admit(&lasting("c"));
    world.admit(&lasting("c"));
    world.expect(first, &["connack 00 present", "disconnect 8e", "closed"]);
}

#[test]
fn v5_3_2_2_1_acknowledge_flags_hold_session_present_and_nothing_else() {
    let mut world = World::new();
    for (hello, flags) in [(lasting("c"), 0), (lasting("c"), 1), (Hello { clean_start: true, ..lasting("c") }, 0)] {
        let client = world.admit(&hello);
        let bytes = world.take_bytes(client);
        assert_eq!((bytes[0], bytes[2], bytes[3]), (0x20, flags, 0), "{bytes:02x?}");
        world.lose(client);
    }
}

#[test]
fn v5_3_2_2_2_a_clean_start_is_never_told_of_a_session() {
    let mut world = World::new();
    for session_expiry_s in [None, Some(0), Some(1_000)] {
        world.connect(&lasting("c"));
        let client = world.admit(&Hello { clean_start: true, session_expiry_s, ..v5("c") });
        world.expect(client, &["connack 00"]);
    }
}

#[test]
fn v5_3_2_2_3_session_present_is_told_for_every_kind_of_earlier_session() {
    let mut world = World::new();
    let hello = |session_expiry_s| Hello { clean_start: false, session_expiry_s, ..v5("c") };
    let client = world.admit(&hello(Some(10)));
    world.expect(client, &["connack 00"]);
    // Taken over while online: the session is there.
    let client = world.admit(&hello(None));
    world.expect(client, &["connack 00 present"]);
    // That one was to end with its connection, and a takeover ends the connection.
    let client = world.admit(&hello(Some(10)));
    world.expect(client, &["connack 00"]);
    world.lose(client);
    world.pass_ms(9_999);
    let client = world.admit(&hello(Some(10)));
    world.expect(client, &["connack 00 present"]);
    world.lose(client);
    world.pass_ms(10_000);
    let client = world.admit(&hello(Some(10)));
    world.expect(client, &["connack 00"]);
}

#[test]
fn v5_3_2_2_6_and_a_refusal_is_told_no_session_even_where_one_is() {
    let mut world = World::new();
    let owner = world.connect(&lasting("c"));
    world.lose(owner);
    let thief = world.admit(&Hello { user: "thief", ..lasting("c") });
    let bytes = world.take_bytes(thief);
    assert_eq!((bytes[0], bytes[2], bytes[3]), (0x20, 0, 0x85), "{bytes:02x?}");
}

#[test]
fn v5_3_2_2_7_a_refusal_is_the_end_of_the_connection() {
    let limits = Limits { sessions_max: 1, topic_levels_max: 3, ..Limits::default() };
    let mut world = World::with_limits(&limits);
    let owner = world.connect(&lasting("c"));
    let besides_answers = |world: &World| Counters { outgoing: Traffic::default(), ..world.counters() };
    let watched = besides_answers(&world);
    let refused = [
        (Hello { user: "thief", ..lasting("c") }, "connack 85"),
        (v5("d"), "connack 97"),
        (Hello { will: Some(will("a/b/c/d")), ..lasting("c") }, "connack 90"),
    ];
    for (hello, told) in refused {
        let client = world.admit(&hello);
        world.expect(client, &[told, "closed"]);
        // Nothing that follows is read.
        world.send(client, &Packet::PingReq);
        world.publish(client, message("x", "m"));
        world.expect(client, &["closed"]);
    }
    assert_eq!(besides_answers(&world), watched);
    world.send(owner, &Packet::PingReq);
    world.expect(owner, &["pingresp"]);
}

#[test]
fn v5_3_2_2_22_without_a_server_keep_alive_that_of_the_client_counts() {
    let mut world = World::with_limits(&Limits { keep_alive_s_max: 100, ..Limits::default() });
    for (keep_alive_s, told, ends_ms) in [(10, "connack 00", 15_000), (100, "connack 00", 150_000)] {
        let client = world.admit(&Hello { keep_alive_s, ..v5("c") });
        world.expect(client, &[told]);
        world.pass_ms(ends_ms - 1);
        world.expect(client, &[]);
        world.pass_ms(1);
        world.expect(client, &["disconnect 8d", "closed"]);
    }
    // With one it is ours that counts.
    let client = world.admit(&Hello { keep_alive_s: 1_000, ..v5("c") });
    world.expect(client, &["connack 00 keepalive=100"]);
    world.pass_ms(150_000);
    world.expect(client, &["disconnect 8d", "closed"]);
}

#[test]
fn v5_3_1_2_22_any_packet_keeps_the_connection_and_a_part_of_one_does_not() {
    let mut world = World::new();
    let client = world.connect(&Hello { keep_alive_s: 10, ..v5("c") });
    for _ in 0..3 {
        world.pass_ms(14_999);
        world.publish(client, message("x", "m"));
    }
    world.pass_ms(14_999);
    world.send_bytes(client, &[0xc0]);
    world.pass_ms(1);
    world.expect(client, &["disconnect 8d", "closed"]);
}

#[test]
fn a_connack_tells_our_limits() {
    let limits =
        Limits { receive_maximum: 7, packet_size_bytes_max: 70_000, topic_alias_maximum: 9, ..Limits::default() };
    let mut world = World::with_limits(&limits);
    let client = world.admit(&v5("c"));
    let bytes = world.take_bytes(client);
    let (packet, _) = decoder(V5).decode(&bytes).unwrap().unwrap();
    let Packet::ConnAck(connack) = packet else { panic!("{packet:?}") };
    let told = connack.properties;
    assert_eq!(told.receive_maximum.unwrap().get(), 7);
    assert_eq!(told.packet_size_max.unwrap().get(), 70_000);
    assert_eq!(told.topic_alias_maximum, 9);
}

#[test]
fn v5_3_2_2_16_an_assigned_identifier_is_that_of_one_session() {
    let mut world = World::new();
    let hello = Hello { assigned: true, ..lasting("auto-1") };
    let client = world.admit(&hello);
    world.expect(client, &["connack 00 id=auto-1"]);
    world.lose(client);
    // Its owner can come back under that name, and nobody else can.
    let client = world.admit(&lasting("auto-1"));
    world.expect(client, &["connack 00 present"]);
    let thief = world.admit(&Hello { user: "thief", ..lasting("auto-1") });
    world.expect(thief, &["connack 85", "closed"]);
}

#[test]
fn v5_3_1_2_24_a_client_that_takes_no_connack_of_ours_is_refused_and_does_not_wait() {
    let mut sizes = Vec::new();
    for packet_size_max in 1..=60 {
        let mut world = World::new();
        let owner = world.connect(&lasting("auto-0123456789"));
        let hello = Hello { packet_size_max: Some(packet_size_max), assigned: true, ..lasting("auto-0123456789") };
        let client = world.admit(&hello);
        let bytes = world.take_bytes(client);
        let is_in = bytes.get(3) == Some(&0);
        assert!(bytes.len() <= packet_size_max as usize, "{packet_size_max}: {bytes:02x?}");
        match bytes[..] {
            [] => assert!(packet_size_max < 5),
            _ => assert_eq!((bytes[0], bytes[2], bytes[3]), (0x20, u8::from(is_in), if is_in { 0 } else { 0x95 })),
        }
        sizes.extend(is_in.then_some(bytes.len()));
        world.expect(client, if is_in { &[] } else { &["closed"] });
        // A refused one took nothing over.
        world.send(owner, &Packet::PingReq);
        world.expect(owner, if is_in { &["disconnect 8e", "closed"] } else { &["pingresp"] });
    }
    assert!(sizes.len() > 10 && sizes.iter().all(|size| *size == sizes[0]), "{sizes:?}");
    assert_eq!(sizes.len(), 61 - sizes[0], "let in as soon as it fits");
}

/// Maximum QoS and Retain Available as a new client is told them.
fn told_available(limits: &Limits) -> (Option<Qos>, bool) {
    let mut world = World::with_limits(limits);
    let client = world.admit(&v5("c"));
    let bytes = world.take_bytes(client);
    let (packet, _) = decoder(V5).decode(&bytes).unwrap().unwrap();
    let Packet::ConnAck(connack) = packet else { panic!("{packet:?}") };
    (connack.properties.qos_maximum, connack.properties.retain_available)
}

#[test]
fn v5_3_2_2_9_a_maximum_qos_is_told_and_kept() {
    assert_eq!(told_available(&Limits::default()), (None, true));
    for qos_max in [Qos::AtMostOnce, Qos::AtLeastOnce] {
        let limits = Limits { qos_max, ..Limits::default() };
        assert_eq!(told_available(&limits), (Some(qos_max), true));
        for (qos, delivery) in [mqtt::Delivery::AtMostOnce, qos1(1), qos2(1)].into_iter().enumerate() {
            for version in [V5, V311] {
                let mut world = World::with_limits(&limits);
                let (from, to) = (world.connect(&Hello { version, ..v5("from") }), world.connect(&v5("to")));
                world.subscribe(to, &[("x", 0)]);
                world.publish(from, Publish { delivery, ..message("x", "m") });
                let is_refused = qos > usize::from(qos_max.as_u8());
                let told: &[&str] = if version == V5 { &["disconnect 9b", "closed"] } else { &["closed"] };
                let answer: &[&str] = if qos == 0 { &[] } else { &["puback 1 00"] };
                world.expect(from, if is_refused { told } else { answer });
                world.expect(to, if is_refused { &[] } else { &["publish x=m"] });
            }
        }
    }
}

#[test]
fn v5_3_2_2_10_every_qos_may_be_asked_for_below_a_lower_maximum() {
    for (qos_max, granted) in [(Qos::AtMostOnce, "00 00 00"), (Qos::AtLeastOnce, "00 01 01")] {
        let mut world = World::with_limits(&Limits { qos_max, ..Limits::default() });
        for hello in [v5("five"), v311("old")] {
            let client = world.connect(&hello);
            world.subscribe_with(client, None, &[("a", options(0)), ("b", options(1)), ("c", options(2))]);
            world.expect(client, &[&format!("suback 1 {granted}")]);
        }
    }
}

#[test]
fn v5_3_2_2_12_a_will_above_the_maximum_qos_is_refused_0x9b() {
    let mut world = World::with_limits(&Limits { qos_max: Qos::AtLeastOnce, ..Limits::default() });
    let watcher = world.connect(&v5("watcher"));
    world.subscribe(watcher, &[("alarm", 0)]);
    let with = |qos, hello| Hello { will: Some(Will { qos, ..will("alarm") }), ..hello };
    let client = world.admit(&with(Qos::ExactlyOnce, v5("c")));
    world.expect(client, &["connack 9b", "closed"]);
    let old = world.admit(&with(Qos::ExactlyOnce, v311("c")));
    world.expect(old, &["closed"]);
    world.expect(watcher, &[]);
    let client = world.connect(&with(Qos::AtLeastOnce, v5("c")));
    world.lose(client);
    world.expect(watcher, &["publish alarm=gone"]);
}

#[test]
fn v5_3_2_2_13_a_retained_will_where_nothing_is_retained_is_refused_0x9a() {
    let limits = Limits { retained_messages_max: 0, ..Limits::default() };
    assert_eq!(told_available(&limits), (None, false));
    let mut world = World::with_limits(&limits);
    let kept = Will { retain: true, ..will("alarm") };
    let client = world.admit(&Hello { will: Some(kept), ..v5("c") });
    world.expect(client, &["connack 9a", "closed"]);
    let old = world.admit(&Hello { will: Some(kept), ..v311("c") });
    world.expect(old, &["closed"]);
    let client = world.admit(&Hello { will: Some(will("alarm")), ..v5("c") });
    world.expect(client, &["connack 00"]);
}

#[test]
fn v5_noid_retain_where_nothing_is_retained_is_0x9a() {
    let limits = Limits { retained_messages_max: 0, ..Limits::default() };
    for payload in ["m", ""] {
        for (hello, told) in [(v5("c"), &["disconnect 9a", "closed"][..]), (v311("c"), &["closed"])] {
            let mut world = World::with_limits(&limits);
            let (client, to) = (world.connect(&hello), world.connect(&v5("to")));
            world.subscribe(to, &[("x", 0)]);
            world.publish(client, message("x", "plain"));
            world.publish(client, Publish { retain: true, ..message("x", payload) });
            world.expect(client, told);
            world.expect(to, &["publish x=plain"]);
        }
    }
}

//! MQTT 5.0, sections 2.2 and 3.1: identifiers, sessions and wills as CONNECT asks for them.
//!
//! What happens before a client is admitted is tested with the gate, in `motte-node`.

use mqtt::{Delivery, Encoder, ForwardedPropertiesBuf, Packet, Publish, Qos, ReasonCode, Will};

use crate::kit::*;

/// The bytes of a CONNECT.
fn connect_bytes(hello: &Hello<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::new(hello.version, u32::MAX).encode(&Packet::Connect(connect_packet(hello)), &mut bytes).unwrap();
    bytes
}

/// A client that is told of wills.
fn watcher(world: &mut World) -> Client {
    let watcher = world.connect(&Hello { keep_alive_s: 0, ..v5("watcher") });
    world.subscribe(watcher, &[("alarm", 2)]);
    watcher
}

#[test]
fn v5_2_2_1_5_acknowledgements_carry_the_identifier_of_the_publish() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("x", 2)]);
    for value in [1, 256, 65_535] {
        world.publish(from, Publish { delivery: qos1(value), ..message("x", "m") });
        world.expect(from, &[&format!("puback {value} 00")]);
        world.publish(from, Publish { delivery: qos2(value), ..message("x", "m") });
        world.expect(from, &[&format!("pubrec {value} 00")]);
        world.pubrel(from, value);
        world.expect(from, &[&format!("pubcomp {value} 00")]);
    }
    // Towards a subscriber the identifier is ours, and what the client answers with it comes back under it.
    assert_eq!(world.take(to)[1], "publish x=m q2 #2");
    world.pubrec(to, 2);
    world.expect(to, &["pubrel 2 00"]);
}

#[test]
fn v5_2_2_1_6_suback_and_unsuback_carry_the_identifier_of_the_request() {
    let mut world = World::new();
    let client = world.connect(&v5("c"));
    for [high, low] in [[0, 1], [1, 0], [0xff, 0xff]] {
        let value = u16::from_be_bytes([high, low]);
        world.send_bytes(client, &[0x82, 7, high, low, 0, 0, 1, b'x', 1]);
        world.expect(client, &[&format!("suback {value} 01")]);
        world.send_bytes(client, &[0xa2, 6, high, low, 0, 0, 1, b'x']);
        world.expect(client, &[&format!("unsuback {value} 00")]);
    }
}

#[test]
fn v5_3_1_0_2_a_second_connect_is_a_protocol_error() {
    let mut world = World::new();
    let other = world.connect(&lasting("other"));
    // Whatever the second one asks for: the same name again, or that of somebody else.
    for again in [v5("c"), lasting("c"), lasting("other"), v311("c")] {
        let client = world.connect(&v5("c"));
        let mut bytes = connect_bytes(&again);
        bytes.extend_from_slice(&[0xc0, 0x00]);
        world.send_bytes(client, &bytes);
        world.expect(client, &["disconnect 82", "closed"]);
        world.send(other, &Packet::PingReq);
        world.expect(other, &["pingresp"]);
    }
    let old = world.connect(&v311("old"));
    world.send_bytes(old, &connect_bytes(&v311("old")));
    world.expect(old, &["closed"]);
}

#[test]
fn v5_3_1_2_5_a_session_goes_on_without_a_clean_start() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    world.subscribe_with(to, Some(7), &[("x", options(2))]);
    world.take(to);
    world.publish(to, Publish { delivery: qos2(40), ..message("nobody", "m") });
    world.expect(to, &["pubrec 40 10"]);
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "unfinished") });
    world.expect(to, &["publish x=unfinished q1 #1 ids=7"]);
    world.lose(to);
    world.publish(from, Publish { delivery: qos2(2), ..message("x", "waited") });
    let to = world.admit(&lasting("to"));
    let owed = ["publish x=unfinished q1 #1 dup ids=7", "publish x=waited q2 #2 ids=7"];
    world.expect(to, &["connack 00 present", owed[0], owed[1]]);
    // The subscription is still there, and so is the QoS 2 message that was not released.
    world.publish(from, message("x", "live"));
    world.expect(to, &["publish x=live ids=7"]);
    world.pubrel(to, 40);
    world.expect(to, &["pubcomp 40 00"]);
}

#[test]
fn v5_3_1_2_6_without_a_session_one_is_made() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let first = world.admit(&lasting("c"));
    world.expect(first, &["connack 00"]);
    world.subscribe(first, &[("x", 1)]);
    world.lose(first);
    let second = world.admit(&lasting("c"));
    world.expect(second, &["connack 00 present"]);
    // One that ran out is none.
    world.lose(second);
    world.pass_ms(1_000_000);
    let third = world.admit(&lasting("c"));
    world.expect(third, &["connack 00"]);
    world.publish(from, message("x", "m"));
    world.expect(third, &[]);
}

#[test]
fn v5_3_1_2_7_the_will_is_kept_with_the_session_and_replaced_by_the_next_connect() {
    let mut world = World::new();
    let watcher = watcher(&mut world);
    let delayed = |payload| Will { payload, delay_s: 100, ..will("alarm") };
    let client = world.connect(&Hello { will: Some(delayed(b"first")), ..lasting("c") });
    world.pass_ms(1_000_000);
    world.expect(watcher, &[]);
    world.lose(client);
    // In another connection's CONNECT is another will, and the first one is gone for good.
    let client = world.connect(&Hello { will: Some(delayed(b"second")), ..lasting("c") });
    world.lose(client);
    world.pass_ms(100_000);
    world.expect(watcher, &["publish alarm=second"]);
    let client = world.connect(&Hello { will: Some(delayed(b"third")), ..lasting("c") });
    world.lose(client);
    let client = world.connect(&lasting("c"));
    world.lose(client);
    world.pass_ms(2_000_000);
    world.expect(watcher, &[]);
}

#[test]
fn v5_3_1_2_9_qos_and_properties_of_the_will_are_used() {
    let mut world = World::new();
    let watcher = watcher(&mut world);
    let properties = ForwardedPropertiesBuf::new()
        .payload_utf8()
        .content_type("text/plain")
        .and_then(|p| p.response_topic("re"))
        .and_then(|p| p.correlation_data(&[0, 255]))
        .and_then(|p| p.user("b", "1"))
        .and_then(|p| p.user("a", "2"))
        .unwrap();
    for (qos, shown) in [(Qos::AtMostOnce, ""), (Qos::AtLeastOnce, " q1 #1"), (Qos::ExactlyOnce, " q2 #2")] {
        let will = Will { qos, message_expiry_s: Some(9), properties: properties.as_ref(), ..will("alarm") };
        let client = world.connect(&Hello { will: Some(will), ..v5("c") });
        world.lose(client);
        let rest = "expiry=9 utf8 type=text/plain re=re correlation=[00, ff] b:1 a:2";
        world.expect(watcher, &[&format!("publish alarm=gone{shown} {rest}")]);
    }
}

#[test]
fn v5_3_1_2_10_a_will_is_published_once_and_never_after_a_normal_end() {
    let mut world = World::new();
    let watcher = watcher(&mut world);
    let dying = Hello { will: Some(will("alarm")), ..lasting("c") };
    let client = world.connect(&dying);
    world.lose(client);
    world.expect(watcher, &["publish alarm=gone"]);
    // Neither the end of the session nor a later connection without a will publishes it again.
    let client = world.connect(&lasting("c"));
    world.lose(client);
    world.pass_ms(2_000_000);
    world.expect(watcher, &[]);
    let client = world.connect(&dying);
    world.disconnect(client, ReasonCode::Success);
    world.pass_ms(2_000_000);
    world.expect(watcher, &[]);
}

#[test]
fn v5_3_1_2_14_a_will_without_retain_is_not_kept() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    world.publish(from, Publish { retain: true, ..message("alarm", "earlier") });
    let client = world.connect(&Hello { will: Some(will("alarm")), ..v5("c") });
    world.lose(client);
    let late = world.connect(&v5("late"));
    world.subscribe_with(late, None, &[("alarm", options(0))]);
    world.expect(late, &["suback 1 00", "publish alarm=earlier retain"]);
    // An empty retained will clears, as any empty retained message does.
    let clearing = Will { payload: b"", retain: true, ..will("alarm") };
    let client = world.connect(&Hello { will: Some(clearing), ..v5("c") });
    world.lose(client);
    world.expect(late, &["publish alarm="]);
    assert_eq!(world.shared.retained_totals(), (0, 0));
}

#[test]
fn v5_3_1_2_23_a_session_outlives_its_connection_only_with_an_expiry() {
    for (expiry_s, lasts) in [(None, false), (Some(0), false), (Some(1), true), (Some(u32::MAX), true)] {
        let mut world = World::new();
        let from = world.connect(&v5("from"));
        let hello = Hello { session_expiry_s: expiry_s, ..lasting("c") };
        let client = world.connect(&hello);
        world.subscribe(client, &[("x", 1)]);
        world.lose(client);
        world.publish(from, Publish { delivery: qos1(1), ..message("x", "m") });
        world.pass_ms(999);
        let client = world.admit(&hello);
        let shown = world.take(client);
        assert_eq!(shown[0].contains("present"), lasts, "{expiry_s:?}: {shown:?}");
        assert_eq!(shown.iter().any(|line| line == "publish x=m q1 #1"), lasts, "{expiry_s:?}: {shown:?}");
    }
}

#[test]
fn v5_3_1_3_2_the_client_identifier_is_the_key_of_the_session() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let hello = |client_id| Hello { user: "same", ..lasting(client_id) };
    let client = world.connect(&hello("c"));
    world.subscribe(client, &[("x", 1)]);
    world.lose(client);
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "m") });
    // Another spelling is another client, whoever the user is.
    for other in ["C", "c ", "cc", "ć"] {
        let other = world.admit(&hello(other));
        world.expect(other, &["connack 00"]);
    }
    let client = world.admit(&hello("c"));
    world.expect(client, &["connack 00 present", "publish x=m q1 #1"]);
}

#[test]
fn v5_3_1_3_10_user_properties_of_a_will_keep_their_order() {
    let mut world = World::new();
    let watcher = watcher(&mut world);
    let mut properties = ForwardedPropertiesBuf::new();
    for (name, value) in [("b", "1"), ("a", "2"), ("b", "1"), ("", ""), ("a", "0")] {
        properties = properties.user(name, value).unwrap();
    }
    let will = Will { properties: properties.as_ref(), ..will("alarm") };
    let client = world.connect(&Hello { will: Some(will), ..v5("c") });
    world.lose(client);
    world.expect(watcher, &["publish alarm=gone b:1 a:2 b:1 : a:0"]);
}

#[test]
fn v5_3_1_4_4_clean_start_decides_over_the_old_session_and_expiry_over_the_new_one() {
    let hello = |clean_start, session_expiry_s| Hello { clean_start, session_expiry_s, ..v5("c") };
    for (clean_start, expiry_s) in [(false, None), (false, Some(9)), (true, None), (true, Some(9))] {
        for is_online in [false, true] {
            let mut world = World::new();
            let from = world.connect(&v5("from"));
            let first = world.connect(&hello(true, Some(9)));
            world.subscribe(first, &[("x", 0)]);
            if !is_online {
                world.lose(first);
            }
            let second = world.admit(&hello(clean_start, expiry_s));
            world.publish(from, message("x", "m"));
            let expected: &[&str] = if clean_start { &["connack 00"] } else { &["connack 00 present", "publish x=m"] };
            world.expect(second, expected);
            world.lose(second);
            let sessions = 1 + u64::from(expiry_s.is_some());
            assert_eq!(world.counters().sessions, sessions, "{clean_start} {expiry_s:?}");
        }
    }
}

#[test]
fn v5_3_1_2_8_a_will_waits_for_its_delay_over_any_number_of_reconnects() {
    let mut world = World::new();
    let watcher = watcher(&mut world);
    let delayed = Hello { will: Some(Will { delay_s: 10, ..will("alarm") }), ..lasting("c") };
    for _ in 0..3 {
        let client = world.connect(&delayed);
        world.lose(client);
        world.pass_ms(9_999);
        world.expect(watcher, &[]);
    }
    world.pass_ms(1);
    world.expect(watcher, &["publish alarm=gone"]);
    // A session that a DISCONNECT ends at once does not wait.
    let client = world.connect(&delayed);
    let leave = mqtt::Disconnect { session_expiry_s: Some(0), ..mqtt::Disconnect::new(ReasonCode::DisconnectWithWill) };
    world.send(client, &Packet::Disconnect(leave));
    world.expect(watcher, &["publish alarm=gone"]);
}

#[test]
fn v5_3_1_2_24_nothing_is_sent_above_the_maximum_packet_size_of_the_client() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let payload = "m".repeat(40);
    let whole = {
        let mut bytes = Vec::new();
        let publish = Publish { delivery: qos1(1), ..message("x", &payload) };
        Encoder::new(V5, u32::MAX).encode(&Packet::Publish(publish), &mut bytes).unwrap();
        u32::try_from(bytes.len()).unwrap()
    };
    for (packet_size_max, fits) in [(whole, true), (whole - 1, false)] {
        let to = world.connect(&Hello { packet_size_max: Some(packet_size_max), ..v5("to") });
        world.publish(from, Publish { retain: true, delivery: qos1(1), ..message("x", &payload) });
        world.subscribe_with(to, None, &[("x", options(1))]);
        let shown = world.take(to);
        assert_eq!(shown.len(), if fits { 2 } else { 1 }, "{shown:?}");
        world.publish(from, Publish { delivery: Delivery::AtMostOnce, ..message("x", "small") });
        world.expect(to, &["publish x=small"]);
    }
}

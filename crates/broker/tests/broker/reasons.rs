//! What 5.0 clients are told beside codes: reason strings, Response Information, Server Reference. All of it gives way
//! where the client has no room for it or did not ask.

use motte_broker::{Hints, Limits};
use mqtt::{Publish, ReasonCode};

use crate::kit::*;

const ACL: &str = "pattern readwrite #\npattern deny secret/#\n";

fn stop(world: &mut World) {
    for (shard, sink) in world.shards.iter_mut().zip(&mut world.sinks) {
        shard.stop(world.now, sink);
    }
}

fn hint(world: &mut World, hints: &Hints) {
    for shard in &mut world.shards {
        shard.set_hints(hints.clone());
    }
}

fn at_most(packet_size_max: u32) -> Hello<'static> {
    Hello { packet_size_max: Some(packet_size_max), ..v5("c") }
}

/// Lets `act` happen to a client of each maximum packet size and asserts that the reason string is there exactly from
/// the size on at which the whole packet fits, and the bare packet below. User properties are never made up: one would
/// be shown.
#[track_caller]
fn gives_way(limits: &Limits, whole: &str, act: impl Fn(&mut World, Client)) {
    let (bare, _) = whole.split_once(" \"").expect("there is a reason string");
    let told = |hello: &Hello<'_>| {
        let mut world = World::with(1, ACL, limits);
        let client = world.admit(hello);
        world.take(client);
        act(&mut world, client);
        let size = world.unread_bytes(client);
        let mut shown = world.take_explained(client);
        (shown.remove(0), u32::try_from(size).unwrap())
    };
    let (shown, size) = told(&v5("c"));
    assert_eq!(shown, whole);
    for (maximum, expected) in [(size, whole), (size - 1, bare), (20, bare)] {
        let (shown, written) = told(&at_most(maximum));
        assert_eq!(shown, expected, "with a maximum of {maximum}");
        assert!(written <= maximum, "{written} bytes are more than {maximum} (MQTT-3.1.2-24)");
    }
}

#[test]
fn v5_3_4_2_2_3_a_refused_puback_says_why_unless_that_makes_it_too_large() {
    gives_way(&Limits::default(), "puback 1 87 \"no right to publish to this topic\"", |world, client| {
        world.publish(client, Publish { delivery: qos1(1), ..message("secret/x", "m") });
    });
    let limits = Limits { retained_bytes_max: 0, ..Limits::default() };
    gives_way(&limits, "puback 1 97 \"no room to keep another message\"", |world, client| {
        world.publish(client, Publish { delivery: qos1(1), retain: true, ..message("x", "m") });
    });
}

#[test]
fn v5_3_5_2_2_3_a_refused_pubrec_says_why_unless_that_makes_it_too_large() {
    gives_way(&Limits::default(), "pubrec 1 87 \"no right to publish to this topic\"", |world, client| {
        world.publish(client, Publish { delivery: qos2(1), ..message("secret/x", "m") });
    });
}

#[test]
fn v5_3_6_2_2_3_a_pubrel_for_nothing_says_so_unless_that_makes_it_too_large() {
    let whole = "pubrel 7 92 \"no message is in flight under this packet identifier\"";
    gives_way(&Limits::default(), whole, |world, client| world.pubrec(client, 7));
}

#[test]
fn v5_3_7_2_2_3_a_pubcomp_for_nothing_says_so_unless_that_makes_it_too_large() {
    let whole = "pubcomp 7 92 \"no message is in flight under this packet identifier\"";
    gives_way(&Limits::default(), whole, |world, client| world.pubrel(client, 7));
}

#[test]
fn v5_3_9_2_1_2_a_suback_names_the_first_refused_filter_unless_that_makes_it_too_large() {
    let filters = |last| [("a", options(1)), ("b", options(0)), (last, options(0))];
    let whole = "suback 1 01 00 87 \"filter 3: no right to receive what it matches\"";
    gives_way(&Limits::default(), whole, |world, client| world.subscribe_with(client, None, &filters("secret/x")));
    let whole = "suback 1 01 00 8f \"filter 3: not a topic filter, or one of too many levels or bytes\"";
    gives_way(&Limits::default(), whole, |world, client| world.subscribe_with(client, None, &filters("a/#/b")));
    let whole = "suback 1 01 00 97 \"filter 3: no room for another subscription of this session\"";
    let limits = Limits { subscriptions_max: 2, ..Limits::default() };
    gives_way(&limits, whole, |world, client| world.subscribe_with(client, None, &filters("c")));
}

#[test]
fn v5_3_11_2_1_2_an_unsuback_names_the_first_bad_filter_unless_that_makes_it_too_large() {
    let whole = "unsuback 2 11 8f \"filter 2: not a topic filter, or one of too many levels or bytes\"";
    gives_way(&Limits::default(), whole, |world, client| world.unsubscribe(client, &["a", "a/#/b"]));
}

#[test]
fn v5_3_14_2_3_4_a_disconnect_says_why_unless_that_makes_it_too_large() {
    let whole = "disconnect 82 \"second CONNECT\"";
    gives_way(&Limits::default(), whole, |world, client| {
        world.send(client, &mqtt::Packet::Connect(connect_packet(&v5("c"))));
    });
    gives_way(&Limits::default(), "disconnect 8b \"the server stops\"", |world, _| stop(world));
    let whole = "disconnect 8e \"another connection uses this client identifier\"";
    gives_way(&Limits::default(), whole, |world, _| {
        world.admit(&v5("c"));
    });
    let whole = "disconnect 8d \"no packet came for one and a half times the keep alive\"";
    gives_way(&Limits::default(), whole, |world, _| world.pass_ms(3_600 * 1_500));
}

#[test]
fn v5_3_2_2_19_20_a_refusing_connack_says_why_unless_that_makes_it_too_large() {
    let mut world = World::with_limits(&Limits { sessions_max: 0, ..Limits::default() });
    let client = world.admit(&v5("c"));
    let size = u32::try_from(world.unread_bytes(client)).unwrap();
    let whole = "connack 97 \"there is no room for another session\"";
    assert_eq!(world.take_explained(client), [whole, "closed"]);
    for (maximum, expected) in [(size, whole), (size - 1, "connack 97")] {
        let client = world.admit(&at_most(maximum));
        assert_eq!(world.take_explained(client), [expected, "closed"]);
    }
}

#[test]
fn v5_3_1_2_29_without_problem_information_only_connack_and_disconnect_explain() {
    let mut world = World::with(1, ACL, &Limits::default());
    let client = world.connect(&Hello { wants_problem_information: false, ..v5("c") });
    world.publish(client, Publish { delivery: qos1(1), ..message("secret/x", "m") });
    world.publish(client, Publish { delivery: qos2(2), ..message("secret/x", "m") });
    world.pubrec(client, 7);
    world.pubrel(client, 7);
    world.subscribe_with(client, None, &[("secret/x", options(0))]);
    world.unsubscribe(client, &["a/#/b"]);
    world.disconnect(client, ReasonCode::NotAuthorized);
    let refused = ["puback 1 87", "pubrec 2 87", "pubrel 7 92", "pubcomp 7 92", "suback 1 87", "unsuback 2 8f"];
    let mut expected = refused.to_vec();
    // 0x87 is not for clients to send: the answer is a DISCONNECT, which may explain itself.
    let shown = world.take_explained(client);
    expected.extend([shown[6].as_str(), "closed"]);
    assert_eq!(shown, expected);
    assert!(shown[6].starts_with("disconnect 8") && shown[6].ends_with('"'), "{}", shown[6]);
}

#[test]
fn k45_a_reason_string_tells_no_more_than_its_code() {
    let mut world = World::with(1, ACL, &Limits::default());
    let subscriber = world.connect(&v5("subscriber"));
    world.subscribe(subscriber, &[("#", 0)]);
    let client = world.connect(&v5("c"));
    for (value, topic) in [(1, "secret/known"), (2, "secret/unknown")] {
        world.publish(client, Publish { delivery: qos1(value), ..message(topic, "m") });
    }
    let words = "\"no right to publish to this topic\"";
    assert_eq!(world.take_explained(client), [format!("puback 1 87 {words}"), format!("puback 2 87 {words}")]);
    let thief = world.admit(&Hello { user: "thief", ..v5("c") });
    let words = "\"this client identifier cannot be used here\"";
    assert_eq!(world.take_explained(thief), [format!("connack 85 {words}"), "closed".into()]);
}

#[test]
fn v5_3_1_2_28_response_information_is_told_to_those_who_ask() {
    let mut world = World::new();
    let asks = |client_id| Hello { wants_response_information: true, ..v5(client_id) };
    let connack = |world: &mut World, hello: &Hello<'_>| {
        let client = world.admit(hello);
        world.take_explained(client).remove(0)
    };
    assert_eq!(connack(&mut world, &asks("a")), "connack 00", "there is none to tell");
    hint(&mut world, &Hints { response_topic_prefix: Some("answers".into()), ..Hints::default() });
    assert_eq!(connack(&mut world, &v5("a")), "connack 00");
    assert_eq!(connack(&mut world, &asks("a")), "connack 00 responses=answers/a");
    assert_eq!(connack(&mut world, &Hello { version: V311, ..asks("a") }), "connack 00");
    // A client identifier that reaches into the topics of others gets none.
    assert_eq!(connack(&mut world, &asks("a/b")), "connack 00");
}

#[test]
fn a_node_that_stops_names_the_server_to_use_instead() {
    let server_reference = "other.example.org:8883";
    let hints = Hints { server_reference: Some(server_reference.into()), ..Hints::default() };
    let mut world = World::with(2, ACL, &Limits::default());
    hint(&mut world, &hints);
    let (five, old) = (world.connect(&v5("five")), world.connect(&v311("old")));
    // Room for the reference alone, and for nothing but the code.
    let (tight, tiny) = (
        world.connect(&Hello { client_id: "tight", ..at_most(32) }),
        world.connect(&Hello { client_id: "tiny", ..at_most(20) }),
    );
    stop(&mut world);
    let words = "\"the server stops; use the one that is named\"";
    assert_eq!(world.take_explained(five), [format!("disconnect 9c {words} use={server_reference}"), "closed".into()]);
    assert_eq!(world.take_explained(tight), [format!("disconnect 9c use={server_reference}"), "closed".into()]);
    assert_eq!(world.take_explained(tiny), ["disconnect 8b", "closed"]);
    world.expect(old, &["closed"]);
}
